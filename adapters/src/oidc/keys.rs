//! The provider's keys as they were last read, and whose turn it is to read them again.

use portcullis_domain::jose::jwk::KeySet;
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
