//! The journal as log lines: target `audit`, one line per event, identifiers only.

use portcullis_domain::journal::Event;
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::text::base64url;
use portcullis_ports::Journal;

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
        );
    }
}
