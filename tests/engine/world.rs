//! A gateway's surroundings: its clock may be wrong, everything else does what the seed says.

use super::chance::Chance;
use super::scheduler::{Joined, Scheduler, Sleep};
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::key::Partition;
use portcullis_domain::oauth::client_document::{Document, DocumentUrl};
use portcullis_domain::oauth::client_keys::KeysUrl;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oidc::discovery::Provider;
use portcullis_domain::oidc::request::BackChannel;
use portcullis_domain::secret::{Secret, SecretText};
use portcullis_domain::time::Timestamp;
use portcullis_ports::{
    BackAnswer, Clock, Counted, Documents, Entropy, IdentityProvider, Journal, Known, Limiter, NoEntropy, Store, Tasks,
    TrustedKeys, Turnstiles, Unreachable, World,
};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn, ready};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Where wall clocks stand when a run begins.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// One gateway's surroundings.
pub(crate) struct Surroundings<S, P = Elsewhere> {
    store: Arc<S>,
    provider: P,
    /// Its clock.
    pub(crate) clock: VirtualClock,
    /// Its chance.
    pub(crate) entropy: SeededEntropy,
    /// What it wrote down.
    pub(crate) journal: KeptJournal,
    tasks: VirtualTasks,
    /// Its queues.
    pub(crate) turnstiles: VirtualTurnstiles,
}

impl<S: Store> Surroundings<S> {
    /// A gateway on this scheduler, with this store, which may be others' too.
    pub(crate) fn new(scheduler: &Scheduler, store: Arc<S>) -> Arc<Self> {
        Self::with_provider(scheduler, store, Elsewhere)
    }
}

impl<S: Store, P: IdentityProvider> Surroundings<S, P> {
    /// One that has an identity provider, too.
    pub(crate) fn with_provider(scheduler: &Scheduler, store: Arc<S>, provider: P) -> Arc<Self> {
        Arc::new(Self {
            store,
            provider,
            clock: VirtualClock { scheduler: scheduler.clone(), skew_millis: AtomicI64::new(0) },
            entropy: SeededEntropy {
                chance: Mutex::new(scheduler.chance(Chance::branch)),
                exhausted: AtomicBool::new(false),
            },
            journal: KeptJournal::default(),
            tasks: VirtualTasks(scheduler.clone()),
            turnstiles: VirtualTurnstiles::default(),
        })
    }
}

impl<S: Store, P: IdentityProvider> World for Surroundings<S, P> {
    type Store = S;
    type Clock = VirtualClock;
    type Entropy = SeededEntropy;
    type Journal = KeptJournal;
    type Tasks = VirtualTasks;
    type Turnstiles = VirtualTurnstiles;
    type Provider = P;
    type Documents = Elsewhere;
    type Issuers = Elsewhere;
    type Limiter = Elsewhere;

    fn store(&self) -> &S {
        &self.store
    }

    fn clock(&self) -> &VirtualClock {
        &self.clock
    }

    fn entropy(&self) -> &SeededEntropy {
        &self.entropy
    }

    fn journal(&self) -> &KeptJournal {
        &self.journal
    }

    fn tasks(&self) -> &VirtualTasks {
        &self.tasks
    }

    fn turnstiles(&self) -> &VirtualTurnstiles {
        &self.turnstiles
    }

    fn provider(&self) -> &P {
        &self.provider
    }

    fn documents(&self) -> &Elsewhere {
        &Elsewhere
    }

    fn issuers(&self) -> &Elsewhere {
        &Elsewhere
    }

    fn limiter(&self) -> &Elsewhere {
        &Elsewhere
    }
}

/// Virtual time, and a wall clock that is off by a skew.
pub(crate) struct VirtualClock {
    scheduler: Scheduler,
    skew_millis: AtomicI64,
}

impl VirtualClock {
    /// Puts the wall clock off by so much from now on.
    pub(crate) fn skew(&self, millis: i64) {
        self.skew_millis.store(millis, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let skew = self.skew_millis.load(Ordering::Relaxed);
        let true_time = START.plus(self.scheduler.now());
        let off = Duration::from_millis(skew.unsigned_abs());
        if skew < 0 { true_time.minus(off) } else { true_time.plus(off) }
    }

    fn monotonic(&self) -> Duration {
        self.scheduler.now()
    }

    fn sleep(&self, span: Duration) -> impl Future<Output = ()> + Send {
        let sleep: Sleep = self.scheduler.sleep(span);
        sleep
    }
}

/// Bytes that follow from the seed.
pub(crate) struct SeededEntropy {
    chance: Mutex<Chance>,
    exhausted: AtomicBool,
}

impl SeededEntropy {
    /// From now on there is none.
    pub(crate) fn exhaust(&self) {
        self.exhausted.store(true, Ordering::Relaxed);
    }
}

impl Entropy for SeededEntropy {
    fn draw(&self) -> Result<Secret<32>, NoEntropy> {
        if self.exhausted.load(Ordering::Relaxed) {
            return Err(NoEntropy);
        }
        Ok(Secret::new(locked(&self.chance).bytes()))
    }
}

/// A journal that can be read.
#[derive(Default)]
pub(crate) struct KeptJournal(Mutex<Vec<(Timestamp, Event)>>);

impl KeptJournal {
    /// Everything that was noted.
    pub(crate) fn events(&self) -> Vec<Event> {
        locked(&self.0).iter().map(|(_, event)| *event).collect()
    }

