//! What is known of a person: claims of the identity provider, the upstream tokens, a list of their sessions.
//!
//! One record per person, because a provider may keep one refresh token per person and client, and replace it on use.

use crate::codec::{Broken, Fields, Writer};
use crate::fresh::Fresh;
use crate::hash::sha256_of;
use crate::key::Key;
use crate::limits::{
    GRANT_CLIENT_NAME_MAX, GROUP_MAX, GROUPS_MAX, IDENTITY_GRANTS_MAX, PROFILE_TEXT_MAX, UPSTREAM_SPARES_MAX,
};
use crate::oauth::upstream::{Brought, Lease, Upstream};
use crate::oidc::id_token::Person;
use crate::operation::Write;
use crate::record::Record;
use crate::secret::SecretText;
use crate::time::Timestamp;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What the identity provider says of a person, judged and bounded.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Claims {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `email`.
    pub email: Option<String>,
    /// `email_verified`; false where the provider does not say.
    pub email_verified: bool,
    /// `name`.
    pub name: Option<String>,
    /// `preferred_username`.
    pub preferred_username: Option<String>,
    /// `groups`: the first [`GROUPS_MAX`] of them.
    pub groups: Vec<String>,
}

impl Claims {
    /// The words by which a page calls the person: name, user name, e-mail address or subject, whatever there is first.
    #[must_use]
    pub fn display(&self) -> &str {
        let known = [&self.name, &self.preferred_username, &self.email];
        known.into_iter().find_map(Option::as_deref).unwrap_or(&self.subject)
    }
}

impl Claims {
    /// What differs as soon as any of them does.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256_of("claims", &[&self.write().finish()])
    }

    /// Fields 1 to 7 of the stored form.
    fn write(&self) -> Writer {
        let mut writer = Writer::new();
        writer
            .text(1, &self.issuer)
            .text(2, &self.subject)
            .optional(3, self.email.as_deref().map(str::as_bytes))
            .number(4, u64::from(self.email_verified))
            .optional(5, self.name.as_deref().map(str::as_bytes))
            .optional(6, self.preferred_username.as_deref().map(str::as_bytes));
        for group in &self.groups {
            writer.text(7, group);
        }
        writer
    }
}

/// Claims where they lie: those that what stands behind the gate is told, and the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `sub`.
    pub subject: &'a str,
    /// `email`.
    pub email: Option<&'a str>,
    /// `email_verified`.
    pub email_verified: bool,
    /// `name`.
    pub name: Option<&'a str>,
    /// `preferred_username`.
    pub preferred_username: Option<&'a str>,
    /// `groups`.
    pub groups: Vec<&'a str>,
}

impl Claims {
    /// The same where they lie.
    #[must_use]
    pub fn profile(&self) -> Profile<'_> {
        Profile {
            issuer: &self.issuer,
            subject: &self.subject,
            email: self.email.as_deref(),
            email_verified: self.email_verified,
            name: self.name.as_deref(),
            preferred_username: self.preferred_username.as_deref(),
            groups: self.groups.iter().map(String::as_str).collect(),
        }
    }
}

impl<'a> Profile<'a> {
    /// From the stored form of an identity, of which nothing else is looked at.
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, Broken> {
        Self::read(&Fields::parse(body)?)
    }

    /// From fields 1 to 7, in the order of their tags, so that none is looked for.
    fn read(fields: &Fields<'a>) -> Result<Self, Broken> {
        let short = |tag| match fields.optional_text(tag)? {
            Some(text) if text.len() > PROFILE_TEXT_MAX => Err(Broken),
            text => Ok(text),
        };
        let profile = Self {
            issuer: fields.text(1)?,
            subject: fields.text(2)?,
            email: short(3)?,
            email_verified: fields.number(4)? == 1,
            name: short(5)?,
            preferred_username: short(6)?,
            groups: fields.texts(7)?,
        };
        let is_bounded =
            profile.groups.len() <= GROUPS_MAX && profile.groups.iter().all(|group| group.len() <= GROUP_MAX);
        is_bounded.then_some(profile).ok_or(Broken)
    }
}

impl From<Profile<'_>> for Claims {
    fn from(profile: Profile<'_>) -> Self {
        Self {
            issuer: profile.issuer.to_owned(),
            subject: profile.subject.to_owned(),
            email: profile.email.map(str::to_owned),
            email_verified: profile.email_verified,
            name: profile.name.map(str::to_owned),
            preferred_username: profile.preferred_username.map(str::to_owned),
            groups: profile.groups.into_iter().map(str::to_owned).collect(),
        }
    }
}

impl From<Person> for Claims {
    fn from(person: Person) -> Self {
        let Person { issuer, subject, email, email_verified, name, preferred_username, groups, .. } = person;
        Self { issuer, subject, email, email_verified, name, preferred_username, groups }
    }
}

