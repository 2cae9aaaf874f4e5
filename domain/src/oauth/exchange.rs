//! `grant_type=authorization_code`: a code becomes a session (RFC 6749 section 4.1.3, OAuth 2.1 section 4.1.3).
//!
//! Everything is checked before anything is burnt: a wrong verifier, client or redirect URI leaves the code to its owner. A
//! code that comes again with everything right revokes its grant; with anything wrong it does nothing, or any stranger who saw
//! a code could end the session.

use crate::fresh::Fresh;
use crate::journal::{Event, Happened};
use crate::key::{ClientHash, CutScope, GrantId, Key};
use crate::oauth::client_document::DocumentHash;
use crate::oauth::cut::{self, Cuts};
use crate::oauth::fault::Fault;
use crate::oauth::grant::{Grant, State, Why};
use crate::oauth::pkce::{Challenge, Verifier};
use crate::oauth::policy::Policy;
use crate::oauth::redirect::RedirectHash;
use crate::oauth::resource::ResourceHash;
use crate::oauth::scope::Scopes;
use crate::oauth::token::{AccessToken, Code, RefreshToken};
use crate::oauth::upstream;
use crate::operation::{Decision, Facts, Keys, Operation, Stored, Write};
use crate::record::Record;
use crate::secret::SecretText;
use crate::time::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A code, with everything that came along with it.
#[derive(Debug)]
pub struct Exchange {
    /// The operator's decisions.
    pub policy: Arc<Policy>,
    /// The code.
    pub code: Code,
    /// The client, authenticated if it is confidential.
    pub client: ClientHash,
    /// What the client's document says now, if it has one.
    pub document: Option<DocumentHash>,
    /// `redirect_uri`, which OAuth 2.1 no longer asks for, but which must be right if it is there.
    pub redirect: Option<RedirectHash>,
    /// `code_verifier`.
    pub verifier: Verifier,
    /// `resource`, if it was sent.
    pub resource: Option<ResourceHash>,
    /// Whether the client's grant types include `refresh_token`.
    pub refreshes: bool,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

/// What the token endpoint hands out.
#[derive(Debug)]
pub struct Tokens {
    /// The session.
    pub grant: GrantId,
    /// `access_token`.
    pub access: SecretText,
    /// `expires_in`.
    pub expires_in: Duration,
    /// `refresh_token`.
    pub refresh: Option<SecretText>,
    /// `scope`.
    pub scopes: Scopes,
}

impl Operation for Exchange {
    type Reply = Tokens;

    fn reads(&self) -> Keys {
        Keys::of([self.key()])
    }

    fn consults(&self, own: &Facts) -> Keys {
        let identity = self.policy.lifetimes.bound.then_some(Key::Identity(self.code.id.person));
        consulted(own, self.code.id, self.client).and(identity)
    }

    fn decide(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Decision<Tokens> {
        Decision::from(self.judge(facts, now, fresh))
    }
}

impl Exchange {
    fn key(&self) -> Key {
        Key::Grant(self.code.id)
    }

