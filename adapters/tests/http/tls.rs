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
use rustls::{ClientConfig, ClientConnection};
use tokio::sync::watch;

use crate::support::{PATIENCE, until};

#[derive(Clone)]
struct Nothing;

impl Handler for Nothing {
    async fn handle(&self, _request: Request<RequestBody>, _peer: Peer) -> Response<AnswerBody> {
        Response::new(AnswerBody::empty())
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
    let serving = serve(bound, settings, Acceptor::new(own).unwrap(), |_core| Nothing, stopped).unwrap();
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
fn a_stop_waits_for_a_handshake_and_closes_what_is_at_rest_in_the_words_of_tls() {
    let (address, serving, stop) = listener(Settings::default());
    let shake = |mut socket: TcpStream| {
        let name = ServerName::try_from("gate.example").unwrap();
        let mut tls = ClientConnection::new(trusting(), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).unwrap();
        }
        (tls, socket)
    };
    let (mut resting, mut resting_socket) = shake(connect(address));
    let mut resting = rustls::Stream::new(&mut resting, &mut resting_socket);
    resting.write_all(b"GET / HTTP/1.1\r\nHost: gate.example\r\n\r\n").unwrap();
    let mut answer = [0; 1_024];
    assert!(resting.read(&mut answer).unwrap() > 0);
    let mut begun = connect(address);
    let hello = hello();
    begun.write_all(&hello[..10]).unwrap();
    until("both are open", || serving.counts().open() == 2);
    stop.send(true).unwrap();
    assert_eq!(resting.read(&mut answer).unwrap(), 0, "an end that nobody on the way could have made");
    // The other has had a second since the stop, and is still waited for.
    std::thread::sleep(Duration::from_secs(1));
    begun.write_all(&hello[10..]).unwrap();
    assert!(begun.read(&mut answer).unwrap() > 0, "the handshake goes on");
    drop(begun);
    serving.join();
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
