//! Token revocation: RFC 7009.
//!
//! Any access or refresh token of a grant, also an old or an expired one, revokes the grant with all that came out of it.

use crate::fresh::Fresh;
use crate::journal::{Event, Happened};
use crate::key::{ClientHash, GrantId, Key};
use crate::oauth::exchange::write;
use crate::oauth::fault::Fault;
use crate::oauth::grant::{Grant, State, Why};
use crate::oauth::token::{AccessToken, RefreshToken};
use crate::operation::{Decision, Fact, Facts, Keys, Operation};
use crate::seal::KeyRing;
use crate::time::Timestamp;
use std::net::IpAddr;

/// A token whose grant is to end.
#[derive(Debug)]
pub struct Revoke {
    /// The token.
    pub token: Revocable,
    /// The client; none if a public client did not say who it is.
    pub client: Option<ClientHash>,
    /// Whether it has shown all that is asked of it: without, it may only be a public one.
    pub authenticated: bool,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

/// A token that can be revoked.
#[derive(Debug)]
pub enum Revocable {
    /// An access token.
    Access(AccessToken),
    /// A refresh token.
    Refresh(RefreshToken),
}

impl Revocable {
    /// Reads a presented token. Whatever it is not needs no revoking: RFC 7009 section 2.2.
    #[must_use]
    pub fn parse(ring: &KeyRing, presented: &str) -> Option<Self> {
        if RefreshToken::is(presented) {
            RefreshToken::parse(presented).ok().map(Self::Refresh)
        } else {
            AccessToken::open(ring, presented).ok().map(Self::Access)
        }
    }

    /// The grant that it names.
    pub(crate) const fn id(&self) -> GrantId {
        match self {
            Self::Access(token) => token.id,
            Self::Refresh(token) => token.id,
        }
    }

    /// Whether it is that grant's.
    pub(crate) fn belongs_to(&self, grant: &Grant) -> bool {
        match self {
            Self::Access(token) => token.belongs_to(grant),
            Self::Refresh(token) => token.belongs_to(grant),
        }
    }
}

impl Operation for Revoke {
    type Reply = ();

    fn reads(&self) -> Keys {
        Keys::of([Key::Grant(self.token.id())])
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Decision<()> {
        Decision::from(self.judge(facts, now, fresh))
    }
}

impl Revoke {
    fn judge(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Result<Decision<()>, Fault> {
        let id = self.token.id();
        // Another replica may still hold the key that this one lacks: to say that the session is over would not be true.
        if let Fact::Unreadable(_) = facts.of(&Key::Grant(id))? {
            return Err(Fault::StoreUnavailable);
        }
        let Some(stored) = facts.standing(&Key::Grant(id), now)? else {
            return Ok(Decision::answer(()));
        };
        let Some(grant) = stored.record.grant().filter(|grant| self.token.belongs_to(grant)) else {
            return Ok(Decision::answer(()));
        };
        match self.client {
            Some(client) if client != grant.terms.client => return Err(Fault::ClientMismatch),
            _ if grant.terms.confidential && !self.authenticated => return Err(Fault::ClientAuthentication),
            _ => {}
        }
        // Whoever ended it may have been told that it is not on enough replicas: to say now that it is over, it is written again.
        if matches!(grant.state, State::Revoked(_)) {
            return Ok(Decision::commit(vec![write(id, grant.clone(), stored.until, fresh, true)], Ok(())));
        }
        let revoked = write(id, grant.revoked(Why::Client, facts.epoch()), stored.until, fresh, true);
        let event = Event::new(Happened::SessionRevoked).of(id).named(grant.session_id());
        let event = event.by(grant.terms.client).from(self.address);
        Ok(Decision::commit(vec![revoked], Ok(())).noting(event))
    }
}