    /// Forgets everything: a great many sessions make a great many events.
    pub(crate) fn forget(&self) {
        locked(&self.0).clear();
    }

    /// How often this was noted, without what may not have come about.
    pub(crate) fn count(&self, happened: Happened) -> usize {
        locked(&self.0).iter().filter(|(_, event)| event.happened == happened && !event.in_doubt).count()
    }
}

impl Journal for KeptJournal {
    fn note(&self, at: Timestamp, event: &Event) {
        locked(&self.0).push((at, *event));
    }
}

/// Detached tasks of the scheduler.
pub(crate) struct VirtualTasks(Scheduler);

impl Tasks for VirtualTasks {
    fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send {
        let joined: Joined<T> = self.0.spawn(future);
        async { Some(joined.await) }
    }
}

type Queues = Mutex<BTreeMap<Partition, VecDeque<(u64, Waker)>>>;

/// Queues in the order of arrival.
#[derive(Default)]
pub(crate) struct VirtualTurnstiles {
    queues: Arc<Queues>,
    next: AtomicU64,
    /// How many have entered.
    pub(crate) entered: AtomicU64,
}

/// One's place in a queue; leaving it lets the next one in.
pub(crate) struct Place {
    partition: Partition,
    number: u64,
    queues: Arc<Queues>,
}

impl Turnstiles for VirtualTurnstiles {
    type Pass = Place;

    fn enter(&self, partition: Partition) -> impl Future<Output = Place> + Send {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let place = Place { partition, number, queues: Arc::clone(&self.queues) };
        async move {
            poll_fn(|context| {
                let mut queues = locked(&place.queues);
                let queue = queues.entry(place.partition).or_default();
                match queue.iter_mut().find(|(other, _)| *other == place.number) {
                    Some((_, waker)) => waker.clone_from(context.waker()),
                    None => queue.push_back((place.number, context.waker().clone())),
                }
                let first = queue.front().is_some_and(|(first, _)| *first == place.number);
                if first { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            self.entered.fetch_add(1, Ordering::Relaxed);
            place
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut queues = locked(&self.queues);
            let Some(queue) = queues.get_mut(&self.partition) else { return };
            queue.retain(|(other, _)| *other != self.number);
            let next = queue.front().map(|(_, waker)| waker.clone());
            if queue.is_empty() {
                queues.remove(&self.partition);
            }
            next
        };
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

/// What the engine itself never asks: the identity provider and the limits stand before it.
pub(crate) struct Elsewhere;

impl Documents for Elsewhere {
    async fn document(&self, _url: &DocumentUrl) -> Result<Arc<Document>, Fault> {
        Err(Fault::ClientDocument)
    }

    fn last(&self, _url: &DocumentUrl) -> Option<Arc<Document>> {
        None
    }

    async fn keys(&self, _url: &KeysUrl) -> Result<Arc<KeySet>, Fault> {
        Err(Fault::ClientKeys)
    }

    async fn newer_keys(&self, _url: &KeysUrl, _known: &Arc<KeySet>) -> Result<Arc<KeySet>, Fault> {
        Err(Fault::ClientKeys)
    }
}

impl IdentityProvider for Elsewhere {
    fn discovered(&self) -> Option<Arc<Provider>> {
        None
    }

    fn ask(
        &self,
        _url: String,
        _access_token: &SecretText,
    ) -> impl Future<Output = Result<BackAnswer, Unreachable>> + Send {
        ready(Err(Unreachable))
    }

    fn send(&self, _request: BackChannel) -> impl Future<Output = Result<BackAnswer, Unreachable>> + Send {
        ready(Err(Unreachable))
    }

    fn keys(&self) -> impl Future<Output = Result<Arc<KeySet>, Unreachable>> + Send {
        ready(Err(Unreachable))
    }

    fn newer_keys(&self, _known: &Arc<KeySet>) -> impl Future<Output = Result<Arc<KeySet>, Unreachable>> + Send {
        ready(Err(Unreachable))
    }
}

impl TrustedKeys for Elsewhere {
    async fn keys(&self, _issuer: usize) -> Result<Arc<KeySet>, Unreachable> {
        Err(Unreachable)
    }

    async fn newer_keys(&self, _issuer: usize, _known: &Arc<KeySet>) -> Result<Arc<KeySet>, Unreachable> {
        Err(Unreachable)
    }
}

impl Limiter for Elsewhere {
    fn count(&self, _what: Counted, _address: IpAddr) -> Result<(), Duration> {
        Ok(())
    }

    fn count_known(&self, _who: Known) -> Result<(), Duration> {
        Ok(())
    }
}

/// A panic in a test must not hide behind a poisoned lock.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
