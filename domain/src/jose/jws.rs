//! Signed tokens in the compact form: taken apart, and opened only after their signature was checked.
//!
//! RFC 7515 sections 3.1, 4.1 and 5.2, RFC 8725 sections 2 and 3. There is no way from an [`Unverified`] token to its
//! payload but through the key: `none`, the JSON serialization, encryption and detached payloads cannot be expressed.
//!
//! Keys and addresses of keys in the header (`jwk`, `jku`, `x5u`, `x5c`, `x5t`) are not read: a token does not say whom to
//! trust (RFC 8725 section 3.10). They are ignored and not refused, because honest issuers add `x5t`.

use super::algorithm::Algorithm;
use super::claims::{self, Claims};
use super::jwk::{Key, KeySet, NoKey};
use crate::limits;
use crate::time::Timestamp;
use crate::wire::json::Json;
use crate::wire::text;
use std::fmt;

/// Why a text is not a token that could be verified at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Longer than [`limits::JWT_MAX`].
    TooLong,
    /// Not three parts: five of an encrypted token, none of the JSON serialization.
    NotThreeParts,
    /// The payload is empty: detached.
    Detached,
    /// The signature is empty: unsecured.
    Unsigned,
    /// A part is not canonical base64url without padding.
    NotBase64Url,
    /// The header is not one JSON object, or has a repeated member.
    HeaderNotJson,
    /// `alg` is missing or is no text.
    NoAlgorithm,
    /// `alg` is none of [`Algorithm::ALL`]: `none`, an HMAC, or one that nobody knows.
    OtherAlgorithm,
    /// `kid` is there and is no text of 1 to [`limits::KID_MAX`] bytes.
    BadKid,
    /// `typ` is there and is no text.
    BadType,
    /// The header has `crit`, `b64` or `zip`: it asks for rules that are not these.
    Extension,
}

/// Why a token was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverifiable {
    /// The set does not have the key that the token names: the one case that a fresh copy of the set may mend.
    UnknownKey,
    /// The key is registered for another algorithm or is of another type.
    OtherAlgorithm,
    /// The token names no key and several would fit.
    AmbiguousKey,
    /// The signature is not the key's.
    BadSignature,
}

/// The members of the protected header that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `alg`.
    pub algorithm: Algorithm,
    /// `kid`.
    pub kid: Option<String>,
    /// `typ`, as it was written.
    pub typ: Option<String>,
}

/// A token that has been taken apart and not yet believed.
#[derive(Clone)]
pub struct Unverified<'a> {
    header: Header,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// What a token claims that nobody has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// `iss`.
    pub issuer: Option<String>,
    /// `exp`.
    pub expires: Option<Timestamp>,
}

/// The content of a token whose signature was good.
#[derive(Clone)]
pub struct Verified {
    header: Header,
    payload: Vec<u8>,
    key_issuer: Option<String>,
}

impl<'a> Unverified<'a> {
    /// Takes a compact token apart.
    ///
    /// # Errors
    /// The first rule that the token breaks.
    pub fn parse(token: &'a str) -> Result<Self, Malformed> {
        if token.len() > limits::JWT_MAX {
            return Err(Malformed::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Malformed::NotThreeParts)?;
        let (header, payload) = signed.split_once('.').ok_or(Malformed::NotThreeParts)?;
        if payload.contains('.') {
            return Err(Malformed::NotThreeParts);
        }
        if payload.is_empty() {
            return Err(Malformed::Detached);
        }
        if signature.is_empty() {
            return Err(Malformed::Unsigned);
        }
        let decoded = |part| text::from_base64url(part).map_err(|_| Malformed::NotBase64Url);
        Ok(Self {
            header: Header::read(&decoded(header)?)?,
            signed,
            payload: decoded(payload)?,
            signature: decoded(signature)?,
        })
    }

    /// What the token says about itself: good for choosing a key, for nothing else.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What the token claims about its issuer and its end: good for choosing whose keys judge it, and for a token that its issuer
    /// itself has handed over. For nothing else.
    #[must_use]
    pub fn claimed(&self) -> Option<Claimed> {
        let claims = Claims::read(&self.payload).ok()?;
        Some(Claimed { issuer: claims.issuer, expires: claims.expires })
    }

    /// Opens the token with the key of `keys` that it names.
    ///
    /// # Errors
    /// [`Unverifiable`], one variant per reason.
    pub fn verify(self, keys: &KeySet) -> Result<Verified, Unverifiable> {
        let key = keys.choose(self.header.kid.as_deref(), self.header.algorithm).map_err(|none| match none {
            NoKey::Unknown => Unverifiable::UnknownKey,
            NoKey::OtherAlgorithm => Unverifiable::OtherAlgorithm,
            NoKey::Ambiguous => Unverifiable::AmbiguousKey,
        })?;
        self.verify_with(key)
    }

    /// Opens the token with one key, whatever `kid` it names: the caller has chosen.
    ///
    /// # Errors
    /// [`Unverifiable::OtherAlgorithm`] or [`Unverifiable::BadSignature`].
    pub fn verify_with(self, key: &Key) -> Result<Verified, Unverifiable> {
        if !key.fits(self.header.algorithm) {
            return Err(Unverifiable::OtherAlgorithm);
        }
        if !key.verifies(self.header.algorithm, self.signed.as_bytes(), &self.signature) {
            return Err(Unverifiable::BadSignature);
        }
        let key_issuer = key.issuer().map(str::to_owned);
        Ok(Verified { header: self.header, payload: self.payload, key_issuer })
    }
}

impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Unverified(..)")
    }
}

