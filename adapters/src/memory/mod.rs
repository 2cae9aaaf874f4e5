//! The store in this process's memory: bounded and swept. A record is kept as its bytes, which is a sixth of what it takes decoded, and
//! decoded where they lie, for whoever asks; grants that are asked for again and again stay decoded beside them.
//!
//! A partition lives in one of 64 shards, so a commit takes one lock, holds it for a few map operations, and never waits for
//! anything while it holds it. Readings of different people do not meet.

mod decoded;
mod index;
mod pool;

use crate::exposition::Exposition;
use crate::seeded::Seeded;
use decoded::Decoded;
use index::Index;
use pool::{Place, Pool};
use portcullis_domain::fresh::Stamp;
use portcullis_domain::key::{Key, Partition};
use portcullis_domain::limits::{BROOM_DELAY, MEMORY_BYTES_MAX};
use portcullis_domain::operation::{Epoch, Fact, Facts, Keys, Landed, Stored, Write};
use portcullis_domain::record::Record;
use portcullis_domain::time::Timestamp;
use portcullis_ports::{Outcome, Seen, Store, Unavailable};
use std::collections::HashMap;
use std::future::{Future, ready};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use zeroize::Zeroizing;

const SHARDS: usize = 64;

/// What a record takes beside its bytes: its place in a table that is between half and four fifths full.
const ENTRY_WEIGHT: usize = 16;
/// The same of a cut, which is kept decoded in a map.
const CUT_WEIGHT: usize = 144;

/// The memory store. Everything in it is lost with the process, and its epoch with it.
pub struct Memory {
    shards: [RwLock<Shard>; SHARDS],
    decoded: Decoded,
    epoch: Epoch,
    bytes: AtomicUsize,
    bytes_max: usize,
}

struct Shard {
    index: Index,
    pool: Pool,
    seeded: Seeded,
    /// Cuts are rare, and every admission asks for three of them: apart from the rest, what is not there costs nothing to look for.
    cuts: HashMap<Key, Stored, Seeded>,
}

/// A record's name, as it stands in front of its bytes.
struct Name {
    bytes: [u8; NAME_MAX],
    length: usize,
}

/// Kind, partition and login.
const NAME_MAX: usize = 1 + 16 + 16;

impl Name {
    /// Nothing for a cut, which has a map of its own, and for what is no record of this store.
    fn of(key: &Key) -> Option<Self> {
        let (kind, partition, login) = match key {
            Key::Grant(id) => (1, key.partition(), Some(id.login)),
            Key::FlowMark(id) => (2, key.partition(), Some(id.login)),
            Key::Identity(_) => (3, key.partition(), None),
            Key::AssertionMark(_) => (4, key.partition(), None),
            Key::RingCheck => (5, key.partition(), None),
            Key::Cut(_) => return None,
        };
        let mut bytes = [0; NAME_MAX];
        let (first, rest) = bytes.split_first_mut()?;
        let (person, rest) = rest.split_first_chunk_mut()?;
        (*first, *person) = (kind, partition.0);
        *rest.first_chunk_mut()? = login.unwrap_or_default();
        Some(Self { bytes, length: if login.is_some() { NAME_MAX } else { NAME_MAX - 16 } })
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// What stands in front of a record's name and body.
#[derive(Clone, Copy)]
struct Head {
    stamp: Stamp,
    until: Timestamp,
    /// Of name and body together.
    length: usize,
}

/// Stamp, `until` and the length.
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

    /// The head of a piece, and its name and body.
    fn split(piece: &[u8]) -> Option<(Self, &[u8])> {
        let (stamp, rest) = piece.split_first_chunk()?;
        let (until, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let until = Timestamp::from_millis(u64::from_ne_bytes(*until));
        Some((Self { stamp: Stamp(*stamp), until, length }, rest.get(..length)?))
    }

    /// About how many bytes the record takes.
    fn weight(self) -> usize {
        ENTRY_WEIGHT.saturating_add(pool::taken_by(HEAD.saturating_add(self.length)))
    }
}

/// What one shard knows of a key.
enum Known<'a> {
    Cut(&'a Stored),
    /// With its body.
    Record(Head, &'a [u8]),
}

impl Known<'_> {
    const fn stamp(&self) -> Stamp {
        match self {
            Self::Cut(stored) => stored.stamp,
            Self::Record(head, _) => head.stamp,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Cut(stored) => weight_of_cut(&stored.record),
            Self::Record(head, _) => head.weight(),
        }
    }
}

fn weight_of_cut(record: &Record) -> usize {
    CUT_WEIGHT.saturating_add(record.weight())
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
        let (name, body) = (Name::of(&key)?, record.encode());
        let head = Head { stamp, until, length: name.length.checked_add(body.len())? };
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD.checked_add(head.length)?));
        bytes.extend_from_slice(&head.bytes()?);
        bytes.extend_from_slice(name.bytes());
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

impl Shard {
    fn new(seeded: Seeded) -> Self {
        Self { index: Index::new(), pool: Pool::new(), seeded, cuts: HashMap::with_hasher(seeded) }
    }