/// The identity record.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The claims of the latest login.
    pub claims: Claims,
    /// The provider's refresh token.
    pub upstream_refresh: Option<SecretText>,
    /// What else there is of the provider's tokens.
    pub upstream: Box<Upstream>,
    /// The person's sessions, for display only: an entry without its grant means nothing.
    pub grants: Vec<Listed>,
    /// Fields of a newer version.
    unknown: Vec<u8>,
}

/// One session in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The second half of the grant's id.
    pub login: [u8; 16],
    /// The client's name at that time.
    pub client_name: String,
    /// When.
    pub created: Timestamp,
    /// Its absolute end.
    pub ends: Timestamp,
}

impl Identity {
    /// The record after a login: new claims, a new session in the list.
    ///
    /// A login that brings no refresh token keeps the one that is there. Sessions past their end leave the list, and the
    /// oldest where there are too many.
    #[must_use]
    pub fn after_login(
        before: Option<&Self>,
        claims: Claims,
        brought: Brought,
        session: Listed,
        now: Timestamp,
    ) -> Self {
        let mut grants: Vec<Listed> =
            before.map_or(&[][..], |it| &it.grants).iter().filter(|listed| now < listed.ends).cloned().collect();
        let surplus = grants.len().saturating_add(1).saturating_sub(IDENTITY_GRANTS_MAX);
        grants.drain(..surplus.min(grants.len()));
        grants.push(session);
        let mut after = Self {
            claims,
            upstream_refresh: before.and_then(|it| it.upstream_refresh.clone()),
            upstream: before.map_or_else(Box::default, |it| it.upstream.clone()),
            grants,
            unknown: before.map_or_else(Vec::new, |it| it.unknown.clone()),
        };
        after.upstream.spare(before.and_then(|it| it.upstream_refresh.as_ref()), &brought, now);
        after.take(brought, now);
        after
    }

    /// Takes in what the provider has given. What it leaves out stays as it is: some give a refresh token once only, some an ID token
    /// at the login only.
    pub fn take(&mut self, brought: Brought, now: Timestamp) {
        let Brought { refresh, id_token, withheld, ends } = brought;
        if refresh.is_some() {
            self.upstream_refresh = refresh;
        }
        if !withheld {
            self.upstream.id_token = id_token;
        }
        self.upstream.withheld = withheld;
        self.upstream.ends = ends;
        self.upstream.renewed = now;
        self.upstream.refused = None;
    }

    /// The session that has to end for one more to begin: the one that began first, if there are as many as there may be.
    #[must_use]
    pub fn surplus(&self, now: Timestamp) -> Option<[u8; 16]> {
        let mut standing = self.grants.iter().filter(|listed| now < listed.ends);
        let first = standing.next()?;
        (standing.count().saturating_add(1) >= IDENTITY_GRANTS_MAX).then_some(first.login)
    }

    /// Without these sessions; and if they were the last ones, without anything that is known of the person.
    ///
    /// As long as there is one more, it may be one that has begun just now: what stands behind the gate must not take its person
    /// for nobody.
    #[must_use]
    pub fn without(&self, gone: &[[u8; 16]]) -> Self {
        let rest: Vec<Listed> = self.grants.iter().filter(|listed| !gone.contains(&listed.login)).cloned().collect();
        if rest.is_empty() {
            let (claims, grants, unknown) = (Claims::default(), rest, Vec::new());
            return Self { claims, upstream_refresh: None, upstream: Box::default(), grants, unknown };
        }
        Self { grants: rest, ..self.clone() }
    }

    /// Every refresh token of the provider that is kept.
    pub fn refresh_tokens(&self) -> impl Iterator<Item = &SecretText> {
        self.upstream_refresh.iter().chain(&self.upstream.spares)
    }

