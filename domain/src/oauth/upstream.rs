//! The provider's tokens of a person: who may ask for newer ones, and what becomes of the answer.
//!
//! ```text
//!   TakeTurn ──► Fresh: nothing to do            Settle ──► Renewed: written before anybody uses it
//!            ──► Wait: another replica is asking        ──► Overtaken: another token stands there by now
//!            ──► Yours: a lease with its number         ──► RefusedOnce: to be asked again, a pause later
//!                     │                                 ──► Ended: refused twice, every session is over
//!                     └── the provider is asked ──► Settle
//! ```
//!
//! A provider such as Dex keeps one refresh token per person and client, replaces it on use, and takes the second use of one for
//! a theft. So it is asked by one at a time, over all replicas; an answer counts only if the token that was sent is still the one
//! that is stored; and a refusal counts only if it is of that token, and comes again. Of logins that come close together nobody
//! knows whose token the provider made last, and with it put an end to the others: they are kept until one of them has worked.

use crate::fresh::Fresh;
use crate::journal::{Event, Happened};
use crate::key::{CutScope, Key, Person};
use crate::limits::{
    UPSTREAM_CLOSE, UPSTREAM_FRESH, UPSTREAM_LEASE, UPSTREAM_REFUSAL_PAUSE, UPSTREAM_REST, UPSTREAM_SPARES_MAX,
};
use crate::oauth::cut::Cut;
use crate::oauth::fault::Fault;
use crate::oauth::grant::Lifetimes;
use crate::oauth::identity::{Claims, Identity};
use crate::oauth::policy::Policy;
use crate::oauth::resource::{Resource, ResourceHash};
use crate::operation::{Decision, Fact, Facts, Keys, Operation, Stored, Write};
use crate::record::Record;
use crate::secret::SecretText;
use crate::time::Timestamp;
use std::sync::Arc;

/// What a login or a refresh brought of the provider's tokens.
#[derive(Clone, Debug, Default)]
pub struct Brought {
    /// A refresh token, if there was one.
    pub refresh: Option<SecretText>,
    /// The ID token with its end, if what stands behind the gate is shown it.
    pub id_token: Option<(SecretText, Timestamp)>,
    /// Whether the answer held no ID token, as that to a refresh need not (OpenID Connect Core section 12.2).
    pub withheld: bool,
    /// When the provider's tokens end, where it says.
    pub ends: Option<Timestamp>,
}

/// The right to ask the provider, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Lease {
    /// Which one: every lease of a person has a higher number than the one before.
    pub number: u64,
    /// Until when nobody else asks; [`Timestamp::EPOCH`] once it has been given back.
    pub until: Timestamp,
}

/// What is known of the provider's tokens beside the refresh token.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    /// The ID token with its end, if it is kept.
    pub id_token: Option<(SecretText, Timestamp)>,
    /// Whether the latest answer held none: then this one is older than the other tokens.
    pub withheld: bool,
    /// When the provider's tokens end, where it says.
    pub ends: Option<Timestamp>,
    /// When they came.
    pub renewed: Timestamp,
    /// The latest lease.
    pub lease: Lease,
    /// When the stored refresh token was refused for the first time.
    pub refused: Option<Timestamp>,
    /// The refresh tokens of logins just before the latest one, the latest first.
    pub spares: Vec<SecretText>,
}

impl Upstream {
    /// Keeps the refresh token that a login replaces, if it may be the better one.
    pub(crate) fn spare(&mut self, before: Option<&SecretText>, brought: &Brought, now: Timestamp) {
        let (Some(before), Some(next)) = (before, brought.refresh.as_ref()) else { return };
        if now >= self.renewed.plus(UPSTREAM_CLOSE) {
            self.spares.clear();
        } else if !next.same(before.expose()) {
            self.spares.insert(0, before.clone());
            self.spares.truncate(UPSTREAM_SPARES_MAX);
        }
    }
}

/// Which tokens are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Such as live on at least until then.
    Until(Timestamp),
    /// Such as came after this.
    After(Timestamp),
    /// An ID token for which it is not time yet to be renewed.
    IdToken,
}