impl Verified {
    /// The header that was signed along.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// For whom the key signs that has signed, where its set says so.
    #[must_use]
    pub fn key_issuer(&self) -> Option<&str> {
        self.key_issuer.as_deref()
    }

    /// The payload, byte for byte.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Whether `typ` is `wanted`: media types are compared without regard to case, `application/` may be left out
    /// (RFC 7515 section 4.1.9).
    #[must_use]
    pub fn is_typed(&self, wanted: &str) -> bool {
        self.header.typ.as_deref().is_some_and(|typ| {
            let short = match typ.split_at_checked("application/".len()) {
                Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
                _ => typ,
            };
            short.eq_ignore_ascii_case(wanted)
        })
    }

    /// The payload as JWT claims.
    ///
    /// # Errors
    /// [`claims::Malformed`], when it is none or when a registered claim has the wrong type.
    pub fn claims(&self) -> Result<Claims, claims::Malformed> {
        Claims::read(&self.payload)
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Verified(..)")
    }
}

impl Header {
    fn read(header: &[u8]) -> Result<Self, Malformed> {
        let header = super::object(header, limits::JWT_MAX).map_err(|_| Malformed::HeaderNotJson)?;
        let algorithm = match header.member("alg") {
            Some(Json::Text(name)) => Algorithm::named(name).ok_or(Malformed::OtherAlgorithm)?,
            _ => return Err(Malformed::NoAlgorithm),
        };
        // None of these is understood here, and RFC 7515 section 4.1.11 demands that a token with a critical extension
        // that is not understood be refused. `b64` without `crit` (RFC 7797 section 6) and `zip` (RFC 7516) are no better.
        if ["crit", "b64", "zip"].iter().any(|name| header.member(name).is_some()) {
            return Err(Malformed::Extension);
        }
        let kid = match header.member("kid") {
            None => None,
            Some(Json::Text(kid)) if (1..=limits::KID_MAX).contains(&kid.len()) => Some(kid.clone()),
            Some(_) => return Err(Malformed::BadKid),
        };
        let typ = match header.member("typ") {
            None => None,
            Some(Json::Text(typ)) => Some(typ.clone()),
            Some(_) => return Err(Malformed::BadType),
        };
        Ok(Self { algorithm, kid, typ })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;
    use crate::jose::testing::{honest, jwk, jwk_with, key, keys, token};

    const PAYLOAD: &str = r#"{"iss":"https://id.example"}"#;

    /// RFC 7515 appendices A.2 and A.3 and RFC 8037 appendix A.4: header, key, token, payload.
    #[test]
    fn published_vectors_verify_and_do_not_survive_a_change() {
        let joe = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
        let vectors = [
            (
                r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
                "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
                joe,
            ),
            (
                r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
                "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
                joe,
            ),
            (
                r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
                "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
                "Example of Ed25519 signing",
            ),
        ];
        for (jwk, token, payload) in vectors {
            let keys = KeySet::read(format!(r#"{{"keys":[{jwk}]}}"#).as_bytes()).unwrap();
            let verified = Unverified::parse(token).unwrap().verify(&keys).unwrap();
            assert_eq!(verified.payload(), payload.as_bytes());
            let other = token.replacen(".eyJpc3MiOiJqb2Ui", ".eyJpc3MiOiJqb2Uj", 1).replacen(".RXhh", ".RXhi", 1);
            assert_ne!(other, token);
            assert_eq!(Unverified::parse(&other).unwrap().verify(&keys).unwrap_err(), Unverifiable::BadSignature,);
        }
    }

    #[test]
    fn every_algorithm_opens_with_its_own_key_and_with_no_other() {
        for algorithm in Algorithm::ALL {
            let token = honest(algorithm, PAYLOAD);
            for other in Algorithm::ALL {
                let result = Unverified::parse(&token).unwrap().verify_with(&key(other));
                if other == algorithm {
                    assert_eq!(result.unwrap().payload(), PAYLOAD.as_bytes());
                } else {
                    assert_eq!(result.unwrap_err(), Unverifiable::OtherAlgorithm, "{algorithm:?} with {other:?}");
                }
            }
        }
    }

    #[test]
    fn t147_unsecured_tokens_are_refused() {
        let part = |json: &str| text::base64url(json.as_bytes());
        let cases = [
            (r#"{"alg":"none"}"#, Malformed::OtherAlgorithm),
            (r#"{"alg":"None"}"#, Malformed::OtherAlgorithm),
            (r#"{"alg":"nOnE"}"#, Malformed::OtherAlgorithm),
            (r#"{"alg":"NONE"}"#, Malformed::OtherAlgorithm),
            (r#"{"alg":""}"#, Malformed::OtherAlgorithm),
            (r#"{"alg":"HS256"}"#, Malformed::OtherAlgorithm),
            (r#"{"alg":"rs256"}"#, Malformed::OtherAlgorithm),
            (r#"{"alg":["RS256"]}"#, Malformed::NoAlgorithm),
            (r#"{"alg":256}"#, Malformed::NoAlgorithm),
            (r#"{"alg":null}"#, Malformed::NoAlgorithm),
            (r#"{"ALG":"RS256"}"#, Malformed::NoAlgorithm),
            ("{}", Malformed::NoAlgorithm),
            (r#"{"alg":"RS256","alg":"none"}"#, Malformed::HeaderNotJson),
            (r#"["RS256"]"#, Malformed::HeaderNotJson),
            ("", Malformed::HeaderNotJson),
        ];
        for (header, malformed) in cases {
            let token = format!("{}.{}.{}", part(header), part(PAYLOAD), part("x"));
            assert_eq!(Unverified::parse(&token).unwrap_err(), malformed, "{header}");
        }
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"RS256"}"#] {
            let token = format!("{}.{}.", part(header), part(PAYLOAD));
            assert_eq!(Unverified::parse(&token).unwrap_err(), Malformed::Unsigned);
        }
    }

    #[test]
    fn t149_a_key_in_the_header_is_not_used() {
        // The attacker signs with a key of his own and sends it along; the set knows another one.
        let set = keys(&[Algorithm::Rs256]);
        let own = jwk_with(Algorithm::Es256, "");
        for member in [
            format!(r#""jwk":{own}"#),
            r#""jku":"https://evil.example/keys""#.to_owned(),
            r#""x5u":"https://evil.example/chain""#.to_owned(),
            r#""x5c":["MIIB"]"#.to_owned(),
        ] {
            let forged = token(Algorithm::Es256, &format!(r#"{{"alg":"ES256","kid":"mine",{member}}}"#), PAYLOAD);
            assert_eq!(Unverified::parse(&forged).unwrap().verify(&set).unwrap_err(), Unverifiable::UnknownKey);
            let nameless = token(Algorithm::Es256, &format!(r#"{{"alg":"ES256",{member}}}"#), PAYLOAD);
            assert_eq!(Unverified::parse(&nameless).unwrap().verify(&set).unwrap_err(), Unverifiable::UnknownKey);
            let honest = token(Algorithm::Rs256, &format!(r#"{{"alg":"RS256","kid":"RS256",{member}}}"#), PAYLOAD);
            assert!(Unverified::parse(&honest).unwrap().verify(&set).is_ok());
        }
    }

    #[test]
    fn t150_the_key_is_the_one_of_exactly_this_name() {
        let set = keys(&[Algorithm::Rs256, Algorithm::Es256]);
        let with_kid = |kid: &str| token(Algorithm::Rs256, &format!(r#"{{"alg":"RS256","kid":{kid}}}"#), PAYLOAD);
        let verify = |token: &str| Unverified::parse(token).unwrap().verify(&set).map(|_| ());
        assert_eq!(verify(&with_kid(r#""RS256""#)), Ok(()));
        for kid in
            [r#""../../dev/null""#, r#""' OR 1=1 --""#, r#""*""#, r#""rs256""#, r#""RS256 ""#, r#""RS256\u0000""#]
        {
            assert_eq!(verify(&with_kid(kid)), Err(Unverifiable::UnknownKey), "{kid}");
        }
        // The name of another key, of another type.
        assert_eq!(verify(&with_kid(r#""ES256""#)), Err(Unverifiable::OtherAlgorithm));
        // The right type of key, registered for another algorithm (RFC 8725 section 3.1).
        let other = token(Algorithm::Ps256, r#"{"alg":"PS256","kid":"RS256"}"#, PAYLOAD);
        assert_eq!(verify(&other), Err(Unverifiable::OtherAlgorithm));
        let long = format!("\"{}\"", "k".repeat(limits::KID_MAX + 1));
        for kid in [long.as_str(), "\"\"", "1", "null", "[\"RS256\"]"] {
            assert_eq!(Unverified::parse(&with_kid(kid)).unwrap_err(), Malformed::BadKid, "{kid}");
        }
        let megabyte = with_kid(&format!("\"{}\"", "k".repeat(1 << 20)));
        assert_eq!(Unverified::parse(&megabyte).unwrap_err(), Malformed::TooLong);
    }

    #[test]
    fn t150_without_a_name_only_a_single_fitting_key_is_taken() {
        let nameless = token(Algorithm::Rs256, r#"{"alg":"RS256"}"#, PAYLOAD);
        let verify = |set: &KeySet| Unverified::parse(&nameless).unwrap().verify(set).map(|_| ());
        assert_eq!(verify(&keys(&[Algorithm::Rs256, Algorithm::Es256, Algorithm::Ps256])), Ok(()));
        assert_eq!(verify(&keys(&[Algorithm::Es256])), Err(Unverifiable::UnknownKey));
        let (one, two) = (jwk_with(Algorithm::Rs256, r#""kid":"1""#), jwk_with(Algorithm::Rs256, r#""kid":"2""#));
        let several = KeySet::read(format!(r#"{{"keys":[{one},{two}]}}"#).as_bytes()).unwrap();
        assert_eq!(verify(&several), Err(Unverifiable::AmbiguousKey));
        // Two keys of one name: neither is the one.
        let twins = format!(r#"{{"keys":[{0},{0}]}}"#, jwk(Algorithm::Rs256));
        let twins = KeySet::read(twins.as_bytes()).unwrap();
        let named = honest(Algorithm::Rs256, PAYLOAD);
        assert_eq!(Unverified::parse(&named).unwrap().verify(&twins).unwrap_err(), Unverifiable::UnknownKey);
    }

    #[test]
    fn t151_extensions_and_other_serializations_are_refused() {
        for (member, malformed) in [
            (r#""crit":["exp"],"exp":1"#, Malformed::Extension),
            (r#""crit":[]"#, Malformed::Extension),
            (r#""crit":null"#, Malformed::Extension),
            (r#""crit":["b64"],"b64":false"#, Malformed::Extension),
            (r#""b64":false"#, Malformed::Extension),
            (r#""b64":true"#, Malformed::Extension),
            (r#""zip":"DEF""#, Malformed::Extension),
            (r#""typ":1"#, Malformed::BadType),
            (r#""typ":null"#, Malformed::BadType),
        ] {
            let token = token(Algorithm::Es256, &format!(r#"{{"alg":"ES256",{member}}}"#), PAYLOAD);
            assert_eq!(Unverified::parse(&token).unwrap_err(), malformed, "{member}");
        }
        let good = honest(Algorithm::Es256, PAYLOAD);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (header, payload) = signed.split_once('.').unwrap();
        let json = format!(r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#);
        for (token, malformed) in [
            (String::new(), Malformed::NotThreeParts),
            (signed.to_owned(), Malformed::NotThreeParts),
            (format!("{good}.{payload}.{signature}"), Malformed::NotThreeParts),
            (json, Malformed::NotThreeParts),
            (format!("{header}..{signature}"), Malformed::Detached),
            (format!("{good}="), Malformed::NotBase64Url),
            (format!("{good}\n"), Malformed::NotBase64Url),
            (format!(" {good}"), Malformed::NotBase64Url),
            (good.replace(['-', '_'], "+") + "+", Malformed::NotBase64Url),
        ] {
            assert_eq!(Unverified::parse(&token).unwrap_err(), malformed, "{token}");
        }
        // A token inside a token: the outer one verifies, and what is inside is no set of claims.
        let nested = honest(Algorithm::Es256, &good);
        let outer = Unverified::parse(&nested).unwrap().verify(&keys(&[Algorithm::Es256])).unwrap();
        assert_eq!(outer.claims().unwrap_err(), claims::Malformed::NotJson);
    }

    #[test]
    fn t155_the_type_is_compared_as_a_media_type() {
        let set = keys(&[Algorithm::Ed25519]);
        for (typ, is_access_token) in [
            (r#","typ":"at+jwt""#, true),
            (r#","typ":"AT+JWT""#, true),
            (r#","typ":"application/at+jwt""#, true),
            (r#","typ":"JWT""#, false),
            (r#","typ":"dpop+jwt""#, false),
            (r#","typ":"application/application/at+jwt""#, false),
            (r#","typ":"""#, false),
            ("", false),
        ] {
            let token = token(Algorithm::Ed25519, &format!(r#"{{"alg":"EdDSA"{typ}}}"#), PAYLOAD);
            let verified = Unverified::parse(&token).unwrap().verify(&set).unwrap();
            assert_eq!(verified.is_typed("at+jwt"), is_access_token, "{typ}");
        }
    }

    #[test]
    fn t157_signatures_that_are_no_signatures_are_refused() {
        let p256 = keys(&[Algorithm::Es256]);
        let good = honest(Algorithm::Es256, PAYLOAD);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let bytes = text::from_base64url(signature).unwrap();
        let (r, s) = bytes.split_at(32);
        let zero = [0_u8; 32];
        let der = [&[0x30, 0x44, 0x02, 0x20][..], r, &[0x02, 0x20], s].concat();
        for forged in [
            [zero, zero].concat(),
            [&zero[..], s].concat(),
            [r, &zero[..]].concat(),
            der,
            bytes[..63].to_vec(),
            [&bytes[..], &[0]].concat(),
        ] {
            let token = format!("{signed}.{}", text::base64url(&forged));
            assert_eq!(Unverified::parse(&token).unwrap().verify(&p256).unwrap_err(), Unverifiable::BadSignature);
        }
        // The twin (r, n - s) is a signature as well: why nothing may be keyed on the text of a token.
        let twin = format!("{signed}.{}", text::base64url(&[r, &p256_order_minus(s)].concat()));
        assert!(Unverified::parse(&twin).unwrap().verify(&p256).is_ok());

        // Ed25519: S + L instead of S is not canonical (RFC 8032 section 5.1.7).
        let okp = keys(&[Algorithm::Ed25519]);
        let good = honest(Algorithm::Ed25519, PAYLOAD);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let bytes = text::from_base64url(signature).unwrap();
        let forged = [&bytes[..32], &plus_ed25519_order(&bytes[32..])].concat();
        let token = format!("{signed}.{}", text::base64url(&forged));
        assert_eq!(Unverified::parse(&token).unwrap().verify(&okp).unwrap_err(), Unverifiable::BadSignature);
    }

    #[test]
    fn p11_tokens_and_payloads_cannot_be_printed() {
        let token = honest(Algorithm::Ed25519, PAYLOAD);
        let unverified = Unverified::parse(&token).unwrap();
        assert_eq!(format!("{unverified:?}"), "Unverified(..)");
        let verified = unverified.verify(&keys(&[Algorithm::Ed25519])).unwrap();
        assert_eq!(format!("{verified:?} {:?}", verified.claims().unwrap()), "Verified(..) Claims(..)");
    }

    /// The order of P-256 less `s`, both big-endian.
    fn p256_order_minus(s: &[u8]) -> Vec<u8> {
        let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
        let mut borrow = 0_i32;
        let mut difference: Vec<u8> = order
            .iter()
            .zip(s)
            .rev()
            .map(|(order, s)| {
                let digit = i32::from(*order) - i32::from(*s) - borrow;
                borrow = i32::from(digit < 0);
                u8::try_from(digit.rem_euclid(256)).unwrap()
            })
            .collect();
        difference.reverse();
        difference
    }

    /// `s` plus the order of Ed25519's group, both little-endian.
    fn plus_ed25519_order(s: &[u8]) -> Vec<u8> {
        let mut order = hex("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed");
        order.reverse();
        let mut carry = 0_u16;
        order
            .iter()
            .zip(s)
            .map(|(order, s)| {
                let digit = u16::from(*order) + u16::from(*s) + carry;
                carry = digit / 256;
                u8::try_from(digit % 256).unwrap()
            })
            .collect()
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }
}
