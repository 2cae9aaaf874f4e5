//! The grant: one login of one client, from its code to its end.
//!
//! ```text
//!             redeem                      revoke
//!   Code ───────────────► Live ─────────────────────────► Revoked
//!                         │  ▲
//!                         └──┘ rotate (generation + 1)
//! ```
//!
//! Nothing that a client presents is stored. Code and refresh tokens are derived from the grant's seed, so the successor of a
//! refresh token is the same for everybody who is entitled to it: a family cannot fork. No master key goes into them, so a
//! key rotation cannot touch them.

use crate::codec::{Broken, Fields, Writer};
use crate::hash;
use crate::key::{ClientHash, ProviderSession};
use crate::limits::{
    ABSOLUTE_LIFE, ACCESS_LIFE, GRANT_CLIENT_NAME_MAX, IDLE_LIFE, REFRESH_GRACE, REFRESH_GRACE_MAX,
    ROTATIONS_REMEMBERED, SPENT_LIFE,
};
use crate::oauth::client_document::DocumentHash;
use crate::oauth::pkce::Challenge;
use crate::oauth::redirect::RedirectHash;
use crate::oauth::resource::ResourceHash;
use crate::oauth::scope::Scopes;
use crate::operation::Epoch;
use crate::secret::Secret;
use crate::time::Timestamp;
use ring::hmac;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long what is issued lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// An access token.
    pub access: Duration,
    /// A session that nobody refreshes.
    pub idle: Duration,
    /// A session, whoever refreshes it.
    pub absolute: Duration,
    /// A superseded refresh token; zero for none.
    pub grace: Duration,
    /// Whether no access token outlives the provider's own tokens.
    pub bound: bool,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { access: ACCESS_LIFE, idle: IDLE_LIFE, absolute: ABSOLUTE_LIFE, grace: REFRESH_GRACE, bound: false }
    }
}

/// What was agreed at the login. It never changes.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What code, refresh tokens and the tags of access tokens are derived from.
    pub seed: Secret<32>,
    /// The client.
    pub client: ClientHash,
    /// The client's name at the time of login, for display only.
    pub client_name: String,
    /// Whether the client has to authenticate.
    pub confidential: bool,
    /// What was granted.
    pub scopes: Scopes,
    /// For which resource.
    pub resource: ResourceHash,
    /// The key that its tokens are bound to (RFC 9449): SHA-256 thumbprint.
    pub thumbprint: Option<[u8; 32]>,
    /// The session at the identity provider that it came out of.
    pub provider_session: Option<ProviderSession>,
    /// When the person logged in, as cuts compare it.
    pub created: Timestamp,
    /// The absolute end.
    pub ends: Timestamp,
}

/// The grant record.
#[derive(Clone, Debug)]
pub struct Grant {
    /// What was agreed.
    pub terms: Terms,
    /// The store's epoch at its last write.
    pub epoch: Epoch,
    /// Where it stands.
    pub state: State,
    /// Fields of a newer version.
    pub(crate) unknown: Vec<u8>,
}

/// Where a grant stands, with what is alive there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The code has been sent to the client.
    Code {
        /// What the verifier must hash to.
        challenge: Challenge,
        /// Where the code was sent.
        redirect: RedirectHash,
        /// Until when it can be redeemed.
        expires: Timestamp,
        /// What the client's document said when the person approved it, if it has one.
        document: Option<DocumentHash>,
    },
    /// The code has been redeemed: a session.
    Live(Live),
    /// Over.
    Revoked(Why),
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The generation of the current refresh token, from 1.
    pub generation: u32,
    /// When the latest generations were superseded, the latest first.
    rotated: [Option<Timestamp>; ROTATIONS_REMEMBERED],
    /// What a replay of the code must bring to count as one.
    pub spent: Option<Spent>,
}

/// A code that has been redeemed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Its challenge.
    pub challenge: Challenge,
    /// Where it was sent.
    pub redirect: RedirectHash,
    /// Until when a replay counts.
    pub until: Timestamp,
}

/// Why a grant was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its client asked for it.
    Client,
    /// Its code was redeemed twice.
    CodeReplay,
    /// A refresh token was used again after the grace.
    RefreshReplay,
    /// Its person began more sessions than one may have.
    Surplus,
    /// The operator has ended it.
    Operator,
}

