//! Clients and upstreams that take their time.

use std::io::Write;
use std::time::{Duration, Instant};

use portcullis_adapters::http::Settings;

use crate::support::{Gate, Plan, Server, until};

const SHORT: Duration = Duration::from_millis(400);

fn gate(server: &Server, settings: Settings) -> Gate {
    Gate::planned(server.address, Plan { settings, body_max: u64::MAX, ..Plan::default() })
}

#[test]
fn t246_a_head_that_dribbles_is_answered_408() {
    let server = Server::ok();
    let gate = gate(&server, Settings { head: SHORT, ..Settings::default() });
    let mut client = gate.client();
    let begin = Instant::now();
    client.send("GET /mcp HTTP/1.1\r\nHost: gate.example\r\n");
    let mut dribbler = client.stream.try_clone().unwrap();
    let dribble = std::thread::spawn(move || {
        for _ in 0..40 {
            if dribbler.write_all(b"X-A: b\r\n").is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(client.answer().status, 408);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    dribble.join().unwrap();
    assert_eq!(server.bytes(), 0);
}

#[test]
fn t246_a_head_that_dribbles_after_an_answer_is_answered_408_too() {
    let server = Server::ok();
    let gate = gate(&server, Settings { head: SHORT, ..Settings::default() });
    let mut client = gate.client();
    assert_eq!(client.ask("GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n").status, 200);
    client.send("GET /mcp HT");
    assert_eq!(client.answer().status, 408);
}

#[test]
fn t246_a_connection_without_a_byte_is_closed() {
    let server = Server::ok();
    let gate = gate(&server, Settings { head: SHORT, ..Settings::default() });
    let mut client = gate.client();
    assert!(client.is_ended_within(Duration::from_secs(2)));
    let counts = gate.serving.as_ref().unwrap().counts().clone();
    until("it is counted", || counts.timed_out() == 1 && counts.open() == 0);
}

#[test]
fn an_idle_connection_is_closed_and_not_before_its_time() {
    let server = Server::ok();
    let gate = gate(&server, Settings { head: SHORT, idle: Duration::from_millis(1_500), ..Settings::default() });
    let mut client = gate.client();
    let begin = Instant::now();
    assert_eq!(client.ask("GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n").status, 200);
    assert!(client.is_ended_within(Duration::from_secs(4)));
    assert!(begin.elapsed() > Duration::from_millis(1_400), "{:?}", begin.elapsed());
}

#[test]
fn t246_a_body_that_dribbles_is_answered_408() {
    let server = Server::scripted(|mut line| {
        line.request();
    });
    for path in ["/mcp", "/gather"] {
        let gate = gate(&server, Settings { body_window: Duration::from_millis(600), ..Settings::default() });
        let mut client = gate.client();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 1000\r\n\r\n"));
        let mut dribbler = client.stream.try_clone().unwrap();
        let dribble = std::thread::spawn(move || {
            for _ in 0..40 {
                if dribbler.write_all(b"x").is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let begin = Instant::now();
        let answer = client.try_answer();
        assert_eq!(answer.map(|answer| answer.status), Some(408), "{path}");
        assert!(begin.elapsed() < Duration::from_millis(1_900), "{:?}", begin.elapsed());
        dribble.join().unwrap();
    }
}

#[test]
fn a_body_in_steady_motion_may_take_longer_than_the_window() {
    let server = Server::ok();
    let gate = gate(&server, Settings { body_window: Duration::from_millis(300), ..Settings::default() });
    let mut client = gate.client();
    client.send("POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 40960\r\n\r\n");
    for _ in 0..40 {
        client.send([b'x'; 1_024]);
        std::thread::sleep(Duration::from_millis(40));
    }
    assert_eq!(client.answer().status, 200);
    assert_eq!(server.last().body.len(), 40_960);
}

#[test]
fn t246_a_client_that_takes_nothing_is_closed() {
    let server = Server::scripted(|mut line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n");
        let piece = vec![b'x'; 1 << 20];
        while line.send(&piece) {}
    });
    let gate = gate(&server, Settings { write_stall: SHORT, ..Settings::default() });
    let mut client = gate.client();
    client.send("GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n");
    let counts = gate.serving.as_ref().unwrap().counts().clone();
    until("it is closed", || counts.timed_out() == 1 && counts.open() == 0);
    until("the upstream's connection is closed too", || server.open() == 0);
}

#[test]
fn a_reader_that_is_slow_but_reads_is_left_alone() {
    let server = Server::scripted(|mut line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 33554432\r\n\r\n");
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..32 {
            line.send(&piece);
        }
    });
    let gate = gate(&server, Settings { write_stall: Duration::from_millis(600), ..Settings::default() });
    let mut client = gate.client();
    client.send("GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n");
    let begin = Instant::now();
    let mut total = client.head().map(|_| 0_usize).unwrap();
    let mut scratch = vec![0; 1 << 20];
    while total < 30 << 20 {
        let length = std::io::Read::read(&mut client.stream, &mut scratch).unwrap();
        assert!(length > 0, "closed after {total} bytes");
        total += length;
        std::thread::sleep(Duration::from_millis(40));
    }
    assert!(begin.elapsed() > Duration::from_millis(600));
}

#[test]
fn an_upstream_that_never_answers_is_504() {
    let server = Server::scripted(|mut line| {
        line.request();
        line.is_closed_within(Duration::from_secs(10));
    });
    let gate = gate(&server, Settings { quiet: SHORT, ..Settings::default() });
    let mut client = gate.client();
    let answer = client.ask("POST /mcp HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(answer.status, 504);
    assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
    until("the upstream's connection is closed", || server.open() == 0);
}

#[test]
fn an_upstream_that_stalls_in_its_body_is_cut_off() {
    let server = Server::scripted(|mut line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
        line.is_closed_within(Duration::from_secs(10));
    });
    let gate = gate(&server, Settings { quiet: SHORT, ..Settings::default() });
    let mut client = gate.client();
    client.send("GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n");
    client.head().unwrap();
    assert!(client.is_ended_within(Duration::from_secs(2)));
    until("the upstream's connection is closed", || server.open() == 0);
}

#[test]
fn t235_a_client_that_takes_nothing_of_a_stream_is_cut_off() {
    let server = Server::scripted(|mut line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        let event = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
        while line.send(&event) {}
    });
    let gate = gate(&server, Settings { write_stall: SHORT, ..Settings::default() });
    let mut client = gate.client();
    client.send("GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n");
    client.head().unwrap();
    until("the upstream's connection is closed", || server.open() == 0);
    assert_eq!(gate.serving.as_ref().unwrap().counts().timed_out(), 1);
}

#[test]
fn i25_no_deadline_ends_a_silent_event_stream() {
    let server = Server::scripted(|mut line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        std::thread::sleep(Duration::from_millis(2_000));
        line.send("2\r\n\n\n\r\n");
        line.is_closed_within(Duration::from_secs(10));
    });
    let short = Settings {
        head: SHORT,
        idle: SHORT,
        write_stall: SHORT,
        body_window: SHORT,
        quiet: SHORT,
        ..Settings::default()
    };
    let gate = gate(&server, short);
    let mut client = gate.client();
    client.send("GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n");
    client.head().unwrap();
    assert_eq!(client.chunk(), b"\n\n");
}

#[test]
fn t246_p10_when_there_is_little_room_strangers_are_the_first_to_go_and_nobody_with_a_session() {
    let server = Server::ok();
    let gate = gate(&server, Settings { connections_max: 8, ..Settings::default() });
    let ask = |target: &str| {
        let mut client = gate.client();
        assert_eq!(client.ask(format!("GET {target} HTTP/1.1\r\nHost: gate.example\r\n\r\n")).status, 200);
        client
    };
    let mut known = ask("/known");
    let mut strangers: Vec<_> = (0..6).map(|_| ask("/hello")).collect();
    let mut silent = gate.client();
    // Eight of eight: who comes now finds no place, and soon there are some. Each core looks at its own connections, so that some
    // strangers may stay where those of another core have made the room already.
    assert_eq!(gate.client().answer().status, 503);
    assert!(strangers.iter_mut().any(|client| client.is_ended_within(Duration::from_secs(5))));
    let ended = strangers.iter_mut().chain([&mut silent]).map(|client| client.is_ended_within(Duration::from_secs(1)));
    assert!(ended.filter(|ended| *ended).count() >= 2);
    drop((strangers, silent));
    let mut next = ask("/hello");
    assert_eq!(known.ask("GET /hello HTTP/1.1\r\nHost: gate.example\r\n\r\n").status, 200);
    // With room enough nobody is hurried.
    assert!(!next.is_ended_within(Duration::from_secs(4)));
}
