//! Sessions of the server behind the gate, and answers that take their time.
//!
//! | id | where |
//! |---|---|
//! | RS-10 | `rs10_…`; the rule itself in domain `mcp_session` |
//! | RS-11 | `rs11_…`: GET, DELETE, resumption, an unknown session |
//! | T235, P5 | `t235_…`; a token's own end and `streamOverrun` in `clock`, every cause in `causes` |
//! | T235, who hangs up | in `passing` |

use super::harness::browser::call_request;
use super::harness::{Answer, Connection, PATIENCE, Request, Script, World};
use super::two::{Two, session_of, with_session};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// In this time a revocation ends what is open (P5).
pub const BOUND: Duration = Duration::from_secs(1);

/// What a client is told of this session of the server.
fn opened(world: &World, access: &str, id: &'static str) -> String {
    world.upstream.answers(move |_| Answer::whole("200 OK", &[("Mcp-Session-Id", id)], "{}"));
    let answer = world.send(&call_request("/mcp", access));
    assert_eq!(answer.all("mcp-session-id").len(), 1);
    answer.header("mcp-session-id").unwrap().to_owned()
}

#[test]
fn rs10_rs11_a_session_id_goes_out_bound_and_comes_back_bare() {
    let (world, tokens) = with_session();
    let bound = opened(&world, &tokens.access, "s-1.x");
    assert!(bound.starts_with("s-1.x.") && bound.len() == "s-1.x.".len() + 27, "{bound}");
    for request in [
        Request::json("/mcp", &json!({ "method": "ping" })),
        Request::get("/mcp").header("Accept", "text/event-stream").header("Last-Event-ID", "s-1/42"),
        Request::new("DELETE", "/mcp"),
    ] {
        let answer = world.send(&request.clone().bearer(&tokens.access).header("mcp-session-id", &bound));
        assert_eq!(answer.header("mcp-session-id"), Some(bound.as_str()), "the same id has the same name");
        let seen = world.upstream.seen().pop().unwrap();
        assert_eq!((seen.method(), seen.all("mcp-session-id")), (request.method.as_str(), vec!["s-1.x"]));
        if request.method == "GET" {
            assert_eq!(seen.header("last-event-id"), Some("s-1/42"));
        }
    }
    // Another client of the same person may take the session over: it is the person's.
    let other = world.tokens(&world.public_client("Another client"));
    assert_eq!(world.send(&Request::get("/mcp").bearer(&other.access).header("Mcp-Session-Id", &bound)).status, 200);
    world.upstream.answers(|_| Answer::whole("404 Not Found", &[], "no such session"));
    let answer = world.send(&Request::get("/mcp").bearer(&tokens.access).header("Mcp-Session-Id", &bound));
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (404, "no such session"),
        "the server's own word about it passes"
    );
}

#[test]
fn rs10_a_session_id_of_somebody_else_never_reaches_the_server() {
    let two = Two::start();
    let world = &two.world;
    let client = world.public_client("A client");
    let (ada, other) = (world.tokens(&client), two.other_tokens(&client));
    let bob = session_of(world, &client, |ask| ask, Script::person("bob"));
    let bound = opened(world, &ada.access, "s-1");
    let bobs = opened(world, &bob.access, "s-1");
    assert_ne!(bound, bobs);
    let before = world.upstream.seen().len();
    let tampered = bound.replacen("s-1", "s-2", 1);
    let long = format!("{}.{}", "x".repeat(2_000), &bound[bound.len() - 27..]);
    for (path, access, value) in [
        ("/mcp", &bob.access, bound.as_str()),
        ("/mcp", &ada.access, &bobs),
        ("/other", &other.access, &bound),
        ("/mcp", &ada.access, "s-1"),
        ("/mcp", &ada.access, &tampered),
        ("/mcp", &ada.access, ""),
        ("/mcp", &ada.access, &long),
    ] {
        let answer = world.send(&call_request(path, access).header("Mcp-Session-Id", value));
        answer.refuses(404, "invalid_session");
        assert_eq!(answer.header("www-authenticate"), None, "the login is not to blame");
    }
    let twice = call_request("/mcp", &ada.access).header("Mcp-Session-Id", &bound).header("Mcp-Session-Id", &bound);
    world.send(&twice).refuses(400, "invalid_request");
    assert_eq!(world.upstream.seen().len(), before);
    assert!(two.other.seen().is_empty());
}

#[test]
fn rs10_t234_what_is_no_session_id_is_no_answer() {
    let (world, tokens) = with_session();
    let long: &'static str = "x".repeat(1_025).leak();
    for ids in [&["a b"][..], &[""], &[long], &["s-1", "s-2"]] {
        let fields: Vec<_> = ids.iter().map(|id| ("Mcp-Session-Id", *id)).collect();
        let answer = Answer::whole("200 OK", &fields, "{}");
        let mut answer = Some(answer);
        world.upstream.answers(move |_| answer.take().unwrap());
        world.send(&call_request("/mcp", &tokens.access)).refuses(502, "bad_gateway");
    }
}

