//! The threads: spread, survive, refuse, stop.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::{Request, Response};
use portcullis_adapters::http::{AnswerBody, Bound, Handler, Handshake, Peer, Plain, RequestBody, Settings, serve};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::support::{Client, Gate, PATIENCE, Plan, Server, until};

const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: gate.example\r\n\r\n";

#[test]
fn t282_a_panic_in_a_handler_ends_its_connection_and_no_other() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    let mut other = gate.client();
    assert_eq!(other.ask(HELLO).body, b"hello");
    for _ in 0..3 {
        let mut client = gate.client();
        client.send("GET /panic HTTP/1.1\r\nHost: gate.example\r\n\r\n");
        assert!(client.is_ended_within(PATIENCE));
    }
    assert_eq!(other.ask(HELLO).body, b"hello");
    drop(other);
    let counts = gate.serving.as_ref().unwrap().counts().clone();
    until("every place is given back", || counts.open() == 0);
}

#[test]
fn one_connection_too_many_is_refused_and_the_next_is_taken() {
    let server = Server::ok();
    let settings = Settings { connections_max: 2, ..Settings::default() };
    let gate = Gate::planned(server.address, Plan { settings, cores: 2, ..Plan::default() });
    let mut first = gate.client();
    let mut second = gate.client();
    assert_eq!(first.ask(HELLO).status, 200);
    assert_eq!(second.ask(HELLO).status, 200);
    assert_eq!(gate.client().try_answer().map(|answer| answer.status), Some(503));
    let counts = gate.serving.as_ref().unwrap().counts().clone();
    assert_eq!(counts.refused(), 1);
    drop(first);
    until("a place is free", || counts.open() == 1);
    assert_eq!(gate.client().ask(HELLO).status, 200);
}

#[test]
fn every_core_takes_connections() {
    let server = Server::ok();
    let gate = Gate::planned(server.address, Plan { cores: 2, ..Plan::default() });
    let mut clients: Vec<Client> = (0..64).map(|_| gate.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n").status, 200);
    }
    assert_eq!(server.connections(), 2, "each core has its own pool and needs one connection");
}

#[test]
fn a_stop_closes_the_idle_and_lets_the_busy_finish() {
    let server = Server::scripted(|mut line| {
        while line.request().is_some() {
            std::thread::sleep(Duration::from_millis(1_000));
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        }
    });
    let mut gate = Gate::planned(server.address, Plan { cores: 2, ..Plan::default() });
    let mut idle = gate.client();
    assert_eq!(idle.ask(HELLO).status, 200);
    let mut busy = gate.client();
    busy.send("GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n");
    until("the request is under way", || server.connections() == 1);
    gate.stop();
    assert!(idle.is_ended_within(Duration::from_secs(1)));
    let answer = busy.answer();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection").as_deref(), Some("close"));
    let begin = Instant::now();
    gate.serving.take().unwrap().join();
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert!(std::net::TcpStream::connect(gate.address).is_err());
}

#[test]
fn whoever_came_just_before_a_stop_is_still_answered() {
    let server = Server::ok();
    for _ in 0..10 {
        let gate = Gate::planned(server.address, Plan { cores: 2, ..Plan::default() });
        let mut clients: Vec<Client> = (0..8).map(|_| gate.client()).collect();
        for client in &mut clients {
            client.send(HELLO);
        }
        gate.stop();
        for client in &mut clients {
            assert_eq!(client.answer().status, 200);
        }
    }
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let server = Server::scripted(|mut line| {
        line.request();
        line.is_closed_within(Duration::from_secs(20));
    });
    let settings = Settings { drain: Duration::from_millis(500), ..Settings::default() };
    let mut gate = Gate::planned(server.address, Plan { settings, ..Plan::default() });
    let mut busy = gate.client();
    busy.send("GET /mcp HTTP/1.1\r\nHost: gate.example\r\n\r\n");
    until("the request is under way", || server.connections() == 1);
    let begin = Instant::now();
    gate.stop();
    gate.serving.take().unwrap().join();
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert!(busy.is_ended_within(Duration::from_secs(1)));
}

