//! The ways to the server behind a resource: TLS, Unix sockets, several addresses, and what happens where one is gone.

use super::harness::browser::call_request;
use super::harness::{Answer, PATIENCE, Response, Tokens, Upstream, World, at_once, eventually, tls};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// A world before this server, and a session.
fn before(upstream: Upstream, change: impl FnOnce(&mut Value)) -> (World, Tokens) {
    let world = World::before(upstream, |config| change(&mut config["resources"][0]));
    let tokens = world.tokens(&world.public_client("A client"));
    (world, tokens)
}

/// A world before a server at each of these addresses.
fn at(addresses: &[SocketAddr]) -> (World, Tokens) {
    let upstreams: Vec<_> = addresses.iter().map(|address| format!("http://{address}/mcp")).collect();
    before(Upstream::start(), |resource| {
        resource.as_object_mut().unwrap().remove("upstream");
        resource["upstreams"] = json!(upstreams);
    })
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[track_caller]
fn is_down(answer: &Response) {
    assert_eq!((answer.status, answer.header("content-type")), (502, Some("application/json")), "{}", answer.text());
    // Not JSON-RPC: nobody knows which call it would answer.
    let body: Value = serde_json::from_str(&answer.text()).unwrap();
    assert!(body["error"].is_string() && body.get("jsonrpc").is_none(), "{body}");
}

#[test]
fn a_server_over_tls_is_whom_its_certificate_says() {
    let trust = |resource: &mut Value| resource["upstreamCaFile"] = json!(tls::file("authority.pem"));
    let (world, tokens) = before(Upstream::secure(tls::server(false)), trust);
    // One connection of the client is served by one core, which keeps its own connections to the server.
    let mut client = world.connect();
    for _ in 0..3 {
        assert_eq!(client.exchange(&call_request("/mcp", &tokens.access)).status, 200);
    }
    let seen = world.upstream.seen();
    assert_eq!((seen.len(), world.upstream.connections()), (3, 1), "the connection is kept");
    let host = world.upstream.url().replace("https://", "");
    assert_eq!(seen[0].header("host"), Some(host.as_str()));

    // An authority that nobody named, and a name that the certificate does not hold.
    let (world, tokens) = before(Upstream::secure(tls::server(false)), |_| {});
    is_down(&world.call("/mcp", &tokens.access));
    let (world, tokens) = before(Upstream::secure(tls::server(false)), |resource| {
        trust(resource);
        let other = resource["upstream"].as_str().unwrap().replace("127.0.0.1", "127.0.0.2");
        resource["upstream"] = json!(other);
    });
    is_down(&world.call("/mcp", &tokens.access));
    assert!(world.upstream.seen().is_empty(), "nothing was said to a stranger");
    // A server that speaks no TLS where it should, and waits for a request.
    let (world, tokens) = before(Upstream::start(), |resource| {
        trust(resource);
        let secure = resource["upstream"].as_str().unwrap().replace("http:", "https:");
        resource["upstream"] = json!(secure);
    });
    assert_eq!(world.call("/mcp", &tokens.access).status, 504);
    assert!(world.upstream.seen().is_empty());
}

#[test]
fn a_server_that_asks_for_a_certificate_gets_the_gate_s() {
    let (world, tokens) = before(Upstream::secure(tls::server(true)), |resource| {
        resource["upstreamCaFile"] = json!(tls::file("authority.pem"));
        resource["upstreamCertFile"] = json!(tls::file("client.pem"));
        resource["upstreamKeyFile"] = json!(tls::file("client-key.pem"));
    });
    assert_eq!(world.call("/mcp", &tokens.access).status, 200);
    let (world, tokens) = before(Upstream::secure(tls::server(true)), |resource| {
        resource["upstreamCaFile"] = json!(tls::file("authority.pem"));
    });
    is_down(&world.call("/mcp", &tokens.access));
    assert!(world.upstream.seen().is_empty());
}

#[test]
fn a_server_on_a_unix_socket_is_as_good_as_any() {
    let path = std::env::temp_dir().join(format!("portcullis-{}.sock", std::process::id()));
    let (world, tokens) = before(Upstream::on_socket(&path), |_| {});
    let mut client = world.connect();
    for _ in 0..3 {
        assert_eq!(client.exchange(&call_request("/mcp", &tokens.access)).status, 200);
    }
    let seen = world.upstream.seen();
    assert_eq!((seen[2].target(), seen[2].header("host"), seen[2].connection), ("/mcp", Some("localhost"), 0));
    std::fs::remove_file(&path).unwrap();
    let (world, tokens) =
        before(Upstream::start(), |resource| resource["upstream"] = json!(format!("unix:{}:/mcp", path.display())));
    is_down(&world.call("/mcp", &tokens.access));
}

#[test]
fn addresses_take_turns_and_one_that_is_gone_is_passed_over() {
    let servers = [Upstream::start(), Upstream::start()];
    let (world, tokens) = at(&[servers[0].address(), nobody(), servers[1].address()]);
    for _ in 0..40 {
        assert_eq!(world.call("/mcp", &tokens.access).status, 200);
    }
    let [first, second] = servers.each_ref().map(|server| server.seen());
    assert_eq!(first.len() + second.len(), 40);
    assert!(first.len() >= 10 && second.len() >= 10, "{} {}", first.len(), second.len());
    for (server, seen) in servers.iter().zip([&first, &second]) {
        let host = server.address().to_string();
        assert!(seen.iter().all(|seen| seen.header("host") == Some(host.as_str())));
    }
}

#[test]
fn an_address_that_breaks_off_is_left_aside_and_tried_again() {
    let servers = [Upstream::start(), Upstream::start()];
    let (world, tokens) = at(&servers.each_ref().map(Upstream::address));
    servers[0].answers(|_| Answer::Last(Vec::new()));
    // At most the one call that finds out gets an error; it is not sent to the other, which might do it a second time.
    let failed = (0..20).filter(|_| world.call("/mcp", &tokens.access).status == 502).count();
    assert_eq!((failed, servers[0].seen().len(), servers[1].seen().len()), (1, 1, 19));
    servers[0].answers(|_| Answer::json("{}"));
    eventually("the first is tried again", || {
        assert_eq!(world.call("/mcp", &tokens.access).status, 200);
        servers[0].seen().len() > 1
    });
}

#[test]
fn where_all_addresses_are_gone_the_answer_says_so_and_does_not_wait() {
    let (world, tokens) = at(&[nobody(), nobody()]);
    let begin = Instant::now();
    for _ in 0..20 {
        is_down(&world.call("/mcp", &tokens.access));
    }
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn t238_what_may_have_been_sent_is_not_sent_again() {
    let (world, tokens) = before(Upstream::start(), |_| {});
    let mut client = world.connect();
    let call = call_request("/mcp", &tokens.access);
    assert_eq!(client.exchange(&call).status, 200);
    // The second request comes on the kept connection, is read, and gets no answer.
    world.upstream.answers(|_| Answer::Last(Vec::new()));
    is_down(&client.exchange(&call));
    let seen = world.upstream.seen();
    assert_eq!((seen.len(), seen[1].connection), (2, 0), "{seen:?}");
    // Half a head is no answer either.
    world.upstream.answers(|_| Answer::Last(b"HTTP/1.1 200 OK\r\nContent-".to_vec()));
    is_down(&world.call("/mcp", &tokens.access));
    assert_eq!(world.upstream.seen().len(), 3);
}

#[test]
fn t238_a_kept_connection_that_was_closed_meanwhile_costs_nobody_an_answer() {
    let (world, tokens) = before(Upstream::start(), |_| {});
    world.upstream.answers(|_| Answer::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec()));
    for call in 0..20 {
        let answer = world.call("/mcp", &tokens.access);
        assert_eq!(answer.status, 200, "{call}: {}", answer.text());
        // As a client that pauses; one that is as fast as the server's close is t238's first test.
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((world.upstream.seen().len(), world.upstream.connections()), (20, 20));
}

#[test]
fn connections_to_a_server_are_bounded_and_the_next_one_is_told() {
    let (world, tokens) = before(Upstream::start(), |resource| resource["upstreamConnections"] = json!(2));
    let streams: Vec<_> = (0..2)
        .map(|_| {
            let (answer, events) = Answer::events(&[]);
            let mut answer = Some(answer);
            world.upstream.answers(move |_| answer.take().unwrap());
            let mut connection = world.connect();
            connection.send(&call_request("/mcp", &tokens.access));
            assert_eq!(connection.head().unwrap().status, 200);
            (connection, events)
        })
        .collect();
    world.upstream.answers(|_| Answer::json("{}"));
    let begin = Instant::now();
    let told = at_once(3, |_| world.call("/mcp", &tokens.access));
    assert!(begin.elapsed() >= Duration::from_secs(4), "one may become free meanwhile");
    for answer in told {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(world.upstream.connections(), 2);
    drop(streams);
    eventually("there is room again", || world.call("/mcp", &tokens.access).status == 200);
}
