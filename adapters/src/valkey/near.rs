//! The near cache, and the links that fill it and tell it of changes.
//!
//! Everything that is put down is put down in the task of the link on which it was read, so nothing that was read before a change
//! is put down after the push that tells of it.
//!
//! A node of a cluster is asked for its deed where another server is asked for a PING: a line is one connection under one deed,
//! and its lease is renewed by the answers that state the same one.

use super::deed::{self, Deed};
use super::link::{Answered, Batch, Heard, Hearing, Link};
use super::near_cache::{Line, NearCache};
use super::resp::{Value, command};
use crate::pace::Seldom;
use crate::system::SystemClock;
use portcullis_domain::operation::Epoch;
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

/// One link of those that fill it: the line that is its present connection, if the server tells of changes on that.
pub(super) struct Watch {
    near: Arc<Near>,
    in_cluster: bool,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    /// The life of the server, while there is a connection on which it tells of changes.
    epoch: Option<Epoch>,
    deed: Option<Deed>,
    line: Option<Arc<Line>>,
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
        Arc::new(Watch { near: Arc::clone(self), in_cluster, watched: Mutex::default() })
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
            Heard::Up { epoch, watches } => watch.begin(watches.then_some(epoch)),
            Heard::Renewed(epoch) => {
                let watched = watch.watched().epoch.is_some();
                watch.begin(watched.then_some(epoch));
            }
            Heard::Push(items) => watch.near.push(&items),
            Heard::Down => watch.begin(None),
        })
    }

    /// The line that is the link's connection, while what is read on it may be kept.
    pub(super) fn line(&self) -> Option<Arc<Line>> {
        self.watched().line.clone()
    }

    /// What was read so far is not served any more: the cluster says that the node has other slots now.
    pub(super) fn forget(&self) {
        self.replace(&mut self.watched(), None, None);
    }

    /// Has the lease of the link's connection renewed, if the server tells of changes on it.
    pub(super) fn renew(self: &Arc<Self>, link: &Link) {
        if self.watched().epoch.is_none() {
            return;
        }
        let batch = if self.in_cluster { deed::question() } else { Batch::one(command(&[b"PING"])) };
        // Counted from before it waits to be sent, so that waiting makes a lease shorter and not longer.
        let (watch, sent) = (Arc::clone(self), self.near.now());
        link.send_then(batch, move |answered| {
            if let Ok(answered) = answered {
                watch.answered(sent, &answered);
            }
        });
    }

    /// Of the connection that there is now, whichever it was when it was asked for.
    fn answered(&self, sent: Duration, answered: &Answered) {
        let mut watched = self.watched();
        if self.in_cluster {
            self.complain(&answered.value);
            let deed = Deed::read(&answered.value);
            if deed != watched.deed {
                let line = watched.epoch.filter(|_| deed.is_some()).map(Line::new);
                self.replace(&mut watched, line, deed);
            }
        }
        if let Some(line) = &watched.line {
            if line.lapsed(self.near.now()) {
                self.near.leases_lost.fetch_add(1, Relaxed);
            }
            line.answered(sent);
        }
    }

    fn begin(&self, epoch: Option<Epoch>) {
        let mut watched = self.watched();
        watched.epoch = epoch;
        // A node of a cluster has yet to state its deed.
        self.replace(&mut watched, epoch.filter(|_| !self.in_cluster).map(Line::new), None);
    }

    /// What came over the last line is not served any more.
    fn replace(&self, watched: &mut Watched, line: Option<Arc<Line>>, deed: Option<Deed>) {
        watched.deed = deed;
        if let Some(last) = std::mem::replace(&mut watched.line, line) {
            last.close();
            self.near.leases_lost.fetch_add(1, Relaxed);
        }
    }

    fn complain(&self, answers: &Value) {
        if deed::is_forbidden(answers) && self.near.said_forbidden.may() {
            tracing::warn!(
                "every question is put to the cluster, because the user may not ask who has what: give it +cluster|info and \
                 +cluster|nodes"
            );
        }
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Watch").field("in_cluster", &self.in_cluster).finish_non_exhaustive()
    }
}
