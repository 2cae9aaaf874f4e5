//! Event streams: flushed at once, silent for as long as they like, ended from either side, bounded in memory.

use std::io::Write;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::{Client, Gate, PATIENCE, Plan, Server, until};

const GET: &str = "GET /mcp HTTP/1.1\r\nHost: gate.example\r\nAccept: text/event-stream\r\n\r\n";
const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[test]
fn f4_the_head_of_a_stream_is_flushed_before_its_first_event() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let server = Server::scripted(move |mut line| {
        line.request();
        line.send(STREAM);
        let _ = wait.lock().unwrap().recv();
        line.send(chunk("data: 1\n\n"));
        let _ = wait.lock().unwrap().recv();
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    let begin = Instant::now();
    client.send(GET);
    let head = client.head().unwrap().to_ascii_lowercase();
    assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
    assert!(head.contains("x-accel-buffering: no"), "{head}");
    assert!(head.contains("content-type: text/event-stream; charset=utf-8"), "{head}");
    go.send(()).unwrap();
    let begin = Instant::now();
    assert_eq!(client.chunk(), b"data: 1\n\n");
    assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
}

#[test]
fn a_plain_answer_has_no_buffering_header() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    assert_eq!(gate.client().ask(GET).header("x-accel-buffering"), None);
}

/// A stream of which the client has had the first piece, and whether the upstream sees it end in time.
fn begun() -> (Gate, Client, mpsc::Receiver<bool>) {
    let (told, closed) = mpsc::channel();
    let server = Server::scripted(move |mut line| {
        line.request();
        line.send(STREAM);
        line.send(chunk("data: 1\n\n"));
        told.send(line.is_closed_within(PATIENCE)).unwrap();
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    client.send(GET);
    client.head().unwrap();
    client.chunk();
    (gate, client, closed)
}

#[test]
fn rs13_t235_a_client_that_leaves_ends_the_upstreams_stream() {
    let (_gate, client, closed) = begun();
    drop(client);
    assert!(closed.recv_timeout(Duration::from_secs(2)).unwrap());
}

#[test]
fn t235_a_client_that_asked_ahead_and_leaves_ends_the_upstreams_work() {
    for (begins, more) in [(true, 1), (true, 3), (false, 1), (false, 3)] {
        let (told, closed) = mpsc::channel();
        let server = Server::scripted(move |mut line| {
            line.head();
            if begins {
                line.send(format!("{STREAM}3\r\n:\n\n\r\n"));
            }
            told.send(line.is_closed_within(PATIENCE)).unwrap();
        });
        let gate = Gate::before(server.address);
        let mut client = gate.client();
        let ask = "GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n";
        client.send(ask.repeat(1 + more));
        if begins {
            client.head().unwrap();
        }
        until("the upstream is asked", || server.connections() == 1);
        std::thread::sleep(Duration::from_millis(50));
        // And some of it later, when the gate has long been answering.
        client.send(ask);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(server.open(), 1, "it is still there");
        drop(client);
        assert!(closed.recv_timeout(Duration::from_secs(2)).unwrap(), "{begins} {more}");
    }
}

#[test]
fn t224_what_is_asked_ahead_is_answered_in_order_whenever_it_came() {
    const ASKED: usize = 40;
    let server = Server::scripted(|mut line| {
        while let Some(asked) = line.request() {
            std::thread::sleep(Duration::from_millis(3));
            line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", asked.body.len()));
            line.send(asked.body);
        }
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    // In pieces that end anywhere: between two requests, in a head, in a body.
    let asked: String = (0..ASKED)
        .map(|number| format!("POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 3000\r\n\r\n{number:03000}"))
        .collect();
    let mut sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        for piece in asked.as_bytes().chunks(1_777) {
            sender.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_micros(700));
        }
    });
    for number in 0..ASKED {
        assert_eq!(client.answer().body, format!("{number:03000}").into_bytes());
    }
    sending.join().unwrap();
}

#[test]
fn t235_a_client_that_leaves_before_the_head_ends_the_upstreams_work() {
    for body in ["", "Content-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"] {
        let (told, closed) = mpsc::channel();
        let server = Server::scripted(move |mut line| {
            line.head();
            told.send(line.is_closed_within(PATIENCE)).unwrap();
        });
        let gate = Gate::before(server.address);
        let mut client = gate.client();
        let body = if body.is_empty() { "\r\n" } else { body };
        client.send(format!("POST /mcp HTTP/1.1\r\nHost: gate.example\r\n{body}"));
        until("the upstream is asked", || server.connections() == 1);
        std::thread::sleep(Duration::from_millis(50));
        let sever = gate.severs.lock().unwrap().pop().unwrap();
        assert!(sever.is_open(), "{body:?}");
        drop(client);
        assert!(closed.recv_timeout(Duration::from_secs(2)).unwrap(), "{body:?}");
        // What is asked of open answers is asked of this one no more, and what it held is given back.
        until("nobody takes the answer for an open one", || !sever.is_open());
    }
}

#[test]
fn t235_an_upstream_that_breaks_off_ends_the_clients_answer() {
    for head in [STREAM, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"] {
        let server = Server::scripted(move |mut line| {
            line.request();
            line.send(head);
            line.send(chunk("data: 1\n\n"));
        });
        let gate = Gate::before(server.address);
        let mut client = gate.client();
        client.send(GET);
        client.head().unwrap();
        let rest = client.rest();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "a broken stream must not look whole");
    }
}

