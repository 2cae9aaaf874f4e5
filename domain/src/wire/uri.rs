//! Absolute URIs, read as they stand and never repaired.
//!
//! RFC 3986, narrowed: ASCII only, hosts that DNS knows, no spelling that the URL standard's readers would rewrite into
//! another host, port, path or query. What is accepted here therefore means the same to every browser and client.

use super::text;
use crate::limits;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Which rule the text breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// More bytes than [`limits::URI_MAX`].
    TooLong,
    /// A character that may not stand where it stands, or not in any URI.
    Character,
    /// A `%` without two hexadecimal digits.
    Escape,
    /// No scheme, or not a scheme.
    Scheme,
    /// Not a host name, not an address, or none where the scheme wants one.
    Host,
    /// Empty, zero, with leading zeros, or above 65535.
    Port,
}

/// A host as it stands in the URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// Letters, digits, hyphens and dots; never something that could be read as a number.
    Name(&'a str),
    /// Four decimal numbers without leading zeros.
    V4(Ipv4Addr),
    /// An address in brackets, without zone and without an IPv4 tail.
    V6(Ipv6Addr),
}

/// A URI taken apart. Every part is a piece of the text, unchanged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    text: &'a str,
    scheme: &'a str,
    authority: Option<Authority<'a>>,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// Reads an absolute URI.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        if text.len() > limits::URI_MAX {
            return Err(Malformed::TooLong);
        }
        if !text.bytes().all(is_uri_character) {
            return Err(Malformed::Character);
        }
        if !text::escapes_are_sound(text.as_bytes()) {
            return Err(Malformed::Escape);
        }
        let (scheme, rest) = text.split_once(':').ok_or(Malformed::Scheme)?;
        if !is_scheme(scheme) {
            return Err(Malformed::Scheme);
        }
        let (rest, fragment) = cut(rest, '#');
        let (rest, query) = cut(rest, '?');
        let (authority, path) = match rest.strip_prefix("//") {
            None => (None, rest),
            Some(rest) => {
                let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
                (Some(Authority::parse(authority)?), path)
            }
        };
        // Brackets stand around an address only, and a second `#` nowhere (RFC 3986 section 3.3 to 3.5).
        let outside = [path, query.unwrap_or_default(), fragment.unwrap_or_default()];
        if outside.iter().any(|part| part.contains(['[', ']', '#'])) {
            return Err(Malformed::Character);
        }
        let uri = Self { text, scheme, authority, path, query, fragment };
        // `http:/x`, `http:x` and `http:///x` are where readers that repair find a host (RFC 9110 section 4.2.1).
        if uri.is_web() && uri.host().is_none() {
            return Err(Malformed::Host);
        }
        Ok(uri)
    }

    /// The whole URI.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// The scheme as written.
    #[must_use]
    pub const fn scheme(&self) -> &'a str {
        self.scheme
    }

    /// Whether the scheme is this one, in whatever case (RFC 3986 section 3.1).
    #[must_use]
    pub const fn has_scheme(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// Whether the scheme is `http` or `https`.
    #[must_use]
    pub const fn is_web(&self) -> bool {
        self.has_scheme("http") || self.has_scheme("https")
    }

    /// Everything between `//` and the path; absent in `scheme:/path` and `scheme:path`, empty in `scheme:///path`.
    #[must_use]
    pub fn authority(&self) -> Option<&'a str> {
        self.authority.map(|authority| authority.text)
    }

    /// What stands before an `@` in the authority. Hardly anything has a use for one except a forger.
    #[must_use]
    pub fn userinfo(&self) -> Option<&'a str> {
        self.authority.and_then(|authority| authority.userinfo)
    }

    /// The host, unless there is no authority or an empty one.
    #[must_use]
    pub fn host(&self) -> Option<Host<'a>> {
        self.authority.and_then(|authority| authority.host)
    }

    /// The host as written, brackets included.
    #[must_use]
    pub fn host_text(&self) -> Option<&'a str> {
        self.authority.filter(|authority| authority.host.is_some()).map(|authority| authority.host_text)
    }

    /// The port as written: absent is not the same as the scheme's own port.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.authority.and_then(|authority| authority.port)
    }

    /// The port that is meant: as written, else the scheme's own.
    #[must_use]
    pub fn effective_port(&self) -> Option<u16> {
        self.port().or_else(|| self.default_port())
    }

    /// The path, possibly empty. Without an authority it may lack the leading slash.
    #[must_use]
    pub const fn path(&self) -> &'a str {
        self.path
    }

    /// The query without its `?`.
    #[must_use]
    pub const fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// The fragment without its `#`.
    #[must_use]
    pub const fn fragment(&self) -> Option<&'a str> {
        self.fragment
    }

    /// Whether the host is this machine: `localhost`, 127.0.0.0/8 or `[::1]` (RFC 8252 section 7.3).
    #[must_use]
    pub fn is_loopback_host(&self) -> bool {
        match self.host() {
            Some(Host::Name(name)) => name.eq_ignore_ascii_case("localhost"),
            Some(Host::V4(address)) => address.is_loopback(),
            Some(Host::V6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// The origin as a browser writes it: lower case, without the scheme's own port (RFC 6454 section 6.2).
    #[must_use]
    pub fn origin(&self) -> Option<String> {
        let scheme = self.scheme.to_ascii_lowercase();
        let host = self.host()?;
        Some(match self.port().filter(|port| Some(*port) != self.default_port()) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        })
    }

    /// Whether the path has a segment `.` or `..`, also with its dots escaped: readers take these out, each when it likes.
    #[must_use]
    pub fn has_dot_segments(&self) -> bool {
        self.path.split('/').any(|segment| {
            let dots = segment.to_ascii_lowercase().replace("%2e", ".");
            dots == "." || dots == ".."
        })
    }

    const fn default_port(&self) -> Option<u16> {
        if self.has_scheme("https") {
            Some(443)
        } else if self.has_scheme("http") {
            Some(80)
        } else {
            None
        }
    }
}

impl fmt::Debug for Uri<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query or a fragment may carry a code or a token, and userinfo a password.
        write!(out, "Uri({}:..{})", self.scheme, self.host_text().unwrap_or_default())
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => out.write_str(&name.to_ascii_lowercase()),
            Self::V4(address) => write!(out, "{address}"),
            // The library writes a mapped address with an IPv4 tail, browsers do not.
            Self::V6(address) => match (address.to_ipv4_mapped(), address.segments()) {
                (Some(_), [.., high, low]) => write!(out, "[::ffff:{high:x}:{low:x}]"),
                _ => write!(out, "[{address}]"),
            },
        }
    }
}

