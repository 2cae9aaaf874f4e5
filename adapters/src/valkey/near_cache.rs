//! What the store has said a moment ago, so that a request to a protected resource asks nobody.
//!
//! ```text
//!   want ──► GET, on the line ──► arrived, if nothing has changed since ──► at_hand, while the line has its lease
//!               the same line ──► changed (a push) ──► gone
//!               a commit of our own ends ───────────► gone
//! ```
//!
//! A line is one connection that both answers loads and is told what changes (RESP3 client tracking), and its reader calls
//! [`NearCache::arrived`] and [`NearCache::changed`] in the order in which the bytes came. Nothing is served but under the line's
//! lease: a PING that was sent less than [`NEAR_LEASE`] ago has been answered on it, so everything that had changed by then has
//! been heard of. A connection that has turned into a black hole, or a process that was stopped, has no lease.
//!
//! Whoever is about to load says so first. What is found in the cache when the answer arrives must be that very wish: a change, a
//! push of which came in between, or a commit of our own that ended in between, has taken it away, and the answer is used once
//! and not kept.
//!
//! There is no I/O here and no clock: times are arguments, counted from any moment that stays the same.

use crate::seeded::Seeded;
use portcullis_domain::key::{CutScope, GrantId, Key};
use portcullis_domain::limits::{KEYS_MAX, NEAR_LEASE};
use portcullis_domain::operation::{Epoch, Fact, Facts, Keys};
use portcullis_domain::wire::text;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

const SHARDS: usize = 64;

/// What an entry costs beside its record: its name twice, stamp, `until`, pointers, and the maps' slack.
const ENTRY_WEIGHT: usize = 320;

/// One connection whose loads are kept, and the right to serve them.
#[derive(Debug)]
pub struct Line {
    epoch: Epoch,
    /// Milliseconds from the clock's beginning until which what came over it can be served.
    leased: AtomicU64,
    open: AtomicBool,
}

impl Line {
    /// A connection to a node in this epoch, on which tracking is on. It has no lease yet.
    #[must_use]
    pub fn new(epoch: Epoch) -> Arc<Self> {
        Arc::new(Self { epoch, leased: AtomicU64::new(0), open: AtomicBool::new(true) })
    }

    /// A PING that was sent at this moment has been answered on this connection, behind everything that came before the answer.
    pub fn answered(&self, sent: Duration) {
        self.leased.fetch_max(millis(sent.saturating_add(NEAR_LEASE)), Ordering::Release);
    }

    /// The connection has ended, or is not believed any more: what came over it is suspect.
    pub fn close(&self) {
        self.open.store(false, Ordering::Release);
    }

    /// Whether what came over it can be served now.
    #[must_use]
    pub fn serves(&self, now: Duration) -> bool {
        self.open.load(Ordering::Acquire) && self.within(now, Duration::ZERO)
    }

    /// Whether it had a lease, which has ended.
    #[must_use]
    pub fn lapsed(&self, now: Duration) -> bool {
        self.leased.load(Ordering::Acquire) > 0 && !self.within(now, Duration::ZERO)
    }

    fn within(&self, now: Duration, more: Duration) -> bool {
        millis(now) < self.leased.load(Ordering::Acquire).saturating_add(millis(more))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A load that is about to be sent.
#[derive(Debug)]
pub struct Wanted {
    wishes: [Option<(Name, u64)>; KEYS_MAX],
}

/// A record's name, as it stands in the store, in few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name {
    partition: [u8; 16],
    kind: Kind,
    login: [u8; 16],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Grant,
    FlowMark,
    AssertionMark,
    Identity,
    Cut,
    RingCheck,
}

impl Name {
    fn of(key: &Key) -> Self {
        let (kind, login) = match key {
            Key::Grant(GrantId { login, .. }) => (Kind::Grant, *login),
            Key::FlowMark(GrantId { login, .. }) => (Kind::FlowMark, *login),
            Key::Identity(_) => (Kind::Identity, [0; 16]),
            Key::Cut(CutScope::All | CutScope::Client(_) | CutScope::Person(_) | CutScope::ProviderSession(_)) => {
                (Kind::Cut, [0; 16])
            }
            Key::AssertionMark(_) => (Kind::AssertionMark, [0; 16]),
            Key::RingCheck => (Kind::RingCheck, [0; 16]),
        };
        Self { partition: key.partition().0, kind, login }
    }

