//! The end of a login: a person whom the identity provider has vouched for gets a code for the client that they approved.
//!
//! One commit in the person's partition: the mark that this login has come back, the identity, the grant. A second run of the
//! same callback finds the mark and loses, on whichever replica.

use crate::fresh::Fresh;
use crate::journal::{Event, Happened};
use crate::key::{CutScope, GrantId, Key, Person, ProviderSession};
use crate::limits::{CODE_LIFE, FLOW_LIFE};
use crate::oauth::cut::{self, Cuts};
use crate::oauth::exchange::write;
use crate::oauth::fault::Fault;
use crate::oauth::flow::Flow;
use crate::oauth::grant::{Grant, State, Terms, Why};
use crate::oauth::identity::{Claims, Identity, Listed};
use crate::oauth::policy::Policy;
use crate::oauth::redirect::RedirectHash;
use crate::oauth::token::Code;
use crate::oauth::upstream::Brought;
use crate::operation::{Decision, Fact, Facts, Keys, Operation, Question, Write};
use crate::record::Record;
use crate::secret::SecretText;
use crate::time::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;

/// A login that has come back, judged.
#[derive(Clone, Debug)]
pub struct Callback {
    /// The operator's decisions.
    pub policy: Arc<Policy>,
    /// What the person has approved.
    pub flow: Flow,
    /// Who they are, out of a judged ID token.
    pub claims: Claims,
    /// The provider's session, if it names one.
    pub provider_session: Option<ProviderSession>,
    /// What it brought of the provider's tokens.
    pub brought: Brought,
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// The answer to [`Surplus`], asked just before.
    pub surplus: Option<GrantId>,
}

/// Which session of a person has to end for one more to begin, if any.
#[derive(Clone, Copy, Debug)]
pub struct Surplus(pub Person);

impl Question for Surplus {
    type Reply = Option<GrantId>;

    fn asks(&self) -> Keys {
        Keys::of([Key::Identity(self.0)])
    }

    fn then(&self, _first: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, now: Timestamp) -> Result<Option<GrantId>, Fault> {
        Ok(match facts.of(&Key::Identity(self.0))? {
            Fact::Found(stored) => {
                let login = stored.record.identity().and_then(|identity| identity.surplus(now));
                login.map(|login| GrantId { person: self.0, login })
            }
            Fact::Absent | Fact::Unreadable(_) => None,
        })
    }
}

impl Callback {
    /// The person, as this gateway's store knows them.
    #[must_use]
    pub fn person(&self) -> Person {
        Person::of(&self.policy.base_url, &self.claims.issuer, &self.claims.subject)
    }

    fn id(&self) -> GrantId {
        GrantId { person: self.person(), login: self.flow.login() }
    }
}

impl Operation for Callback {
    /// The code.
    type Reply = SecretText;

    fn reads(&self) -> Keys {
        let id = self.id();
        Keys::of([Key::FlowMark(id), Key::Identity(id.person), Key::Grant(id)]).and(self.surplus.map(Key::Grant))
    }

    fn consults(&self, _own: &Facts) -> Keys {
        let session = self.provider_session.map(|session| Key::Cut(CutScope::ProviderSession(session)));
        cut::keys([CutScope::All, CutScope::Client(self.flow.client), CutScope::Person(self.person())]).and(session)
    }

