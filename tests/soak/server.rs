//! The protected server: it checks that each request comes for the person whose it is, and then does what goes wrong.

use super::fault::Fault;
use super::harness::upstream::{Seen, fill, request};
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a slow answer takes, and a slow reading.
const PAUSE: Duration = Duration::from_millis(40);

/// The server. Its threads end with the connections.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    open: Mutex<Vec<TcpStream>>,
    wrong: Mutex<Vec<String>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let shared = Arc::clone(&server.shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let _ = stream.set_nodelay(true);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    shared.open.lock().unwrap().push(stream.try_clone().unwrap());
                    serve(&shared, &stream);
                    let _ = stream.shutdown(Shutdown::Both);
                    let own = stream.peer_addr().ok();
                    shared.open.lock().unwrap().retain(|open| open.peer_addr().ok() != own);
                });
            }
        });
        server
    }

    /// Closes every connection.
    pub(crate) fn hang_up(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// What came that should not have come.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.shared.wrong.lock().unwrap().clone()
    }
}

fn serve(shared: &Shared, mut stream: &TcpStream) {
    let mut ahead = Vec::new();
    loop {
        let Some(fault) = announced(&mut stream, &mut ahead) else { return };
        if fault == Fault::Early {
            let (canary, person) = (value(&ahead, "x-canary: "), value(&ahead, "x-forwarded-user: "));
            if stream.write_all(&whole(&answer(&canary, &person, 0), "")).is_err() {
                return;
            }
            if request(0, &mut stream, &mut ahead).is_none() {
                return;
            }
            continue;
        }
        if fault == Fault::Sluggish {
            std::thread::sleep(PAUSE);
        }
        let Some(seen) = request(0, &mut stream, &mut ahead) else { return };
        if let Err(wrong) = judge(&seen) {
            shared.wrong.lock().unwrap().push(format!("{wrong}: {}", String::from_utf8_lossy(&seen.bytes)));
        }
        if !respond(stream, &seen, fault) {
            return;
        }
    }
}

/// What the next request asks to go wrong, as soon as its head is there.
fn announced(stream: &mut &TcpStream, ahead: &mut Vec<u8>) -> Option<Fault> {
    while !ahead.windows(4).any(|window| window == b"\r\n\r\n") {
        fill(stream, ahead)?;
    }
    Some(Fault::of_name(&value(ahead, "x-fault: ")))
}

fn value(head: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(head);
    let line = text.split("\r\n").find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().to_owned()
}

/// The person whom the gate names is the one whose canary it is, and nothing is there that is only for the gate.
fn judge(seen: &Seen) -> Result<(), String> {
    let canary = seen.header("x-canary").unwrap_or_default();
    let user = seen.header("x-forwarded-user").unwrap_or_default();
    let owner = canary.split('-').nth(1).unwrap_or_default();
    if user != format!("person-{owner}") {
        return Err(format!("{canary} came as {user}"));
    }
    if seen.header("authorization").is_some() {
        return Err("the client's token came along".to_owned());
    }
    let body = String::from_utf8_lossy(&seen.body);
    if body.matches("canary-").count() != 1 || !body.contains(canary) {
        return Err(format!("the body is not that of {canary}"));
    }
    Ok(())
}

/// The body of an answer: as long as the request's, more or less.
pub(crate) fn answer(canary: &str, person: &str, length: usize) -> String {
    format!(r#"{{"canary":"{canary}","person":"{person}","filled":"{}"}}"#, "z".repeat(length))
}

fn whole(body: &str, more: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// Whether the connection goes on.
fn respond(mut stream: &TcpStream, seen: &Seen, fault: Fault) -> bool {
    let canary = seen.header("x-canary").unwrap_or_default();
    let body = answer(canary, seen.header("x-forwarded-user").unwrap_or_default(), seen.body.len());
    let half = &body[..body.len() / 2];
    let mut say = |bytes: &[u8]| stream.write_all(bytes).is_ok();
    match fault {
        Fault::None | Fault::Early | Fault::Sluggish => say(&whole(&body, "")),
        Fault::Slow => {
            std::thread::sleep(PAUSE);
            say(&whole(&body, ""))
        }
        Fault::Pieces => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            let step = (body.len() / 4).max(1);
            say(head.as_bytes()) && body.as_bytes().chunks(step).all(|piece| say(&chunk(piece))) && say(b"0\r\n\r\n")
        }
        Fault::Interim => {
            say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
                && say(&whole(&body, ""))
        }
        Fault::Closes => {
            say(&whole(&body, ""));
            false
        }
        Fault::Lies => {
            say(&whole(&body, "Connection: keep-alive\r\nKeep-Alive: timeout=60\r\n"));
            false
        }
        Fault::Twice => say(&[whole(&body, ""), whole(&body, "X-Unasked: yes\r\n")].concat()),
        Fault::Malformed => say(format!("HTTP/1.1 2000 {canary}\nCanary: {canary}\n\n").as_bytes()),
        Fault::TwoLengths => say(&whole(&body, "Content-Length: 5\r\n")),
        Fault::Truncated => {
            let length = body.len();
            say(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{half}").as_bytes());
            false
        }
        Fault::TruncatedChunk => {
            let length = body.len();
            say(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{half}").as_bytes());
            false
        }
        Fault::Silent => false,
    }
}
