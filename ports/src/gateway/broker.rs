//! Token exchange for confidential clients, as far as it is judged: who asks for whom, for what.

use super::Gateway;
use crate::{Clock, World, ask};
use portcullis_domain::fresh::Stamp;
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::oauth::admit::{Admit, Wish};
use portcullis_domain::oauth::broker::Asked;
use portcullis_domain::oauth::client::Presented;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::visitor::Visitor;
use portcullis_domain::wire::form::Form;
use std::net::IpAddr;
use std::sync::Arc;

/// An exchange that is granted.
#[derive(Debug)]
pub struct Brokered {
    /// For whom the token is, with what it may say at most; it ends with the visitor at the latest.
    pub visitor: Visitor,
    /// The version of the person's identity.
    pub version: Stamp,
    /// `audience`.
    pub audience: String,
}

impl<W: World> Gateway<W> {
    /// Judges a token exchange (RFC 8693). Whatever the subject token lacks the result lacks too, and a session that is over gets none.
    ///
    /// # Errors
    /// Whatever rule refuses it.
    pub async fn broker(
        &self,
        form: &Form<'_>,
        presented: Presented<'_>,
        address: Option<IpAddr>,
    ) -> Result<Brokered, Fault> {
        let speaker = self.speaker(&presented, false, address).await?;
        if !speaker.confidential {
            return Err(Fault::ClientGrantType);
        }
        let asked = Asked::read(form)?;
        self.policy.broker.allows(speaker.client, asked.audience)?;
        let token = self.open(asked.subject_token).map_err(|_| Fault::SubjectToken)?;
        if token.client != speaker.client {
            return Err(Fault::SubjectToken);
        }
        let admit = Admit { token: Arc::clone(&token), wish: Wish::BeKnown, identity: true };
        let admitted = ask(&*self.world, &admit).await.map_err(|fault| match fault {
            Fault::TokenUnknown | Fault::TokenExpired | Fault::TokenRevoked => Fault::SubjectToken,
            fault => fault,
        })?;
        let scopes = asked.scopes.unwrap_or_else(|| token.scopes.clone());
        if !scopes.within(&token.scopes) {
            return Err(Fault::ScopeBeyondGrant);
        }
        let version = admitted.identity.as_ref().map(|stored| stored.stamp).ok_or(Fault::SubjectToken)?;
        let whole = Visitor::of(&admitted).ok_or(Fault::SubjectToken)?;
        let visitor = Visitor { scopes, until: whole.until.min(token.expires), ..whole };
        let event = Event::new(Happened::TokenExchanged).of(token.id).by(speaker.client).from(address);
        self.note(self.world.clock().now(), event);
        Ok(Brokered { visitor, version, audience: asked.audience.to_owned() })
    }
}
