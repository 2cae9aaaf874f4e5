//! The gateway's threads: one per core, each with a runtime of its own, its own accept, its own connections and its
//! own ticker. Nothing of a request ever leaves the core that took it.
//!
//! Every core listens on the same address by SO_REUSEPORT and the kernel spreads the connections.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portcullis_domain::limits;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::bound::{Bound, Socket};
use super::connection::{self, Handler, Handshake};
use super::door::{Door, Refused};
use super::peer::TrustedProxies;
use super::ticker::Ticker;
use crate::exposition::Exposition;
use crate::pace::Seldom;

/// What an operator may set about a listener.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Open connections, over all cores; one more is told 503 and closed.
    pub connections_max: usize,
    /// Of these, from one address (IPv6: one /64).
    pub connections_per_address: usize,
    /// Whose connections are everybody's.
    pub proxies: TrustedProxies,
    /// From the first byte of a head to its last, and for a TLS handshake.
    pub head: Duration,
    /// A kept connection between two requests.
    pub idle: Duration,
    /// In this time a client that is waited for takes `READ_WINDOW_MIN` bytes of its answers.
    pub write_stall: Duration,
    /// In this time an awaited request body brings `BODY_WINDOW_MIN` bytes.
    pub body_window: Duration,
    /// A request in which nothing moves at all.
    pub quiet: Duration,
    /// How long requests in progress may run on once the gateway is told to stop.
    pub drain: Duration,
    /// How many things are under way that outlive the requests that began them, and end with the core: within `drain` it waits for
    /// them.
    pub unfinished: Arc<AtomicUsize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            connections_per_address: limits::CONNECTIONS_PER_ADDRESS,
            proxies: TrustedProxies::default(),
            head: limits::HEAD_DEADLINE,
            idle: limits::IDLE_DEADLINE,
            write_stall: limits::WRITE_STALL,
            body_window: limits::BODY_WINDOW,
            quiet: limits::QUIET_DEADLINE,
            drain: limits::DRAIN_DEADLINE,
            unfinished: Arc::default(),
        }
    }
}

impl Settings {
    /// For whoever never showed a session, when there is little room left. What waits for the gate itself is not hurried.
    pub(super) fn hurried(&self) -> Self {
        let hurried = |deadline: Duration| deadline.min(limits::HURRIED_DEADLINE);
        Self {
            head: hurried(self.head),
            idle: hurried(self.idle),
            write_stall: hurried(self.write_stall),
            body_window: hurried(self.body_window),
            ..self.clone()
        }
    }
}

/// What a listener counts, over all its cores.
#[derive(Debug, Default)]
pub struct Counts {
    door: Arc<Door>,
    accepted: AtomicU64,
    refused: AtomicU64,
    refused_of_address: AtomicU64,
    timed_out: AtomicU64,
    failed_handshakes: AtomicU64,
    accept_errors: AtomicU64,
    draining: AtomicBool,
    said_refused: Seldom,
    said_accept_error: Seldom,
}

impl Counts {
    /// Connections open now.
    pub fn open(&self) -> usize {
        self.door.open()
    }

    /// Connections taken so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections that were not kept, because too many were open.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Connections that were not kept, because too many were open from their address.
    pub fn refused_of_address(&self) -> u64 {
        self.refused_of_address.load(Relaxed)
    }

    /// Connections on which no TLS was agreed on.
    pub fn failed_handshakes(&self) -> u64 {
        self.failed_handshakes.load(Relaxed)
    }

    /// Connections that a deadline ended.
    pub fn timed_out(&self) -> u64 {
        self.timed_out.load(Relaxed)
    }

