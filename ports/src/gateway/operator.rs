//! What the operator may do to sessions. Who the operator is has been judged before.

use super::{Gateway, revocation};
use crate::{Clock, World, ask, transact};
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::key::{CutScope, GrantId, Person};
use portcullis_domain::limits::{IDENTITY_GRANTS_MAX, OPERATOR_REFRESH_PAUSE};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::sessions::{End, Erase, Known, Listed, Look, Session, Standing};
use portcullis_domain::oauth::sever::{Lift, Sever};
use portcullis_domain::oauth::upstream::{Upstream, Wanted};
use portcullis_domain::time::Timestamp;
use std::net::IpAddr;

/// Some of a person's sessions.
#[derive(Debug)]
pub struct Page {
    /// The sessions, the earliest first.
    pub sessions: Vec<Session>,
    /// The last one that was looked at, if there are more behind it.
    pub next: Option<GrantId>,
}

/// What a refresh of a session at the provider came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionRefreshed {
    /// The provider's tokens came just before: it was not asked again.
    Fresh(Held),
    /// They are newer now.
    Refreshed(Held),
    /// There is no refresh token of the provider: only a login brings newer ones. The session lives on.
    LoginNeeded,
    /// The provider has refused twice: every session of the person is over.
    Ended,
}

/// What there is of the provider's tokens of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// When they end, where the provider says.
    pub ends: Option<Timestamp>,
    /// The end of the ID token, where one is kept.
    pub id_token: Option<Timestamp>,
}

impl Held {
    fn of(upstream: &Upstream) -> Self {
        Self { ends: upstream.ends, id_token: upstream.id_token.as_ref().map(|(_, ends)| *ends) }
    }
}

/// Erasures in a row until it is taken for a person who logs in all the time: each takes at least one session off the list.
const ERASURES_MAX: usize = 2 * IDENTITY_GRANTS_MAX / Erase::SESSIONS;

impl<W: World> Gateway<W> {
    /// The sessions of a person behind this one, so many at the most. Those that are there no more are left out.
    ///
    /// # Errors
    /// [`Fault::StoreUnavailable`].
    pub async fn sessions(&self, person: Person, after: Option<GrantId>, most: usize) -> Result<Page, Fault> {
        let listed = ask(&*self.world, &Listed(person)).await?;
        // One that has left the list since is taken for the end of it: no session is shown twice.
        let begin = match after {
            None => 0,
            Some(after) => listed.iter().position(|id| *id == after).map_or(listed.len(), |at| at.saturating_add(1)),
        };
        let page = listed.iter().skip(begin).take(most);
        let end = begin.saturating_add(page.len());
        let mut sessions = Vec::with_capacity(page.len());
        for id in page {
            sessions.extend(ask(&*self.world, &Look(*id)).await?);
        }
        let last = end.checked_sub(1).filter(|_| end < listed.len());
        Ok(Page { sessions, next: last.and_then(|last| listed.get(last)).copied() })
    }

    /// One session.
    ///
    /// # Errors
    /// [`Fault::SessionUnknown`], [`Fault::StoreUnavailable`].
    pub async fn session(&self, id: GrantId) -> Result<Session, Fault> {
        ask(&*self.world, &Look(id)).await?.ok_or(Fault::SessionUnknown)
    }

    /// Ends one session: whether it had not been revoked before.
    ///
    /// # Errors
    /// [`Fault::SessionUnknown`]; [`Fault::StoreUnavailable`], [`Fault::Contended`] or [`Fault::Full`]: then it may not have happened.
    pub async fn end_session(&self, id: GrantId, address: Option<IpAddr>) -> Result<bool, Fault> {
        transact(&self.world, End { id, address }).await
    }