impl Wanted {
    /// Whether they are there.
    #[must_use]
    pub fn found_in(self, identity: &Identity, now: Timestamp) -> bool {
        match self {
            Self::Until(time) => identity.upstream.ends.is_none_or(|end| end > time),
            Self::After(time) => identity.upstream.renewed > time,
            Self::IdToken => identity.id_token().is_some_and(|kept| now < kept.renew),
        }
    }
}

/// Asks for the turn to refresh a person's tokens.
#[derive(Debug)]
pub struct TakeTurn {
    /// Whose.
    pub person: Person,
    /// What is there already need not be asked for.
    pub wanted: Wanted,
}

/// What asking for the turn leads to.
#[derive(Debug)]
pub enum Turn {
    /// What is wanted is there.
    Fresh(Arc<Record>),
    /// Ask the provider with this token; the answer goes into [`Settle`].
    Yours {
        /// The number of the lease.
        number: u64,
        /// The refresh token.
        token: SecretText,
        /// The person's issuer.
        issuer: String,
        /// The person's subject there.
        subject: String,
    },
    /// Somebody else is asking.
    Wait,
    /// The provider has just been asked, and what it gave is of no use already.
    TooSoon,
    /// Asking brings nothing, because there is no refresh token, or no ID token for one: only a login brings newer ones.
    LoginNeeded,
}

impl Operation for TakeTurn {
    type Reply = Turn;

    fn reads(&self) -> Keys {
        Keys::of([Key::Identity(self.person)])
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Decision<Turn> {
        Decision::from(self.judge(facts, now, fresh))
    }
}

impl TakeTurn {
    fn judge(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Result<Decision<Turn>, Fault> {
        let (stored, identity) = known(self.person, facts, now)?.ok_or(Fault::SessionEnded)?;
        if self.wanted.found_in(identity, now) {
            return Ok(Decision::answer(Turn::Fresh(Arc::clone(&stored.record))));
        }
        let for_id_token = self.wanted == Wanted::IdToken;
        let Some(token) = identity.upstream_refresh.clone().filter(|_| !for_id_token || identity.renews_id_token())
        else {
            return Ok(Decision::answer(Turn::LoginNeeded));
        };
        let renewed = identity.upstream.renewed;
        if for_id_token && now >= renewed && now < renewed.plus(UPSTREAM_REST) {
            return Ok(Decision::answer(Turn::TooSoon));
        }
        if now < identity.upstream.lease.until {
            return Ok(Decision::answer(Turn::Wait));
        }
        let number = identity.upstream.lease.number.saturating_add(1);
        let mut next = identity.clone();
        next.upstream.lease = Lease { number, until: now.plus(UPSTREAM_LEASE) };
        let Claims { issuer, subject, .. } = identity.claims.clone();
        let turn = Turn::Yours { number, token, issuer, subject };
        Ok(Decision::commit(vec![rewritten(self.person, stored, next, fresh, false)], Ok(turn)))
    }
}

/// Takes in what the provider answered.
#[derive(Debug)]
pub struct Settle {
    /// Whose tokens.
    pub person: Person,
    /// The number of the lease under which it was asked.
    pub number: u64,
    /// The refresh token that was sent.
    pub sent: SecretText,
    /// The answer.
    pub answer: Arc<Answer>,
}

/// What the provider answered.
#[derive(Debug)]
pub enum Answer {
    /// Tokens, with newer claims where it said some.
    Tokens(Brought, Option<Box<Claims>>),
    /// A next refresh token in an answer that is otherwise no good: the one that was sent is spent all the same.
    OnlyRefresh(SecretText),
    /// That the refresh token is no good.
    Refused,
    /// Somebody whom the operator, or the provider, does not let in any more.
    Barred,
    /// Nothing that says anything about the token.
    Nothing,
}

/// What became of the answer.
#[derive(Debug)]
pub enum Settled {
    /// It is stored.
    Renewed(Arc<Record>),
    /// Another token is stored by now, or another lease was given: look again.
    Overtaken,
    /// Nothing is known of the person any more.
    Forgotten,
    /// Refused for the first time: to be asked again after [`UPSTREAM_REFUSAL_PAUSE`].
    RefusedOnce,
    /// Every session of the person is over.
    Ended,
    /// Nothing has changed.
    Unchanged,
}

impl Answer {
    /// The refresh token in it.
    #[must_use]
    pub const fn refresh_token(&self) -> Option<&SecretText> {
        match self {
            Self::Tokens(Brought { refresh, .. }, _) => refresh.as_ref(),
            Self::OnlyRefresh(token) => Some(token),
            Self::Refused | Self::Barred | Self::Nothing => None,
        }
    }
}

impl Operation for Settle {
    type Reply = Settled;

