//! F15, F16, F25: whole connections through a gate that runs, from a client's bytes to what the MCP server reads of them, and back.
//!
//! The client sends what the input says. A second reader ([`second`]) says which requests these are, and the same reader stands in the
//! place of the MCP server. It must read there exactly the requests that stood there, in their order, each with its own body, and nothing
//! behind it: neither a request that was hidden in another, nor a part of one that never came whole, nor one that has two readings.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use portcullis_adapters::http::{
    AnswerBody, Bound, Handler, Identity, Introduced, Onward, Peer, Plain, Pool, RequestBody, Serving, Settings,
    Upstream, forward, serve,
};
use tokio::sync::watch;

use crate::http::is_plain;
use crate::second::{self, Message, Read};

/// What a client waits for at the most: whoever waits in vain has another reading than the second reader.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long something that should not happen is waited for.
const MOMENT: Duration = Duration::from_millis(5);
/// Request bodies that pass.
const BODY_MAX: u64 = 4_096;

static STAGE: LazyLock<Stage> = LazyLock::new(Stage::set);

/// F15, F25: see above.
///
/// # Panics
/// If the MCP server reads anything else than the client has said.
pub fn through(data: &[u8]) {
    let (said, end) = second::requests(data);
    let (mut client, name) = STAGE.client();
    // A refusal closes the connection, and then nobody takes the rest.
    let _ = client.write_all(data);
    let mut heard = Heard::default();
    match end {
        // One more request, whose answer is the last one: if it is not answered, the gate takes it for a part of another.
        Read::Whole((), _) => {
            let _ = client.write_all(b"GET /end HTTP/1.1\r\nHost: gate.example\r\nConnection: close\r\n\r\n");
            assert!(heard.until(&mut client, usize::MAX, PATIENCE), "it waits for more of {said:?}");
        }
        // All that came whole is answered, or the connection ends. Then the client leaves.
        Read::Partial | Read::Bad => {
            let answered = heard.until(&mut client, said.len(), PATIENCE);
            assert!(answered, "{} of {} are answered: {said:?}", heard.answers, said.len());
            // If it takes what comes then for a request, it has the time to do so.
            if end == Read::Bad {
                heard.until(&mut client, usize::MAX, MOMENT);
            }
            assert!(heard.passed <= said.len(), "{} passed of {said:?}, and {end:?}", heard.passed);
        }
    }
    drop(client);
    let mut expected = said.iter();
    let came = STAGE.came(&name);
    for message in &came {
        let Some(message) = message else { panic!("what the gate sends is no request") };
        if message.target == "/end" && message.method == "GET" && message.body.is_empty() {
            continue;
        }
        let same = |said: &&Message| is_the_same(said, message);
        assert!(expected.any(|said| same(&said)), "{message:?} came, and was not said in this place: {said:?}");
    }
    assert!(came.len() >= heard.passed, "answers without requests");
}

/// F16: whatever the MCP server answers, the client reads one answer, which is the one that a second reader reads, or is told that
/// there is none, or sees it break off; and what comes behind it is the answer to nobody.
///
/// # Panics
/// If a client reads anything else.
pub fn back(data: &[u8]) {
    let stage = &*STAGE;
    *stage.script.lock().expect("nobody panics with it") = Some(data.to_vec());
    let (mut client, name) = stage.client();
    // What others have left behind is not kept for ever.
    drop(stage.came(&name));
    client.set_read_timeout(Some(PATIENCE)).expect("an option of every socket");
    let ask = |client: &mut TcpStream, target: &str, fields: &str| {
        let _ = client.write_all(format!("GET {target} HTTP/1.1\r\nHost: gate.example\r\n{fields}\r\n").as_bytes());
    };
    ask(&mut client, TOLD, "");
    let (mut bytes, mut piece, mut closed) = (Vec::new(), [0; 16_384], false);
    let heard = loop {
        match second::answer(&bytes, false) {
            Read::Partial if !closed => match client.read(&mut piece) {
                Ok(0) => closed = true,
                Ok(count) => bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) => {
                    let waits = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    assert!(!waits, "the server has closed, and more is waited for");
                    closed = true;
                }
            },
            Read::Partial => break None,
            Read::Bad => panic!("what the gate answers is no answer"),
            Read::Whole(answer, length) => break Some((answer, length)),
        }
    };
    let said = second::answer(data, true);
    let Some(((status, message), length)) = heard else { return };
    let own = matches!(status, 502..=504) && message.body.is_empty();
    match &said {
        Read::Whole((other, said), _) => {
            assert!(
                own || (status == *other && message.body == said.body),
                "{status} {message:?}, and not {other} {said:?}"
            );
        }
        Read::Partial | Read::Bad => assert!(own, "{status} {message:?} is whole, and what was said is not"),
    }
    // Whoever asks next on the same connection gets an answer of their own, if any.
    ask(&mut client, "/end", "Connection: close\r\n");
    let mut rest = bytes.split_off(length);
    while let Ok(count @ 1..) = client.read(&mut piece) {
        rest.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
    if !rest.is_empty() {
        let next = second::answer(&rest, true);
        let Read::Whole((status, next), end) = next else { panic!("{:?}", rest.escape_ascii().to_string()) };
        // The server has closed a connection that it had not said it would: that may show only when something was sent on it.
        let is_own = status == 502 && next.body.is_empty() && next.all("x-of").is_empty();
        let is_for_it = status == 200 && next.all("x-of") == [name.as_bytes()];
        assert!((is_own || is_for_it) && end == rest.len(), "it is somebody else's: {status} {next:?}");
    }
}

