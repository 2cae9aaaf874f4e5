//! Redirect URIs: what may be registered, and the one matcher.
//!
//! RFC 6749 section 3.1.2, OAuth 2.1 sections 4.1.1 and 8.4, RFC 8252 sections 7 and 8.3. A redirect URI is judged once when
//! it is registered and again at every use, by today's policy. After that, strings are compared and nothing is normalised: the
//! only freedom is the port of a program on the person's own machine.

use crate::hash;
use crate::limits::{CONNECTION_ID_MAX, REDIRECT_MAX};
use crate::oauth::fault::Fault;
use crate::oauth::known_clients::{self, Shape};
use crate::wire::form::{self, Form};
use crate::wire::uri::{Host, Uri};

/// A redirect URI as grants remember it: its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectHash(pub [u8; 32]);

impl RedirectHash {
    /// Of a redirect URI as it stands in requests.
    #[must_use]
    pub fn of(uri: &str) -> Self {
        Self(hash::sha256(uri.as_bytes()))
    }
}

/// Which redirect URIs clients may register, beyond `https`.
#[derive(Debug, Clone)]
pub struct RedirectPolicy {
    /// Whether `http` to the person's own machine is allowed.
    pub loopback: bool,
    /// Private-use schemes, in lower case, whose redirect URIs may be registered by anybody.
    pub schemes: Vec<String>,
    /// `https` redirect URIs that may be registered by anybody, compared exactly.
    pub uris: Vec<String>,
}

impl Default for RedirectPolicy {
    fn default() -> Self {
        Self { loopback: true, schemes: Vec::new(), uris: Vec::new() }
    }
}

impl RedirectPolicy {
    /// Whether a code that goes there goes to a known client, to the person's own machine, or where the operator has said.
    #[must_use]
    pub fn trusts(&self, redirect: &Redirect) -> bool {
        let uri = redirect.as_str();
        match redirect.kind {
            Kind::Loopback => true,
            Kind::Https => self.uris.iter().any(|own| own == uri) || is_known(uri),
            Kind::App => self.schemes.iter().any(|own| own == scheme_of(uri)) || is_known(uri),
        }
    }
}

/// Where a redirect URI leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To a service on the web.
    Https,
    /// To a program on the person's own machine that listens on a port (RFC 8252 section 7.3).
    Loopback,
    /// To a program that the operating system knows by a scheme of its own (RFC 8252 section 7.1).
    App,
}

/// A redirect URI that has been judged: a client's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    uri: Box<str>,
    kind: Kind,
    /// Whether the id of a connection is still to follow.
    connection: bool,
}

impl Redirect {
    /// Judges a redirect URI that a client registers for itself.
    ///
    /// # Errors
    /// [`Fault::RedirectUri`] with the rule that it breaks.
    pub fn register(uri: &str, policy: &RedirectPolicy) -> Result<Self, Fault> {
        let kind = judge(uri, |scheme| {
            known_clients::has_scheme(scheme) || policy.schemes.iter().any(|allowed| allowed == scheme)
        })?;
        Self::of(uri, kind, policy, false)
    }

    /// Judges a redirect URI that the operator gives to a client: any private-use scheme, and the place of a known client's
    /// connections, which stands for each of them.
    ///
    /// # Errors
    /// [`Fault::RedirectUri`] with the rule that it breaks.
    pub fn configured(uri: &str, policy: &RedirectPolicy) -> Result<Self, Fault> {
        let kind = judge(uri, |_| true)?;
        let connection = known_clients::shapes().any(|shape| matches!(shape, Shape::Connection(place) if place == uri));
        Self::of(uri, kind, policy, connection)
    }

    fn of(uri: &str, kind: Kind, policy: &RedirectPolicy, connection: bool) -> Result<Self, Fault> {
        if kind == Kind::Loopback && !policy.loopback {
            return Err(Fault::RedirectUri("redirects to the person's own machine are not allowed here"));
        }
        Ok(Self { uri: uri.into(), kind, connection })
    }

