//! One store for all gateways, at the end of wires that lose things.
//!
//! The store itself is linearizable and keeps sealed bytes. Requests and answers take their time, get lost, or arrive when
//! nobody waits for them any more; the store goes away and comes back, and after a failover it may have lost what it had
//! acknowledged, unless that was to be durable.

use crate::engine::chance::Chance;
use crate::engine::fixture::sealer;
use crate::engine::scheduler::Scheduler;
use crate::engine::stores::{facts, stands};
use crate::engine::world::{START, locked};
use portcullis_domain::key::Key;
use portcullis_domain::operation::{Epoch, Facts, Keys, Landed, Write};
use portcullis_domain::record::Sealer;
use portcullis_ports::{Outcome, Seen, Store, Unavailable};
use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often out of a hundred a wire fails, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// The longest way of one message.
    pub(crate) delay_millis: u64,
    /// A reading fails.
    pub(crate) load_fails: u64,
    /// A reading is never answered.
    pub(crate) load_hangs: u64,
    /// A commit never arrives, and the connection is seen to die.
    pub(crate) never_arrives: u64,
    /// A commit is carried out, and the connection is seen to die before the answer.
    pub(crate) answer_lost: u64,
    /// The connection is seen to die, and the commit arrives much later.
    pub(crate) late: u64,
    /// Nothing is ever heard of a commit, which arrives or does not.
    pub(crate) hangs: u64,
}

/// A store that does not keep the contract, to prove that it would be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Now and then it does not look at what was seen.
    IgnoresSeen,
    /// Now and then it says that something landed, and has done nothing.
    LandsNothing,
    /// Now and then it says that a commit was stale, and has carried it out.
    SaysStale,
    /// It does not look at the epoch.
    IgnoresEpoch,
}

/// How many commits one broken one comes on.
const BROKEN_EVERY: u64 = 8;
/// How much later a late commit arrives at the most.
const LATE_MILLIS: u64 = 6_000;

/// The store.
pub(crate) struct Shared {
    scheduler: Scheduler,
    sealer: Sealer,
    faults: Faults,
    broken: Option<Broken>,
    calm: AtomicBool,
    kept: Mutex<Kept>,
}

/// What stood where a commit wrote.
type Before = Vec<(Key, Option<Vec<u8>>)>;

struct Kept {
    records: BTreeMap<Key, Vec<u8>>,
    /// What stood there before, for what has not reached the replica yet.
    unreplicated: Vec<(Duration, Before)>,
    epoch: Epoch,
    away: bool,
}

impl Shared {
    /// An empty one.
    pub(crate) fn new(scheduler: &Scheduler, faults: Faults, broken: Option<Broken>) -> Arc<Self> {
        let kept = Kept { records: BTreeMap::new(), unreplicated: Vec::new(), epoch: epoch(scheduler), away: false };
        Arc::new(Self {
            scheduler: scheduler.clone(),
            sealer: sealer(),
            faults,
            broken,
            calm: AtomicBool::new(false),
            kept: Mutex::new(kept),
        })
    }

    /// From now on nothing fails.
    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
        locked(&self.kept).away = false;
    }

    /// It goes away, or comes back; once nothing fails any more it stays.
    pub(crate) fn away(&self, away: bool) {
        locked(&self.kept).away = away && !self.calm.load(Ordering::Relaxed);
    }

    /// A replica takes over that has nothing of what was written within this span, except what was to be durable.
    pub(crate) fn fail_over(&self, lost: Duration) {
        let since = self.scheduler.now().saturating_sub(lost);
        let next = epoch(&self.scheduler);
        let mut kept = locked(&self.kept);
        while let Some((_, before)) = kept.unreplicated.pop_if(|(at, _)| *at >= since) {
            for (key, bytes) in before {
                match bytes {
                    Some(bytes) => kept.records.insert(key, bytes),
                    None => kept.records.remove(&key),
                };
            }
        }
        kept.unreplicated.clear();
        kept.epoch = next;
    }

    /// What is there, past all wires.
    pub(crate) fn look(&self, key: Key) -> Facts {
        let kept = locked(&self.kept);
        facts(&self.sealer, &kept.records, Keys::of([key]), kept.epoch).expect("nobody damages records here")
    }

    fn arrive(&self, seen: &Seen, writes: &[Write], broken: Option<Broken>) -> Outcome {
        let mut kept = locked(&self.kept);
        if kept.away {
            return Outcome::Unknown;
        }
        let same_epoch = seen.epoch() == kept.epoch || self.broken == Some(Broken::IgnoresEpoch);
        let unchanged = same_epoch && stands(&kept.records, seen);
        if !unchanged && broken != Some(Broken::IgnoresSeen) {
            return Outcome::Stale;
        }
        if broken == Some(Broken::LandsNothing) {
            return Outcome::Landed(Landed { acknowledged: 0 });
        }
        let mut before = Vec::new();
        for write in writes {
            let bytes = self.sealer.seal(write, START).expect("small enough");
            before.push((write.key, kept.records.insert(write.key, bytes)));
        }
        if writes.iter().any(|write| write.durable) {
            // Replication keeps the order: whoever has this one has all that came before it.
            kept.unreplicated.clear();
        } else {
            kept.unreplicated.push((self.scheduler.now(), before));
        }
        match broken {
            Some(Broken::SaysStale) => Outcome::Stale,
            _ => Outcome::Landed(Landed { acknowledged: 0 }),
        }
    }

    fn plan(&self) -> Plan {
        let mut faults = self.faults;
        if self.calm.load(Ordering::Relaxed) {
            faults = Faults { delay_millis: 3, ..Faults::default() };
        }
        let broken = self.broken;
        self.scheduler.chance(|chance| Plan {
            there: chance.millis(0, faults.delay_millis),
            back: chance.millis(0, faults.delay_millis),
            load_fails: chance.percent(faults.load_fails),
            load_hangs: chance.percent(faults.load_hangs),
            way: Way::choose(faults, chance),
            broken: broken.filter(|_| chance.below(BROKEN_EVERY) == 0),
        })
    }
}

