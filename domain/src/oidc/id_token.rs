//! Judges an ID token: who has logged in, said by whom, to whom, when, and for which login of ours.
//!
//! OpenID Connect Core sections 2, 3.1.3.6 and 3.1.3.7; RFC 8725 sections 3.8 to 3.12. Every rule is always judged:
//! nothing in a token or in the configuration can switch one off (T190). A refused token ends the login; only
//! [`Refused::UnknownKey`] asks the caller to fetch the key set once more and to judge again.

use super::discovery::Provider;
use crate::jose::claims::{self, Claims};
use crate::jose::jwk::KeySet;
use crate::jose::jws::{self, Unverifiable, Unverified};
use crate::limits;
use crate::secret;
use crate::time::Timestamp;
use crate::wire::json::Json;
use crate::wire::text;
use std::time::Duration;

/// Which rule an ID token breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is no compact JWS with a header that is understood.
    Malformed(jws::Malformed),
    /// `typ` says that it is something else than a JWT, such as an access token.
    OtherType,
    /// The provider does not list the algorithm.
    OtherAlgorithm,
    /// The key set does not have the key: fetch it once more.
    UnknownKey,
    /// The key that it names is not for its algorithm.
    KeyForOtherAlgorithm,
    /// It names no key and several fit.
    AmbiguousKey,
    /// The signature is not the key's.
    BadSignature,
    /// A claim has the wrong type.
    BadClaims(claims::Malformed),
    /// `iss` is missing or is another issuer.
    OtherIssuer,
    /// `aud` is missing or does not hold our client identifier.
    OtherAudience,
    /// There are several audiences and no `azp`.
    NoAuthorizedParty,
    /// `azp` is another client.
    OtherAuthorizedParty,
    /// `exp` is missing.
    NoExpiry,
    /// `exp` has passed.
    Expired,
    /// `iat` is missing.
    NoIssueTime,
    /// `iat` is to come.
    IssuedInFuture,
    /// `iat` is longer ago than [`limits::ID_TOKEN_AGE_MAX`].
    IssuedTooLongAgo,
    /// `nbf` is to come.
    NotYetValid,
    /// `nonce` is missing or belongs to another login.
    OtherNonce,
    /// `at_hash` is not the hash of the access token that came along.
    OtherAccessToken,
    /// `sub` is missing, empty, longer than [`limits::SUBJECT_MAX`], or not printable ASCII.
    BadSubject,
    /// A maximal age was asked for and `auth_time` is missing, too long ago, or to come.
    AuthenticationTooOld,
}

/// What the token is judged against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The provider that answered.
    pub provider: &'a Provider,
    /// Our client identifier there.
    pub client_id: &'a str,
    /// The nonce of this login.
    pub nonce: &'a str,
    /// The access token that came in the same answer.
    pub access_token: &'a str,
    /// `max_age` in seconds, if it was asked for.
    pub max_age: Option<u32>,
}

/// Who has logged in.
///
/// The person is issuer and subject together, and nothing else (R26): an e-mail address is for display and for rules of
/// the operator, never for finding somebody again.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `email`.
    pub email: Option<String>,
    /// `email_verified`: true only if the provider says `true` and there is an address.
    pub email_verified: bool,
    /// `name`.
    pub name: Option<String>,
    /// `preferred_username`.
    pub preferred_username: Option<String>,
    /// `locale`.
    pub locale: Option<String>,
    /// `groups`.
    pub groups: Vec<String>,
    /// Whether `groups` holds every group that the provider named. False when there were more than
    /// [`limits::GROUPS_MAX`], or when the claim was not a list of texts: then no group is believed (T197).
    pub groups_complete: bool,
    /// `sid`, the provider's session.
    pub session: Option<String>,
    /// `auth_time`.
    pub authenticated_at: Option<Timestamp>,
    /// `exp`.
    pub expires: Timestamp,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Person(..)")
    }
}

/// Judges a token against `expected` and the keys of the provider.
///
/// # Errors
/// The first rule that the token breaks.
pub fn judge(token: &str, keys: &KeySet, expected: &Expected<'_>, now: Timestamp) -> Result<Person, Refused> {
    let token = Unverified::parse(token).map_err(Refused::Malformed)?;
    if !expected.provider.algorithms.contains(&token.header().algorithm) {
        return Err(Refused::OtherAlgorithm);
    }
    let token = token.verify(keys).map_err(|reason| match reason {
        Unverifiable::UnknownKey => Refused::UnknownKey,
        Unverifiable::OtherAlgorithm => Refused::KeyForOtherAlgorithm,
        Unverifiable::AmbiguousKey => Refused::AmbiguousKey,
        Unverifiable::BadSignature => Refused::BadSignature,
    })?;
    // ID tokens have no type of their own; what carries another one was signed for another purpose.
    if token.header().typ.is_some() && !token.is_typed("JWT") {
        return Err(Refused::OtherType);
    }
    let claims = token.claims().map_err(Refused::BadClaims)?;
    parties(&claims, expected)?;
    let expires = times(&claims, now)?;
    if !secret::same(claims.nonce.as_deref().unwrap_or_default().as_bytes(), expected.nonce.as_bytes())
        || expected.nonce.is_empty()
    {
        return Err(Refused::OtherNonce);
    }
    if let Some(named) = &claims.access_token_hash {
        let hash = text::base64url(&token.header().algorithm.half_hash(expected.access_token));
        if !secret::same(named.as_bytes(), hash.as_bytes()) {
            return Err(Refused::OtherAccessToken);
        }
    }
    let subject = claims.subject.clone().filter(|subject| is_subject(subject)).ok_or(Refused::BadSubject)?;
    if let Some(max_age) = expected.max_age {
        fresh_enough(&claims, max_age, now)?;
    }
    Ok(person(&claims, expected.provider.issuer.clone(), subject, expires))
}

