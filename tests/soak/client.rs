//! Clients: many people over few kept connections, as behind a proxy. Each answer is searched for what belongs to somebody else.

use super::chance::Chance;
use super::fault::Fault;
use super::server::answer;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long an answer may take before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(20);
/// Kept connections of one worker.
const CONNECTIONS: usize = 8;

/// What came of the requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Sent, whole or in part.
    pub(crate) requests: u64,
    /// Answered as the server answered.
    pub(crate) answered: u64,
    /// Answered by the gate in place of a server that did not answer properly.
    pub(crate) refused: u64,
    /// Broken off by the gate in the middle, because the server did.
    pub(crate) broken: u64,
    /// Left by the client itself: before, during or after, or because it had waited long enough.
    pub(crate) left: u64,
    /// Lost with a kept connection whose other end had closed it, the server's or the gate's: such a request must not be sent again
    /// by whoever cannot know what came of it.
    pub(crate) unlucky: u64,
    /// What must never happen.
    pub(crate) wrong: Vec<String>,
}

impl Tally {
    pub(crate) fn join(mut self, other: Self) -> Self {
        self.requests += other.requests;
        self.answered += other.answered;
        self.refused += other.refused;
        self.broken += other.broken;
        self.left += other.left;
        self.unlucky += other.unlucky;
        self.wrong.extend(other.wrong);
        self
    }
}

/// One of the workers.
pub(crate) struct Worker<'a> {
    gate: SocketAddr,
    people: &'a [String],
    chance: Chance,
    kept: [Option<TcpStream>; CONNECTIONS],
    tally: Tally,
}

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Waits,
    SendsHalf,
    LeavesAtOnce,
    LeavesInTheMiddle,
    Impatient(Duration),
}

/// One request of one person.
struct Call {
    canary: String,
    person: String,
    fault: Fault,
    bytes: Vec<u8>,
    length: usize,
}

/// What was heard.
enum Heard {
    /// A whole answer: its status, whether another may follow on the connection, its body, and how many bytes all of it took.
    Whole { status: u16, kept: bool, body: Vec<u8>, took: usize },
    /// The connection ended first.
    Broken,
    /// Nothing more came in time.
    Nothing,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(gate: SocketAddr, people: &'a [String], chance: Chance) -> Self {
        Self { gate, people, chance, kept: [const { None }; CONNECTIONS], tally: Tally::default() }
    }

    /// Sends so many requests.
    pub(crate) fn work(mut self, requests: u64) -> Tally {
        while self.tally.requests < requests {
            if self.chance.percent(2) { self.pair() } else { self.single() }
        }
        self.tally
    }

    /// A connection, and whether it was kept.
    fn connection(&mut self, place: usize) -> (TcpStream, bool) {
        if let Some(stream) = self.kept[place].take() {
            return (stream, true);
        }
        let stream = TcpStream::connect(self.gate).unwrap();
        stream.set_nodelay(true).unwrap();
        (stream, false)
    }

    fn single(&mut self) {
        self.tally.requests += 1;
        let place = self.chance.place(CONNECTIONS);
        let fault = Fault::draw(&mut self.chance);
        let call = self.call(fault);
        let manner = match self.chance.below(100) {
            0..90 => Manner::Waits,
            90..92 => Manner::SendsHalf,
            92..94 => Manner::LeavesAtOnce,
            94..97 => Manner::LeavesInTheMiddle,
            _ => Manner::Impatient(self.chance.millis(1, 30)),
        };
        let (mut stream, was_kept) = self.connection(place);
        let sent = if manner == Manner::SendsHalf { call.bytes.len() - call.length / 2 - 1 } else { call.bytes.len() };
        // An answer may come, and the connection end, before all is sent: what came is judged in any case.
        let _ = stream.write_all(&call.bytes[..sent]);
        let mut heard = Vec::new();
        let end = match manner {
            Manner::SendsHalf | Manner::LeavesAtOnce => Heard::Nothing,
            Manner::LeavesInTheMiddle => {
                let _ = stream.set_read_timeout(Some(PATIENCE));
                read(&mut stream, &mut heard);
                Heard::Nothing
            }
            Manner::Impatient(time) => hear(&mut stream, &mut heard, time),
            Manner::Waits => hear(&mut stream, &mut heard, PATIENCE),
        };
        if let Some(stranger) = stranger(&heard, &call.canary) {
            self.wrong(&call, &format!("{stranger} was heard"), &heard);
        }
        match end {
            Heard::Whole { status, kept, body, took } => {
                if took != heard.len() {
                    self.wrong(&call, "bytes behind the answer", &heard);
                }
                self.judge(&call, status, &body, &heard);
                if kept {
                    self.kept[place] = Some(stream);
                }
            }
            Heard::Broken if matches!(fault, Fault::Truncated | Fault::TruncatedChunk) => self.tally.broken += 1,
            Heard::Broken if was_kept && heard.is_empty() => self.tally.unlucky += 1,
            Heard::Broken => self.wrong(&call, "the connection ended", &heard),
            Heard::Nothing if manner == Manner::Waits => self.wrong(&call, "no answer came", &heard),
            Heard::Nothing => self.tally.left += 1,
        }
    }