/// What the script is the answer to.
const TOLD: &str = "/told";

/// Whether what came is what was said: the method, the target, the body byte for byte, and what MCP says in headers.
fn is_the_same(said: &Message, came: &Message) -> bool {
    let target = !said.target.starts_with('/') || said.target == came.target;
    let named = |name: &str| {
        said.all("connection").iter().any(|line| {
            line.split(|byte| *byte == b',').any(|other| other.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
        })
    };
    let mcp = |message: &Message, all: bool| -> Vec<(String, Vec<u8>)> {
        let passes = |name: &str| {
            name.starts_with("mcp-") && (all || !named(name)) && (is_plain(name) || name.starts_with("mcp-param-"))
        };
        let mut fields: Vec<_> = message.fields.iter().filter(|(name, _)| passes(name)).cloned().collect();
        // Fields of one name keep their order; those of different names have none.
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        fields
    };
    target && said.method == came.method && said.body == came.body && mcp(said, false) == mcp(came, true)
}

/// The gate, and what stands in the MCP server's place.
struct Stage {
    gate: SocketAddr,
    came: Came,
    script: Script,
    _serving: Serving,
    _stop: watch::Sender<bool>,
}

/// What is answered once, as it is, before the connection ends.
type Script = Arc<Mutex<Option<Vec<u8>>>>;

/// By the name of the client's connection, what came of it; nothing for what is no request.
type Came = Arc<Mutex<Vec<(String, Option<Message>)>>>;

impl Stage {
    fn set() -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-fuzz-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket in the temporary folder");
        let came = Came::default();
        let script = Script::default();
        let (seen, told) = (Arc::clone(&came), Arc::clone(&script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, told) = (Arc::clone(&seen), Arc::clone(&told));
                std::thread::spawn(move || answer(stream, &seen, &told));
            }
        });
        let upstream = Upstream::parse(&format!("unix:{}:/", path.display()), Some("/")).expect("an address");
        let upstream = Arc::new(upstream);
        let bound = Bound::new((Ipv4Addr::UNSPECIFIED, 0).into(), 1).expect("an address");
        let gate = bound.address();
        let (stop, stopped) = watch::channel(false);
        let handler = move |_| Everything(Arc::new(Pool::new(Arc::clone(&upstream))));
        let serving = serve(bound, Settings::default(), Plain, handler, stopped).expect("threads");
        Self { gate, came, script, _serving: serving, _stop: stop }
    }

    /// A connection, and its name. Each goes to another address of this machine, so that no pair of ports comes twice.
    fn client(&self) -> (TcpStream, String) {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let [high, low] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let stream =
            TcpStream::connect((Ipv4Addr::new(127, 9, high, low), self.gate.port())).expect("the gate listens");
        let own = stream.local_addr().expect("it is connected");
        stream.set_nodelay(true).expect("an option of every socket");
        (stream, own.port().to_string())
    }

    /// What came of this connection, in its order.
    fn came(&self, name: &str) -> Vec<Option<Message>> {
        let mut came = self.came.lock().expect("nobody panics with it");
        let (own, others): (Vec<_>, Vec<_>) = came.drain(..).partition(|(of, _)| of == name || of.is_empty());
        // What a client that has left had said comes late, and is nobody's.
        *came = others.into_iter().rev().take(64).rev().collect();
        own.into_iter().map(|(_, message)| message).collect()
    }
}

