//! The listener over TLS, seen from the socket: how long a handshake may take, and what it counts as.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::{Request, Response};
use portcullis_adapters::http::{AnswerBody, Bound, Handler, Peer, RequestBody, Serving, Settings, serve};
use portcullis_adapters::tls::{Acceptor, OwnCertificate, client};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio::sync::watch;

use crate::support::{PATIENCE, until};

/// More than any socket holds.
const MUCH: usize = 32 << 20;

#[derive(Clone)]
struct Much;

impl Handler for Much {
    async fn handle(&self, _request: Box<Request<RequestBody>>, _peer: Peer) -> Response<AnswerBody> {
        Response::new(vec![b'x'; MUCH].into())
    }
}

fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/black_box/certificates");
    std::fs::read(folder.join(name)).unwrap()
}

fn listener(settings: Settings) -> (SocketAddr, Serving, watch::Sender<bool>) {
    let bound = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), 1).unwrap();
    let address = bound.address();
    let own = OwnCertificate { chain: &file("server.pem"), key: &file("server-key.pem") };
    let (stop, stopped) = watch::channel(false);
    let serving = serve(bound, settings, Acceptor::new(own).unwrap(), |_core| Much, stopped).unwrap();
    (address, serving, stop)
}

fn trusting() -> Arc<ClientConfig> {
    Arc::new(client([file("authority.pem").as_slice()], None).unwrap())
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A client that has asked for much.
fn asking(address: SocketAddr) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("gate.example").unwrap();
    let mut asking = StreamOwned::new(ClientConnection::new(trusting(), name).unwrap(), connect(address));
    asking.write_all(b"GET / HTTP/1.1\r\nHost: gate.example\r\n\r\n").unwrap();
    asking
}

/// What a client sends first.
fn hello() -> Vec<u8> {
    let mut hello = Vec::new();
    let name = ServerName::try_from("gate.example").unwrap();
    ClientConnection::new(trusting(), name).unwrap().write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn t246_a_handshake_that_dribbles_is_closed_in_time_and_takes_a_place_meanwhile() {
    let settings = Settings { head: Duration::from_millis(700), connections_max: 2, ..Settings::default() };
    let (address, serving, _stop) = listener(settings);
    let counts = serving.counts();
    let begin = Instant::now();
    let mut silent = connect(address);
    let mut dribbling = connect(address);
    until("both are taken", || counts.open() == 2);
    let mut third = connect(address);
    assert_eq!(third.read(&mut [0; 64]).unwrap_or(0), 0, "closed at once, without words that mean nothing here");
    assert_eq!(counts.refused(), 1);
    for byte in hello() {
        if dribbling.write_all(&[byte]).is_err() || counts.open() == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(dribbling.read(&mut [0; 64]).unwrap_or(0), 0);
    assert_eq!(silent.read(&mut [0; 64]).unwrap_or(0), 0);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    until("the places are given back", || counts.open() == 0);
    assert_eq!(counts.timed_out(), 2);
}

#[test]
fn t246_who_reads_nothing_is_closed_and_who_reads_slowly_is_not() {
    let (address, serving, _stop) =
        listener(Settings { write_stall: Duration::from_millis(700), ..Settings::default() });
    let _stalled = asking(address);
    let mut slow = asking(address);
    let (mut total, mut piece) = (0, vec![0; 1 << 20]);
    while total < MUCH {
        total += slow.read(&mut piece).unwrap();
        std::thread::sleep(Duration::from_micros(800));
    }
    until("the other is closed", || serving.counts().timed_out() == 1 && serving.counts().open() == 1);
}

#[test]
fn a_stop_does_not_wait_long_for_a_handshake_that_does_not_go_on() {
    let (address, serving, stop) = listener(Settings::default());
    let _silent = connect(address);
    until("it is taken", || serving.counts().open() == 1);
    let begin = Instant::now();
    stop.send(true).unwrap();
    serving.join();
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[test]
fn a_stop_waits_for_a_handshake_and_closes_what_is_at_rest_in_the_words_of_tls() {
    let (address, serving, stop) = listener(Settings::default());
    let mut resting = asking(address);
    let mut answer = [0; 1_024];
    resting.read_exact(&mut answer).unwrap();
    let mut left = vec![0; MUCH + answer.iter().position(|byte| *byte == b'x').unwrap() - answer.len()];
    resting.read_exact(&mut left).unwrap();
    let mut begun = connect(address);
    let hello = hello();
    begun.write_all(&hello[..10]).unwrap();
    until("both are open", || serving.counts().open() == 2);
    stop.send(true).unwrap();
    assert_eq!(resting.read(&mut answer).unwrap(), 0, "an end that nobody on the way could have made");
    // The other is still waited for.
    std::thread::sleep(Duration::from_millis(600));
    begun.write_all(&hello[10..]).unwrap();
    assert!(begun.read(&mut answer).unwrap() > 0, "the handshake goes on");
    drop(begun);
    serving.join();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn what_is_no_tls_ends_without_an_answer() {
    let (address, serving, _stop) = listener(Settings::default());
    for said in
        ["GET / HTTP/1.1\r\nHost: gate.example\r\n\r\n", "\0\0\0\0\0\0\0\0\0\0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut socket = connect(address);
        socket.write_all(said.as_bytes()).unwrap();
        let mut heard = Vec::new();
        let _ = socket.read_to_end(&mut heard);
        // An alert at the most (RFC 8446 section 6).
        assert!(heard.is_empty() || (heard[0] == 21 && heard.len() == 7), "{said:?}: {heard:?}");
    }
    until("they are counted", || serving.counts().failed_handshakes() == 3);
}