impl Grant {
    /// A grant whose code is on its way.
    #[must_use]
    pub const fn open(
        terms: Terms,
        epoch: Epoch,
        challenge: Challenge,
        redirect: RedirectHash,
        expires: Timestamp,
        document: Option<DocumentHash>,
    ) -> Self {
        Self { terms, epoch, state: State::Code { challenge, redirect, expires, document }, unknown: Vec::new() }
    }

    /// The grant with its code redeemed, or rolled forward to `generation` by a refresh token whose record was lost.
    #[must_use]
    pub fn redeemed(&self, generation: u32, epoch: Epoch, now: Timestamp) -> Self {
        let spent = match &self.state {
            State::Code { challenge, redirect, .. } => {
                Some(Spent { challenge: *challenge, redirect: *redirect, until: now.plus(SPENT_LIFE) })
            }
            State::Live(live) => live.spent.clone(),
            State::Revoked(_) => None,
        };
        let rotated = [None; ROTATIONS_REMEMBERED];
        Self { state: State::Live(Live { generation, rotated, spent }), epoch, ..self.clone() }
    }

    /// The grant with the next refresh token current, or nothing if there can be no next one.
    #[must_use]
    pub fn rotated(&self, live: &Live, epoch: Epoch, now: Timestamp) -> Option<Self> {
        let generation = live.generation.checked_add(1)?;
        let mut rotated = live.rotated;
        // The oldest that are past every grace say nothing any more. Each counts by its place, so none goes before those behind it.
        for oldest in rotated.iter_mut().rev() {
            if oldest.is_some_and(|rotated| now.since(rotated) <= REFRESH_GRACE_MAX) {
                break;
            }
            *oldest = None;
        }
        rotated.rotate_right(1);
        if let Some(latest) = rotated.first_mut() {
            *latest = Some(now);
        }
        let spent = live.spent.clone().filter(|spent| now < spent.until);
        Some(Self { state: State::Live(Live { generation, rotated, spent }), epoch, ..self.clone() })
    }

    /// The same, as if the generation before its current one had been superseded just now: its holders have the grace too.
    #[must_use]
    pub fn superseding(mut self, now: Timestamp) -> Self {
        if let State::Live(live) = &mut self.state
            && let Some(latest) = live.rotated.first_mut()
        {
            *latest = Some(now);
        }
        self
    }

    /// The grant at its end.
    #[must_use]
    pub fn revoked(&self, why: Why, epoch: Epoch) -> Self {
        Self { state: State::Revoked(why), epoch, ..self.clone() }
    }

    /// The same without anything that tells of its person, their client or what they agreed to, and without its tokens.
    #[must_use]
    pub fn emptied(self) -> Self {
        let Self { epoch, state, terms, .. } = self;
        let Terms { created, ends, .. } = terms;
        let terms = Terms {
            seed: Secret::new([0; 32]),
            client: ClientHash([0; 32]),
            client_name: String::new(),
            confidential: true,
            scopes: Scopes::default(),
            resource: ResourceHash([0; 16]),
            thumbprint: None,
            provider_session: None,
            created,
            ends,
        };
        Self { terms, epoch, state, unknown: Vec::new() }
    }

    /// About how many bytes it takes beside its own struct.
    #[must_use]
    pub fn weight(&self) -> usize {
        [self.terms.client_name.len(), self.terms.scopes.line().len(), self.unknown.len()].iter().sum()
    }

    /// Until when the session lives if nobody refreshes it again.
    #[must_use]
    pub fn until(&self, lifetimes: &Lifetimes, now: Timestamp) -> Timestamp {
        now.plus(lifetimes.idle).min(self.terms.ends)
    }

    /// The secret half of the code.
    #[must_use]
    pub fn code_tag(&self) -> Secret<32> {
        Secret::new(self.derive("code", &[]))
    }

    /// The secret half of the refresh token of a generation.
    #[must_use]
    pub fn refresh_tag(&self, generation: u32) -> Secret<32> {
        Secret::new(self.derive("refresh", &[&generation.to_be_bytes()]))
    }