/// Everything passes, under the name of its connection.
#[derive(Clone)]
struct Everything(Arc<Pool>);

impl Handler for Everything {
    async fn handle(&self, request: Box<Request<RequestBody>>, peer: Peer) -> Response<AnswerBody> {
        let gate = HeaderValue::from_static("gate");
        let (who, name) = (
            Introduced::of(&Identity { user: "ada", ..Identity::default() }),
            HeaderValue::from(peer.address().port()),
        );
        let who = who.expect("a name");
        let onward = Onward {
            client: peer.address().ip(),
            proto: &gate,
            public_host: &gate,
            who: &who,
            request_id: &name,
            body_max: BODY_MAX,
            came: Instant::now(),
        };
        let answered = match forward(&self.0, request, onward, &peer) {
            Ok(passing) => passing.await,
            Err(fault) => Err(fault),
        };
        answered.unwrap_or_else(|fault| {
            let mut refused = Response::new(AnswerBody::empty());
            *refused.status_mut() = StatusCode::from_u16(fault.wire().status).unwrap_or(StatusCode::BAD_GATEWAY);
            refused
        })
    }
}

/// Reads requests as strictly as can be, and answers each. The gate asks one after the other, so that nothing lies behind one.
fn answer(mut stream: UnixStream, came: &Came, script: &Script) {
    let (mut bytes, mut piece) = (Vec::new(), [0; 16_384]);
    loop {
        let message = match second::request(&bytes) {
            Read::Whole(message, length) => Some(message).filter(|_| length == bytes.len()),
            Read::Bad => None,
            Read::Partial => match stream.read(&mut piece) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
                    continue;
                }
            },
        };
        let name = message.as_ref().and_then(|message| match message.all("x-request-id").as_slice() {
            [name] => String::from_utf8(name.to_vec()).ok(),
            _ => None,
        });
        let whole = message.is_some();
        if message.as_ref().is_some_and(|message| message.target == TOLD)
            && let Some(script) = script.lock().expect("nobody panics with it").take()
        {
            let _ = stream.write_all(&script);
            return;
        }
        let of = name.clone().unwrap_or_default();
        // What has no name, or is no request, is somebody's: of whoever looks next.
        came.lock().expect("nobody panics with it").push((name.unwrap_or_default(), message));
        let answer = format!("HTTP/1.1 200 OK\r\nX-Passed: yes\r\nX-Of: {of}\r\nContent-Length: 0\r\n\r\n");
        if !whole || stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
        bytes.clear();
    }
}

/// The answers that a client has heard.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    answers: usize,
    /// Of these, the ones of the MCP server.
    passed: usize,
}

impl Heard {
    /// Reads until there are so many answers, or the connection has ended: whether one of the two came in time.
    fn until(&mut self, client: &mut TcpStream, answers: usize, patience: Duration) -> bool {
        client.set_read_timeout(Some(patience)).expect("an option of every socket");
        let mut piece = [0; 16_384];
        loop {
            self.count();
            if self.answers >= answers {
                return true;
            }
            match client.read(&mut piece) {
                Ok(0) => return true,
                Ok(count) => self.bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
                Err(_) => return true,
            }
        }
    }

    /// None of them has a body; interim ones are none.
    fn count(&mut self) {
        while let Some(end) = self.bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = self.bytes.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
            assert!(head.starts_with("http/1."), "{head}");
            if !head.starts_with("http/1.1 1") {
                self.answers += 1;
                self.passed += usize::from(head.contains("\r\nx-passed: yes\r\n"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_reach_the_server() {
        through(include_bytes!("../corpus/http-through/pipelined"));
        through(b"POST /a HTTP/1.1\r\nHost: gate.example\r\nContent-Length: 2\r\n\r\nhi");
    }
}
