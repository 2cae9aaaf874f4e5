//! The store in this process's memory: bounded, swept, decoded records behind `Arc`.
//!
//! A partition lives in one of 64 shards, so a commit takes one lock, holds it for a few map operations, and never waits for
//! anything while it holds it. Readings of different people do not meet.

use crate::exposition::Exposition;
use crate::seeded::Seeded;
use portcullis_domain::key::{Key, Partition};
use portcullis_domain::limits::{BROOM_DELAY, MEMORY_BYTES_MAX};
use portcullis_domain::operation::{Epoch, Fact, Facts, Keys, Landed, Stored, Write};
use portcullis_domain::time::Timestamp;
use portcullis_ports::{Outcome, Seen, Store, Unavailable};
use std::collections::HashMap;
use std::future::{Future, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

const SHARDS: usize = 64;

/// What a record costs beside its own weight: key, stamp, `until`, pointers, and the map's slack.
const ENTRY_WEIGHT: usize = 160;

/// The memory store. Everything in it is lost with the process, and its epoch with it.
pub struct Memory {
    shards: [RwLock<Shard>; SHARDS],
    epoch: Epoch,
    bytes: AtomicUsize,
    bytes_max: usize,
}

/// Cuts are rare, and every admission asks for three of them: apart from the rest, what is not there costs nothing to look for.
struct Shard {
    records: Map,
    cuts: Map,
}

type Map = HashMap<Key, Stored, Seeded>;

impl Shard {
    fn new(seeded: Seeded) -> Self {
        Self { records: Map::with_hasher(seeded), cuts: Map::with_hasher(seeded) }
    }

    const fn of(&self, key: &Key) -> &Map {
        match key {
            Key::Cut(_) => &self.cuts,
            Key::Grant(_) | Key::Identity(_) | Key::FlowMark(_) | Key::AssertionMark(_) | Key::RingCheck => {
                &self.records
            }
        }
    }

    fn get(&self, key: &Key) -> Option<&Stored> {
        self.of(key).get(key)
    }

    fn insert(&mut self, key: Key, stored: Stored) {
        match key {
            Key::Cut(_) => self.cuts.insert(key, stored),
            Key::Grant(_) | Key::Identity(_) | Key::FlowMark(_) | Key::AssertionMark(_) | Key::RingCheck => {
                self.records.insert(key, stored)
            }
        };
    }

    fn len(&self) -> usize {
        self.records.len().saturating_add(self.cuts.len())
    }

    fn retain(&mut self, mut stays: impl FnMut(&Stored) -> bool) {
        for map in [&mut self.records, &mut self.cuts] {
            map.retain(|_, stored| stays(stored));
        }
    }
}

impl Memory {
    /// An empty store. The epoch must be one that no other process ever had: random bytes.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self::bounded(epoch, MEMORY_BYTES_MAX)
    }

    /// An empty store that holds at most about this many bytes.
    #[must_use]
    pub fn bounded(epoch: Epoch, bytes_max: usize) -> Self {
        let seeded = Seeded::new();
        let shards = std::array::from_fn(|_| RwLock::new(Shard::new(seeded)));
        Self { shards, epoch, bytes: AtomicUsize::new(0), bytes_max }
    }

    /// Forgets what has not counted for longer than the broom waits. One shard at a time, so that nobody waits long.
    pub fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            let mut freed = 0_usize;
            let mut held = write(shard);
            held.retain(|stored| {
                let stays = now < stored.until.plus(BROOM_DELAY);
                if !stays {
                    freed = freed.saturating_add(weight(stored));
                }
                stays
            });
            self.release(freed);
        }
    }

    /// How many records there are.
    #[must_use]
    pub fn records(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    /// About how many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Writes both.
    pub fn write_metrics(&self, page: &mut Exposition) {
        page.gauge("store_records", "Records in the memory store.").is(self.records());
        page.gauge("store_bytes", "About how many bytes they take.").is(self.bytes());
    }

    fn shard(&self, partition: Partition) -> &RwLock<Shard> {
        // A partition's name is a digest already. Whoever finds names that share a shard shares a lock with them, and no more: inside
        // of it, keys are hashed with a seed.
        let [first, ..] = partition.0;
        self.shards.get(usize::from(first) % SHARDS).unwrap_or(&self.shards[0])
    }

    fn read(&self, keys: &Keys) -> Facts {
        let mut facts = Facts::new(self.epoch);
        // Keys of one partition are read under one lock: they are one state of it.
        let mut held: Option<(Partition, RwLockReadGuard<'_, Shard>)> = None;
        for key in keys.iter() {
            let partition = key.partition();
            if held.as_ref().is_none_or(|(current, _)| *current != partition) {
                drop(held.take());
                held = Some((partition, read(self.shard(partition))));
            }
            let stored = held.as_ref().and_then(|(_, shard)| shard.get(key));
            facts.add(*key, stored.map_or(Fact::Absent, |stored| Fact::Found(stored.clone())));
        }
        facts
    }

    fn write(&self, seen: &Seen, writes: Vec<Write>) -> Outcome {
        let Some(partition) = writes.first().map(|write| write.key.partition()) else {
            return Outcome::Landed(Landed { acknowledged: 0 });
        };
        debug_assert!(writes.iter().all(|write| write.key.partition() == partition), "a commit is of one partition");
        let mut shard = write(self.shard(partition));
        if seen.epoch() != self.epoch
            || !seen.iter().all(|(key, stamp)| shard.get(key).map(|stored| stored.stamp) == stamp)
        {
            return Outcome::Stale;
        }
        let added: usize = writes.iter().map(|write| ENTRY_WEIGHT.saturating_add(write.record.weight())).sum();
        let freed: usize = writes.iter().filter_map(|write| shard.get(&write.key)).map(weight).sum();
        // What shrinks a record or keeps its size always fits, and so does what keeps somebody out, which is small and rare: whoever
        // fills the store must not be safe from being ended. The bytes are counted before the lock is given up: nobody can give
        // back what has not been counted yet.
        let bytes_max = if writes.iter().any(|write| write.durable) { usize::MAX } else { self.bytes_max };
        if !self.reserve(added.saturating_sub(freed), bytes_max) {
            return Outcome::Full;
        }
        for Write { key, stamp, until, record, .. } in writes {
            shard.insert(key, Stored { record, stamp, until });
        }
        self.release(freed.saturating_sub(added));
        Outcome::Landed(Landed { acknowledged: 0 })
    }

    /// Counts bytes that are to be added, if there is room for them.
    fn reserve(&self, more: usize, bytes_max: usize) -> bool {
        let grow = |bytes: usize| bytes.checked_add(more).filter(|sum| *sum <= bytes_max);
        more == 0 || self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).is_ok()
    }

    fn release(&self, freed: usize) {
        // Never below zero: what is given back was counted under the same lock under which it was added.
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
    }
}

impl Store for Memory {
    fn load(&self, keys: Keys) -> impl Future<Output = Result<Facts, Unavailable>> + Send {
        ready(Ok(self.read(&keys)))
    }

    fn at_hand(&self, keys: &Keys) -> Option<Facts> {
        Some(self.read(keys))
    }

    fn commit(&self, seen: Seen, writes: Vec<Write>) -> impl Future<Output = Outcome> + Send {
        ready(self.write(&seen, writes))
    }
}

fn weight(stored: &Stored) -> usize {
    ENTRY_WEIGHT.saturating_add(stored.record.weight())
}

/// A lock whose holder panicked guards a map that is still whole: every change to it is one insert or one remove.
fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}