#[test]
fn t281_a_stop_waits_for_what_outlives_its_request_and_not_for_ever() {
    for (drain, ends) in [(Duration::from_secs(20), true), (Duration::from_millis(1_500), false)] {
        let unfinished = Arc::new(AtomicUsize::new(1));
        let settings = Settings { drain, unfinished: Arc::clone(&unfinished), ..Settings::default() };
        let mut gate = Gate::planned(Server::ok().address, Plan { settings, ..Plan::default() });
        assert_eq!(gate.client().ask(HELLO).status, 200);
        let begin = Instant::now();
        gate.stop();
        let serving = gate.serving.take().unwrap();
        let ending = std::thread::spawn(move || serving.join());
        std::thread::sleep(Duration::from_secs(1));
        assert!(!ending.is_finished(), "it does not wait");
        if ends {
            unfinished.store(0, Ordering::Relaxed);
        }
        ending.join().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
        assert!(ends || begin.elapsed() >= drain, "{:?}", begin.elapsed());
    }
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let server = Server::ok();
    let gate = Gate::before(server.address);
    assert_eq!(gate.client().ask(HELLO).status, 200);
    let taken = Bound::new(gate.address, 2).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    assert!(Bound::new((Ipv4Addr::LOCALHOST, 0).into(), 2).is_ok());
}

/// Runs itself again with few file descriptors, because a process cannot lower its own limit without unsafe code.
#[test]
fn t246_running_out_of_file_descriptors_stops_nothing() {
    if std::env::var_os("PORTCULLIS_TEST_FEW_DESCRIPTORS").is_some() {
        return starve();
    }
    let status = Command::new("sh")
        .args(["-c", "ulimit -n 96 && exec \"$0\" --exact runtime::t246_running_out_of_file_descriptors_stops_nothing --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env("PORTCULLIS_TEST_FEW_DESCRIPTORS", "1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&status.stdout).into_owned() + &String::from_utf8_lossy(&status.stderr);
    assert!(status.status.success(), "{output}");
}

fn starve() {
    let gate = Gate::before((Ipv4Addr::LOCALHOST, 9).into());
    let counts = gate.serving.as_ref().unwrap().counts().clone();
    let mut first = gate.client();
    assert_eq!(first.ask(HELLO).status, 200);
    // Both ends of every connection are in this process, so that it runs out soon.
    let mut held = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect(gate.address) {
        held.push(stream);
    }
    until("accept fails", || counts.accept_errors() > 0);
    assert_eq!(first.ask(HELLO).status, 200, "who is inside is served");
    let errors = counts.accept_errors();
    std::thread::sleep(Duration::from_millis(600));
    assert!(counts.accept_errors() - errors < 10, "accept is not tried in a hot loop");
    held.clear();
    until("accept works again", || {
        let mut client = Client::to(gate.address);
        client.send(HELLO);
        client.try_answer().is_some_and(|answer| answer.status == 200)
    });
}

/// A handshake in which the client never says anything.
#[derive(Clone)]
struct Silence;

impl Handshake for Silence {
    type Stream = TcpStream;

    const FULL: &'static [u8] = b"";

    async fn shake(&self, mut socket: TcpStream) -> std::io::Result<TcpStream> {
        socket.read_u8().await?;
        Ok(socket)
    }
}

#[derive(Clone)]
struct Nothing;

impl Handler for Nothing {
    async fn handle(&self, _request: Box<Request<RequestBody>>, _peer: Peer) -> Response<AnswerBody> {
        Response::new(AnswerBody::empty())
    }
}

/// Writes down who was answered, and holds the core at one request until it is told to go on.
#[derive(Clone)]
struct Turnstile {
    opens: Arc<Mutex<Receiver<()>>>,
    answered: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Handler for Turnstile {
    async fn handle(&self, request: Box<Request<RequestBody>>, peer: Peer) -> Response<AnswerBody> {
        if request.uri().path() == "/hold" {
            self.opens.lock().unwrap().recv().unwrap();
        }
        self.answered.lock().unwrap().push(peer.address());
        Response::new(AnswerBody::from("x".repeat(4_096)))
    }
}

/// Starts to answer on one core. The first value is what the stop is told by.
fn turnstile() -> (watch::Sender<bool>, SocketAddr, Sender<()>, Turnstile) {
    let bound = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), 1).unwrap();
    let address = bound.address();
    let (open, opens) = channel();
    let turnstile = Turnstile { opens: Arc::new(Mutex::new(opens)), answered: Arc::default() };
    let (handler, (stop, stopped)) = (turnstile.clone(), watch::channel(false));
    serve(bound, Settings::default(), Plain, move |_core| handler.clone(), stopped).unwrap();
    (stop, address, open, turnstile)
}

