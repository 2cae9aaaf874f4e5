//! Bearers that are not of our making: ID tokens of other clients of the identity provider, and JWTs of issuers that the operator
//! trusts, such as a cluster's service accounts.
//!
//! RFC 7519, RFC 8725, RFC 9068 section 4. Such a token has no grant. It is good until its `exp` or until a cut ends its person,
//! everybody, or what was issued before. Whatever names no issuer that is trusted here is refused by itself: no bearer is ever sent
//! anywhere to be asked about (RS-7).

use crate::hash::sha256_of;
use crate::jose::claims::{self, Claims as Jwt};
use crate::jose::jwk::KeySet;
use crate::jose::jws::{Unverifiable, Unverified, Verified};
use crate::key::{CutScope, Person};
use crate::limits::{CLOCK_SKEW, STRANGER_LIFE_MAX, SUBJECT_MAX};
use crate::oauth::admit::Wish;
use crate::oauth::cut::{self, Cuts};
use crate::oauth::fault::Fault;
use crate::oauth::identity::Claims;
use crate::oauth::resource::{Resource, ResourceHash};
use crate::oauth::scope::Scopes;
use crate::oidc::id_token;
use crate::oidc::issuer::Issuer;
use crate::operation::{Facts, Keys, Question};
use crate::time::Timestamp;
use crate::wire::json::Json;
use std::sync::Arc;

/// Which rule such a token breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The key set does not have the key: fetch it once more.
    UnknownKey,
    /// The signature is not the key's, or the key is not for its algorithm.
    BadSignature,
    /// `typ` is none that is accepted of this issuer.
    OtherType,
    /// A claim has the wrong type.
    BadClaims(claims::Malformed),
    /// `iss` is another issuer.
    OtherIssuer,
    /// `aud` is missing or names nobody whom it may.
    OtherAudience,
    /// `exp` is missing.
    NoExpiry,
    /// `exp` has passed.
    Expired,
    /// `exp` is further away than any cut is remembered.
    TooLong,
    /// `iat` or `nbf` is to come.
    NotYetValid,
    /// It has `events`: it tells of a logout or the like, and lets nobody in (RFC 8417).
    Event,
    /// The subject is missing, no text, empty, too long, or not printable ASCII.
    BadSubject,
    /// A claim does not say what it must.
    OtherClaim,
    /// The operator does not let this person in.
    Person,
}

/// Whose tokens are taken beside our own.
#[derive(Clone, Debug, Default)]
pub struct Trusted {
    /// Client identifiers at the identity provider whose ID tokens are taken.
    pub audiences: Vec<String>,
    /// Issuers whose tokens are taken.
    pub issuers: Vec<TrustedIssuer>,
}

impl Trusted {
    /// Whether there is anybody at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.audiences.is_empty() && self.issuers.is_empty()
    }
}

/// An issuer, and what its tokens must be like.
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    /// `iss`, byte for byte.
    pub issuer: String,
    /// Of these `aud` must hold one; without any it must hold the resource's identifier.
    pub audiences: Vec<String>,
    /// What its tokens may do: those of them that a token's `scope` names, all of them if a token names none.
    pub scopes: Scopes,
    /// What claims must say, each by one of its patterns.
    pub claims: Vec<(String, Vec<Pattern>)>,
    /// The claim that names the person.
    pub subject_claim: String,
    /// The values of `typ`; an empty one stands for none.
    pub types: Vec<String>,
}

/// A text in which each `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub String);

impl Pattern {
    /// Whether the whole of `text` is like this.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        // The earliest place for each part leaves the most for those behind it.
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            match rest.split_once(part) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        true
    }
}

/// Somebody who came with such a token.
#[derive(Clone, Debug)]
pub struct Stranger {
    /// The person.
    pub person: Person,
    /// Who that is.
    pub claims: Claims,
    /// What correlates the requests with this token; of another token it is another one.
    pub session: String,
    /// The resource at which the token was judged.
    pub resource: ResourceHash,
    /// What it may do there.
    pub scopes: Scopes,
    /// `iat`, or the beginning of time.
    pub created: Timestamp,
    /// `exp`.
    pub expires: Timestamp,
    /// Whether the token is an ID token of the identity provider.
    pub is_id_token: bool,
}