#[test]
fn an_ended_stream_gives_its_connection_back() {
    let server = Server::scripted(|mut line| {
        while line.request().is_some() {
            line.send(STREAM);
            line.send(chunk("data: 1\n\n"));
            line.send("0\r\n\r\n");
        }
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    for _ in 0..5 {
        assert_eq!(client.ask(GET).body, b"data: 1\n\n");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn t235_a_slow_reader_holds_the_upstream_back() {
    let (told, amount) = mpsc::channel();
    let server = Server::scripted(move |mut line| {
        line.request();
        line.send(STREAM);
        line.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let event = chunk(&"x".repeat(65_536));
        let mut sent = 0_usize;
        // Until the gate takes no more, or far more than sockets can hold.
        while sent < 256 << 20 {
            match line.stream.write(event.as_bytes()) {
                Ok(written) => sent += written,
                Err(_) => break,
            }
        }
        told.send(sent).unwrap();
        line.is_closed_within(PATIENCE);
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    client.send(GET);
    client.head().unwrap();
    let sent = amount.recv_timeout(PATIENCE).unwrap();
    // Both kernels' buffers on loopback may take several megabytes each; the gate itself adds next to nothing.
    assert!(sent < 32 << 20, "{sent} bytes were taken from the upstream");
}

#[test]
fn a_slow_upstream_holds_the_client_back() {
    let server = Server::scripted(|mut line| {
        line.head();
        std::thread::sleep(PATIENCE);
    });
    let gate = Gate::planned(server.address, Plan { body_max: u64::MAX, ..Plan::default() });
    let mut client = gate.client();
    client.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    client.send("POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 1000000000\r\n\r\n");
    let piece = vec![b'x'; 65_536];
    let mut sent = 0_usize;
    while sent < 256 << 20 {
        match client.stream.write(&piece) {
            Ok(written) => sent += written,
            Err(_) => break,
        }
    }
    assert!(sent < 32 << 20, "{sent} bytes were taken from the client");
}

#[test]
fn t235_a_severed_stream_ends_within_a_second() {
    let (gate, mut client, closed) = begun();
    let sever = gate.severs.lock().unwrap().pop().unwrap();
    assert!(sever.is_open());
    sever.close();
    assert!(client.is_ended_within(Duration::from_secs(1)));
    assert!(closed.recv_timeout(Duration::from_secs(2)).unwrap());
}

#[test]
fn a_severance_that_comes_too_late_harms_nobody() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    client.ask(GET);
    let sever = gate.severs.lock().unwrap().pop().unwrap();
    until("the answer is done", || !sever.is_open());
    sever.close();
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(client.ask(GET).status, 200);
}

#[test]
fn an_answer_may_begin_before_the_request_ends() {
    let server = Server::scripted(|mut line| {
        line.head();
        line.send(STREAM);
        line.send(chunk("data: early\n\n"));
        line.is_closed_within(PATIENCE);
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    client.send("POST /mcp HTTP/1.1\r\nHost: gate.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
    client.head().unwrap();
    assert_eq!(client.chunk(), b"data: early\n\n");
    client.send("2\r\nho\r\n");
}
