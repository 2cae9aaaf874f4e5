//! The provider's tokens of a person, kept fresh.
//!
//! One at a time asks the provider: in this process whoever has the turn, over all replicas whoever has the lease. The asking runs
//! to its end whoever hangs up, and the answer is stored before anybody uses it.

use super::{Gateway, revocation};
use crate::deadline::within;
use crate::{BackAnswer, Clock, IdentityProvider, Journal, Tasks, Turnstiles, Unreachable, World, transact};
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::key::{Partition, Person};
use portcullis_domain::limits::{
    UPSTREAM_AGAIN, UPSTREAM_FRESH, UPSTREAM_LEASE, UPSTREAM_POLL, UPSTREAM_REFUSAL_PAUSE, UPSTREAM_WAIT,
};
use portcullis_domain::oauth::exchange::Tokens;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::identity::{Claims, Identity};
use portcullis_domain::oauth::refresh::Refresh;
use portcullis_domain::oauth::upstream::{Answer, Brought, Settle, Settled, TakeTurn, Turn, Wanted};
use portcullis_domain::oidc::discovery::Provider;
use portcullis_domain::oidc::id_token::{self, Occasion};
use portcullis_domain::oidc::relying_party::RelyingParty;
use portcullis_domain::oidc::request;
use portcullis_domain::oidc::token_response::{self, Refreshed};
use portcullis_domain::record::Record;
use portcullis_domain::secret::SecretText;
use portcullis_domain::time::Timestamp;
use std::future::Future;
use std::sync::Arc;

impl<W: World> Gateway<W> {
    /// The person's identity record with an ID token that is good: the known one as long as it is not time to renew it, or a newer one
    /// that the provider is asked for, or the known one to its end where that brings nothing.
    ///
    /// # Errors
    /// [`Fault::LoginNeeded`] if only a login brings another one, [`Fault::ProviderUnavailable`] if the provider gives none now,
    /// and whatever keeps the store from answering.
    pub fn fresh_identity(
        &self,
        person: Person,
        known: &Arc<Record>,
    ) -> impl Future<Output = Result<Arc<Record>, Fault>> + Send + use<W> {
        let (renewal, known) = (self.renewal(person, Wanted::IdToken), Arc::clone(known));
        async move {
            let world = Arc::clone(&renewal.world);
            let identity = known.identity().ok_or(Fault::LoginNeeded)?;
            if Wanted::IdToken.found_in(identity, world.clock().now()) {
                return Ok(known);
            }
            let renewed = renewal.asked().await;
            let now = world.clock().now();
            let is_good =
                |record: &Record| record.identity().and_then(Identity::id_token).is_some_and(|kept| now < kept.ends);
            match renewed {
                Ok(record) if is_good(&record) => Ok(record),
                // What has come has ended already, or nothing has come at all (OpenID Connect Core section 12.2).
                Ok(record) if record.identity().is_some_and(Identity::renews_id_token) => {
                    Err(Fault::ProviderUnavailable)
                }
                Ok(_) => Err(Fault::LoginNeeded),
                Err(Fault::ProviderUnavailable) if is_good(&known) => Ok(known),
                Err(Fault::SessionEnded) => Err(Fault::LoginNeeded),
                Err(fault) => Err(fault),
            }
        }
    }

    /// Refreshes a client's tokens, with newer ones of the provider if they are bound to them and those end soon.
    ///
    /// # Errors
    /// Whatever rule refuses it.
    pub async fn refreshed(&self, mut refresh: Refresh) -> Result<Tokens, Fault> {
        match transact(&self.world, refresh.clone()).await {
            // Nothing of the client's is spent yet: whatever the provider says, it may come again.
            Err(Fault::ProviderStale) => {
                let wanted = Wanted::Until(self.world.clock().now().plus(UPSTREAM_FRESH));
                match self.renew(refresh.token.id.person, wanted).await {
                    Ok(_) | Err(Fault::ProviderUnavailable | Fault::SessionEnded) => {}
                    Err(fault) => return Err(fault),
                }
                refresh.provider_asked = true;
                transact(&self.world, refresh).await
            }
            answered => answered,
        }
    }

