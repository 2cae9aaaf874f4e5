//! The journal as log lines: target `audit`, one line per event, identifiers only.

use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::text::base64url;
use portcullis_ports::Journal;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes audit events through `tracing`, so that they have the format and the destination of the other logs.
#[derive(Debug, Default)]
pub struct LogJournal;

impl Journal for LogJournal {
    fn note(&self, at: Timestamp, event: &Event) {
        let person = event.person.map(|person| base64url(&person.0));
        let session = event.grant.map(|grant| base64url(&grant.login));
        let client = event.client.map(|client| base64url(client.0.get(..16).unwrap_or_default()));
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
            address = address.as_deref(),
            fault = fault.as_deref(),
            in_doubt = event.in_doubt,
        );
    }
}

/// The same, and counts the events by their name.
#[derive(Debug, Default)]
pub struct CountedJournal {
    lines: LogJournal,
    counts: [AtomicU64; Happened::ALL.len()],
}

impl CountedJournal {
    /// The counters in Prometheus' text form, without those that are zero.
    pub fn write(&self, out: &mut String) {
        out.push_str("# HELP portcullis_audit_events_total Audit events by name.\n");
        out.push_str("# TYPE portcullis_audit_events_total counter\n");
        for (happened, count) in Happened::ALL.iter().zip(&self.counts) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                // Writing to a String does not fail.
                let _ = writeln!(out, "portcullis_audit_events_total{{event=\"{}\"}} {count}", happened.name());
            }
        }
    }
}

impl Journal for CountedJournal {
    fn note(&self, at: Timestamp, event: &Event) {
        let place = Happened::ALL.iter().position(|happened| *happened == event.happened);
        if let Some(count) = place.and_then(|place| self.counts.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.lines.note(at, event);
    }
}
