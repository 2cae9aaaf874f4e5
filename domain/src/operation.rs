//! The one shape of every state change and every reading.
//!
//! ```text
//!            Operation                                   Question
//!  reads ──► own facts ──► consults ──► facts             asks ──► facts ──► then ──► facts
//!              decide(facts, now, fresh)                     decide(facts, now)
//!        Answer(reply) │ Commit(writes, sealed reply)             reply
//! ```
//!
//! `portcullis-ports` drives both. A decision that writes seals its reply; only the store's [`Landed`] opens it. So a token
//! cannot leave before the record that forbids its second issue has landed.

use crate::fresh::{Fresh, Stamp};
use crate::journal::Event;
use crate::key::{Key, Partition};
use crate::limits::KEYS_MAX;
use crate::oauth::fault::Fault;
use crate::record::Record;
use crate::time::Timestamp;
use std::sync::Arc;

/// A state change: it reads records of one partition, consults cuts outside it, and decides.
pub trait Operation: Send + Sync + 'static {
    /// What it answers when it succeeds.
    type Reply: Send + 'static;

    /// The records, all of one partition, that it may read and write. Known from the request alone. A decision that
    /// writes lands only if none of them has changed since.
    fn reads(&self) -> Keys;

    /// Records outside that partition, asked for after it is loaded: read, but not fenced. Whatever is consulted here
    /// when something is issued, admission consults again, so that a stale reading mints nothing that works.
    fn consults(&self, own: &Facts) -> Keys;

    /// Judges. Pure: the same arguments give the same decision.
    fn decide(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Decision<Self::Reply>;
}

/// A reading: any records in at most two steps, no writes.
pub trait Question: Send + Sync {
    /// What it answers when it succeeds.
    type Reply: Send;

    /// The records to begin with.
    fn asks(&self) -> Keys;

    /// Records that only the first ones name.
    fn then(&self, first: &Facts) -> Keys;

    /// Judges.
    ///
    /// # Errors
    /// A [`Fault`] when the answer is no.
    fn decide(&self, facts: &Facts, now: Timestamp) -> Result<Self::Reply, Fault>;
}

/// A bounded list of keys, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    list: [Option<Key>; KEYS_MAX],
}

impl Keys {
    /// No keys.
    pub const NONE: Self = Self { list: [None; KEYS_MAX] };

    /// These keys. More than [`KEYS_MAX`] do not compile.
    #[must_use]
    pub fn of<const N: usize>(keys: [Key; N]) -> Self {
        const { assert!(N <= KEYS_MAX, "one reading holds KEYS_MAX keys") };
        let mut list = [None; KEYS_MAX];
        for (place, key) in list.iter_mut().zip(keys) {
            *place = Some(key);
        }
        Self { list }
    }

    /// These keys and one more, if there is one.
    #[must_use]
    pub fn and(mut self, key: Option<Key>) -> Self {
        debug_assert!(key.is_none() || self.len() < KEYS_MAX, "one reading holds KEYS_MAX keys");
        if let Some(place) = self.list.iter_mut().find(|place| place.is_none()) {
            *place = key;
        }
        self
    }

    /// The keys.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.list.iter().flatten()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The one partition that all of them live in, if they do.
    #[must_use]
    pub fn partition(&self) -> Option<Partition> {
        let mut all = self.iter().map(Key::partition);
        let first = all.next()?;
        all.all(|other| other == first).then_some(first)
    }
}

/// Which life of the store answered: it changes when the store may have lost acknowledged writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Epoch(pub [u8; 16]);

/// A record as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The record, decoded.
    pub record: Arc<Record>,
    /// Its version.
    pub stamp: Stamp,
    /// From here on it does not count, whether the store still has it or not.
    pub until: Timestamp,
}

/// What the store says of one key. Being unavailable is an error of the call, never a fact.
#[derive(Clone, Debug)]
pub enum Fact {
    /// There is no record.
    Absent,
    /// There is one.
    Found(Stored),
    /// There is one, and no key of the ring opens it (any more): it counts against whoever relies on it.
    Unreadable(Stamp),
}

/// The facts of one reading.
#[derive(Clone, Debug)]
pub struct Facts {
    list: [Option<(Key, Fact)>; KEYS_MAX],
    epoch: Epoch,
}

impl Facts {
    /// No facts yet, from a store in this epoch.
    #[must_use]
    pub const fn new(epoch: Epoch) -> Self {
        Self { list: [const { None }; KEYS_MAX], epoch }
    }

    /// One more fact.
    #[must_use]
    pub fn with(mut self, key: Key, fact: Fact) -> Self {
        self.add(key, fact);
        self
    }

    /// One more fact.
    pub fn add(&mut self, key: Key, fact: Fact) {
        debug_assert!(self.list.iter().any(Option::is_none), "one reading holds KEYS_MAX facts");
        if let Some(place) = self.list.iter_mut().find(|place| place.is_none()) {
            *place = Some((key, fact));
        }
    }

