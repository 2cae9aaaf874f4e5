//! Who is asking, as the upstream is told it.

use super::fields::put_line;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use portcullis_domain::limits;
use zeroize::Zeroizing;

/// Who is asking, as the upstream is told. What is empty, or longer than an identity header may be, is not said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity<'a> {
    /// `X-Forwarded-User`.
    pub user: &'a str,
    /// `X-Forwarded-Email`.
    pub email: Option<&'a str>,
    /// `X-Forwarded-Groups`, separated by commas: all or nothing, because half a list of groups would be a false one.
    pub groups: &'a [&'a str],
    /// `X-Forwarded-Preferred-Username`.
    pub preferred_username: Option<&'a str>,
    /// `X-Session-Id`.
    pub session: &'a str,
    /// `Authorization`, where the configuration gives the upstream a bearer.
    pub authorization: Option<&'a HeaderValue>,
}

/// Appends a text as a header value: percent-encoded where a comma, a percent sign, a control or anything beyond ASCII would change its
/// meaning.
fn encode(text: &str, value: &mut Vec<u8>) {
    // White space at the ends would not survive a header; encoding each that stands there keeps the text whole.
    let inner = text.trim_matches(' ');
    let lead = text.len().saturating_sub(text.trim_start_matches(' ').len());
    let inner_end = lead.saturating_add(inner.len());
    // As almost always: nothing has to be encoded.
    if inner.len() == text.len() && text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'%'))
    {
        value.extend_from_slice(text.as_bytes());
        return;
    }
    for (at, byte) in text.bytes().enumerate() {
        let edge = byte == b' ' && (at < lead || at >= inner_end);
        match byte {
            b',' | b'%' => percent(byte, value),
            b' '..=b'~' if !edge => value.push(byte),
            _ => percent(byte, value),
        }
    }
}

fn percent(byte: u8, value: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    value.push(b'%');
    for half in [byte >> 4, byte & 0x0f] {
        value.extend(DIGITS.get(usize::from(half)));
    }
}

/// Who is asking, written as lines of a request's head: once per session, because it is most of what the gate puts in.
pub struct Introduced {
    /// A line for each field that says something, in the order of [`INTRODUCING`]. One of them may be a credential.
    lines: Zeroizing<Vec<u8>>,
}

/// The fields that say who is asking.
static INTRODUCING: [HeaderName; 6] = [
    HeaderName::from_static("x-forwarded-user"),
    HeaderName::from_static("x-forwarded-email"),
    HeaderName::from_static("x-forwarded-groups"),
    HeaderName::from_static("x-forwarded-preferred-username"),
    HeaderName::from_static("x-session-id"),
    AUTHORIZATION,
];

impl Introduced {
    /// Somebody of whom this is said. Nothing, if the user cannot be: nobody is to be taken for somebody without a name.
    #[must_use]
    pub fn of(identity: &Identity<'_>) -> Option<Self> {
        let Identity { user, email, groups, preferred_username, session, authorization } = identity;
        let [user_name, email_name, groups_name, preferred_name, session_name, authorization_name] = &INTRODUCING;
        let said = [user, session].into_iter().chain(email).chain(preferred_username).chain(*groups);
        let room: usize = INTRODUCING.iter().map(|name| name.as_str().len().saturating_add(4)).sum();
        // Nothing has to be encoded, as almost always, or it grows.
        let room = said.map(|text| text.len().saturating_add(1)).fold(room, usize::saturating_add);
        let room = room.saturating_add(authorization.map_or(0, HeaderValue::len));
        let mut lines = Zeroizing::new(Vec::with_capacity(room));
        let is_said = put_text(&mut lines, user_name, [*user]);
        put_text(&mut lines, email_name, *email);
        put_text(&mut lines, groups_name, groups.iter().copied());
        put_text(&mut lines, preferred_name, *preferred_username);
        put_text(&mut lines, session_name, [*session]);
        if let Some(value) = authorization {
            put_line(&mut lines, authorization_name, value);
        }
        is_said.then_some(Self { lines })
    }

    /// The same as lines of a head.
    pub(super) fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// What is said, by the name of the field that says it.
    pub fn fields(&self) -> impl Iterator<Item = (&'static HeaderName, Option<HeaderValue>)> {
        let mut rest = self.lines.as_slice();
        INTRODUCING.iter().map(move |name| {
            let line = rest.strip_prefix(name.as_str().as_bytes()).and_then(|line| line.strip_prefix(b": "));
            // No value holds an end of a line.
            let Some((line, end)) = line.and_then(|line| Some((line, memchr::memchr(b'\r', line)?))) else {
                return (name, None);
            };
            let (value, behind) = line.split_at_checked(end).unwrap_or_default();
            rest = behind.strip_prefix(b"\r\n").unwrap_or_default();
            let mut value = HeaderValue::from_bytes(value).ok();
            if let Some(value) = &mut value {
                value.set_sensitive(*name == AUTHORIZATION);
            }
            (name, value)
        })
    }
}