    /// From the text of a [`Key`]; nothing if it is none.
    fn parse(name: &[u8]) -> Option<Self> {
        let rest = name.strip_prefix(b"{")?;
        let brace = rest.iter().position(|byte| *byte == b'}')?;
        let (partition, rest) = rest.split_at_checked(brace)?;
        let (kind, login) = match rest.strip_prefix(b"}:")? {
            b"identity" => (Kind::Identity, None),
            b"assertion" => (Kind::AssertionMark, None),
            b"cut" => (Kind::Cut, None),
            b"ring-check" => (Kind::RingCheck, None),
            other => match other.strip_prefix(b"grant:") {
                Some(login) => (Kind::Grant, Some(login)),
                None => (Kind::FlowMark, Some(other.strip_prefix(b"flow:")?)),
            },
        };
        let sixteen = |text: &[u8]| text::from_base64url_exact::<16>(text).ok();
        Some(Self { partition: sixteen(partition)?, kind, login: login.map_or(Some([0; 16]), sixteen)? })
    }
}

struct Entry {
    /// Tells this entry from one of the same name before it.
    number: u64,
    /// Whether a load is under way whose answer may be kept here.
    wanted: bool,
    kept: Option<Kept>,
    /// Whether somebody has asked for it since it was last spared.
    used: AtomicBool,
}

struct Kept {
    fact: Fact,
    line: Arc<Line>,
}

impl Entry {
    fn weight(&self) -> usize {
        let record = match self.kept.as_ref().map(|kept| &kept.fact) {
            Some(Fact::Found(stored)) => stored.record.weight(),
            Some(Fact::Absent | Fact::Unreadable(_)) | None => 0,
        };
        ENTRY_WEIGHT.saturating_add(record)
    }
}

struct Shard {
    entries: HashMap<Name, Entry, Seeded>,
    /// All entries in the order in which they came or were last spared, and some that are gone.
    order: VecDeque<(Name, u64)>,
    bytes: usize,
}

impl Shard {
    fn remove(&mut self, name: &Name) {
        if let Some(entry) = self.entries.remove(name) {
            self.bytes = self.bytes.saturating_sub(entry.weight());
        }
    }

    /// Makes room: what nobody has asked for since it was last looked at goes first, and the oldest of it. How many entries went.
    fn shrink(&mut self, bytes_max: usize) -> usize {
        let before = self.entries.len();
        // Each is spared once at the most, so this ends.
        let mut turns = self.order.len().saturating_mul(2);
        while self.bytes > bytes_max && turns > 0 {
            turns = turns.saturating_sub(1);
            let Some((name, number)) = self.order.pop_front() else { break };
            match self.entries.get(&name).filter(|entry| entry.number == number) {
                Some(entry) if entry.used.swap(false, Ordering::Relaxed) => self.order.push_back((name, number)),
                Some(_) => self.remove(&name),
                None => {}
            }
        }
        // What is gone is struck out before it is more than what is there.
        if self.order.len() > self.entries.len().saturating_mul(2).saturating_add(16) {
            let entries = &self.entries;
            self.order.retain(|(name, number)| entries.get(name).is_some_and(|entry| entry.number == *number));
        }
        before.saturating_sub(self.entries.len())
    }
}

/// The cache. It never waits, and holds no lock longer than a few map operations.
pub struct NearCache {
    shards: [RwLock<Shard>; SHARDS],
    bytes_max: usize,
    stale_for: Duration,
    next: AtomicU64,
    hits: AtomicUsize,
    misses: AtomicUsize,
    evicted: AtomicUsize,
}

impl NearCache {
    /// An empty one that holds about this many bytes at the most, and serves this much longer while the store is away.
    #[must_use]
    pub fn new(bytes_max: usize, stale_for: Duration) -> Self {
        let seeded = Seeded::new();
        let shard = |_| Shard { entries: HashMap::with_hasher(seeded), order: VecDeque::new(), bytes: 0 };
        Self {
            shards: std::array::from_fn(|place| RwLock::new(shard(place))),
            bytes_max: bytes_max / SHARDS,
            stale_for,
            next: AtomicU64::new(1),
            hits: AtomicUsize::new(0),
            misses: AtomicUsize::new(0),
            evicted: AtomicUsize::new(0),
        }
    }

