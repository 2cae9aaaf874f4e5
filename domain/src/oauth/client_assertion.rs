//! A client proves who it is by signing: RFC 7521 section 4.2, RFC 7523 sections 2.2 and 3.
//!
//! ```text
//!   claimed client ──► its keys ──► judge ──► Proof ──► its mark, if absent ──► the client's request
//! ```
//!
//! The audience is this server and nothing else, so that an assertion that was made for another one is worth nothing here: its issuer,
//! or in an assertion of before there were types the URL of its token endpoint, which RFC 7523 section 3 names and clients in use
//! write. Each counts once: the mark of its `jti` is an operation of its own that goes first. One that is burnt for a request that is
//! then refused harms nobody.

use crate::fresh::Fresh;
use crate::jose::jwk::KeySet;
use crate::jose::jws::{Unverifiable, Unverified, Verified};
use crate::key::{AssertionId, ClientHash, Key};
use crate::limits::{CLIENT_ASSERTION_ID_MAX, CLIENT_ASSERTION_LIFE, CLIENT_ID_MAX, CLOCK_SKEW, JWT_MAX};
use crate::oauth::fault::Fault;
use crate::oauth::metadata;
use crate::operation::{Decision, Fact, Facts, Keys, Operation, Write};
use crate::record::Record;
use crate::time::Timestamp;
use crate::wire::json;
use crate::wire::text;
use std::sync::Arc;

/// `client_assertion_type` of a JWT (RFC 7523 section 2.2).
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An assertion as it is sent.
#[derive(Clone)]
pub struct Assertion<'a> {
    text: &'a str,
    claimed: String,
}

impl<'a> Assertion<'a> {
    /// Reads an assertion of this type.
    ///
    /// # Errors
    /// [`Fault::ClientAssertion`] if it is of another type, or does not say whom it comes from.
    pub fn parse(kind: &str, text: &'a str) -> Result<Self, Fault> {
        if kind != JWT_BEARER {
            return Err(Fault::ClientAssertion("client_assertion_type is not the one of JWTs"));
        }
        let claimed = claimed(text).ok_or(Fault::ClientAssertion("it is not a signed JWT with a sub"))?;
        Ok(Self { text, claimed })
    }

    /// Whom it says it comes from: good for finding that client and its keys, and for nothing else.
    #[must_use]
    pub fn claimed(&self) -> &str {
        &self.claimed
    }
}

impl std::fmt::Debug for Assertion<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Assertion(..)")
    }
}

fn claimed(assertion: &str) -> Option<String> {
    if assertion.len() > JWT_MAX {
        return None;
    }
    let payload = text::from_base64url(assertion.split('.').nth(1)?).ok()?;
    let claims = json::parse(&payload, JWT_MAX).ok()?;
    claims.optional_text("sub").ok()?.filter(|sub| !sub.is_empty() && sub.len() <= CLIENT_ID_MAX).map(str::to_owned)
}

/// Why an assertion is not accepted.
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
            Refused::UnknownKey => Self::ClientAssertion("it is signed with a key that the client has not published"),
            Refused::Rule(rule) => Self::ClientAssertion(rule),
        }
    }
}

/// An assertion that is the client's, and has not been used yet as far as it tells itself. Only [`judge`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    client: ClientHash,
    mark: AssertionId,
    until: Timestamp,
}

impl Proof {
    /// The client.
    #[must_use]
    pub const fn client(&self) -> ClientHash {
        self.client
    }
}

