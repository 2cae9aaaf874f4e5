//! The store in this process's memory: bounded and swept. A record is kept as its bytes, in blocks, which is a fifth of what it takes
//! decoded; what is asked for again and again stays decoded beside it.
//!
//! A partition lives in one of 64 shards, so a commit takes one lock, holds it for a few map operations, and never waits for
//! anything while it holds it. Readings of different people do not meet.

mod decoded;
mod pool;

use crate::exposition::Exposition;
use crate::seeded::Seeded;
use decoded::Decoded;
use pool::Pool;
use portcullis_domain::fresh::Stamp;
use portcullis_domain::key::{Key, Partition};
use portcullis_domain::limits::{BROOM_DELAY, MEMORY_BYTES_MAX};
use portcullis_domain::operation::{Epoch, Fact, Facts, Keys, Landed, Stored, Write};
use portcullis_domain::record::Record;
use portcullis_domain::time::Timestamp;
use portcullis_ports::{Outcome, Seen, Store, Unavailable};
use std::collections::HashMap;
use std::future::{Future, ready};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use zeroize::Zeroizing;

const SHARDS: usize = 64;

/// What a record takes beside its bytes: its key and its place in a map that is between half and almost full.
const ENTRY_WEIGHT: usize = 72;

/// The memory store. Everything in it is lost with the process, and its epoch with it.
pub struct Memory {
    shards: [RwLock<Shard>; SHARDS],
    decoded: Decoded,
    epoch: Epoch,
    bytes: AtomicUsize,
    bytes_max: usize,
}

struct Shard {
    records: HashMap<Key, u32, Seeded>,
    pool: Pool,
    /// Cuts are rare, and every admission asks for three of them: apart from the rest, what is not there costs nothing to look for.
    cuts: HashMap<Key, Stored, Seeded>,
}

/// What stands in front of a record's bytes, beside its length.
#[derive(Clone, Copy)]
struct Head {
    stamp: Stamp,
    until: Timestamp,
    length: usize,
}

/// Stamp, `until` and the length of the body.
const HEAD: usize = 16 + 8 + 4;

impl Head {
    fn bytes(self) -> Option<[u8; HEAD]> {
        let mut out = [0; HEAD];
        let length = u32::try_from(self.length).ok()?;
        let (stamp, rest) = out.split_first_chunk_mut()?;
        let (until, rest) = rest.split_first_chunk_mut()?;
        (*stamp, *until) = (self.stamp.0, self.until.millis().to_ne_bytes());
        *rest.first_chunk_mut()? = length.to_ne_bytes();
        Some(out)
    }

    fn read(pool: &Pool, place: u32) -> Self {
        let mut bytes = [0; HEAD];
        pool.read(place, &mut bytes);
        let (stamp, rest) = bytes.split_first_chunk().unwrap_or((&[0; 16], &[]));
        let (until, rest) = rest.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let length = rest.first_chunk().map_or(0, |length| u32::from_ne_bytes(*length));
        Self {
            stamp: Stamp(*stamp),
            until: Timestamp::from_millis(u64::from_ne_bytes(*until)),
            length: usize::try_from(length).unwrap_or(0),
        }
    }

    /// About how many bytes the record takes.
    fn weight(self) -> usize {
        ENTRY_WEIGHT.saturating_add(pool::taken_by(HEAD.saturating_add(self.length)))
    }
}

/// What one shard knows of a key.
enum Known<'a> {
    Cut(&'a Stored),
    Record(u32, Head),
}

impl Known<'_> {
    const fn stamp(&self) -> Stamp {
        match self {
            Self::Cut(stored) => stored.stamp,
            Self::Record(_, head) => head.stamp,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Cut(stored) => weight_of_cut(&stored.record),
            Self::Record(_, head) => head.weight(),
        }
    }
}

fn weight_of_cut(record: &Record) -> usize {
    ENTRY_WEIGHT.saturating_add(record.weight())
}

/// A write as it will be kept.
enum Made {
    Cut(Stored),
    Record(Head, Zeroizing<Vec<u8>>),
}

impl Made {
    /// Nothing if it is longer than anything that is kept.
    fn of(write: Write) -> Option<(Key, Self)> {
        let Write { key, stamp, until, record, .. } = write;
        if let Key::Cut(_) = key {
            return Some((key, Self::Cut(Stored { record, stamp, until })));
        }
        let body = record.encode();
        let head = Head { stamp, until, length: body.len() };
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD.saturating_add(body.len())));
        bytes.extend_from_slice(&head.bytes()?);
        bytes.extend_from_slice(&body);
        Some((key, Self::Record(head, bytes)))
    }

    fn weight(&self) -> usize {
        match self {
            Self::Cut(stored) => weight_of_cut(&stored.record),
            Self::Record(head, _) => head.weight(),
        }
    }
}

/// Bytes of a record on their way to being decoded. Wiped when dropped, in one piece: byte by byte, as [`Zeroizing`] does it, would be a
/// third of what it costs to ask for a record.
struct Scratch(Vec<u8>);

impl Drop for Scratch {
    fn drop(&mut self) {
        self.0.fill(0);
        // Whoever might look at it again keeps it from being left out.
        black_box(&self.0);
    }
}

impl Shard {
    fn new(seeded: Seeded) -> Self {
        Self { records: HashMap::with_hasher(seeded), pool: Pool::new(), cuts: HashMap::with_hasher(seeded) }
    }

