//! Valkey and Redis: the store that replicas share.
//!
//! | room | what it knows |
//! |---|---|
//! | `resp` | the protocol, without sockets |
//! | `access`, `server`, `refusal` | how a connection is made, what a server says of itself, why one is not used |
//! | `session`, `link` | one connection at work, and the queue before it that outlives it |
//! | `sentinel` | where the primary is |
//! | `cluster`, `holders`, `slot` | which node of a cluster serves what, and what to do while that changes |
//! | `near_cache`, `near`, `deed` | what was said a moment ago, the links that say when it is true no more, and what a node of a cluster has |
//! | `examine` | what `check` says of a server |
//! | `counts` | what is told of all that at `/metrics` |
//! | `nodes`, `script`, `outcome`, `store` | which link a request takes, the one script, what each answer means, the port's verbs |
//!
//! The epoch of a server is which process it is and which history its data has. It is read when a connection is made and once
//! a second after, and looked at by the script before every write: what was decided in one epoch never lands in another.

mod access;
mod cluster;
mod counts;
pub mod deed;
mod examine;
pub mod holders;
mod link;
mod near;
pub mod near_cache;
mod nodes;
mod outcome;
mod refusal;
pub mod resp;
mod script;
mod sentinel;
mod server;
mod session;
mod slot;
mod store;

use crate::pace::Seldom;
use crate::system::{SystemClock, SystemEntropy};
pub use access::{Access, Endpoint, Tls};
use cluster::Cluster;
use counts::Counts;
use link::Goal;
pub use link::{Answered, Batch, Failure, Heard, Hearing, Link, State};
use near::Near;
use nodes::Lane;
pub use nodes::Node;
use portcullis_domain::key::Partition;
use portcullis_domain::limits::{NEAR_BYTES_MAX, NEAR_PING, STORE_CONNECT_DEADLINE, STORE_PROBE, STORE_RETRY_FIRST};
use portcullis_domain::record::Sealer;
use portcullis_ports::Clock;
pub use refusal::Refusal;
pub use script::SCRIPT;
pub use sentinel::Sentinels;
pub use server::Server;
use slot::Slot;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use store::Claim;
use tokio::time::MissedTickBehavior;

/// Where the servers are.
#[derive(Clone, Debug)]
pub enum Mode {
    /// One server.
    Standalone(Endpoint),
    /// One primary with its replicas, and Sentinels that say which it is.
    Sentinel(Arc<Sentinels>),
    /// A cluster, of which these nodes are known.
    Cluster(Vec<Endpoint>),
}

/// What a store on servers needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Where they are.
    pub mode: Mode,
    /// How they are spoken to.
    pub access: Access,
    /// Before the name of every record.
    pub prefix: String,
    /// How many replicas must have what keeps somebody out before it is acknowledged.
    pub wait: u32,
    /// How much longer questions are answered with what was known while the store does not answer.
    pub stale_for: Duration,
}

/// The store. Clones are handles of the same one.
#[derive(Clone)]
pub struct Valkey(Arc<Inner>);

struct Inner {
    mode: Mode,
    access: Arc<Access>,
    prefix: String,
    wait: u32,
    sealer: Sealer,
    clock: SystemClock,
    entropy: SystemEntropy,
    near: Arc<Near>,
    node: OnceLock<Node>,
    cluster: Option<Cluster>,
    /// The rings have been compared.
    admitted: AtomicBool,
    /// Why not.
    refused: Mutex<Option<Refusal>>,
    counts: Counts,
    said_damaged: Seldom,
    said_refused: Seldom,
}

impl Valkey {
    /// A store, to be used as soon as [`Valkey::run`] runs.
    #[must_use]
    pub fn new(settings: Settings, sealer: Sealer) -> Self {
        let Settings { mode, access, prefix, wait, stale_for } = settings;
        let near = Near::new(NEAR_BYTES_MAX, stale_for, prefix.clone());
        let access = Arc::new(access);
        let cluster = match &mode {
            Mode::Cluster(seeds) => Some(Cluster::new(seeds.clone(), Arc::clone(&access), wait > 0, Arc::clone(&near))),
            Mode::Standalone(_) | Mode::Sentinel(_) => None,
        };
        Self(Arc::new(Inner {
            mode,
            access,
            cluster,
            prefix,
            wait,
            sealer,
            clock: SystemClock::start(),
            entropy: SystemEntropy::new(),
            near,
            node: OnceLock::new(),
            admitted: AtomicBool::new(false),
            refused: Mutex::default(),
            counts: Counts::default(),
            said_damaged: Seldom::default(),
            said_refused: Seldom::default(),
        }))
    }

    /// Keeps the links, for ever. It belongs on a runtime that no request keeps waiting.
    pub async fn run(self) {
        let Self(inner) = self;
        inner.begin();
        let mut pause = STORE_RETRY_FIRST;
        while let Err(refusal) = inner.compare_rings(&inner.sealer, Claim::Yes).await {
            inner.set_refused(Some(refusal));
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(STORE_PROBE);
        }
        inner.set_refused(None);
        for (endpoint, server) in inner.servers() {
            tracing::info!(store = %endpoint, "sessions are kept by {server}");
            for warning in server.warnings() {
                tracing::warn!(store = %endpoint, "{warning}");
            }
        }
        inner.admitted.store(true, Relaxed);
        let mut claimed = inner.checks();
        loop {
            tokio::time::sleep(STORE_PROBE).await;
            // The check is sealed by the key that seals: when the one before it leaves the ring, it is not missed.
            let checks = inner.checks();
            if checks != claimed && inner.compare_rings(&inner.sealer, Claim::Yes).await.is_ok() {
                claimed = checks;
            }
            if let (Mode::Sentinel(sentinels), Some(node)) = (&inner.mode, inner.node.get()) {
                inner.follow(sentinels, node).await;
            }
        }
    }