/// Judges an assertion of the client with this id and these keys.
///
/// # Errors
/// [`Refused`].
pub fn judge(
    assertion: &Assertion<'_>,
    client_id: &str,
    keys: &KeySet,
    issuer: &str,
    now: Timestamp,
) -> Result<Proof, Refused> {
    let unverified = Unverified::parse(assertion.text).map_err(|_| Refused::Rule("it is not a signed JWT"))?;
    let verified = unverified.verify(keys).map_err(|unverifiable| match unverifiable {
        Unverifiable::UnknownKey => Refused::UnknownKey,
        Unverifiable::OtherAlgorithm => Refused::Rule("its alg is not the one of the key"),
        Unverifiable::AmbiguousKey => Refused::Rule("it names no kid, and several of the client's keys would fit"),
        Unverifiable::BadSignature => Refused::Rule("its signature is not the client's"),
    })?;
    if !is_well_typed(&verified) {
        return Err(Refused::Rule("its typ is the one of another kind of JWT"));
    }
    let claims = verified.claims().map_err(|_| Refused::Rule("a claim has the wrong type, or stands twice"))?;
    if claims.issuer.as_deref() != Some(client_id) || claims.subject.as_deref() != Some(client_id) {
        return Err(Refused::Rule("its iss and its sub are not both the client_id"));
    }
    // "aud" with another server beside this one would let that server use it here.
    let audience = claims.audience.as_deref().and_then(<[String]>::first).map(String::as_str);
    let is_here = audience == Some(issuer) || (!is_typed(&verified) && is_token_endpoint(audience, issuer));
    if !is_here || claims.audience.as_ref().is_some_and(|all| all.len() > 1) {
        return Err(Refused::Rule("its aud is not the issuer of this server alone, nor its token endpoint"));
    }
    let expires = claims.expires.ok_or(Refused::Rule("it has no exp"))?;
    let until = expires.plus(CLOCK_SKEW);
    if now >= until {
        return Err(Refused::Rule("it has expired"));
    }
    if expires > now.plus(CLIENT_ASSERTION_LIFE).plus(CLOCK_SKEW) {
        return Err(Refused::Rule("its exp is more than 5 minutes away"));
    }
    let future = now.plus(CLOCK_SKEW);
    if claims.not_before.is_some_and(|begin| begin > future) || claims.issued_at.is_some_and(|issued| issued > future) {
        return Err(Refused::Rule("it is from the future"));
    }
    if claims.issued_at.is_some_and(|issued| issued.plus(CLIENT_ASSERTION_LIFE).plus(CLOCK_SKEW) < now) {
        return Err(Refused::Rule("its iat is more than 5 minutes ago"));
    }
    let id = claims.id.as_deref().filter(|id| (1..=CLIENT_ASSERTION_ID_MAX).contains(&id.len()));
    let id = id.ok_or(Refused::Rule("it has no jti of 1 to 256 bytes"))?;
    let client = ClientHash::of(client_id);
    Ok(Proof { client, mark: AssertionId::of(issuer, client, id), until })
}

// The refusals say the numbers in words of their own.
const _: () = assert!(CLIENT_ASSERTION_LIFE.as_secs() == 300 && CLIENT_ASSERTION_ID_MAX == 256);

/// The type of such an assertion, or the one that libraries write for any JWT, or none, as before there were types.
fn is_well_typed(assertion: &Verified) -> bool {
    assertion.header().typ.is_none() || is_typed(assertion) || assertion.is_typed("JWT")
}

/// Whether it says to be such an assertion. Who writes that keeps the rule that came with the type: the issuer and nothing else.
fn is_typed(assertion: &Verified) -> bool {
    assertion.is_typed("client-authentication+jwt")
}

fn is_token_endpoint(audience: Option<&str>, issuer: &str) -> bool {
    audience.and_then(|audience| audience.strip_prefix(issuer)) == Some(metadata::TOKEN)
}

/// Uses an assertion up: inserts its mark if it is absent.
#[derive(Debug)]
pub struct Spend(pub Proof);

impl Operation for Spend {
    type Reply = ();

    fn reads(&self) -> Keys {
        Keys::of([self.key()])
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, _now: Timestamp, fresh: &Fresh) -> Decision<()> {
        let key = self.key();
        match facts.of(&key) {
            Ok(Fact::Absent) => {
                let record = Arc::new(Record::Mark);
                let write = Write { key, stamp: fresh.stamp(&key), until: self.0.until, record, durable: false };
                Decision::commit(vec![write], Ok(()))
            }
            // Whatever stands there, readable or not, ended or not, says that it has been here before.
            Ok(Fact::Found(_) | Fact::Unreadable(_)) => Decision::refuse(Fault::ClientAssertion("it was used before")),
            Err(fault) => Decision::refuse(fault),
        }
    }
}