    /// What is known of all these keys, if every one of them came over a line that has its lease.
    #[must_use]
    pub fn at_hand(&self, keys: &Keys, now: Duration) -> Option<Facts> {
        let facts = self.read(keys, |line| line.serves(now));
        let count = if facts.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        facts
    }

    /// The same while the store is away: what was under a lease that has ended no longer ago than the operator allows.
    #[must_use]
    pub fn stale(&self, keys: &Keys, now: Duration) -> Option<Facts> {
        if self.stale_for.is_zero() {
            return None;
        }
        self.read(keys, |line| line.within(now, self.stale_for))
    }

    /// To be called before a load of these keys is sent.
    #[must_use]
    pub fn want(&self, keys: &Keys) -> Wanted {
        let mut wishes = [None; KEYS_MAX];
        for (place, key) in wishes.iter_mut().zip(keys.iter()) {
            let name = Name::of(key);
            let mut shard = write(self.shard(&name));
            // Whoever wants what is wanted already shares the wish: it was there before their load was sent too.
            if let Some(entry) = shard.entries.get_mut(&name) {
                entry.wanted = true;
                *place = Some((name, entry.number));
                continue;
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            *place = Some((name, number));
            let entry = Entry { number, wanted: true, kept: None, used: AtomicBool::new(false) };
            shard.bytes = shard.bytes.saturating_add(entry.weight());
            shard.entries.insert(name, entry);
            shard.order.push_back((name, number));
            self.evicted.fetch_add(shard.shrink(self.bytes_max), Ordering::Relaxed);
        }
        Wanted { wishes }
    }

    /// An answer to a load has come over this line. To be called by its reader, in the order of arrival.
    pub fn arrived(&self, line: &Arc<Line>, wanted: &Wanted, key: &Key, fact: &Fact) {
        let name = Name::of(key);
        let wish = wanted.wishes.iter().flatten().find(|(own, _)| *own == name);
        let (Some((_, number)), true) = (wish, line.open.load(Ordering::Acquire)) else { return };
        let mut shard = write(self.shard(&name));
        let Some(entry) = shard.entries.get_mut(&name) else { return };
        if entry.number != *number || !entry.wanted {
            return;
        }
        let before = entry.weight();
        entry.wanted = false;
        // What cannot be read is worth no room.
        entry.kept =
            (!matches!(fact, Fact::Unreadable(_))).then(|| Kept { fact: fact.clone(), line: Arc::clone(line) });
        let after = entry.weight();
        shard.bytes = shard.bytes.saturating_sub(before).saturating_add(after);
        self.evicted.fetch_add(shard.shrink(self.bytes_max), Ordering::Relaxed);
    }

    /// A push says that the record of this name, without the operator's prefix, has changed. To be called by the line's reader, in
    /// the order of arrival.
    pub fn changed(&self, name: &[u8]) {
        if let Some(name) = Name::parse(name) {
            write(self.shard(&name)).remove(&name);
        }
    }

    /// A push says that anything may have changed.
    pub fn all_changed(&self) {
        for shard in &self.shards {
            let mut shard = write(shard);
            shard.entries.clear();
            shard.order.clear();
            shard.bytes = 0;
        }
    }

    /// A commit of these keys is about to be sent. When what is handed out is dropped, which must be before anybody hears of the
    /// outcome, nothing is kept of what was loaded before.
    #[must_use]
    pub fn barred(&self, keys: impl Iterator<Item = Key>) -> Barred<'_> {
        let mut names = [None; KEYS_MAX];
        for (place, key) in names.iter_mut().zip(keys) {
            *place = Some(Name::of(&key));
        }
        Barred { cache: self, names }
    }

    /// The store itself has said this, on another connection. What is kept of another version is gone before anybody acts on it: a
    /// commit whose outcome nobody knew may have landed.
    pub fn seen(&self, facts: &Facts) {
        for (key, fact) in facts.iter() {
            let name = Name::of(key);
            let same = |entry: &Entry| {
                let kept = entry.kept.as_ref().map(|kept| version(&kept.fact));
                !entry.wanted && kept == Some(version(fact))
            };
            let known = read(self.shard(&name)).entries.get(&name).map(same);
            if known == Some(false) {
                write(self.shard(&name)).remove(&name);
            }
        }
    }

    /// About how many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).bytes).sum()
    }