/// Reads a host as it may stand in a URI or in a `Host` header: a name, an IPv4 address or an IPv6 address in brackets.
pub fn host(text: &str) -> Result<Host<'_>, Malformed> {
    if let Some(address) = text.strip_prefix('[') {
        // An IPv4 tail is a second spelling of an address that a filter may look for in its first.
        let address = address.strip_suffix(']').filter(|address| !address.contains('.'));
        return address.and_then(|address| address.parse().ok()).map(Host::V6).ok_or(Malformed::Host);
    }
    if ends_in_a_number(text) {
        // The URL standard reads `127.1`, `0x7f.1` and `2130706433` as addresses: only the plain spelling is one here.
        return text.parse().map(Host::V4).map_err(|_| Malformed::Host);
    }
    if text.len() <= limits::HOST_MAX && text.split('.').all(is_label) {
        Ok(Host::Name(text))
    } else {
        Err(Malformed::Host)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Authority<'a> {
    text: &'a str,
    userinfo: Option<&'a str>,
    host: Option<Host<'a>>,
    host_text: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str) -> Result<Self, Malformed> {
        if text.is_empty() {
            return Ok(Self { text, userinfo: None, host: None, host_text: text, port: None });
        }
        let (userinfo, rest) = match text.split_once('@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, text),
        };
        if userinfo.is_some_and(|userinfo| userinfo.contains(['[', ']'])) {
            return Err(Malformed::Character);
        }
        // In brackets a colon belongs to the address; outside of them the first one ends the host.
        let end = match rest.find(']') {
            Some(bracket) => bracket.saturating_add(1),
            None => rest.find(':').unwrap_or(rest.len()),
        };
        let (host_text, rest) = rest.split_at_checked(end).ok_or(Malformed::Host)?;
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(port(digits)?),
            None if rest.is_empty() => None,
            None => return Err(Malformed::Host),
        };
        Ok(Self { text, userinfo, host: Some(host(host_text)?), host_text, port })
    }
}

fn port(digits: &str) -> Result<u16, Malformed> {
    if digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed::Port);
    }
    digits.parse().map_err(|_| Malformed::Port)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