    /// The URI as registered.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.uri
    }

    /// Where it leads.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// THE matcher: the same string, or on the person's own machine the same but for the port (OAuth 2.1 section 8.4.2). That
    /// holds for the name `localhost` too, which clients use, and whether or not a port was registered.
    #[must_use]
    pub fn matches(&self, presented: &str) -> Option<CheckedRedirect> {
        let matched = match self.kind {
            _ if presented.len() > REDIRECT_MAX => false,
            _ if self.connection => is_connection(&self.uri, presented),
            Kind::Loopback => *self.uri == *presented || differ_in_port_only(&self.uri, presented),
            Kind::Https | Kind::App => *self.uri == *presented,
        };
        matched.then(|| CheckedRedirect { uri: presented.into(), kind: self.kind })
    }

    /// What `redirect_uri` means where it is left out: this URI, if it is one whole URI on the web.
    #[must_use]
    pub fn alone(&self) -> Option<CheckedRedirect> {
        (self.kind == Kind::Https && !self.connection)
            .then(|| CheckedRedirect { uri: self.uri.clone(), kind: self.kind })
    }
}

/// A redirect URI of a request that is one of the client's: the only kind that answers are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRedirect {
    uri: Box<str>,
    kind: Kind,
}

impl CheckedRedirect {
    /// Out of a sealed flow of our own, which only ever held a checked one. What holds for every redirect URI is judged again.
    #[must_use]
    pub fn reopened(uri: &str) -> Option<Self> {
        judge(uri, |_| true).ok().map(|kind| Self { uri: uri.into(), kind })
    }

    /// The URI as the client sent it.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.uri
    }

    /// Where it leads: [`Kind::App`] takes a page with a link, the others a redirect.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// As a grant remembers it.
    #[must_use]
    pub fn hash(&self) -> RedirectHash {
        RedirectHash::of(&self.uri)
    }

    /// The URI with these parameters appended, for `Location` or a link (RFC 6749 sections 4.1.2 and 4.1.2.1).
    #[must_use]
    pub fn with<'a>(&self, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        form::with_query(&self.uri, parameters)
    }

    /// What a person is told about where it leads: the host, names outside ASCII in their `xn--` form; else the scheme.
    #[must_use]
    pub fn place(&self) -> String {
        let host =
            Uri::parse(&self.uri).ok().filter(Uri::is_web).and_then(|uri| uri.host().map(|host| host.to_string()));
        host.unwrap_or_else(|| scheme_of(&self.uri).to_owned())
    }

    /// What to call the program that opens it, where its scheme is one of its own.
    #[must_use]
    pub fn app_name(&self) -> Option<String> {
        (self.kind == Kind::App).then(|| known_clients::app_name(scheme_of(&self.uri)))
    }
}

/// Whether a scheme may be a private-use one, if somebody says so. The others are known to run, read or send something.
#[must_use]
pub fn may_be_private_use(scheme: &str) -> bool {
    let shape = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'));
    shape && !NEVER.contains(&scheme) && !scheme.starts_with("ms-")
}

