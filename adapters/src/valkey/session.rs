//! One connection at work: requests go out in the order in which they came, and the oldest one without an answer gets the next.
//!
//! Requests that wait for replicas are acknowledged together: those that have come in the meantime are sent, one `WAIT` behind them
//! is for all of them, and until it has been answered the next ones gather.
//!
//! Nobody but this room reads or writes the socket, so a caller that has left cannot leave its answer to the next one: it is
//! read, and thrown away.

use super::access::{Ready, Socket, Talk};
use super::link::{Answer, Answered, Failure, Heard, Hearing, PROBE, Request, Shared};
use super::resp::{Decoder, Frame, Value, Violation, command};
use super::server::Role;
use portcullis_domain::limits::{
    STORE_BYTES_UNSENT, STORE_PROBE, STORE_REPLY_DEADLINE, STORE_UNANSWERED, STORE_WAIT, TICK,
};
use portcullis_domain::operation::Epoch;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The server hung up, or the network did.
    Lost,
    /// An answer did not come in time.
    Silent,
    /// What came is no RESP, or nobody had asked for it.
    Nonsense,
    /// The server is a replica now.
    Demoted,
    /// The server may throw records away now.
    Evicts,
    /// There is a better server to talk to.
    Left,
    /// Nobody is left who could ask.
    Unwanted,
}

impl Ended {
    /// In words that follow "the connection to the store is over:".
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Lost => "it was closed",
            Self::Silent => "an answer did not come in time",
            Self::Nonsense => "what came is no answer",
            Self::Demoted => "the server is a replica now",
            Self::Evicts => "the server may throw records away now",
            Self::Left => "another server is the primary now",
            Self::Unwanted => "it is of no use any more",
        }
    }
}

/// What has been sent and not been answered.
struct Waiting {
    answer: Answer,
    /// How many answers are still to come, and those that have.
    left: usize,
    got: Vec<Value>,
    until: Instant,
    /// Whether it is given once replicas have said that they have it.
    held: bool,
}

pub(super) struct Session<'a> {
    socket: Box<dyn Socket>,
    decoder: Decoder,
    run: String,
    epoch: Epoch,
    shared: &'a Shared,
    hearing: Option<&'a mut Hearing>,
    out: Vec<u8>,
    sent: usize,
    unflushed: bool,
    waiting: VecDeque<Waiting>,
    /// How many replicas are to have what has been sent since the last `WAIT`.
    replicas: Option<u32>,
    /// Whether a `WAIT` is under way, and what it is for as far as that has been answered.
    acknowledging: bool,
    held: Vec<(Answer, Vec<Value>)>,
    tick: Interval,
    probe_at: Instant,
    buffer: Box<[u8; READ]>,
}

/// Bytes that are read at a time.
const READ: usize = 16 * 1024;

impl<'a> Session<'a> {
    pub(super) fn new(ready: Ready, shared: &'a Shared, hearing: Option<&'a mut Hearing>) -> Self {
        let Ready { talk: Talk { socket, decoder }, server, watches } = ready;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut session = Self {
            socket,
            decoder,
            run: server.run,
            epoch: server.epoch,
            shared,
            hearing,
            out: Vec::new(),
            sent: 0,
            unflushed: false,
            waiting: VecDeque::new(),
            replicas: None,
            acknowledging: false,
            held: Vec::new(),
            tick,
            probe_at: Instant::now(),
            buffer: Box::new([0; READ]),
        };
        session.tell(Heard::Up { epoch: server.epoch, watches });
        session
    }

    /// Works until the connection is over; whatever has no answer by then is told that none will come.
    pub(super) async fn run(mut self, queue: &mut mpsc::Receiver<Request>) -> Ended {
        let ended = poll_fn(|cx| self.poll(cx, queue)).await;
        self.tell(Heard::Down);
        let held = self.held.drain(..).map(|(answer, _)| answer);
        for answer in held.chain(self.waiting.drain(..).map(|waiting| waiting.answer)) {
            answer.give(Err(Failure::Lost));
        }
        ended
    }

