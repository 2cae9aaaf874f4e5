//! What is asked for every request to a protected resource, and while its answer lasts.

use super::Gateway;
use crate::{Clock, World, ask, ask_at_hand};
use portcullis_domain::key::Person;
use portcullis_domain::mcp_session;
use portcullis_domain::oauth::admit::{Admit, Admitted, Wish};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::resource::{Resource, ResourceHash};
use portcullis_domain::oauth::stranger::{AdmitStranger, Stranger};
use portcullis_domain::oauth::token::AccessToken;
use std::sync::Arc;
use std::time::Duration;

/// What lets somebody in: to be asked about again for every request, and while an answer lasts.
#[derive(Clone, Debug)]
pub enum Bearer {
    /// An access token of ours.
    Own(Arc<AccessToken>),
    /// A token that is not of our making, judged.
    Stranger(Arc<Stranger>),
}

impl<W: World> Gateway<W> {
    /// What a bearer is that must be of our making; nothing if it is to be judged by [`Gateway::stranger`].
    pub fn own(&self, bearer: &str) -> Option<Result<Bearer, Fault>> {
        let own = AccessToken::is(bearer) || self.policy.trusted.is_empty();
        own.then(|| self.open(bearer).map(Bearer::Own))
    }

    /// Opens the access token of a bearer. Whether it counts is asked by [`Gateway::admit`].
    ///
    /// # Errors
    /// [`Fault::TokenUnknown`].
    pub fn open(&self, bearer: &str) -> Result<Arc<AccessToken>, Fault> {
        AccessToken::open(&self.policy.ring.now(), bearer).map(Arc::new)
    }

    /// Admits the bearer of an access token to a resource, or not. To be asked for every request.
    ///
    /// # Errors
    /// Whatever rule refuses it.
    pub async fn admit(&self, token: Arc<AccessToken>, resource: &Resource, identity: bool) -> Result<Admitted, Fault> {
        let wish = Wish::Enter { resource: resource.hash(), scopes: resource.scope_set() };
        ask(&*self.world, &Admit { token, wish, identity }).await
    }

    /// Whether an answer that was begun for this bearer may go on, for so long after the token's own end.
    ///
    /// # Errors
    /// Whatever rule ends it; [`Fault::StoreUnavailable`] says nothing about the session.
    pub async fn stands(&self, bearer: &Bearer, overrun: Duration) -> Result<(), Fault> {
        let wish = Wish::Stay { overrun };
        match bearer {
            Bearer::Own(token) => ask(&*self.world, &stay(token, overrun)).await.map(drop),
            Bearer::Stranger(stranger) => ask(&*self.world, &AdmitStranger { stranger, wish }).await,
        }
    }

    /// The same, if it can be said without asking the store.
    pub fn stands_at_hand(&self, bearer: &Bearer, overrun: Duration) -> Option<Result<(), Fault>> {
        let wish = Wish::Stay { overrun };
        match bearer {
            Bearer::Own(token) => ask_at_hand(&*self.world, &stay(token, overrun)).map(|said| said.map(drop)),
            Bearer::Stranger(stranger) => ask_at_hand(&*self.world, &AdmitStranger { stranger, wish }),
        }
    }

    /// A session id of the protected server, as this person's clients see it.
    ///
    /// # Errors
    /// [`Fault::UpstreamDown`] if it is no session id.
    pub fn bind_session(&self, person: Person, resource: ResourceHash, id: &[u8]) -> Result<String, Fault> {
        let now = self.world.clock().now();
        mcp_session::bind(&self.policy.ring.now(), person, resource, id, now).map_err(|_| Fault::UpstreamDown)
    }

    /// The protected server's session id in what a client of this person sends.
    ///
    /// # Errors
    /// [`Fault::McpSession`] if it was never given to this person at this resource.
    pub fn release_session<'v>(
        &self,
        person: Person,
        resource: ResourceHash,
        value: &'v [u8],
    ) -> Result<&'v [u8], Fault> {
        mcp_session::release(&self.policy.ring.now(), person, resource, value).ok_or(Fault::McpSession)
    }
}

fn stay(token: &Arc<AccessToken>, overrun: Duration) -> Admit<'static> {
    Admit { token: Arc::clone(token), wish: Wish::Stay { overrun }, identity: false }
}
