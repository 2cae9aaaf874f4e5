//! Judges a logout token: which session at the provider is over, or whose.
//!
//! OpenID Connect Back-Channel Logout 1.0 sections 2.4 to 2.6; RFC 8725 sections 3.8 to 3.12. Every rule is always judged. `exp` counts
//! where it is there; without one, as earlier drafts allowed, the age of `iat` bounds the token by itself.

use super::discovery::Provider;
use crate::jose::claims::Claims;
use crate::jose::jwk::KeySet;
use crate::jose::jws::{Unverifiable, Unverified};
use crate::key::{AssertionId, CutScope, Person, ProviderSession};
use crate::limits::{CLOCK_SKEW, LOGOUT_TOKEN_AGE_MAX, LOGOUT_TOKEN_ID_MAX, SUBJECT_MAX};
use crate::oauth::fault::Fault;
use crate::time::Timestamp;
use crate::wire::json::Json;

/// The member of `events` that makes a JWT a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Why a logout token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It names a key that is not among these: the one case that a fresh copy of them may mend.
    UnknownKey,
    /// A rule, in words.
    Rule(&'static str),
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::UnknownKey => Self::LogoutToken("it is signed with a key that the provider has not published"),
            Refused::Rule(rule) => Self::LogoutToken(rule),
        }
    }
}

/// A logout that the provider has asked for. Only [`judge`] makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logout {
    /// What ends: the session at the provider if the token names one, and else everything of the person.
    pub scope: CutScope,
    /// What is remembered, so that the token counts once.
    pub mark: AssertionId,
    /// Until when the token would be accepted.
    pub until: Timestamp,
}

/// Judges a token of this provider for the gateway with this base URL, which is `client_id` there.
///
/// # Errors
/// [`Refused`].
pub fn judge(
    token: &str,
    keys: &KeySet,
    provider: &Provider,
    client_id: &str,
    base_url: &str,
    now: Timestamp,
) -> Result<Logout, Refused> {
    let unverified = Unverified::parse(token).map_err(|_| Refused::Rule("it is not a signed JWT"))?;
    if !provider.algorithms.contains(&unverified.header().algorithm) {
        return Err(Refused::Rule("its alg is not one of the provider's"));
    }
    let verified = unverified.verify(keys).map_err(|unverifiable| match unverifiable {
        Unverifiable::UnknownKey => Refused::UnknownKey,
        Unverifiable::OtherAlgorithm => Refused::Rule("its alg is not the one of the key"),
        Unverifiable::AmbiguousKey => Refused::Rule("it names no kid, and several keys would fit"),
        Unverifiable::BadSignature => Refused::Rule("its signature is not the provider's"),
    })?;
    // "it is RECOMMENDED that the typ header parameter be logout+jwt": others write the one of any JWT, or none.
    if verified.header().typ.is_some() && !verified.is_typed("logout+jwt") && !verified.is_typed("JWT") {
        return Err(Refused::Rule("its typ is the one of another kind of JWT"));
    }
    let claims = verified.claims().map_err(|_| Refused::Rule("a claim has the wrong type, or stands twice"))?;
    let issuer = provider.issuer.of_token(&claims, verified.key_issuer());
    let issuer = issuer.ok_or(Refused::Rule("its iss is not the provider"))?;
    if !claims.audience.iter().flatten().any(|audience| audience == client_id) {
        return Err(Refused::Rule("its aud is not this gateway's client_id"));
    }
    let until = until(&claims, now)?;
    // "A nonce Claim MUST NOT be used": no ID token of a login is ever a logout.
    if claims.other("nonce").is_some() {
        return Err(Refused::Rule("it has a nonce"));
    }
    let event = claims.other("events").and_then(|events| events.member(EVENT));
    if !matches!(event, Some(Json::Object(_))) {
        return Err(Refused::Rule("its events do not hold a back-channel logout"));
    }
    let id = claims.id.as_deref().filter(|id| (1..=LOGOUT_TOKEN_ID_MAX).contains(&id.len()));
    let id = id.ok_or(Refused::Rule("it has no jti of 1 to 256 bytes"))?;
    let issuer = issuer.as_str();
    let (subject, session) = (claims.subject.as_deref(), claims.session.as_deref());
    if subject.is_some_and(|subject| !(1..=SUBJECT_MAX).contains(&subject.len())) {
        return Err(Refused::Rule("its sub is not 1 to 255 bytes"));
    }
    // However long, as in the ID token that a session began with.
    let scope = match (session, subject) {
        (Some(""), _) => return Err(Refused::Rule("its sid is empty")),
        (Some(session), _) => CutScope::ProviderSession(ProviderSession::of(base_url, issuer, session)),
        (None, Some(subject)) => CutScope::Person(Person::of(base_url, issuer, subject)),
        (None, None) => return Err(Refused::Rule("it has neither sub nor sid")),
    };
    Ok(Logout { scope, mark: AssertionId::of_logout(base_url, issuer, id), until })
}

