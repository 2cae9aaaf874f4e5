//! Header fields that carry credentials or name a format: Authorization, Cookie, Content-Type, WWW-Authenticate.
//!
//! RFC 9110 sections 5.6, 8.3 and 11; RFC 6750 section 2.1 (Bearer); RFC 6265 section 4 (cookies).

use super::{Repeated, text};
use crate::limits;
use std::fmt;

/// Which rule the field breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Longer than its limit.
    TooLong,
    /// More cookies than [`limits::COOKIES_MAX`].
    TooManyCookies,
    /// A character that may not stand in the field.
    Character,
    /// No scheme, or nothing behind it.
    Empty,
    /// Another authentication scheme than the one asked for.
    OtherScheme,
    /// Not a `token68`: a stray character, a second word, parameters.
    NotToken68,
}

/// Takes an `Authorization` field apart: the scheme, in whatever case it came, and what is behind its spaces.
pub fn credentials(value: &str) -> Result<(&str, &str), Malformed> {
    if value.len() > limits::AUTHORIZATION_MAX {
        return Err(Malformed::TooLong);
    }
    if !all(value, |byte| matches!(byte, 0x20..=0x7e)) {
        return Err(Malformed::Character);
    }
    let (scheme, rest) = value.split_once(' ').ok_or(Malformed::Empty)?;
    let rest = rest.trim_start_matches(' ');
    if scheme.is_empty() || rest.is_empty() {
        return Err(Malformed::Empty);
    }
    if scheme.bytes().all(is_token_character) { Ok((scheme, rest)) } else { Err(Malformed::Character) }
}

/// The token of an `Authorization` field whose scheme is Bearer.
pub fn bearer(value: &str) -> Result<&str, Malformed> {
    let (scheme, rest) = credentials(value)?;
    if scheme.eq_ignore_ascii_case("Bearer") { token68(rest) } else { Err(Malformed::OtherScheme) }
}

/// One `token68` and nothing else, of at most [`limits::TOKEN_MAX`] characters.
pub fn token68(value: &str) -> Result<&str, Malformed> {
    if value.len() > limits::TOKEN_MAX {
        return Err(Malformed::TooLong);
    }
    let body = value.trim_end_matches('=');
    // Every comparison, and none left out because of the one before: that is what makes sixteen of them one.
    let plain = |byte: u8| {
        let mark = (byte == b'-') | (byte == b'.') | (byte == b'_') | (byte == b'~') | (byte == b'+') | (byte == b'/');
        byte.is_ascii_alphabetic() | byte.is_ascii_digit() | mark
    };
    if !body.is_empty() && all(body, plain) { Ok(value) } else { Err(Malformed::NotToken68) }
}

/// Whether all bytes are such, of which sixteen are looked at together: tokens are long.
fn all(text: &str, is: impl Fn(u8) -> bool) -> bool {
    let (chunks, rest) = text.as_bytes().as_chunks::<16>();
    let each = |bytes: &[u8]| bytes.iter().fold(true, |so_far, byte| so_far & is(*byte));
    chunks.iter().all(|chunk| each(chunk)) && each(rest)
}

/// The cookies of one request.
///
/// A browser sends whatever every page of the site has set, so what is strange in one cookie does not spoil the others:
/// a pair without `=` is passed over, and a value that holds other than `cookie-octet` characters reads as empty.
pub struct Cookies<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Cookies<'a> {
    /// Reads every `Cookie` field of a request; the limits are for all of them together.
    pub fn parse(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Malformed> {
        let mut room = limits::COOKIE_HEADER_MAX;
        let mut cookies = Vec::new();
        for value in values {
            room = room.checked_sub(value.len()).ok_or(Malformed::TooLong)?;
            for pair in value.split(|byte| *byte == b';') {
                let Some((name, value)) = cookie(pair.trim_ascii()) else { continue };
                if cookies.len() == limits::COOKIES_MAX {
                    return Err(Malformed::TooManyCookies);
                }
                cookies.push((name, value));
            }
        }
        Ok(Self(cookies))
    }

    /// The value of the cookie with exactly this name. Two of them are nobody's: one may be a sibling site's (RFC 6265
    /// section 8.6), and which one came first says nothing.
    pub fn one(&self, name: &str) -> Result<Option<&'a str>, Repeated> {
        let mut values = self.0.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Repeated),
            (value, None) => Ok(value),
        }
    }

    /// The names that begin with `prefix`, in the order in which they came, repeated ones as often as they are there.
    pub fn names_with_prefix(&self, prefix: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(|(name, _)| *name).filter(move |name| name.starts_with(prefix))
    }
}