    fn decide(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Decision<SecretText> {
        Decision::from(self.judge(facts, now, fresh))
    }
}

impl Callback {
    fn judge(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Result<Decision<SecretText>, Fault> {
        let id = self.id();
        let mark = Key::FlowMark(id);
        // Whatever stands there, readable or not, says that this login has been here before.
        if !matches!(facts.of(&mark)?, Fact::Absent) || !matches!(facts.of(&Key::Grant(id))?, Fact::Absent) {
            return Err(Fault::CallbackRepeated);
        }
        if now >= self.flow.expires {
            return Err(Fault::FlowExpired);
        }
        let cuts = Cuts::consult(facts, self.consults(facts), now)?;
        let Ok(created) = cuts.begin(now) else { return Err(self.kept_out(facts, now)?) };
        let ends = created.plus(self.policy.lifetimes.absolute);
        let flow = &self.flow;

        let grant = Grant::open(
            Terms {
                seed: fresh.secret("grant seed"),
                client: flow.client,
                client_name: flow.client_name.clone(),
                confidential: flow.confidential,
                scopes: flow.scopes.clone(),
                resource: flow.resource,
                thumbprint: None,
                provider_session: self.provider_session,
                created,
                ends,
            },
            facts.epoch(),
            flow.challenge,
            RedirectHash::of(&flow.redirect),
            now.plus(CODE_LIFE),
            flow.document,
        );
        let code = Code::of(id, &grant);
        let listed = Listed { login: id.login, client_name: flow.client_name.clone(), created, ends };
        let (identity, before) = self.identity(facts, listed, now)?;
        // Never earlier than before: a session that has left the list needs its identity for as long as it was promised.
        let known_until = identity.until().max(before);

        // The code's grant lives as long as its code could at the latest. The mark outlives every way in which this flow can still come
        // back: the form may be approved once more until it ends, and that login has a whole life of its own.
        let until = flow.expires.plus(CODE_LIFE);
        let marked = now.plus(FLOW_LIFE).plus(FLOW_LIFE).plus(CODE_LIFE);
        let plain = |key: Key, until, record| Write {
            key,
            stamp: fresh.stamp(&key),
            until,
            record: Arc::new(record),
            durable: false,
        };
        let mut writes = vec![
            plain(mark, marked, Record::Mark),
            plain(Key::Identity(id.person), known_until, Record::Identity(identity)),
            write(id, grant, until, fresh, false),
        ];
        let ended = self.end_surplus(facts, now, fresh)?;
        let ended = ended.map(|(write, name)| {
            writes.push(write);
            name
        });
        let event = Event::new(Happened::CodeIssued).of(id).by(flow.client).from(self.address);
        let decision = Decision::commit(writes, Ok(code)).noting(event);
        Ok(match self.surplus.zip(ended) {
            Some((surplus, name)) => {
                decision.noting(Event::new(Happened::SessionRevoked).of(surplus).named(name).from(self.address))
            }
            None => decision,
        })
    }

    /// Who it is that the operator keeps out: the client, for whoever it asks, or else the person.
    fn kept_out(&self, facts: &Facts, now: Timestamp) -> Result<Fault, Fault> {
        let of_client = Cuts::consult(facts, cut::keys([CutScope::Client(self.flow.client)]), now)?;
        Ok(if of_client.begin(now).is_err() { Fault::ClientBlocked } else { Fault::PersonRefused })
    }

    /// The end of the person's first session, and what it is called, where they have as many as there may be: whoever may log in cannot fill the store.
    fn end_surplus(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Result<Option<(Write, [u8; 16])>, Fault> {
        let due = Surplus(self.person()).decide(facts, now)?;
        let Some(due) = due else { return Ok(None) };
        // Another login has come in between: whoever asks again hears which session it is now.
        if self.surplus != Some(due) {
            return Err(Fault::Contended);
        }
        let Some(stored) = facts.standing(&Key::Grant(due), now)? else { return Ok(None) };
        let live = stored.record.grant().filter(|grant| !matches!(grant.state, State::Revoked(_)));
        // It leaves the list, by which an erasure finds what there is of the person.
        let ended = |grant: &Grant| grant.revoked(Why::Surplus, facts.epoch()).emptied();
        Ok(live.map(|grant| (write(due, ended(grant), stored.until, fresh, true), grant.session_id())))
    }

    /// The identity after this login, and until when the one before it was to be kept.
    fn identity(&self, facts: &Facts, listed: Listed, now: Timestamp) -> Result<(Identity, Timestamp), Fault> {
        let before = match facts.of(&Key::Identity(self.person()))? {
            Fact::Found(stored) => Some(stored),
            Fact::Absent | Fact::Unreadable(_) => None,
        };
        let known = before.and_then(|stored| stored.record.identity());
        let after = Identity::after_login(known, self.claims.clone(), self.brought.clone(), listed, now);
        Ok((after, before.map_or(Timestamp::EPOCH, |stored| stored.until)))
    }
}