    fn poll(&mut self, cx: &mut Context<'_>, queue: &mut mpsc::Receiver<Request>) -> Poll<Ended> {
        while self.tick.poll_tick(cx).is_ready() {
            if let Some(ended) = self.look() {
                return Poll::Ready(ended);
            }
        }
        loop {
            let mut moved = false;
            while !self.acknowledging && self.waiting.len() < STORE_UNANSWERED && self.out.len() < STORE_BYTES_UNSENT {
                match queue.poll_recv(cx) {
                    Poll::Ready(Some(request)) => self.take(request),
                    Poll::Ready(None) => return Poll::Ready(Ended::Unwanted),
                    Poll::Pending => break,
                }
                moved = true;
            }
            self.acknowledge();
            for step in [Self::write, Self::read] {
                match step(self, cx) {
                    Ok(more) => moved |= more,
                    Err(ended) => return Poll::Ready(ended),
                }
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    /// Four times a second: whether an answer is overdue, and once a second whether the server is still what it was.
    fn look(&mut self) -> Option<Ended> {
        let now = Instant::now();
        if self.waiting.front().is_some_and(|oldest| oldest.until <= now) {
            return Some(Ended::Silent);
        }
        if self.shared.leave.swap(false, Relaxed) {
            return Some(Ended::Left);
        }
        if self.probe_at <= now {
            self.probe();
        }
        None
    }

    fn probe(&mut self) {
        let now = Instant::now();
        self.probe_at = now.checked_add(STORE_PROBE).unwrap_or(now);
        self.send(&PROBE, Answer::Probe, 1, false);
    }

    /// Has everything that was sent, and is to be on replicas, acknowledged.
    fn acknowledge(&mut self) {
        if let Some(replicas) = self.replicas.take() {
            let (replicas, deadline) = (replicas.to_string(), STORE_WAIT.as_millis().to_string());
            let wait = command(&[b"WAIT", replicas.as_bytes(), deadline.as_bytes()]);
            self.send(&wait, Answer::Acknowledged, 1, false);
            self.acknowledging = true;
        }
    }

    fn take(&mut self, request: Request) {
        let Request { bytes, replies, epoch, replicas, answer } = request;
        if answer.is_unwanted() {
            return;
        }
        if epoch.is_some_and(|epoch| epoch != self.epoch) {
            return answer.give(Err(Failure::OtherEpoch));
        }
        self.replicas = self.replicas.max(replicas);
        self.send(&bytes, answer, replies, replicas.is_some());
    }

    fn send(&mut self, bytes: &[u8], answer: Answer, replies: usize, held: bool) {
        self.out.extend_from_slice(bytes);
        let now = Instant::now();
        let until = now.checked_add(STORE_REPLY_DEADLINE).unwrap_or(now);
        self.waiting.push_back(Waiting { answer, left: replies, got: Vec::new(), until, held });
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut moved = false;
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.socket).poll_write(cx, rest) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(Ended::Lost),
                Poll::Ready(Ok(count)) => self.sent = self.sent.saturating_add(count),
                Poll::Pending => break,
            }
            (moved, self.unflushed) = (true, true);
        }
        if self.sent > 0 {
            self.out.drain(..self.sent);
            self.sent = 0;
            self.out.shrink_to(READ);
        }
        if self.unflushed {
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Err(Ended::Lost),
                Poll::Pending => {}
            }
        }
        Ok(moved)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut buffer = ReadBuf::new(self.buffer.as_mut_slice());
        match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(_)) => return Err(Ended::Lost),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Err(Ended::Lost),
            Poll::Ready(Ok(())) => self.decoder.feed(buffer.filled()),
        }
        loop {
            match self.decoder.next() {
                Ok(Some(Frame::Push(items))) => self.tell(Heard::Push(items)),
                Ok(Some(Frame::Reply(value))) => self.reply(value)?,
                Ok(None) => return Ok(true),
                Err(Violation) => return Err(Ended::Nonsense),
            }
        }
    }

    fn reply(&mut self, value: Value) -> Result<(), Ended> {
        let oldest = self.waiting.front_mut().ok_or(Ended::Nonsense)?;
        oldest.left = oldest.left.saturating_sub(1);
        oldest.got.push(value);
        if oldest.left > 0 {
            return Ok(());
        }
        let Waiting { answer, mut got, held, .. } = self.waiting.pop_front().ok_or(Ended::Nonsense)?;
        match answer {
            Answer::Probe => return self.probed(got.pop()),
            Answer::Acknowledged => {
                self.acknowledging = false;
                let count = got.pop().unwrap_or(Value::Null);
                for (answer, mut got) in std::mem::take(&mut self.held) {
                    got.push(count.clone());
                    self.give(answer, got);
                }
            }
            answer if held => self.held.push((answer, got)),
            answer => self.give(answer, got),
        }
        Ok(())
    }

    fn give(&self, answer: Answer, mut got: Vec<Value>) {
        let value = if got.len() == 1 { got.pop().unwrap_or(Value::Null) } else { Value::List(got) };
        answer.give(Ok(Answered { value, epoch: self.epoch }));
    }

    fn probed(&mut self, value: Option<Value>) -> Result<(), Ended> {
        let role = value.as_ref().and_then(Value::str).and_then(|info| Role::read(&self.run, info));
        let Role { is_primary, evicts, epoch } = role.ok_or(Ended::Nonsense)?;
        if !is_primary {
            return Err(Ended::Demoted);
        }
        if evicts {
            return Err(Ended::Evicts);
        }
        if epoch != self.epoch {
            self.epoch = epoch;
            self.shared.renewed(epoch);
            // Whatever was read before may be of a history that is gone.
            self.tell(Heard::Renewed(epoch));
        }
        Ok(())
    }

    fn tell(&mut self, heard: Heard) {
        if let Some(hearing) = &mut self.hearing {
            hearing(heard);
        }
    }
}