    /// Ends everything of somebody; with `keep_out`, nothing begins any more either, until it is lifted.
    ///
    /// # Errors
    /// [`Fault::StoreUnavailable`], [`Fault::Contended`] or [`Fault::Full`]: then it may not have happened.
    pub async fn cut(&self, scope: CutScope, keep_out: bool, address: Option<IpAddr>) -> Result<(), Fault> {
        let happened = if keep_out { Happened::OperatorBlocked } else { Happened::OperatorCut };
        let event = Event::new(happened).within(scope).from(address);
        transact(&self.world, Sever { scope, keep_out, event }).await
    }

    /// Lets somebody in again: whether they were kept out. What was there before stays ended.
    ///
    /// # Errors
    /// As [`Gateway::cut`].
    pub async fn lift(&self, scope: CutScope, address: Option<IpAddr>) -> Result<bool, Fault> {
        let event = Event::new(Happened::OperatorLifted).within(scope).from(address);
        transact(&self.world, Lift { scope, event }).await
    }

    /// Ends everything of a person, and then erases everything that is stored of them. They may log in again. The provider is asked to
    /// revoke what it has given for them; nobody waits for that.
    ///
    /// # Errors
    /// As [`Gateway::cut`]; then a part of it may be left, and doing it again does the rest.
    pub async fn erase(&self, person: Person, address: Option<IpAddr>) -> Result<(), Fault> {
        self.cut(CutScope::Person(person), false, address).await?;
        for _ in 0..ERASURES_MAX {
            let mut sessions = ask(&*self.world, &Listed(person)).await?;
            sessions.truncate(Erase::SESSIONS);
            let event = Event::new(Happened::OperatorErased).about(person).from(address);
            let erased = transact(&self.world, Erase { person, sessions, event }).await?;
            if erased.all {
                revocation::begin(&self.world, &self.relying_party, person, erased.refresh_tokens);
                return Ok(());
            }
        }
        Err(Fault::Contended)
    }

    /// Has the provider's tokens of a session's person renewed, unless they came just now. The client's tokens stay as they are.
    ///
    /// # Errors
    /// [`Fault::SessionUnknown`] if it does not live; [`Fault::ProviderUnavailable`], [`Fault::StoreUnavailable`] and what else
    /// keeps it from being known: the session stands then.
    pub async fn refresh_session(&self, id: GrantId, address: Option<IpAddr>) -> Result<SessionRefreshed, Fault> {
        self.living(id).await?;
        let now = self.world.clock().now();
        self.note(now, Event::new(Happened::OperatorRefreshed).of(id).from(address));
        let wanted = Wanted::After(now.minus(OPERATOR_REFRESH_PAUSE));
        if let Some(record) = ask(&*self.world, &Known(id.person)).await?
            && let Some(identity) = record.identity().filter(|identity| wanted.found_in(identity, now))
        {
            return Ok(SessionRefreshed::Fresh(Held::of(&identity.upstream)));
        }
        match self.renew(id.person, wanted).await {
            Ok(record) => {
                let identity = record.identity().ok_or(Fault::Internal("an identity is none"))?;
                Ok(SessionRefreshed::Refreshed(Held::of(&identity.upstream)))
            }
            Err(Fault::SessionEnded) => Ok(match self.living(id).await {
                Ok(()) => SessionRefreshed::LoginNeeded,
                Err(Fault::SessionUnknown) => SessionRefreshed::Ended,
                Err(fault) => return Err(fault),
            }),
            Err(fault) => Err(fault),
        }
    }

    async fn living(&self, id: GrantId) -> Result<(), Fault> {
        match self.session(id).await?.standing {
            Standing::Lives => Ok(()),
            Standing::Begins | Standing::Revoked | Standing::Cut => Err(Fault::SessionUnknown),
        }
    }

    /// Notes that the operator has looked at a person's sessions.
    pub fn looked(&self, person: Person, address: Option<IpAddr>) {
        self.note(self.world.clock().now(), Event::new(Happened::OperatorLooked).about(person).from(address));
    }

    /// Notes that somebody has asked without the operator's token.
    pub fn not_the_operator(&self, address: Option<IpAddr>) {
        self.note(self.world.clock().now(), Event::new(Happened::OperatorRefused).from(address));
    }
}
