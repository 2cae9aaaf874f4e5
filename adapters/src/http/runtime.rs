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
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::connection::{self, Handler, Handshake};
use super::ticker::Ticker;

/// What an operator may set about a listener.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Open connections, over all cores; one more is told 503 and closed.
    pub connections_max: usize,
    /// From the first byte of a head to its last, and for a TLS handshake.
    pub head: Duration,
    /// A kept connection between two requests.
    pub idle: Duration,
    /// A client that takes nothing of its answer.
    pub write_stall: Duration,
    /// In this time an awaited request body brings `BODY_WINDOW_MIN` bytes.
    pub body_window: Duration,
    /// A request in which nothing moves at all.
    pub quiet: Duration,
    /// How long requests in progress may run on once the gateway is told to stop.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            head: limits::HEAD_DEADLINE,
            idle: limits::IDLE_DEADLINE,
            write_stall: limits::WRITE_STALL,
            body_window: limits::BODY_WINDOW,
            quiet: limits::QUIET_DEADLINE,
            drain: limits::DRAIN_DEADLINE,
        }
    }
}

/// What a listener counts, over all its cores.
#[derive(Debug, Default)]
pub struct Counts {
    open: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    timed_out: AtomicU64,
    accept_errors: AtomicU64,
    draining: AtomicBool,
}

impl Counts {
    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Connections taken so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections told to come back later, because too many were open.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
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

    pub(super) fn count_timed_out(&self) {
        self.timed_out.fetch_add(1, Relaxed);
    }
}

/// An address that is bound, once per core, and not yet listened on.
#[derive(Debug)]
pub struct Bound {
    address: SocketAddr,
    sockets: Vec<TcpSocket>,
}

impl Bound {
    /// Binds the address for so many cores. Port 0 takes a free port, the same for all.
    pub fn new(address: SocketAddr, cores: usize) -> io::Result<Self> {
        // SO_REUSEPORT would let a second gateway of the same user share the port in silence, so that the address is
        // taken without it first: that fails if anybody listens there.
        let probe = socket(address, false)?;
        let address = probe.local_addr()?;
        drop(probe);
        let sockets = (0..cores.max(1)).map(|_| socket(address, true)).collect::<io::Result<_>>()?;
        Ok(Self { address, sockets })
    }

    /// The address, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    socket.bind(address)?;
    Ok(socket)
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
pub fn serve<T, H>(
    bound: Bound,
    settings: Settings,
    handshake: T,
    handler: impl Fn(usize) -> H + Send + Sync + 'static,
    stop: watch::Receiver<bool>,
) -> io::Result<Serving>
where
    T: Handshake,
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
            socket.listen(BACKLOG)?
        };
        ready.push((runtime, listener));
    }
    let mut threads = Vec::with_capacity(ready.len());
    for (number, (runtime, listener)) in ready.into_iter().enumerate() {
        let (handler, stop) = (handler.clone(), stop.clone());
        let core = Core { handshake: handshake.clone(), counts: counts.clone(), settings: settings.clone() };
        let thread = std::thread::Builder::new().name(format!("core-{number}"));
        threads.push(
            thread.spawn(move || runtime.block_on(async move { core.run(listener, handler(number), stop).await }))?,
        );
    }
    Ok(Serving { threads, counts })
}

/// Connections that the kernel keeps for one core until it takes them.
const BACKLOG: u32 = 1_024;

struct Core<T> {
    handshake: T,
    counts: Arc<Counts>,
    settings: Arc<Settings>,
}

enum Event {
    Stop,
    Tick,
    Accepted(io::Result<(TcpStream, SocketAddr)>),
}

impl<T: Handshake> Core<T> {
    async fn run<H: Handler>(self, listener: TcpListener, handler: H, mut stop: watch::Receiver<bool>) {
        let mut ticker = Ticker::new(self.settings.clone(), self.counts.clone());
        let mut interval = tokio::time::interval(limits::TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A closed channel means that whoever could say stop is gone, which is a stop too.
        let mut stopped = std::pin::pin!(async move {
            let _ = stop.wait_for(|stop| *stop).await;
        });
        let mut paused = false;
        loop {
            match next(stopped.as_mut(), &mut interval, (!paused).then_some(&listener)).await {
                Event::Stop => break,
                Event::Tick => {
                    paused = false;
                    ticker.tick(false).await;
                }
                Event::Accepted(Ok((stream, address))) => self.take(stream, address, &handler, &mut ticker),
                Event::Accepted(Err(error)) => {
                    self.counts.accept_errors.fetch_add(1, Relaxed);
                    // The client went away before it was taken: nothing is wrong here. Anything else (no file
                    // descriptor left, no memory) would fail again at once, so that accepting waits for the next tick.
                    let of_client =
                        matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
                    paused = !of_client;
                }
            }
        }
        self.counts.draining.store(true, Relaxed);
        self.take_backlog(listener, &handler, &mut ticker).await;
        self.drain(ticker, interval).await;
    }

    /// Whoever the kernel has already greeted is not sent away with a reset: for one more tick all who come are taken.
    async fn take_backlog<H: Handler>(&self, listener: TcpListener, handler: &H, ticker: &mut Ticker) {
        let _ = tokio::time::timeout(limits::TICK, async {
            while let Ok((stream, address)) = listener.accept().await {
                self.take(stream, address, handler, ticker);
            }
        })
        .await;
    }

    async fn drain(&self, mut ticker: Ticker, mut interval: Interval) {
        let begin = Instant::now();
        loop {
            interval.tick().await;
            if begin.elapsed() >= self.settings.drain {
                ticker.end_all();
            }
            ticker.tick(true).await;
            if ticker.is_empty() {
                return;
            }
        }
    }

    fn take<H: Handler>(&self, stream: TcpStream, address: SocketAddr, handler: &H, ticker: &mut Ticker) {
        let Some(place) = Place::take(&self.counts, self.settings.connections_max) else {
            self.counts.refused.fetch_add(1, Relaxed);
            // Over TLS these bytes mean nothing, and the client sees a closed connection either way.
            let _ = stream.try_write(FULL);
            return;
        };
        // Without it small answers would wait for the client's delayed acknowledgement. Its failure costs only time.
        let _ = stream.set_nodelay(true);
        let (vitals, connection) =
            connection::serve(stream, address, self.handshake.clone(), handler.clone(), self.counts.clone(), place);
        ticker.watch(vitals, tokio::spawn(connection).abort_handle());
    }
}

async fn next(
    mut stopped: Pin<&mut impl Future<Output = ()>>,
    interval: &mut Interval,
    listener: Option<&TcpListener>,
) -> Event {
    poll_fn(|cx| {
        if stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::Stop);
        }
        if interval.poll_tick(cx).is_ready() {
            return Poll::Ready(Event::Tick);
        }
        match listener {
            Some(listener) => listener.poll_accept(cx).map(Event::Accepted),
            None => Poll::Pending,
        }
    })
    .await
}

const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n";

/// One of the connections that may be open; given back when dropped.
struct Place(Arc<Counts>);

impl Place {
    fn take(counts: &Arc<Counts>, most: usize) -> Option<Self> {
        if counts.open.fetch_add(1, Relaxed) >= most {
            counts.open.fetch_sub(1, Relaxed);
            return None;
        }
        counts.accepted.fetch_add(1, Relaxed);
        Some(Self(counts.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