    /// The facts of a second reading beside these. The epoch stays that of the first.
    pub fn join(&mut self, second: Self) {
        for (key, fact) in second.list.into_iter().flatten() {
            self.add(key, fact);
        }
    }

    /// The epoch of the node that answered.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// All facts.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Fact)> {
        self.list.iter().flatten().map(|(key, fact)| (key, fact))
    }

    /// What is known of one key.
    ///
    /// # Errors
    /// [`Fault::Internal`] if it was never asked for: absence must not be made up.
    pub fn of(&self, key: &Key) -> Result<&Fact, Fault> {
        self.iter()
            .find(|(found, _)| *found == key)
            .map(|(_, fact)| fact)
            .ok_or(Fault::Internal("a record was relied on that was never asked for"))
    }

    /// The record of a key if it is there, can be read and still counts at `now`.
    ///
    /// # Errors
    /// As [`Facts::of`].
    pub fn standing(&self, key: &Key, now: Timestamp) -> Result<Option<&Stored>, Fault> {
        Ok(match self.of(key)? {
            Fact::Found(stored) if now < stored.until => Some(stored),
            Fact::Found(_) | Fact::Absent | Fact::Unreadable(_) => None,
        })
    }
}

/// One record to be written.
#[derive(Clone, Debug)]
pub struct Write {
    /// Where.
    pub key: Key,
    /// Its new version.
    pub stamp: Stamp,
    /// From here on it does not count.
    pub until: Timestamp,
    /// What.
    pub record: Arc<Record>,
    /// Whether replicas should have it before it is acknowledged, where the store can do that: for revocations.
    pub durable: bool,
}

/// What a decision came to.
#[derive(Debug)]
pub enum Decision<R> {
    /// Nothing to write.
    Answer {
        /// The reply, or the refusal.
        reply: Result<R, Fault>,
        /// What the journal is told.
        events: Vec<Event>,
    },
    /// Writes that must land before anybody hears the reply. A refusal may write too: a replay revokes.
    Commit {
        /// All or none.
        writes: Vec<Write>,
        /// The reply, or the refusal, for after they have landed.
        reply: Sealed<Result<R, Fault>>,
        /// What the journal is told after they have landed.
        events: Vec<Event>,
    },
}

impl<R> Decision<R> {
    /// A refusal that changes nothing and is not worth an event.
    #[must_use]
    pub const fn refuse(fault: Fault) -> Self {
        Self::Answer { reply: Err(fault), events: Vec::new() }
    }

    /// An answer that changes nothing.
    #[must_use]
    pub const fn answer(reply: R) -> Self {
        Self::Answer { reply: Ok(reply), events: Vec::new() }
    }

    /// An answer for after these writes have landed.
    #[must_use]
    pub const fn commit(writes: Vec<Write>, reply: Result<R, Fault>) -> Self {
        Self::Commit { writes, reply: Sealed(reply), events: Vec::new() }
    }

    /// The same decision, and the journal is told.
    #[must_use]
    pub fn noting(mut self, event: Event) -> Self {
        match &mut self {
            Self::Answer { events, .. } | Self::Commit { events, .. } => events.push(event),
        }
        self
    }
}

impl<R> From<Result<Self, Fault>> for Decision<R> {
    /// A judgement that can break off with `?`: whatever broke it off is the refusal, and nothing is written.
    fn from(judged: Result<Self, Fault>) -> Self {
        judged.unwrap_or_else(Self::refuse)
    }
}

/// A reply that nobody hears before its writes have landed.
#[derive(Debug)]
pub struct Sealed<T>(T);

impl<T> Sealed<T> {
    /// Opens it: the writes that it waited for have landed.
    #[must_use]
    pub fn open(self, _proof: &Landed) -> T {
        self.0
    }
}

/// All writes of one commit are in the store. Made by stores, and by whoever finds a commit's stamp in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landed {
    /// How many replicas have acknowledged it, where that was asked for.
    pub acknowledged: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{CutScope, GrantId, Person};

    #[test]
    fn keys_know_their_partition() {
        let id = GrantId { person: Person([1; 16]), login: [2; 16] };
        let own = Keys::of([Key::Grant(id), Key::Identity(id.person)]);
        assert_eq!(own.partition(), Some(Partition([1; 16])));
        assert_eq!(own.and(Some(Key::Cut(CutScope::All))).partition(), None);
        assert_eq!(own.and(None), own);
        assert_eq!(Keys::NONE.partition(), None);
        assert_eq!(own.len(), 2);
    }

    #[test]
    fn p09_a_record_that_was_never_asked_for_is_no_absent_record() {
        let facts = Facts::new(Epoch::default()).with(Key::RingCheck, Fact::Absent);
        assert!(matches!(facts.standing(&Key::RingCheck, Timestamp::EPOCH), Ok(None)));
        assert!(matches!(facts.standing(&Key::Cut(CutScope::All), Timestamp::EPOCH), Err(Fault::Internal(_))));
    }
}
