//! `grant_type=refresh_token`: rotation without forks (RFC 6749 section 6, OAuth 2.1 section 4.3).
//!
//! | presented (tag, client and key good)            | answer                                                          |
//! |-------------------------------------------------|-----------------------------------------------------------------|
//! | the current generation                          | the next one, written                                           |
//! | an earlier one, within the grace of its rotation | the CURRENT one, the same for all; nothing written              |
//! | an earlier one otherwise                        | the grant is revoked, `invalid_grant`                           |
//! | a later one                                     | a lost write: rolled forward if the store's epoch changed, else refused |
//! | wrong tag, client or key; revoked, cut, ended   | refused, nothing written                                        |
//!
//! So any number of processes may share a refresh token and lose answers, and none of them is logged out; and a thief who comes
//! after the grace ends the session instead of sharing it.

use crate::fresh::Fresh;
use crate::journal::{Event, Happened};
use crate::key::{ClientHash, Key};
use crate::oauth::cut::Cuts;
use crate::oauth::exchange::{Issued, Tokens, consulted, write};
use crate::oauth::fault::Fault;
use crate::oauth::grant::{Grant, Live, State, Why};
use crate::oauth::policy::Policy;
use crate::oauth::resource::ResourceHash;
use crate::oauth::scope::Scopes;
use crate::oauth::token::RefreshToken;
use crate::oauth::upstream;
use crate::operation::{Decision, Facts, Keys, Operation, Stored};
use crate::time::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;

/// A refresh token, with everything that came along with it.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// The operator's decisions.
    pub policy: Arc<Policy>,
    /// The refresh token.
    pub token: RefreshToken,
    /// The client.
    pub client: ClientHash,
    /// Whether it has shown all that is asked of it: without, it may only be a public one.
    pub authenticated: bool,
    /// `scope`: narrows the access token that comes back, not the grant.
    pub scopes: Option<Scopes>,
    /// `resource`, if it was sent.
    pub resource: Option<ResourceHash>,
    /// Whether the provider has just been asked for newer tokens of the person, if it had to be.
    pub provider_asked: bool,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

impl Operation for Refresh {
    type Reply = Tokens;

    fn reads(&self) -> Keys {
        Keys::of([Key::Grant(self.token.id)])
    }

    fn consults(&self, own: &Facts) -> Keys {
        let identity = upstream::consulted(&self.policy, self.token.id.person);
        consulted(own, self.token.id, self.client).and(identity)
    }