    /// How often everything that was asked for was at hand, and how often not.
    #[must_use]
    pub fn hits_and_misses(&self) -> (usize, usize) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// How many entries gave way to others.
    #[must_use]
    pub fn evicted(&self) -> usize {
        self.evicted.load(Ordering::Relaxed)
    }

    fn read(&self, keys: &Keys, serves: impl Fn(&Line) -> bool) -> Option<Facts> {
        let mut facts: Option<Facts> = None;
        for key in keys.iter() {
            let name = Name::of(key);
            let shard = read(self.shard(&name));
            let entry = shard.entries.get(&name)?;
            let kept = entry.kept.as_ref().filter(|kept| serves(&kept.line))?;
            if !entry.used.load(Ordering::Relaxed) {
                entry.used.store(true, Ordering::Relaxed);
            }
            facts.get_or_insert_with(|| Facts::new(kept.line.epoch)).add(*key, kept.fact.clone());
        }
        facts
    }

    fn shard(&self, name: &Name) -> &RwLock<Shard> {
        // A partition's name is a digest already; inside of a shard, names are hashed with a seed.
        let [first, ..] = name.partition;
        self.shards.get(usize::from(first) % SHARDS).unwrap_or(&self.shards[0])
    }
}

/// Keys whose commit is under way.
pub struct Barred<'a> {
    cache: &'a NearCache,
    names: [Option<Name>; KEYS_MAX],
}

impl Drop for Barred<'_> {
    fn drop(&mut self) {
        for name in self.names.iter().flatten() {
            write(self.cache.shard(name)).remove(name);
        }
    }
}

fn version(fact: &Fact) -> Option<[u8; 16]> {
    match fact {
        Fact::Absent => None,
        Fact::Found(stored) => Some(stored.stamp.0),
        Fact::Unreadable(stamp) => Some(stamp.0),
    }
}