// The refusals say the numbers in words of their own.
const _: () = assert!(LOGOUT_TOKEN_ID_MAX == 256 && SUBJECT_MAX == 255 && LOGOUT_TOKEN_AGE_MAX.as_secs() == 300);

fn until(claims: &Claims, now: Timestamp) -> Result<Timestamp, Refused> {
    let issued = claims.issued_at.ok_or(Refused::Rule("it has no iat"))?;
    if issued > now.plus(CLOCK_SKEW) || claims.not_before.is_some_and(|begin| begin > now.plus(CLOCK_SKEW)) {
        return Err(Refused::Rule("it is from the future"));
    }
    let until = issued.plus(LOGOUT_TOKEN_AGE_MAX).plus(CLOCK_SKEW);
    if now >= until {
        return Err(Refused::Rule("its iat is more than 5 minutes ago"));
    }
    if claims.expires.is_some_and(|expires| now >= expires.plus(CLOCK_SKEW)) {
        return Err(Refused::Rule("it has expired"));
    }
    Ok(until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::algorithm::Algorithm;
    use crate::jose::testing::{honest, keys, members, token};
    use crate::oidc::testing::{ISSUER, provider};

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);
    const BASE: &str = "https://gate.example";

    fn claims(changes: &[(&str, &str)]) -> String {
        let good = [
            ("iss", r#""https://id.example""#),
            ("aud", r#""gate""#),
            ("iat", "1000000"),
            ("exp", "1000120"),
            ("jti", r#""once""#),
            ("events", r#"{"http://schemas.openid.net/event/backchannel-logout":{}}"#),
            ("sub", r#""s-1""#),
            ("sid", r#""there""#),
        ];
        members(&good, changes)
    }

    fn judged(text: &str) -> Result<Logout, Refused> {
        judge(text, &keys(&[Algorithm::Es256, Algorithm::Ps256]), &provider(), "gate", BASE, NOW)
    }

    fn with(changes: &[(&str, &str)]) -> Result<Logout, Refused> {
        judged(&honest(Algorithm::Es256, &claims(changes)))
    }

    #[test]
    fn a_session_at_the_provider_ends_or_a_person() {
        let session = CutScope::ProviderSession(ProviderSession::of(BASE, ISSUER, "there"));
        let person = CutScope::Person(Person::of(BASE, ISSUER, "s-1"));
        let logout = with(&[]).unwrap();
        assert_eq!((logout.scope, logout.until), (session, Timestamp::from_secs(1_000_360)));
        assert_eq!(with(&[("sub", "")]).unwrap().scope, session);
        assert_eq!(with(&[("sid", "")]).unwrap().scope, person);
        assert_ne!(with(&[("jti", r#""twice""#)]).unwrap().mark, logout.mark);
        // An ID token's may be as long, and what began by it has to end.
        let long = "s".repeat(SUBJECT_MAX + 1);
        let session = CutScope::ProviderSession(ProviderSession::of(BASE, ISSUER, &long));
        assert_eq!(with(&[("sid", &format!("\"{long}\""))]).unwrap().scope, session);
        for (name, value) in [
            ("aud", r#"["other","gate"]"#),
            ("exp", ""),
            ("exp", "999941"),
            ("iat", "1000060"),
            ("iat", "999641"),
            ("events", r#"{"other":{},"http://schemas.openid.net/event/backchannel-logout":{"more":1}}"#),
        ] {
            assert!(with(&[(name, value)]).is_ok(), "{name} {value}");
        }
        for typ in ["logout+jwt", "application/logout+jwt", "JWT", "Logout+JWT"] {
            let header = format!(r#"{{"alg":"ES256","kid":"ES256","typ":"{typ}"}}"#);
            assert!(judged(&token(Algorithm::Es256, &header, &claims(&[]))).is_ok(), "{typ}");
        }
    }

    #[test]
    fn t155_every_rule_of_section_2_6_is_judged() {
        let long = format!("\"{}\"", "s".repeat(256));
        for (changes, words) in [
            (&[("iss", "")][..], "iss"),
            (&[("iss", r#""https://id.example/""#)], "iss"),
            (&[("aud", "")], "aud"),
            (&[("aud", r#""Gate""#)], "aud"),
            (&[("aud", "7")], "wrong type"),
            (&[("iat", "")], "no iat"),
            (&[("iat", "1000061")], "future"),
            (&[("iat", "999640")], "5 minutes"),
            (&[("nbf", "1000061")], "future"),
            (&[("exp", "999940")], "expired"),
            (&[("exp", r#""1000120""#)], "wrong type"),
            (&[("jti", "")], "jti"),
            (&[("jti", r#""""#)], "jti"),
            (&[("jti", "1")], "wrong type"),
            (&[("nonce", r#""n""#)], "nonce"),
            (&[("nonce", r#""""#)], "nonce"),
            (&[("events", "")], "events"),
            (&[("events", "{}")], "events"),
            (&[("events", r#"["http://schemas.openid.net/event/backchannel-logout"]"#)], "events"),
            (&[("events", r#"{"http://schemas.openid.net/event/backchannel-logout":true}"#)], "events"),
            (&[("events", r#"{"HTTP://schemas.openid.net/event/backchannel-logout":{}}"#)], "events"),
            (&[("sub", ""), ("sid", "")], "neither sub nor sid"),
            (&[("sub", r#""""#)], "sub"),
            (&[("sid", r#""""#)], "sid"),
            (&[("sub", long.as_str())], "sub"),
            (&[("sid", "7")], "wrong type"),
        ] {
            match with(changes) {
                Err(Refused::Rule(rule)) => assert!(rule.contains(words), "{changes:?}: {rule}"),
                other => panic!("{changes:?}: {other:?}"),
            }
        }
        let good = claims(&[]);
        let rule = |text: &str| match judged(text) {
            Err(Refused::Rule(rule)) => rule,
            other => panic!("{other:?}"),
        };
        assert!(rule(&token(Algorithm::Es256, r#"{"alg":"none"}"#, &good)).contains("not a signed JWT"));
        assert!(rule(&token(Algorithm::Es256, r#"{"alg":"HS256"}"#, &good)).contains("not a signed JWT"));
        assert!(rule(&honest(Algorithm::Ps256, &good)).contains("not one of the provider's"), "it does not list it");
        for typ in ["at+jwt", "secevent+jwt", "dpop+jwt"] {
            let header = format!(r#"{{"alg":"ES256","kid":"ES256","typ":"{typ}"}}"#);
            assert!(rule(&token(Algorithm::Es256, &header, &good)).contains("typ"), "{typ}");
        }
        let honest = honest(Algorithm::Es256, &good);
        let (signed, _) = honest.rsplit_once('.').unwrap();
        assert!(rule(&format!("{signed}.{}", "A".repeat(86))).contains("signature"));
        let unknown = token(Algorithm::Es256, r#"{"alg":"ES256","kid":"another"}"#, &good);
        assert_eq!(judged(&unknown), Err(Refused::UnknownKey));
        assert_eq!(rule("x"), "it is not a signed JWT");
    }
}