/// The circumstances of a judgement.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The gateway's base URL.
    pub base_url: &'a str,
    /// The resource.
    pub resource: &'a Resource,
    /// The time.
    pub now: Timestamp,
}

/// Judges a token of a trusted issuer.
///
/// # Errors
/// The first rule that it breaks.
pub fn of_issuer(
    token: &str,
    unverified: Unverified<'_>,
    issuer: &TrustedIssuer,
    keys: &KeySet,
    place: Place<'_>,
) -> Result<Stranger, Refused> {
    let verified = opened(unverified, keys)?;
    let types = &issuer.types;
    let is_typed = types.iter().any(|typ| match typ.as_str() {
        "" => verified.header().typ.is_none(),
        typ => verified.is_typed(typ),
    });
    if !is_typed {
        return Err(Refused::OtherType);
    }
    let jwt = verified.claims().map_err(Refused::BadClaims)?;
    let own = [place.resource.identifier().to_owned()];
    let audiences = if issuer.audiences.is_empty() { &own[..] } else { &issuer.audiences };
    let (created, expires) = common(&jwt, &issuer.issuer, audiences, place.now)?;
    let says = |(name, patterns): &(String, Vec<Pattern>)| {
        let values = jwt.other(name).and_then(|value| value.text_or_texts().ok()).unwrap_or_default();
        values.iter().any(|value| patterns.iter().any(|pattern| pattern.fits(value)))
    };
    if !issuer.claims.iter().all(says) {
        return Err(Refused::OtherClaim);
    }
    let subject = match jwt.other(&issuer.subject_claim) {
        Some(Json::Text(subject)) if is_subject(subject) => subject.clone(),
        _ => return Err(Refused::BadSubject),
    };
    let scopes = match jwt.other("scope") {
        None => issuer.scopes.clone(),
        Some(Json::Text(line)) => {
            Scopes::parse(line).map_err(|_| Refused::BadClaims(claims::Malformed::NotText))?.intersect(&issuer.scopes)
        }
        Some(_) => return Err(Refused::BadClaims(claims::Malformed::NotText)),
    };
    let person = id_token::described(&jwt, issuer.issuer.clone(), subject, GROUPS, expires);
    Ok(stranger(token, Claims::from(person), scopes, created, expires, place))
}

/// Judges an ID token of the identity provider that was issued to another client. Whoever has one may do what the resource lets
/// people do; `admits` says whether the person may come in at all.
///
/// # Errors
/// The first rule that it breaks.
pub fn of_provider(
    token: &str,
    unverified: Unverified<'_>,
    issuer: &Issuer,
    audiences: &[String],
    keys: &KeySet,
    place: Place<'_>,
    judge: ProviderRules<'_>,
) -> Result<Stranger, Refused> {
    let verified = opened(unverified, keys)?;
    if verified.header().typ.is_some() && !verified.is_typed("JWT") {
        return Err(Refused::OtherType);
    }
    let jwt = verified.claims().map_err(Refused::BadClaims)?;
    let issuer = issuer.of_token(&jwt, verified.key_issuer()).ok_or(Refused::OtherIssuer)?;
    let (created, expires) = common(&jwt, &issuer, audiences, place.now)?;
    if !is_id_token(&jwt) {
        return Err(Refused::OtherType);
    }
    let subject = jwt.subject.clone().filter(|subject| is_subject(subject)).ok_or(Refused::BadSubject)?;
    let person = id_token::described(&jwt, issuer, subject, judge.groups_claim, expires);
    if !(judge.admits)(&person) {
        return Err(Refused::Person);
    }
    let scopes = place.resource.scope_set().clone();
    Ok(Stranger { is_id_token: true, ..stranger(token, Claims::from(person), scopes, created, expires, place) })
}

