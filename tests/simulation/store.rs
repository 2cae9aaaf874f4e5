//! One store for all gateways, at the end of wires that lose things.
//!
//! The store itself is linearizable and keeps sealed bytes. Requests and answers take their time, get lost, or arrive when
//! nobody waits for them any more; the store goes away and comes back, and after a failover it may have lost what it had
//! acknowledged, unless that was to be durable. A gateway may be left behind with the primary of before, which goes on as if
//! nothing had happened, until it is reached again and all that it was told meanwhile is lost.
//!
//! Questions are answered out of each gateway's near cache, which is the real one, over a wire of its own.

use crate::engine::chance::Chance;
use crate::engine::fixture::sealer;
use crate::engine::scheduler::Scheduler;
use crate::engine::stores::{facts, stands};
use crate::engine::world::{START, locked};
use crate::near::Near;
use portcullis_domain::key::Key;
use portcullis_domain::operation::{Epoch, Facts, Keys, Landed, Write};
use portcullis_domain::record::Sealer;
use portcullis_ports::{Outcome, Seen, Store, Unavailable};
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
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
    /// The wire of a near cache stands still for seconds.
    pub(crate) stalls: u64,
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
    /// Near caches do not listen when they are told of a change.
    IgnoresChanges,
    /// Near caches serve without a lease.
    IgnoresLeases,
    /// A commit leaves in the near cache what was loaded before it ended.
    BarsNothing,
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
    witness: OnceLock<Witness>,
}

/// Sees every write as it is carried out.
type Witness = Box<dyn Fn(&Write) + Send + Sync>;

/// What stood where a commit wrote.
type Before = Vec<(Key, Option<Vec<u8>>)>;

/// The primary, and for whoever was left behind the one of before.
struct Kept {
    primary: Node,
    former: Option<Node>,
    away: bool,
    connections: u64,
}

#[derive(Clone)]
struct Node {
    records: BTreeMap<Key, Vec<u8>>,
    /// What stood there before, for what has not reached the replica yet.
    unreplicated: Vec<(Duration, Before)>,
    epoch: Epoch,
    /// The connections of near caches, and which of them has asked for what.
    near: BTreeMap<u64, Arc<Near>>,
    asked: BTreeMap<Key, BTreeSet<u64>>,
}

impl Kept {
    /// The node that a gateway speaks to.
    fn node(&mut self, left_behind: bool) -> &mut Node {
        match &mut self.former {
            Some(former) if left_behind => former,
            _ => &mut self.primary,
        }
    }
}

impl Shared {
    /// An empty one.
    pub(crate) fn new(scheduler: &Scheduler, faults: Faults, broken: Option<Broken>) -> Arc<Self> {
        let primary = Node {
            records: BTreeMap::new(),
            unreplicated: Vec::new(),
            epoch: epoch(scheduler),
            near: BTreeMap::new(),
            asked: BTreeMap::new(),
        };
        let kept = Kept { primary, former: None, away: false, connections: 0 };
        Arc::new(Self {
            scheduler: scheduler.clone(),
            sealer: sealer(),
            faults,
            broken,
            calm: AtomicBool::new(false),
            kept: Mutex::new(kept),
            witness: OnceLock::new(),
        })
    }

    /// Shows every write to this one, too.
    pub(crate) fn witness(&self, witness: impl Fn(&Write) + Send + Sync + 'static) {
        assert!(self.witness.set(Box::new(witness)).is_ok(), "there is one witness");
    }

