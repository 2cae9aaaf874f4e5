//! A gate that lets everything pass, a scripted upstream, and clients that are nothing but sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use portcullis_adapters::http::{
    AnswerBody, Bound, Handler, Identity, Introduced, Onward, Peer, Plain, Pool, RequestBody, Serving, Settings, Sever,
    Upstream, forward, serve,
};
use portcullis_domain::oauth::fault::Fault;
use tokio::sync::watch;

/// What a test waits for at the most.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The handler under test: every target goes to the upstream, but for a few words of its own.
#[derive(Clone)]
struct Everything(Arc<Inner>);

struct Inner {
    pool: Pool,
    who: Introduced,
    body_max: u64,
    severs: Arc<Mutex<Vec<Sever>>>,
    before: Arc<dyn Fn() + Send + Sync>,
}

impl Handler for Everything {
    async fn handle(&self, request: Box<Request<RequestBody>>, peer: Peer) -> Response<AnswerBody> {
        match request.uri().path() {
            "/hello" => Response::new(AnswerBody::from("hello")),
            "/gather" => match request.into_body().gather(1_000_000).await {
                Ok(bytes) => Response::new(AnswerBody::from(format!("{} bytes", bytes.len()))),
                Err(fault) => Response::new(AnswerBody::from(format!("{fault:?}"))),
            },
            "/panic" => panic!("a handler may be wrong"),
            "/known" => {
                peer.recognise();
                Response::new(AnswerBody::from("known"))
            }
            _ => {
                self.0.severs.lock().unwrap().push(peer.sever());
                (self.0.before)();
                let onward = Onward {
                    client: peer.address().ip(),
                    proto: &HeaderValue::from_static("https"),
                    public_host: &HeaderValue::from_static("gate.example"),
                    who: &self.0.who,
                    request_id: &HeaderValue::from_static("request-1"),
                    body_max: self.0.body_max,
                    came: Instant::now(),
                };
                match forward(&self.0.pool, request, onward, &peer) {
                    Ok(passing) => passing.await.unwrap_or_else(refused),
                    Err(fault) => refused(fault),
                }
            }
        }
    }
}

/// A refusal, as the gate words it.
fn refused(fault: Fault) -> Response<AnswerBody> {
    let wire = fault.wire();
    let mut response = Response::new(AnswerBody::from(format!("{{\"error\":\"{}\"}}", wire.error)));
    *response.status_mut() = StatusCode::from_u16(wire.status).unwrap();
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    if let Some(seconds) = wire.retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

/// A running gate.
pub struct Gate {
    pub address: SocketAddr,
    pub serving: Option<Serving>,
    pub severs: Arc<Mutex<Vec<Sever>>>,
    stop: watch::Sender<bool>,
}

pub struct Plan {
    pub settings: Settings,
    pub mount: Option<&'static str>,
    pub body_max: u64,
    pub cores: usize,
    pub upstream_connections_max: usize,
    pub connect_deadline: Duration,
    /// Where the upstream is, if it is not where the test says.
    pub url: Option<String>,
    /// Done on the core's own thread before a request is passed on, so that its runtime hears of nothing meanwhile.
    pub before: Arc<dyn Fn() + Send + Sync>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            mount: Some("/"),
            body_max: 4 << 20,
            cores: 1,
            upstream_connections_max: 64,
            connect_deadline: Duration::from_secs(2),
            url: None,
            before: Arc::new(|| {}),
        }
    }
}

impl Gate {
    pub fn before(upstream: SocketAddr) -> Self {
        Self::planned(upstream, Plan::default())
    }

    pub fn planned(upstream: SocketAddr, plan: Plan) -> Self {
        let bound = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), plan.cores).unwrap();
        let address = bound.address();
        let path = if plan.mount.is_some() { "" } else { "/mcp" };
        let url = plan.url.unwrap_or_else(|| format!("http://{upstream}{path}"));
        let upstream = Arc::new(
            Upstream::parse(&url, plan.mount)
                .unwrap()
                .with_connections_max(plan.upstream_connections_max)
                .with_connect_deadline(plan.connect_deadline),
        );
        let (stop, stopped) = watch::channel(false);
        let severs = Arc::new(Mutex::new(Vec::new()));
        let (body_max, before) = (plan.body_max, plan.before);
        let kept = severs.clone();
        let handler = move |_core| {
            Everything(Arc::new(Inner {
                pool: Pool::new(upstream.clone()),
                who: Introduced::of(&identity()).unwrap(),
                body_max,
                severs: kept.clone(),
                before: before.clone(),
            }))
        };
        let serving = serve(bound, plan.settings, Plain, handler, stopped).unwrap();
        Self { address, serving: Some(serving), severs, stop }
    }

    pub fn client(&self) -> Client {
        Client::to(self.address)
    }

    pub fn stop(&self) {
        self.stop.send(true).unwrap();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

fn identity() -> Identity<'static> {
    Identity {
        user: "ada",
        email: Some("ada@example.com"),
        groups: &["staff", "a,b"],
        preferred_username: Some("Ada"),
        session: "session-1",
        authorization: None,
    }
}

/// A socket that speaks whatever the test writes.
pub struct Client {
    pub stream: TcpStream,
    ahead: Vec<u8>,
}

/// An answer as it was read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }
}

/// The values of a field in a head, joined.
pub fn header(head: &str, name: &str) -> Option<String> {
    let values: Vec<&str> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect();
    if values.is_empty() { None } else { Some(values.join(" | ")) }
}

