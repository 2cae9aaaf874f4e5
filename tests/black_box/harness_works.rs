//! The way of a login that everything else varies, and that the instruments can say no.

use crate::harness::http::{Broken, Connection};
use crate::harness::{Answer, Ask, Pkce, REDIRECT, Request, Returned, Script, Tokens, World};
use std::io::Write as _;
use std::net::TcpListener;

#[test]
fn a_client_registers_logs_in_calls_refreshes_and_revokes() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), Pkce::new());
    let returned = Returned::of(&world.browser().login(&Ask::of(&client, &pkce), Script::default()));
    assert_eq!(returned.to, REDIRECT);
    assert_eq!((returned.param("state"), returned.param("iss")), (Some("state-1"), Some(crate::harness::BASE)));
    let first = Tokens::of(&world.exchange(&client, returned.code(), &pkce));
    world.upstream.answers(|_| Answer::json(r#"{"marker":1}"#));
    assert_eq!(world.call("/mcp", &first.access).text(), r#"{"marker":1}"#);
    assert_eq!(world.upstream.only().line, "POST /mcp HTTP/1.1");
    let second = Tokens::of(&world.refresh(&client, &first.refresh));
    assert_ne!(first.refresh, second.refresh);
    assert!(world.admits(&second.access));
    assert_eq!(world.revoke(&client, &second.refresh).status, 200);
    assert!(!world.admits(&second.access));
    assert!(!world.admits(&first.access));
}

#[test]
fn the_client_takes_no_answer_that_breaks_http() {
    for bad in [
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = Connection::to(listener.local_addr().unwrap());
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(bad.as_bytes()).unwrap();
        drop(stream);
        assert!(matches!(connection.response("GET"), Err(Broken::Malformed(_))), "{bad}");
    }
}

#[test]
fn a_stream_comes_as_it_is_sent() {
    let world = World::start();
    let tokens = world.tokens(&world.public_client("A client"));
    let (answer, events) = Answer::events(&[]);
    let mut answer = Some(answer);
    world.upstream.answers(move |_| answer.take().unwrap());
    let mut connection = world.connect();
    connection.send(&Request::get("/mcp").header("Accept", "text/event-stream").bearer(&tokens.access));
    assert_eq!(connection.head().unwrap().header("content-type"), Some("text/event-stream"));
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        events.send(event);
        assert_eq!(connection.chunk().unwrap().as_deref(), Some(event.as_bytes()));
    }
    events.finish();
    assert_eq!(connection.chunk(), Ok(None));
}
