//! A link: one connection to a server that is made anew whenever it ends, and the queue before it.
//!
//! Links live on the background runtime, two or three for each server and not for each core: what many cores ask at the same
//! moment leaves in one packet, the server has as few connections as can be, and nothing that a core does can delay a push
//! that revokes something. The price is one wake-up of the background thread for each request that memory cannot answer.
//! Requests and answers cross between threads by channels, so the methods of the store's port may be called on any core.
//!
//! While a connection is made for the first time after one has ended, requests wait for it, because that takes a moment. Once
//! it has failed they are told so at once, until it succeeds.
//!
//! The seam for whoever keeps copies of what is read: [`Link::send_then`] runs a closure at the moment at which its answer is
//! read, and [`Hearing`] is told of pushes and of the connection's begin and end. Both happen in the link's own task, in the
//! order in which the server has sent them, so a reading that is older than a push can never be put down after it.

use super::access::{Access, Endpoint, Purpose, Ready};
use super::refusal::Refusal;
use super::resp::{Value, command};
use super::sentinel::Sentinels;
use super::server::Server;
use super::session::{Ended, Session};
use crate::pace::{Seldom, jittered};
use portcullis_domain::limits::{STORE_CONNECT_DEADLINE, STORE_QUEUE, STORE_RETRY_FIRST, STORE_RETRY_MAX};
use portcullis_domain::operation::Epoch;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was never sent: there is no connection, or too many others wait for it.
    NotSent,
    /// It was sent, and the connection ended before its answer: it may have been carried out, or be carried out yet.
    Lost,
    /// It was never sent: it is about what was seen in another life of the server.
    OtherEpoch,
}

/// An answer, and the life of the server in which it was given.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What the server says; of a request of several commands, the list of all answers.
    pub value: Value,
    /// Its life.
    pub epoch: Epoch,
}

/// What a link has heard, beside answers.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A connection stands. Nothing that was read on an earlier one is watched any more.
    Up {
        /// The life of the server.
        epoch: Epoch,
        /// Whether changes to what is read on this connection are told of.
        watches: bool,
    },
    /// The server has begun another life, and the connection goes on: nothing that was read before may be relied on.
    Renewed(Epoch),
    /// A push: its kind, and what it is about.
    Push(Vec<Value>),
    /// The connection is over.
    Down,
}

/// Whoever is told. It must not wait for anything.
pub type Hearing = Box<dyn FnMut(Heard) + Send>;

/// What is done with an answer.
type Then = Box<dyn FnOnce(Result<Answered, Failure>) + Send>;

/// Where an answer goes.
pub(super) enum Answer {
    To(oneshot::Sender<Result<Answered, Failure>>),
    Then(Then),
    /// To the connection itself.
    Probe,
    /// To all requests before it that wait for replicas.
    Acknowledged,
}

impl Answer {
    pub(super) fn give(self, answer: Result<Answered, Failure>) {
        match self {
            // Whoever asked may be gone: the answer was read, and is thrown away.
            Self::To(caller) => drop(caller.send(answer)),
            Self::Then(then) => then(answer),
            Self::Probe | Self::Acknowledged => {}
        }
    }

    pub(super) fn is_unwanted(&self) -> bool {
        matches!(self, Self::To(caller) if caller.is_closed())
    }
}

/// Commands, and where their answers go.
pub(super) struct Request {
    pub(super) bytes: Vec<u8>,
    /// How many commands they are, each of which has one answer.
    pub(super) replies: usize,
    /// The only life of the server in which they may be sent.
    pub(super) epoch: Option<Epoch>,
    /// How many replicas are to have what they write.
    pub(super) replicas: Option<u32>,
    pub(super) answer: Answer,
}

/// Commands that are sent together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Encoded, one behind the other.
    pub bytes: Vec<u8>,
    /// How many.
    pub replies: usize,
    /// The only life of the server in which they may be sent.
    pub epoch: Option<Epoch>,
    /// How many replicas are to have what they write: how many have it by then is one more answer, behind theirs.
    pub replicas: Option<u32>,
}

impl Batch {
    /// One command, in any life.
    #[must_use]
    pub const fn one(bytes: Vec<u8>) -> Self {
        Self { bytes, replies: 1, epoch: None, replicas: None }
    }
}

/// What a link's handles and its task both see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The connection is to be given up for a better one.
    pub(super) leave: AtomicBool,
    connected: AtomicU64,
    state: Mutex<State>,
}

impl Shared {
    /// The server has begun another life, on the same connection.
    pub(super) fn renewed(&self, epoch: Epoch) {
        if let State::Up(_, server) = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            server.epoch = epoch;
        }
    }
}

/// How a link stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It has not come to anything yet.
    #[default]
    New,
    /// It is connected to this server.
    Up(Endpoint, Server),
    /// It is not, for this reason.
    Down(Refusal),
}

/// A handle of a link. The link ends when the last one is gone.
#[derive(Clone, Debug)]
pub struct Link {
    queue: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

impl Link {
    /// A link, and the task that has to run for it.
    pub(super) fn new(
        goal: Goal,
        access: Arc<Access>,
        purpose: Purpose,
        hearing: Option<Hearing>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, requests) = mpsc::channel(STORE_QUEUE);
        let shared = Arc::new(Shared::default());
        let task = Task { queue: requests, goal, access, purpose, hearing, shared: Arc::clone(&shared) };
        (Self { queue, shared }, task.run())
    }