/// A gate before a server that is nothing but a listening socket.
fn before_a_socket() -> (World, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    (World::with(|config| config["resources"][0]["upstream"] = url.into()), listener)
}

/// The server's side of the next request, with its head and its body read.
pub fn taken(listener: &TcpListener, body: &str) -> TcpStream {
    let (mut upstream, _) = listener.accept().unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(format!("\r\n\r\n{body}").as_bytes()) {
        let mut piece = [0; 4096];
        let count = upstream.read(&mut piece).unwrap();
        assert_ne!(count, 0, "the request did not come whole");
        heard.extend_from_slice(&piece[..count]);
    }
    upstream
}

pub const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
pub const CALL: &str = r#"{"id":1,"method":"tools/call"}"#;

#[test]
fn t235_p05_what_is_open_ends_within_a_second_of_its_session() {
    let (world, listener) = before_a_socket();
    let client = world.public_client("A client");
    let (tokens, spared) = (world.tokens(&client), world.tokens(&client));
    let get = |access: &str| Request::get("/mcp").header("Accept", "text/event-stream").bearer(access);
    let post = |access: &str| Request::post("/mcp").body(CALL).bearer(access);
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart";
    let mut open: Vec<(&str, Connection, TcpStream)> = Vec::new();
    for (what, request, body, begin) in [
        ("a GET stream", get(&tokens.access), "", EVENTS),
        ("a subscription", post(&tokens.access).header("Mcp-Method", "subscriptions/listen"), CALL, EVENTS),
        ("the stream of a call", post(&tokens.access), CALL, EVENTS),
        ("part of an answer", post(&tokens.access), CALL, part),
        ("a call without an answer", post(&tokens.access), CALL, ""),
        ("another session's stream", get(&spared.access), "", EVENTS),
    ] {
        let mut connection = world.connect();
        connection.send(&request);
        let mut upstream = taken(&listener, body);
        upstream.write_all(begin.as_bytes()).unwrap();
        if !begin.is_empty() {
            assert_eq!(connection.head().unwrap().status, 200, "{what}");
        }
        open.push((what, connection, upstream));
    }
    // Time goes by, and nothing ends that should not.
    std::thread::sleep(BOUND);
    for (what, connection, _) in &mut open {
        connection.stream.set_nonblocking(true).unwrap();
        let still = connection.stream.peek(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(still, Ok(1..) | Err(ErrorKind::WouldBlock)), "{what} ended by itself: {still:?}");
        connection.stream.set_nonblocking(false).unwrap();
    }

    assert_eq!(world.revoke(&client, &tokens.refresh).status, 200);
    let revoked = Instant::now();
    let (_, mut stays, mut its_server) = open.pop().unwrap();
    for (what, mut connection, mut upstream) in open {
        let rest = connection.rest();
        assert!(rest.is_empty() || rest == b"part", "{what}: {:?}", String::from_utf8_lossy(&rest));
        assert!(revoked.elapsed() < BOUND, "{what} ended after {:?}", revoked.elapsed());
        // The server hears of it too.
        assert_eq!(upstream.read(&mut [0; 16]).unwrap_or(0), 0, "{what}: the server still works for nobody");
        assert!(revoked.elapsed() < BOUND, "{what}: the server heard after {:?}", revoked.elapsed());
    }
    its_server.write_all(b"5\r\n:ok\n\n\r\n").unwrap();
    assert_eq!(stays.chunk().unwrap().as_deref(), Some(&b":ok\n\n"[..]), "another session's stream goes on");
    assert_eq!(world.counted("portcullis_open_answers_ended_total{by=\"session\"}"), 5);
}

#[test]
fn t235_a_client_that_does_not_read_stops_the_server_and_fills_nothing() {
    let (world, listener) = before_a_socket();
    let tokens = world.tokens(&world.public_client("A client"));
    let mut connection = world.connect();
    connection.send(&Request::get("/mcp").bearer(&tokens.access));
    let mut upstream = taken(&listener, "");
    upstream.write_all(EVENTS.as_bytes()).unwrap();
    assert_eq!(connection.head().unwrap().status, 200);
    upstream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let event = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let (mut written, mut offset) = (0_usize, 0_usize);
    let stopped = loop {
        match upstream.write(&event.as_bytes()[offset..]) {
            Ok(count) => (written, offset) = (written + count, (offset + count) % event.len()),
            Err(error) => break error.kind(),
        }
        // What two sockets with buffers at their largest hold, and a little of the gate's own.
        assert!(written < 64 << 20, "the server is never stopped");
    };
    assert!(matches!(stopped, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{stopped:?}");
    // Whoever reads again gets all of it, and the server goes on.
    let whole = written / event.len();
    for _ in 0..whole {
        let mut piece = 0;
        while piece < 0x8000 {
            piece += connection.chunk().unwrap().unwrap().len();
        }
        assert_eq!(piece, 0x8000);
    }
    upstream.write_all(&event.as_bytes()[offset..]).unwrap();
}
