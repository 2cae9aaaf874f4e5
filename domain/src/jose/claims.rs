//! The claims of a token whose signature was good: each registered claim with its type, read once.
//!
//! RFC 7519 section 4.1, OpenID Connect Core sections 2 and 3.1.3.6, RFC 7800 section 3 is left to who needs it.
//!
//! A claim of the wrong type refuses the whole token; it never counts as absent, `null` included. Otherwise `exp` as a
//! text would be a token without end. Whether a claim must be there, and what it must say, is for the caller to judge.

use crate::limits;
use crate::time::Timestamp;
use crate::wire::json::{self, Json};
use std::fmt;

/// Why a payload is not a set of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Longer than [`limits::JWT_MAX`].
    TooLong,
    /// Not one JSON object, or one with a repeated member.
    NotJson,
    /// A claim that must be a text is none.
    NotText,
    /// `aud` is neither a text nor a list of texts, is empty, or holds an empty text.
    BadAudience,
    /// A point in time is no number, is negative, or is beyond what can be expressed.
    BadTime,
}

/// The claims of one token.
#[derive(Clone, PartialEq)]
pub struct Claims {
    /// `iss`.
    pub issuer: Option<String>,
    /// `sub`.
    pub subject: Option<String>,
    /// `aud`: never an empty list.
    pub audience: Option<Vec<String>>,
    /// `azp`.
    pub authorized_party: Option<String>,
    /// `exp`.
    pub expires: Option<Timestamp>,
    /// `nbf`.
    pub not_before: Option<Timestamp>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
    /// `auth_time`.
    pub authenticated_at: Option<Timestamp>,
    /// `nonce`.
    pub nonce: Option<String>,
    /// `at_hash`.
    pub access_token_hash: Option<String>,
    /// `jti`.
    pub id: Option<String>,
    /// `sid`.
    pub session: Option<String>,
    /// `acr`.
    pub context_class: Option<String>,
    all: Json,
}

impl Claims {
    /// Reads the payload of a token.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let all = super::object(payload, limits::JWT_MAX).map_err(|malformed| match malformed {
            json::Malformed::TooLong => Malformed::TooLong,
            _ => Malformed::NotJson,
        })?;
        Ok(Self {
            issuer: text(&all, "iss")?,
            subject: text(&all, "sub")?,
            audience: audience(&all)?,
            authorized_party: text(&all, "azp")?,
            expires: time(&all, "exp")?,
            not_before: time(&all, "nbf")?,
            issued_at: time(&all, "iat")?,
            authenticated_at: time(&all, "auth_time")?,
            nonce: text(&all, "nonce")?,
            access_token_hash: text(&all, "at_hash")?,
            id: text(&all, "jti")?,
            session: text(&all, "sid")?,
            context_class: text(&all, "acr")?,
            all,
        })
    }

    /// Any claim, as it was written.
    #[must_use]
    pub fn other(&self, name: &str) -> Option<&Json> {
        self.all.member(name)
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Claims(..)")
    }
}

fn text(claims: &Json, name: &str) -> Result<Option<String>, Malformed> {
    claims.optional_text(name).map(|value| value.map(str::to_owned)).map_err(|_| Malformed::NotText)
}

fn audience(claims: &Json) -> Result<Option<Vec<String>>, Malformed> {
    let Some(audience) = claims.member("aud") else {
        return Ok(None);
    };
    let audience = audience.text_or_texts().map_err(|_| Malformed::BadAudience)?;
    if audience.is_empty() || audience.iter().any(|one| one.is_empty()) {
        return Err(Malformed::BadAudience);
    }
    Ok(Some(audience.into_iter().map(str::to_owned).collect()))
}