impl Spend {
    const fn key(&self) -> Key {
        Key::AssertionMark(self.0.mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::algorithm::Algorithm;
    use crate::jose::testing::{honest, key, keys, members, token};
    use crate::operation::{Epoch, Stored};
    use crate::secret::Secret;
    use crate::wire::json::quote;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const ISSUER: &str = "https://gate.example";

    fn claims(changes: &[(&str, &str)]) -> String {
        let good = [
            ("iss", quote("client")),
            ("sub", quote("client")),
            ("aud", quote(ISSUER)),
            ("exp", "1800000060".to_owned()),
            ("iat", "1800000000".to_owned()),
            ("jti", quote("once")),
        ];
        members(&good, changes)
    }

    fn judged(text: &str, algorithms: &[Algorithm]) -> Result<Proof, Fault> {
        let assertion = Assertion::parse(JWT_BEARER, text)?;
        Ok(judge(&assertion, "client", &keys(algorithms), ISSUER, NOW)?)
    }

    fn rule(text: &str) -> &'static str {
        match judged(text, &[Algorithm::Es256]) {
            Err(Fault::ClientAssertion(rule)) => rule,
            other => panic!("{other:?}"),
        }
    }

    fn with(changes: &[(&str, &str)]) -> String {
        honest(Algorithm::Es256, &claims(changes))
    }

    #[test]
    fn f10_an_assertion_of_the_client_for_this_server_alone_is_a_proof() {
        for algorithm in Algorithm::ALL {
            let proof = judged(&honest(algorithm, &claims(&[])), &[algorithm]).unwrap();
            assert_eq!(proof.client(), ClientHash::of("client"));
            assert_eq!(proof.until, Timestamp::from_secs(1_800_000_120));
        }
        for (name, value) in [
            ("aud", r#"["https://gate.example"]"#),
            ("aud", r#""https://gate.example/oauth/token""#),
            ("aud", r#"["https://gate.example/oauth/token"]"#),
            ("exp", "1800000360"),
            ("exp", "1799999941"),
            ("iat", "1800000060"),
            ("iat", "1799999640"),
            ("iat", ""),
            ("nbf", "1800000060"),
        ] {
            assert!(judged(&with(&[(name, value)]), &[Algorithm::Es256]).is_ok(), "{name} {value}");
        }
    }

    #[test]
    fn t070_r42_every_claim_is_there_and_says_what_it_must() {
        let parties = "its iss and its sub are not both the client_id";
        let audience = "its aud is not the issuer of this server alone, nor its token endpoint";
        let kind = "a claim has the wrong type, or stands twice";
        for (name, value, expected) in [
            ("iss", "", parties),
            ("iss", r#""other""#, parties),
            ("sub", r#""other""#, parties),
            ("sub", "", "it is not a signed JWT with a sub"),
            ("sub", "5", "it is not a signed JWT with a sub"),
            ("aud", "", audience),
            ("aud", r#""https://gate.example/""#, audience),
            ("aud", r#""https://gate.example/token""#, audience),
            ("aud", r#""https://gate.example/oauth/token/""#, audience),
            ("aud", r#""https://gate.example/oauth/revoke""#, audience),
            ("aud", r#""https://other.example/oauth/token""#, audience),
            ("aud", r#""/oauth/token""#, audience),
            ("aud", r#"["https://gate.example","https://gate.example/oauth/token"]"#, audience),
            ("aud", r#"["https://gate.example/oauth/token","https://other.example"]"#, audience),
            ("aud", r#""https://other.example""#, audience),
            ("aud", r#"["https://gate.example","https://other.example"]"#, audience),
            ("aud", r#"["https://gate.example","https://gate.example"]"#, audience),
            ("aud", "[]", kind),
            ("exp", "", "it has no exp"),
            ("exp", r#""1800000060""#, kind),
            ("exp", "1799999940", "it has expired"),
            ("exp", "1800000361", "its exp is more than 5 minutes away"),
            ("exp", "2115000000", "its exp is more than 5 minutes away"),
            ("nbf", "1800000061", "it is from the future"),
            ("iat", "1800000061", "it is from the future"),
            ("iat", "1799999639", "its iat is more than 5 minutes ago"),
            ("jti", "", "it has no jti of 1 to 256 bytes"),
            ("jti", r#""""#, "it has no jti of 1 to 256 bytes"),
            ("jti", "7", kind),
        ] {
            assert_eq!(rule(&with(&[(name, value)])), expected, "{name} {value}");
        }
        let long = quote(&"j".repeat(257));
        assert_eq!(rule(&with(&[("jti", &long)])), "it has no jti of 1 to 256 bytes");
    }

    #[test]
    fn t069_t070_t147_type_algorithm_key_and_signature() {
        let header = |header: &str| token(Algorithm::Es256, header, &claims(&[]));
        for typ in ["client-authentication+jwt", "application/client-authentication+jwt", "JWT"] {
            let header = header(&format!(r#"{{"alg":"ES256","kid":"ES256","typ":"{typ}"}}"#));
            assert!(judged(&header, &[Algorithm::Es256]).is_ok(), "{typ}");
        }
        // The type came with the rule that the issuer alone is the audience.
        let endpoint = claims(&[("aud", r#""https://gate.example/oauth/token""#)]);
        for (typ, is_good) in
            [("JWT", true), ("client-authentication+jwt", false), ("application/client-authentication+jwt", false)]
        {
            let header = format!(r#"{{"alg":"ES256","kid":"ES256","typ":"{typ}"}}"#);
            let judged = judged(&token(Algorithm::Es256, &header, &endpoint), &[Algorithm::Es256]);
            assert_eq!(judged.is_ok(), is_good, "{typ}");
        }
        for typ in ["at+jwt", "dpop+jwt", "logout+jwt", ""] {
            let header = header(&format!(r#"{{"alg":"ES256","kid":"ES256","typ":"{typ}"}}"#));
            assert_eq!(rule(&header), "its typ is the one of another kind of JWT", "{typ}");
        }
        let unsigned = |alg: &str| header(&format!(r#"{{"alg":"{alg}","kid":"ES256"}}"#));
        for alg in ["none", "HS256", "ES256K"] {
            assert_eq!(rule(&unsigned(alg)), "it is not a signed JWT", "{alg}");
        }
        let other = honest(Algorithm::Rs256, &claims(&[]));
        assert_eq!(judged(&other, &[Algorithm::Es256]).err(), Some(Refused::UnknownKey.into()));
        let named = token(Algorithm::Rs256, r#"{"alg":"RS256","kid":"ES256"}"#, &claims(&[]));
        assert_eq!(rule(&named), "its alg is not the one of the key");
        let good = with(&[]);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let forged = if signature.starts_with('A') { "B" } else { "A" };
        assert_eq!(rule(&format!("{signed}.{forged}{}", &signature[1..])), "its signature is not the client's");
        for text in ["", "a", "a.b.c", "..", &"x".repeat(JWT_MAX + 1)] {
            assert_eq!(rule(text), "it is not a signed JWT with a sub", "{text:.10}");
        }
        assert!(Assertion::parse("urn:ietf:params:oauth:client-assertion-type:saml2-bearer", &good).is_err());
        let nameless = KeySet::of(vec![key(Algorithm::Es256)]);
        let assertion = Assertion::parse(JWT_BEARER, &good).unwrap();
        assert!(judge(&assertion, "client", &nameless, ISSUER, NOW).is_ok());
        assert!(judge(&assertion, "client", &nameless, "https://other.example", NOW).is_err());
        assert!(judge(&assertion, "another", &nameless, ISSUER, NOW).is_err());
    }

    #[test]
    fn t070_t071_each_counts_once_whatever_stands_in_its_place() {
        let proof = judged(&with(&[]), &[Algorithm::Es256]).unwrap();
        let other = judged(&with(&[("jti", r#""twice""#)]), &[Algorithm::Es256]).unwrap();
        let key = Spend(proof).key();
        assert_ne!(key, Spend(other).key());
        let fresh = || Fresh::new(&Secret::new([1; 32]), 0);
        let decide = |fact| Spend(proof).decide(&Facts::new(Epoch::default()).with(key, fact), NOW, &fresh());
        let Decision::Commit { writes, .. } = decide(Fact::Absent) else { panic!("it is the first") };
        assert_eq!((writes.len(), writes[0].until), (1, proof.until));
        let stamp = crate::fresh::Stamp([1; 16]);
        let stored = |until| Fact::Found(Stored { record: Arc::new(Record::Mark), stamp, until });
        for fact in [stored(proof.until), stored(NOW), Fact::Unreadable(stamp)] {
            let Decision::Answer { reply, .. } = decide(fact) else { panic!("it was used") };
            assert_eq!(reply, Err(Fault::ClientAssertion("it was used before")));
        }
    }
}