impl fmt::Debug for Cookies<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Cookies({})", self.0.len())
    }
}

/// The value of the one cookie of this name, where nothing else is asked of the field.
pub fn one_cookie<'a>(field: &'a [u8], name: &str) -> Result<Option<&'a str>, Repeated> {
    // A field beyond the limits holds no cookie of ours that could be told from a forged one.
    Cookies::parse([field]).map_or(Ok(None), |cookies| cookies.one(name))
}

/// Writes one challenge of a `WWW-Authenticate` field.
#[derive(Debug, Clone)]
pub struct Challenge {
    text: String,
    separator: &'static str,
}

impl Challenge {
    /// A challenge of this scheme, still without parameters.
    #[must_use]
    pub fn new(scheme: &'static str) -> Self {
        Self { text: scheme.to_owned(), separator: " " }
    }

    /// Adds `name="value"`. What cannot stand in a quoted string (controls, other than ASCII) is left out.
    #[must_use]
    pub fn param(mut self, name: &'static str, value: &str) -> Self {
        self.text.push_str(self.separator);
        self.text.push_str(name);
        self.text.push_str("=\"");
        for character in value.chars().filter(|character| matches!(character, ' '..='~')) {
            if matches!(character, '"' | '\\') {
                self.text.push('\\');
            }
            self.text.push(character);
        }
        self.text.push('"');
        self.separator = ", ";
        self
    }

    /// The field's value.
    #[must_use]
    pub fn into_string(self) -> String {
        self.text
    }
}

/// Writes a value for a header that an upstream reads: percent-encodes `%`, the comma (which would make two values of
/// one), controls, everything beyond ASCII, and a space at either end, which HTTP would cut off.
#[must_use]
pub fn percent_encode_value(value: &str) -> String {
    let core = value.trim_matches(' ');
    let before = value.len().saturating_sub(value.trim_start_matches(' ').len());
    let mut out = "%20".repeat(before);
    text::push_escaped_unless(&mut out, core.as_bytes(), |byte| {
        matches!(byte, 0x20..=0x7e) && !matches!(byte, b'%' | b',')
    });
    let after = value.len().saturating_sub(before).saturating_sub(core.len());
    out.push_str(&"%20".repeat(after));
    out
}

/// Whether a `Content-Type` names application/x-www-form-urlencoded, in UTF-8 or without a word about it.
#[must_use]
pub fn is_form(content_type: &str) -> bool {
    is_media_type(content_type, "application/x-www-form-urlencoded")
}

/// Whether a `Content-Type` names application/json, in UTF-8 or without a word about it.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    is_media_type(content_type, "application/json")
}

fn is_media_type(content_type: &str, wanted: &str) -> bool {
    let mut parts = content_type.split(';').map(|part| part.trim_matches([' ', '\t']));
    parts.next().is_some_and(|found| found.eq_ignore_ascii_case(wanted))
        && parts.all(|parameter| match parameter.split_once('=') {
            None => parameter.is_empty(),
            Some((name, value)) => {
                name.eq_ignore_ascii_case("charset")
                    && (value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("\"utf-8\""))
            }
        })
}

fn cookie(pair: &[u8]) -> Option<(&str, &str)> {
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    let name = halves.next().filter(|name| !name.is_empty() && name.iter().all(|byte| is_token_character(*byte)))?;
    let value = halves.next()?;
    let value = if value.iter().all(|byte| is_cookie_octet(*byte)) { value } else { &[] };
    Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
}