    /// Whether nothing is known of anybody: what an erasure leaves.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.claims.subject.is_empty() && self.grants.is_empty()
    }

    /// The write of a person's record.
    pub(crate) fn write(person: crate::key::Person, identity: Self, until: Timestamp, fresh: &Fresh) -> Write {
        let key = Key::Identity(person);
        Write { key, stamp: fresh.stamp(&key), until, record: Arc::new(Record::Identity(identity)), durable: true }
    }

    /// When the last of the person's sessions has ended at the latest.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.grants.iter().map(|listed| listed.ends).max().unwrap_or(Timestamp::EPOCH)
    }

    /// About how many bytes it takes beside its own struct.
    #[must_use]
    pub fn weight(&self) -> usize {
        let claims = &self.claims;
        let texts = [&claims.email, &claims.name, &claims.preferred_username].into_iter().flatten();
        let texts = texts.chain([&claims.issuer, &claims.subject]).chain(&claims.groups);
        let id_token = self.upstream.id_token.as_ref().map(|(token, _)| token);
        let tokens = self.upstream_refresh.iter().chain(id_token).chain(&self.upstream.spares);
        let tokens = tokens.map(|token| token.expose().len().saturating_add(size_of::<SecretText>()));
        let groups = claims.groups.len().saturating_mul(size_of::<String>());
        let listed = self.grants.iter().map(|listed| size_of::<Listed>().saturating_add(listed.client_name.len()));
        texts
            .map(String::len)
            .chain(listed)
            .chain(tokens)
            .chain([groups, size_of::<Upstream>(), self.unknown.len()])
            .sum()
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = self.claims.write();
        writer.optional(8, self.upstream_refresh.as_ref().map(|token| token.expose().as_bytes()));
        for listed in &self.grants {
            writer.bytes(9, &listed.encode());
        }
        let upstream = &self.upstream;
        if let Some(ends) = upstream.ends {
            writer.time(10, ends);
        }
        if let Some((token, ends)) = &upstream.id_token {
            writer.text(11, token.expose()).time(12, *ends);
        }
        writer.time(13, upstream.renewed).number(14, upstream.lease.number).time(15, upstream.lease.until);
        if let Some(refused) = upstream.refused {
            writer.time(16, refused);
        }
        if upstream.withheld {
            writer.number(17, 1);
        }
        for spare in &upstream.spares {
            writer.text(18, spare.expose());
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
        let secret = |tag| Ok(fields.optional_text(tag)?.map(|token| SecretText::new(token.to_owned())));
        let time = |tag| Ok(fields.optional_number(tag)?.map(Timestamp::from_millis));
        let claims = Profile::read(&fields)?.into();
        let upstream_refresh = secret(8)?;
        let grants = fields.all(9).map(Listed::decode).collect::<Result<Vec<_>, _>>()?;
        let upstream = Upstream {
            ends: time(10)?,
            id_token: secret(11)?.zip(time(12)?),
            renewed: time(13)?.unwrap_or(Timestamp::EPOCH),
            lease: Lease {
                number: fields.optional_number(14)?.unwrap_or_default(),
                until: time(15)?.unwrap_or(Timestamp::EPOCH),
            },
            refused: time(16)?,
            withheld: fields.optional_number(17)? == Some(1),
            spares: fields.texts(18)?.into_iter().map(|token| SecretText::new(token.to_owned())).collect(),
        };
        if grants.len() > IDENTITY_GRANTS_MAX || upstream.spares.len() > UPSTREAM_SPARES_MAX {
            return Err(Broken);
        }
        Ok(Self { claims, upstream_refresh, upstream: Box::new(upstream), grants, unknown: fields.unknown(18) })
    }
}

