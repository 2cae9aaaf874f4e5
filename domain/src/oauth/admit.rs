//! Admission: may this access token do this, now? Asked for every request to a protected resource.
//!
//! The token has been opened already, without any I/O. What is asked of the store is the grant that it names and the cuts that
//! may have ended it, so a revocation counts at once.

use crate::key::{CutScope, Key};
use crate::oauth::cut::{self, Cuts};
use crate::oauth::exchange::{consulted, provider_session};
use crate::oauth::fault::Fault;
use crate::oauth::grant::{Grant, State};
use crate::oauth::identity::Profile;
use crate::oauth::resource::ResourceHash;
use crate::oauth::scope::Scopes;
use crate::oauth::token::AccessToken;
use crate::operation::{Fact, Facts, Keys, Question, Stored};
use crate::record::Record;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The question.
#[derive(Debug)]
pub struct Admit<'a> {
    /// The token, opened.
    pub token: Arc<AccessToken>,
    /// What the bearer wants.
    pub wish: Wish<'a>,
    /// Whether what stands behind wants to know who the person is.
    pub identity: bool,
}

/// What the bearer of a token wants.
#[derive(Clone, Copy, Debug)]
pub enum Wish<'a> {
    /// To begin: a request.
    Enter {
        /// The resource that it is for.
        resource: ResourceHash,
        /// What it needs.
        scopes: &'a Scopes,
    },
    /// To go on: an answer that is still open. What the token is for was judged when it began.
    Stay {
        /// For how long after the token's own end.
        overrun: Duration,
    },
    /// To have it known whether the token counts, wherever it may be used.
    BeKnown,
}

/// The answer: who it is.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The token: session, client, scopes and its own end. To ask again, ask with it.
    pub token: Arc<AccessToken>,
    /// The end of the session as it stands.
    pub until: Timestamp,
    /// The identity record, if it was asked for.
    pub identity: Option<Stored>,
    grant: Arc<Record>,
}

impl Admitted {
    /// The session's name for what stands behind: the same for as long as the session lives, and no way back to its tokens.
    #[must_use]
    pub fn session_id(&self) -> [u8; 16] {
        self.grant.grant().map(Grant::session_id).unwrap_or_default()
    }

    /// What is said of the person, if it was asked for.
    #[must_use]
    pub fn profile(&self) -> Option<Profile<'_>> {
        self.identity.as_ref()?.record.profile()
    }
}

impl Question for Admit<'_> {
    type Reply = Admitted;

    fn asks(&self) -> Keys {
        let id = self.token.id;
        let identity = self.identity.then_some(Key::Identity(id.person));
        cut::keys([CutScope::All, CutScope::Client(self.token.client), CutScope::Person(id.person)])
            .and(Some(Key::Grant(id)))
            .and(identity)
    }

    fn then(&self, first: &Facts) -> Keys {
        // Of what a session's issue consults, only the provider session was not known before.
        Keys::NONE.and(provider_session(first))
    }

    fn decide(&self, facts: &Facts, now: Timestamp) -> Result<Admitted, Fault> {
        let token = &self.token;
        let expires = match self.wish {
            Wish::Enter { .. } | Wish::BeKnown => token.expires,
            Wish::Stay { overrun } => token.expires.plus(overrun),
        };
        if now >= expires {
            return Err(Fault::TokenExpired);
        }
        let stored = facts.standing(&Key::Grant(token.id), now)?.ok_or(Fault::TokenRevoked)?;
        let grant = stored.record.grant().ok_or(Fault::TokenRevoked)?;
        if !token.belongs_to(grant) {
            return Err(Fault::TokenUnknown);
        }
        if !matches!(grant.state, State::Live(_)) || now >= grant.terms.ends {
            return Err(Fault::TokenRevoked);
        }
        let cuts = Cuts::consult(facts, consulted(facts, token.id, token.client), now)?;
        cuts.spare(grant.terms.created).map_err(|_| Fault::TokenRevoked)?;
        // A token that is bound to a key is worth nothing as a plain bearer token (RFC 9449 section 7.2).
        if token.thumbprint.is_some() {
            return Err(Fault::TokenUnknown);
        }
        if let Wish::Enter { resource, scopes } = self.wish {
            if token.resource != resource {
                return Err(Fault::TokenResource);
            }
            if !scopes.within(&token.scopes) {
                return Err(Fault::ScopeInsufficient);
            }
        }
        let identity = if self.identity {
            let key = Key::Identity(token.id.person);
            match facts.of(&key)? {
                Fact::Found(stored) => Some(stored.clone()),
                // A live grant whose identity cannot be read: what stands behind must not take the person for nobody.
                Fact::Absent | Fact::Unreadable(_) => return Err(Fault::TokenRevoked),
            }
        } else {
            None
        };
        Ok(Admitted { token: Arc::clone(token), until: stored.until, identity, grant: Arc::clone(&stored.record) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fresh::Stamp;
    use crate::key::{GrantId, Person};
    use crate::oauth::grant::tests::{NOW, code, terms};
    use crate::operation::Epoch;

    const ID: GrantId = GrantId { person: Person([1; 16]), login: [2; 16] };
    const LIFE: Duration = Duration::from_secs(1_800);

    /// What the rule says of a token of a live session, so long after it was issued.
    fn said(wish: Wish<'_>, later: Duration) -> Result<(), Fault> {
        let grant = code().redeemed(1, Epoch::default(), NOW);
        let token = AccessToken::mint(ID, &grant, 1, Scopes::of(["mcp"]), terms().ends, LIFE, NOW);
        let asked = Admit { token: Arc::new(token), wish, identity: false };
        let stored = Stored { record: Arc::new(Record::Grant(grant)), stamp: Stamp([1; 16]), until: terms().ends };
        let mut facts = Facts::new(Epoch::default());
        for key in asked.asks().iter() {
            let fact = if *key == Key::Grant(ID) { Fact::Found(stored.clone()) } else { Fact::Absent };
            facts.add(*key, fact);
        }
        for key in asked.then(&facts).iter() {
            facts.add(*key, Fact::Absent);
        }
        asked.decide(&facts, NOW.plus(later)).map(drop)
    }

    #[test]
    fn t235_an_answer_may_run_on_after_its_token_for_as_long_as_it_is_told() {
        let (scopes, overrun) = (Scopes::of(["mcp"]), Duration::from_secs(3_600));
        let enter = Wish::Enter { resource: terms().resource, scopes: &scopes };
        let just = LIFE - Duration::from_millis(1);
        for (wish, later, good) in [
            (enter, just, true),
            (enter, LIFE, false),
            (Wish::Stay { overrun: Duration::ZERO }, just, true),
            (Wish::Stay { overrun: Duration::ZERO }, LIFE, false),
            (Wish::Stay { overrun }, LIFE, true),
            (Wish::Stay { overrun }, just + overrun, true),
            (Wish::Stay { overrun }, LIFE + overrun, false),
        ] {
            let expected = if good { Ok(()) } else { Err(Fault::TokenExpired) };
            assert_eq!(said(wish, later), expected, "{wish:?} {later:?}");
        }
        // The end of the session is an end, whatever may overrun.
        let end = Duration::from_millis(terms().ends.millis() - NOW.millis());
        assert_eq!(said(Wish::Stay { overrun: end }, end), Err(Fault::TokenRevoked));
    }
}