    /// Asks the provider for newer tokens of a person, unless somebody else does or has since.
    ///
    /// # Errors
    /// [`Fault::SessionEnded`] if only a login brings newer ones, [`Fault::ProviderUnavailable`] if the provider gives none now,
    /// and whatever keeps the store from answering. The sessions stand, but for the first.
    pub async fn renew(&self, person: Person, wanted: Wanted) -> Result<Arc<Record>, Fault> {
        self.renewal(person, wanted).asked().await
    }

    fn renewal(&self, person: Person, wanted: Wanted) -> Renewal<W> {
        Renewal { world: Arc::clone(&self.world), party: Arc::clone(&self.relying_party), person, wanted }
    }
}

/// One asking, which outlives whoever wanted it.
pub(super) struct Renewal<W: World> {
    pub(super) world: Arc<W>,
    pub(super) party: Arc<RelyingParty>,
    pub(super) person: Person,
    wanted: Wanted,
}

impl<W: World> Renewal<W> {
    /// Runs it to its end whoever hangs up, and waits for it no longer than anybody should.
    async fn asked(self) -> Result<Arc<Record>, Fault> {
        let world = Arc::clone(&self.world);
        let clock = world.clock();
        let deadline = clock.monotonic().saturating_add(UPSTREAM_WAIT);
        let asking = world.tasks().run(async move { self.run(deadline).await });
        match within(clock, deadline, asking).await {
            Some(Some(renewed)) => renewed,
            Some(None) => Err(Fault::Internal("a refresh at the provider did not come to its end")),
            None => Err(Fault::ProviderUnavailable),
        }
    }

    async fn run(self, deadline: std::time::Duration) -> Result<Arc<Record>, Fault> {
        let clock = self.world.clock();
        let queue = Partition::of_upstream(self.person);
        let pass = within(clock, deadline, self.world.turnstiles().enter(queue)).await;
        let _pass = pass.ok_or(Fault::ProviderUnavailable)?;
        while clock.monotonic() < deadline {
            match transact(&self.world, TakeTurn { person: self.person, wanted: self.wanted }).await? {
                Turn::Fresh(record) => return Ok(record),
                Turn::LoginNeeded => return Err(Fault::SessionEnded),
                Turn::TooSoon => return Err(Fault::ProviderUnavailable),
                Turn::Wait => clock.sleep(UPSTREAM_POLL).await,
                Turn::Yours { number, token, issuer, subject } => {
                    let answer = Arc::new(self.ask(&token, &issuer, &subject).await);
                    match self.settle(number, &token, &answer).await? {
                        Settled::Renewed(record) => return Ok(record),
                        Settled::Overtaken => {}
                        // Erased meanwhile: nobody but the provider must know what it has just given.
                        Settled::Forgotten => {
                            let left = answer.refresh_token().cloned().into_iter().collect();
                            revocation::begin(&self.world, &self.party, self.person, left);
                            return Err(Fault::SessionEnded);
                        }
                        Settled::RefusedOnce => clock.sleep(UPSTREAM_REFUSAL_PAUSE).await,
                        Settled::Ended => return Err(Fault::SessionEnded),
                        Settled::Unchanged => return Err(Fault::ProviderUnavailable),
                    }
                }
            }
        }
        Err(Fault::ProviderUnavailable)
    }

    /// Stores the answer. It may hold the only good refresh token there is, so a store that is away is waited for.
    async fn settle(&self, number: u64, sent: &SecretText, answer: &Arc<Answer>) -> Result<Settled, Fault> {
        let clock = self.world.clock();
        let deadline = clock.monotonic().saturating_add(UPSTREAM_LEASE);
        loop {
            let settle = Settle { person: self.person, number, sent: sent.clone(), answer: Arc::clone(answer) };
            match transact(&self.world, settle).await {
                Err(Fault::StoreUnavailable | Fault::Contended | Fault::Full) if clock.monotonic() < deadline => {
                    clock.sleep(UPSTREAM_POLL).await;
                }
                settled => return settled,
            }
        }
    }

