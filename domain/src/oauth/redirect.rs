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
mod tests;