    fn get(&self, key: &Key) -> Option<Known<'_>> {
        let Some(name) = Name::of(key) else { return self.cuts.get(key).map(Known::Cut) };
        let place = self.index.get(self.hash(key), self.is(&name))?;
        let (head, rest) = Head::split(self.pool.at(place))?;
        Some(Known::Record(head, rest.get(name.length..)?))
    }

    /// Keeps it, in the place of what was kept before.
    fn insert(&mut self, key: Key, made: Made) {
        let bytes = match made {
            Made::Cut(stored) => return drop(self.cuts.insert(key, stored)),
            Made::Record(_, bytes) => bytes,
        };
        let Some(name) = Name::of(&key) else { return };
        let hash = self.hash(&key);
        let Self { index, pool, .. } = self;
        if let Some(before) = index.remove(hash, |place| is(pool, place, &name)) {
            pool.give_back(before);
        }
        let place = pool.put(&bytes);
        debug_assert!(place.is_some(), "there was room for it");
        if let Some(place) = place {
            index.insert(hash, place);
        }
    }

    fn len(&self) -> usize {
        self.index.len().saturating_add(self.cuts.len())
    }

    /// Forgets what `goes` says yes to.
    fn forget(&mut self, mut goes: impl FnMut(Stamp, Timestamp, usize) -> bool) {
        let Self { index, pool, cuts, .. } = self;
        cuts.retain(|_, stored| !goes(stored.stamp, stored.until, weight_of_cut(&stored.record)));
        index.retain(|place| {
            let stays =
                Head::split(pool.at(place)).is_some_and(|(head, _)| !goes(head.stamp, head.until, head.weight()));
            if !stays {
                pool.give_back(place);
            }
            stays
        });
    }

    /// 32 bits of the hash of a key.
    fn hash(&self, key: &Key) -> u32 {
        let [a, b, c, d, ..] = self.seeded.hash_one(key).to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d])
    }

    /// Whether a piece has this name.
    fn is<'a>(&'a self, name: &'a Name) -> impl Fn(Place) -> bool + 'a {
        move |place| is(&self.pool, place, name)
    }
}

fn is(pool: &Pool, place: Place, name: &Name) -> bool {
    pool.at(place).get(HEAD..).is_some_and(|rest| rest.starts_with(name.bytes()))
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
            facts.add(*key, held.as_ref().map_or(Fact::Absent, |(_, shard)| self.fact(shard, key, again)));
        }
        facts
    }

    fn fact(&self, shard: &Shard, key: &Key, again: bool) -> Fact {
        let (Head { stamp, until, .. }, body) = match shard.get(key) {
            None => return Fact::Absent,
            Some(Known::Cut(stored)) => return Fact::Found(stored.clone()),
            Some(Known::Record(head, body)) => (head, body),
        };
        // An identity is worth no room: whoever asks again and again has no need to look into it.
        let stays = again && matches!(key, Key::Grant(_));
        if stays && let Some(record) = self.decoded.recall(stamp) {
            return Fact::Found(Stored { record, stamp, until });
        }
        let Ok(record) = Record::read(key, body).map(Arc::new) else {
            debug_assert!(false, "what was encoded can be decoded");
            return Fact::Unreadable(stamp);
        };
        if stays {
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
        if !shard.pool.has_room(made.len()) || !self.reserve(added.saturating_sub(freed), bytes_max) {
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
