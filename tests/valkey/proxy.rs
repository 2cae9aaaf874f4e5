//! A proxy that fails as it is told: it stands between a client and one server, and everything that it does to a connection
//! follows from what the test has said, in the order in which it came.

use super::talk::Reply;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What happens to the next request that contains certain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trick {
    /// The connection ends, and the request never arrives.
    CutBefore,
    /// The request is carried out, its answer is swallowed, and the connection ends.
    CutAfter,
    /// The answer comes twice.
    Duplicate,
    /// The answer is swallowed, and the connection stays.
    Swallow,
}

#[derive(Default)]
struct State {
    black_hole: bool,
    refuses: bool,
    split: bool,
    delay: Duration,
    tricks: VecDeque<(Vec<u8>, Trick)>,
    open: Vec<(TcpStream, TcpStream)>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    state: Mutex<State>,
    changed: Condvar,
    connections: AtomicUsize,
    played: AtomicUsize,
    ended: AtomicBool,
}

/// The proxy. It ends when it is dropped, and its connections with it.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Before this server.
    pub fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            state: Mutex::default(),
            changed: Condvar::new(),
            connections: AtomicUsize::new(0),
            played: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if own.ended.load(Ordering::SeqCst) {
                    return;
                }
                own.accept(client);
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has taken, those that it has refused included.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many of the tricks have been played.
    pub fn played(&self) -> usize {
        self.shared.played.load(Ordering::SeqCst)
    }

    /// Connections that are made from now on lead to another server.
    pub fn leads_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// Nothing goes through in either direction, and no connection ends. What waits goes through once it is over.
    pub fn black_hole(&self, on: bool) {
        self.change(|state| state.black_hole = on);
    }

    /// New connections end at once.
    pub fn refuses(&self, on: bool) {
        self.change(|state| state.refuses = on);
    }

    /// Every piece waits so long before it goes on, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.change(|state| state.delay = delay);
    }

    /// Every byte goes on by itself.
    pub fn split(&self, on: bool) {
        self.change(|state| state.split = on);
    }

    /// All connections end now.
    pub fn cut(&self) {
        self.change(|state| {
            for (client, server) in state.open.drain(..) {
                end(&client, &server);
            }
        });
    }

    /// The connection ends at the next request that contains this, which does not arrive.
    pub fn cut_before(&self, request: &str) {
        self.plan(request, Trick::CutBefore);
    }

    /// The next request that contains this is carried out, its answer lost, and the connection ends.
    pub fn cut_after(&self, request: &str) {
        self.plan(request, Trick::CutAfter);
    }

    /// The next request that contains this is answered twice.
    pub fn duplicate(&self, request: &str) {
        self.plan(request, Trick::Duplicate);
    }

    /// The next request that contains this is carried out and never answered, and the connection stays.
    pub fn swallow(&self, request: &str) {
        self.plan(request, Trick::Swallow);
    }

    fn plan(&self, request: &str, trick: Trick) {
        self.change(|state| state.tricks.push_back((request.as_bytes().to_vec(), trick)));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state());
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.change(|state| state.black_hole = false);
        self.cut();
        // Wakes whoever accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// What the two directions of one connection tell each other.
#[derive(Default)]
struct Line {
    /// Requests whose answers are still to come, each with what is to happen to its answer.
    expected: Mutex<VecDeque<Option<Trick>>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, client: TcpStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        if self.state().refuses {
            return;
        }
        let target = *self.target.lock().unwrap();
        let Ok(server) = TcpStream::connect_timeout(&target, Duration::from_secs(2)) else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let pair = || (client.try_clone().unwrap(), server.try_clone().unwrap());
        self.state().open.push(pair());
        let line = Arc::new(Line::default());
        let ((from_client, to_server), (to_client, from_server)) = (pair(), pair());
        let (own, requests) = (Arc::clone(self), Arc::clone(&line));
        std::thread::spawn(move || own.requests(&requests, from_client, to_server));
        let own = Arc::clone(self);
        std::thread::spawn(move || own.answers(&line, from_server, to_client));
    }

    /// From the client to the server, request by request.
    fn requests(&self, line: &Line, mut client: TcpStream, mut server: TcpStream) {
        let (mut ahead, mut buffer) = (Vec::new(), [0; 16 << 10]);
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            ahead.extend_from_slice(&buffer[..count]);
            // A handshake of TLS is nothing that could be read here.
            if ahead.first() != Some(&b'*') {
                if !self.forward(&mut server, &std::mem::take(&mut ahead)) {
                    break;
                }
                continue;
            }
            while let Some((_, length)) = Reply::first(&ahead) {
                let request: Vec<u8> = ahead.drain(..length).collect();
                let trick = self.trick(&request);
                if trick == Some(Trick::CutBefore) {
                    end(&client, &server);
                    return;
                }
                line.expected.lock().unwrap().push_back(trick);
                if !self.forward(&mut server, &request) {
                    end(&client, &server);
                    return;
                }
                if ahead.is_empty() {
                    break;
                }
            }
        }
        end(&client, &server);
    }

    /// From the server to the client, answer by answer.
    fn answers(&self, line: &Line, mut server: TcpStream, mut client: TcpStream) {
        let (mut ahead, mut buffer) = (Vec::new(), [0; 16 << 10]);
        while let Ok(count @ 1..) = server.read(&mut buffer) {
            ahead.extend_from_slice(&buffer[..count]);
            if !ahead.first().is_some_and(|kind| b"+-:$*_,(#=!~%>".contains(kind)) {
                if !self.forward(&mut client, &std::mem::take(&mut ahead)) {
                    break;
                }
                continue;
            }
            while !ahead.is_empty() {
                let Some((_, length)) = Reply::first(&ahead) else { break };
                let answer: Vec<u8> = ahead.drain(..length).collect();
                // A push answers nobody.
                let trick = if answer[0] == b'>' { None } else { line.expected.lock().unwrap().pop_front().flatten() };
                let goes_on = match trick {
                    None | Some(Trick::CutBefore) => self.forward(&mut client, &answer),
                    Some(Trick::CutAfter) => false,
                    Some(Trick::Duplicate) => self.forward(&mut client, &answer) && self.forward(&mut client, &answer),
                    Some(Trick::Swallow) => true,
                };
                if !goes_on {
                    end(&client, &server);
                    return;
                }
            }
        }
        end(&client, &server);
    }

    /// What is to happen to this request, if it is the one that the next trick waits for.
    fn trick(&self, request: &[u8]) -> Option<Trick> {
        let mut state = self.state();
        let (wanted, trick) = state.tricks.front()?;
        let meant = request.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted));
        let trick = meant.then_some(*trick)?;
        state.tricks.pop_front();
        self.played.fetch_add(1, Ordering::SeqCst);
        Some(trick)
    }

    /// Sends bytes on, as slowly and in such pieces as is said; whether that went well.
    fn forward(&self, to: &mut TcpStream, bytes: &[u8]) -> bool {
        let (delay, split) = {
            let mut state = self.state();
            while state.black_hole {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            (state.delay, state.split)
        };
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let pieces = if split { 1 } else { bytes.len().max(1) };
        bytes.chunks(pieces).all(|piece| to.write_all(piece).is_ok())
    }
}

fn end(client: &TcpStream, server: &TcpStream) {
    for stream in [client, server] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