    /// Sends the refresh token, and at once a second time if the answer to the first was lost on its way.
    pub(super) async fn send(&self, provider: &Provider, token: &SecretText) -> Result<BackAnswer, Unreachable> {
        let (port, clock) = (self.world.provider(), self.world.clock());
        let request = || request::refresh(provider, &self.party.credentials, token);
        let again = clock.monotonic().saturating_add(UPSTREAM_AGAIN);
        let answer = port.send(request()).await;
        // 502 and 504 are of somebody in between who heard nothing of the provider either.
        let lost = answer.as_ref().map_or(true, |answer| matches!(answer.status, 502 | 504));
        if lost && clock.monotonic() < again { port.send(request()).await } else { answer }
    }

    async fn ask(&self, token: &SecretText, issuer: &str, subject: &str) -> Answer {
        let (port, clock) = (self.world.provider(), self.world.clock());
        let Some(provider) = port.discovered() else { return Answer::Nothing };
        if let Some(api) = &provider.api {
            return self.ask_api(&provider, api, token, issuer, subject).await;
        }
        let deadline = clock.monotonic().saturating_add(UPSTREAM_WAIT);
        let Ok(BackAnswer { status, content_type, body }) = self.send(&provider, token).await else {
            return Answer::Nothing;
        };
        let content_type = content_type.as_deref();
        let only = |successor: Option<SecretText>| successor.map_or(Answer::Nothing, Answer::OnlyRefresh);
        let Refreshed { access_token, expires_in, refresh_token, id_token } =
            match token_response::judge_refreshed(status, content_type, &body) {
                Ok(refreshed) => refreshed,
                Err(failure) if self.party.profile.refuses_token(failure) => return Answer::Refused,
                Err(_) => return only(token_response::successor(status, content_type, &body)),
            };
        let now = clock.now();
        let said = expires_in.map(|life| now.plus(life));
        let Some(id_token) = id_token else {
            let brought = Brought { refresh: refresh_token, id_token: None, withheld: true, ends: said };
            return Answer::Tokens(brought, None);
        };
        let expected = id_token::Expected {
            provider: &provider,
            client_id: &self.party.credentials.client_id,
            access_token: access_token.expose(),
            groups_claim: &self.party.groups_claim,
            occasion: Occasion::Refresh { issuer, subject },
        };
        // Keys that are slow to come must not hold up the successor until somebody else has the lease.
        let judged = within(clock, deadline, judged(&*self.world, &id_token, &expected)).await;
        let person = match judged.unwrap_or(Err(Fault::ProviderUnavailable)) {
            Ok(person) => person,
            Err(fault) => {
                let event = Event::new(Happened::LoginRefused).about(self.person).under(fault);
                self.world.journal().note(now, &event);
                return only(refresh_token);
            }
        };
        if !self.party.entry.admits(&person) {
            return Answer::Barred;
        }
        let brought = brought(&self.party, refresh_token, id_token, person.expires, said);
        Answer::Tokens(brought, Some(Box::new(Claims::from(person))))
    }
}

/// What is kept of the provider's tokens.
pub(super) fn brought(
    party: &RelyingParty,
    refresh: Option<SecretText>,
    id_token: SecretText,
    expires: Timestamp,
    said: Option<Timestamp>,
) -> Brought {
    let id_token = party.keeps_id_token.then_some((id_token, expires));
    Brought { refresh, id_token, withheld: false, ends: Some(said.map_or(expires, |said| said.min(expires))) }
}

/// Judges an ID token by the provider's keys, fetched anew if it names one that is not known.
///
/// # Errors
/// [`Fault::ProviderUnavailable`], or [`Fault::IdToken`].
pub(super) async fn judged<W: World>(
    world: &W,
    token: &SecretText,
    expected: &id_token::Expected<'_>,
) -> Result<id_token::Person, Fault> {
    let port = world.provider();
    let keys = port.keys().await.map_err(|_| Fault::ProviderUnavailable)?;
    let now = world.clock().now();
    let mut judged = id_token::judge(token.expose(), &keys, expected, now);
    if judged == Err(id_token::Refused::UnknownKey) {
        let newer = port.newer_keys(&keys).await.map_err(|_| Fault::ProviderUnavailable)?;
        judged = id_token::judge(token.expose(), &newer, expected, now);
    }
    judged.map_err(Fault::IdToken)
}