    /// Two people's requests in one piece on one connection: the answers come in their order.
    fn pair(&mut self) {
        self.tally.requests += 2;
        let place = self.chance.place(CONNECTIONS);
        let calls = [self.call(Fault::None), self.call(Fault::None)];
        let (mut stream, was_kept) = self.connection(place);
        let _ = stream.write_all(&[&calls[0].bytes[..], &calls[1].bytes[..]].concat());
        let mut heard = Vec::new();
        for call in &calls {
            let Heard::Whole { status, kept, body, took } = hear(&mut stream, &mut heard, PATIENCE) else {
                if was_kept && heard.is_empty() {
                    self.tally.unlucky += 1;
                    return;
                }
                return self.wrong(call, "no answer came", &heard);
            };
            if let Some(stranger) = stranger(&heard[..took], &call.canary) {
                self.wrong(call, &format!("{stranger} was heard"), &heard);
            }
            self.judge(call, status, &body, &heard);
            heard.drain(..took);
            if !kept {
                return;
            }
        }
        if !heard.is_empty() {
            self.wrong(&calls[1], "bytes behind the answers", &heard);
        }
        self.kept[place] = Some(stream);
    }

    fn judge(&mut self, call: &Call, status: u16, body: &[u8], heard: &[u8]) {
        // Where the answer is begun before the body is read, the server does not know how long that is.
        let length = if call.fault == Fault::Early { 0 } else { call.length };
        let expected = answer(&call.canary, &call.person, length);
        match status {
            200 if body == expected.as_bytes() && call.fault.is_answered() => self.tally.answered += 1,
            502 if !body.windows(7).any(|window| window == b"canary-") => {
                if call.fault.is_answered() {
                    self.tally.unlucky += 1;
                } else {
                    self.tally.refused += 1;
                }
            }
            _ => self.wrong(call, "that is no answer to it", heard),
        }
    }

    fn call(&mut self, fault: Fault) -> Call {
        let chance = &mut self.chance;
        let number = chance.place(self.people.len());
        let canary = format!("canary-{number:04}-{:016x}", chance.next());
        let fill = match chance.below(100) {
            0..10 if fault == Fault::Sluggish => chance.place(3 << 20),
            0..80 => chance.place(400),
            80..97 => chance.place(8 << 10),
            _ => chance.place(200 << 10),
        };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"canary":"{canary}","fill":"{}"}}}}"#,
            "y".repeat(fill)
        );
        let (framing, framed) = if chance.percent(15) {
            ("Transfer-Encoding: chunked".to_owned(), format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
        } else {
            (format!("Content-Length: {}", body.len()), body.clone())
        };
        let bytes = format!(
            "POST /mcp HTTP/1.1\r\nHost: gate.example\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nX-Canary: {canary}\r\nX-Fault: {}\r\n{framing}\r\n\r\n{framed}",
            self.people[number],
            fault.name(),
        );
        let person = format!("person-{number:04}");
        Call { canary, person, fault, bytes: bytes.into_bytes(), length: body.len() }
    }

    fn wrong(&mut self, call: &Call, what: &str, heard: &[u8]) {
        let begin = String::from_utf8_lossy(&heard[..heard.len().min(600)]).into_owned();
        self.tally.wrong.push(format!("{what}: {} with {:?}: {begin:?}", call.canary, call.fault));
    }
}

/// Any canary in these bytes that is not this one. The last may be cut off.
fn stranger(heard: &[u8], own: &str) -> Option<String> {
    const BEGIN: &[u8] = b"canary-";
    let places = heard.windows(BEGIN.len()).enumerate().filter(|(_, window)| *window == BEGIN);
    let found = places.map(|(place, _)| &heard[place..heard.len().min(place + own.len())]);
    found
        .into_iter()
        .find(|found| !own.as_bytes().starts_with(found))
        .map(|found| String::from_utf8_lossy(found).into_owned())
}

/// Reads until an answer is whole.
fn hear(stream: &mut TcpStream, heard: &mut Vec<u8>, time: Duration) -> Heard {
    let end = Instant::now() + time;
    loop {
        if let Some(whole) = whole(heard) {
            return whole;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Heard::Nothing;
        }
        stream.set_read_timeout(Some(left)).unwrap();
        match read(stream, heard) {
            Some(0) => return Heard::Broken,
            Some(_) => {}
            None => return Heard::Nothing,
        }
    }
}

/// How many bytes came; nothing if none came in time.
fn read(stream: &mut TcpStream, heard: &mut Vec<u8>) -> Option<usize> {
    let mut buffer = [0; 32 << 10];
    match stream.read(&mut buffer) {
        Ok(count) => {
            heard.extend_from_slice(&buffer[..count]);
            Some(count)
        }
        Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => None,
        Err(_) => Some(0),
    }
}

/// The first answer in these bytes, if it is whole.
fn whole(heard: &[u8]) -> Option<Heard> {
    let head_end = heard.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&heard[..head_end]).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let kept = !head.contains("\r\nconnection: close\r\n");
    let value = |name: &str| head.split("\r\n").find_map(|line| line.strip_prefix(name));
    if let Some(length) = value("content-length: ") {
        let took = head_end + length.parse::<usize>().unwrap();
        let body = heard.get(head_end..took)?.to_vec();
        return Some(Heard::Whole { status, kept, body, took });
    }
    assert_eq!(value("transfer-encoding: "), Some("chunked"), "{head}");
    let (mut at, mut body) = (head_end, Vec::new());
    loop {
        let line = heard[at..].windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&heard[at..at + line]).unwrap(), 16).unwrap();
        let data = at + line + 2;
        body.extend_from_slice(heard.get(data..data + size)?);
        heard.get(data + size..data + size + 2)?;
        at = data + size + 2;
        if size == 0 {
            return Some(Heard::Whole { status, kept, body, took: at });
        }
    }
}