/// What becomes of one call.
struct Plan {
    there: Duration,
    back: Duration,
    load_fails: bool,
    load_hangs: bool,
    way: Way,
    broken: Option<Broken>,
}

enum Way {
    Fine,
    NeverArrives,
    AnswerLost,
    Late(Duration),
    Hangs { arrives: bool },
}

impl Way {
    fn choose(faults: Faults, chance: &mut Chance) -> Self {
        if chance.percent(faults.never_arrives) {
            Self::NeverArrives
        } else if chance.percent(faults.answer_lost) {
            Self::AnswerLost
        } else if chance.percent(faults.late) {
            Self::Late(chance.millis(1, LATE_MILLIS))
        } else if chance.percent(faults.hangs) {
            Self::Hangs { arrives: chance.percent(50) }
        } else {
            Self::Fine
        }
    }
}

/// One gateway's wire to the store; when the gateway's process ends, nothing comes out of it any more.
pub(crate) struct Link {
    shared: Arc<Shared>,
    dead: Arc<AtomicBool>,
}

impl Link {
    /// A wire for one process.
    pub(crate) fn new(shared: &Arc<Shared>, dead: &Arc<AtomicBool>) -> Self {
        Self { shared: Arc::clone(shared), dead: Arc::clone(dead) }
    }

    async fn alive<T>(&self, answer: T) -> T {
        if self.dead.load(Ordering::Relaxed) { pending().await } else { answer }
    }
}

impl Store for Link {
    async fn load(&self, keys: Keys) -> Result<Facts, Unavailable> {
        let (shared, plan) = (&self.shared, self.shared.plan());
        shared.scheduler.sleep(plan.there).await;
        if plan.load_hangs {
            return pending().await;
        }
        let read = {
            let kept = locked(&shared.kept);
            if kept.away || plan.load_fails {
                Err(Unavailable)
            } else {
                facts(&shared.sealer, &kept.records, keys, kept.epoch)
            }
        };
        shared.scheduler.sleep(plan.back).await;
        self.alive(read).await
    }

    async fn commit(&self, seen: Seen, writes: Vec<Write>) -> Outcome {
        let (shared, plan) = (&self.shared, self.shared.plan());
        // It is on its way by itself: whoever stops waiting for the answer does not call it back.
        let later = if let Way::Late(later) = plan.way { later } else { Duration::ZERO };
        let arrives = !matches!(plan.way, Way::NeverArrives | Way::Hangs { arrives: false });
        let sent = shared.scheduler.sleep(plan.there + later);
        let (store, broken) = (Arc::clone(shared), plan.broken);
        let arrived = shared.scheduler.spawn(async move {
            sent.await;
            if arrives { store.arrive(&seen, &writes, broken) } else { Outcome::Unknown }
        });
        let outcome = match plan.way {
            Way::Fine => arrived.await,
            Way::AnswerLost | Way::NeverArrives => {
                let _lost = arrived.await;
                Outcome::Unknown
            }
            Way::Late(_) => Outcome::Unknown,
            Way::Hangs { .. } => pending().await,
        };
        shared.scheduler.sleep(plan.back).await;
        self.alive(outcome).await
    }
}

fn epoch(scheduler: &Scheduler) -> Epoch {
    let bytes = scheduler.chance(Chance::bytes);
    let mut epoch = [0; 16];
    epoch.copy_from_slice(&bytes[..16]);
    Epoch(epoch)
}
