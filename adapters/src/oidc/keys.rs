//! The provider's keys as they were last read, and whose turn it is to read them again.

use super::Trouble;
use portcullis_domain::jose::jwk::KeySet;
use portcullis_ports::Unreachable;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

/// The last good key set, with the queue of those who want a newer one.
pub(super) struct Cache {
    kept: RwLock<Option<Kept>>,
    queue: Arc<Mutex<Last>>,
    refetch_pause: Duration,
    kept_for: Duration,
}

#[derive(Clone)]
struct Kept {
    keys: Arc<KeySet>,
    read_at: Instant,
}

/// How the last reading that counts went.
#[derive(Default)]
struct Last {
    not_before: Option<Instant>,
    failed: bool,
}

/// The right to read the keys, held by one at a time.
pub(super) struct Turn {
    last: OwnedMutexGuard<Last>,
    for_any: bool,
}

impl Turn {
    /// Whether the last reading was just now.
    pub(super) fn is_too_soon(&self) -> bool {
        self.last.not_before.is_some_and(|begin| Instant::now() < begin)
    }

    /// Whether the last reading brought nothing.
    pub(super) fn last_failed(&self) -> bool {
        self.last.failed
    }

    /// A turn of somebody who takes any keys, because there are none. If it succeeds it does not count: the provider may
    /// change its keys right after, and the first token to say so must not have to wait.
    pub(super) fn wanting_any(self) -> Self {
        Self { for_any: true, ..self }
    }
}

impl Cache {
    pub(super) fn new(refetch_pause: Duration, kept_for: Duration) -> Self {
        Self { kept: RwLock::default(), queue: Arc::default(), refetch_pause, kept_for }
    }

    /// The keys, if they are not too old to be believed.
    pub(super) fn good(&self) -> Option<Arc<KeySet>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|kept| kept.read_at.elapsed() < self.kept_for).map(|kept| Arc::clone(&kept.keys))
    }

    /// Whether they were read no longer ago than this.
    pub(super) fn is_younger(&self, age: Duration) -> bool {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().is_some_and(|kept| kept.read_at.elapsed() < age)
    }

    /// Puts a good set in the place of the old one: keys that are not in it are gone.
    pub(super) fn keep(&self, keys: KeySet) -> Arc<KeySet> {
        let keys = Arc::new(keys);
        let kept = Kept { keys: Arc::clone(&keys), read_at: Instant::now() };
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        keys
    }

    /// Waits for one's turn.
    pub(super) async fn turn(&self) -> Turn {
        Turn { last: Arc::clone(&self.queue).lock_owned().await, for_any: false }
    }

    /// Ends a turn in which the keys were read.
    pub(super) fn settle(&self, mut turn: Turn, good: bool) {
        if !(good && turn.for_any) {
            turn.last.not_before = Instant::now().checked_add(self.refetch_pause);
        }
        turn.last.failed = !good;
    }
}

/// Whoever can read keys anew.
pub(super) trait Source: Send + Sync + 'static {
    /// Where they are kept.
    fn cache(&self) -> &Cache;

    /// Reads them, and keeps them.
    fn read_keys(&self) -> impl Future<Output = Result<Arc<KeySet>, Trouble>> + Send;
}

/// The keys, from memory where they are recent enough.
pub(super) async fn keys<S: Source>(source: &Arc<S>) -> Result<Arc<KeySet>, Unreachable> {
    let cache = source.cache();
    if let Some(keys) = cache.good() {
        return Ok(keys);
    }
    let turn = cache.turn().await;
    // Whoever had the turn before may have brought them.
    match cache.good() {
        Some(keys) => Ok(keys),
        None if turn.is_too_soon() => Err(Unreachable),
        None => refetch(source, turn.wanting_any()).await,
    }
}

/// The keys after a token has named one that `known` does not hold.
pub(super) async fn newer_keys<S: Source>(source: &Arc<S>, known: &Arc<KeySet>) -> Result<Arc<KeySet>, Unreachable> {
    let cache = source.cache();
    let newer = || cache.good().filter(|keys| !Arc::ptr_eq(keys, known));
    if let Some(keys) = newer() {
        return Ok(keys);
    }
    let turn = cache.turn().await;
    if let Some(keys) = newer() {
        return Ok(keys);
    }
    match (turn.is_too_soon(), turn.last_failed()) {
        (false, _) => refetch(source, turn).await,
        (true, true) => Err(Unreachable),
        // They were read just now, and what is asked for was not among them.
        (true, false) => cache.good().ok_or(Unreachable),
    }
}

/// The keys, read again if they are older than this. While they cannot be, the old ones are good for as long as they are kept.
pub(super) async fn keys_of_late<S: Source>(source: &Arc<S>, age: Duration) -> Result<Arc<KeySet>, Unreachable> {
    let cache = source.cache();
    if cache.is_younger(age) {
        return keys(source).await;
    }
    let turn = cache.turn().await;
    if cache.is_younger(age) || turn.is_too_soon() {
        return cache.good().ok_or(Unreachable);
    }
    let turn = if cache.good().is_none() { turn.wanting_any() } else { turn };
    match refetch(source, turn).await {
        Ok(keys) => Ok(keys),
        Err(unreachable) => cache.good().ok_or(unreachable),
    }
}

/// Reads the keys anew, in a task of its own: whoever asked may hang up, the others wait for the same answer.
async fn refetch<S: Source>(source: &Arc<S>, turn: Turn) -> Result<Arc<KeySet>, Unreachable> {
    let source = Arc::clone(source);
    let task = tokio::spawn(async move {
        let read = source.read_keys().await;
        if let Err(cause) = read {
            tracing::warn!(%cause, "the keys of an issuer could not be read");
        }
        source.cache().settle(turn, read.is_ok());
        read
    });
    task.await.unwrap_or(Err(Trouble::NoUsableKey)).map_err(|_| Unreachable)
}