/// `tchar` of RFC 9110 section 5.6.2.
const fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`')
        || matches!(byte, b'|' | b'~')
}

/// `cookie-octet` of RFC 6265 section 4.1.1.
const fn is_cookie_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn t066_the_scheme_is_read_in_any_case() {
        for (value, parts) in [
            ("Basic YTpi", ("Basic", "YTpi")),
            ("basic YTpi", ("basic", "YTpi")),
            ("Bearer   x", ("Bearer", "x")),
            ("Digest a=b, c=\"d\"", ("Digest", "a=b, c=\"d\"")),
        ] {
            assert_eq!(credentials(value), Ok(parts));
        }
        for (value, malformed) in [
            ("", Malformed::Empty),
            ("Bearer", Malformed::Empty),
            ("Bearer ", Malformed::Empty),
            (" Bearer x", Malformed::Empty),
            ("Bea:rer x", Malformed::Character),
            ("Bearer\tx", Malformed::Character),
            ("Bearer x\r\nHost: y", Malformed::Character),
            ("Bearer \u{e9}", Malformed::Character),
        ] {
            assert_eq!(credentials(value), Err(malformed), "{value:?}");
        }
        assert_eq!(credentials(&"a".repeat(limits::AUTHORIZATION_MAX + 1)), Err(Malformed::TooLong));
    }

    #[test]
    fn each_character_of_a_token_is_looked_at_wherever_it_stands() {
        for byte in 0..=0x7f_u8 {
            let good = text::is_unreserved(byte) || matches!(byte, b'+' | b'/');
            for place in [0, 1, 15, 16, 17, 31, 32, 39] {
                let mut value = "a".repeat(40).into_bytes();
                value[place] = byte;
                let value = String::from_utf8(value).unwrap();
                let printable = matches!(byte, 0x20..=0x7e);
                // Padding is no part of the token's body.
                assert_eq!(token68(&value).is_ok(), good || (byte == b'=' && place == 39), "{byte:#x} at {place}");
                assert_eq!(credentials(&format!("Bearer {value}")).is_ok(), printable, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn a_bearer_token_is_one_token68() {
        for value in ["Bearer abc", "bearer abc", "BEARER  abc"] {
            assert_eq!(bearer(value), Ok("abc"));
        }
        assert_eq!(bearer("Bearer a-._~+/9=="), Ok("a-._~+/9=="));
        for (value, malformed) in [
            ("Basic abc", Malformed::OtherScheme),
            ("DPoP abc", Malformed::OtherScheme),
            ("Bearerabc", Malformed::Empty),
            ("Bearer abc def", Malformed::NotToken68),
            ("Bearer abc ", Malformed::NotToken68),
            ("Bearer abc,Bearer def", Malformed::NotToken68),
            ("Bearer abc, def", Malformed::NotToken68),
            ("Bearer \"abc\"", Malformed::NotToken68),
            ("Bearer a=b", Malformed::NotToken68),
            ("Bearer =", Malformed::NotToken68),
            ("Bearer a%20b", Malformed::NotToken68),
        ] {
            assert_eq!(bearer(value), Err(malformed), "{value:?}");
        }
        let longest = "a".repeat(limits::TOKEN_MAX);
        assert_eq!(bearer(&format!("Bearer {longest}")), Ok(longest.as_str()));
        assert_eq!(bearer(&format!("Bearer {longest}a")), Err(Malformed::TooLong));
    }

    #[test]
    fn cookies_are_found_by_their_exact_name() {
        let field = b"a=1; __Host-pc-x=v%2F=; __host-pc-x=2;b=\"q\"; c; =d; e=; \xff=1; f=\xff; __Host-pc-y=3 ;g=a b";
        let cookies = Cookies::parse([&field[..], b"h=4"]).unwrap();
        for (name, value) in [
            ("a", Some("1")),
            ("__Host-pc-x", Some("v%2F=")),
            ("__Host-pc-y", Some("3")),
            ("b", Some("")),
            ("e", Some("")),
            ("f", Some("")),
            ("g", Some("")),
            ("h", Some("4")),
            ("c", None),
            ("A", None),
            ("", None),
            ("__Host-pc-", None),
        ] {
            assert_eq!(cookies.one(name), Ok(value), "{name:?}");
        }
        let names: Vec<_> = cookies.names_with_prefix("__Host-pc-").collect();
        assert_eq!(names, ["__Host-pc-x", "__Host-pc-y"]);
        assert_eq!(format!("{cookies:?}"), "Cookies(9)");
    }

    #[test]
    fn a_cookie_sent_twice_is_nobodys() {
        for field in ["a=1; a=1", "a=1; a=2", "a=; a=2", "a=1;a=\"q\"", "a=1; b=2; a=\u{e9}", "a=1;  a =2;a=3"] {
            assert_eq!(one_cookie(field.as_bytes(), "a"), Err(Repeated), "{field}");
        }
        assert_eq!(Cookies::parse([&b"a=1"[..], b"a=1"]).unwrap().one("a"), Err(Repeated));
        assert_eq!(one_cookie(b"a=1; aa=2; A=3; a b=4", "a"), Ok(Some("1")));
        assert_eq!(one_cookie(b"", "a"), Ok(None));
    }

    #[test]
    fn a_flood_of_cookies_is_refused() {
        let most = vec!["a=1"; limits::COOKIES_MAX].join(";");
        assert!(Cookies::parse([most.as_bytes()]).is_ok());
        assert_eq!(Cookies::parse([most.as_bytes(), b"b=1"]).err(), Some(Malformed::TooManyCookies));
        let longest = "a".repeat(limits::COOKIE_HEADER_MAX);
        assert!(Cookies::parse([longest.as_bytes()]).is_ok());
        assert_eq!(Cookies::parse([longest.as_bytes(), b"b"]).err(), Some(Malformed::TooLong));
        assert_eq!(one_cookie(format!("{longest}a").as_bytes(), "a"), Ok(None));
    }

    #[test]
    fn a_challenge_is_one_line_of_quoted_parameters() {
        assert_eq!(Challenge::new("Bearer").into_string(), "Bearer");
        let challenge = Challenge::new("Bearer")
            .param("error", "invalid_token")
            .param("error_description", "a \"b\" \\ c\r\nSet-Cookie: d\u{e9}\0")
            .into_string();
        assert_eq!(challenge, r#"Bearer error="invalid_token", error_description="a \"b\" \\ cSet-Cookie: d""#);
    }

    #[test]
    fn t226_an_identity_value_cannot_become_two_or_end_its_line() {
        for (value, written) in [
            ("alice@example.com", "alice@example.com"),
            ("a,b%c", "a%2Cb%25c"),
            ("a\r\nb\0\u{7f}", "a%0D%0Ab%00%7F"),
            ("Żółw", "%C5%BB%C3%B3%C5%82w"),
            (" a b ", "%20a b%20"),
            ("  ", "%20%20"),
            ("\t", "%09"),
            ("", ""),
        ] {
            assert_eq!(percent_encode_value(value), written, "{value:?}");
        }
    }

    #[test]
    fn media_types_are_exact() {
        for value in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            "application/json ; Charset=\"utf-8\"",
            " application/json",
            "application/json;",
        ] {
            assert!(is_json(value) && !is_form(value), "{value:?}");
        }
        for value in [
            "",
            "application/jsonp",
            "application/json, text/plain",
            "application/json charset=utf-8",
            "application/json; charset=utf-16",
            "application/json; charset = utf-8",
            "application/json; boundary=x",
            "application/json; charset",
            "text/json",
            "application/ld+json",
            "*/*",
        ] {
            assert!(!is_json(value), "{value:?}");
        }
        assert!(is_form("application/x-www-form-urlencoded;charset=UTF-8"));
        assert!(!is_form("multipart/form-data; boundary=x") && !is_form("text/plain"));
    }

    proptest! {
        #[test]
        fn a_bearer_token_is_a_piece_of_its_field(value: String) {
            if let Ok(token) = bearer(&value) {
                prop_assert!(value.ends_with(token) && !token.contains(' '));
            }
        }

        #[test]
        fn an_identity_value_comes_back(value: String) {
            let written = percent_encode_value(&value);
            prop_assert!(written.bytes().all(|byte| matches!(byte, 0x20..=0x7e) && byte != b','));
            prop_assert_eq!(written.trim(), &written);
            prop_assert_eq!(text::percent_decoded(written.as_bytes()).unwrap().into_owned(), value.into_bytes());
        }
    }
}
