//! Forms: application/x-www-form-urlencoded bodies and query strings, in and out.
//!
//! RFC 6749 appendix B and the URL standard's section 5 for the format; OAuth 2.1 section 3.1 for empty and repeated
//! parameters.

use super::{Repeated, text};
use crate::limits;
use std::borrow::Cow;
use std::fmt;

/// Which rule of the format the input breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// More bytes than [`limits::OAUTH_BODY_MAX`].
    TooLong,
    /// More fields than [`limits::FORM_FIELDS_MAX`].
    TooManyFields,
    /// A control character that is not escaped: nothing that writes forms leaves one.
    Control,
    /// A `%` without two hexadecimal digits.
    BadEscape,
    /// A name or value is not UTF-8.
    NotUtf8,
    /// A name or value holds NUL.
    Nul,
}

/// The fields of a form in the order in which they came, each name and value decoded once.
pub struct Form<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Form<'a> {
    /// Reads a body, or a query without its `?`. Copies only what is escaped.
    pub fn parse(input: &'a (impl AsRef<[u8]> + ?Sized)) -> Result<Self, Malformed> {
        let input = input.as_ref();
        if input.len() > limits::OAUTH_BODY_MAX {
            return Err(Malformed::TooLong);
        }
        let mut fields = Vec::new();
        for field in input.split(|byte| *byte == b'&').filter(|field| !field.is_empty()) {
            if fields.len() == limits::FORM_FIELDS_MAX {
                return Err(Malformed::TooManyFields);
            }
            let mut halves = field.splitn(2, |byte| *byte == b'=');
            let name = decoded(halves.next().unwrap_or_default())?;
            let value = decoded(halves.next().unwrap_or_default())?;
            fields.push((name, value));
        }
        Ok(Self(fields))
    }

    /// The value of a parameter that may be there once. An empty one counts as absent, but not when it comes twice.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut values = self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_ref());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Repeated),
            (value, None) => Ok(value.filter(|value| !value.is_empty())),
        }
    }

    /// Every value of a parameter that may be there more than once, empty ones left out.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(other, value)| other == name && !value.is_empty()).map(|(_, value)| value.as_ref())
    }

    /// Some name that is there more than once, other than the excepted ones; whatever the values.
    #[must_use]
    pub fn repeated_except(&self, excepted: &[&str]) -> Option<&str> {
        let mut names: Vec<&str> = self.names().filter(|name| !excepted.contains(name)).collect();
        // Sorting keeps the work of a hostile form far below the square of its fields.
        names.sort_unstable();
        names.windows(2).find_map(|pair| match pair {
            [left, right] if left == right => Some(*left),
            _ => None,
        })
    }

    /// The names in their order, repeated ones as often as they are there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    /// Every field in its order, empty ones too.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

impl fmt::Debug for Form<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A value may be a code, a verifier or a password; so may a name, when somebody forgot the name.
        out.debug_list().entries(self.names().map(|name| if text::is_plain_name(name) { name } else { ".." })).finish()
    }
}

/// Writes fields as a form or query.
///
/// A space becomes `%20`, which every reader of forms and of plain URIs understands; `+` only the former do.
#[must_use]
pub fn encode<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> String {
    let mut out = String::new();
    push_pairs(&mut out, pairs);
    out
}

/// Appends fields to a URI's query and leaves every byte that is already there as it is (OAuth 2.1 section 4.1.2).
///
/// The URI has no fragment; the caller guarantees this, and nothing could be appended behind one.
#[must_use]
pub fn with_query<N: AsRef<str>, V: AsRef<str>>(uri: &str, pairs: impl IntoIterator<Item = (N, V)>) -> String {
    debug_assert!(!uri.contains('#'), "a fragment would swallow the query");
    let query = encode(pairs);
    let separator = match uri.split_once('?') {
        _ if query.is_empty() => "",
        None => "?",
        Some((_, present)) if present.is_empty() || present.ends_with('&') => "",
        Some(_) => "&",
    };
    [uri, separator, &query].concat()
}

