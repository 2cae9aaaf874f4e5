//! Admission: may this access token do this, now? Asked for every request to a protected resource.
//!
//! The token has been opened already, without any I/O. What is asked of the store is the grant that it names and the cuts that
//! may have ended it, so a revocation counts at once.

use crate::key::{CutScope, Key};
use crate::oauth::cut::{self, Cuts};
use crate::oauth::exchange::consulted;
use crate::oauth::fault::Fault;
use crate::oauth::grant::{Grant, State};
use crate::oauth::resource::ResourceHash;
use crate::oauth::scope::Scopes;
use crate::oauth::token::AccessToken;
use crate::operation::{Fact, Facts, Keys, Question, Stored};
use crate::record::Record;
use crate::time::Timestamp;
use std::sync::Arc;

/// The question.
#[derive(Debug)]
pub struct Admit<'a> {
    /// The token, opened.
    pub token: Arc<AccessToken>,
    /// The resource that the request is for.
    pub resource: ResourceHash,
    /// What the request needs.
    pub scopes: &'a Scopes,
    /// Whether what stands behind wants to know who the person is.
    pub identity: bool,
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
        let known = self.asks();
        let mut more = Keys::NONE;
        for key in consulted(first, self.token.id, self.token.client).iter() {
            if !known.iter().any(|asked| asked == key) {
                more = more.and(Some(*key));
            }
        }
        more
    }

    fn decide(&self, facts: &Facts, now: Timestamp) -> Result<Admitted, Fault> {
        let token = &self.token;
        if now >= token.expires {
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
        if token.resource != self.resource {
            return Err(Fault::TokenResource);
        }
        // A token that is bound to a key is worth nothing as a plain bearer token (RFC 9449 section 7.2).
        if token.thumbprint.is_some() {
            return Err(Fault::TokenUnknown);
        }
        if !self.scopes.within(&token.scopes) {
            return Err(Fault::ScopeInsufficient);
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
