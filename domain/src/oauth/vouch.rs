//! Whether a request shows something that only a session has: asked where its address has used up its share.
//!
//! Whoever shares an address with a flood must not lose a session to it. A code or a token of a living session is counted by its
//! person instead, and nobody can make one up.

use crate::key::{GrantId, Key, Person};
use crate::oauth::fault::Fault;
use crate::oauth::grant::{Grant, State};
use crate::oauth::revoke::Revocable;
use crate::oauth::token::{AccessToken, Code};
use crate::operation::{Facts, Keys, Question};
use crate::seal::KeyRing;
use crate::time::Timestamp;
use crate::wire::form::Form;

/// The question.
#[derive(Debug)]
pub struct Vouch(Shown);

#[derive(Debug)]
enum Shown {
    Code(Code),
    Token(Revocable),
}

impl Vouch {
    /// About a form that redeems, refreshes, revokes or asks about something; nothing if it shows nothing.
    #[must_use]
    pub fn of(ring: &KeyRing, form: &Form<'_>) -> Option<Self> {
        let shown = |name| form.one(name).ok().flatten();
        if let Some(code) = shown("code") {
            return Code::parse(code).ok().map(|code| Self(Shown::Code(code)));
        }
        let token = shown("refresh_token").or_else(|| shown("token"))?;
        Revocable::parse(ring, token).map(|token| Self(Shown::Token(token)))
    }

    /// About the bearer of an access token.
    #[must_use]
    pub fn bearer(ring: &KeyRing, token: &str) -> Option<Self> {
        AccessToken::open(ring, token).ok().map(|token| Self(Shown::Token(Revocable::Access(token))))
    }

    const fn id(&self) -> GrantId {
        match &self.0 {
            Shown::Code(code) => code.id,
            Shown::Token(token) => token.id(),
        }
    }

    fn belongs_to(&self, grant: &Grant) -> bool {
        match &self.0 {
            Shown::Code(code) => code.belongs_to(grant),
            Shown::Token(token) => token.belongs_to(grant),
        }
    }
}

impl Question for Vouch {
    /// Whose session it is.
    type Reply = Person;

    fn asks(&self) -> Keys {
        Keys::of([Key::Grant(self.id())])
    }

    fn then(&self, _first: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, now: Timestamp) -> Result<Person, Fault> {
        let id = self.id();
        let stored = facts.standing(&Key::Grant(id), now)?.ok_or(Fault::TokenUnknown)?;
        let grant = stored.record.grant().ok_or(Fault::TokenUnknown)?;
        let lives = !matches!(grant.state, State::Revoked(_)) && now < grant.terms.ends;
        if lives && self.belongs_to(grant) { Ok(id.person) } else { Err(Fault::TokenUnknown) }
    }
}
