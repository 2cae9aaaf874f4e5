//! Connections to the upstream: kept, the last used first, never more than allowed, nothing sent twice.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::support::{Gate, Plan, Server, until};

const POST: &str = "POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 2\r\n\r\nhi";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

#[test]
fn a_connection_closed_while_idle_is_replaced_without_a_word() {
    let server = Server::scripted(|mut line| {
        line.request();
        line.send(OK);
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    for _ in 0..20 {
        assert_eq!(client.ask(POST).status, 200);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.connections(), 20);
}

#[test]
fn a_request_that_may_have_arrived_is_never_sent_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let known = asked.clone();
    let server = Server::scripted(move |mut line| {
        // The first request of each connection is answered; the second is read and the connection closed.
        if line.request().is_some() {
            known.fetch_add(1, SeqCst);
            line.send(OK);
        }
        if line.request().is_some() {
            known.fetch_add(1, SeqCst);
        }
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    assert_eq!(client.ask(POST).status, 200);
    assert_eq!(client.ask(POST).status, 502);
    assert_eq!(asked.load(SeqCst), 2);
    assert_eq!(server.connections(), 1);
    assert_eq!(client.ask(POST).status, 200);
    assert_eq!(server.connections(), 2);
}

#[test]
fn t224_a_request_of_which_nothing_was_sent_is_sent_again_whole_and_once() {
    let path = std::env::temp_dir().join(format!("portcullis-{}-again.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let (told, heard) = mpsc::channel();
    let kept: Arc<Mutex<Option<UnixStream>>> = Arc::default();
    let keeper = kept.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (mut request, mut scratch) = (Vec::new(), [0; 65_536]);
            while !request.ends_with(b"end") && !request.ends_with(b"end\r\n0\r\n\r\n") {
                match stream.read(&mut scratch) {
                    Ok(length @ 1..) => request.extend_from_slice(&scratch[..length]),
                    _ => break,
                }
            }
            told.send(String::from_utf8(request).unwrap()).unwrap();
            *keeper.lock().unwrap() = Some(stream.try_clone().unwrap());
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    let close = move || {
        if let Some(stream) = kept.lock().unwrap().take() {
            stream.shutdown(Shutdown::Both).unwrap();
        }
    };
    let plan = Plan { url: Some(format!("unix:{}:/", path.display())), before: Arc::new(close), ..Plan::default() };
    let gate = Gate::planned((Ipv4Addr::LOCALHOST, 0).into(), plan);
    let mut client = gate.client();
    let large = format!("{}end", "x".repeat(100_000));
    let chunks = |body: &str| format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let sized = |body: &str| (format!("Content-Length: {}", body.len()), body.to_owned());
    let chunked = |body: &str| ("Transfer-Encoding: chunked".to_owned(), chunks(body));
    // Each of them finds the connection of the one before it, which is closed before anything is written to it.
    for (framing, body) in [sized("the end"), sized("the end"), sized(&large), chunked("the end"), sized("end")] {
        let answer = client.ask(format!("POST /mcp HTTP/1.1\r\nHost: gate.example\r\n{framing}\r\n\r\n{body}"));
        assert_eq!(answer.status, 200, "{framing}");
        let asked = heard.recv().unwrap();
        let (head, behind) = asked.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /mcp HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&framing.to_lowercase()), "{head}");
        assert_eq!(behind, body, "{framing}");
        assert!(heard.try_recv().is_err(), "once");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_last_used_connection_is_taken_first() {
    let server = Server::scripted(|mut line| {
        while line.request().is_some() {
            std::thread::sleep(Duration::from_millis(100));
            if !line.send(OK) {
                break;
            }
        }
    });
    let gate = Gate::before(server.address);
    // Three at once open three connections.
    let mut clients: Vec<_> = (0..3).map(|_| gate.client()).collect();
    for client in &mut clients {
        client.send(POST);
        std::thread::sleep(Duration::from_millis(10));
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(server.connections(), 3);
    for _ in 0..4 {
        assert_eq!(clients[0].ask(POST).status, 200);
    }
    let numbers: Vec<usize> = server.requests().iter().skip(3).map(|asked| asked.connection).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] == pair[1]), "{numbers:?}");
}

#[test]
fn an_idle_connection_is_let_go() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 2\r\n\r\n{}");
    let gate = Gate::before(server.address);
    assert_eq!(gate.client().ask(POST).status, 200);
    assert_eq!(server.open(), 1);
    let begin = Instant::now();
    until("it is closed", || server.open() == 0);
    assert!(begin.elapsed() < Duration::from_secs(3), "the upstream's own word is heeded");
}

#[test]
fn connections_are_capped_over_all_cores() {
    let server = Server::scripted(|mut line| {
        while line.request().is_some() {
            std::thread::sleep(Duration::from_millis(200));
            line.send(OK);
        }
    });
    let plan = Plan { cores: 2, upstream_connections_max: 2, ..Plan::default() };
    let gate = Gate::planned(server.address, plan);
    let mut clients: Vec<_> = (0..8).map(|_| gate.client()).collect();
    for client in &mut clients {
        client.send(POST);
    }
    let most = Arc::new(AtomicUsize::new(0));
    for client in &mut clients {
        assert_eq!(client.answer().status, 200, "waiting is enough");
        most.fetch_max(server.open(), SeqCst);
    }
    assert!(most.load(SeqCst) <= 3, "{most:?}");
}

#[test]
fn too_many_for_too_long_is_503() {
    let server = Server::scripted(|mut line| {
        line.request();
        line.is_closed_within(Duration::from_secs(10));
    });
    let plan = Plan { upstream_connections_max: 1, connect_deadline: Duration::from_millis(300), ..Plan::default() };
    let gate = Gate::planned(server.address, plan);
    let mut first = gate.client();
    first.send(POST);
    until("the place is taken", || server.open() == 1);
    let answer = gate.client().ask(POST);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
    drop(first);
    until("the place is free", || server.open() == 0);
}

#[test]
fn an_early_answer_does_not_poison_the_connection() {
    // The upstream answers before it has read the body: its rest must not become somebody's next request.
    let server = Server::scripted(|mut line| {
        while let Some(head) = line.head() {
            assert!(head.starts_with("POST "), "out of step: {head:?}");
            if !line.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}") {
                break;
            }
        }
    });
    let gate = Gate::before(server.address);
    for _ in 0..5 {
        let mut client = gate.client();
        client.send("POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 60\r\n\r\n");
        assert_eq!(client.answer().status, 400);
        client.send("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\nGET /smuggled HTTP/1.1\r\n");
    }
    assert!(server.connections() >= 5);
}

