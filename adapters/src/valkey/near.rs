//! The near cache, and the links that fill it and tell it of changes.
//!
//! Everything that is put down is put down in the task of the link on which it was read, so nothing that was read before a change
//! is put down after the push that tells of it.

use super::link::{Batch, Heard, Hearing, Link};
use super::near_cache::{Line, NearCache};
use super::resp::{Value, command};
use crate::system::SystemClock;
use portcullis_domain::limits::NEAR_PING;
use portcullis_ports::Clock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// The cache, which may be filled over several links.
pub(super) struct Near {
    pub(super) cache: NearCache,
    clock: SystemClock,
    prefix: String,
}

/// One link of those that fill it: the line that is its present connection, if the server tells of changes on that.
pub(super) struct Watch {
    near: Arc<Near>,
    line: Mutex<Option<Arc<Line>>>,
}

impl Near {
    pub(super) fn new(bytes_max: usize, stale_for: Duration, prefix: String) -> Arc<Self> {
        Arc::new(Self { cache: NearCache::new(bytes_max, stale_for), clock: SystemClock::start(), prefix })
    }

    /// The time that the cache counts in.
    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// For one more link.
    pub(super) fn watch(self: &Arc<Self>) -> Arc<Watch> {
        Arc::new(Watch { near: Arc::clone(self), line: Mutex::new(None) })
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
            Heard::Up { epoch, watches } => watch.set(watches.then(|| Line::new(epoch))),
            Heard::Renewed(epoch) => {
                let watched = watch.line().is_some();
                watch.set(watched.then(|| Line::new(epoch)));
            }
            Heard::Push(items) => watch.near.push(&items),
            Heard::Down => watch.set(None),
        })
    }

    /// The line that is the link's connection, while the server tells of changes on it.
    pub(super) fn line(&self) -> Option<Arc<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, next: Option<Arc<Line>>) {
        let last = std::mem::replace(&mut *self.line.lock().unwrap_or_else(PoisonError::into_inner), next);
        if let Some(last) = last {
            last.close();
        }
    }

    /// Keeps the lease of the link's connection, for ever.
    pub(super) async fn keep(self: Arc<Self>, link: Link) {
        let ping = command(&[b"PING"]);
        let mut interval = tokio::time::interval(NEAR_PING);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if self.line().is_none() {
                continue;
            }
            // Counted from before it waits to be sent, so that waiting makes a lease shorter and not longer.
            let (watch, sent) = (Arc::clone(&self), self.near.now());
            link.send_then(Batch::one(ping.clone()), move |answered| {
                // The line that the answer has come on, whichever it was when it was asked for.
                if let (Ok(_), Some(line)) = (answered, watch.line()) {
                    line.answered(sent);
                }
            });
        }
    }
}