impl Listed {
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        Writer::new().bytes(1, &self.login).text(2, &self.client_name).time(3, self.created).time(4, self.ends).finish()
    }

    fn decode(body: &[u8]) -> Result<Self, Broken> {
        let fields = Fields::parse(body)?;
        let client_name = fields.text(2)?;
        if client_name.len() > GRANT_CLIENT_NAME_MAX {
            return Err(Broken);
        }
        Ok(Self {
            login: fields.array(1)?,
            client_name: client_name.to_owned(),
            created: fields.time(3)?,
            ends: fields.time(4)?,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::limits::UPSTREAM_CLOSE;

    pub(crate) fn claims() -> Claims {
        Claims {
            issuer: "https://idp.example".into(),
            subject: "alice".into(),
            email: Some("alice@example.com".into()),
            email_verified: true,
            name: Some("Alice".into()),
            preferred_username: None,
            groups: vec!["staff".into(), "ops".into()],
        }
    }

    fn session(n: u8, ends: u64) -> Listed {
        Listed {
            login: [n; 16],
            client_name: "c".into(),
            created: Timestamp::from_secs(1),
            ends: Timestamp::from_secs(ends),
        }
    }

    const NOW: Timestamp = Timestamp::from_secs(100);

    fn brought(token: &str) -> Brought {
        Brought {
            refresh: Some(SecretText::new(token.into())),
            id_token: Some((SecretText::new(format!("id {token}")), NOW)),
            withheld: false,
            ends: Some(NOW),
        }
    }

    #[test]
    fn seed_bug_29_a_login_without_a_refresh_token_keeps_the_one_that_is_there() {
        let token = || Brought { refresh: Some(SecretText::new("upstream".into())), ..Brought::default() };
        let first = Identity::after_login(None, claims(), token(), session(1, 200), NOW);
        let second = Identity::after_login(Some(&first), claims(), Brought::default(), session(2, 300), NOW);
        assert!(second.upstream_refresh.as_ref().unwrap().same("upstream"));
        assert_eq!(second.grants.len(), 2);
        assert_eq!(second.until(), Timestamp::from_secs(300));
    }

    #[test]
    fn the_list_forgets_what_has_ended_and_then_the_oldest() {
        let mut identity = Identity::after_login(None, claims(), Brought::default(), session(0, 50), NOW);
        for n in 1..=70 {
            identity = Identity::after_login(Some(&identity), claims(), Brought::default(), session(n, 200), NOW);
        }
        assert_eq!(identity.grants.len(), IDENTITY_GRANTS_MAX);
        assert_eq!(identity.grants.first().unwrap().login, [7; 16]);
        assert_eq!(identity.grants.last().unwrap().login, [70; 16]);
    }

    #[test]
    fn an_identity_survives_its_stored_form_with_the_fields_of_a_newer_version() {
        let first = Identity::after_login(None, claims(), brought("first"), session(1, 200), NOW);
        let mut identity = Identity::after_login(Some(&first), claims(), brought("t"), session(1, 200), NOW);
        identity.unknown = Writer::new().text(40, "newer").finish().to_vec();
        let again = Identity::decode(&identity.encode()).unwrap();
        assert_eq!(again.claims, identity.claims);
        assert_eq!(again.grants, identity.grants);
        assert!(again.upstream_refresh.unwrap().same("t"));
        assert!(again.upstream.id_token.is_some_and(|(token, ends)| token.same("id t") && ends == NOW));
        assert_eq!((again.upstream.ends, again.upstream.renewed, again.upstream.refused), (Some(NOW), NOW, None));
        assert_eq!(again.upstream.lease, identity.upstream.lease);
        assert!(matches!(&again.upstream.spares[..], [spare] if spare.same("first")));
        assert_eq!(again.unknown, identity.unknown);
    }

    #[test]
    fn seed_bug_21_of_logins_that_come_together_no_refresh_token_is_thrown_away() {
        let login = |before: Option<&Identity>, token: &str, at: Timestamp| {
            Identity::after_login(before, claims(), brought(token), session(1, 9_000), at)
        };
        let spares = |identity: &Identity| -> Vec<String> {
            identity.upstream.spares.iter().map(|spare| spare.expose().to_owned()).collect()
        };
        let mut identity = login(None, "0", NOW);
        assert!(spares(&identity).is_empty());
        for n in 1..=6 {
            identity = login(Some(&identity), &n.to_string(), NOW);
        }
        assert_eq!(spares(&identity), ["5", "4", "3", "2"], "the latest first");
        assert!(identity.upstream_refresh.as_ref().unwrap().same("6"));
        // A login that brings none, or the same one again, leaves everything as it is.
        let quiet = Identity::after_login(Some(&identity), claims(), Brought::default(), session(1, 9_000), NOW);
        assert_eq!((spares(&quiet).len(), spares(&login(Some(&identity), "6", NOW)).len()), (4, 4));
        // Much later there is no doubt which one is the last.
        assert!(spares(&login(Some(&identity), "7", NOW.plus(UPSTREAM_CLOSE))).is_empty());
    }

    #[test]
    fn seed_bug_19_what_the_provider_gave_is_kept_as_long_as_the_last_session_and_no_longer() {
        let first = Identity::after_login(None, claims(), brought("a"), session(1, 300), NOW);
        let second = Identity::after_login(Some(&first), claims(), brought("b"), session(2, 200), NOW);
        assert_eq!(second.until(), Timestamp::from_secs(300));
        // A session that is over does not prolong it.
        let later = Timestamp::from_secs(301);
        let third = Identity::after_login(Some(&second), claims(), brought("c"), session(3, 302), later);
        assert_eq!((third.until(), third.grants.len()), (Timestamp::from_secs(302), 1));
    }

    #[test]
    fn seed_bug_26_an_identity_of_the_first_version_is_read() {
        let mut writer = Writer::new();
        writer.text(1, "https://idp.example").text(2, "alice").number(4, 1).text(8, "refresh");
        let identity = Identity::decode(&writer.bytes(9, &session(1, 200).encode()).finish()).unwrap();
        assert!(identity.upstream_refresh.as_ref().is_some_and(|token| token.same("refresh")));
        assert_eq!((identity.claims.subject.as_str(), identity.grants.len()), ("alice", 1));
        let upstream = &identity.upstream;
        assert_eq!((upstream.lease, upstream.ends, upstream.refused), (Lease::default(), None, None));
        assert!(upstream.id_token.is_none() && upstream.spares.is_empty());
    }

    #[test]
    fn p11_an_identity_does_not_show_its_token() {
        let identity = Identity::after_login(None, claims(), brought("hush"), session(1, 200), NOW);
        assert!(!format!("{identity:?}").contains("hush"));
    }
}
