//! What is known of a person: claims of the identity provider, the upstream tokens, a list of their sessions.
//!
//! One record per person, because a provider may keep one refresh token per person and client, and replace it on use.

use crate::codec::{Broken, Fields, Writer};
use crate::limits::{GRANT_CLIENT_NAME_MAX, GROUP_MAX, GROUPS_MAX, IDENTITY_GRANTS_MAX, PROFILE_TEXT_MAX};
use crate::oidc::id_token::Person;
use crate::secret::SecretText;
use crate::time::Timestamp;
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
        upstream_refresh: Option<SecretText>,
        session: Listed,
        now: Timestamp,
    ) -> Self {
        let mut grants: Vec<Listed> =
            before.map_or(&[][..], |it| &it.grants).iter().filter(|listed| now < listed.ends).cloned().collect();
        let surplus = grants.len().saturating_add(1).saturating_sub(IDENTITY_GRANTS_MAX);
        grants.drain(..surplus.min(grants.len()));
        grants.push(session);
        Self {
            claims,
            upstream_refresh: upstream_refresh.or_else(|| before.and_then(|it| it.upstream_refresh.clone())),
            grants,
            unknown: before.map_or_else(Vec::new, |it| it.unknown.clone()),
        }
    }

    /// The session that has to end for one more to begin: the one that began first, if there are as many as there may be.
    #[must_use]
    pub fn surplus(&self, now: Timestamp) -> Option<[u8; 16]> {
        let mut standing = self.grants.iter().filter(|listed| now < listed.ends);
        let first = standing.next()?;
        (standing.count().saturating_add(1) >= IDENTITY_GRANTS_MAX).then_some(first.login)
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
        let token = self.upstream_refresh.as_ref().map_or(0, |token| token.expose().len());
        let groups = claims.groups.len().saturating_mul(size_of::<String>());
        let listed = self.grants.iter().map(|listed| size_of::<Listed>().saturating_add(listed.client_name.len()));
        texts.map(String::len).chain(listed).chain([token, groups, self.unknown.len()]).sum()
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let claims = &self.claims;
        let mut writer = Writer::new();
        writer
            .text(1, &claims.issuer)
            .text(2, &claims.subject)
            .optional(3, claims.email.as_deref().map(str::as_bytes))
            .number(4, u64::from(claims.email_verified))
            .optional(5, claims.name.as_deref().map(str::as_bytes))
            .optional(6, claims.preferred_username.as_deref().map(str::as_bytes));
        for group in &claims.groups {
            writer.text(7, group);
        }
        writer.optional(8, self.upstream_refresh.as_ref().map(|token| token.expose().as_bytes()));
        for listed in &self.grants {
            writer.bytes(9, &listed.encode());
        }
        writer.carry(&self.unknown).finish()
    }

    /// From the stored form.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn decode(body: &[u8]) -> Result<Self, Broken> {
        let fields = Fields::parse(body)?;
        let short = |tag, max| match fields.optional_text(tag)? {
            Some(text) if text.len() > max => Err(Broken),
            text => Ok(text.map(str::to_owned)),
        };
        let groups = fields.texts(7)?;
        let grants = fields.all(9).map(Listed::decode).collect::<Result<Vec<_>, _>>()?;
        if groups.len() > GROUPS_MAX || groups.iter().any(|group| group.len() > GROUP_MAX) {
            return Err(Broken);
        }
        if grants.len() > IDENTITY_GRANTS_MAX {
            return Err(Broken);
        }
        Ok(Self {
            claims: Claims {
                issuer: fields.text(1)?.to_owned(),
                subject: fields.text(2)?.to_owned(),
                email: short(3, PROFILE_TEXT_MAX)?,
                email_verified: fields.number(4)? == 1,
                name: short(5, PROFILE_TEXT_MAX)?,
                preferred_username: short(6, PROFILE_TEXT_MAX)?,
                groups,
            },
            upstream_refresh: fields.optional_text(8)?.map(|token| SecretText::new(token.to_owned())),
            grants,
            unknown: fields.unknown(9),
        })
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

    #[test]
    fn a_login_without_a_refresh_token_keeps_the_one_that_is_there() {
        let token = || Some(SecretText::new("upstream".into()));
        let first = Identity::after_login(None, claims(), token(), session(1, 200), NOW);
        let second = Identity::after_login(Some(&first), claims(), None, session(2, 300), NOW);
        assert!(second.upstream_refresh.as_ref().unwrap().same("upstream"));
        assert_eq!(second.grants.len(), 2);
        assert_eq!(second.until(), Timestamp::from_secs(300));
    }

    #[test]
    fn the_list_forgets_what_has_ended_and_then_the_oldest() {
        let mut identity = Identity::after_login(None, claims(), None, session(0, 50), NOW);
        for n in 1..=70 {
            identity = Identity::after_login(Some(&identity), claims(), None, session(n, 200), NOW);
        }
        assert_eq!(identity.grants.len(), IDENTITY_GRANTS_MAX);
        assert_eq!(identity.grants.first().unwrap().login, [7; 16]);
        assert_eq!(identity.grants.last().unwrap().login, [70; 16]);
    }

    #[test]
    fn an_identity_survives_its_stored_form_with_the_fields_of_a_newer_version() {
        let mut identity =
            Identity::after_login(None, claims(), Some(SecretText::new("t".into())), session(1, 200), NOW);
        identity.unknown = Writer::new().text(40, "newer").finish().to_vec();
        let again = Identity::decode(&identity.encode()).unwrap();
        assert_eq!(again.claims, identity.claims);
        assert_eq!(again.grants, identity.grants);
        assert!(again.upstream_refresh.unwrap().same("t"));
        assert_eq!(again.unknown, identity.unknown);
    }

    #[test]
    fn p11_an_identity_does_not_show_its_token() {
        let identity =
            Identity::after_login(None, claims(), Some(SecretText::new("hush".into())), session(1, 200), NOW);
        assert!(!format!("{identity:?}").contains("hush"));
    }
}
