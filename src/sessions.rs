//! The operator's hand on sessions, for a program that the gate is part of.

use crate::wiring::Parts;
use portcullis_adapters::gate::Gate;
use portcullis_domain::key::GrantId;
use portcullis_domain::oauth::fault::Fault;
use portcullis_ports::gateway::SessionRefreshed;
use std::fmt;
use std::sync::Arc;

/// Sessions by their id, which is [`Visitor::id`](crate::embed::Visitor) and [`Lifecycle::session`](crate::embed::Lifecycle). To be
/// asked on a tokio runtime; whatever is begun runs to its end there.
#[derive(Clone)]
pub struct Sessions(Arc<Gate<Parts>>);

impl Sessions {
    pub(crate) const fn new(gate: Arc<Gate<Parts>>) -> Self {
        Self(gate)
    }

    /// Has the provider's tokens of a session's person renewed, unless they came just now. The client's tokens stay as they are.
    ///
    /// # Errors
    /// [`Fault::SessionUnknown`] if the session does not live; [`Fault::ProviderUnavailable`] or [`Fault::StoreUnavailable`] if it
    /// cannot be done now: the session stands then.
    pub async fn refresh(&self, session: GrantId) -> Result<SessionRefreshed, Fault> {
        self.0.gateway().refresh_session(session, None).await
    }

    /// Ends one session with all that came out of it: whether it had not been revoked before.
    ///
    /// # Errors
    /// [`Fault::SessionUnknown`]; [`Fault::StoreUnavailable`], [`Fault::Contended`] or [`Fault::Full`]: then it may not have happened.
    pub async fn end(&self, session: GrantId) -> Result<bool, Fault> {
        self.0.gateway().end_session(session, None).await
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Sessions(..)")
    }
}