fn push_pairs<N: AsRef<str>, V: AsRef<str>>(out: &mut String, pairs: impl IntoIterator<Item = (N, V)>) {
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        text::push_percent_encoded(out, name.as_ref());
        out.push('=');
        text::push_percent_encoded(out, value.as_ref());
    }
}

fn decoded(half: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    if half.contains(&0) {
        return Err(Malformed::Nul);
    }
    if half.iter().any(u8::is_ascii_control) {
        return Err(Malformed::Control);
    }
    let text = match text::form_decoded(half).map_err(|_| Malformed::BadEscape)? {
        Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| Malformed::NotUtf8)?),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| Malformed::NotUtf8)?),
    };
    if text.contains('\0') { Err(Malformed::Nul) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "offsets into small test texts")]

    use super::*;
    use proptest::prelude::*;

    fn fields(input: &str) -> Vec<(String, String)> {
        let form = Form::parse(input).unwrap();
        form.fields().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn fields_are_decoded_once_and_keep_their_order() {
        for (input, expected) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a", &[("a", "")]),
            ("a=", &[("a", "")]),
            ("=", &[("", "")]),
            ("=v", &[("", "v")]),
            ("a=1&b=2&a=3", &[("a", "1"), ("b", "2"), ("a", "3")]),
            ("a=b=c", &[("a", "b=c")]),
            ("a+b=c+d%2B", &[("a b", "c d+")]),
            ("a=%2525", &[("a", "%25")]),
            ("st%61te=x", &[("state", "x")]),
            ("a;b=c;d", &[("a;b", "c;d")]),
            ("a=\u{e9}%C3%A9", &[("a", "\u{e9}\u{e9}")]),
            ("a=x y", &[("a", "x y")]),
            ("a[]=1&a.b=2", &[("a[]", "1"), ("a.b", "2")]),
        ] {
            let expected: Vec<(String, String)> =
                expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(fields(input), expected, "{input:?}");
        }
    }

    #[test]
    fn what_is_not_escaped_is_not_copied() {
        let form = Form::parse("code=abc&state=%41").unwrap();
        assert!(matches!(&form.0[0], (Cow::Borrowed("code"), Cow::Borrowed("abc"))));
        assert!(matches!(&form.0[1], (Cow::Borrowed("state"), Cow::Owned(_))));
    }

    #[test]
    fn t001_malformed_forms_are_refused_by_their_rule() {
        for (input, malformed) in [
            (&b"a=%"[..], Malformed::BadEscape),
            (b"a=%4", Malformed::BadEscape),
            (b"a=%zz", Malformed::BadEscape),
            (b"%=a", Malformed::BadEscape),
            (b"a=%u0041", Malformed::BadEscape),
            (b"a=%00", Malformed::Nul),
            (b"a%00b=c", Malformed::Nul),
            (b"a=\0", Malformed::Nul),
            (b"a=\xff", Malformed::NotUtf8),
            (b"a=%ff", Malformed::NotUtf8),
            (b"a=%C0%80", Malformed::NotUtf8),
            (b"a=%ED%A0%80", Malformed::NotUtf8),
            (b"a=%C3&b=%A9", Malformed::NotUtf8),
            (b"a=b\r\nc=d", Malformed::Control),
            (b"a=b\n", Malformed::Control),
            (b"a\t=b", Malformed::Control),
            (b"a=\x7f", Malformed::Control),
        ] {
            assert_eq!(Form::parse(input).err(), Some(malformed), "{input:?}");
        }
        let most = vec!["a=1"; limits::FORM_FIELDS_MAX].join("&");
        assert!(Form::parse(&most).is_ok());
        assert_eq!(Form::parse(&format!("{most}&a=1")).err(), Some(Malformed::TooManyFields));
        let longest = "a".repeat(limits::OAUTH_BODY_MAX);
        assert!(Form::parse(&longest).is_ok());
        assert_eq!(Form::parse(&format!("{longest}a")).err(), Some(Malformed::TooLong));
    }

    #[test]
    fn t003_a_parameter_sent_twice_is_refused() {
        for input in ["a=1&a=1", "a=1&a=2", "a=1&a=", "a=&a=1", "a=&a=", "a&a", "a=1&b=2&%61=3", "a=1&&a=1"] {
            let form = Form::parse(input).unwrap();
            assert_eq!(form.one("a"), Err(Repeated), "{input}");
            assert_eq!(form.repeated_except(&["b"]), Some("a"), "{input}");
            assert_eq!(form.repeated_except(&["a"]), None, "{input}");
        }
        let form = Form::parse("a=1&A=2&resource=x&resource=y&resource=").unwrap();
        assert_eq!(form.one("a"), Ok(Some("1")));
        assert_eq!(form.repeated_except(&["resource"]), None);
        assert_eq!(form.repeated_except(&[]), Some("resource"));
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn t005_an_empty_value_counts_as_absent() {
        let form = Form::parse("state=&scope&code_challenge=&nonce=0").unwrap();
        for name in ["state", "scope", "code_challenge", "missing"] {
            assert_eq!(form.one(name), Ok(None), "{name}");
        }
        assert_eq!(form.one("nonce"), Ok(Some("0")));
        assert_eq!(form.all("state").count(), 0);
    }

    #[test]
    fn t010_a_state_comes_back_byte_for_byte() {
        for state in [
            "x",
            "a&b=c#d",
            "%00 is three bytes",
            "\r\nSet-Cookie: x",
            "\"quotes\"'",
            "\u{e9}\u{10ffff}",
            "+ %20+",
            "?/:@!$()*,;[]{}|\\^`<>",
        ] {
            let sent = encode([("state", state)]);
            assert!(sent.bytes().all(|byte| byte.is_ascii_graphic()), "{sent:?}");
            let form = Form::parse(&sent).unwrap();
            assert_eq!(form.one("state"), Ok(Some(state)));
            let location = with_query("https://app.example.com/cb?x=%41", [("state", state), ("iss", "https://as")]);
            assert!(location.starts_with("https://app.example.com/cb?x=%41&state="), "{location}");
            assert!(!location.contains(['#', '\r', '\n', ' ', '"']), "{location}");
        }
        let long = "s".repeat(limits::STATE_MAX);
        assert_eq!(Form::parse(&encode([("state", &long)])).unwrap().one("state"), Ok(Some(long.as_str())));
    }

    #[test]
    fn t035_a_query_is_appended_to_and_not_rewritten() {
        for (uri, expected) in [
            ("https://a/cb", "https://a/cb?code=1&iss=2"),
            ("https://a/cb?", "https://a/cb?code=1&iss=2"),
            ("https://a/cb?x=1", "https://a/cb?x=1&code=1&iss=2"),
            ("https://a/cb?x=1&", "https://a/cb?x=1&code=1&iss=2"),
            ("https://a/cb?x=%2f+&x=1;y", "https://a/cb?x=%2f+&x=1;y&code=1&iss=2"),
            ("https://a/cb?x=?", "https://a/cb?x=?&code=1&iss=2"),
            ("com.example:/cb", "com.example:/cb?code=1&iss=2"),
        ] {
            assert_eq!(with_query(uri, [("code", "1"), ("iss", "2")]), expected);
        }
        assert_eq!(with_query("https://a/cb", [("", ""); 0]), "https://a/cb");
    }

    #[test]
    fn p11_debug_prints_names_and_never_values() {
        let form = Form::parse("code=hush&client_secret=hush&hush-hush=1&hushHUSH").unwrap();
        assert_eq!(format!("{form:?}"), r#"["code", "client_secret", "..", ".."]"#);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in proptest::collection::vec(("[^\0]{0,8}", "[^\0]{0,8}"), 0..8)) {
            let text = encode(pairs.iter().map(|(name, value)| (name, value)));
            prop_assert_eq!(fields(&text), pairs);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(form) = Form::parse(&bytes) {
                let length: usize = form.fields().map(|(name, value)| name.len() + value.len()).sum();
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
