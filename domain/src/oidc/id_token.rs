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
use std::fmt;
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
    /// `iss` and `sub` are somebody else than the person whose tokens were refreshed.
    OtherSubject,
    /// A maximal age was asked for and `auth_time` is missing, too long ago, or to come.
    AuthenticationTooOld,
}

/// What the token is judged against.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// The provider that answered.
    pub provider: &'a Provider,
    /// Our client identifier there.
    pub client_id: &'a str,
    /// The access token that came in the same answer.
    pub access_token: &'a str,
    /// The claim that lists the person's groups.
    pub groups_claim: &'a str,
    /// What it answers.
    pub occasion: Occasion<'a>,
}

/// What an ID token answers.
#[derive(Clone, Copy)]
pub enum Occasion<'a> {
    /// A login.
    Login {
        /// The nonce of this login.
        nonce: &'a str,
        /// `max_age` in seconds, if it was asked for.
        max_age: Option<u32>,
    },
    /// A refresh of the tokens of somebody who is known already: the token must speak of nobody else (OpenID Connect Core
    /// section 12.2).
    Refresh {
        /// Their `iss`.
        issuer: &'a str,
        /// Their `sub`.
        subject: &'a str,
    },
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
    /// Whether `groups` holds every group of the person. False when there were more than [`limits::GROUPS_MAX`], of which the
    /// first are here; when the claim was not a list of texts, or the provider lists them elsewhere (Entra ID's overage): then
    /// no group is believed (T197).
    pub groups_complete: bool,
    /// `hd`, the organization that the account belongs to, as Google says it.
    pub hosted_domain: Option<String>,
    /// `sid`, the provider's session.
    pub session: Option<String>,
    /// `auth_time`.
    pub authenticated_at: Option<Timestamp>,
    /// `exp`.
    pub expires: Timestamp,
}

impl fmt::Debug for Person {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    let issuer = parties(&claims, token.key_issuer(), expected)?;
    let expires = times(&claims, now)?;
    if let Occasion::Login { nonce, .. } = expected.occasion
        && (nonce.is_empty() || !secret::same(claims.nonce.as_deref().unwrap_or_default().as_bytes(), nonce.as_bytes()))
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
    match expected.occasion {
        Occasion::Login { max_age: Some(max_age), .. } => fresh_enough(&claims, max_age, now)?,
        Occasion::Refresh { issuer: known, subject: of } if known != issuer || of != subject => {
            return Err(Refused::OtherSubject);
        }
        Occasion::Login { .. } | Occasion::Refresh { .. } => {}
    }
    Ok(described(&claims, issuer, subject, expected.groups_claim, expires))
}

