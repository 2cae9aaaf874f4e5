//! Sessions as the operator sees them, one by one: who has which, and the end of one of them.
//!
//! Nothing here shows a secret, and nothing needs one: who may ask is judged before.

use crate::fresh::Fresh;
use crate::journal::{Event, Happened};
use crate::key::{ClientHash, CutScope, GrantId, Key, Person, ProviderSession};
use crate::oauth::cut::{self, Cuts};
use crate::oauth::exchange::{consulted, write};
use crate::oauth::fault::Fault;
use crate::oauth::grant::{Grant, Live, State, Why};
use crate::oauth::identity::Identity;
use crate::oauth::resource::ResourceHash;
use crate::oauth::scope::Scopes;
use crate::operation::{Decision, Fact, Facts, Keys, Operation, Question, Stored};
use crate::record::Record;
use crate::secret::SecretText;
use crate::time::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Which one.
    pub id: GrantId,
    /// What it is called towards what stands behind the gate.
    pub name: [u8; 16],
    /// Its client.
    pub client: ClientHash,
    /// The client's name when the person logged in.
    pub client_name: String,
    /// What it is for.
    pub resource: ResourceHash,
    /// What was granted.
    pub scopes: Scopes,
    /// The session at the identity provider that it came out of.
    pub provider_session: Option<ProviderSession>,
    /// When the person logged in.
    pub created: Timestamp,
    /// When the client refreshed its tokens last, as far as that is remembered.
    pub refreshed: Option<Timestamp>,
    /// When it ends if nobody refreshes it again.
    pub until: Timestamp,
    /// When it ends, whoever refreshes it.
    pub ends: Timestamp,
    /// Whether it lives.
    pub standing: Standing,
}

/// Whether a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its code is on its way to the client.
    Begins,
    /// It lives.
    Lives,
    /// It was revoked.
    Revoked,
    /// A cut has ended it.
    Cut,
}

/// Which sessions a person has: the second halves of their ids, the earliest first. None of a person who is not known; one that is
/// listed need not be there any more.
#[derive(Clone, Copy, Debug)]
pub struct Listed(pub Person);

impl Question for Listed {
    type Reply = Vec<GrantId>;

    fn asks(&self) -> Keys {
        Known(self.0).asks()
    }

    fn then(&self, _first: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, now: Timestamp) -> Result<Vec<GrantId>, Fault> {
        let known = Known(self.0).decide(facts, now)?;
        let listed = known.as_ref().and_then(|record| record.identity()).map_or(&[][..], |identity| &identity.grants);
        let ids = listed.iter().filter(|listed| now < listed.ends);
        Ok(ids.map(|listed| GrantId { person: self.0, login: listed.login }).collect())
    }
}

/// What is known of a person.
#[derive(Clone, Copy, Debug)]
pub struct Known(pub Person);

impl Question for Known {
    /// Their identity, if there is one.
    type Reply = Option<Arc<Record>>;

    fn asks(&self) -> Keys {
        Keys::of([Key::Identity(self.0)])
    }

    fn then(&self, _first: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, now: Timestamp) -> Result<Self::Reply, Fault> {
        let key = Key::Identity(self.0);
        readable(facts, &key)?;
        Ok(facts.standing(&key, now)?.map(|stored| Arc::clone(&stored.record)))
    }
}

/// How one session stands.
#[derive(Clone, Copy, Debug)]
pub struct Look(pub GrantId);

impl Question for Look {
    /// Nothing if there is none, or none any more.
    type Reply = Option<Session>;

    fn asks(&self) -> Keys {
        cut::keys([CutScope::All, CutScope::Person(self.0.person)]).and(Some(Key::Grant(self.0)))
    }

    fn then(&self, first: &Facts) -> Keys {
        let Some(grant) = found(first, self.0) else { return Keys::NONE };
        let session = grant.terms.provider_session.map(CutScope::ProviderSession);
        cut::keys([CutScope::Client(grant.terms.client)]).and(session.map(Key::Cut))
    }

    fn decide(&self, facts: &Facts, now: Timestamp) -> Result<Option<Session>, Fault> {
        let key = Key::Grant(self.0);
        readable(facts, &key)?;
        let Some(stored) = facts.standing(&key, now)? else { return Ok(None) };
        let Some(grant) = stored.record.grant().filter(|grant| now < grant.terms.ends) else { return Ok(None) };
        let cuts = Cuts::consult(facts, consulted(facts, self.0, grant.terms.client), now)?;
        let standing = match &grant.state {
            State::Revoked(_) => Standing::Revoked,
            _ if cuts.spare(grant.terms.created).is_err() => Standing::Cut,
            State::Code { .. } => Standing::Begins,
            State::Live(_) => Standing::Lives,
        };
        Ok(Some(Session::of(self.0, grant, stored, standing)))
    }
}

