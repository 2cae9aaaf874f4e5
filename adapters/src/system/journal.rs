//! The journal as log lines: target `audit`, one line per event, identifiers only.
//!
//! Refusals that cost a stranger nothing have a rate, each kind its own: what is beyond it is counted, and the next line of its
//! kind says how many were left out. Nothing that a logged-in person does, and no alarm, is ever left out.

use super::log_names;
use crate::exposition::Exposition;
use crate::watch::{News, Watch};
use portcullis_domain::bucket::{Bucket, Rate};
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::lifecycle::Lifecycle;
use portcullis_domain::limits::{SECURITY_EVENTS_BURST, SECURITY_EVENTS_PER_SECOND};
use portcullis_domain::time::Timestamp;
use portcullis_ports::Journal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Writes audit events through `tracing`, so that they have the format and the destination of the other logs.
#[derive(Debug, Default)]
pub struct LogJournal;

impl Journal for LogJournal {
    fn note(&self, at: Timestamp, event: &Event) {
        Self::line(at, event, None);
    }
}

impl LogJournal {
    fn line(at: Timestamp, event: &Event, left_out: Option<u64>) {
        let person = event.person.map(log_names::person);
        let session = event.grant.map(log_names::session);
        let client = event.client.map(log_names::client);
        let provider_session = event.provider_session.map(log_names::provider_session);
        let address = event.address.map(|address| address.to_string());
        let fault = event.fault.map(|fault| format!("{fault:?}"));
        tracing::info!(
            target: "audit",
            at_ms = at.millis(),
            event = event.happened.name(),
            alarm = event.happened.alarming(),
            person = person.as_deref(),
            session = session.as_deref(),
            client = client.as_deref(),
            provider_session = provider_session.as_deref(),
            address = address.as_deref(),
            fault = fault.as_deref(),
            in_doubt = event.in_doubt,
            left_out,
        );
    }
}

/// The same, within a rate; counts the events by their name, and tells whoever watches what they change of sessions.
#[derive(Debug)]
pub struct CountedJournal {
    rate: Rate,
    kinds: [Kind; Happened::ALL.len()],
    watches: Vec<Arc<Watch>>,
}

/// What is kept of one kind of event.
#[derive(Debug, Default)]
struct Kind {
    count: AtomicU64,
    bucket: Mutex<Bucket>,
    left_out: AtomicU64,
}

impl Default for CountedJournal {
    fn default() -> Self {
        Self::new(Rate::new(SECURITY_EVENTS_PER_SECOND, Duration::from_secs(1), SECURITY_EVENTS_BURST))
    }
}

impl CountedJournal {
    /// With this rate for each kind of refusal that costs a stranger nothing.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, kinds: std::array::from_fn(|_| Kind::default()), watches: Vec::new() }
    }

    /// Watched by these.
    #[must_use]
    pub fn watched_by(mut self, watches: Vec<Arc<Watch>>) -> Self {
        self.watches = watches;
        self
    }

    /// Writes the counters. What is zero has no sample.
    pub fn write_metrics(&self, page: &mut Exposition) {
        let mut events = page.counter("audit_events_total", "Audit events by name.");
        for (happened, kind) in Happened::ALL.iter().zip(&self.kinds) {
            let count = kind.count.load(Ordering::Relaxed);
            if count > 0 {
                events.of(&[("event", happened.name())], count);
            }
        }
    }

    /// Counts the event: how many of its kind were left out before it, or nothing if it is left out itself.
    fn count(&self, at: Timestamp, happened: Happened) -> Option<u64> {
        let place = Happened::ALL.iter().position(|known| *known == happened)?;
        let kind = self.kinds.get(place)?;
        kind.count.fetch_add(1, Ordering::Relaxed);
        if !happened.is_cheap() {
            return Some(0);
        }
        let mut bucket = kind.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(left) = bucket.take(Duration::from_millis(at.millis()), self.rate) {
            *bucket = left;
            return Some(kind.left_out.swap(0, Ordering::Relaxed));
        }
        kind.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl Journal for CountedJournal {
    fn note(&self, at: Timestamp, event: &Event) {
        if let Some(left_out) = self.count(at, event.happened) {
            LogJournal::line(at, event, Some(left_out).filter(|count| *count > 0));
        }
        if !self.watches.is_empty()
            && let Some(change) = Lifecycle::of(at, event)
        {
            for watch in &self.watches {
                watch.tell(News::Changed(change));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t253_a_flood_of_refusals_is_a_few_lines_that_say_how_many_were_left_out() {
        let journal = CountedJournal::default();
        let at = |secs| Timestamp::from_secs(1_800_000_000_u64.saturating_add(secs));
        let flood = |secs, happened| (0..1_000).filter_map(|_| journal.count(at(secs), happened)).collect::<Vec<_>>();
        assert_eq!(flood(0, Happened::ClientAuthenticationFailed), [0; 5]);
        assert_eq!(flood(0, Happened::RateLimited), [0; 5], "each kind has its own rate");
        assert_eq!(flood(0, Happened::StrangerRefused), [0; 5], "a token that names a trusted issuer is soon made up");
        assert_eq!(flood(1, Happened::ClientAuthenticationFailed), [995]);
        assert_eq!(flood(2, Happened::ClientAuthenticationFailed), [999]);
        assert_eq!(flood(2, Happened::RefreshReplayed), [0; 1_000], "no alarm is left out");
        assert_eq!(flood(2, Happened::TokensIssued), [0; 1_000]);
        let mut page = Exposition::default();
        journal.write_metrics(&mut page);
        let metrics = page.into_text();
        assert!(metrics.contains("{event=\"client_authentication_failed\"} 3000"), "all are counted: {metrics}");
    }
}