    /// Failures of accept itself, such as a process out of file descriptors.
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Relaxed)
    }

    /// Whether the listener was told to stop.
    pub fn draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Writes all of it.
    pub fn write_metrics(&self, page: &mut Exposition) {
        page.gauge("connections_open", "Open connections.").is(self.open());
        page.counter("connections_accepted_total", "Accepted connections.").is(self.accepted());
        page.counter("connections_timed_out_total", "Connections ended by a deadline.").is(self.timed_out());
        let mut refused = page.counter("connections_refused_total", "Connections beyond a limit.");
        refused.of(&[("limit", "total")], self.refused());
        refused.of(&[("limit", "address")], self.refused_of_address());
        page.counter("tls_handshakes_failed_total", "Connections without an agreement on TLS.")
            .is(self.failed_handshakes());
        page.counter("accept_errors_total", "Failed accepts.").is(self.accept_errors());
    }

    pub(super) fn count_timed_out(&self) {
        self.timed_out.fetch_add(1, Relaxed);
    }

    pub(super) fn count_failed_handshake(&self) {
        self.failed_handshakes.fetch_add(1, Relaxed);
    }

    fn count_refused(&self, refused: Refused, address: SocketAddr) {
        let (count, why) = match refused {
            Refused::Total => (&self.refused, "too many connections are open"),
            Refused::Address => (&self.refused_of_address, "too many connections are open from one address"),
        };
        count.fetch_add(1, Relaxed);
        if self.said_refused.may() {
            tracing::warn!(address = %address.ip(), why, "a connection was refused; there may be more that are not told of");
        }
    }

    fn count_accept_error(&self, error: &io::Error) {
        self.accept_errors.fetch_add(1, Relaxed);
        if self.said_accept_error.may() {
            tracing::error!(%error, "connections cannot be accepted; this is tried again, and those that are open go on");
        }
    }
}

/// The running threads.
#[derive(Debug)]
pub struct Serving {
    threads: Vec<JoinHandle<()>>,
    counts: Arc<Counts>,
}

impl Serving {
    /// What is counted.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Waits, blocking, until every core has stopped.
    pub fn join(self) {
        for thread in self.threads {
            // A core that panicked has nothing left to wait for; the panic was printed by its thread.
            let _ = thread.join();
        }
    }
}

/// Starts one thread per bound socket. `handler` is called once on each, inside its runtime, with the core's number;
/// what it returns is cloned for every connection. The threads end some time after `stop` becomes true: they take no
/// new connections, close the idle ones and let requests in progress run on for `settings.drain`.
pub fn serve<S, T, H>(
    bound: Bound<S>,
    settings: Settings,
    handshake: T,
    handler: impl Fn(usize) -> H + Send + Sync + 'static,
    stop: watch::Receiver<bool>,
) -> io::Result<Serving>
where
    S: Socket,
    T: Handshake<S>,
    H: Handler,
{
    let handler = Arc::new(handler);
    let counts = Arc::new(Counts::default());
    let settings = Arc::new(settings);
    let mut ready = Vec::with_capacity(bound.sockets.len());
    for socket in bound.sockets {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            S::listen(socket)?
        };
        ready.push((runtime, listener));
    }
    let mut threads = Vec::with_capacity(ready.len());
    for (number, (runtime, listener)) in ready.into_iter().enumerate() {
        let (handler, stop) = (handler.clone(), stop.clone());
        let core = Core { handshake: handshake.clone(), counts: counts.clone(), settings: settings.clone() };
        let thread = std::thread::Builder::new().name(format!("core-{number}"));
        threads.push(
            thread.spawn(move || {
                runtime.block_on(async move { core.run::<S, H>(listener, handler(number), stop).await })
            })?,
        );
    }
    Ok(Serving { threads, counts })
}

/// Connections that a core takes before it looks after those that it has.
const ACCEPTS_PER_TURN: u8 = 8;

struct Core<T> {
    handshake: T,
    counts: Arc<Counts>,
    settings: Arc<Settings>,
}

enum Event<S> {
    Stop,
    Tick,
    Accepted(io::Result<(S, SocketAddr)>),
}