/// Whether this is an ID token and no access token. Providers sign both with the same keys, and those that write `JWT` as the type of both
/// tell them apart in the payload: Keycloak by `typ`, Cognito by `token_use`, others by the scopes that only an access token has. Entra ID
/// writes none for an application that acts for itself, but by what it has proved who it is. One that was issued for the API of a trusted
/// client must not open anything here (RFC 8725 section 3.12).
fn is_id_token(jwt: &Jwt) -> bool {
    let says = |claim: &str, word: &str| {
        jwt.other(claim).is_none_or(|said| matches!(said, Json::Text(said) if said.eq_ignore_ascii_case(word)))
    };
    let of_access = ["scope", "scp", "azpacr", "appidacr", "idtyp"];
    says("typ", "ID") && says("token_use", "id") && of_access.iter().all(|claim| jwt.other(claim).is_none())
}

/// How the provider's people are described, and who of them may come in.
#[derive(Clone, Copy)]
pub struct ProviderRules<'a> {
    /// Under which claim their groups are listed.
    pub groups_claim: &'a str,
    /// Whether the operator lets somebody in.
    pub admits: &'a (dyn Fn(&id_token::Person) -> bool + Sync),
}

const GROUPS: &str = "groups";

fn opened(unverified: Unverified<'_>, keys: &KeySet) -> Result<Verified, Refused> {
    unverified.verify(keys).map_err(|reason| match reason {
        Unverifiable::UnknownKey => Refused::UnknownKey,
        Unverifiable::OtherAlgorithm | Unverifiable::AmbiguousKey | Unverifiable::BadSignature => Refused::BadSignature,
    })
}

/// What holds for every such token: when it was issued, and when it ends.
fn common(jwt: &Jwt, issuer: &str, audiences: &[String], now: Timestamp) -> Result<(Timestamp, Timestamp), Refused> {
    if jwt.issuer.as_deref() != Some(issuer) {
        return Err(Refused::OtherIssuer);
    }
    let named = jwt.audience.as_deref().unwrap_or_default();
    if !named.iter().any(|one| audiences.contains(one)) {
        return Err(Refused::OtherAudience);
    }
    if jwt.other("events").is_some() {
        return Err(Refused::Event);
    }
    let expires = jwt.expires.ok_or(Refused::NoExpiry)?;
    if now >= expires {
        return Err(Refused::Expired);
    }
    if expires > now.plus(STRANGER_LIFE_MAX) {
        return Err(Refused::TooLong);
    }
    if [jwt.issued_at, jwt.not_before].into_iter().flatten().any(|time| time > now.plus(CLOCK_SKEW)) {
        return Err(Refused::NotYetValid);
    }
    Ok((jwt.issued_at.unwrap_or(Timestamp::EPOCH), expires))
}

fn is_subject(subject: &str) -> bool {
    (1..=SUBJECT_MAX).contains(&subject.len()) && subject.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

fn stranger(
    token: &str,
    claims: Claims,
    scopes: Scopes,
    created: Timestamp,
    expires: Timestamp,
    place: Place<'_>,
) -> Stranger {
    let [a, b, c, d, e, f, g, h, ..] = sha256_of("portcullis forwarded session", &[token.as_bytes()]);
    Stranger {
        person: Person::of(place.base_url, &claims.issuer, &claims.subject),
        session: format!("ext-{:016x}", u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        claims,
        resource: place.resource.hash(),
        scopes,
        created,
        expires,
        is_id_token: false,
    }
}

/// The question whether such a token still counts. Asked for every request, like [`Admit`](super::admit::Admit).
#[derive(Debug)]
pub struct AdmitStranger<'a> {
    /// Whoever came with it.
    pub stranger: &'a Arc<Stranger>,
    /// What they want.
    pub wish: Wish<'a>,
}

impl AdmitStranger<'_> {
    fn cuts(&self) -> [CutScope; 2] {
        [CutScope::All, CutScope::Person(self.stranger.person)]
    }
}