    /// What makes an access token this grant's: over all its other fields.
    #[must_use]
    pub fn access_tag(&self, fields: &[&[u8]]) -> [u8; 16] {
        hash::first(&self.derive("access", fields))
    }

    /// What the session is called towards what stands behind the gate.
    #[must_use]
    pub fn session_id(&self) -> [u8; 16] {
        hash::first(&self.derive("session id", &[]))
    }

    fn derive(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        hash::mac_of(&hmac::Key::new(hmac::HMAC_SHA256, self.terms.seed.expose()), label, parts)
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let Terms { seed, client, client_name, confidential, scopes, resource, .. } = &self.terms;
        let Terms { thumbprint, provider_session, created, ends, .. } = &self.terms;
        let mut writer = Writer::new();
        writer
            .bytes(1, seed.expose())
            .bytes(2, &client.0)
            .text(3, client_name)
            .number(4, u64::from(*confidential))
            .text(5, scopes.line())
            .bytes(6, &resource.0)
            .optional(7, thumbprint.as_ref().map(<[u8; 32]>::as_slice))
            .optional(8, provider_session.as_ref().map(|session| session.0.as_slice()))
            .time(9, *created)
            .time(10, *ends)
            .bytes(11, &self.epoch.0);
        match &self.state {
            State::Code { challenge, redirect, expires, document } => {
                writer.number(12, STATE_CODE).bytes(13, &challenge.0).bytes(14, &redirect.0).time(15, *expires);
                writer.optional(19, document.as_ref().map(|hash| hash.0.as_slice()));
            }
            State::Live(live) => {
                writer.number(12, STATE_LIVE);
                if let Some(spent) = &live.spent {
                    writer.bytes(13, &spent.challenge.0).bytes(14, &spent.redirect.0).time(15, spent.until);
                }
                writer.number(16, u64::from(live.generation));
                for rotated in live.rotated.iter().flatten() {
                    writer.time(17, *rotated);
                }
            }
            State::Revoked(why) => {
                writer.number(12, STATE_REVOKED).number(18, why.code());
            }
        }
        writer.carry(&self.unknown).finish()
    }

    /// From the stored form.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn decode(body: &[u8]) -> Result<Self, Broken> {
        // In the order of their tags, so that none is looked for.
        let fields = Fields::parse(body)?;
        let seed = fields.secret(1)?;
        let client = ClientHash(fields.array(2)?);
        let client_name = fields.text(3)?;
        if client_name.len() > GRANT_CLIENT_NAME_MAX {
            return Err(Broken);
        }
        let terms = Terms {
            seed,
            client,
            client_name: client_name.to_owned(),
            confidential: fields.number(4)? != 0,
            scopes: Scopes::parse(fields.text(5)?).map_err(|_| Broken)?,
            resource: ResourceHash(fields.array(6)?),
            thumbprint: fields.optional_array(7)?,
            provider_session: fields.optional_array(8)?.map(ProviderSession),
            created: fields.time(9)?,
            ends: fields.time(10)?,
        };
        let epoch = Epoch(fields.array(11)?);
        let code = |fields: &Fields<'_>| -> Result<(Challenge, RedirectHash, Timestamp), Broken> {
            Ok((Challenge(fields.array(13)?), RedirectHash(fields.array(14)?), fields.time(15)?))
        };
        let state = match fields.number(12)? {
            STATE_CODE => {
                let (challenge, redirect, expires) = code(&fields)?;
                State::Code { challenge, redirect, expires, document: fields.optional_array(19)?.map(DocumentHash) }
            }
            STATE_LIVE => {
                let spent = match fields.optional(13)? {
                    Some(_) => {
                        let (challenge, redirect, until) = code(&fields)?;
                        Some(Spent { challenge, redirect, until })
                    }
                    None => None,
                };
                let generation = u32::try_from(fields.number(16)?).map_err(|_| Broken)?;
                let mut rotated = [None; ROTATIONS_REMEMBERED];
                for (place, time) in rotated.iter_mut().zip(fields.all(17)) {
                    *place = Some(Timestamp::from_millis(crate::codec::number_of(time)?));
                }
                State::Live(Live { generation, rotated, spent })
            }
            STATE_REVOKED => State::Revoked(Why::from_code(fields.number(18)?)?),
            _ => return Err(Broken),
        };
        Ok(Self { terms, epoch, state, unknown: fields.unknown(19) })
    }
}

