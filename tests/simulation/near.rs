//! One gateway's near cache, at the end of a wire on which answers and pushes keep their order and are late.
//!
//! The cache is the real one. What is simulated is the connection: the server answers loads and PINGs on it and tells of changes on
//! it, everything in one queue; now and then the queue stands still for seconds, and after a failover the connection is gone.

use crate::engine::scheduler::{Joined, Scheduler};
use crate::engine::world::locked;
use crate::store::Broken;
use portcullis_adapters::valkey::near_cache::{Barred, Line, NearCache, Wanted};
use portcullis_domain::key::Key;
use portcullis_domain::limits::NEAR_PING;
use portcullis_domain::operation::{Epoch, Facts, Keys, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// More than any run of a test needs: nothing is pushed out.
const BYTES_MAX: usize = 1 << 24;
/// The longest that a wire stands still.
const STALL_MILLIS: u64 = 5_000;

/// The cache and its wire.
pub(crate) struct Near {
    scheduler: Scheduler,
    cache: NearCache,
    broken: Option<Broken>,
    wire: Mutex<Wire>,
    /// How often an answer was at hand.
    pub(crate) hits: AtomicU64,
}

struct Wire {
    line: Arc<Line>,
    /// Which connection this is; nothing that was sent on another one is heard.
    number: u64,
    /// When the last thing on it arrives: nothing overtakes.
    last: Duration,
    pinged: Option<Duration>,
}

/// What comes over the wire.
enum Message {
    Arrived(Box<(Wanted, Facts)>),
    Changed(Key),
    Answered(Duration),
}

impl Near {
    /// An empty one, without a connection.
    pub(crate) fn new(scheduler: &Scheduler, broken: Option<Broken>) -> Arc<Self> {
        let wire = Wire { line: Line::new(Epoch::default()), number: 0, last: Duration::ZERO, pinged: None };
        Arc::new(Self {
            scheduler: scheduler.clone(),
            cache: NearCache::new(BYTES_MAX, Duration::ZERO),
            broken,
            wire: Mutex::new(wire),
            hits: AtomicU64::new(0),
        })
    }

    pub(crate) fn at_hand(&self, keys: &Keys) -> Option<Facts> {
        let facts = self.cache.at_hand(keys, self.scheduler.now())?;
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(facts)
    }

    pub(crate) fn want(&self, keys: &Keys) -> Wanted {
        self.cache.want(keys)
    }

    /// Another connection: what came over the last one is suspect.
    pub(crate) fn reconnect(&self, number: u64, epoch: Epoch) {
        let mut wire = locked(&self.wire);
        wire.line.close();
        *wire = Wire { line: Line::new(epoch), number, last: self.scheduler.now(), pinged: None };
    }

    /// The connection's number.
    pub(crate) fn number(&self) -> u64 {
        locked(&self.wire).number
    }

    /// Whether it is time for a PING, which is then sent now.
    pub(crate) fn pings(&self) -> bool {
        let now = self.scheduler.now();
        let mut wire = locked(&self.wire);
        let due = wire.pinged.is_none_or(|last| now >= last + NEAR_PING);
        if due {
            wire.pinged = Some(now);
        }
        due
    }

    /// From here on the wire stands still for a while.
    pub(crate) fn stall(&self) {
        let until = self.scheduler.now() + self.scheduler.chance(|chance| chance.millis(0, STALL_MILLIS));
        let mut wire = locked(&self.wire);
        wire.last = wire.last.max(until);
    }

    pub(crate) fn answered(self: &Arc<Self>, number: u64, sent: Duration, back: Duration) {
        self.send(number, back, Message::Answered(sent));
    }

    pub(crate) fn changed(self: &Arc<Self>, number: u64, key: Key, back: Duration) {
        self.send(number, back, Message::Changed(key));
    }

    /// The answer to a load, once it has come; nothing if the connection is gone by then.
    pub(crate) fn arrives(self: &Arc<Self>, number: u64, wanted: Wanted, facts: Facts, back: Duration) -> Joined<bool> {
        self.send(number, back, Message::Arrived(Box::new((wanted, facts))))
    }

    fn send(self: &Arc<Self>, number: u64, back: Duration, message: Message) -> Joined<bool> {
        let now = self.scheduler.now();
        let at = {
            let mut wire = locked(&self.wire);
            // A step later than what was sent before, so that it arrives after it.
            let at = (now + back).max(wire.last + Duration::from_micros(1));
            if wire.number == number {
                wire.last = at;
            }
            at
        };
        let (near, sleep) = (Arc::clone(self), self.scheduler.sleep(at - now));
        self.scheduler.spawn(async move {
            sleep.await;
            near.take(number, message)
        })
    }

    fn take(&self, number: u64, message: Message) -> bool {
        let wire = locked(&self.wire);
        if wire.number != number {
            return false;
        }
        match message {
            Message::Arrived(answer) => {
                let (wanted, facts) = *answer;
                for (key, fact) in facts.iter() {
                    self.cache.arrived(&wire.line, &wanted, key, fact);
                }
            }
            Message::Changed(_) if self.broken == Some(Broken::IgnoresChanges) => {}
            Message::Changed(key) => self.cache.changed(key.to_string().as_bytes()),
            Message::Answered(_) if self.broken == Some(Broken::IgnoresLeases) => {
                wire.line.answered(self.scheduler.now() + Duration::from_secs(600));
            }
            Message::Answered(sent) => wire.line.answered(sent),
        }
        true
    }

    /// Bars what a commit writes until what is handed out is dropped.
    pub(crate) fn barred(&self, writes: &[Write]) -> Option<Barred<'_>> {
        let bars = self.broken != Some(Broken::BarsNothing);
        bars.then(|| self.cache.barred(writes.iter().map(|write| write.key)))
    }

    /// The store has said this on another wire.
    pub(crate) fn seen(&self, facts: &Facts) {
        if self.broken != Some(Broken::BarsNothing) {
            self.cache.seen(facts);
        }
    }
}