    fn judge(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Result<Decision<Tokens>, Fault> {
        let stored = facts.standing(&self.key(), now)?.ok_or(Fault::CodeUnknown)?;
        let grant = stored.record.grant().ok_or(Fault::CodeUnknown)?;
        if !self.code.belongs_to(grant) {
            return Err(Fault::CodeUnknown);
        }
        if grant.terms.client != self.client {
            return Err(Fault::ClientMismatch);
        }
        match &grant.state {
            State::Code { challenge, redirect, expires, document } => {
                self.fits(grant, challenge, redirect)?;
                if *document != self.document {
                    return Err(Fault::ClientDocumentChanged);
                }
                if grant.epoch != facts.epoch() {
                    return Err(Fault::CodeEpoch);
                }
                if now >= *expires {
                    return Err(Fault::CodeExpired);
                }
                Cuts::consult(facts, consulted(facts, self.code.id, self.client), now)?.spare(grant.terms.created)?;
                self.redeem(grant, facts, now, fresh)
            }
            State::Live(live) => {
                let spent = live.spent.as_ref().filter(|spent| now < spent.until).ok_or(Fault::CodeUnknown)?;
                self.fits(grant, &spent.challenge, &spent.redirect)?;
                Ok(self.replayed(stored, grant, facts, fresh))
            }
            State::Revoked(_) => Err(Fault::CodeUnknown),
        }
    }

    /// Whether everything beside the code is right too.
    fn fits(&self, grant: &Grant, challenge: &Challenge, redirect: &RedirectHash) -> Result<(), Fault> {
        if self.redirect.as_ref().is_some_and(|sent| sent != redirect) {
            return Err(Fault::RedirectMismatch);
        }
        self.verifier.answers(challenge)?;
        if self.resource.is_some_and(|resource| resource != grant.terms.resource) {
            return Err(Fault::ResourceBeyondGrant);
        }
        Ok(())
    }

    fn redeem(&self, grant: &Grant, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Result<Decision<Tokens>, Fault> {
        let id = self.code.id;
        let next = grant.redeemed(1, facts.epoch(), now);
        // Without a refresh token the session ends with its one access token.
        let idle = next.until(&self.policy.lifetimes, now);
        let until = if self.refreshes { idle } else { idle.min(now.plus(self.policy.lifetimes.access)) };
        let bound = upstream::bound(&self.policy.lifetimes, id.person, facts, now, true)?;
        let issued = Issued { policy: &self.policy, id, grant: &next, generation: 1, until, bound, now };
        let tokens = issued.tokens(next.terms.scopes.clone(), self.refreshes, fresh)?;
        let event = self.event(Happened::TokensIssued).named(next.session_id());
        let write = write(id, next, until, fresh, false);
        Ok(Decision::commit(vec![write], Ok(tokens)).noting(event))
    }

    fn replayed(&self, stored: &Stored, grant: &Grant, facts: &Facts, fresh: &Fresh) -> Decision<Tokens> {
        let revoked = grant.revoked(Why::CodeReplay, facts.epoch());
        let write = write(self.code.id, revoked, stored.until, fresh, true);
        Decision::commit(vec![write], Err(Fault::CodeReplayed))
            .noting(self.event(Happened::CodeReplayed).named(grant.session_id()))
    }

    fn event(&self, happened: Happened) -> Event {
        Event::new(happened).of(self.code.id).by(self.client).from(self.address)
    }
}

/// The cuts that end a session of this client, known once the grant is.
pub(crate) fn consulted(own: &Facts, id: GrantId, client: ClientHash) -> Keys {
    cut::keys([CutScope::All, CutScope::Client(client), CutScope::Person(id.person)]).and(provider_session(own))
}

/// The one of them that nothing but the grant names: that of the session at the identity provider.
pub(crate) fn provider_session(own: &Facts) -> Option<Key> {
    let session = own
        .iter()
        .find_map(|(_, fact)| match fact {
            crate::operation::Fact::Found(stored) => stored.record.grant(),
            _ => None,
        })
        .and_then(|grant| grant.terms.provider_session)?;
    Some(Key::Cut(CutScope::ProviderSession(session)))
}

/// The write of a grant's next state.
pub(crate) fn write(id: GrantId, grant: Grant, until: Timestamp, fresh: &Fresh, durable: bool) -> Write {
    let key = Key::Grant(id);
    Write { key, stamp: fresh.stamp(&key), until, record: Arc::new(Record::Grant(grant)), durable }
}

/// What the tokens of one answer are made from.
pub(crate) struct Issued<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) id: GrantId,
    pub(crate) grant: &'a Grant,
    /// The generation that is current after this answer.
    pub(crate) generation: u32,
    /// The end of the session as it stands after this answer.
    pub(crate) until: Timestamp,
    /// The end of the provider's own tokens, where access tokens are bound to them.
    pub(crate) bound: Timestamp,
    pub(crate) now: Timestamp,
}

impl Issued<'_> {
    /// A fresh access token for these scopes, and the current refresh token.
    pub(crate) fn tokens(&self, scopes: Scopes, refreshes: bool, fresh: &Fresh) -> Result<Tokens, Fault> {
        let Self { policy, id, grant, generation, until, bound, now } = *self;
        let until = until.min(bound);
        let access = AccessToken::mint(id, grant, generation, scopes.clone(), until, policy.lifetimes.access, now);
        Ok(Tokens {
            grant: id,
            expires_in: access.expires.since(now),
            access: access.seal(&policy.ring.now(), fresh.salt("access token"), now)?,
            refresh: refreshes.then(|| RefreshToken::of(id, grant, generation)),
            scopes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::grant::tests::terms;
    use crate::oauth::policy::tests::policy;
    use crate::operation::{Epoch, Fact};
    use crate::secret::Secret;

    #[test]
    fn t114_a_code_is_worth_nothing_once_its_client_s_document_says_something_else() {
        let now = terms().created;
        let id = GrantId { person: crate::key::Person([1; 16]), login: [2; 16] };
        let verifier = "v".repeat(43);
        let challenge = Challenge(crate::hash::sha256(verifier.as_bytes()));
        let redeemed = |approved: Option<[u8; 16]>, today: Option<[u8; 16]>| {
            let expires = now.plus(Duration::from_secs(60));
            let approved = approved.map(DocumentHash);
            let grant = Grant::open(terms(), Epoch::default(), challenge, RedirectHash::of("r"), expires, approved);
            let exchange = Exchange {
                policy: Arc::new(policy()),
                code: Code::parse(Code::of(id, &grant).expose()).unwrap(),
                client: terms().client,
                document: today.map(DocumentHash),
                redirect: None,
                verifier: Verifier::parse(&verifier).unwrap(),
                resource: None,
                refreshes: true,
                address: None,
            };
            let stamp = crate::fresh::Stamp([1; 16]);
            let stored = Stored { record: Arc::new(Record::Grant(grant)), stamp, until: expires };
            let mut facts = Facts::new(Epoch::default()).with(exchange.key(), Fact::Found(stored));
            for cut in exchange.consults(&facts.clone()).iter() {
                facts.add(*cut, Fact::Absent);
            }
            exchange.judge(&facts, now, &Fresh::new(&Secret::new([3; 32]), 0)).err()
        };
        assert_eq!(redeemed(Some([1; 16]), Some([1; 16])), None);
        assert_eq!(redeemed(None, None), None);
        for (approved, today) in [(Some([1; 16]), Some([2; 16])), (Some([1; 16]), None), (None, Some([1; 16]))] {
            assert_eq!(redeemed(approved, today), Some(Fault::ClientDocumentChanged));
        }
    }
}