impl std::fmt::Debug for Introduced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Introduced(..)")
    }
}

/// A line that says these texts with commas between; nothing, if that would be empty or longer than an identity header may be. Whether
/// it is there.
fn put_text<'a>(lines: &mut Vec<u8>, name: &HeaderName, texts: impl IntoIterator<Item = &'a str>) -> bool {
    let before = lines.len();
    lines.extend_from_slice(name.as_str().as_bytes());
    lines.extend_from_slice(b": ");
    let begin = lines.len();
    for text in texts {
        if lines.len() > begin {
            lines.push(b',');
        }
        encode(text, lines);
        if lines.len().saturating_sub(begin) > limits::IDENTITY_HEADER_MAX {
            lines.truncate(before);
            return false;
        }
    }
    if lines.len() == begin {
        lines.truncate(before);
        return false;
    }
    lines.extend_from_slice(b"\r\n");
    true
}

#[cfg(test)]
mod tests {
    use super::super::{Fields, Lines};
    use super::*;
    use hyper::HeaderMap;

    #[test]
    fn identity_values_keep_their_meaning() {
        for (text, value) in [
            ("ada", Some("ada")),
            ("Ada Lovelace", Some("Ada Lovelace")),
            ("Lovelace, Ada", Some("Lovelace%2C Ada")),
            ("100%", Some("100%25")),
            (" padded ", Some("%20padded%20")),
            ("  ", Some("%20%20")),
            ("a\r\nX-Evil: 1", Some("a%0D%0AX-Evil: 1")),
            ("a\0b\tc\u{7f}", Some("a%00b%09c%7F")),
            ("J\u{fc}rgen", Some("J%C3%BCrgen")),
            ("", None),
        ] {
            let said = said_of(&Identity { user: text, ..Identity::default() });
            assert_eq!(
                said.as_deref(),
                value.map(|value| format!("x-forwarded-user: {value}\r\n")).as_deref(),
                "{text:?}"
            );
        }
        let user = "ada";
        let groups = |groups| said_of(&Identity { user, groups, ..Identity::default() }).unwrap();
        assert_eq!(groups(&["staff", "a,b"]), "x-forwarded-user: ada\r\nx-forwarded-groups: staff,a%2Cb\r\n");
        assert_eq!(groups(&[]), "x-forwarded-user: ada\r\n");
        assert_eq!(groups(&[""]), "x-forwarded-user: ada\r\n");
        let many = vec!["group"; limits::IDENTITY_HEADER_MAX];
        assert_eq!(groups(&many), "x-forwarded-user: ada\r\n", "never half a list");
        let long = "a".repeat(limits::IDENTITY_HEADER_MAX + 1);
        assert!(Introduced::of(&Identity { user: &long, ..Identity::default() }).is_none());
        let longest = said_of(&Identity { user, email: Some(&long[1..]), session: &long, ..Identity::default() });
        assert_eq!(longest.unwrap(), format!("x-forwarded-user: ada\r\nx-forwarded-email: {}\r\n", &long[1..]));
    }

    fn said_of(identity: &Identity<'_>) -> Option<String> {
        Introduced::of(identity).map(|who| String::from_utf8(who.lines.to_vec()).unwrap())
    }

    #[test]
    fn an_introduction_is_read_as_it_was_written() {
        let texts = [None, Some("ada: b"), Some("x-session-id: c"), Some("\r\nx-session-id: d")];
        let secret = HeaderValue::from_static("Bearer secret");
        for (email, session) in texts.into_iter().flat_map(|email| texts.map(|session| (email, session))) {
            for authorization in [None, Some(&secret)] {
                let session = session.unwrap_or_default();
                let groups = &["staff", "a,b"];
                let identity =
                    Identity { user: "ada", email, groups, preferred_username: None, session, authorization };
                let who = Introduced::of(&identity).unwrap();
                let (mut by_field, mut at_once, mut map) = (Vec::new(), Vec::new(), HeaderMap::new());
                for (name, value) in who.fields() {
                    if let Some(value) = value {
                        assert_eq!(value.is_sensitive(), *name == AUTHORIZATION);
                        Lines(&mut by_field).put(name, &value);
                    }
                }
                Lines(&mut at_once).introduce(&who);
                map.introduce(&who);
                assert_eq!(at_once, by_field);
                let count = 2 + [email.is_some(), !session.is_empty(), authorization.is_some()]
                    .map(usize::from)
                    .iter()
                    .sum::<usize>();
                assert_eq!((map.len(), who.fields().count()), (count, 6));
                assert_eq!(map["x-forwarded-groups"], "staff,a%2Cb");
                assert_eq!(format!("{who:?}"), "Introduced(..)");
            }
        }
    }
}