    /// Asks the store whether a gate with the ring of this sealer may use it, and leaves that ring's check there.
    ///
    /// # Errors
    /// [`Refusal::OtherRing`] if its ring has no key in common with that of the gate that left the last check; or why it cannot be
    /// asked.
    pub async fn try_ring(&self, sealer: &Sealer) -> Result<(), Refusal> {
        let Self(inner) = self;
        inner.compare_rings(sealer, Claim::Yes).await
    }

    /// Forgets what was read before now: it may have been opened by a key that is not in the ring any more.
    pub fn forget(&self) {
        self.0.near.cache.all_changed();
    }

    /// Waits until the store can be used, but no longer than it takes to know that it cannot.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn ready(&self) -> Result<(), Refusal> {
        let begin = Instant::now();
        loop {
            if self.0.admitted.load(Relaxed) {
                return Ok(());
            }
            let refusal = self.0.refusal();
            let late = begin.elapsed() > STORE_CONNECT_DEADLINE;
            if let Some(refusal) = refusal.clone().filter(|refusal| late || refusal.needs_somebody()) {
                return Err(refusal);
            }
            if late {
                return Err(link::late(STORE_CONNECT_DEADLINE));
            }
            tokio::time::sleep(READY_STEP).await;
        }
    }
}

/// How often whoever waits for the store looks.
const READY_STEP: Duration = Duration::from_millis(10);

impl Inner {
    /// Makes the links, whose tasks run on the current runtime.
    fn begin(self: &Arc<Self>) {
        tokio::spawn(Arc::clone(self).keep_leases());
        let goal = match &self.mode {
            Mode::Standalone(endpoint) => Goal::At { endpoint: endpoint.clone(), in_cluster: false },
            Mode::Sentinel(sentinels) => Goal::Primary(Arc::clone(sentinels)),
            Mode::Cluster(_) => {
                let inner = Arc::clone(self);
                tokio::spawn(async move {
                    if let Some(cluster) = &inner.cluster {
                        cluster.run().await;
                    }
                });
                return;
            }
        };
        self.node.get_or_init(|| Node::new(&goal, &self.access, self.wait > 0, &self.near));
    }

    /// Keeps the leases under which what was read is served, for ever.
    async fn keep_leases(self: Arc<Self>) {
        let mut interval = tokio::time::interval(NEAR_PING);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            for node in self.nodes() {
                node.watch().renew(node.link(Lane::Questions));
            }
        }
    }

    fn checks(&self) -> Vec<[u8; 16]> {
        self.sealer.checks(self.clock.now())
    }

    /// The server that keeps a partition, as far as is known.
    fn keeper(&self, partition: Partition) -> Option<Node> {
        match &self.cluster {
            Some(cluster) => cluster.keeper(Slot::of(partition)),
            None => self.node.get().cloned(),
        }
    }

    /// Sends commands about one partition to whoever keeps it.
    async fn ask(&self, partition: Partition, lane: Lane, batch: Batch) -> Result<Answered, Failure> {
        match (&self.cluster, self.node.get()) {
            (Some(cluster), _) => cluster.ask(Slot::of(partition), lane, batch).await,
            (None, Some(node)) => node.link(lane).send(batch).await,
            (None, None) => Err(Failure::NotSent),
        }
    }

    fn nodes(&self) -> Vec<Node> {
        self.cluster.as_ref().map_or_else(|| self.node.get().cloned().into_iter().collect(), Cluster::nodes)
    }

    /// The servers that are connected.
    fn servers(&self) -> Vec<(Endpoint, Server)> {
        let up = |node: &Node| match node.link(Lane::Operations).state() {
            State::Up(endpoint, server) => Some((endpoint, server)),
            State::New | State::Down(_) => None,
        };
        self.nodes().iter().filter_map(up).collect()
    }

    /// A server that has become a replica is of no use: its links look for the primary. In a cluster, each sees to that by itself.
    fn leave(&self, lane: Lane) {
        if let Some(node) = self.node.get() {
            node.link(lane).leave();
        }
    }

    fn probe(&self, lane: Lane) {
        for node in self.nodes() {
            node.link(lane).probe();
        }
    }

    /// If the Sentinels name another server than the one that is spoken to, that one is turned to.
    async fn follow(&self, sentinels: &Sentinels, node: &Node) {
        let Ok(primary) = sentinels.primary().await else { return };
        let elsewhere = |link: &Link| matches!(link.state(), State::Up(endpoint, _) if endpoint != primary);
        if node.links().any(elsewhere) {
            tracing::warn!(store = %primary, "the Sentinels name another primary");
            node.links().filter(|link| elsewhere(link)).for_each(Link::leave);
        }
    }

    fn set_refused(&self, refusal: Option<Refusal>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    /// What stands in the way: what a link says is nearer to the cause than that nothing could be asked over it.
    fn refusal(&self) -> Option<Refusal> {
        let of_link = self.nodes().iter().find_map(|node| {
            node.links().find_map(|link| if let State::Down(refusal) = link.state() { Some(refusal) } else { None })
        });
        let of_cluster = || self.cluster.as_ref().and_then(Cluster::refusal);
        of_link.or_else(of_cluster).or_else(|| self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for Valkey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Valkey").field("mode", &self.0.mode).finish_non_exhaustive()
    }
}
