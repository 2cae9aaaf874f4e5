//! HTTP Basic as OAuth uses it: base64 around two form-encoded halves.
//!
//! RFC 7617 section 2, RFC 6749 section 2.3.1.

use super::text;
use crate::limits;
use crate::secret::SecretText;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Which rule the credentials break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The field, the id or the secret is longer than its limit.
    TooLong,
    /// Not base64 of the standard alphabet with its padding and without bits left over.
    NotBase64,
    /// No colon between the halves.
    NoColon,
    /// No id.
    NoId,
    /// A `%` without two hexadecimal digits.
    BadEscape,
    /// A half is not UTF-8.
    NotUtf8,
    /// A half holds a control character: no id or secret does, a pasted line end would be one.
    Control,
}

/// An id with the secret that came along. The secret may be empty, which no stored secret is.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The client's id, decoded once.
    pub id: String,
    /// The client's secret, decoded once.
    pub secret: SecretText,
}

/// Reads what stands behind `Basic ` in an `Authorization` field.
pub fn parse(rest: &str) -> Result<Credentials, Malformed> {
    if rest.len() > limits::AUTHORIZATION_MAX {
        return Err(Malformed::TooLong);
    }
    let pair = Zeroizing::new(STANDARD.decode(rest).map_err(|_| Malformed::NotBase64)?);
    let colon = pair.iter().position(|byte| *byte == b':').ok_or(Malformed::NoColon)?;
    let (id, secret) = pair.split_at_checked(colon).ok_or(Malformed::NoColon)?;
    let id = half(id)?;
    let secret = SecretText::new(half(secret.get(1..).unwrap_or_default())?);
    if id.len() > limits::CLIENT_ID_MAX || secret.expose().len() > limits::CLIENT_SECRET_MAX {
        return Err(Malformed::TooLong);
    }
    if id.is_empty() { Err(Malformed::NoId) } else { Ok(Credentials { id, secret }) }
}

fn half(bytes: &[u8]) -> Result<String, Malformed> {
    let bytes = text::form_decoded(bytes).map_err(|_| Malformed::BadEscape)?;
    let text = String::from_utf8(bytes.into_owned()).map_err(|_| Malformed::NotUtf8)?;
    if text.chars().any(char::is_control) { Err(Malformed::Control) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::form;
    use proptest::prelude::*;

    fn read(pair: impl AsRef<[u8]>) -> Result<(String, String), Malformed> {
        parse(&STANDARD.encode(pair)).map(|found| (found.id, found.secret.expose().to_owned()))
    }

    #[test]
    fn t066_both_halves_are_form_decoded_once() {
        for (pair, id, secret) in [
            ("id:secret", "id", "secret"),
            ("id:", "id", ""),
            ("id:a:b", "id", "a:b"),
            ("https%3A%2F%2Fapp%2Fid:s%2B%25", "https://app/id", "s+%"),
            ("a+b:c+d", "a b", "c d"),
            ("a%2525:b", "a%25", "b"),
            ("%C3%A9:\u{e9}", "\u{e9}", "\u{e9}"),
        ] {
            assert_eq!(read(pair), Ok((id.to_owned(), secret.to_owned())), "{pair}");
        }
    }

    #[test]
    fn t065_t066_malformed_credentials_are_refused_by_their_rule() {
        for (pair, malformed) in [
            (&b""[..], Malformed::NoColon),
            (b"id", Malformed::NoColon),
            (b"id%3Asecret", Malformed::NoColon),
            (b":secret", Malformed::NoId),
            (b"id:%", Malformed::BadEscape),
            (b"%zz:secret", Malformed::BadEscape),
            (b"id:\xff", Malformed::NotUtf8),
            (b"%ff:secret", Malformed::NotUtf8),
            (b"id:secret\n", Malformed::Control),
            (b"id:secret%0A", Malformed::Control),
            (b"id%00:secret", Malformed::Control),
            (b"i\0d:secret", Malformed::Control),
            (b"id:%C2%85", Malformed::Control),
        ] {
            assert_eq!(read(pair), Err(malformed), "{pair:?}");
        }
        for rest in [
            "aWQ6c2VjcmV0cw",
            "aWQ6c2VjcmV0cw=",
            "aWQ6c2VjcmV0cx==",
            "aWQ6 c2Vj",
            "aWQ6\n",
            "aWQ6_-__",
            "aWQ6, x",
            "=",
            "!",
        ] {
            assert_eq!(parse(rest).err(), Some(Malformed::NotBase64), "{rest:?}");
        }
        assert!(parse("aWQ6c2VjcmV0cw==").is_ok());
    }

    #[test]
    fn t065_lengths_are_capped() {
        let secret = "s".repeat(limits::CLIENT_SECRET_MAX);
        assert!(read(format!("id:{secret}")).is_ok());
        assert_eq!(read(format!("id:{secret}s")), Err(Malformed::TooLong));
        let id = "i".repeat(limits::CLIENT_ID_MAX);
        assert!(read(format!("{id}:s")).is_ok());
        assert_eq!(read(format!("{id}i:s")), Err(Malformed::TooLong));
        assert_eq!(parse(&"A".repeat(1 << 20)).err(), Some(Malformed::TooLong));
    }

    #[test]
    fn p11_debug_prints_no_secret() {
        let found = parse(&STANDARD.encode("id:hush")).unwrap();
        assert!(!format!("{found:?}").contains("hush"));
    }

    proptest! {
        #[test]
        fn what_a_client_encodes_comes_back(id in "[^\\p{Cc}]{1,20}", secret in "[^\\p{Cc}]{0,20}") {
            let encoded = |text: &str| form::encode([("", text)])[1..].to_owned();
            prop_assert_eq!(read(format!("{}:{}", encoded(&id), encoded(&secret))), Ok((id, secret)));
        }
    }
}
