//! Stores to prove the engine with: one that keeps bytes, and one that fails at the n-th call.

use super::world::{START, locked};
use portcullis_domain::key::Key;
use portcullis_domain::operation::{Epoch, Fact, Facts, Keys, Landed, Write};
use portcullis_domain::record::Sealer;
use portcullis_ports::{Outcome, Seen, Store, Unavailable};
use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Keeps what a store outside the process would keep: sealed bytes. Every commit and every load is one step.
pub(crate) struct Bytes {
    sealer: Sealer,
    epoch: Epoch,
    records: Mutex<BTreeMap<Key, Vec<u8>>>,
}

impl Bytes {
    /// An empty one.
    pub(crate) fn new(sealer: Sealer, epoch: Epoch) -> Self {
        Self { sealer, epoch, records: Mutex::default() }
    }

    /// The bytes under a key.
    pub(crate) fn raw(&self, key: &Key) -> Option<Vec<u8>> {
        locked(&self.records).get(key).cloned()
    }

    /// Puts bytes under a key, as somebody with a hand in the store could.
    pub(crate) fn put_raw(&self, key: Key, bytes: Vec<u8>) {
        locked(&self.records).insert(key, bytes);
    }

    fn read(&self, keys: Keys) -> Result<Facts, Unavailable> {
        let records = locked(&self.records);
        facts(&self.sealer, &records, keys, self.epoch)
    }

    fn write(&self, seen: &Seen, writes: &[Write]) -> Outcome {
        let mut records = locked(&self.records);
        if seen.epoch() != self.epoch || !stands(&records, seen) {
            return Outcome::Stale;
        }
        let sealed: Option<Vec<_>> = writes.iter().map(|write| self.sealer.seal(write, START).ok()).collect();
        let Some(sealed) = sealed else { return Outcome::Full };
        for (write, bytes) in writes.iter().zip(sealed) {
            records.insert(write.key, bytes);
        }
        Outcome::Landed(Landed { acknowledged: 0 })
    }
}

/// What these bytes say of these keys.
pub(crate) fn facts(
    sealer: &Sealer,
    records: &BTreeMap<Key, Vec<u8>>,
    keys: Keys,
    epoch: Epoch,
) -> Result<Facts, Unavailable> {
    let mut facts = Facts::new(epoch);
    for key in keys.iter() {
        let fact = match records.get(key) {
            Some(bytes) => sealer.open(key, bytes).map_err(|_| Unavailable)?,
            None => Fact::Absent,
        };
        facts.add(*key, fact);
    }
    Ok(facts)
}

/// Whether everything that was seen is as it was.
pub(crate) fn stands(records: &BTreeMap<Key, Vec<u8>>, seen: &Seen) -> bool {
    seen.iter().all(|(key, stamp)| records.get(key).and_then(|bytes| Sealer::stamp(bytes)) == stamp)
}

impl Store for Bytes {
    fn load(&self, keys: Keys) -> impl Future<Output = Result<Facts, Unavailable>> + Send {
        ready(self.read(keys))
    }

    fn commit(&self, seen: Seen, writes: Vec<Write>) -> impl Future<Output = Outcome> + Send {
        ready(self.write(&seen, &writes))
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It never reached the store.
    Before,
    /// The store did it, and the answer was lost.
    After,
}

/// How long calls fail from the n-th on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// That one.
    Once,
    /// Until [`Failing::heal`].
    UntilHealed,
}

/// A store whose n-th call, counted from zero, fails.
pub(crate) struct Failing<S> {
    inner: Arc<S>,
    at: usize,
    failure: Failure,
    span: Span,
    calls: AtomicUsize,
    healed: AtomicBool,
}

impl<S> Failing<S> {
    /// Over this store.
    pub(crate) fn new(inner: Arc<S>, at: usize, failure: Failure, span: Span) -> Self {
        Self { inner, at, failure, span, calls: AtomicUsize::new(0), healed: AtomicBool::new(false) }
    }

    /// Whether the call that fails has come.
    pub(crate) fn reached(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > self.at
    }

    /// Nothing fails any more, if anything has failed.
    pub(crate) fn heal(&self) {
        if self.reached() {
            self.healed.store(true, Ordering::Relaxed);
        }
    }

    fn fails(&self) -> Option<Failure> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let fails = match self.span {
            Span::Once => call == self.at,
            Span::UntilHealed => call >= self.at && !self.healed.load(Ordering::Relaxed),
        };
        fails.then_some(self.failure)
    }
}

impl<S: Store> Store for Failing<S> {
    async fn load(&self, keys: Keys) -> Result<Facts, Unavailable> {
        match self.fails() {
            Some(_) => Err(Unavailable),
            None => self.inner.load(keys).await,
        }
    }

    async fn commit(&self, seen: Seen, writes: Vec<Write>) -> Outcome {
        match self.fails() {
            Some(Failure::Before) => Outcome::Unknown,
            Some(Failure::After) => match self.inner.commit(seen, writes).await {
                Outcome::Landed(_) | Outcome::Unknown => Outcome::Unknown,
                other => other,
            },
            None => self.inner.commit(seen, writes).await,
        }
    }
}