const STATE_CODE: u64 = 1;
const STATE_LIVE: u64 = 2;
const STATE_REVOKED: u64 = 3;

impl Live {
    /// When the refresh token was rotated last, as far as that is remembered.
    #[must_use]
    pub fn refreshed(&self) -> Option<Timestamp> {
        self.rotated.first().copied().flatten()
    }

    /// Whether the refresh token of `generation` was superseded so recently that it still answers with the current one.
    #[must_use]
    pub fn within_grace(&self, generation: u32, grace: Duration, now: Timestamp) -> bool {
        let behind = self.generation.checked_sub(generation).and_then(|behind| behind.checked_sub(1));
        let place = behind.and_then(|behind| usize::try_from(behind).ok());
        let rotated = place.and_then(|place| self.rotated.get(place)).copied().flatten();
        recent(rotated, grace, now)
    }

    /// Whether so many rotations happened within one grace that no more can be remembered: the next one has to wait, or the
    /// grace of the oldest would be cut short.
    #[must_use]
    pub fn saturated(&self, grace: Duration, now: Timestamp) -> bool {
        recent(self.rotated.last().copied().flatten(), grace, now)
    }
}

/// A rotation that lies further ahead than the grace was noted by a clock that was wrong. It gives no grace: that would last until
/// the time that the clock showed.
fn recent(rotated: Option<Timestamp>, grace: Duration, now: Timestamp) -> bool {
    let near = |rotated: Timestamp| now.since(rotated) <= grace && rotated.since(now) <= grace;
    !grace.is_zero() && rotated.is_some_and(near)
}

impl Why {
    const fn code(self) -> u64 {
        match self {
            Self::Client => 1,
            Self::CodeReplay => 2,
            Self::RefreshReplay => 3,
            Self::Surplus => 4,
            Self::Operator => 5,
        }
    }