impl Client {
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, ahead: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The gate may have closed already, which the test will see when it reads.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes);
        self.answer()
    }

    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// The next answer, or nothing if the connection ends before one begins.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let head = self.head()?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = if status == 204 || status == 304 {
            Vec::new()
        } else if let Some(length) = header(&head, "content-length") {
            self.exactly(length.parse().unwrap())
        } else if header(&head, "transfer-encoding").as_deref() == Some("chunked") {
            self.chunked()
        } else {
            self.rest()
        };
        Some(Answer { status, head, body })
    }

    pub fn head(&mut self) -> Option<String> {
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more() {
                return None;
            }
        };
        let head: Vec<u8> = self.ahead.drain(..end).collect();
        Some(String::from_utf8_lossy(&head).into_owned())
    }

    pub fn chunk(&mut self) -> Vec<u8> {
        let line = self.line();
        let size = usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
        let mut data = self.exactly(size + 2);
        assert_eq!(data.split_off(size), b"\r\n");
        data
    }

    fn chunked(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk();
            if chunk.is_empty() {
                return body;
            }
            body.extend(chunk);
        }
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=at).collect();
                return String::from_utf8_lossy(&line).into_owned();
            }
            assert!(self.more(), "the connection ended inside a line");
        }
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.ahead.len() < length {
            assert!(self.more(), "the connection ended inside a body");
        }
        self.ahead.drain(..length).collect()
    }

    /// All that comes until the connection ends.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.ahead)
    }

    /// Whether the connection ends in time, however it ends.
    pub fn is_ended_within(&mut self, time: Duration) -> bool {
        let end = Instant::now() + time;
        self.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut scratch = [0; 4096];
        let ended = loop {
            match self.stream.read(&mut scratch) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break true,
            }
            if Instant::now() > end {
                break false;
            }
        };
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        ended
    }

    fn more(&mut self) -> bool {
        let mut scratch = [0; 65_536];
        match self.stream.read(&mut scratch) {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.ahead.extend_from_slice(&scratch[..length]);
                true
            }
        }
    }
}

/// A scripted upstream.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    bytes: AtomicUsize,
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: Mutex<Vec<Asked>>,
}

/// A request as the upstream read it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub head: String,
    pub body: Vec<u8>,
    pub connection: usize,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }
}

/// One connection at the upstream.
pub struct Line {
    pub stream: TcpStream,
    pub number: usize,
    ahead: Vec<u8>,
    seen: Arc<Seen>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.seen.open.fetch_sub(1, SeqCst);
    }
}

impl Server {
    /// Every request gets this answer.
    pub fn answering(answer: &'static str) -> Self {
        Self::scripted(move |mut line| {
            while line.request().is_some() {
                line.send(answer);
            }
        })
    }

    pub fn ok() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
    }

    /// Each connection is handed to the script, on a thread of its own.
    pub fn scripted(script: impl Fn(Line) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let script = Arc::new(script);
        let known = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_nodelay(true).unwrap();
                let number = known.connections.fetch_add(1, SeqCst);
                known.open.fetch_add(1, SeqCst);
                let line = Line { stream, number, ahead: Vec::new(), seen: known.clone() };
                let script = script.clone();
                std::thread::spawn(move || script(line));
            }
        });
        Self { address, seen }
    }

    pub fn bytes(&self) -> usize {
        self.seen.bytes.load(SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    pub fn open(&self) -> usize {
        self.seen.open.load(SeqCst)
    }

    pub fn requests(&self) -> Vec<Asked> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub fn last(&self) -> Asked {
        self.requests().pop().expect("a request")
    }
}

impl Line {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Reads one request to its end, body included.
    pub fn request(&mut self) -> Option<Asked> {
        let head = self.head()?;
        let mut asked = Asked { head, body: Vec::new(), connection: self.number };
        if let Some(length) = asked.header("content-length") {
            asked.body = self.exactly(length.parse().unwrap())?;
        } else if asked.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(self.line()?.trim(), 16).unwrap();
                let chunk = self.exactly(size + 2)?;
                if size == 0 {
                    break;
                }
                asked.body.extend_from_slice(&chunk[..size]);
            }
        }
        self.seen.requests.lock().unwrap().push(asked.clone());
        Some(asked)
    }

    /// Reads a request head only.
    pub fn head(&mut self) -> Option<String> {
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        Some(String::from_utf8_lossy(&self.ahead.drain(..end).collect::<Vec<u8>>()).into_owned())
    }

    /// Whether the other side closes in time.
    pub fn is_closed_within(&mut self, time: Duration) -> bool {
        let end = Instant::now() + time;
        self.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut scratch = [0; 65_536];
        while Instant::now() < end {
            match self.stream.read(&mut scratch) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return true,
            }
        }
        false
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=at).collect();
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            self.more()?;
        }
    }

    fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < length {
            self.more()?;
        }
        Some(self.ahead.drain(..length).collect())
    }

    fn more(&mut self) -> Option<()> {
        let mut scratch = [0; 65_536];
        match self.stream.read(&mut scratch) {
            Ok(0) | Err(_) => None,
            Ok(length) => {
                self.seen.bytes.fetch_add(length, SeqCst);
                self.ahead.extend_from_slice(&scratch[..length]);
                Some(())
            }
        }
    }
}

/// Waits until something holds.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
