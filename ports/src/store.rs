//! The store port: two verbs, and no knowledge of what is stored.

use portcullis_domain::fresh::Stamp;
use portcullis_domain::key::Key;
use portcullis_domain::limits::KEYS_MAX;
use portcullis_domain::operation::{Epoch, Fact, Facts, Keys, Landed, Write};
use std::future::Future;

/// The store does not answer, or not with anything that could be believed. Never an absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All writes are in the store, and every later `load`, by whomever, sees them.
    Landed(Landed),
    /// None of the writes is in the store: something in `seen` has changed, or the store's epoch has.
    Stale,
    /// None of the writes is in the store, and trying again will not help now: there is no room.
    Full,
    /// None of the writes is in the store, and it takes none now.
    Away,
    /// All writes are in the store, and too few replicas have said in time that they have them too: they may be lost again.
    Undurable,
    /// Either all writes are in the store, or none is, or all will be later, unless something in `seen` changes first.
    Unknown,
}

/// The versions that a commit relies on: a stamp, or that there is no record; and the epoch in which they were seen.
///
/// The epoch is part of it because a failover that loses writes brings old stamps back: what was decided on them before must
/// not land after, or a code whose redemption was lost would be redeemed a second time.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    list: [Option<(Key, Option<Stamp>)>; KEYS_MAX],
    epoch: Epoch,
}

impl Seen {
    /// The versions behind these facts.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        let mut list = [None; KEYS_MAX];
        for (place, (key, fact)) in list.iter_mut().zip(facts.iter()) {
            let stamp = match fact {
                Fact::Absent => None,
                Fact::Found(stored) => Some(stored.stamp),
                Fact::Unreadable(stamp) => Some(*stamp),
            };
            *place = Some((*key, stamp));
        }
        Self { list, epoch: facts.epoch() }
    }

    /// The epoch that they were seen in.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The keys with their versions.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Option<Stamp>)> {
        self.list.iter().flatten().map(|(key, stamp)| (key, *stamp))
    }
}

/// Where records are kept.
///
/// The contract, which the contract suite states as tests: commits to one partition are linearizable, also across processes; a
/// commit writes all or nothing, and only if every version in `seen` still stands and the epoch is the same; `load` of one
/// partition sees one state of it; a record stays until its `until` plus `BROOM_DELAY`, and may go any time after.
pub trait Store: Send + Sync + 'static {
    /// What the store says of these keys, straight from the place where commits land, and in which epoch.
    fn load(&self, keys: Keys) -> impl Future<Output = Result<Facts, Unavailable>> + Send;

    /// The same for questions: it may come from a copy that lags by less than the published bound.
    fn recall(&self, keys: Keys) -> impl Future<Output = Result<Facts, Unavailable>> + Send {
        self.load(keys)
    }

    /// The same for questions, if it can be said without waiting, from what is in memory; nothing if the store must be asked.
    fn at_hand(&self, _keys: &Keys) -> Option<Facts> {
        None
    }

    /// Writes all or nothing. All keys, of `seen` and of `writes`, are of one partition, and every key written was seen.
    fn commit(&self, seen: Seen, writes: Vec<Write>) -> impl Future<Output = Outcome> + Send;
}
