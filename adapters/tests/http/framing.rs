//! Requests that could be read in two ways: refused, the connection closed, and not one byte at the upstream.

use std::time::Duration;

use crate::support::{Gate, PATIENCE, Server};

fn refused(name: &str, request: impl AsRef<[u8]>) {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    for kept in [false, true] {
        let mut client = gate.client();
        if kept {
            assert_eq!(client.ask("GET /hello HTTP/1.1\r\nHost: gate.example\r\n\r\n").status, 200);
        }
        client.send(&request);
        let answer = client.try_answer().unwrap_or_else(|| panic!("{name}: closed without an answer ({kept})"));
        assert_eq!(answer.status, 400, "{name}: {}", answer.head);
        assert!(client.is_ended_within(PATIENCE), "{name}: the connection stays open");
    }
    assert_eq!(server.bytes(), 0, "{name}: the upstream saw something");
}

fn passes(name: &str, request: impl AsRef<[u8]>, body: &[u8]) {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let answer = gate.client().ask(request);
    assert_eq!(answer.status, 200, "{name}: {}", answer.head);
    assert_eq!(server.last().body, body, "{name}");
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /mcp HTTP/1.1\r\nHost: gate.example\r\n{fields}\r\n{body}")
}

#[test]
fn t221_r71_ambiguous_length_is_refused() {
    let smuggled = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n";
    for (name, fields) in [
        ("length then coding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("coding then length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("zero length then coding", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
        ("chunked, identity", "Transfer-Encoding: chunked, identity\r\n"),
        ("identity, chunked", "Transfer-Encoding: identity, chunked\r\n"),
        ("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n"),
        ("xchunked", "Transfer-Encoding: xchunked\r\n"),
        ("two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("coding and identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("space before colon", "Transfer-Encoding : chunked\r\n"),
        ("vertical tab", "Transfer-Encoding:\x0bchunked\r\n"),
        ("empty coding", "Transfer-Encoding:\r\n"),
        ("quoted coding", "Transfer-Encoding: \"chunked\"\r\n"),
        ("two equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("two different lengths", "Content-Length: 5\r\nContent-Length: 50\r\n"),
        ("length with a sign", "Content-Length: +3\r\n"),
        ("negative length", "Content-Length: -1\r\n"),
        ("hexadecimal length", "Content-Length: 0x3\r\n"),
        ("length as a list", "Content-Length: 3,3\r\n"),
        ("length as a list with a space", "Content-Length: 3, 3\r\n"),
        ("length beyond 2^64", "Content-Length: 18446744073709551616\r\n"),
        ("empty length", "Content-Length:\r\n"),
        ("length with a space before the colon", "Content-Length : 5\r\n"),
    ] {
        refused(name, post(fields, smuggled));
    }
    refused(
        "coding in HTTP/1.0",
        "POST /mcp HTTP/1.0\r\nHost: gate.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
}

#[test]
fn t222_chunks_are_read_strictly() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (name, body) in [
        ("size of 2^64", "10000000000000000\r\nx"),
        ("size overflow", "ffffffffffffffffffff\r\nx"),
        ("no line end after data", "3\r\nabcX0\r\n\r\n"),
        ("line feed only after size", "3\nabc\r\n0\r\n\r\n"),
        ("line feed only after data", "3\r\nabc\n0\r\n\r\n"),
        ("line feed only at the end", "3\r\nabc\r\n0\r\n\n"),
        ("negative size", "-3\r\nabc\r\n0\r\n\r\n"),
        ("size with a prefix", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
        ("space after size", "3 \r\nabc\r\n0\r\n\r\n"),
        ("carriage return in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
    ] {
        // The upstream may have seen the head by the time a later chunk is judged, but never a whole request.
        let server = Server::ok();
        let gate = Gate::before(server.address);
        let mut client = gate.client();
        client.send(post(chunked, body));
        let answer = client.try_answer().unwrap_or_else(|| panic!("{name}: closed without an answer"));
        assert_eq!(answer.status, 400, "{name}");
        assert!(client.is_ended_within(PATIENCE), "{name}");
        assert!(server.requests().is_empty(), "{name}");
    }
    for (name, body) in [
        ("leading zeros", format!("{}3\r\nabc\r\n0\r\n\r\n", "0".repeat(1 << 20))),
        ("a long extension", format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(1 << 20))),
    ] {
        refused(name, post(chunked, &body));
    }
}

#[test]
fn t222_trailers_are_dropped() {
    let body =
        "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nAuthorization: Bearer x\r\nContent-Length: 9\r\nX-Forwarded-User: eve\r\n\r\n";
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let answer =
        gate.client().ask(post("Transfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: Authorization\r\n", body));
    assert_eq!(answer.status, 200);
    let asked = server.last();
    assert_eq!(asked.body, b"abcde");
    assert_eq!(asked.header("trailer"), None);
    assert_eq!(asked.header("te"), None);
    assert_eq!(asked.header("x-forwarded-user").as_deref(), Some("ada"));
    assert!(server.bytes() < 500, "nothing came behind the last chunk");
}

#[test]
fn t222_a_trailer_flood_is_refused() {
    let flood = "X-A: b\r\n".repeat(10_000);
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    client.send(post("Transfer-Encoding: chunked\r\n", &format!("0\r\n{flood}\r\n")));
    let status = client.try_answer().map(|answer| answer.status);
    assert!(matches!(status, Some(400 | 431)), "{status:?}");
}

#[test]
fn t225_broken_heads_are_refused() {
    for (name, request) in [
        ("folded line", "GET /mcp HTTP/1.1\r\nHost: gate.example\r\nX-A: b\r\n c\r\n\r\n"),
        ("folded by tab", "GET /mcp HTTP/1.1\r\nHost: gate.example\r\nX-A: b\r\n\tc\r\n\r\n"),
        ("first field indented", "GET /mcp HTTP/1.1\r\n Host: gate.example\r\nHost: gate.example\r\n\r\n"),
        ("NUL in value", "GET /mcp HTTP/1.1\r\nHost: gate.example\r\nX-A: b\0c\r\n\r\n"),
        ("CR in value", "GET /mcp HTTP/1.1\r\nHost: gate.example\r\nX-A: b\rc\r\n\r\n"),
        ("space before colon", "GET /mcp HTTP/1.1\r\nHost: gate.example\r\nX-A : b\r\n\r\n"),
        ("empty name", "GET /mcp HTTP/1.1\r\nHost: gate.example\r\n: b\r\n\r\n"),
        ("name that is no token", "GET /mcp HTTP/1.1\r\nHost: gate.example\r\nX(A): b\r\n\r\n"),
        ("no colon", "GET /mcp HTTP/1.1\r\nHost: gate.example\r\nX-A\r\n\r\n"),
        ("bare line feeds", "GET /mcp HTTP/1.1\nHost: gate.example\n\n"),
        ("one bare line feed", "GET /mcp HTTP/1.1\r\nHost: gate.example\nX-A: b\r\n\r\n"),
        ("bare line feed at the end", "GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\n"),
        ("bare line feed in front", "\nGET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n"),
        ("space in front", " GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n"),
        ("two spaces", "GET  /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n"),
        ("tab for space", "GET\t/mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n"),
        ("space in target", "GET /mcp x HTTP/1.1\r\nHost: gate.example\r\n\r\n"),
        ("fragment in target", "GET /mcp#x HTTP/1.1\r\nHost: gate.example\r\n\r\n"),
        ("method that is no token", "G(T /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n"),
    ] {
        refused(name, request);
    }
}

#[test]
fn t239_versions() {
    for (name, request) in [
        ("HTTP/0.9", "GET /mcp\r\n"),
        ("HTTP/1.2", "GET /mcp HTTP/1.2\r\nHost: gate.example\r\n\r\n"),
        ("HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("trailing space", "GET /mcp HTTP/1.1 \r\nHost: gate.example\r\n\r\n"),
        ("lower case", "GET /mcp http/1.1\r\nHost: gate.example\r\n\r\n"),
        ("garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\n\r\n"),
    ] {
        refused(name, request);
    }
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    let answer = client.ask("POST /mcp HTTP/1.0\r\nHost: gate.example\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(answer.status, 200);
    assert!(client.is_ended_within(PATIENCE), "HTTP/1.0 keeps no connection");
    assert!(server.last().head.starts_with("POST /mcp HTTP/1.1\r\n"));
}

#[test]
fn t230_host_and_target_must_agree() {
    for (name, request) in [
        ("no host", "GET /mcp HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET /mcp HTTP/1.1\r\nHost: gate.example\r\nHost: gate.example\r\n\r\n"),
        ("target elsewhere", "GET http://other.example/mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n"),
        ("target with a user", "GET http://gate.example@other.example/mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n"),
    ] {
        refused(name, request);
    }
    passes("absolute form", "GET http://gate.example/mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n", b"");
}

#[test]
fn t223_nothing_is_upgraded() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    for upgrade in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n",
    ] {
        let answer = gate.client().ask(post(&format!("{upgrade}Content-Length: 2\r\n"), "hi"));
        assert_eq!(answer.status, 200);
        let asked = server.last();
        assert_eq!(asked.header("upgrade"), None);
        assert_eq!(asked.header("connection"), None);
        assert_eq!(asked.header("http2-settings"), None);
        assert_eq!(asked.body, b"hi");
    }
    // What comes behind in the other protocol is no request, and nobody's before there was a 101.
    let asked = "GET /mcp HTTP/1.1\r\nHost: gate.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    for (behind, status) in [(&b"\x81\x05hello"[..], 400), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400)] {
        let server = Server::ok();
        let gate = Gate::before(server.address);
        let mut client = gate.client();
        client.send([asked.as_bytes(), behind].concat());
        let answers: Vec<u16> = std::iter::from_fn(|| client.try_answer()).map(|answer| answer.status).collect();
        assert!(matches!(answers.as_slice(), [200, last] | [last] if *last == status), "{answers:?}");
        assert!(server.requests().iter().all(|request| request.body.is_empty()));
        assert!(server.requests().len() <= 1);
    }
    refused("CONNECT", "CONNECT gate.example:443 HTTP/1.1\r\nHost: gate.example:443\r\n\r\nGET / HTTP/1.1\r\n\r\n");
}

#[test]
fn t223_an_upstream_that_upgrades_unasked_is_a_bad_gateway() {
    let server = Server::answering("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    let gate = Gate::before(server.address);
    assert_eq!(gate.client().ask(post("", "")).status, 502);
}

#[test]
fn t224_pipelined_requests_are_answered_in_order_and_judged_each() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    client.send([post("Content-Length: 2\r\n", "ab"), post("Content-Length: 2\r\n", "cd")].concat());
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.answer().status, 200);
    let bodies: Vec<Vec<u8>> = server.requests().into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies, [b"ab", b"cd"]);

    let server = Server::ok();
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    client
        .send([post("Content-Length: 2\r\n", "ab"), post("Content-Length: 2\r\nContent-Length: 2\r\n", "cd")].concat());
    // The second is refused as soon as it is read, which is before the first was answered.
    assert!(client.is_ended_within(PATIENCE));
    assert!(server.requests().len() <= 1);
}

#[test]
fn bytes_that_trickle_in_are_read_the_same() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    for byte in post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n").bytes() {
        client.send([byte]);
        std::thread::sleep(Duration::from_micros(300));
    }
    assert_eq!(client.answer().status, 200);
    assert_eq!(server.last().body, b"abc");
}

#[test]
fn t247_large_heads_are_refused() {
    let many = "X-A: b\r\n".repeat(10_000);
    let cookies = "Cookie: a=b\r\n".repeat(1_000);
    let large = format!("X-A: {}\r\n", "b".repeat(1 << 20));
    for (name, fields) in [("10 000 fields", many), ("1 000 cookies", cookies), ("a field of 1 MiB", large)] {
        let server = Server::ok();
        let gate = Gate::before(server.address);
        let mut client = gate.client();
        client.send(post(&fields, ""));
        let answer = client.try_answer().unwrap_or_else(|| panic!("{name}: closed without an answer"));
        assert_eq!(answer.status, 431, "{name}");
        assert_eq!(server.bytes(), 0, "{name}");
    }
    let target = format!("GET /{} HTTP/1.1\r\nHost: gate.example\r\n\r\n", "a".repeat(70_000));
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let status = gate.client().ask(target).status;
    assert!(matches!(status, 414 | 431), "{status}");
    assert_eq!(server.bytes(), 0);
}
