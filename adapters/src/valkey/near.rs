//! The near cache, and the links that fill it and tell it of changes.
//!
//! Everything that is put down is put down in the task of the link on which it was read, so nothing that was read before a change
//! is put down after the push that tells of it.
//!
//! A node of a cluster is asked for its deed where another server is asked for a PING: a line is one connection under one deed,
//! and its lease is renewed by the answers that state the same one.

use super::deed::{self, Tenure};
use super::link::{Answered, Batch, Heard, Hearing, Link};
use super::near_cache::{Line, NearCache};
use super::resp::{Value, command};
use crate::pace::Seldom;
use crate::system::SystemClock;
use portcullis_ports::Clock;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The cache, which may be filled over several links.
pub(super) struct Near {
    pub(super) cache: NearCache,
    clock: SystemClock,
    prefix: String,
    leases_lost: AtomicU64,
    said_forbidden: Seldom,
}

/// One link of those that fill it.
pub(super) struct Watch {
    near: Arc<Near>,
    in_cluster: bool,
    tenure: Mutex<Tenure>,
}

impl Near {
    pub(super) fn new(bytes_max: usize, stale_for: Duration, prefix: String) -> Arc<Self> {
        Arc::new(Self {
            cache: NearCache::new(bytes_max, stale_for),
            clock: SystemClock::start(),
            prefix,
            leases_lost: AtomicU64::new(0),
            said_forbidden: Seldom::default(),
        })
    }

    /// The time that the cache counts in.
    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// How often all that was read on a connection became suspect, or was given up.
    pub(super) fn leases_lost(&self) -> u64 {
        self.leases_lost.load(Relaxed)
    }

    /// For one more link.
    pub(super) fn watch(self: &Arc<Self>, in_cluster: bool) -> Arc<Watch> {
        Arc::new(Watch { near: Arc::clone(self), in_cluster, tenure: Mutex::new(Tenure::new(in_cluster)) })
    }

    fn push(&self, items: &[Value]) {
        let [Value::Text(kind), about, ..] = items else { return };
        if kind != b"invalidate" {
            return;
        }
        match about {
            Value::List(names) => {
                for name in names {
                    if let Value::Text(name) = name
                        && let Some(name) = name.strip_prefix(self.prefix.as_bytes())
                    {
                        self.cache.changed(name);
                    }
                }
            }
            // Everything was thrown away at once, or the server has lost count.
            _ => self.cache.all_changed(),
        }
    }
}

impl Watch {
    /// What the link is to tell of what it hears.
    pub(super) fn hearing(self: &Arc<Self>) -> Hearing {
        let watch = Arc::clone(self);
        Box::new(move |heard| match heard {
            Heard::Up { epoch, watches } => watch.change(|tenure| tenure.begin(watches.then_some(epoch))),
            Heard::Renewed(epoch) => watch.change(|tenure| tenure.begin(tenure.watches().then_some(epoch))),
            Heard::Push(items) => watch.near.push(&items),
            Heard::Down => watch.change(|tenure| tenure.begin(None)),
        })
    }

    /// The line that is the link's connection, while what is read on it may be kept.
    pub(super) fn line(&self) -> Option<Arc<Line>> {
        self.tenure().line()
    }

    /// What was read so far is not served any more: the cluster says that the node has other slots now.
    pub(super) fn forget(&self) {
        self.change(Tenure::forget);
    }

    /// Has the lease of the link's connection renewed, if the server tells of changes on it.
    pub(super) fn renew(self: &Arc<Self>, link: &Link) {
        if !self.tenure().watches() {
            return;
        }
        let batch = if self.in_cluster { deed::question() } else { Batch::one(command(&[b"PING"])) };
        // Counted from before it waits to be sent, so that waiting makes a lease shorter and not longer.
        let (watch, sent) = (Arc::clone(self), self.near.now());
        link.send_then(batch, move |answered| {
            if let Ok(Answered { value, .. }) = answered {
                watch.complain(&value);
                watch.change(|tenure| tenure.answered(&value, sent, watch.near.now()));
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Tenure) -> u64) {
        let lost = change(&mut self.tenure());
        self.near.leases_lost.fetch_add(lost, Relaxed);
    }

    fn complain(&self, answers: &Value) {
        if self.in_cluster && deed::is_forbidden(answers) && self.near.said_forbidden.may() {
            tracing::warn!(
                "every question is put to the cluster, because the user may not ask who has what: give it +cluster|info and \
                 +cluster|nodes"
            );
        }
    }

    fn tenure(&self) -> MutexGuard<'_, Tenure> {
        self.tenure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Watch").field("in_cluster", &self.in_cluster).finish_non_exhaustive()
    }
}