    /// Sends commands, and waits for the answer. Whoever stops waiting changes nothing for anybody else.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn send(&self, batch: Batch) -> Result<Answered, Failure> {
        let (caller, answer) = oneshot::channel();
        self.put(batch, Answer::To(caller));
        // A task that has ended without an answer has ended with the process.
        answer.await.unwrap_or(Err(Failure::Lost))
    }

    /// Sends commands, and has this done in the link's task at the moment when the answer is read, or when it is clear that none
    /// will come. It must not wait for anything.
    pub fn send_then(&self, batch: Batch, then: impl FnOnce(Result<Answered, Failure>) + Send + 'static) {
        self.put(batch, Answer::Then(Box::new(then)));
    }

    fn put(&self, batch: Batch, answer: Answer) {
        let Batch { bytes, replies, epoch, replicas } = batch;
        if let Err(refused) = self.queue.try_send(Request { bytes, replies, epoch, replicas, answer }) {
            let (mpsc::error::TrySendError::Full(request) | mpsc::error::TrySendError::Closed(request)) = refused;
            request.answer.give(Err(Failure::NotSent));
        }
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections it has made so far.
    #[must_use]
    pub fn connected(&self) -> u64 {
        self.shared.connected.load(Relaxed)
    }

    /// Has the server say now whether it is still what it was, instead of within a second.
    pub(super) fn probe(&self) {
        self.put(Batch::one(PROBE.clone()), Answer::Probe);
    }

    /// Gives the connection up within a moment, and looks anew for the server.
    pub(super) fn leave(&self) {
        self.shared.leave.store(true, Relaxed);
    }
}

/// Asks a server what it is: for everything, because older ones take only one section by name.
pub(super) static PROBE: LazyLock<Vec<u8>> = LazyLock::new(|| command(&[b"INFO"]));

/// Where a link leads.
#[derive(Clone, Debug)]
pub(super) enum Goal {
    /// To this server, which must be part of a cluster, or must not.
    At { endpoint: Endpoint, in_cluster: bool },
    /// To the server that is the primary when it connects.
    Primary(Arc<Sentinels>),
}

struct Task {
    queue: mpsc::Receiver<Request>,
    goal: Goal,
    access: Arc<Access>,
    purpose: Purpose,
    hearing: Option<Hearing>,
    shared: Arc<Shared>,
}

impl Task {
    async fn run(mut self) {
        let (mut pause, mut hopeful, said) = (STORE_RETRY_FIRST, true, Seldom::default());
        loop {
            let attempt = connect(&self.goal, &self.access, self.purpose);
            let attempt = if hopeful { Some(attempt.await) } else { refusing(&mut self.queue, attempt).await };
            let refusal = match attempt {
                None => return,
                Some(Err(refusal)) => refusal,
                Some(Ok((endpoint, ready))) => {
                    let began = Instant::now();
                    self.shared.connected.fetch_add(1, Relaxed);
                    self.set(State::Up(endpoint.clone(), ready.server.clone()));
                    tracing::debug!(store = %endpoint, purpose = ?self.purpose, "a connection to the store stands");
                    self.shared.leave.store(false, Relaxed);
                    let session = Session::new(ready, &self.shared, self.hearing.as_mut());
                    let ended = session.run(&mut self.queue).await;
                    if ended == Ended::Unwanted {
                        return;
                    }
                    tracing::warn!(store = %endpoint, "a connection to the store is over: {}", ended.words());
                    // What lasted is made again at once; what ends as soon as it begins is given time.
                    hopeful = began.elapsed() >= STORE_RETRY_MAX;
                    let over = Refusal::Unreachable(ended.words().to_owned());
                    if hopeful {
                        self.set(State::Down(over));
                        pause = STORE_RETRY_FIRST;
                        continue;
                    }
                    over
                }
            };
            if said.may() || refusal.needs_somebody() && self.state_differs(&refusal) {
                tracing::error!("the store {refusal}; {}", refusal.instead());
            }
            self.set(State::Down(refusal));
            hopeful = false;
            if refusing(&mut self.queue, tokio::time::sleep(jittered(pause))).await.is_none() {
                return;
            }
            pause = pause.saturating_mul(2).min(STORE_RETRY_MAX);
        }
    }

    fn set(&self, state: State) {
        *self.shared.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn state_differs(&self, refusal: &Refusal) -> bool {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(&*state, State::Down(before) if before == refusal)
    }
}

async fn connect(goal: &Goal, access: &Access, purpose: Purpose) -> Result<(Endpoint, Ready), Refusal> {
    let connected = async {
        let (endpoint, in_cluster) = match goal {
            Goal::At { endpoint, in_cluster } => (endpoint.clone(), *in_cluster),
            Goal::Primary(sentinels) => (sentinels.primary().await?, false),
        };
        let ready = access.open(&endpoint, purpose).await?;
        if ready.server.is_cluster != in_cluster {
            return Err(Refusal::Mode { is_cluster: ready.server.is_cluster });
        }
        Ok((endpoint, ready))
    };
    timeout(STORE_CONNECT_DEADLINE, connected).await.unwrap_or_else(|_| Err(late(STORE_CONNECT_DEADLINE)))
}

pub(super) fn late(deadline: Duration) -> Refusal {
    Refusal::Unreachable(format!("no answer within {} s", deadline.as_secs()))
}

/// Waits for the future, and meanwhile tells every request that it will not be sent; nothing once nobody is left to ask.
async fn refusing<T>(queue: &mut mpsc::Receiver<Request>, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        loop {
            match queue.poll_recv(cx) {
                Poll::Ready(Some(request)) => request.answer.give(Err(Failure::NotSent)),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return future.as_mut().poll(cx).map(Some),
            }
        }
    })
    .await
}
