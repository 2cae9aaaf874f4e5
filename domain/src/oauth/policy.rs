//! What the operator has decided, in the form in which the rules ask for it.

use crate::key::ClientHash;
use crate::oauth::broker::Broker;
use crate::oauth::client::Client;
use crate::oauth::client_document::DocumentPolicy;
use crate::oauth::grant::Lifetimes;
use crate::oauth::redirect::RedirectPolicy;
use crate::oauth::resource::Resources;
use crate::oauth::stranger::Trusted;
use crate::seal::CurrentRing;
use crate::secret::SecretText;
use std::sync::{Arc, PoisonError, RwLock};

/// The operator's decisions. One per process, shared.
#[derive(Debug)]
pub struct Policy {
    /// The base URL without a trailing slash: the issuer, byte for byte, everywhere.
    pub base_url: String,
    /// The master keys.
    pub ring: Arc<CurrentRing>,
    /// How long what is issued lives.
    pub lifetimes: Lifetimes,
    /// Which redirect URIs a client may register.
    pub redirects: RedirectPolicy,
    /// Who may register.
    pub registration: RegistrationPolicy,
    /// Which documents describe a client.
    pub documents: DocumentPolicy,
    /// The clients that the operator has registered.
    pub clients: Clients,
    /// What is protected.
    pub resources: Resources,
    /// Clients that may ask about tokens of others, because they are resource servers (RFC 7662 section 2.1).
    pub introspectors: Vec<ClientHash>,
    /// Whose tokens are taken beside our own.
    pub trusted: Trusted,
    /// Which client may exchange its access tokens for assertions, and for whom.
    pub broker: Broker,
}

/// The clients that the operator has registered, each `client_id` once. They can be replaced while the gateway runs, all at once;
/// requests to a protected resource never look at them.
#[derive(Debug, Default)]
pub struct Clients(RwLock<Arc<[Client]>>);

impl From<Vec<Client>> for Clients {
    fn from(clients: Vec<Client>) -> Self {
        Self(RwLock::new(clients.into()))
    }
}

impl Clients {
    /// As they are now.
    #[must_use]
    pub fn now(&self) -> Arc<[Client]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on, these.
    pub fn replace(&self, clients: Vec<Client>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = clients.into();
    }
}

/// Who may register (RFC 7591 section 3). Each gate is enough by itself.
#[derive(Debug, Clone, Default)]
pub struct RegistrationPolicy {
    /// Anybody may.
    pub open: bool,
    /// Whoever presents this token may.
    pub token: Option<SecretText>,
    /// Clients may whose redirect URIs all belong to known clients, or are trusted by the [`RedirectPolicy`].
    pub known: bool,
}

impl RegistrationPolicy {
    /// Whether any gate can open at all, so that it is worth asking.
    #[must_use]
    pub const fn can_open(&self) -> bool {
        self.open || self.token.is_some() || self.known
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::oauth::resource::{Resource, ResourceScope};
    use crate::seal::KeyRing;
    use crate::seal::tests::master;
    use crate::time::Timestamp;

    pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// A gateway out of the box: one resource at `/mcp`, known clients may register.
    pub(crate) fn policy() -> Policy {
        let base_url = "https://gate.example";
        let scopes = vec![ResourceScope { name: "mcp".into(), description: Some("Use the tools".into()) }];
        let resource = Resource::new(base_url, vec!["/mcp".into()], false, scopes, None).unwrap();
        Policy {
            base_url: base_url.into(),
            ring: CurrentRing::of(KeyRing::new(&[master(1)], base_url, NOW).unwrap()),
            lifetimes: Lifetimes::default(),
            redirects: RedirectPolicy::default(),
            registration: RegistrationPolicy { known: true, ..RegistrationPolicy::default() },
            documents: DocumentPolicy { on: true, ..DocumentPolicy::default() },
            clients: Clients::default(),
            resources: Resources::new(vec![resource]).unwrap(),
            introspectors: Vec::new(),
            trusted: Trusted::default(),
            broker: Broker::default(),
        }
    }
}