/// Steps 2 to 5 of section 3.1.3.7.
fn parties(claims: &Claims, expected: &Expected<'_>) -> Result<(), Refused> {
    if claims.issuer.as_deref() != Some(expected.provider.issuer.as_str()) {
        return Err(Refused::OtherIssuer);
    }
    let audience = claims.audience.as_deref().unwrap_or_default();
    if !audience.iter().any(|one| one == expected.client_id) {
        return Err(Refused::OtherAudience);
    }
    match claims.authorized_party.as_deref() {
        Some(party) if party == expected.client_id => Ok(()),
        Some(_) => Err(Refused::OtherAuthorizedParty),
        None if audience.len() > 1 => Err(Refused::NoAuthorizedParty),
        None => Ok(()),
    }
}

/// Steps 9 and 10. The allowance for clocks is the same in both directions.
fn times(claims: &Claims, now: Timestamp) -> Result<Timestamp, Refused> {
    let skew = limits::CLOCK_SKEW;
    let expires = claims.expires.ok_or(Refused::NoExpiry)?;
    if now >= expires.plus(skew) {
        return Err(Refused::Expired);
    }
    let issued_at = claims.issued_at.ok_or(Refused::NoIssueTime)?;
    if issued_at > now.plus(skew) {
        return Err(Refused::IssuedInFuture);
    }
    if now > issued_at.plus(limits::ID_TOKEN_AGE_MAX).plus(skew) {
        return Err(Refused::IssuedTooLongAgo);
    }
    if claims.not_before.is_some_and(|not_before| not_before > now.plus(skew)) {
        return Err(Refused::NotYetValid);
    }
    Ok(expires)
}

/// Step 13.
fn fresh_enough(claims: &Claims, max_age: u32, now: Timestamp) -> Result<(), Refused> {
    let skew = limits::CLOCK_SKEW;
    let oldest = now.minus(Duration::from_secs(u64::from(max_age))).minus(skew);
    match claims.authenticated_at {
        Some(at) if at >= oldest && at <= now.plus(skew) => Ok(()),
        _ => Err(Refused::AuthenticationTooOld),
    }
}

fn is_subject(subject: &str) -> bool {
    (1..=limits::SUBJECT_MAX).contains(&subject.len()) && subject.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

fn person(claims: &Claims, issuer: String, subject: String, expires: Timestamp) -> Person {
    let email = profile_text(claims, "email");
    let email_verified = email.is_some() && claims.other("email_verified") == Some(&Json::Bool(true));
    let (groups, groups_complete) = groups(claims);
    Person {
        issuer,
        subject,
        email,
        email_verified,
        name: profile_text(claims, "name"),
        preferred_username: profile_text(claims, "preferred_username"),
        locale: profile_text(claims, "locale"),
        groups,
        groups_complete,
        session: profile_text(claims, "sid"),
        authenticated_at: claims.authenticated_at,
        expires,
    }
}

/// A text that the person is described with. One that is empty, too long, of the wrong type, or that holds control
/// characters is left out: it decides nothing, so no login fails for it.
fn profile_text(claims: &Claims, name: &str) -> Option<String> {
    match claims.other(name) {
        Some(Json::Text(value)) if is_plain(value, limits::PROFILE_TEXT_MAX) => Some(value.clone()),
        _ => None,
    }
}

/// Groups open doors, so a claim that is not exactly a list of texts opens none: a text is not a list of one.
fn groups(claims: &Claims) -> (Vec<String>, bool) {
    let list = match claims.other("groups") {
        None => return (Vec::new(), true),
        Some(Json::List(list)) => list,
        Some(_) => return (Vec::new(), false),
    };
    let names: Option<Vec<&String>> = list
        .iter()
        .map(|value| match value {
            Json::Text(name) if is_plain(name, limits::GROUP_MAX) => Some(name),
            _ => None,
        })
        .collect();
    match names {
        None => (Vec::new(), false),
        Some(names) => {
            let complete = names.len() <= limits::GROUPS_MAX;
            (names.into_iter().take(limits::GROUPS_MAX).cloned().collect(), complete)
        }
    }
}

fn is_plain(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && !text.chars().any(char::is_control)
}