/// Schemes that no configuration makes a redirect of.
const NEVER: &[&str] = &[
    "about",
    "blob",
    "cid",
    "chrome",
    "chrome-extension",
    "content",
    "data",
    "dict",
    "edge",
    "file",
    "filesystem",
    "ftp",
    "ftps",
    "git",
    "gopher",
    "http",
    "https",
    "intent",
    "jar",
    "javascript",
    "ldap",
    "ldaps",
    "mailto",
    "moz-extension",
    "resource",
    "res",
    "search-ms",
    "sftp",
    "shell",
    "sms",
    "smb",
    "ssh",
    "tel",
    "telnet",
    "urn",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// The parameters of an answer: one of these in a registered query would be there twice (OAuth 2.1 section 4.1.2, RFC 9207).
const ANSWERS: &[&str] = &["code", "state", "iss", "error", "error_description", "error_uri", "response"];

// The refusal says the number in words of its own.
const _: () = assert!(REDIRECT_MAX == 400);

/// What holds for every redirect URI, whoever registered it.
fn judge(text: &str, is_allowed_scheme: impl Fn(&str) -> bool) -> Result<Kind, Fault> {
    if text.len() > REDIRECT_MAX {
        return Err(Fault::RedirectUri("it is longer than 400 characters"));
    }
    let uri = Uri::parse(text).map_err(|_| Fault::RedirectUri("it is not an absolute URI in plain ASCII"))?;
    if uri.fragment().is_some() {
        return Err(Fault::RedirectUri("it has a fragment"));
    }
    if uri.userinfo().is_some() {
        return Err(Fault::RedirectUri("it has a user name in front of its host"));
    }
    if uri.has_dot_segments() {
        return Err(Fault::RedirectUri("its path has a dot segment"));
    }
    if !query_is_free(uri.query().unwrap_or_default()) {
        return Err(Fault::RedirectUri("its query has a parameter that belongs to the answer"));
    }
    // Schemes are compared as they are written, so that there is one spelling of each.
    match uri.scheme() {
        "https" if is_unspecified(&uri) => Err(Fault::RedirectUri("its host is the unspecified address")),
        "https" => Ok(Kind::Https),
        "http" if uri.is_loopback_host() => Ok(Kind::Loopback),
        "http" => Err(Fault::RedirectUri("http is for localhost, 127.0.0.0/8 and [::1] only")),
        scheme if may_be_private_use(scheme) && is_allowed_scheme(scheme) => Ok(Kind::App),
        _ => Err(Fault::RedirectUri("its scheme is not allowed here")),
    }
}

fn query_is_free(query: &str) -> bool {
    let Ok(form) = Form::parse(query) else { return false };
    form.names().all(|name| !ANSWERS.iter().any(|answer| answer.eq_ignore_ascii_case(name)))
}

fn is_unspecified(uri: &Uri<'_>) -> bool {
    match uri.host() {
        Some(Host::V4(address)) => address.is_unspecified(),
        Some(Host::V6(address)) => address.is_unspecified(),
        Some(Host::Name(_)) | None => false,
    }
}

/// Whether a URI belongs to a known client, loopback apart.
fn is_known(uri: &str) -> bool {
    known_clients::shapes().any(|shape| match shape {
        Shape::Exact(own) => own == uri,
        Shape::Connection(place) => is_connection(place, uri),
        Shape::Loopback => false,
    })
}

fn is_connection(place: &str, uri: &str) -> bool {
    uri.strip_prefix(place).is_some_and(|id| {
        (1..=CONNECTION_ID_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    })
}

fn differ_in_port_only(registered: &str, presented: &str) -> bool {
    let (Ok(own), Ok(other)) = (Uri::parse(registered), Uri::parse(presented)) else { return false };
    own.scheme() == other.scheme()
        && own.host_text() == other.host_text()
        && own.path() == other.path()
        && own.query() == other.query()
        && other.userinfo().is_none()
        && other.fragment().is_none()
}

fn scheme_of(uri: &str) -> &str {
    uri.split_once(':').map_or(uri, |(scheme, _)| scheme)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn register(uri: &str) -> Result<Redirect, Fault> {
        Redirect::register(uri, &RedirectPolicy::default())
    }

    fn rule(uri: &str) -> &'static str {
        match register(uri) {
            Err(Fault::RedirectUri(rule)) => rule,
            other => panic!("{uri:?}: {other:?}"),
        }
    }

    fn matches(registered: &str, presented: &str) -> bool {
        register(registered).unwrap().matches(presented).is_some()
    }

    #[test]
    fn i_1_what_clients_really_register_is_accepted() {
        for (uri, kind) in [
            ("https://claude.ai/api/mcp/auth_callback", Kind::Https),
            ("https://chatgpt.com/connector/oauth/AbC-12_3", Kind::Https),
            ("https://vscode.dev/redirect", Kind::Https),
            ("http://127.0.0.1/", Kind::Loopback),
            ("http://127.0.0.1:33418/", Kind::Loopback),
            ("http://127.0.0.1:33418", Kind::Loopback),
            ("http://localhost/callback", Kind::Loopback),
            ("http://localhost:8787/callback", Kind::Loopback),
            ("http://[::1]:51004/oauth/callback?server=a", Kind::Loopback),
            ("http://127.9.9.9/cb", Kind::Loopback),
            ("cursor://anysphere.cursor-mcp/oauth/callback", Kind::App),
            ("https://app.example/cb?tenant=a&tenant=b", Kind::Https),
        ] {
            assert_eq!(register(uri).map(|redirect| redirect.kind()), Ok(kind), "{uri}");
        }
    }

    #[test]
    fn t022_t023_t026_t030_t031_t033_t034_t041_what_may_not_be_registered() {
        let scheme = "its scheme is not allowed here";
        let unreadable = "it is not an absolute URI in plain ASCII";
        let http = "http is for localhost, 127.0.0.0/8 and [::1] only";
        for (uri, expected) in [
            // T022
            ("https://app.example.com@evil.com/cb", "it has a user name in front of its host"),
            ("https://app.example.com:443@evil.com/", "it has a user name in front of its host"),
            ("http://localhost@evil.com/callback", "it has a user name in front of its host"),
            ("http://u:p@localhost/callback", "it has a user name in front of its host"),
            ("cursor://u@anysphere.cursor-mcp/oauth/callback", "it has a user name in front of its host"),
            // T023
            ("https://app/cb#x", "it has a fragment"),
            ("https://app/cb#", "it has a fragment"),
            ("cursor://anysphere.cursor-mcp/oauth/callback#x", "it has a fragment"),
            // T024
            ("https://app.example.com/a/../evil", "its path has a dot segment"),
            ("https://app.example.com/%2e%2E/evil", "its path has a dot segment"),
            ("http://127.0.0.1/./cb", "its path has a dot segment"),
            // T026
            ("https://app:/cb", unreadable),
            ("https://app:0/cb", unreadable),
            ("https://app:65536/cb", unreadable),
            ("https://app:00443/cb", unreadable),
            // T030
            ("javascript:alert(1)", scheme),
            ("JAVASCRIPT:alert(1)", scheme),
            ("java\tscript:alert(1)", unreadable),
            ("data:text/html,x", scheme),
            ("vbscript:x", scheme),
            ("file:///etc/passwd", scheme),
            ("blob:https://a/b", scheme),
            ("about:blank", scheme),
            ("ws://localhost/", scheme),
            ("ftp://localhost/", scheme),
            ("chrome-extension://abc/cb", scheme),
            ("intent://x", scheme),
            // T031
            ("com.example.app:/cb", scheme),
            ("myapp://cb", scheme),
            ("app:/cb", scheme),
            ("Cursor://anysphere.cursor-mcp/oauth/callback", scheme),
            ("HTTPS://app.example.com/cb", scheme),
            // T033, T034, T041
            ("https://app\\@evil.com", unreadable),
            ("https:/\\evil.com", unreadable),
            ("/\tevil", unreadable),
            ("https://app /cb", unreadable),
            ("https://app/cb\r\nSet-Cookie:x", unreadable),
            ("https://\u{430}pp.example.com", unreadable),
            ("https://app\u{3002}example.com", unreadable),
            ("http://[::1%25lo]/cb", unreadable),
            ("http://[::127.0.0.1]/cb", unreadable),
            ("http://[::1/cb", unreadable),
            ("http://[::1]evil/cb", unreadable),
            ("", unreadable),
            ("/cb", unreadable),
            ("//app.example/cb", unreadable),
            // AS-20
            ("http://app.example.com/cb", http),
            ("http://localhost.evil.com/cb", http),
            ("http://evil.com/localhost", http),
            ("http://0.0.0.0/cb", http),
            ("http://192.168.0.1/cb", http),
            ("http://[::ffff:7f00:1]/cb", http),
            ("https://0.0.0.0/cb", "its host is the unspecified address"),
            ("https://[::]/cb", "its host is the unspecified address"),
        ] {
            assert_eq!(rule(uri), expected, "{uri:?}");
        }
        for uri in ["https://*.example.com/cb", "https://a(b|c).com"] {
            assert_eq!(rule(uri), unreadable, "T037: {uri}");
        }
        let long = format!("https://app.example/{}", "a".repeat(REDIRECT_MAX));
        assert_eq!(rule(&long), "it is longer than 400 characters");
        let no_loopback = RedirectPolicy { loopback: false, ..RedirectPolicy::default() };
        assert!(Redirect::register("http://localhost/cb", &no_loopback).is_err());
        assert!(Redirect::configured("http://localhost/cb", &no_loopback).is_err());
    }

    #[test]
    fn t036_r33_a_query_leaves_the_answer_s_parameters_alone() {
        for query in ["code=x", "state=", "a=1&iss=x", "error", "%63ode=x", "error_description=x", "Code=x", "a=%zz"] {
            assert!(register(&format!("https://app/cb?{query}")).is_err(), "{query}");
        }
        for query in ["", "codex=1", "a=code", "x=1&x=1", "tenant=a%26code=b"] {
            assert!(register(&format!("https://app/cb?{query}")).is_ok(), "{query}");
        }
    }

    #[test]
    fn t021_t022_t023_t025_t026_t033_t035_t037_only_the_same_string_matches() {
        let registered = "https://app.example.com/cb";
        assert!(matches(registered, registered));
        for presented in [
            "https://app.example.com.evil.com/cb",
            "https://app.example.com/cb/../evil",
            "https://app.example.com/cb/",
            "https://app.example.com/cb?x",
            "https://app.example.com/cb?",
            "https://app.example.com/cb#",
            "https://app.example.com/cb%23",
            "https://app.example.com/cbX",
            "https://app.example.com/c",
            "https://app.example.com@evil.com/cb",
            "HTTPS://APP.EXAMPLE.COM/cb",
            "https://app.example.com/CB",
            "https://app.example.com:443/cb",
            "https://app.example.com:8443/cb",
            "https://app.example.com:/cb",
            "http://app.example.com/cb",
            "https://app.example.com\\@evil.com/cb",
            "https://app.example.com/%63b",
            "https://app.example.com./cb",
            " https://app.example.com/cb",
            "https://app.example.com/cb ",
            "",
        ] {
            assert!(!matches(registered, presented), "{presented:?}");
        }
        let query = "https://a.example/cb?x=1&y=2";
        assert!(matches(query, query));
        for presented in
            ["https://a.example/cb?x=1", "https://a.example/cb?y=2&x=1", "https://a.example/cb?x=1&y=2&z=3"]
        {
            assert!(!matches(query, presented), "{presented}");
        }
        assert!(matches("https://app.example.com/*", "https://app.example.com/*"));
        assert!(!matches("https://app.example.com/*", "https://app.example.com/x"));
        let app = "cursor://anysphere.cursor-mcp/oauth/callback";
        assert!(matches(app, app));
        for presented in
            ["cursor://anysphere.cursor-mcp:99/oauth/callback", "CURSOR://anysphere.cursor-mcp/oauth/callback"]
        {
            assert!(!matches(app, presented), "{presented}");
        }
    }

    #[test]
    fn t027_t029_i_2_i_3_on_loopback_the_port_is_free_and_nothing_else() {
        for (registered, presented) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"),
            ("http://localhost/callback", "http://localhost:8080/callback"),
            ("http://[::1]/cb", "http://[::1]:1/cb"),
            ("http://127.0.0.1:33418/", "http://127.0.0.1:59656/"),
            ("http://127.0.0.1:33418/", "http://127.0.0.1/"),
            ("http://localhost:8787/callback?a=b", "http://localhost:65535/callback?a=b"),
            ("http://127.3.2.1:1/cb", "http://127.3.2.1:2/cb"),
        ] {
            assert!(matches(registered, presented), "{registered} {presented}");
        }
        for (registered, presented) in [
            ("http://127.0.0.1/cb", "https://127.0.0.1:51004/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.2:51004/cb"),
            ("http://127.0.0.1/cb", "http://localhost:51004/cb"),
            ("http://localhost/cb", "http://127.0.0.1/cb"),
            ("http://localhost/cb", "http://LOCALHOST:1/cb"),
            ("http://127.0.0.1/", "http://127.0.0.1:1"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb/"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb?x"),
            ("http://127.0.0.1/cb?x", "http://127.0.0.1:51004/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb#x"),
            ("http://127.0.0.1/cb", "http://u@127.0.0.1:51004/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:051/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:65536/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:80@evil.com/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.com:80/cb"),
            ("http://127.0.0.1/cb", "http://127.1:80/cb"),
            ("http://[::1]/cb", "http://[0:0:0:0:0:0:0:1]:80/cb"),
            ("https://localhost/cb", "https://localhost:1/cb"),
        ] {
            assert!(!matches(registered, presented), "{registered} {presented}");
        }
    }

    #[test]
    fn i_23_only_the_operator_can_stand_a_place_for_its_connections() {
        let place = "https://chatgpt.com/connector/oauth/";
        let policy = RedirectPolicy::default();
        let configured = Redirect::configured(place, &policy).unwrap();
        assert!(configured.matches("https://chatgpt.com/connector/oauth/aB3-_x").is_some());
        let long = format!("{place}{}", "a".repeat(CONNECTION_ID_MAX + 1));
        for other in [
            place,
            "https://chatgpt.com/connector/oauth/a/b",
            "https://chatgpt.com/connector/oauth/a?b",
            "https://chatgpt.com/connector/oauth/a#b",
            "https://chatgpt.com/connector/oauth/..",
            "https://chatgpt.com/connector/oauth/%2e%2e",
            "https://chatgpt.com.evil.com/connector/oauth/a",
            "http://chatgpt.com/connector/oauth/a",
            &long,
        ] {
            assert!(configured.matches(other).is_none(), "{other}");
        }
        assert_eq!(configured.alone(), None);
        let registered = register(place).unwrap();
        assert!(registered.matches("https://chatgpt.com/connector/oauth/a").is_none());
        assert!(!policy.trusts(&registered));
        let elsewhere = Redirect::configured("https://app.example/oauth/", &policy).unwrap();
        assert!(elsewhere.matches("https://app.example/oauth/a").is_none());
    }

    #[test]
    fn t031_private_use_schemes_need_somebody_s_word() {
        let policy = RedirectPolicy {
            schemes: vec!["myapp".into(), "javascript".into(), "ms-msdt".into()],
            uris: vec!["https://own.example/cb".into()],
            loopback: true,
        };
        let app = Redirect::register("myapp:/cb", &policy).unwrap();
        assert!(policy.trusts(&app) && !RedirectPolicy::default().trusts(&app));
        assert!(Redirect::configured("com.example.app:/cb", &RedirectPolicy::default()).is_ok());
        for never in ["javascript:alert(1)", "ms-msdt:/id", "data:,x", "view-source:x"] {
            assert!(Redirect::register(never, &policy).is_err(), "{never}");
            assert!(Redirect::configured(never, &policy).is_err(), "{never}");
            assert_eq!(CheckedRedirect::reopened(never), None, "{never}");
        }
        for (uri, trusted) in [
            ("https://own.example/cb", true),
            ("https://own.example/cb/", false),
            ("https://claude.ai/api/mcp/auth_callback", true),
            ("https://claude.ai/api/mcp/auth_callback?x", false),
            ("https://chatgpt.com/connector/oauth/abc", true),
            ("https://chatgpt.com/connector/oauth/abc/d", false),
            ("https://evil.example/cb", false),
            ("http://localhost:1/anything", true),
            ("cursor://anysphere.cursor-mcp/oauth/callback", true),
            ("cursor://other/oauth/callback", false),
        ] {
            assert_eq!(policy.trusts(&Redirect::register(uri, &policy).unwrap()), trusted, "{uri}");
        }
    }

    #[test]
    fn an_answer_keeps_what_is_there_and_a_person_is_told_where_it_goes() {
        let checked = |uri: &str| register(uri).unwrap().matches(uri).unwrap();
        let web = checked("https://xn--pp-fka.Example:8443/cb?x=1");
        assert_eq!(
            web.with([("code", "a b"), ("state", "&")]),
            "https://xn--pp-fka.Example:8443/cb?x=1&code=a%20b&state=%26"
        );
        assert_eq!((web.place(), web.app_name()), ("xn--pp-fka.example".into(), None));
        let app = checked("cursor://anysphere.cursor-mcp/oauth/callback");
        assert_eq!(app.with([("error", "x")]), "cursor://anysphere.cursor-mcp/oauth/callback?error=x");
        assert_eq!((app.place(), app.app_name()), ("cursor".into(), Some("Cursor".into())));
        assert_eq!(checked("http://[::1]:1/").place(), "[::1]");
        assert_eq!(CheckedRedirect::reopened(web.as_str()), Some(web));
        assert_eq!(CheckedRedirect::reopened(app.as_str()), Some(app));
    }

    /// The matcher once more, on bare strings.
    fn reference(registered: &str, presented: &str) -> bool {
        let rest = |uri: &str, host: &str| {
            let rest = uri.strip_prefix(host)?;
            let Some(port) = rest.strip_prefix(':') else {
                return (rest.is_empty() || rest.starts_with(['/', '?'])).then(|| rest.to_owned());
            };
            let end = port.find(['/', '?']).unwrap_or(port.len());
            let fits = !port.starts_with(['0', '+']) && port[..end].parse::<u16>().is_ok();
            fits.then(|| port[end..].to_owned())
        };
        let hosts = ["http://localhost", "http://LOCALHOST", "http://127.0.0.1", "http://127.0.0.2", "http://[::1]"];
        registered == presented
            || hosts.iter().any(|host| rest(registered, host).is_some_and(|own| rest(presented, host) == Some(own)))
    }

    fn any_redirect() -> impl Strategy<Value = String> {
        let host = prop_oneof![
            Just("localhost"),
            Just("127.0.0.1"),
            Just("127.0.0.2"),
            Just("[::1]"),
            Just("LOCALHOST"),
            Just("localhost.evil"),
            Just("u@localhost"),
            Just("app.example"),
        ];
        let port = prop_oneof![Just(""), Just(":1"), Just(":80"), Just(":0"), Just(":070"), Just(":65536"), Just(":")];
        let tail = prop_oneof![
            Just(""),
            Just("/"),
            Just("/cb"),
            Just("/cb/"),
            Just("/cb?x=1"),
            Just("?x=1"),
            Just("/cb#f"),
            Just("/c b")
        ];
        let scheme = prop_oneof![Just("http"), Just("http"), Just("https"), Just("HTTP"), Just("cursor")];
        (scheme, host, port, tail).prop_map(|(scheme, host, port, tail)| format!("{scheme}://{host}{port}{tail}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn f03_the_matcher_is_its_reference(registered in any_redirect(), presented in any_redirect()) {
            if let Ok(redirect) = register(&registered) {
                let found = redirect.matches(&presented);
                prop_assert_eq!(found.is_some(), reference(&registered, &presented));
                if let Some(checked) = found {
                    prop_assert_eq!(checked.as_str(), presented);
                }
            }
        }
    }
}