#[test]
fn t246_whoever_asks_much_at_once_is_answered_in_turn_with_everybody_else() {
    let (_stop, address, open, turnstile) = turnstile();
    let [mut many, mut one] = [(); 2].map(|()| Client::to(address));
    for client in [&mut many, &mut one] {
        assert_eq!(client.ask(HELLO).status, 200);
    }
    turnstile.answered.lock().unwrap().clear();
    many.send("GET /hold HTTP/1.1\r\nHost: gate.example\r\n\r\n".to_owned() + &HELLO.repeat(100));
    one.send(HELLO);
    open.send(()).unwrap();
    assert_eq!(one.answer().status, 200);
    for _ in 0..=100 {
        assert_eq!(many.answer().status, 200);
    }
    let answered = turnstile.answered.lock().unwrap();
    let before = answered.iter().take_while(|peer| **peer != one.stream.local_addr().unwrap()).count();
    assert!(before < 5, "{before} answers of one connection came before the only one of another");
}

#[test]
fn t246_the_kernel_keeps_little_for_whoever_asks_and_does_not_read() {
    const ASKED: usize = 500;
    let (_stop, address, _open, turnstile) = turnstile();
    let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    client.set_recv_buffer_size(4_096).unwrap();
    client.connect(&address.into()).unwrap();
    let mut client = std::net::TcpStream::from(client);
    let last = "GET /hello HTTP/1.1\r\nHost: gate.example\r\nConnection: close\r\n\r\n";
    client.write_all((HELLO.repeat(ASKED - 1) + last).as_bytes()).unwrap();
    let count = || turnstile.answered.lock().unwrap().len();
    until("nothing more is answered", || {
        let before = count();
        std::thread::sleep(Duration::from_millis(300));
        before > 0 && count() == before
    });
    assert!(count() < 32, "{} answers of 4 KiB wait for a client that reads none", count());
    // And they come as they are taken.
    let mut taken = Vec::new();
    client.read_to_end(&mut taken).unwrap();
    assert_eq!(count(), ASKED);
    assert!(taken.len() > ASKED * 4_096, "{} bytes", taken.len());
}

#[test]
fn t246_a_handshake_that_never_ends_is_closed() {
    let bound = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), 1).unwrap();
    let address = bound.address();
    let settings = Settings { head: Duration::from_millis(300), ..Settings::default() };
    let (stop, stopped) = watch::channel(false);
    let serving = serve(bound, settings, Silence, |_core| Nothing, stopped).unwrap();
    let mut silent = Client::to(address);
    let mut patient = Client::to(address);
    assert_eq!(patient.ask(format!("!{HELLO}")).status, 200);
    assert!(silent.is_ended_within(Duration::from_secs(2)));
    // Whoever could say stop is gone, which is a stop too.
    drop(stop);
    serving.join();
}