impl<T> Core<T> {
    async fn run<S, H>(self, listener: S::Listener, handler: H, mut stop: watch::Receiver<bool>)
    where
        S: Socket,
        T: Handshake<S>,
        H: Handler,
    {
        let mut ticker = Ticker::new(self.settings.clone(), self.counts.clone());
        let mut interval = tokio::time::interval(limits::TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A closed channel means that whoever could say stop is gone, which is a stop too.
        let mut stopped = std::pin::pin!(async move {
            let _ = stop.wait_for(|stop| *stop).await;
        });
        let mut paused = false;
        let mut taken = 0_u8;
        loop {
            // Those who are here already are not kept waiting by a crowd at the door.
            if taken == ACCEPTS_PER_TURN {
                taken = 0;
                tokio::task::yield_now().await;
            }
            match next::<S>(stopped.as_mut(), &mut interval, (!paused).then_some(&listener)).await {
                Event::Stop => break,
                Event::Tick => {
                    let is_round = ticker.tick(false);
                    interval.reset_after(ticker.pause());
                    paused = paused && !is_round;
                }
                Event::Accepted(Ok((stream, address))) => {
                    taken = taken.saturating_add(1);
                    self.take(stream, address, &handler, &mut ticker);
                }
                Event::Accepted(Err(error)) => {
                    // The client went away before it was taken: nothing is wrong here. Anything else (no file
                    // descriptor left, no memory) would fail again at once, so that accepting waits for the end of the round.
                    let of_client =
                        matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
                    if !of_client {
                        self.counts.count_accept_error(&error);
                        paused = true;
                    }
                }
            }
        }
        self.counts.draining.store(true, Relaxed);
        self.take_backlog::<S, H>(listener, &handler, &mut ticker).await;
        self.drain(ticker, interval).await;
    }

    /// Whoever the kernel has already greeted is not sent away with a reset: for one more tick all who come are taken.
    async fn take_backlog<S, H>(&self, listener: S::Listener, handler: &H, ticker: &mut Ticker)
    where
        S: Socket,
        T: Handshake<S>,
        H: Handler,
    {
        let _ = tokio::time::timeout(limits::TICK, async {
            while let Ok((stream, address)) = poll_fn(|cx| S::poll_accept(&listener, cx)).await {
                self.take(stream, address, handler, ticker);
            }
        })
        .await;
    }

    async fn drain(&self, mut ticker: Ticker, mut interval: Interval) {
        let begin = Instant::now();
        loop {
            interval.tick().await;
            let is_late = begin.elapsed() >= self.settings.drain;
            if is_late {
                ticker.end_all();
            }
            ticker.tick(true);
            interval.reset_after(ticker.pause());
            if ticker.is_empty() && (is_late || self.settings.unfinished.load(Relaxed) == 0) {
                return;
            }
        }
    }

    fn take<S, H>(&self, stream: S, address: SocketAddr, handler: &H, ticker: &mut Ticker)
    where
        S: Socket,
        T: Handshake<S>,
        H: Handler,
    {
        let place = match self.counts.door.enter(address.ip(), &self.settings) {
            Ok(place) => place,
            Err(refused) => {
                self.counts.count_refused(refused, address);
                stream.say(T::FULL);
                return;
            }
        };
        self.counts.accepted.fetch_add(1, Relaxed);
        stream.hurry();
        let (vitals, connection) =
            connection::serve(stream, address, self.handshake.clone(), handler.clone(), self.counts.clone(), place);
        ticker.watch(vitals, tokio::spawn(connection).abort_handle());
    }
}

async fn next<S: Socket>(
    mut stopped: Pin<&mut impl Future<Output = ()>>,
    interval: &mut Interval,
    listener: Option<&S::Listener>,
) -> Event<S> {
    poll_fn(|cx| {
        if stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::Stop);
        }
        if interval.poll_tick(cx).is_ready() {
            return Poll::Ready(Event::Tick);
        }
        match listener {
            Some(listener) => S::poll_accept(listener, cx).map(Event::Accepted),
            None => Poll::Pending,
        }
    })
    .await
}
