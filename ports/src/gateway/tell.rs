//! What is said of tokens and of people: introspection and userinfo.

use super::Gateway;
use crate::{Clock, World, ask};
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::oauth::admit::{Admit, Wish};
use portcullis_domain::oauth::client::Presented;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::identity::Claims;
use portcullis_domain::oauth::token::AccessToken;
use portcullis_domain::oauth::{introspect, userinfo};
use portcullis_domain::wire::form::Form;
use std::net::IpAddr;
use std::sync::Arc;

impl<W: World> Gateway<W> {
    /// Says whether a token counts: RFC 7662. Everything but a live access token that the client may know of is inactive.
    ///
    /// # Errors
    /// [`Fault::ClientAuthentication`] for whoever does not prove who it is; [`Fault::StoreUnavailable`], because a store that is
    /// away says nothing about a token.
    pub async fn introspect(
        &self,
        form: &Form<'_>,
        presented: Presented<'_>,
        address: Option<IpAddr>,
    ) -> Result<String, Fault> {
        if form.repeated_except(&[]).is_some() {
            return Err(Fault::Repeated);
        }
        let id = presented.client_id()?.ok_or(Fault::ClientAuthentication)?;
        let speaker = self.speaker(&presented, false, address).await?;
        if !speaker.confidential {
            return Err(Fault::ClientAuthentication);
        }
        let token = form.one("token").ok().flatten().ok_or(Fault::Missing("token"))?;
        let Ok(token) = self.open(token) else { return Ok(introspect::inactive()) };
        if !introspect::may_know(&self.policy, speaker.client, &token) {
            let event = Event::new(Happened::IntrospectionRefused).of(token.id).by(speaker.client).from(address);
            self.note(self.world.clock().now(), event);
            return Ok(introspect::inactive());
        }
        match self.known(Arc::clone(&token)).await {
            Ok(claims) => Ok(introspect::active(&self.policy, id, &token, &claims)),
            Err(Fault::TokenUnknown | Fault::TokenExpired | Fault::TokenRevoked) => Ok(introspect::inactive()),
            Err(fault) => Err(fault),
        }
    }

    /// Says who the person is: OpenID Connect Core section 5.3.
    ///
    /// # Errors
    /// Whatever rule refuses the bearer.
    pub async fn userinfo(&self, bearer: &str) -> Result<String, Fault> {
        let token = self.open(bearer)?;
        let claims = self.known(Arc::clone(&token)).await?;
        userinfo::answer(&claims, &token.scopes)
    }

    /// Whose this token is, if it counts.
    async fn known(&self, token: Arc<AccessToken>) -> Result<Claims, Fault> {
        let admitted = ask(&*self.world, &Admit { token, wish: Wish::BeKnown, identity: true }).await?;
        let identity = admitted.identity.as_ref().and_then(|stored| stored.record.identity());
        identity.map(|identity| identity.claims.clone()).ok_or(Fault::TokenRevoked)
    }
}