    fn get(&self, key: &Key) -> Option<Known<'_>> {
        if let Key::Cut(_) = key {
            return self.cuts.get(key).map(Known::Cut);
        }
        self.records.get(key).map(|place| Known::Record(*place, Head::read(&self.pool, *place)))
    }

    /// The record whose head this is, decoded. Nothing if it cannot be, which nobody has ever seen.
    fn decode(&self, key: &Key, place: u32, head: Head) -> Option<Arc<Record>> {
        let mut bytes = Scratch(vec![0; HEAD.saturating_add(head.length)]);
        self.pool.read(place, &mut bytes.0);
        Record::decode(key, bytes.0.get(HEAD..)?).ok().map(Arc::new)
    }

    /// Keeps it, in the place of what was kept before.
    fn insert(&mut self, key: Key, made: Made) {
        match made {
            Made::Cut(stored) => drop(self.cuts.insert(key, stored)),
            Made::Record(_, bytes) => {
                let place = self.pool.put(&bytes);
                debug_assert!(place.is_some(), "there was room for it");
                if let Some(before) = place.and_then(|place| self.records.insert(key, place)) {
                    self.pool.give_back(before);
                }
            }
        }
    }

    fn len(&self) -> usize {
        self.records.len().saturating_add(self.cuts.len())
    }

    /// Forgets what `goes` says yes to.
    fn forget(&mut self, mut goes: impl FnMut(Stamp, Timestamp, usize) -> bool) {
        let Self { records, pool, cuts } = self;
        cuts.retain(|_, stored| !goes(stored.stamp, stored.until, weight_of_cut(&stored.record)));
        records.retain(|_, place| {
            let head = Head::read(pool, *place);
            let stays = !goes(head.stamp, head.until, head.weight());
            if !stays {
                pool.give_back(*place);
            }
            stays
        });
        if records.is_empty() {
            pool.clear();
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
        Self { shards, decoded: Decoded::new(), epoch, bytes: AtomicUsize::new(0), bytes_max }
    }

    /// Forgets what has not counted for longer than the broom waits. One shard at a time, so that nobody waits long.
    pub fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            let mut freed = 0_usize;
            let mut held = write(shard);
            held.forget(|stamp, until, weight| {
                let goes = now >= until.plus(BROOM_DELAY);
                if goes {
                    freed = freed.saturating_add(weight);
                    self.decoded.forget(stamp);
                }
                goes
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

    /// What there is under these keys. With `again`, somebody will soon ask for the same.
    fn read(&self, keys: &Keys, again: bool) -> Facts {
        let mut facts = Facts::new(self.epoch);
        // Keys of one partition are read under one lock: they are one state of it.
        let mut held: Option<(Partition, RwLockReadGuard<'_, Shard>)> = None;
        for key in keys.iter() {
            let partition = key.partition();
            if held.as_ref().is_none_or(|(current, _)| *current != partition) {
                drop(held.take());
                held = Some((partition, read(self.shard(partition))));
            }
            let fact = held.as_ref().map_or(Fact::Absent, |(_, shard)| self.fact(shard, key, again));
            facts.add(*key, fact);
        }
        facts
    }

    fn fact(&self, shard: &Shard, key: &Key, again: bool) -> Fact {
        let (place, head) = match shard.get(key) {
            None => return Fact::Absent,
            Some(Known::Cut(stored)) => return Fact::Found(stored.clone()),
            Some(Known::Record(place, head)) => (place, head),
        };
        let Head { stamp, until, .. } = head;
        if let Some(record) = self.decoded.recall(stamp) {
            return Fact::Found(Stored { record, stamp, until });
        }
        let Some(record) = shard.decode(key, place, head) else {
            debug_assert!(false, "what was encoded can be decoded");
            return Fact::Unreadable(stamp);
        };
        if again {
            self.decoded.remember(stamp, &record);
        }
        Fact::Found(Stored { record, stamp, until })
    }

    fn write(&self, seen: &Seen, writes: Vec<Write>) -> Outcome {
        let Some(partition) = writes.first().map(|write| write.key.partition()) else {
            return Outcome::Landed(Landed { acknowledged: 0 });
        };
        debug_assert!(writes.iter().all(|write| write.key.partition() == partition), "a commit is of one partition");
        // What shrinks a record or keeps its size always fits, and so does what keeps somebody out, which is small and rare: whoever
        // fills the store must not be safe from being ended.
        let bytes_max = if writes.iter().any(|write| write.durable) { usize::MAX } else { self.bytes_max };
        let Some(made) = writes.into_iter().map(Made::of).collect::<Option<Vec<_>>>() else { return Outcome::Full };
        let mut shard = write(self.shard(partition));
        if seen.epoch() != self.epoch
            || !seen.iter().all(|(key, stamp)| shard.get(key).map(|known| known.stamp()) == stamp)
        {
            return Outcome::Stale;
        }
        let added: usize = made.iter().map(|(_, made)| made.weight()).sum();
        let before = made.iter().filter_map(|(key, _)| shard.get(key));
        let freed: usize = before
            .map(|known| {
                self.decoded.forget(known.stamp());
                known.weight()
            })
            .sum();
        // The bytes are counted before the lock is given up: nobody can give back what has not been counted yet.
        if !shard.pool.has_room(added) || !self.reserve(added.saturating_sub(freed), bytes_max) {
            return Outcome::Full;
        }
        for (key, made) in made {
            shard.insert(key, made);
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
        ready(Ok(self.read(&keys, false)))
    }

    fn at_hand(&self, keys: &Keys) -> Option<Facts> {
        Some(self.read(keys, true))
    }

    fn commit(&self, seen: Seen, writes: Vec<Write>) -> impl Future<Output = Outcome> + Send {
        ready(self.write(&seen, writes))
    }
}

/// A lock whose holder panicked guards a map that is still whole: every change to it is one insert or one remove.
fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}
const _: () = assert!(size_of::<(Key, u32)>() <= 40, "ENTRY_WEIGHT is that of such an entry");