fn time(claims: &Json, name: &str) -> Result<Option<Timestamp>, Malformed> {
    let seconds = claims.optional_seconds(name).map_err(|_| Malformed::BadTime)?;
    // A point in time that would saturate is none: it must not become the end of all times.
    seconds
        .map(|seconds| {
            Some(Timestamp::from_secs(seconds)).filter(|time| time.secs() == seconds).ok_or(Malformed::BadTime)
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;

    fn read(payload: &str) -> Result<Claims, Malformed> {
        Claims::read(payload.as_bytes())
    }

    #[test]
    fn claims_are_read_with_their_types() {
        let claims = read(
            r#"{"iss":"i","sub":"s","aud":["a","b"],"azp":"a","exp":10,"nbf":8.9,"iat":9,"auth_time":7,"nonce":"n","at_hash":"h","jti":"j","sid":"x","acr":"1","email":"e"}"#,
        )
        .unwrap();
        assert_eq!(claims.audience, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(claims.expires, Some(Timestamp::from_secs(10)));
        assert_eq!(claims.not_before, Some(Timestamp::from_secs(8)));
        assert_eq!((claims.id.as_deref(), claims.session.as_deref()), (Some("j"), Some("x")));
        assert_eq!(claims.other("email"), Some(&Json::Text("e".to_owned())));
        let empty = read("{}").unwrap();
        assert_eq!((empty.issuer, empty.audience, empty.expires), (None, None, None));
        assert_eq!(read(r#"{"aud":"a"}"#).unwrap().audience, Some(vec!["a".to_owned()]));
    }

    #[test]
    fn t153_r73_r74_cve_2026_25537_a_claim_of_the_wrong_type_is_not_an_absent_one() {
        let times = ["exp", "nbf", "iat", "auth_time"];
        let bad_times = [
            r#""9999999999""#,
            "-1",
            "-0.5",
            "null",
            "[1]",
            "{}",
            "true",
            "1e300",
            "18446744073709551615",
            "-9223372036854775808",
        ];
        for name in times {
            for value in bad_times {
                assert_eq!(read(&format!(r#"{{"{name}":{value}}}"#)), Err(Malformed::BadTime), "{name} {value}");
            }
            assert_eq!(read(&format!(r#"{{"{name}":1e400}}"#)), Err(Malformed::NotJson));
        }
        for name in ["iss", "sub", "azp", "nonce", "at_hash", "jti", "sid", "acr"] {
            for value in ["1", "null", "true", r#"["x"]"#, "{}"] {
                assert_eq!(read(&format!(r#"{{"{name}":{value}}}"#)), Err(Malformed::NotText), "{name} {value}");
            }
        }
        for value in
            ["1", "null", "{}", "[]", r#"[""]"#, r#""""#, r#"["a",1]"#, r#"["a",null]"#, r#"["a",""]"#, r#"[["a"]]"#]
        {
            assert_eq!(read(&format!(r#"{{"aud":{value}}}"#)), Err(Malformed::BadAudience), "{value}");
        }
    }

    #[test]
    fn t152_r17_a_claim_in_other_letters_is_another_claim_and_one_that_stands_twice_is_none() {
        let other = read(r#"{"Iss":"a","SUB":"b","Exp":9,"AUD":"c","Nonce":"d"}"#).unwrap();
        assert_eq!((&other.issuer, &other.subject, other.expires), (&None, &None, None));
        assert_eq!((&other.audience, &other.nonce), (&None, &None));
        for twice in [
            r#"{"sub":"a","sub":"a"}"#,
            r#"{"sub":"a","\u0073ub":"b"}"#,
            r#"{"exp":1,"exp":9999999999}"#,
            r#"{"sub":"a","more":{"x":1,"x":2}}"#,
        ] {
            assert_eq!(read(twice), Err(Malformed::NotJson), "{twice}");
        }
    }

    #[test]
    fn payloads_that_are_no_claims_are_refused() {
        for payload in ["", "null", "[]", "\"{}\"", "{} {}", r#"{"sub":"a","sub":"b"}"#, "\u{feff}{}", "eyJ.eyJ.x"] {
            assert_eq!(read(payload), Err(Malformed::NotJson), "{payload}");
        }
        assert_eq!(read(&" ".repeat(limits::JWT_MAX + 1)), Err(Malformed::TooLong));
    }
}
