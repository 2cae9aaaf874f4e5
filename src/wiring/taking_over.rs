//! What a gate takes over from a configuration while it runs.

use super::Parts;
use super::clients::operators_clients;
use super::keys::next_ring;
use crate::config::{Complaints, Config};
use portcullis_adapters::valkey::Refusal;
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::oauth::policy::Policy;
use portcullis_domain::seal::CurrentRing;
use portcullis_ports::{Clock, Journal};
use std::fmt;

/// What there is after a configuration was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenOver {
    /// How many clients of the operator's.
    pub clients: usize,
    /// How many master keys.
    pub master_keys: usize,
}

/// Why nothing of a configuration was taken over.
#[derive(Debug)]
pub enum NotTakenOver {
    /// It is wrong.
    Configuration(Complaints),
    /// Its master keys are other ones, and the store refuses them or cannot be asked.
    Store(Refusal),
    /// The gate ends.
    Ended,
}

impl NotTakenOver {
    /// Whether the same configuration may be taken over later.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Store(refusal) if !refusal.needs_somebody())
    }
}

impl fmt::Display for NotTakenOver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(complaints) => complaints.fmt(out),
            Self::Store(refusal) => {
                write!(out, "masterKeys: the store {refusal}; {}", refusal.instead())
            }
            Self::Ended => out.write_str("the gate ends"),
        }
    }
}

impl std::error::Error for NotTakenOver {}

/// Puts the clients and the master keys of this configuration in the place of those that there are: all of it, or nothing. Everything
/// else in it is left alone.
pub(crate) async fn take_over(parts: &Parts, policy: &Policy, config: Config) -> Result<TakenOver, NotTakenOver> {
    let Config { clients, trusted_clients, master_keys, .. } = config;
    let wrong = NotTakenOver::Configuration;
    let clients = operators_clients(clients, &trusted_clients, &policy.redirects).map_err(wrong)?;
    let next = next_ring(master_keys, &policy.base_url, parts.clock.now(), &policy.ring.now()).map_err(wrong)?;
    if let Some(next) = next {
        parts.store.exchange_ring(&policy.ring, &CurrentRing::of(next)).await.map_err(NotTakenOver::Store)?;
        parts.journal.note(parts.clock.now(), &Event::new(Happened::KeysExchanged));
    }
    let taken = TakenOver { clients: clients.len(), master_keys: policy.ring.now().count() };
    policy.clients.replace(clients);
    Ok(taken)
}
