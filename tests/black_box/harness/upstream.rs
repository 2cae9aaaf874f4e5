//! An MCP server that keeps the exact bytes of every request and answers what the test wants.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// Head and body, byte for byte as they came, chunked or not.
    pub bytes: Vec<u8>,
    /// `POST /mcp HTTP/1.1`.
    pub line: String,
    /// Headers in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
}

impl Seen {
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// The one header of this name. Panics if it stands twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} stands more than once: {self:?}");
        all.first().copied()
    }

    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap()
    }

    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }
}

/// What to answer.
pub enum Answer {
    /// These bytes, and on with the connection.
    Bytes(Vec<u8>),
    /// These bytes, and the end of the connection.
    Last(Vec<u8>),
    /// Whatever the test sends, piece by piece, until it drops the sender; then the end of the connection.
    Stream(Receiver<Vec<u8>>),
}

impl Answer {
    /// A whole answer with a length.
    pub fn whole(status: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut bytes = head(status, headers, &format!("Content-Length: {}\r\n", body.len()));
        bytes.extend_from_slice(body);
        Self::Bytes(bytes)
    }

    pub fn json(body: &str) -> Self {
        Self::whole("200 OK", &[("Content-Type", "application/json")], body)
    }

    /// An event stream, and what feeds it: each piece becomes one chunk. Send [`LAST_CHUNK`] for a clean end.
    pub fn events(headers: &[(&str, &str)]) -> (Self, Events) {
        let (sender, receiver) = channel();
        // Whoever closes after an answer says so, or the next request could be on its way already.
        let mut all = vec![("Content-Type", "text/event-stream"), ("Connection", "close")];
        all.extend_from_slice(headers);
        sender.send(head("200 OK", &all, "Transfer-Encoding: chunked\r\n")).unwrap();
        (Self::Stream(receiver), Events(sender))
    }
}

/// Feeds an event stream.
pub struct Events(Sender<Vec<u8>>);

impl Events {
    /// Sends one chunk. Whether somebody still reads is not asked.
    pub fn send(&self, text: &str) {
        let _ = self.0.send(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes());
    }

    /// Ends the stream as it should end.
    pub fn finish(self) {
        let _ = self.0.send(b"0\r\n\r\n".to_vec());
    }
}

fn head(status: &str, headers: &[(&str, &str)], framing: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(framing);
    head.push_str("\r\n");
    head.into_bytes()
}

type Script = Box<dyn FnMut(&Seen) -> Answer + Send>;

struct Shared {
    seen: Mutex<Vec<Seen>>,
    script: Mutex<Script>,
    connections: AtomicUsize,
}

/// The server. Its threads end with the connections; clones are the same one.
#[derive(Clone)]
pub struct Upstream {
    url: String,
    shared: Arc<Shared>,
}

impl Upstream {
    pub fn start() -> Self {
        let (listener, address) = listen(Ipv4Addr::LOCALHOST);
        let server = Self::new(format!("http://{address}"));
        server.serves(move || Ok(nodelay(listener.accept()?.0)));
        server
    }

    /// One that speaks TLS, on all addresses of this machine.
    pub fn secure(config: ServerConfig) -> Self {
        let (listener, address) = listen(Ipv4Addr::UNSPECIFIED);
        let server = Self::new(format!("https://127.0.0.1:{}", address.port()));
        let config = Arc::new(config);
        server.serves(move || {
            let stream = nodelay(listener.accept()?.0);
            Ok(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream))
        });
        server
    }

    /// One on a Unix socket.
    pub fn on_socket(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let server = Self::new(format!("unix:{}:", path.display()));
        server.serves(move || Ok(listener.accept()?.0));
        server
    }

    fn new(url: String) -> Self {
        let script: Script = Box::new(|_| Answer::json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
        let shared =
            Arc::new(Shared { seen: Mutex::default(), script: Mutex::new(script), connections: AtomicUsize::new(0) });
        Self { url, shared }
    }

    fn serves<S: Read + Write + Send + 'static>(&self, accept: impl Fn() -> std::io::Result<S> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            while let Ok(stream) = accept() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
    }

    /// Where it is: a path can be written behind it.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub fn address(&self) -> SocketAddr {
        self.url.rsplit_once('/').unwrap().1.parse().unwrap()
    }

    /// What to answer from now on.
    pub fn answers(&self, script: impl FnMut(&Seen) -> Answer + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The only request so far.
    #[track_caller]
    pub fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    /// How many connections were opened, whether or not anything came on them.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

fn listen(address: Ipv4Addr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn nodelay(stream: TcpStream) -> TcpStream {
    let _ = stream.set_nodelay(true);
    stream
}

fn serve(shared: &Shared, mut stream: impl Read + Write) {
    let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
    let mut ahead = Vec::new();
    while let Some(seen) = request(connection, &mut stream, &mut ahead) {
        let answer = {
            shared.seen.lock().unwrap().push(seen.clone());
            (shared.script.lock().unwrap())(&seen)
        };
        match answer {
            Answer::Bytes(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            Answer::Last(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Answer::Stream(pieces) => {
                for piece in pieces {
                    if stream.write_all(&piece).is_err() {
                        return;
                    }
                }
                return;
            }
        }
    }
}

/// Reads one request; nothing if the connection ended.
pub fn request(connection: usize, stream: &mut impl Read, ahead: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(end) = ahead.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        fill(stream, ahead)?;
    };
    let head = String::from_utf8_lossy(&ahead[..end]).into_owned();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap_or((line, "")))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let value = |wanted: &str| headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let (body, whole) = if value("transfer-encoding").is_some() {
        chunked(stream, ahead, end)?
    } else {
        let length: usize = value("content-length").map_or(0, |(_, length)| length.parse().unwrap());
        while ahead.len() < end + length {
            fill(stream, ahead)?;
        }
        (ahead[end..end + length].to_vec(), end + length)
    };
    let bytes = ahead.drain(..whole).collect();
    Some(Seen { connection, bytes, line, headers, body })
}

fn chunked(stream: &mut impl Read, ahead: &mut Vec<u8>, head: usize) -> Option<(Vec<u8>, usize)> {
    let (mut at, mut body) = (head, Vec::new());
    loop {
        let line = loop {
            if let Some(line) = ahead[at..].windows(2).position(|window| window == b"\r\n") {
                break line;
            }
            fill(stream, ahead)?;
        };
        let size = std::str::from_utf8(&ahead[at..at + line]).unwrap();
        let size = usize::from_str_radix(size.split(';').next().unwrap().trim(), 16).unwrap();
        let data = at + line + 2;
        while ahead.len() < data + size + 2 {
            fill(stream, ahead)?;
        }
        body.extend_from_slice(&ahead[data..data + size]);
        at = data + size + 2;
        if size == 0 {
            return Some((body, at));
        }
    }
}

/// Reads what comes next; nothing if the connection ended.
pub fn fill(stream: &mut impl Read, ahead: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => {
                ahead.extend_from_slice(&buffer[..count]);
                return Some(());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
