//! Servers that say more than they should, and clients that hope to be misunderstood.

use std::time::Duration;

use portcullis_domain::limits;

use crate::support::{Gate, PATIENCE, Plan, Server, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

fn post(fields: &str, body: &str) -> String {
    format!("POST /mcp HTTP/1.1\r\nHost: gate.example\r\n{fields}\r\n{body}")
}

#[test]
fn t234_interim_answers_without_end_are_no_answer() {
    let server = Server::scripted(|mut line| {
        line.request();
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(limits::UPSTREAM_INTERIM_MAX);
        while line.send(&interim) {}
    });
    let gate = Gate::before(server.address);
    assert_eq!(gate.client().ask(post("Content-Length: 2\r\n", "hi")).status, 502);
    until("its connection is closed", || server.open() == 0);
}

#[test]
fn t234_trailers_of_an_answer_are_dropped() {
    let server = Server::scripted(|mut line| {
        while line.request().is_some() {
            line.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n3\r\nabc\r\n0\r\n\
                 Set-Cookie: pc-csrf=evil\r\nContent-Length: 9\r\nX-Trailer: 1\r\n\r\n",
            );
        }
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    for _ in 0..3 {
        let answer = client.ask(post("TE: trailers\r\nContent-Length: 2\r\n", "hi"));
        // What comes behind the last chunk would be the next answer's begin.
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"abc"[..]));
        assert_eq!(answer.header("trailer"), None);
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn t236_a_body_where_none_may_be_is_nobodys_answer() {
    let server = Server::scripted(|mut line| {
        while let Some(asked) = line.request() {
            let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
            let answer = match asked.header("x-kind").as_deref() {
                Some("204") => "HTTP/1.1 204 No Content\r\nContent-Length: 45\r\n\r\n",
                Some("304") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 45\r\n\r\n",
                Some("chunked") => "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n2d\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n",
            };
            if !line.send(format!("{answer}{forged}")) {
                break;
            }
        }
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    for (method, kind, status) in
        [("POST", "204", 204), ("GET", "304", 304), ("GET", "chunked", 204), ("HEAD", "", 200)]
    {
        client.send(format!("{method} /mcp HTTP/1.1\r\nHost: gate.example\r\nX-Kind: {kind}\r\n\r\n"));
        let head = client.head().unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {kind}: {head}");
        // Nothing comes behind it: what is read next answers the next request.
        assert_eq!(client.ask("GET /hello HTTP/1.1\r\nHost: gate.example\r\n\r\n").body, b"hello", "{method} {kind}");
    }
    assert_eq!(server.connections(), 4, "a connection on which a body came all the same is not used again");
}

#[test]
fn t224_whoever_is_refused_is_not_told_to_go_on() {
    let server = Server::ok();
    let gate = Gate::planned(server.address, Plan { body_max: 10, ..Plan::default() });
    let behind = "GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n";
    for (path, status) in [("/mcp", 413), ("/hello", 200)] {
        let mut client = gate.client();
        let length = behind.len();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: gate.example\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        ));
        assert_eq!(client.answer().status, status, "{path}: the first word is the last");
        // Whether this is the body or a request cannot be told any more (RFC 9110 section 10.1.1): nobody takes it for one.
        client.send(behind);
        assert!(client.try_answer().is_none(), "{path}");
        assert!(client.is_ended_within(PATIENCE), "{path}");
    }
    assert_eq!(server.bytes(), 0);
}

#[test]
fn t239_a_kept_connection_of_http_1_0_has_the_framing_of_its_version() {
    let server = Server::answering(OK);
    let gate = Gate::before(server.address);
    let old = |fields: &str, body: &str| {
        format!("POST /mcp HTTP/1.0\r\nHost: gate.example\r\nConnection: keep-alive\r\n{fields}\r\n{body}")
    };
    let mut client = gate.client();
    for _ in 0..2 {
        let answer = client.ask(old("Content-Length: 2\r\n", "hi"));
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{}"[..]));
    }
    // Without a length there is no body, and not one that lasts as long as the connection.
    assert_eq!(client.ask(old("", "hi")).status, 200);
    assert!(server.last().body.is_empty());

    // A body whose end cannot be announced ends with the connection.
    let server = Server::scripted(|mut line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        std::thread::sleep(Duration::from_millis(50));
        line.send("0\r\n\r\n");
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    client.send(old("Content-Length: 2\r\n", "hi"));
    let head = client.head().unwrap().to_ascii_lowercase();
    assert!(!head.contains("transfer-encoding") && !head.contains("content-length"), "{head}");
    assert_eq!(client.rest(), b"abc");
}