    const fn from_code(code: u64) -> Result<Self, Broken> {
        match code {
            1 => Ok(Self::Client),
            2 => Ok(Self::CodeReplay),
            3 => Ok(Self::RefreshReplay),
            4 => Ok(Self::Surplus),
            5 => Ok(Self::Operator),
            _ => Err(Broken),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    pub(crate) fn terms() -> Terms {
        Terms {
            seed: Secret::new([9; 32]),
            client: ClientHash::of("client"),
            client_name: "Client".into(),
            confidential: false,
            scopes: Scopes::of(["mcp", "more"]),
            resource: ResourceHash::of("https://gate.example/mcp"),
            thumbprint: None,
            provider_session: Some(ProviderSession([5; 16])),
            created: NOW,
            ends: NOW.plus(ABSOLUTE_LIFE),
        }
    }

    pub(crate) fn code() -> Grant {
        Grant::open(
            terms(),
            Epoch([1; 16]),
            Challenge([2; 32]),
            RedirectHash([3; 32]),
            NOW.plus(Duration::from_secs(60)),
            Some(DocumentHash([4; 16])),
        )
    }

    fn live(grant: &Grant) -> &Live {
        match &grant.state {
            State::Live(live) => live,
            other => panic!("{other:?}"),
        }
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_grant_survives_its_stored_form_in_every_state() {
        let live_grant = code().redeemed(1, Epoch([2; 16]), NOW);
        let rotated = live_grant.rotated(live(&live_grant), Epoch([3; 16]), NOW.plus(secs(9))).unwrap();
        for mut grant in [code(), live_grant, rotated.revoked(Why::RefreshReplay, Epoch([4; 16])), rotated] {
            grant.unknown = Writer::new().text(90, "newer").finish().to_vec();
            let again = Grant::decode(&grant.encode()).unwrap();
            assert_eq!(again.state, grant.state);
            assert_eq!(again.encode(), grant.encode());
        }
    }

    #[test]
    fn grace_is_counted_from_each_generation_s_own_rotation() {
        let mut grant = code().redeemed(1, Epoch::default(), NOW);
        for (n, at) in [(2, 0), (3, 40), (4, 50)] {
            grant = grant.rotated(live(&grant), Epoch::default(), NOW.plus(secs(at))).unwrap();
            assert_eq!(live(&grant).generation, n);
        }
        let within = |generation, at| live(&grant).within_grace(generation, secs(60), NOW.plus(secs(at)));
        assert!(within(1, 60) && !within(1, 61));
        assert!(within(2, 100) && !within(2, 101));
        assert!(within(3, 110) && !within(3, 111));
        assert!(!within(4, 50), "the current one is not superseded");
        assert!(!within(5, 50) && !within(0, 50));
        assert!(!live(&grant).within_grace(3, Duration::ZERO, NOW.plus(secs(50))), "no grace is none at all");
    }

    #[test]
    fn t279_a_rotation_of_a_clock_that_was_far_ahead_gives_no_grace_until_then() {
        let day = secs(24 * 3_600);
        let grant = code().redeemed(1, Epoch::default(), NOW);
        let ahead = grant.rotated(live(&grant), Epoch::default(), NOW.plus(day)).unwrap();
        assert!(!live(&ahead).within_grace(1, secs(60), NOW));
        assert!(live(&ahead).within_grace(1, secs(60), NOW.plus(day).minus(secs(60))), "clocks that differ a little");
        assert!(!live(&ahead).within_grace(1, secs(60), NOW.plus(day).minus(secs(61))));
    }

    #[test]
    fn eight_rotations_within_one_grace_are_as_many_as_can_be_remembered() {
        let mut grant = code().redeemed(1, Epoch::default(), NOW);
        for _ in 0..ROTATIONS_REMEMBERED {
            assert!(!live(&grant).saturated(secs(60), NOW));
            grant = grant.rotated(live(&grant), Epoch::default(), NOW).unwrap();
        }
        assert!(live(&grant).saturated(secs(60), NOW));
        assert!(!live(&grant).saturated(secs(60), NOW.plus(secs(61))));
    }

    #[test]
    fn a_rotation_that_is_past_every_grace_is_not_kept() {
        let grant = code().redeemed(1, Epoch::default(), NOW);
        let rotated = |grant: &Grant, at| grant.rotated(live(grant), Epoch::default(), NOW.plus(secs(at))).unwrap();
        let fresh = rotated(&grant, 0);
        let often = rotated(&rotated(&fresh, 300), 601);
        assert_eq!(live(&often).rotated.iter().flatten().count(), 2);
        let later = rotated(&often, 7_200);
        assert_eq!(live(&later).refreshed(), Some(NOW.plus(secs(7_200))));
        assert_eq!(later.encode().len(), rotated(&grant, 7_200).encode().len(), "however often it was refreshed");
        // A clock that was ahead for a moment: what it noted keeps its place, and counts when that time has come.
        let ahead = rotated(&rotated(&fresh, 9_000), 601);
        assert_eq!(live(&ahead).rotated.iter().flatten().count(), 2);
        assert!(live(&ahead).within_grace(3, secs(60), NOW.plus(secs(601))));
        assert!(!live(&ahead).within_grace(2, secs(60), NOW.plus(secs(601))));
        assert!(live(&ahead).within_grace(2, secs(60), NOW.plus(secs(9_000))));
    }

    #[test]
    fn the_generation_stops_at_its_last_number() {
        let grant = code().redeemed(u32::MAX, Epoch::default(), NOW);
        assert!(grant.rotated(live(&grant), Epoch::default(), NOW).is_none());
    }

    #[test]
    fn t054_what_is_derived_for_one_use_means_nothing_for_another() {
        let grant = code();
        let tags = [
            *grant.code_tag().expose(),
            *grant.refresh_tag(0).expose(),
            *grant.refresh_tag(1).expose(),
            grant.derive("access", &[]),
        ];
        for (n, tag) in tags.iter().enumerate() {
            assert!(!tags.iter().skip(n + 1).any(|other| other == tag));
        }
    }

    #[test]
    fn p11_a_grant_does_not_show_its_seed() {
        let grant = Grant { terms: Terms { seed: Secret::new([0x41; 32]), ..terms() }, ..code() };
        let shown = format!("{grant:?}");
        assert!(!shown.contains("65, 65") && !shown.contains("AAAA"), "{shown}");
    }
}