/// Steps 2 to 5 of section 3.1.3.7: the issuer, once the others are right too.
fn parties(claims: &Claims, key_issuer: Option<&str>, expected: &Expected<'_>) -> Result<String, Refused> {
    let issuer = expected.provider.issuer.of_token(claims, key_issuer).ok_or(Refused::OtherIssuer)?;
    let audience = claims.audience.as_deref().unwrap_or_default();
    if !audience.iter().any(|one| one == expected.client_id) {
        return Err(Refused::OtherAudience);
    }
    match claims.authorized_party.as_deref() {
        Some(party) if party == expected.client_id => Ok(issuer),
        Some(_) => Err(Refused::OtherAuthorizedParty),
        None if audience.len() > 1 => Err(Refused::NoAuthorizedParty),
        None => Ok(issuer),
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

/// Whom the claims of a token describe that was judged by other rules.
pub(crate) fn described(
    claims: &Claims,
    issuer: String,
    subject: String,
    groups_claim: &str,
    expires: Timestamp,
) -> Person {
    let email = profile_text(claims, "email");
    let email_verified = email.is_some() && claims.other("email_verified") == Some(&Json::Bool(true));
    let (groups, groups_complete) = groups(claims, groups_claim);
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
        hosted_domain: profile_text(claims, "hd"),
        session: session(claims),
        authenticated_at: claims.authenticated_at,
        expires,
    }
}

/// The provider's name for its session, however long: it decides which logout ends the login, and only its digest is kept.
fn session(claims: &Claims) -> Option<String> {
    match claims.other("sid") {
        Some(Json::Text(value)) if !value.is_empty() => Some(value.clone()),
        _ => None,
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
fn groups(claims: &Claims, name: &str) -> (Vec<String>, bool) {
    let list = match claims.other(name) {
        // A provider that has too many for a token says where to ask for them, or only that there are some.
        None => return (Vec::new(), claims.other("_claim_names").is_none() && claims.other("hasgroups").is_none()),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;
    use crate::jose::algorithm::Algorithm;
    use crate::jose::testing::{honest, keys, members, token};
    use crate::oidc::testing::provider;

    const NOW: u64 = 1_000_000;
    const GOOD: &str =
        r#"{"iss":"https://id.example","sub":"s-1","aud":"gate","exp":1000300,"iat":999999,"nonce":"n-1"}"#;

    /// What is asked of a token that came with the access token `at`.
    fn expected<'a>(provider: &'a Provider, occasion: Occasion<'a>) -> Expected<'a> {
        Expected { provider, client_id: "gate", access_token: "at", groups_claim: "groups", occasion }
    }

    fn judged(token: &str) -> Result<Person, Refused> {
        judged_at(token, NOW, None)
    }

    fn judged_at(token: &str, now: u64, max_age: Option<u32>) -> Result<Person, Refused> {
        let provider = provider();
        let occasion = Occasion::Login { nonce: "n-1", max_age };
        let expected = expected(&provider, occasion);
        let keys = keys(&[Algorithm::Rs256, Algorithm::Es256, Algorithm::Ed25519, Algorithm::Ps256]);
        judge(token, &keys, &expected, Timestamp::from_secs(now))
    }

    fn claims(payload: &str) -> Result<Person, Refused> {
        judged(&honest(Algorithm::Ed25519, payload))
    }

    /// The good claims with one of them replaced; an empty value leaves it out.
    fn with(name: &str, value: &str) -> String {
        let good = [
            ("iss", r#""https://id.example""#),
            ("sub", r#""s-1""#),
            ("aud", r#""gate""#),
            ("exp", "1000300"),
            ("iat", "999999"),
            ("nonce", r#""n-1""#),
        ];
        members(&good, &[(name, value)])
    }

    #[test]
    fn a_good_token_names_the_person() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::Ed25519] {
            let person = judged(&honest(algorithm, GOOD)).unwrap();
            assert_eq!((person.issuer.as_str(), person.subject.as_str()), ("https://id.example", "s-1"));
            assert_eq!(person.expires, Timestamp::from_secs(1_000_300));
            assert_eq!((person.email, person.email_verified, person.groups_complete), (None, false, true));
        }
    }

    #[test]
    fn t189_every_rule_of_section_3_1_3_7_is_judged() {
        let long = format!("\"{}\"", "s".repeat(limits::SUBJECT_MAX + 1));
        let cases = [
            ("iss", "", Refused::OtherIssuer),
            ("iss", r#""https://id.example/""#, Refused::OtherIssuer),
            ("iss", r#""https://ID.example""#, Refused::OtherIssuer),
            ("iss", r#""https://evil.example""#, Refused::OtherIssuer),
            ("iss", r#"["https://id.example"]"#, Refused::BadClaims(claims::Malformed::NotText)),
            ("aud", "", Refused::OtherAudience),
            ("aud", r#""other""#, Refused::OtherAudience),
            ("aud", r#""Gate""#, Refused::OtherAudience),
            ("aud", r#"["other"]"#, Refused::OtherAudience),
            ("aud", r#"["gate","other"]"#, Refused::NoAuthorizedParty),
            ("aud", r#"["gate","gate"]"#, Refused::NoAuthorizedParty),
            ("aud", "[]", Refused::BadClaims(claims::Malformed::BadAudience)),
            ("azp", r#""other""#, Refused::OtherAuthorizedParty),
            ("azp", r#""""#, Refused::OtherAuthorizedParty),
            ("azp", "null", Refused::BadClaims(claims::Malformed::NotText)),
            ("exp", "", Refused::NoExpiry),
            ("exp", "999940", Refused::Expired),
            ("exp", "0", Refused::Expired),
            ("exp", r#""9999999999""#, Refused::BadClaims(claims::Malformed::BadTime)),
            ("iat", "", Refused::NoIssueTime),
            ("iat", "1000061", Refused::IssuedInFuture),
            ("iat", "999339", Refused::IssuedTooLongAgo),
            ("iat", "0", Refused::IssuedTooLongAgo),
            ("nbf", "1000061", Refused::NotYetValid),
            ("nbf", r#""0""#, Refused::BadClaims(claims::Malformed::BadTime)),
            ("nonce", "", Refused::OtherNonce),
            ("nonce", r#""""#, Refused::OtherNonce),
            ("nonce", r#""n-2""#, Refused::OtherNonce),
            ("nonce", r#""n-1 ""#, Refused::OtherNonce),
            ("nonce", "null", Refused::BadClaims(claims::Malformed::NotText)),
            ("at_hash", r#""77QmUPtjPfzWtF2AnpK9RQ""#, Refused::OtherAccessToken),
            ("at_hash", r#""""#, Refused::OtherAccessToken),
            ("at_hash", "1", Refused::BadClaims(claims::Malformed::NotText)),
            ("sub", "", Refused::BadSubject),
            ("sub", r#""""#, Refused::BadSubject),
            ("sub", long.as_str(), Refused::BadSubject),
            ("sub", r#""né""#, Refused::BadSubject),
            ("sub", r#""a\u0000""#, Refused::BadSubject),
            ("sub", r#""a\r\nb""#, Refused::BadSubject),
            ("sub", "7", Refused::BadClaims(claims::Malformed::NotText)),
        ];
        for (name, value, refused) in cases {
            assert_eq!(claims(&with(name, value)), Err(refused), "{name} {value}");
        }
    }

    #[test]
    fn t154_edges_of_the_rules_are_on_the_right_side() {
        let longest = format!("\"{}\"", "s".repeat(limits::SUBJECT_MAX));
        for (name, value) in [
            ("exp", "999941"),
            ("exp", "1000000"),
            ("exp", "4153600000"),
            ("iat", "1000060"),
            ("iat", "999340"),
            ("nbf", "1000060"),
            ("aud", r#"["gate"]"#),
            ("azp", r#""gate""#),
            ("sub", longest.as_str()),
            ("sub", r#""auth0|CN=Jane Doe""#),
        ] {
            assert!(claims(&with(name, value)).is_ok(), "{name} {value}");
        }
        let several = with("aud", r#"["other","gate"],"azp":"gate""#);
        assert!(claims(&several).is_ok());
    }

    #[test]
    fn t189_signature_and_key_are_judged_before_any_claim() {
        let unsigned = "eyJhbGciOiJub25lIn0.e30.";
        assert_eq!(judged(unsigned), Err(Refused::Malformed(jws::Malformed::Unsigned)));
        let hmac = "eyJhbGciOiJIUzI1NiJ9.e30.AA";
        assert_eq!(judged(hmac), Err(Refused::Malformed(jws::Malformed::OtherAlgorithm)));
        // The provider has a key for it but does not list the algorithm.
        assert_eq!(judged(&honest(Algorithm::Ps256, GOOD)), Err(Refused::OtherAlgorithm));
        let unknown = token(Algorithm::Es256, r#"{"alg":"ES256","kid":"new"}"#, GOOD);
        assert_eq!(judged(&unknown), Err(Refused::UnknownKey));
        let crossed = token(Algorithm::Es256, r#"{"alg":"ES256","kid":"RS256"}"#, GOOD);
        assert_eq!(judged(&crossed), Err(Refused::KeyForOtherAlgorithm));
        let good = honest(Algorithm::Rs256, GOOD);
        let (signed, _) = good.rsplit_once('.').unwrap();
        assert_eq!(judged(&format!("{signed}.AAAA")), Err(Refused::BadSignature));
    }

    #[test]
    fn t155_tokens_of_another_type_are_refused() {
        for typ in ["at+jwt", "application/at+jwt", "logout+jwt", "dpop+jwt", "JWS", ""] {
            let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}"}}"#);
            assert_eq!(judged(&token(Algorithm::Ed25519, &header, GOOD)), Err(Refused::OtherType), "{typ}");
        }
        for typ in ["JWT", "jwt", "application/jwt"] {
            let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}"}}"#);
            assert!(judged(&token(Algorithm::Ed25519, &header, GOOD)).is_ok(), "{typ}");
        }
    }

    #[test]
    fn t190_cve_2026_42206_cve_2026_114617_nothing_switches_the_nonce_off() {
        assert_eq!(
            claims(&with("nonce", "").replacen('{', r#"{"nonce_supported":false,"#, 1)),
            Err(Refused::OtherNonce)
        );
        // Not even a login that has lost its own nonce.
        let provider = provider();
        let expected = expected(&provider, Occasion::Login { nonce: "", max_age: None });
        for nonce in ["", r#""""#] {
            let token = honest(Algorithm::Ed25519, &with("nonce", nonce));
            let keys = keys(&[Algorithm::Ed25519]);
            assert_eq!(judge(&token, &keys, &expected, Timestamp::from_secs(NOW)), Err(Refused::OtherNonce));
        }
    }

    #[test]
    fn the_access_token_hash_is_the_algorithms() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::Ed25519] {
            let hash = text::base64url(&algorithm.half_hash("at"));
            let payload = with("at_hash", &format!("\"{hash}\""));
            assert!(judged(&honest(algorithm, &payload)).is_ok(), "{algorithm:?}");
            let padded = with("at_hash", &format!("\"{hash}==\""));
            assert_eq!(judged(&honest(algorithm, &padded)), Err(Refused::OtherAccessToken));
        }
    }

    #[test]
    fn a_maximal_age_needs_a_fresh_authentication() {
        let at = |value: &str, max_age| judged_at(&honest(Algorithm::Ed25519, &with("auth_time", value)), NOW, max_age);
        for value in ["", "999000", "1000061"] {
            assert_eq!(at(value, Some(30)), Err(Refused::AuthenticationTooOld), "{value}");
            assert!(at(value, None).is_ok(), "{value}");
        }
        for value in ["999910", "1000000", "1000060"] {
            assert!(at(value, Some(30)).is_ok(), "{value}");
        }
        assert!(at("999940", Some(0)).is_ok());
        assert_eq!(at("\"1000000\"", None), Err(Refused::BadClaims(claims::Malformed::BadTime)));
    }

    #[test]
    fn a_later_clock_never_revives_a_token() {
        let token = honest(Algorithm::Ed25519, GOOD);
        let mut refused = false;
        for now in NOW..NOW + 1_000 {
            let good = judged_at(&token, now, None).is_ok();
            assert!(!(refused && good), "valid again at {now}");
            refused = !good;
        }
        assert!(refused);
    }

    #[test]
    fn t197_groups_are_believed_only_as_a_list_of_texts() {
        let groups = |value: &str| {
            let person = claims(&with("groups", value)).unwrap();
            (person.groups, person.groups_complete)
        };
        let long = format!(r#"["{}"]"#, "g".repeat(limits::GROUP_MAX + 1));
        assert_eq!(groups(r#"["a","b"]"#), (vec!["a".to_owned(), "b".to_owned()], true));
        assert_eq!(groups("[]"), (Vec::new(), true));
        for value in [
            r#""admins""#,
            "null",
            "{}",
            r#"[["admins"]]"#,
            r#"["admins",1]"#,
            r#"["admins",null]"#,
            r#"["admins",""]"#,
            r#"["a\nb"]"#,
            &long,
        ] {
            assert_eq!(groups(value), (Vec::new(), false), "{value}");
        }
        let many: Vec<String> = (0..=limits::GROUPS_MAX).map(|number| format!("\"g{number}\"")).collect();
        let (kept, complete) = groups(&format!("[{}]", many.join(",")));
        assert_eq!((kept.len(), complete), (limits::GROUPS_MAX, false));
        let (kept, complete) = groups(&format!("[{}]", many[1..].join(",")));
        assert_eq!((kept.len(), complete), (limits::GROUPS_MAX, true));
    }

    #[test]
    fn t197_groups_that_the_provider_keeps_elsewhere_are_not_no_groups() {
        for more in [r#"{"groups":"src1"}"#, "true"] {
            for name in ["_claim_names", "hasgroups"] {
                let person = claims(&with(name, more)).unwrap();
                assert_eq!((person.groups, person.groups_complete), (Vec::new(), false), "{name} {more}");
            }
        }
    }

    /// OpenID Connect Core section 12.2: no nonce, another `iat`, the same person.
    #[test]
    fn t189_a_refreshed_token_speaks_of_the_same_person_or_of_nobody() {
        let provider = provider();
        let keys = keys(&[Algorithm::Ed25519]);
        let judged = |payload: &str, subject| {
            let occasion = Occasion::Refresh { issuer: "https://id.example", subject };
            let expected = expected(&provider, occasion);
            judge(&honest(Algorithm::Ed25519, payload), &keys, &expected, Timestamp::from_secs(NOW))
        };
        assert!(judged(&with("nonce", ""), "s-1").is_ok());
        assert!(judged(GOOD, "s-1").is_ok());
        assert_eq!(judged(GOOD, "s-2"), Err(Refused::OtherSubject));
        assert_eq!(judged(&with("iss", r#""https://other.example""#), "s-1"), Err(Refused::OtherIssuer));
        assert_eq!(judged(&with("aud", r#""other""#), "s-1"), Err(Refused::OtherAudience));
        assert_eq!(judged(&with("exp", "999000"), "s-1"), Err(Refused::Expired));
    }

    /// Subjects are interpreted within the tenant: the same one at another is somebody else.
    #[test]
    fn t189_r26_of_many_tenants_the_person_is_the_tenant_s_issuer_and_the_subject() {
        use crate::jose::jwk::KeySet;
        use crate::oidc::issuer::Issuer;
        const TENANTS: [&str; 2] = ["11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"];
        let issuer = |tenant: &str| format!("https://id.example/{tenant}/v2.0");
        let allowed = Some(TENANTS.map(str::to_owned).to_vec());
        let provider = Provider {
            issuer: Issuer::of_tenants("https://id.example/organizations/v2.0", allowed).unwrap(),
            ..provider()
        };
        let said = keys(&[Algorithm::Ed25519]).to_json();
        let published = said.replace("\"kty\"", "\"issuer\":\"https://id.example/{tenantid}/v2.0\",\"kty\"");
        let keys = KeySet::read(published.as_bytes()).unwrap();
        let judged = |tenant: &str, occasion| {
            let claims = with("iss", &format!(r#""{}","tid":"{tenant}""#, issuer(tenant)));
            let expected = expected(&provider, occasion);
            judge(&honest(Algorithm::Ed25519, &claims), &keys, &expected, Timestamp::from_secs(NOW))
        };
        let known = issuer(TENANTS[0]);
        for tenant in TENANTS {
            let person = judged(tenant, Occasion::Login { nonce: "n-1", max_age: None }).unwrap();
            assert_eq!((person.issuer, person.subject.as_str()), (issuer(tenant), "s-1"));
        }
        let again = Occasion::Refresh { issuer: &known, subject: "s-1" };
        assert!(judged(TENANTS[0], again).is_ok());
        assert_eq!(judged(TENANTS[1], again), Err(Refused::OtherSubject));
        let login = Occasion::Login { nonce: "n-1", max_age: None };
        assert_eq!(judged("33333333-2222-3333-4444-555555555555", login), Err(Refused::OtherIssuer));
    }

    #[test]
    fn r26_descriptions_in_doubt_are_left_out() {
        let person = claims(&with("email", r#""a@b.example","email_verified":true,"name":"Ä","locale":7"#)).unwrap();
        assert_eq!((person.email.as_deref(), person.email_verified), (Some("a@b.example"), true));
        assert_eq!((person.name.as_deref(), person.locale), (Some("Ä"), None));
        for (value, verified) in [
            (r#""a@b.example","email_verified":"true""#, false),
            (r#""a@b.example","email_verified":1"#, false),
            (r#""a@b.example""#, false),
            (r#"["a@b.example"],"email_verified":true"#, false),
            (r#""a@b.example\r\nx: y","email_verified":true"#, false),
        ] {
            assert_eq!(claims(&with("email", value)).unwrap().email_verified, verified, "{value}");
        }
        let long = format!("\"{}\"", "n".repeat(limits::PROFILE_TEXT_MAX + 1));
        assert_eq!(claims(&with("name", &long)).unwrap().name, None);
    }

    #[test]
    fn p11_a_person_cannot_be_printed() {
        assert_eq!(format!("{:?}", claims(GOOD).unwrap()), "Person(..)");
    }
}