impl Session {
    fn of(id: GrantId, grant: &Grant, stored: &Stored, standing: Standing) -> Self {
        let terms = &grant.terms;
        let refreshed = if let State::Live(live) = &grant.state { Live::refreshed(live) } else { None };
        Self {
            id,
            name: grant.session_id(),
            client: terms.client,
            client_name: terms.client_name.clone(),
            resource: terms.resource,
            scopes: terms.scopes.clone(),
            provider_session: terms.provider_session,
            created: terms.created,
            refreshed,
            until: stored.until,
            ends: terms.ends,
            standing,
        }
    }
}

/// Ends one session, with all that came out of it.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Which one.
    pub id: GrantId,
    /// From where that is asked.
    pub address: Option<IpAddr>,
}

impl Operation for End {
    /// Whether it had not been revoked before.
    type Reply = bool;

    fn reads(&self) -> Keys {
        Keys::of([Key::Grant(self.id)])
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Decision<bool> {
        Decision::from(self.judge(facts, now, fresh))
    }
}

impl End {
    fn judge(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Result<Decision<bool>, Fault> {
        let key = Key::Grant(self.id);
        readable(facts, &key)?;
        let stored = facts.standing(&key, now)?.ok_or(Fault::SessionUnknown)?;
        let grant = stored.record.grant().ok_or(Fault::SessionUnknown)?;
        if matches!(grant.state, State::Revoked(_)) {
            // Whoever ended it may have been told that too few replicas have it: to say now that it is over, it is written again.
            let again = write(self.id, grant.clone(), stored.until, fresh, true);
            return Ok(Decision::commit(vec![again], Ok(false)));
        }
        let revoked = grant.revoked(Why::Operator, facts.epoch());
        let writes = vec![write(self.id, revoked, stored.until, fresh, true)];
        let event = Event::new(Happened::OperatorRevoked).of(self.id).named(grant.session_id());
        let event = event.by(grant.terms.client).from(self.address);
        Ok(Decision::commit(writes, Ok(true)).noting(event))
    }
}

/// Another replica may still hold the key that this one lacks: to say that there is nothing would not be true.
fn readable(facts: &Facts, key: &Key) -> Result<(), Fault> {
    if let Fact::Unreadable(_) = facts.of(key)? { Err(Fault::StoreUnavailable) } else { Ok(()) }
}

fn found(facts: &Facts, id: GrantId) -> Option<&Grant> {
    match facts.of(&Key::Grant(id)) {
        Ok(Fact::Found(stored)) => stored.record.grant(),
        _ => None,
    }
}

/// Everything that is stored of a person is overwritten, some sessions in each commit, and their list last.
///
/// Their cut stays, so that nothing comes to life again from an older copy; the key that it is kept under is a digest. So does the
/// mark of a login in progress, which tells nothing either, for some minutes.
#[derive(Clone, Debug)]
pub struct Erase {
    /// Who.
    pub person: Person,
    /// Their first sessions, as [`Listed`] has them: at most [`Erase::SESSIONS`].
    pub sessions: Vec<GrantId>,
    /// What the journal is told once that was all.
    pub event: Event,
}

impl Erase {
    /// Sessions in one commit: what fits beside the list.
    pub const SESSIONS: usize = crate::limits::KEYS_MAX - 1;
}

/// What an erasure has come to.
#[derive(Debug, Default)]
pub struct Erased {
    /// Whether that was all.
    pub all: bool,
    /// The provider's refresh tokens that were kept until then, once it was: nobody but the provider knows them any more.
    pub refresh_tokens: Vec<SecretText>,
}

impl Operation for Erase {
    type Reply = Erased;

    fn reads(&self) -> Keys {
        let sessions = self.sessions.iter().take(Self::SESSIONS).filter(|id| id.person == self.person);
        sessions.fold(Keys::of([Key::Identity(self.person)]), |keys, id| keys.and(Some(Key::Grant(*id))))
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Decision<Erased> {
        Decision::from(self.judge(facts, now, fresh))
    }
}

impl Erase {
    fn judge(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Result<Decision<Erased>, Fault> {
        let key = Key::Identity(self.person);
        let mut writes = Vec::new();
        let mut gone = Vec::new();
        for key in self.reads().iter() {
            let Key::Grant(id) = key else { continue };
            readable(facts, key)?;
            gone.push(id.login);
            if let Fact::Found(stored) = facts.of(key)?
                && let Some(grant) = stored.record.grant()
            {
                let emptied = grant.revoked(Why::Operator, facts.epoch()).emptied();
                writes.push(write(*id, emptied, now, fresh, true));
            }
        }
        readable(facts, &key)?;
        let Fact::Found(stored) = facts.of(&key)? else {
            return Ok(Decision::answer(Erased { all: true, ..Erased::default() }));
        };
        let identity = stored.record.identity().ok_or(Fault::Internal("an identity is none"))?;
        let rest = identity.without(&gone);
        let all = rest.is_empty();
        let until = if all { now } else { stored.until };
        writes.push(Identity::write(self.person, rest, until, fresh));
        let refresh_tokens = if all { identity.refresh_tokens().cloned().collect() } else { Vec::new() };
        let decision = Decision::commit(writes, Ok(Erased { all, refresh_tokens }));
        Ok(if all && !identity.is_empty() { decision.noting(self.event) } else { decision })
    }
}

#[cfg(test)]
mod tests;