#[test]
fn t236_a_left_behind_answer_reaches_nobody_else() {
    let server = Server::scripted(|mut line| {
        while let Some(asked) = line.request() {
            let who = asked.header("x-who").unwrap();
            std::thread::sleep(Duration::from_millis(30));
            if !line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{who}", who.len())) {
                break;
            }
        }
    });
    let gate = Gate::before(server.address);
    let ask = |who: usize| {
        format!("POST /mcp HTTP/1.1\r\nHost: gate.example\r\nX-Who: client-{who}\r\nContent-Length: 2\r\n\r\nhi")
    };
    for round in 0..30 {
        let mut leaver = gate.client();
        leaver.send(ask(1_000 + round));
        std::thread::sleep(Duration::from_millis(u64::try_from(round).unwrap()));
        drop(leaver);
        let answer = gate.client().ask(ask(round));
        assert_eq!(answer.body, format!("client-{round}").as_bytes());
    }
}

#[test]
fn t236_an_answer_that_nobody_asked_for_reaches_nobody() {
    let server = Server::scripted(|mut line| {
        while let Some(asked) = line.request() {
            let who = asked.header("x-who").unwrap();
            let surplus = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
            if !line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{who}{surplus}", who.len())) {
                break;
            }
        }
    });
    let gate = Gate::before(server.address);
    let mut client = gate.client();
    for round in 0..50 {
        let answer = client.ask(format!(
            "POST /mcp HTTP/1.1\r\nHost: gate.example\r\nX-Who: client-{round}\r\nContent-Length: 2\r\n\r\nhi"
        ));
        assert_eq!(answer.body, format!("client-{round}").as_bytes());
    }
    assert_eq!(server.connections(), 50, "a connection out of step is not used again");
}