    /// From now on nothing fails.
    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
        let mut kept = locked(&self.kept);
        (kept.away, kept.former) = (false, None);
    }

    /// It goes away, or comes back; once nothing fails any more it stays.
    pub(crate) fn away(&self, away: bool) {
        locked(&self.kept).away = away && !self.calm.load(Ordering::Relaxed);
    }

    /// A replica takes over that has nothing of what was written within this span, except what was to be durable. Whoever was left
    /// behind may still speak to the primary of before.
    pub(crate) fn fail_over(&self, lost: Duration, splits: bool) {
        let since = self.scheduler.now().saturating_sub(lost);
        let next = epoch(&self.scheduler);
        let mut kept = locked(&self.kept);
        let Node { mut records, mut unreplicated, .. } = kept.primary.clone();
        while let Some((_, before)) = unreplicated.pop_if(|(at, _)| *at >= since) {
            for (key, bytes) in before {
                match bytes {
                    Some(bytes) => records.insert(key, bytes),
                    None => records.remove(&key),
                };
            }
        }
        // The connections of near caches end with the primary that they led to.
        let (near, asked) = (BTreeMap::new(), BTreeMap::new());
        let next = Node { records, unreplicated: Vec::new(), epoch: next, near, asked };
        let former = std::mem::replace(&mut kept.primary, next);
        kept.former = splits.then_some(former);
    }

    /// The primary of before is reached again, and becomes a replica: what it was told meanwhile is lost.
    pub(crate) fn heal(&self) {
        locked(&self.kept).former = None;
    }

    /// What is there, past all wires.
    pub(crate) fn look(&self, key: Key) -> Facts {
        let kept = locked(&self.kept);
        let Node { records, epoch, .. } = &kept.primary;
        facts(&self.sealer, records, Keys::of([key]), *epoch).expect("nobody damages records here")
    }

    fn arrive(&self, left_behind: bool, seen: &Seen, writes: &[Write], broken: Option<Broken>) -> Outcome {
        let mut kept = locked(&self.kept);
        if kept.away {
            return Outcome::Unknown;
        }
        let kept = kept.node(left_behind);
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
            if let Some(witness) = self.witness.get() {
                witness(write);
            }
            for connection in kept.asked.remove(&write.key).unwrap_or_default() {
                if let Some(near) = kept.near.get(&connection) {
                    near.changed(connection, write.key, self.way());
                }
            }
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

    fn faults(&self) -> Faults {
        if self.calm.load(Ordering::Relaxed) { Faults { delay_millis: 3, ..Faults::default() } } else { self.faults }
    }

    /// How long one message takes.
    fn way(&self) -> Duration {
        let longest = self.faults().delay_millis;
        self.scheduler.chance(|chance| chance.millis(0, longest))
    }

    /// A near cache's connection, in place of one that is gone.
    fn reconnect(&self, left_behind: bool, near: &Arc<Near>) {
        let mut kept = locked(&self.kept);
        if kept.away {
            return;
        }
        kept.connections += 1;
        let number = kept.connections;
        let node = kept.node(left_behind);
        node.near.remove(&near.number());
        node.near.insert(number, Arc::clone(near));
        near.reconnect(number, node.epoch);
    }

    /// Whether a near cache's connection still leads to the node that it should.
    fn knows(&self, left_behind: bool, number: u64) -> bool {
        locked(&self.kept).node(left_behind).near.contains_key(&number)
    }

    fn plan(&self) -> Plan {
        let faults = self.faults();
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
    left_behind: AtomicBool,
    near: Arc<Near>,
}

impl Link {
    /// A wire for one process.
    pub(crate) fn new(shared: &Arc<Shared>, dead: &Arc<AtomicBool>) -> Self {
        let near = Near::new(&shared.scheduler, shared.broken);
        Self { shared: Arc::clone(shared), dead: Arc::clone(dead), left_behind: AtomicBool::new(false), near }
    }

    /// Whether it stays with the primary of before when there is another one.
    pub(crate) fn leave_behind(&self, left_behind: bool) {
        self.left_behind.store(left_behind, Ordering::Relaxed);
    }

    /// Whether it speaks to a primary of before.
    pub(crate) fn is_left_behind(&self) -> bool {
        self.left_behind.load(Ordering::Relaxed) && locked(&self.shared.kept).former.is_some()
    }

    /// How often an answer was at hand.
    pub(crate) fn hits(&self) -> u64 {
        self.near.hits.load(Ordering::Relaxed)
    }

    /// Sends a PING if it is time for one. They are sent only where somebody asks, because a run would be mostly PINGs otherwise.
    fn ping(&self) {
        if !self.near.pings() {
            return;
        }
        let (shared, near) = (Arc::clone(&self.shared), Arc::clone(&self.near));
        let left_behind = self.left_behind.load(Ordering::Relaxed);
        let (number, sent, there) = (near.number(), shared.scheduler.now(), shared.scheduler.sleep(shared.way()));
        let stalls = shared.faults().stalls;
        if shared.scheduler.chance(|chance| chance.percent(stalls)) {
            near.stall();
        }
        let ponged = self.shared.scheduler.spawn(async move {
            there.await;
            if locked(&shared.kept).away {
                return;
            }
            if shared.knows(left_behind, number) {
                near.answered(number, sent, shared.way());
            } else if near.number() == number {
                shared.reconnect(left_behind, &near);
            }
        });
        drop(ponged);
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
            let mut kept = locked(&shared.kept);
            if kept.away || plan.load_fails {
                Err(Unavailable)
            } else {
                let node = kept.node(self.left_behind.load(Ordering::Relaxed));
                facts(&shared.sealer, &node.records, keys, node.epoch)
            }
        };
        shared.scheduler.sleep(plan.back).await;
        if let Ok(facts) = &read {
            self.near.seen(facts);
        }
        self.alive(read).await
    }

    async fn recall(&self, keys: Keys) -> Result<Facts, Unavailable> {
        let (shared, near, plan) = (&self.shared, &self.near, self.shared.plan());
        self.ping();
        let (wanted, number) = (near.want(&keys), near.number());
        shared.scheduler.sleep(plan.there).await;
        if plan.load_hangs {
            return pending().await;
        }
        let read = {
            let mut kept = locked(&shared.kept);
            if kept.away || plan.load_fails {
                Err(Unavailable)
            } else {
                let node = kept.node(self.left_behind.load(Ordering::Relaxed));
                let known = node.near.contains_key(&number);
                if known {
                    for key in keys.iter() {
                        node.asked.entry(*key).or_default().insert(number);
                    }
                }
                facts(&shared.sealer, &node.records, keys, node.epoch).map(|facts| (facts, known))
            }
        };
        let Ok((facts, known)) = read else { return self.alive(Err(Unavailable)).await };
        if !known {
            // No connection that could be told of changes: it is answered on another one, and not kept. Somebody else may have
            // found that out before, and a connection that is new does not end for it.
            if near.number() == number {
                shared.reconnect(self.left_behind.load(Ordering::Relaxed), near);
            }
            shared.scheduler.sleep(plan.back).await;
            return self.alive(Ok(facts)).await;
        }
        let heard = near.arrives(number, wanted, facts.clone(), plan.back).await;
        self.alive(if heard { Ok(facts) } else { Err(Unavailable) }).await
    }

    fn at_hand(&self, keys: &Keys) -> Option<Facts> {
        self.ping();
        self.near.at_hand(keys)
    }

    async fn commit(&self, seen: Seen, writes: Vec<Write>) -> Outcome {
        let (shared, plan) = (&self.shared, self.shared.plan());
        let barred = self.near.barred(&writes);
        let left_behind = self.left_behind.load(Ordering::Relaxed);
        // It is on its way by itself: whoever stops waiting for the answer does not call it back.
        let later = if let Way::Late(later) = plan.way { later } else { Duration::ZERO };
        let arrives = !matches!(plan.way, Way::NeverArrives | Way::Hangs { arrives: false });
        let sent = shared.scheduler.sleep(plan.there + later);
        let (store, broken) = (Arc::clone(shared), plan.broken);
        let arrived = shared.scheduler.spawn(async move {
            sent.await;
            if arrives { store.arrive(left_behind, &seen, &writes, broken) } else { Outcome::Unknown }
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
        drop(barred);
        self.alive(outcome).await
    }
}

fn epoch(scheduler: &Scheduler) -> Epoch {
    let bytes = scheduler.chance(Chance::bytes);
    let mut epoch = [0; 16];
    epoch.copy_from_slice(&bytes[..16]);
    Epoch(epoch)
}