    fn reads(&self) -> Keys {
        Keys::of([Key::Identity(self.person), Key::Cut(CutScope::Person(self.person))])
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Decision<Settled> {
        Decision::from(self.judge(facts, now, fresh))
    }
}

impl Settle {
    fn judge(&self, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Result<Decision<Settled>, Fault> {
        let Some((stored, identity)) = known(self.person, facts, now)? else {
            return Ok(Decision::answer(Settled::Forgotten));
        };
        let present = identity.upstream_refresh.as_ref().is_some_and(|token| token.same(self.sent.expose()));
        let lease = identity.upstream.lease;
        // Whoever does not know whether an answer was taken in brings it again. One that has given the lease back has counted: it
        // must not be taken for a second refusal.
        let mine = lease.number == self.number && lease.until != Timestamp::EPOCH;
        let mut next = identity.clone();
        if mine {
            next.upstream.lease.until = Timestamp::EPOCH;
        }
        // The only good refresh token there is must not be lost to a failover, nor to a store that is full.
        let write = |next| vec![rewritten(self.person, stored, next, fresh, self.rotates())];
        // A login in between has made a spare of the token that was sent. That one is spent, and its successor stands for that login now.
        let spare = next.upstream.spares.iter_mut().find(|spare| spare.same(self.sent.expose()));
        let succeeded = match (spare, self.answer.refresh_token()) {
            (Some(spare), Some(token)) if self.rotates() => {
                *spare = token.clone();
                true
            }
            _ => false,
        };
        if !present || !(mine || self.rotates()) {
            // Whoever has the next lease is asking already: it is theirs to give back.
            return Ok(if mine || succeeded {
                Decision::commit(write(next), Ok(Settled::Overtaken))
            } else {
                Decision::answer(Settled::Overtaken)
            });
        }
        match &*self.answer {
            Answer::Tokens(brought, claims) => {
                next.take(brought.clone(), now);
                next.upstream.spares.clear();
                if let Some(claims) = claims {
                    next.claims = (**claims).clone();
                }
                let writes = write(next);
                let record = writes.first().map(|write| Arc::clone(&write.record));
                let record = record.ok_or(Fault::Internal("a refresh without its record"))?;
                let event = Event::new(Happened::UpstreamRefreshed).about(self.person);
                Ok(Decision::commit(writes, Ok(Settled::Renewed(record))).noting(event))
            }
            Answer::OnlyRefresh(token) => {
                next.upstream_refresh = Some(token.clone());
                // The provider has taken the one before it.
                next.upstream.refused = None;
                next.upstream.spares.clear();
                Ok(Decision::commit(write(next), Ok(Settled::Unchanged)))
            }
            Answer::Refused => match next.upstream.refused {
                Some(first) if now >= first.plus(UPSTREAM_REFUSAL_PAUSE) => {
                    if next.upstream.spares.is_empty() {
                        return self.end(facts, stored, next, Fault::SessionEnded, now, fresh);
                    }
                    next.upstream_refresh = Some(next.upstream.spares.remove(0));
                    next.upstream.refused = None;
                    Ok(Decision::commit(write(next), Ok(Settled::Overtaken)))
                }
                first => {
                    next.upstream.refused = first.or(Some(now));
                    Ok(Decision::commit(write(next), Ok(Settled::RefusedOnce)))
                }
            },
            Answer::Barred => self.end(facts, stored, next, Fault::PersonRefused, now, fresh),
            Answer::Nothing => Ok(Decision::commit(write(next), Ok(Settled::Unchanged))),
        }
    }

    /// Whether the answer spends the token that was sent: then it is the truth, however late it comes.
    fn rotates(&self) -> bool {
        self.answer.refresh_token().is_some_and(|token| !token.same(self.sent.expose()))
    }

    fn end(
        &self,
        facts: &Facts,
        stored: &Stored,
        mut next: Identity,
        fault: Fault,
        now: Timestamp,
        fresh: &Fresh,
    ) -> Result<Decision<Settled>, Fault> {
        next.upstream_refresh = None;
        next.upstream.id_token = None;
        next.upstream.spares.clear();
        let mut writes = vec![rewritten(self.person, stored, next, fresh, true)];
        writes.extend(cut_again(CutScope::Person(self.person), facts, now, fresh)?);
        let event = Event::new(Happened::UpstreamEnded).about(self.person).under(fault);
        Ok(Decision::commit(writes, Ok(Settled::Ended)).noting(event))
    }
}

/// Until when an access token may live that is issued now: the end of the provider's own tokens, where it is bound to them.
///
/// # Errors
/// [`Fault::ProviderStale`] if that is soon and the provider has not been `asked` for newer ones; what it says of the session if it
/// has been and there are none.
pub(crate) fn bound(
    lifetimes: &Lifetimes,
    person: Person,
    facts: &Facts,
    now: Timestamp,
    asked: bool,
) -> Result<Timestamp, Fault> {
    if !lifetimes.bound {
        return Ok(Timestamp::FAR);
    }
    let (_, identity) = known(person, facts, now)?.ok_or(Fault::SessionEnded)?;
    match identity.upstream.ends {
        None => Ok(Timestamp::FAR),
        Some(ends) if ends > now.plus(UPSTREAM_FRESH) || (asked && ends > now) => Ok(ends),
        Some(_) if !asked => Err(Fault::ProviderStale),
        Some(_) if identity.upstream_refresh.is_none() => Err(Fault::SessionEnded),
        Some(_) => Err(Fault::ProviderUnavailable),
    }
}

/// Whether the login still gives what the server of this resource is shown of it.
///
/// # Errors
/// [`Fault::SessionEnded`] if that is an ID token, and only a login brings another one.
pub(crate) fn login_stands(
    policy: &Policy,
    resource: ResourceHash,
    person: Person,
    facts: &Facts,
    now: Timestamp,
) -> Result<(), Fault> {
    if !policy.resources.by_hash(resource).is_some_and(Resource::wants_id_token) {
        return Ok(());
    }
    let (_, identity) = known(person, facts, now)?.ok_or(Fault::SessionEnded)?;
    if identity.shows_id_token(now) { Ok(()) } else { Err(Fault::SessionEnded) }
}

/// The identity, where a decision about tokens of this policy needs it.
pub(crate) fn consulted(policy: &Policy, person: Person) -> Option<Key> {
    let needed = policy.lifetimes.bound || policy.resources.want_id_tokens();
    needed.then_some(Key::Identity(person))
}

/// The write that ends everything of a scope that was created before now. Nothing where there is a block that cannot be read:
/// it ends everything already.
///
/// # Errors
/// [`Fault::Internal`] if the cut was never asked for.
pub(crate) fn cut_again(scope: CutScope, facts: &Facts, now: Timestamp, fresh: &Fresh) -> Result<Option<Write>, Fault> {
    let key = Key::Cut(scope);
    let cut = match facts.of(&key)? {
        Fact::Unreadable(_) => return Ok(None),
        Fact::Found(stored) if now < stored.until => {
            stored.record.cut().map_or_else(|| Cut::before(now), |cut| cut.again(now))
        }
        Fact::Found(_) | Fact::Absent => Cut::before(now),
    };
    let until = cut.until();
    Ok(Some(Write { key, stamp: fresh.stamp(&key), until, record: Arc::new(Record::Cut(cut)), durable: true }))
}

/// The person's identity, if there is one.
fn known(person: Person, facts: &Facts, now: Timestamp) -> Result<Option<(&Stored, &Identity)>, Fault> {
    let key = Key::Identity(person);
    // Another replica may still hold the key that this one lacks.
    if let Fact::Unreadable(_) = facts.of(&key)? {
        return Err(Fault::StoreUnavailable);
    }
    let stored = facts.standing(&key, now)?;
    Ok(stored.and_then(|stored| stored.record.identity().map(|identity| (stored, identity))))
}

fn rewritten(person: Person, stored: &Stored, next: Identity, fresh: &Fresh, durable: bool) -> Write {
    let key = Key::Identity(person);
    let record = Arc::new(Record::Identity(next));
    Write { key, stamp: fresh.stamp(&key), until: stored.until, record, durable }
}

mod id_token;
pub use id_token::IdToken;

#[cfg(test)]
mod tests;