fn is_label(label: &str) -> bool {
    (1..=limits::HOST_LABEL_MAX).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The characters of RFC 3986 section 2 without the apostrophe, which the URL standard escapes in a query.
const fn is_uri_character(byte: u8) -> bool {
    text::is_unreserved(byte)
        || matches!(byte, b'%' | b':' | b'/' | b'?' | b'#' | b'[' | b']' | b'@')
        || matches!(byte, b'!' | b'$' | b'&' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

fn cut(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(before, after)| (before, Some(after)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> Option<Malformed> {
        Uri::parse(text).err()
    }

    #[test]
    fn the_parts_are_pieces_of_the_text() {
        let uri = Uri::parse("HTTPS://user:pw@App.Example.com:8443/a/b;c?x=1&y=%2F?#frag/?").unwrap();
        assert_eq!(uri.scheme(), "HTTPS");
        assert!(uri.has_scheme("https") && uri.is_web());
        assert_eq!(uri.authority(), Some("user:pw@App.Example.com:8443"));
        assert_eq!(uri.userinfo(), Some("user:pw"));
        assert_eq!(uri.host(), Some(Host::Name("App.Example.com")));
        assert_eq!(uri.host_text(), Some("App.Example.com"));
        assert_eq!(uri.port(), Some(8443));
        assert_eq!(uri.path(), "/a/b;c");
        assert_eq!(uri.query(), Some("x=1&y=%2F?"));
        assert_eq!(uri.fragment(), Some("frag/?"));
        assert_eq!(uri.origin().as_deref(), Some("https://app.example.com:8443"));

        let uri = Uri::parse("https://a?#").unwrap();
        assert_eq!((uri.path(), uri.query(), uri.fragment()), ("", Some(""), Some("")));
        assert_eq!((uri.port(), uri.effective_port()), (None, Some(443)));
    }

    #[test]
    fn t031_private_use_schemes_with_and_without_slashes() {
        for (text, authority, host, path) in [
            ("com.example.app:/cb", None, None, "/cb"),
            ("com.example.app:cb", None, None, "cb"),
            ("com.example.app:", None, None, ""),
            (
                "cursor://anysphere.cursor-mcp/oauth/callback",
                Some("anysphere.cursor-mcp"),
                Some("anysphere.cursor-mcp"),
                "/oauth/callback",
            ),
            ("myapp:///cb", Some(""), None, "/cb"),
            ("myapp://", Some(""), None, ""),
            ("urn:ietf:wg:oauth:2.0:oob", None, None, "ietf:wg:oauth:2.0:oob"),
        ] {
            let uri = Uri::parse(text).unwrap();
            assert_eq!((uri.authority(), uri.host_text(), uri.path()), (authority, host, path), "{text}");
            assert!(!uri.is_web());
        }
    }

    #[test]
    fn t022_userinfo_is_never_taken_for_the_host() {
        for (text, host) in [
            ("https://app.example.com@evil.com/cb", "evil.com"),
            ("https://app.example.com:443@evil.com/", "evil.com"),
            ("http://localhost@evil.com/callback", "evil.com"),
            ("https://@evil.com/", "evil.com"),
            ("https://a%40b@evil.com/", "evil.com"),
        ] {
            let uri = Uri::parse(text).unwrap();
            assert_eq!(uri.host_text(), Some(host), "{text}");
            assert!(uri.userinfo().is_some(), "{text}");
            assert!(!uri.is_loopback_host(), "{text}");
        }
        assert_eq!(refused("https://a@b@evil.com/"), Some(Malformed::Host));
        assert_eq!(refused("https://a[@evil.com/"), Some(Malformed::Character));
        assert_eq!(refused("https://a@/"), Some(Malformed::Host));
    }

    #[test]
    fn t023_a_fragment_is_seen_even_when_empty() {
        assert_eq!(Uri::parse("https://app/cb#x").unwrap().fragment(), Some("x"));
        assert_eq!(Uri::parse("https://app/cb#").unwrap().fragment(), Some(""));
        assert_eq!(Uri::parse("https://app#@evil.com/").unwrap().host_text(), Some("app"));
        assert_eq!(Uri::parse("https://app/cb%23x").unwrap().fragment(), None);
        assert_eq!(refused("https://app/cb#x#y"), Some(Malformed::Character));
    }

    #[test]
    fn t024_dot_segments_are_seen_also_when_escaped() {
        for path in ["/.", "/..", "/a/../b", "/a/./b", "/%2e", "/%2E%2e/b", "/.%2e", "/a/%2e./"] {
            let text = format!("https://app.example.com{path}");
            assert!(Uri::parse(&text).unwrap().has_dot_segments(), "{text}");
        }
        for path in ["", "/", "/...", "/a.b", "/.well-known/x", "/a..", "/%252e%252e/", "/?..", "/?a/../b"] {
            let text = format!("https://app.example.com{path}");
            assert!(!Uri::parse(&text).unwrap().has_dot_segments(), "{text}");
        }
    }

    #[test]
    fn t025_case_is_kept_as_written() {
        let upper = Uri::parse("HTTPS://APP.EXAMPLE.COM/CB").unwrap();
        assert_eq!((upper.scheme(), upper.host_text(), upper.path()), ("HTTPS", Some("APP.EXAMPLE.COM"), "/CB"));
        assert_ne!(upper, Uri::parse("https://app.example.com/CB").unwrap());
    }

    #[test]
    fn t026_ports_are_plain_numbers_and_kept_as_written() {
        assert_eq!(Uri::parse("https://app:443/cb").unwrap().port(), Some(443));
        assert_eq!(Uri::parse("https://app/cb").unwrap().port(), None);
        assert_eq!(Uri::parse("https://app:443/cb").unwrap().origin(), Uri::parse("https://app/cb").unwrap().origin());
        assert_eq!(Uri::parse("https://app:65535/").unwrap().port(), Some(65_535));
        for port in ["", "0", "00443", "080", "65536", "99999999999999999999", "+1", "-1", "4a", "80:80", "%38"] {
            assert_eq!(refused(&format!("https://app:{port}/cb")), Some(Malformed::Port), "{port:?}");
        }
    }

    #[test]
    fn t033_nothing_is_repaired() {
        for text in [
            "https://app\\@evil.com",
            "https:/\\evil.com",
            "/\tevil",
            "https://app /cb",
            " https://app/cb",
            "https://app/cb ",
            "https://app/cb\r\nSet-Cookie: x=1",
            "https://app/\0",
            "https://a\tpp/",
            "java\tscript:alert(1)",
            "https://app/\"onload=",
            "https://app/'",
            "https://app/<b>",
            "https://app/{x}",
            "https://app/a|b",
            "https://app/^",
            "https://app/`",
            "https://app/\u{7f}",
        ] {
            assert_eq!(refused(text), Some(Malformed::Character), "{text:?}");
        }
        for (text, malformed) in [
            ("", Malformed::Scheme),
            ("//evil.com", Malformed::Scheme),
            ("/cb", Malformed::Scheme),
            ("app.example.com", Malformed::Scheme),
            (":/cb", Malformed::Scheme),
            ("1a:/cb", Malformed::Scheme),
            ("a_b:/cb", Malformed::Scheme),
            ("https:", Malformed::Host),
            ("https:/evil.com", Malformed::Host),
            ("https:evil.com", Malformed::Host),
            ("https:///evil.com", Malformed::Host),
            ("HTTP:evil.com", Malformed::Host),
            ("https://?x", Malformed::Host),
            ("https://:80/", Malformed::Host),
            ("https://app/%", Malformed::Escape),
            ("https://app/%4", Malformed::Escape),
            ("https://app/%gg", Malformed::Escape),
            ("https://app/[x]", Malformed::Character),
            ("https://app/?a[]=1", Malformed::Character),
        ] {
            assert_eq!(refused(text), Some(malformed), "{text:?}");
        }
        let longest = format!("https://app/{}", "a".repeat(limits::URI_MAX - 12));
        assert!(Uri::parse(&longest).is_ok());
        assert_eq!(refused(&format!("{longest}a")), Some(Malformed::TooLong));
    }

    #[test]
    fn t034_a_host_is_ascii_and_shown_as_it_stands() {
        for text in [
            "https://\u{430}pp.example.com",
            "https://app\u{3002}example.com",
            "https://stra\u{df}e.example",
            "https://a\u{200d}b.example",
            "https://app/\u{e9}",
        ] {
            assert_eq!(refused(text), Some(Malformed::Character), "{text:?}");
        }
        let uri = Uri::parse("https://xn--pp-6kc.example.com/").unwrap();
        assert_eq!(uri.host_text(), Some("xn--pp-6kc.example.com"));
        assert_eq!(refused("https://xn--example-.com/"), Some(Malformed::Host), "would decode to example.com");
    }

    #[test]
    fn t041_brackets_hold_one_plain_address() {
        for (text, address) in [
            ("http://[::1]/cb", Ipv6Addr::LOCALHOST),
            ("http://[::1]:8080", Ipv6Addr::LOCALHOST),
            ("http://[2001:DB8::1]/", Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        ] {
            assert_eq!(Uri::parse(text).unwrap().host(), Some(Host::V6(address)), "{text}");
        }
        for text in [
            "http://[::1%25lo]/cb",
            "http://[fe80::1%25eth0]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::127.0.0.1]/",
            "http://[127.0.0.1]/",
            "http://[::1",
            "http://[::1/cb",
            "http://::1]/",
            "http://::1/",
            "http://[::1]evil",
            "http://[::1]evil.com/",
            "http://[::1].evil.com/",
            "http://[]/",
            "http://[[::1]]/",
            "http://a[::1]/",
            "http://[v1.x]/",
            "http://[1::2::3]/",
            "http://[:::]/",
        ] {
            let found = refused(text);
            assert!(matches!(found, Some(Malformed::Host | Malformed::Port)), "{text}: {found:?}");
        }
        assert_eq!(
            Uri::parse("http://[::FFFF:7f00:1]:80/").unwrap().origin().as_deref(),
            Some("http://[::ffff:7f00:1]")
        );
    }

    #[test]
    fn hosts_are_names_or_plain_addresses() {
        for host in ["a", "localhost", "app.example.com", "a-b.c1", "1a.2b", "3com.example", "0x.example", "a--b.c"] {
            assert_eq!(super::host(host), Ok(Host::Name(host)), "{host}");
        }
        assert_eq!(super::host("127.0.0.1"), Ok(Host::V4(Ipv4Addr::LOCALHOST)));
        for host in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a_b",
            "a%41",
            "a*",
            "*.example.com",
            "a b",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "0x7f.0.0.1",
            "0x7f000001",
            "2130706433",
            "256.0.0.1",
            "1.2.3.4.5",
            "a.1",
            "a.0x1",
            "a.0X",
            "0x",
            "127.0.0.1.",
            "!",
        ] {
            assert_eq!(super::host(host), Err(Malformed::Host), "{host}");
        }
        let label = "a".repeat(limits::HOST_LABEL_MAX);
        let longest = [label.as_str(), &label, &label, &"a".repeat(61)].join(".");
        assert_eq!(longest.len(), limits::HOST_MAX);
        assert!(super::host(&longest).is_ok());
        assert_eq!(super::host(&format!("{longest}a")), Err(Malformed::Host));
        assert_eq!(super::host(&format!("{label}a.com")), Err(Malformed::Host));
    }

    #[test]
    fn t027_t028_loopback_is_these_hosts_and_no_others() {
        for text in [
            "http://127.0.0.1/cb",
            "http://127.9.9.9:51004/cb",
            "http://[::1]:1/",
            "http://localhost/",
            "http://LOCALHOST:80/",
        ] {
            assert!(Uri::parse(text).unwrap().is_loopback_host(), "{text}");
        }
        for text in [
            "http://localhost.evil.com/",
            "http://127.0.0.1.evil.com/",
            "http://a.localhost/",
            "http://128.0.0.1/",
            "http://[::2]/",
            "http://0.0.0.0/",
            "http://[::ffff:7f00:1]/",
            "myapp:/localhost",
            "myapp:///localhost",
        ] {
            assert!(!Uri::parse(text).unwrap().is_loopback_host(), "{text}");
        }
    }

    #[test]
    fn p11_debug_prints_no_query_no_fragment_no_password() {
        let uri = Uri::parse("https://u:hush@app/hush?code=hush#hush").unwrap();
        assert_eq!(format!("{uri:?}"), "Uri(https:..app)");
    }

    proptest! {
        #[test]
        fn the_parts_put_together_are_the_text(
            text in "[a-z]{1,5}:(//)?([a-z.]{0,9}@)?([a-z0-9.-]{0,9}|\\[[0-9a-f:]{2,9}\\])(:[0-9]{0,5})?(/[a-z.%2]{0,9})?(\\?[a-z&=]{0,9})?(#[a-z]{0,4})?"
        ) {
            if let Ok(uri) = Uri::parse(&text) {
                let mut again = format!("{}:", uri.scheme());
                if let Some(authority) = uri.authority() {
                    again.push_str("//");
                    again.push_str(authority);
                }
                again.push_str(uri.path());
                again.extend(uri.query().map(|query| format!("?{query}")));
                again.extend(uri.fragment().map(|fragment| format!("#{fragment}")));
                prop_assert_eq!(again, text);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = Uri::parse(&text);
            let _ = super::host(&text);
        }
    }
}
