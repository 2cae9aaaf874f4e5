//! What passes from client to upstream and back, and what does not.

use std::io::Write;
use std::time::{Duration, Instant};

use portcullis_domain::limits;

use crate::support::{Gate, PATIENCE, Plan, Server};

fn request(fields: &str) -> String {
    format!("POST /mcp HTTP/1.1\r\nHost: gate.example\r\n{fields}Content-Length: 2\r\n\r\nhi")
}

#[test]
fn t226_identity_headers_are_only_the_gates() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let names = [
        "X-Forwarded-User",
        "x-forwarded-user",
        "X-FORWARDED-USER",
        "X_Forwarded_User",
        "x_forwarded-user",
        "X.Forwarded.User",
        "X|Forwarded|User",
        "X-Forwarded-Email",
        "X-Forwarded-Groups",
        "X-Forwarded-Preferred-Username",
        "X_Forwarded_Groups",
        "X-Session-Id",
        "X_Session_Id",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Server",
        "X-Forwarded-Anything",
        "Forwarded",
        "X-Real-IP",
        "X_Real_IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "Authorization",
        "Proxy-Authorization",
        "DPoP",
        "Content_Length",
        "Transfer_Encoding",
    ];
    // Each once, and the first twelve of them three times over.
    let mut fields: String = names.iter().map(|name| format!("{name}: eve\r\n")).collect();
    fields.extend(names.iter().take(12).map(|name| format!("{name}: eve\r\n{name}: eve\r\n")));
    assert_eq!(gate.client().ask(request(&fields)).status, 200);
    let asked = server.last();
    assert!(!asked.head.contains("eve"), "{}", asked.head);
    for (name, value) in [
        ("x-forwarded-user", "ada"),
        ("x-forwarded-email", "ada@example.com"),
        ("x-forwarded-groups", "staff,a%2Cb"),
        ("x-forwarded-preferred-username", "Ada"),
        ("x-session-id", "session-1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "gate.example"),
    ] {
        assert_eq!(asked.header(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(asked.header("host"), Some(server.address.to_string()), "F-5: the upstream's own name");
}

#[test]
fn t227_connection_cannot_name_away_what_the_gate_says() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let answer = gate.client().ask(request(
        "Connection: close, Authorization, X-Forwarded-User, x-session-id, Host, Content-Length, X-Custom\r\n\
         Connection: X-Forwarded-For\r\nX-Custom: 1\r\nKeep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n",
    ));
    assert_eq!(answer.status, 200);
    let asked = server.last();
    assert_eq!(asked.body, b"hi");
    assert_eq!(asked.header("x-forwarded-user").as_deref(), Some("ada"));
    assert_eq!(asked.header("x-session-id").as_deref(), Some("session-1"));
    assert_eq!(asked.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(asked.header("host"), Some(server.address.to_string()));
    for gone in ["connection", "x-custom", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(asked.header(gone), None, "{gone}");
    }
}

#[test]
fn rs12_rs24_mcp_headers_pass_untouched() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let fields = [
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-session-id", "abc"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "=?base64?w6k=?="),
        ("mcp-param-region", "eu"),
        ("mcp-param-with_underscore", "1"),
        ("last-event-id", "7"),
        ("accept", "application/json, text/event-stream"),
        ("accept-encoding", "gzip"),
        ("user-agent", "node"),
        ("origin", "https://claude.ai"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1, b@c=2"),
    ];
    let text: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    assert_eq!(gate.client().ask(request(&text)).status, 200);
    let asked = server.last();
    for (name, value) in fields {
        assert_eq!(asked.header(name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn the_gates_cookies_stay_and_others_pass() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    for (sent, seen) in [
        ("Cookie: a=1; __Host-pc-flow=x; b=2\r\n", Some("a=1; b=2")),
        ("Cookie: __Host-pc-csrf=x\r\n", None),
        ("Cookie: pc-flow=x;__host-PC-flow=y; c=3\r\nCookie: d=4\r\n", Some("c=3; d=4")),
        ("Cookie: a=1; b=2\r\n", Some("a=1; b=2")),
    ] {
        assert_eq!(gate.client().ask(request(sent)).status, 200);
        assert_eq!(server.last().header("cookie").as_deref(), seen, "{sent}");
    }
}

#[test]
fn expect_is_answered_by_the_gate() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    client.send("POST /mcp HTTP/1.1\r\nHost: gate.example\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert!(client.head().unwrap().starts_with("HTTP/1.1 100 "));
    assert_eq!(client.ask("hi").status, 200);
    assert_eq!(server.last().header("expect"), None);
}

#[test]
fn rs11_rs25_statuses_and_bodies_pass_unchanged() {
    for status in
        ["200 OK", "202 Accepted", "400 Bad Request", "404 Not Found", "405 Method Not Allowed", "500 Oops", "418 Tea"]
    {
        let body = r#"{"jsonrpc":"2.0","error":{"code":-32020,"message":"HeaderMismatch"},"id":null}"#;
        let answer: &'static str = Box::leak(
            format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nMcp-Session-Id: s\r\nAllow: POST\r\n\r\n{body}",
                body.len()
            )
            .into_boxed_str(),
        );
        let server = Server::answering(answer);
        let gate = Gate::before(server.address);
        let answer = gate.client().ask(request(""));
        assert_eq!(answer.status.to_string(), status[..3]);
        assert_eq!(answer.body, body.as_bytes());
        assert_eq!(answer.header("mcp-session-id").as_deref(), Some("s"));
        assert_eq!(answer.header("allow").as_deref(), Some("POST"));
    }
}

#[test]
fn bodiless_answers_and_methods_pass() {
    let server = Server::scripted(|mut line| {
        while let Some(asked) = line.request() {
            let answer = match asked.head.split(' ').next() {
                Some("HEAD") => "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n",
                Some("DELETE") => "HTTP/1.1 204 No Content\r\n\r\n",
                _ => "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
            };
            line.send(answer);
        }
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    client.send("HEAD /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n");
    let head = client.head().unwrap();
    assert!(head.to_ascii_lowercase().contains("content-length: 77"), "{head}");
    assert_eq!(client.ask("DELETE /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n").status, 204);
    assert_eq!(client.ask(request("")).status, 202);
    assert_eq!(server.connections(), 1, "none of these ends the connection");
}

#[test]
fn t234_response_fields_that_are_not_the_upstreams_to_say() {
    let server = Server::answering(
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nWWW-Authenticate: Bearer realm=x\r\nProxy-Authenticate: Basic\r\n\
         Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\nSet-Cookie: __Host-pc-flow=evil\r\n\
         Set-Cookie: own=1; Path=/\r\nSet-Cookie: pc-csrf=evil\r\nX-Accel-Redirect: /internal\r\nX-Sendfile: /etc/passwd\r\n\
         Set-Cookie: =pc-csrf=evil\r\nSet-Cookie: = pc-csrf=evil\r\n\
         Alt-Svc: h3=\":443\"\r\nClear-Site-Data: \"*\"\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Custom: 1\r\n\r\n{}",
    );
    let gate = Gate::before(server.address);
    let answer = gate.client().ask(request(""));
    assert_eq!(answer.status, 403);
    for gone in [
        "www-authenticate",
        "proxy-authenticate",
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "x-accel-redirect",
        "x-sendfile",
        "alt-svc",
        "clear-site-data",
        "x-hop",
        "keep-alive",
        "connection",
    ] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert_eq!(answer.header("set-cookie").as_deref(), Some("own=1; Path=/"));
    assert_eq!(answer.header("x-custom").as_deref(), Some("1"));
}

#[test]
fn t234_an_upstreams_401_is_not_the_gates() {
    for status in ["401 Unauthorized", "407 Proxy Authentication Required"] {
        let answer: &'static str = Box::leak(
            format!("HTTP/1.1 {status}\r\nWWW-Authenticate: Bearer\r\nContent-Length: 6\r\n\r\nsecret")
                .into_boxed_str(),
        );
        let server = Server::answering(answer);
        let gate = Gate::before(server.address);
        let answer = gate.client().ask(request(""));
        assert_eq!(answer.status, 502);
        assert_eq!(answer.header("www-authenticate"), None);
        assert!(answer.body.starts_with(b"{\"error\":\"bad_gateway\""));
    }
}

#[test]
fn t234_redirects_pass_and_are_not_followed() {
    let server = Server::answering(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    );
    let gate = Gate::before(server.address);
    assert_eq!(gate.client().ask(request("")).status, 307);
}

#[test]
fn t234_malformed_answers_are_a_bad_gateway() {
    let large = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 0\r\n\r\n", "a".repeat(200_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X-A: b\r\n".repeat(500));
    for (name, answer) in [
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}".to_owned()),
        ("garbage", "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned()),
        ("folded", "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("space before colon", "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("negative length", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}".to_owned()),
        (
            "a length and chunks",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_owned(),
        ),
        ("nothing at all", String::new()),
        ("large head", large),
        ("many fields", many),
    ] {
        let answer: &'static str = Box::leak(answer.into_boxed_str());
        let server = Server::scripted(move |mut line| {
            line.request();
            line.send(answer);
        });
        let gate = Gate::before(server.address);
        assert_eq!(gate.client().ask(request("")).status, 502, "{name}");
    }
}

#[test]
fn t234_interim_answers_are_not_passed() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(50);
    let server = Server::scripted(move |mut line| {
        while line.request().is_some() {
            line.send(&interim);
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        }
    });
    let gate = Gate::before(server.address);
    let answer = gate.client().ask(request(""));
    assert_eq!((answer.status, answer.body), (200, b"{}".to_vec()));
}

#[test]
fn t233_r18_r81_a_body_beyond_the_cap_is_refused() {
    let server = Server::ok();
    let gate = Gate::planned(server.address, Plan { body_max: 1_000, ..Plan::default() });
    let long = "a".repeat(100_000);
    let announced = format!("POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: {}\r\n\r\n{long}", long.len());
    assert_eq!(gate.client().ask(announced).status, 413);
    assert_eq!(server.bytes(), 0, "an announced length is refused before anything is sent");
    let chunked = format!(
        "POST /mcp HTTP/1.1\r\nHost: gate.example\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    assert_eq!(gate.client().ask(chunked).status, 413);
    assert!(server.requests().is_empty(), "no whole request arrived");
    let exact = "a".repeat(1_000);
    let fits = format!("POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 1000\r\n\r\n{exact}");
    assert_eq!(gate.client().ask(fits).status, 200);
    // Ten megabytes on their way when the answer is written: the client still gets to read it.
    let huge = "a".repeat(10 << 20);
    let mut client = gate.client();
    client.send(format!("POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: {}\r\n\r\n{huge}", huge.len()));
    assert_eq!(client.answer().status, 413);
}

#[test]
fn an_upstream_that_is_down_is_502_and_never_401() {
    // A port that nobody listens on.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gate = Gate::before(address);
    let mut client = gate.client();
    let answer = client.ask(request(""));
    assert_eq!(answer.status, 502);
    assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(client.ask(request("")).status, 502, "the client's connection lives on");
}

#[test]
fn t237_targets_pass_raw() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    for target in ["/mcp?a=b&c=%2e%2e/..", "/mcp/a%20b;v=1?x", "/mcp?", "/a'b(c)~d", "/mcp/"] {
        let answer = gate.client().ask(format!("GET {target} HTTP/1.1\r\nHost: gate.example\r\n\r\n"));
        assert_eq!(answer.status, 200, "{target}");
        assert!(server.last().head.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{}", server.last().head);
    }
    let before = server.bytes();
    for target in ["/mcp/../x", "/mcp/%2e%2e/x", "/mcp//x", "/mcp/..;/x", "/mcp/a%00", "/mcp/a%5cb", "/mcp/%252e%252e"]
    {
        let answer = gate.client().ask(format!("GET {target} HTTP/1.1\r\nHost: gate.example\r\n\r\n"));
        assert_eq!(answer.status, 400, "{target}");
    }
    assert_eq!(server.bytes(), before);
    let exact = Gate::planned(server.address, Plan { mount: None, ..Plan::default() });
    exact.client().ask("GET /anything/../at?q=1 HTTP/1.1\r\nHost: gate.example\r\n\r\n");
    assert!(server.last().head.starts_with("GET /mcp?q=1 HTTP/1.1\r\n"));
}

#[test]
fn ten_thousand_requests_on_one_connection() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    let text = request("");
    for _ in 0..10_000 {
        assert_eq!(client.ask(&text).status, 200);
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(server.requests().len(), 10_000);
    assert!(!client.is_ended_within(Duration::from_millis(50)));
}

#[test]
fn t236_a_large_body_goes_on_when_an_upstream_that_did_not_read_reads_again() {
    let server = Server::scripted(|mut line| {
        loop {
            // Long enough for every buffer on the way to be full.
            std::thread::sleep(Duration::from_millis(150));
            if line.request().is_none() || !line.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") {
                return;
            }
        }
    });
    let body_max = 32 << 20;
    let gate = Gate::planned(server.address, Plan { body_max, ..Plan::default() });
    let body = "x".repeat(24 << 20);
    let sized = format!("POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let chunked = format!(
        "POST /mcp HTTP/1.1\r\nHost: gate.example\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let mut client = gate.client();
    for request in [&sized, &chunked, &sized, &chunked] {
        assert_eq!(client.ask(request).status, 200);
        assert_eq!(server.last().body.len(), body.len());
    }
}

#[test]
fn it_makes_no_difference_in_which_pieces_requests_arrive() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let fields = "Host: gate.example\r\n";
    let requests = [
        format!("GET /hello HTTP/1.1\r\n{fields}\r\n"),
        format!("\r\nPOST /gather HTTP/1.1\r\n{fields}Content-Length: 5\r\n\r\nhello"),
        format!("POST /gather HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n"),
        format!("POST /mcp HTTP/1.1\r\n{fields}Content-Length: 2\r\n\r\nhi"),
        format!("GET /hello HTTP/1.1\r\n{fields}X-Long: {}\r\n\r\n", "x".repeat(20_000)),
    ];
    let whole = requests.concat().into_bytes();
    for step in [1, 2, 3, 7, 50, 1_000, 5_000, whole.len()] {
        let mut client = gate.client();
        let mut sender = client.stream.try_clone().unwrap();
        let bytes = whole.clone();
        let sending = std::thread::spawn(move || bytes.chunks(step).for_each(|piece| sender.write_all(piece).unwrap()));
        let bodies: Vec<_> =
            requests.iter().map(|_| client.answer()).map(|answer| (answer.status, answer.body)).collect();
        let said = |body: &str| (200, body.as_bytes().to_vec());
        assert_eq!(bodies[..3], [said("hello"), said("5 bytes"), said("3 bytes")], "in steps of {step}");
        assert_eq!((bodies[3].0, &bodies[4]), (200, &said("hello")), "in steps of {step}");
        assert_eq!(server.last().body, b"hi");
        sending.join().unwrap();
    }
}

#[test]
fn t246_whoever_asks_on_and_on_and_reads_late_is_answered_in_order() {
    const ASKED: usize = 2_000;
    let body = "x".repeat(16_000);
    let server = Server::scripted(move |mut line| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        while line.request().is_some() {
            line.send(&answer);
        }
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    let mut sender = client.stream.try_clone().unwrap();
    let (stuck, sent) = std::sync::mpsc::channel();
    let sending = std::thread::spawn(move || {
        sender.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let long = "x".repeat(8_000);
        let ask = format!("GET /mcp HTTP/1.1\r\nHost: gate.example\r\nX-Long: {long}\r\n\r\n").repeat(ASKED);
        let mut rest = ask.as_bytes();
        while !rest.is_empty() {
            match sender.write(rest) {
                Ok(length) => rest = &rest[length..],
                // Both directions are full: the gate takes no more of it before somebody reads.
                Err(_) => _ = stuck.send(()),
            }
        }
    });
    sent.recv_timeout(PATIENCE).expect("the gate takes all that comes, and keeps the answers");
    for place in 0..ASKED {
        assert_eq!(client.answer().body.len(), 16_000, "{place}");
    }
    sending.join().unwrap();
}

#[test]
fn a_connection_goes_on_after_a_rest_of_any_length() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    let mut ask = || client.ask("POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 2\r\n\r\nhi").status;
    // Long enough to be looked at as one that is busy, and then as one that no longer is.
    let busy = Instant::now() + limits::TICK * 3;
    while Instant::now() < busy {
        assert_eq!(ask(), 200);
    }
    for rest in [limits::TICK * 3, Duration::ZERO, limits::TICK * 2] {
        std::thread::sleep(rest);
        assert_eq!(ask(), 200);
    }
}

#[test]
fn a_body_that_nobody_reads_is_never_the_next_request() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let inner = "GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n";
    let chunked = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    for repeated in [1, 3, 200, 5_000] {
        let body = inner.repeat(repeated);
        for (field, body) in
            [(format!("Content-Length: {}", body.len()), &body), ("Transfer-Encoding: chunked".to_owned(), &chunked)]
        {
            let mut client = gate.client();
            client.send(format!("POST /hello HTTP/1.1\r\nHost: gate.example\r\n{field}\r\n\r\n{body}"));
            assert_eq!(client.answer().status, 200);
            client.send("GET /gather HTTP/1.1\r\nHost: gate.example\r\n\r\n");
            // Whatever is left of it is read, or the connection ends.
            assert!(client.try_answer().is_none_or(|answer| answer.body == b"0 bytes"), "{repeated} {field}");
        }
    }
    assert_eq!(server.bytes(), 0);
}