impl Question for AdmitStranger<'_> {
    type Reply = ();

    fn asks(&self) -> Keys {
        cut::keys(self.cuts())
    }

    fn then(&self, _first: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, now: Timestamp) -> Result<(), Fault> {
        let Stranger { created, expires, .. } = **self.stranger;
        let expires = match self.wish {
            Wish::Stay { overrun } => expires.plus(overrun),
            Wish::Enter { .. } | Wish::BeKnown => expires,
        };
        if now >= expires {
            return Err(Fault::TokenExpired);
        }
        let cuts = Cuts::consult(facts, cut::keys(self.cuts()), now)?;
        cuts.spare(created).map_err(|_| Fault::TokenRevoked)?;
        if let Wish::Enter { resource, scopes } = self.wish {
            if self.stranger.resource != resource {
                return Err(Fault::TokenResource);
            }
            if !scopes.within(&self.stranger.scopes) {
                return Err(Fault::ScopeInsufficient);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fresh::Stamp;
    use crate::jose::algorithm::Algorithm;
    use crate::jose::testing::{honest, keys, token};
    use crate::key::Key;
    use crate::oauth::cut::Cut;
    use crate::oauth::policy::tests::policy;
    use crate::operation::{Epoch, Fact, Stored};
    use crate::record::Record;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);
    const GOOD: &str = r#"{"iss":"https://cluster.example","sub":"system:serviceaccount:agents:planner","aud":["https://gate.example/mcp"],"exp":1003600,"iat":999999}"#;

    fn cluster() -> TrustedIssuer {
        TrustedIssuer {
            issuer: "https://cluster.example".into(),
            audiences: Vec::new(),
            scopes: Scopes::of(["mcp"]),
            claims: vec![("sub".into(), vec![Pattern("system:serviceaccount:agents:*".into())])],
            subject_claim: "sub".into(),
            types: vec![String::new()],
        }
    }

    fn judged_by(issuer: &TrustedIssuer, text: &str) -> Result<Stranger, Refused> {
        let policy = policy();
        let resource = policy.resources.fallback().unwrap();
        let place = Place { base_url: "https://gate.example", resource, now: NOW };
        let keys = keys(&[Algorithm::Es256, Algorithm::Ed25519]);
        of_issuer(text, Unverified::parse(text).unwrap(), issuer, &keys, place)
    }

    fn judged(payload: &str) -> Result<Stranger, Refused> {
        judged_by(&cluster(), &honest(Algorithm::Es256, payload))
    }

    fn changed(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        GOOD.replacen(from, to, 1)
    }

    #[test]
    fn m22_seed_bug_41_a_service_account_without_typ_and_without_address_is_let_in() {
        let stranger = judged(GOOD).unwrap();
        assert_eq!(stranger.claims.subject, "system:serviceaccount:agents:planner");
        assert_eq!((stranger.scopes.line(), stranger.claims.email), ("mcp", None));
        assert_eq!(stranger.expires, Timestamp::from_secs(1_003_600));
        assert!(stranger.session.starts_with("ext-") && stranger.session.len() == 20, "{}", stranger.session);
        let again = judged(GOOD).unwrap();
        assert_eq!(again.person, stranger.person);
    }

    #[test]
    fn t154_seed_bug_35_whom_it_is_for_and_until_when_must_be_said() {
        for (from, to, refused) in [
            (r#","exp":1003600"#, "", Refused::NoExpiry),
            ("1003600", "1000000", Refused::Expired),
            ("1003600", "4153600000", Refused::TooLong),
            ("999999", "1000061", Refused::NotYetValid),
            (r#""iat""#, r#""nbf":1000061,"iat""#, Refused::NotYetValid),
            (r#""aud":["https://gate.example/mcp"],"#, "", Refused::OtherAudience),
            ("gate.example/mcp", "gate.example", Refused::OtherAudience),
            ("cluster.example", "cluster.example/", Refused::OtherIssuer),
            ("agents:planner", "other:planner", Refused::OtherClaim),
            (r#""sub":"system:serviceaccount:agents:planner","#, "", Refused::OtherClaim),
            (r#""iat""#, r#""events":{},"iat""#, Refused::Event),
            ("1003600", r#""1003600""#, Refused::BadClaims(claims::Malformed::BadTime)),
        ] {
            assert_eq!(judged(&changed(from, to)).err(), Some(refused), "{from} {to}");
        }
        assert!(judged(&changed(r#","iat":999999"#, "")).is_ok());
        assert_eq!(judged(&changed(r#","iat":999999"#, "")).unwrap().created, Timestamp::EPOCH);
    }

    #[test]
    fn t155_the_type_is_the_one_that_is_accepted_of_this_issuer() {
        let with = |typ: &str| token(Algorithm::Es256, &format!(r#"{{"alg":"ES256"{typ}}}"#), GOOD);
        let accepting =
            |types: &[&str]| TrustedIssuer { types: types.iter().map(|it| (*it).into()).collect(), ..cluster() };
        let (none, access) = (accepting(&[""]), accepting(&["at+jwt"]));
        assert!(judged_by(&none, &with("")).is_ok());
        assert!(judged_by(&access, &with(r#","typ":"at+jwt""#)).is_ok());
        for (issuer, typ) in [
            (&access, ""),
            (&none, r#","typ":"at+jwt""#),
            (&access, r#","typ":"JWT""#),
            (&access, r#","typ":"logout+jwt""#),
        ] {
            assert_eq!(judged_by(issuer, &with(typ)).err(), Some(Refused::OtherType), "{typ}");
        }
    }

    #[test]
    fn t146_a_token_s_scope_only_narrows() {
        let with = |scope: &str| judged(&changed(r#""iat""#, &format!(r#""scope":{scope},"iat""#)));
        assert_eq!(with(r#""mcp admin""#).unwrap().scopes.line(), "mcp");
        assert_eq!(with(r#""admin""#).unwrap().scopes.line(), "");
        assert_eq!(with("[]").err(), Some(Refused::BadClaims(claims::Malformed::NotText)));
    }

    #[test]
    fn patterns_stand_for_the_whole_text() {
        for (pattern, fits, not) in [
            ("a:*", &["a:", "a:b", "a:b:c"][..], &["a", "b:a:", ""][..]),
            ("*", &["", "x"], &[]),
            ("a", &["a"], &["aa", "", "ab", "ba"]),
            ("a*b*c", &["abc", "aXbYc", "abbc", "abcbc"], &["ac", "abcd", "acb"]),
            ("*b", &["b", "ab", "bb"], &["ba", ""]),
            ("a**b", &["ab", "axb"], &["a", "b"]),
            ("ab*ba", &["abba", "abxba"], &["aba"]),
        ] {
            let pattern = Pattern(pattern.into());
            assert!(fits.iter().all(|text| pattern.fits(text)), "{pattern:?}");
            assert!(!not.iter().any(|text| pattern.fits(text)), "{pattern:?}");
        }
    }

    /// The same, read slowly: each star stands for nothing, or takes one letter and stays.
    fn fits_slowly(pattern: &str, text: &str) -> bool {
        match (pattern.strip_prefix('*'), pattern.chars().next(), text.chars().next()) {
            (Some(rest), _, first) => {
                fits_slowly(rest, text) || first.is_some_and(|letter| fits_slowly(pattern, &text[letter.len_utf8()..]))
            }
            (None, Some(wanted), Some(first)) if wanted == first => {
                fits_slowly(&pattern[wanted.len_utf8()..], &text[first.len_utf8()..])
            }
            (None, None, None) => true,
            (None, _, _) => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_what_a_slow_reading_says(pattern in "[ab\u{e9}*]{0,7}", text in "[ab\u{e9}]{0,9}") {
            prop_assert_eq!(Pattern(pattern.clone()).fits(&text), fits_slowly(&pattern, &text));
        }
    }

    #[test]
    fn m21_t155_an_id_token_of_a_trusted_client_lets_its_person_in_if_the_operator_does() {
        let policy = policy();
        let resource = policy.resources.fallback().unwrap();
        let place = Place { base_url: "https://gate.example", resource, now: NOW };
        let audiences = ["kubectl".to_owned()];
        let judged = |payload: &str, admits: bool| {
            let token = honest(Algorithm::Ed25519, payload);
            let judge = ProviderRules { groups_claim: "groups", admits: &move |_| admits };
            let (unverified, keys) = (Unverified::parse(&token).unwrap(), keys(&[Algorithm::Ed25519]));
            of_provider(&token, unverified, &"https://id.example".into(), &audiences, &keys, place, judge)
        };
        let good = r#"{"iss":"https://id.example","sub":"ada","aud":["x","kubectl"],"exp":1000300,"iat":999999,"groups":["staff"]}"#;
        let stranger = judged(good, true).unwrap();
        assert_eq!((stranger.scopes.line(), stranger.claims.groups), ("mcp", vec!["staff".to_owned()]));
        assert_eq!(judged(good, false).err(), Some(Refused::Person));
        let other = good.replace("kubectl", "other");
        assert_eq!(judged(&other, true).err(), Some(Refused::OtherAudience));
        for (said, refused) in [
            (r#""typ":"ID""#, None),
            (r#""token_use":"id""#, None),
            (r#""typ":"Bearer""#, Some(Refused::OtherType)),
            (r#""typ":1"#, Some(Refused::OtherType)),
            (r#""token_use":"access""#, Some(Refused::OtherType)),
            (r#""scope":"openid""#, Some(Refused::OtherType)),
            (r#""scp":"api.read""#, Some(Refused::OtherType)),
            // Entra ID writes no scope into the token of an application that acts for itself.
            (r#""azp":"kubectl","azpacr":"1","roles":["staff"]"#, Some(Refused::OtherType)),
            (r#""appid":"kubectl","appidacr":"2""#, Some(Refused::OtherType)),
            (r#""idtyp":"app""#, Some(Refused::OtherType)),
            (r#""azp":"kubectl""#, None),
        ] {
            let payload = good.replacen('{', &format!("{{{said},"), 1);
            assert_eq!(judged(&payload, true).err(), refused, "T155, an access token is no ID token: {said}");
        }
    }

    #[test]
    fn a_cut_ends_what_was_issued_before_it_and_a_block_everything() {
        let stranger = Arc::new(judged(GOOD).unwrap());
        let scopes = Scopes::of(["mcp"]);
        let said = |person: Option<Cut>, wish: Wish<'_>, now: Timestamp| {
            let asked = AdmitStranger { stranger: &stranger, wish };
            let mut facts = Facts::new(Epoch::default());
            for key in asked.asks().iter() {
                let cut = if *key == Key::Cut(CutScope::All) { None } else { person.clone() };
                let fact = cut.map_or(Fact::Absent, |cut| {
                    Fact::Found(Stored {
                        until: cut.until(),
                        record: Arc::new(Record::Cut(cut)),
                        stamp: Stamp([1; 16]),
                    })
                });
                facts.add(*key, fact);
            }
            asked.decide(&facts, now)
        };
        let enter = Wish::Enter { resource: stranger.resource, scopes: &scopes };
        assert_eq!(said(None, enter, NOW), Ok(()));
        assert_eq!(said(None, enter, stranger.expires), Err(Fault::TokenExpired));
        assert_eq!(said(Some(Cut::before(NOW)), enter, NOW), Err(Fault::TokenRevoked));
        assert_eq!(said(Some(Cut::before(Timestamp::from_secs(10))), enter, NOW), Ok(()));
        assert_eq!(said(Some(Cut::block(Timestamp::from_secs(10))), enter, NOW), Err(Fault::TokenRevoked));
        let elsewhere = Wish::Enter { resource: ResourceHash([9; 16]), scopes: &scopes };
        assert_eq!(said(None, elsewhere, NOW), Err(Fault::TokenResource));
        let more = Scopes::of(["mcp", "admin"]);
        let asks_more = Wish::Enter { resource: stranger.resource, scopes: &more };
        assert_eq!(said(None, asks_more, NOW), Err(Fault::ScopeInsufficient));
    }
}