/// A lock whose holder panicked guards a map that is at worst without an entry: whoever misses one loads it.
fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_domain::fresh::Stamp;
    use portcullis_domain::key::{AssertionId, ClientHash, Person, ProviderSession};
    use portcullis_domain::operation::Stored;
    use portcullis_domain::record::Record;
    use portcullis_domain::time::Timestamp;

    const EPOCH: Epoch = Epoch([9; 16]);

    fn key(person: u8) -> Key {
        Key::Grant(GrantId { person: Person([person; 16]), login: [1; 16] })
    }

    fn fact(version: u8) -> Fact {
        let stored = Stored { record: Arc::new(Record::Mark), stamp: Stamp([version; 16]), until: Timestamp::FAR };
        Fact::Found(stored)
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn cache() -> NearCache {
        NearCache::new(1 << 20, Duration::ZERO)
    }

    /// A line whose PING of this moment has been answered.
    fn line(sent: u64) -> Arc<Line> {
        let line = Line::new(EPOCH);
        line.answered(at(sent));
        line
    }

    fn keep(cache: &NearCache, line: &Arc<Line>, key: Key, fact: &Fact) {
        let wanted = cache.want(&Keys::of([key]));
        cache.arrived(line, &wanted, &key, fact);
    }

    fn found(cache: &NearCache, key: Key, now: u64) -> Option<Option<[u8; 16]>> {
        let facts = cache.at_hand(&Keys::of([key]), at(now))?;
        Some(version(facts.of(&key).unwrap()))
    }

    #[test]
    fn a_name_in_a_push_is_the_name_of_its_key() {
        let id = GrantId { person: Person([3; 16]), login: [4; 16] };
        let cuts = [
            CutScope::All,
            CutScope::Client(ClientHash([5; 32])),
            CutScope::Person(id.person),
            CutScope::ProviderSession(ProviderSession([6; 16])),
        ];
        let mark = Key::AssertionMark(AssertionId([7; 16]));
        let others = [Key::Grant(id), Key::FlowMark(id), Key::Identity(id.person), Key::RingCheck, mark];
        for key in cuts.map(Key::Cut).into_iter().chain(others) {
            assert_eq!(Name::parse(key.to_string().as_bytes()), Some(Name::of(&key)), "{key}");
        }
        for strange in ["", "{", "{}:cut", "{AwMDAwMDAwMDAwMDAwMDAw}:cuts", "{AwMDAwMDAwMDAwMDAwMDAw}", "x{}"] {
            assert_eq!(Name::parse(strange.as_bytes()), None, "{strange}");
        }
    }

    #[test]
    fn what_arrived_is_at_hand_absence_too_and_all_of_it_or_nothing() {
        let (cache, line) = (cache(), line(1_000));
        keep(&cache, &line, key(1), &fact(7));
        keep(&cache, &line, key(2), &Fact::Absent);
        assert_eq!(found(&cache, key(1), 1_001), Some(Some([7; 16])));
        assert_eq!(found(&cache, key(2), 1_001), Some(None));
        let both = cache.at_hand(&Keys::of([key(1), key(2)]), at(1_001)).unwrap();
        assert_eq!(both.epoch(), EPOCH);
        assert!(cache.at_hand(&Keys::of([key(1), key(3)]), at(1_001)).is_none());
        keep(&cache, &line, key(4), &Fact::Unreadable(Stamp([1; 16])));
        assert_eq!(found(&cache, key(4), 1_001), None);
    }

    #[test]
    fn p05_without_a_lease_nothing_is_served() {
        let (cache, line) = (cache(), Line::new(EPOCH));
        keep(&cache, &line, key(1), &fact(7));
        assert_eq!(found(&cache, key(1), 0), None, "no PING has been answered");
        line.answered(at(1_000));
        assert!(found(&cache, key(1), 1_699).is_some());
        assert_eq!(found(&cache, key(1), 1_700), None, "a PING of 700 ms ago");
        line.answered(at(1_250));
        line.answered(at(1_000));
        assert!(found(&cache, key(1), 1_949).is_some(), "an older PING takes nothing away");
        line.close();
        assert_eq!(found(&cache, key(1), 1_300), None, "a connection that has ended tells nothing any more");
    }

    #[test]
    fn every_line_needs_its_own_lease() {
        let (cache, first, second) = (cache(), line(1_000), line(1_500));
        keep(&cache, &first, key(1), &fact(1));
        keep(&cache, &second, key(2), &fact(2));
        let both = Keys::of([key(1), key(2)]);
        assert!(cache.at_hand(&both, at(1_600)).is_some());
        assert!(cache.at_hand(&both, at(1_800)).is_none(), "the first one's has ended");
        assert!(found(&cache, key(2), 1_800).is_some());
    }

    #[test]
    fn p05_what_has_changed_is_gone_and_a_load_of_before_does_not_bring_it_back() {
        let (cache, line) = (cache(), line(1_000));
        keep(&cache, &line, key(1), &fact(7));
        let wanted = cache.want(&Keys::of([key(1)]));
        cache.changed(key(1).to_string().as_bytes());
        assert_eq!(found(&cache, key(1), 1_001), None);
        cache.arrived(&line, &wanted, &key(1), &fact(7));
        assert_eq!(found(&cache, key(1), 1_001), None, "it was asked for before the change was heard of");
        let again = cache.want(&Keys::of([key(1)]));
        cache.arrived(&line, &wanted, &key(1), &fact(7));
        assert_eq!(found(&cache, key(1), 1_001), None, "another wish does not revive the old one");
        cache.arrived(&line, &again, &key(1), &fact(8));
        assert_eq!(found(&cache, key(1), 1_001), Some(Some([8; 16])));
        cache.all_changed();
        assert_eq!((found(&cache, key(1), 1_001), cache.bytes()), (None, 0));
    }

    #[test]
    fn p05_a_commit_of_our_own_bars_what_was_loaded_before_it_ended() {
        let (cache, line) = (cache(), line(1_000));
        keep(&cache, &line, key(1), &fact(7));
        let before = cache.want(&Keys::of([key(1)]));
        let barred = cache.barred([key(1)].into_iter());
        let during = cache.want(&Keys::of([key(1)]));
        cache.arrived(&line, &during, &key(1), &fact(7));
        drop(barred);
        assert_eq!(found(&cache, key(1), 1_001), None, "before anybody hears of it");
        cache.arrived(&line, &before, &key(1), &fact(7));
        cache.arrived(&line, &during, &key(1), &fact(7));
        assert_eq!(found(&cache, key(1), 1_001), None);
    }

    #[test]
    fn p05_what_the_store_says_elsewhere_takes_away_what_differs() {
        let (cache, line) = (cache(), line(1_000));
        keep(&cache, &line, key(1), &fact(7));
        cache.seen(&Facts::new(EPOCH).with(key(1), fact(7)));
        assert!(found(&cache, key(1), 1_001).is_some());
        cache.seen(&Facts::new(EPOCH).with(key(1), fact(8)));
        assert_eq!(found(&cache, key(1), 1_001), None);
        let wanted = cache.want(&Keys::of([key(1)]));
        cache.seen(&Facts::new(EPOCH).with(key(1), fact(8)));
        cache.arrived(&line, &wanted, &key(1), &fact(7));
        assert_eq!(found(&cache, key(1), 1_001), None);
    }

    #[test]
    fn those_who_want_the_same_at_once_are_served_by_the_first_answer() {
        let (cache, line) = (cache(), line(1_000));
        let (first, second) = (cache.want(&Keys::of([key(1)])), cache.want(&Keys::of([key(1)])));
        cache.arrived(&line, &first, &key(1), &fact(7));
        assert_eq!(found(&cache, key(1), 1_001), Some(Some([7; 16])), "however many more are on their way");
        cache.arrived(&line, &second, &key(1), &fact(6));
        assert_eq!(found(&cache, key(1), 1_001), Some(Some([7; 16])), "one wish, one answer");
    }

    #[test]
    fn an_answer_over_a_line_that_has_ended_is_not_kept() {
        let (cache, line) = (cache(), line(1_000));
        let wanted = cache.want(&Keys::of([key(1)]));
        line.close();
        cache.arrived(&line, &wanted, &key(1), &fact(7));
        line.answered(at(1_000));
        assert_eq!(found(&cache, key(1), 1_001), None);
        let next = Line::new(EPOCH);
        next.answered(at(1_100));
        keep(&cache, &next, key(1), &fact(8));
        assert_eq!(found(&cache, key(1), 1_101), Some(Some([8; 16])));
    }

    #[test]
    fn while_the_store_is_away_it_is_served_as_long_as_the_operator_allows() {
        let stale = |stale_for: u64, now: u64, change: bool| {
            let (cache, line) = (NearCache::new(1 << 20, at(stale_for)), line(1_000));
            keep(&cache, &line, key(1), &fact(7));
            line.close();
            if change {
                drop(cache.barred([key(1)].into_iter()));
            }
            cache.stale(&Keys::of([key(1)]), at(now)).is_some()
        };
        assert!(!stale(0, 1_001, false), "out of the box not at all");
        assert!(stale(5_000, 6_699, false) && !stale(5_000, 6_700, false), "from the end of the lease");
        assert!(!stale(5_000, 1_001, true), "what has changed by our own hand is never served");
    }

    #[test]
    fn t249_it_is_bounded_and_what_is_asked_for_stays() {
        let cache = NearCache::new(SHARDS * 10 * (ENTRY_WEIGHT + size_of::<Record>()), Duration::ZERO);
        let line = line(1_000);
        let login = |login: u8| Key::Grant(GrantId { person: Person([0; 16]), login: [login; 16] });
        keep(&cache, &line, login(0), &fact(7));
        for other in 1..=200 {
            keep(&cache, &line, login(other), &fact(7));
            assert!(found(&cache, login(0), 1_001).is_some(), "{other}");
            assert!(cache.bytes() <= 10 * (ENTRY_WEIGHT + size_of::<Record>()));
        }
        assert_eq!(found(&cache, login(1), 1_001), None);
        assert!(found(&cache, login(200), 1_001).is_some());
        let shard = read(cache.shard(&Name::of(&login(0))));
        assert!(shard.order.len() <= 2 * shard.entries.len() + 16, "{}", shard.order.len());
    }

    #[test]
    fn wishes_that_are_never_answered_are_bounded_too() {
        let cache = NearCache::new(SHARDS * 10 * ENTRY_WEIGHT, Duration::ZERO);
        for login in 0..=200 {
            let _never = cache.want(&Keys::of([Key::Grant(GrantId { person: Person([0; 16]), login: [login; 16] })]));
        }
        assert!(cache.bytes() <= 10 * ENTRY_WEIGHT);
        for _ in 0..1_000 {
            let _never = cache.want(&Keys::of([key(1)]));
            cache.changed(key(1).to_string().as_bytes());
        }
        assert!(read(cache.shard(&Name::of(&key(1)))).order.len() < 64, "what is gone is struck out");
    }
}