    fn decide(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Decision<Tokens> {
        Decision::from(self.judge(facts, now, fresh))
    }
}

impl Refresh {
    fn judge(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Result<Decision<Tokens>, Fault> {
        let stored = facts.standing(&Key::Grant(self.token.id), now)?.ok_or(Fault::RefreshUnknown)?;
        let grant = stored.record.grant().ok_or(Fault::RefreshUnknown)?;
        if !self.token.belongs_to(grant) {
            return Err(Fault::RefreshUnknown);
        }
        if grant.terms.client != self.client {
            return Err(Fault::ClientMismatch);
        }
        if grant.terms.confidential && !self.authenticated {
            return Err(Fault::ClientAuthentication);
        }
        if now >= grant.terms.ends {
            return Err(Fault::SessionEnded);
        }
        if self.resource.is_some_and(|resource| resource != grant.terms.resource) {
            return Err(Fault::ResourceBeyondGrant);
        }
        if !self.scopes(grant).within(&grant.terms.scopes) {
            return Err(Fault::ScopeBeyondGrant);
        }
        let presented = self.token.generation;
        let moved = grant.epoch != facts.epoch();
        match &grant.state {
            State::Revoked(_) => Err(Fault::SessionRevoked),
            // An authentic refresh token of a grant that was never redeemed: the redemption was lost.
            State::Code { .. } if moved => self.roll_forward(grant, facts, now, fresh),
            State::Code { .. } => Ok(self.ahead()),
            State::Live(live) if presented > live.generation && moved => self.roll_forward(grant, facts, now, fresh),
            State::Live(live) if presented > live.generation => Ok(self.ahead()),
            State::Live(live) => {
                let grace = self.policy.lifetimes.grace;
                let current = presented == live.generation;
                if !current && !live.within_grace(presented, grace, now) {
                    return Ok(self.replayed(stored, grant, facts, fresh));
                }
                self.cuts(facts, now)?.spare(grant.terms.created)?;
                if current && !live.saturated(grace, now) {
                    self.rotate(grant, live, facts, now, fresh)
                } else {
                    self.repeat(stored, grant, live, facts, now, fresh)
                }
            }
        }
    }

    fn cuts(&self, facts: &Facts, now: Timestamp) -> Result<Cuts, Fault> {
        Cuts::consult(facts, consulted(facts, self.token.id, self.client), now)
    }

    fn rotate(
        &self,
        grant: &Grant,
        live: &Live,
        facts: &Facts,
        now: Timestamp,
        fresh: &Fresh,
    ) -> Result<Decision<Tokens>, Fault> {
        let next = grant.rotated(live, facts.epoch(), now).ok_or(Fault::SessionEnded)?;
        self.land(next, live.generation.saturating_add(1), Happened::TokensRefreshed, facts, now, fresh)
    }

    fn roll_forward(
        &self,
        grant: &Grant,
        facts: &Facts,
        now: Timestamp,
        fresh: &Fresh,
    ) -> Result<Decision<Tokens>, Fault> {
        self.cuts(facts, now)?.spare(grant.terms.created)?;
        let generation = self.token.generation.checked_add(1).ok_or(Fault::SessionEnded)?;
        let next = grant.redeemed(generation, facts.epoch(), now).superseding(now);
        self.land(next, generation, Happened::RefreshRolledForward, facts, now, fresh)
    }

    fn land(
        &self,
        next: Grant,
        generation: u32,
        happened: Happened,
        facts: &Facts,
        now: Timestamp,
        fresh: &Fresh,
    ) -> Result<Decision<Tokens>, Fault> {
        let id = self.token.id;
        let until = next.until(&self.policy.lifetimes, now);
        let bound = self.bound(&next, facts, now)?;
        let issued = Issued { policy: &self.policy, id, grant: &next, generation, until, bound, now };
        let tokens = issued.tokens(self.scopes(&next), true, fresh)?;
        let event = self.event(happened).named(next.session_id());
        Ok(Decision::commit(vec![write(id, next, until, fresh, false)], Ok(tokens)).noting(event))
    }

    /// The current refresh token again, for whoever is entitled to it.
    fn repeat(
        &self,
        stored: &Stored,
        grant: &Grant,
        live: &Live,
        facts: &Facts,
        now: Timestamp,
        fresh: &Fresh,
    ) -> Result<Decision<Tokens>, Fault> {
        let (id, generation, until) = (self.token.id, live.generation, stored.until);
        let bound = self.bound(grant, facts, now)?;
        let issued = Issued { policy: &self.policy, id, grant, generation, until, bound, now };
        let tokens = issued.tokens(self.scopes(grant), true, fresh)?;
        Ok(Decision::answer(tokens).noting(self.event(Happened::RefreshRepeated)))
    }

    fn bound(&self, grant: &Grant, facts: &Facts, now: Timestamp) -> Result<Timestamp, Fault> {
        let (policy, person) = (&self.policy, self.token.id.person);
        upstream::login_stands(policy, grant.terms.resource, person, facts, now)?;
        upstream::bound(&policy.lifetimes, person, facts, now, self.provider_asked)
    }

    fn replayed(&self, stored: &Stored, grant: &Grant, facts: &Facts, fresh: &Fresh) -> Decision<Tokens> {
        let revoked = grant.revoked(Why::RefreshReplay, facts.epoch());
        let write = write(self.token.id, revoked, stored.until, fresh, true);
        Decision::commit(vec![write], Err(Fault::RefreshReplayed))
            .noting(self.event(Happened::RefreshReplayed).named(grant.session_id()))
    }

    fn ahead(&self) -> Decision<Tokens> {
        Decision::refuse(Fault::RefreshAhead).noting(self.event(Happened::RefreshAhead))
    }

    /// What the access token is to allow: what is asked for, or everything where that says nothing.
    fn scopes(&self, grant: &Grant) -> Scopes {
        let meant = self.scopes.as_ref().map(|scopes| scopes.meant(&grant.terms.scopes));
        meant.filter(|scopes| !scopes.is_empty()).unwrap_or_else(|| grant.terms.scopes.clone())
    }

    fn event(&self, happened: Happened) -> Event {
        Event::new(happened).of(self.token.id).by(self.client).from(self.address)
    }
}
