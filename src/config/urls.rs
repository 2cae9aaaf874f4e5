//! The URLs of a configuration, each with the rules of what it is for.

use super::complaint::{Wrong, wrong};
use super::keys::Text;
use super::values::{texts, unless};
use portcullis_domain::limits::{REDIRECT_MAX, RESOURCE_PATH_MAX, SOCKET_PATH_MAX};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::redirect::{Kind, Redirect, RedirectPolicy, may_be_private_use};
use portcullis_domain::wire::uri::{Host, Uri, host};
use serde_json::{Value as Json, json};

/// Where clients reach the gate: the issuer, byte for byte (RFC 8414 section 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    origin: String,
    https: bool,
}

impl BaseUrl {
    /// As configured: no trailing slash, query, fragment or userinfo, in the one spelling that nobody rewrites.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port as a browser sends them in `Origin`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What follows the origin: empty, or a path with a leading and without a trailing slash.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.strip_prefix(self.origin.as_str()).unwrap_or_default()
    }

    /// Whether browsers reach it over TLS; if not, it is on loopback.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.https
    }
}

impl Text for BaseUrl {
    fn shape() -> Json {
        json!({ "format": "uri", "pattern": "^https?://[^?#@]*[^/?#@]$" })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let uri = own(text)?;
        let origin = uri.origin().ok_or(NOT_A_URL)?;
        if uri.path().ends_with('/') {
            return Err(wrong("ends with a slash", "remove the slash at the end"));
        }
        if !is_plain_path(uri.path()) {
            return Err(ODD_PATH);
        }
        // Clients compare the issuer byte for byte, and their URL library rewrites every other spelling.
        if !text.starts_with(&origin) || text.len() != origin.len().saturating_add(uri.path().len()) {
            return Err(wrong(
                "is not in the spelling that every client keeps",
                "write scheme and host in lower case, and no port if it is the scheme's own",
            ));
        }
        Ok(Self { text: text.to_owned(), origin, https: uri.has_scheme("https") })
    }
}

/// The issuer of the identity provider, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerUrl(String);

impl IssuerUrl {
    /// As configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for IssuerUrl {
    fn shape() -> Json {
        json!({ "format": "uri", "pattern": "^https?://[^?#@]+$" })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        // A slash at the end is part of some providers' names.
        own(text).map(|_| Self(text.to_owned()))
    }
}

/// The protected MCP server: `http://`, `https://`, or `unix:` with the path of a socket and, behind a colon, of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl {
    text: String,
    /// Where in the text its path begins.
    path: usize,
    kind: UpstreamKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum UpstreamKind {
    Web { https: bool, host: String, port: u16 },
    Socket,
    Embedded,
}

impl UpstreamUrl {
    /// As configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host in lower case, an IPv6 address in brackets, and its port, also where it is not written. Nothing for a socket.
    #[must_use]
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        match &self.kind {
            UpstreamKind::Web { host, port, .. } => Some((host, *port)),
            UpstreamKind::Socket | UpstreamKind::Embedded => None,
        }
    }

    /// The path of its socket, if it is one.
    #[must_use]
    pub fn socket(&self) -> Option<&str> {
        let end = self.path.saturating_sub(1);
        if self.kind == UpstreamKind::Socket { self.text.get("unix:".len()..end) } else { None }
    }

    /// Its path, empty where none is written.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(self.path..).unwrap_or_default()
    }

    /// Whether it is a service of the program that embeds the gate.
    #[must_use]
    pub const fn is_embedded(&self) -> bool {
        matches!(self.kind, UpstreamKind::Embedded)
    }

    /// Whether it is reached over TLS.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        matches!(self.kind, UpstreamKind::Web { https: true, .. })
    }
}

impl Text for UpstreamUrl {
    fn shape() -> Json {
        json!({ "pattern": "^(https?://[^?#@]+|unix:/[^?#@]+|embedded)$" })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "embedded" {
            return Ok(Self { text: text.to_owned(), path: text.len(), kind: UpstreamKind::Embedded });
        }
        if let Some(rest) = text.strip_prefix("unix:") {
            let odd = |byte: u8| byte.is_ascii_control() || b"?#@".contains(&byte);
            let socket = rest.rsplit_once(":/").map_or(rest, |(socket, _)| socket);
            let path = "unix:".len().saturating_add(socket.len()).saturating_add(1);
            if !socket.starts_with('/') || socket.len() > SOCKET_PATH_MAX || rest.bytes().any(odd) {
                return Err(wrong("is not the path of a socket", "write it as unix:/run/mcp.sock:/mcp"));
            }
            return Ok(Self { text: text.to_owned(), path, kind: UpstreamKind::Socket });
        }
        let uri = bare(text)?;
        let https = uri.has_scheme("https");
        if !https && uri.scheme() != "http" {
            return Err(wrong(
                "is neither an http nor an https URL",
                "write it as http://127.0.0.1:3000/mcp, or as unix:/run/mcp.sock:/mcp",
            ));
        }
        let (host, port) = uri.host().zip(uri.effective_port()).ok_or(NOT_A_URL)?;
        if uri.has_dot_segments() {
            return Err(ODD_PATH);
        }
        let path = text.len().saturating_sub(uri.path().len());
        Ok(Self { text: text.to_owned(), path, kind: UpstreamKind::Web { https, host: host.to_string(), port } })
    }
}

/// A web page's origin (RFC 6454), as a browser sends it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// Scheme, host and port in a browser's spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for Origin {
    fn shape() -> Json {
        json!({ "pattern": "^https?://[^/?#@*]+$" })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        const NOT_ONE: Wrong =
            wrong("is not an origin", "write scheme, host and port only, as https://app.example.com");
        if text == "*" || text == "null" || text.contains('*') {
            return Err(wrong("would let every web page in", "name each origin, as https://app.example.com"));
        }
        let uri = own(text)?;
        if uri.origin().as_deref() != Some(text) {
            return Err(NOT_ONE);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Where a client is sent back to: exact, without wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUrl(Redirect);

impl RedirectUrl {
    /// As configured.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Where it leads.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.0.kind()
    }
}

impl Text for RedirectUrl {
    fn shape() -> Json {
        json!({ "format": "uri", "maxLength": REDIRECT_MAX })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        unless(text.contains('*'), "contains a wildcard, and redirect URIs are compared exactly", "list each one")?;
        // Whether loopback is allowed is a key of its own, which is judged beside this one.
        match Redirect::configured(text, &RedirectPolicy { loopback: true, ..RedirectPolicy::default() }) {
            Ok(redirect) => Ok(Self(redirect)),
            Err(Fault::RedirectUri(rule)) => Err(wrong(rule, BETTER_REDIRECT)),
            Err(_) => Err(wrong("is not a redirect URI", BETTER_REDIRECT)),
        }
    }
}

const BETTER_REDIRECT: &str = "write an https URL, http on loopback, or a private-use scheme of the program's own";

texts! {
    /// A redirect URI that may register itself: https only, exact.
    pub struct HttpsRedirect: json!({ "format": "uri", "pattern": "^https://[^#@*]+$", "maxLength": REDIRECT_MAX }), |text| {
        let other = RedirectUrl::parse(text)?.kind() != Kind::Https;
        unless(other, "is not an https URL", "write an https URL; loopback has a switch of its own")
    };

    /// A domain: a host name in lower case, which stands for itself and everything below it.
    pub struct Domain: json!({ "pattern": r"^[a-z0-9-]+(\.[a-z0-9-]+)*$" }), |text| {
        let sound = matches!(host(text), Ok(Host::Name(_))) && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        unless(!sound, "is not a host name", "write it as example.com: lower case, no port, no wildcard; it covers what is below it")
    };

    /// A scheme that a native program may take for itself (RFC 8252 section 7.1), in lower case.
    pub struct Scheme: json!({ "pattern": "^[a-z][a-z0-9+.-]*$" }), |text| {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
        let odd = !text.starts_with(|first: char| first.is_ascii_lowercase()) || !text.bytes().all(letters);
        unless(odd, "is not a URI scheme in lower case", "write it as cursor or com.example.app, without ://")?;
        unless(!may_be_private_use(text), "is a scheme that no program can have for itself", "use the program's own scheme")
    };

    /// The path of a protected resource, on the host of `baseUrl`: `/`, or without a slash at the end.
    pub struct ResourcePath: json!({ "pattern": r"^/([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*)?$" }), |text| {
        unless(text.len() > RESOURCE_PATH_MAX, "is too long", "use a path of at most 256 bytes")?;
        let sound = text == "/" || (text.starts_with('/') && is_plain_path(text));
        let instead = "write it as /mcp: a leading slash, none at the end, letters, digits and . _ ~ - between";
        unless(!sound, "is not a path in the spelling that every client keeps", instead)?;
        is_own(text, "")
    };
}

/// Refuses a path that the gate answers itself below `base`, the path of `baseUrl`; the root counts as such too.
pub(super) fn is_own(path: &str, base: &str) -> Result<(), Wrong> {
    let at_or_below =
        |path: &str, own: &str| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let own = path.strip_prefix(base).is_some_and(|path| OWN_PATHS.iter().any(|own| at_or_below(path, own)));
    unless(own, "is a path that the gate answers itself", "use another one, such as /mcp")
}

/// What the gate answers itself, at the root and below the path of `baseUrl`.
const OWN_PATHS: &[&str] = &["/.well-known", "/oauth", "/health", "/register", "/authorize", "/token"];

const NOT_A_URL: Wrong = wrong("is not a URL that every program reads alike", "write it as https://mcp.example.com");
const ODD_PATH: Wrong = wrong(
    "has a path that programs do not all keep as it is",
    "use letters, digits and . _ ~ - between single slashes, and no dots alone",
);

/// A URL that names a server and at most a path.
fn bare(text: &str) -> Result<Uri<'_>, Wrong> {
    let uri = Uri::parse(text).map_err(|_| NOT_A_URL)?;
    if uri.userinfo().is_some() {
        return Err(wrong("has a user or password in it", "remove what stands before the @"));
    }
    if uri.query().is_some() || uri.fragment().is_some() {
        return Err(wrong("has a query or a fragment", "remove everything from the ? or # on"));
    }
    Ok(uri)
}

/// The same, over TLS unless it does not leave this machine.
fn own(text: &str) -> Result<Uri<'_>, Wrong> {
    let uri = bare(text)?;
    match uri.scheme() {
        "https" => Ok(uri),
        "http" if uri.is_loopback_host() => Ok(uri),
        "http" => Err(wrong("is http beyond loopback, where anybody could listen in", "write an https:// URL")),
        _ => Err(wrong("is not an https URL", "write an https:// URL, or http:// on loopback")),
    }
}

/// Empty, or segments of unreserved characters (RFC 3986 section 2.3) that nobody rewrites.
fn is_plain_path(path: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let plain = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(unreserved);
    path.is_empty() || path.strip_prefix('/').is_some_and(|path| path.split('/').all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row a text: what is said of it, or nothing if it is read.
    fn judge<T: Text>(rows: &[(&str, Option<&str>)]) {
        for (text, said) in rows {
            match (T::parse(text), said) {
                (Ok(_), None) => {}
                (Err(wrong), Some(said)) => {
                    assert!(wrong.wrong.contains(said), "{text}: {} is not {said}", wrong.wrong)
                }
                (Ok(_), Some(said)) => panic!("{text} was read, not {said}"),
                (Err(wrong), None) => panic!("{text}: {}", wrong.wrong),
            }
        }
    }

    #[test]
    fn t289_a_base_url_is_https_or_on_loopback() {
        judge::<BaseUrl>(&[
            ("https://mcp.example.com", None),
            ("https://mcp.example.com:8443/gate/one", None),
            ("http://localhost:8080", None),
            ("http://127.0.0.1:8080", None),
            ("http://[::1]:8080", None),
            ("http://mcp.example.com", Some("http beyond loopback")),
            ("http://localhost.example.com", Some("http beyond loopback")),
            ("http://localhost@evil.example", Some("a user")),
            ("ftp://mcp.example.com", Some("not an https URL")),
            ("HTTPS://mcp.example.com", Some("not an https URL")),
            ("https://MCP.example.com", Some("spelling")),
            ("https://mcp.example.com:443", Some("spelling")),
            ("http://localhost:80", Some("spelling")),
            ("https://mcp.example.com/", Some("slash")),
            ("https://mcp.example.com/gate/", Some("slash")),
            ("https://mcp.example.com//gate", Some("has a path")),
            ("https://mcp.example.com/../gate", Some("has a path")),
            ("https://mcp.example.com/g%61te", Some("has a path")),
            ("https://mcp.example.com?x", Some("a query")),
            ("https://mcp.example.com#x", Some("a query")),
            ("https://user@mcp.example.com", Some("a user")),
            ("https://", Some("not a URL")),
            ("mcp.example.com", Some("not a URL")),
            ("https://mcp example.com", Some("not a URL")),
            ("https://0x7f.1", Some("not a URL")),
        ]);
        let url = BaseUrl::parse("https://mcp.example.com:8443/gate").unwrap();
        assert_eq!((url.origin(), url.path(), url.is_https()), ("https://mcp.example.com:8443", "/gate", true));
        let url = BaseUrl::parse("http://[::1]:80801").map(|_| ());
        assert_eq!(url, Err(NOT_A_URL));
        let url = BaseUrl::parse("http://[::1]:8080").unwrap();
        assert_eq!((url.as_str(), url.path(), url.is_https()), ("http://[::1]:8080", "", false));
    }

    #[test]
    fn an_issuer_may_end_with_a_slash() {
        judge::<IssuerUrl>(&[
            ("https://tenant.example.com/", None),
            ("https://dex.example.com/dex", None),
            ("http://127.0.0.1:5556/dex", None),
            ("http://dex.internal:5556/dex", Some("http beyond loopback")),
            ("https://dex.example.com/?tenant=1", Some("a query")),
        ]);
    }

    #[test]
    fn an_upstream_is_a_url_or_a_socket() {
        judge::<UpstreamUrl>(&[
            ("http://127.0.0.1:3000/mcp", None),
            ("http://mcp-server.default.svc", None),
            ("https://mcp.internal/mcp", None),
            ("unix:/run/mcp.sock", None),
            ("unix:/run/mcp.sock:/mcp", None),
            ("unix:run/mcp.sock", Some("not the path of a socket")),
            ("unix:/run/mcp.sock:/mcp?x", Some("not the path of a socket")),
            ("ws://mcp.internal/mcp", Some("neither an http nor an https URL")),
            ("http://mcp.internal/a/../b", Some("has a path")),
            ("http://mcp.internal/mcp?key=1", Some("a query")),
            ("http://u:p@mcp.internal/mcp", Some("a user")),
            ("/mcp", Some("not a URL")),
        ]);
        for (text, place, https, path) in [
            ("http://127.0.0.1:3000/mcp", Some(("127.0.0.1", 3000)), false, "/mcp"),
            ("http://Mcp.internal", Some(("mcp.internal", 80)), false, ""),
            ("http://[::1]/a/b", Some(("[::1]", 80)), false, "/a/b"),
            ("https://mcp.internal/", Some(("mcp.internal", 443)), true, "/"),
            ("unix:/run/mcp.sock", None, false, ""),
            ("unix:/run/a:b/mcp.sock:/mcp", None, false, "/mcp"),
        ] {
            let url = UpstreamUrl::parse(text).unwrap();
            assert_eq!((url.host_and_port(), url.is_https(), url.path()), (place, https, path), "{text}");
        }
    }

    #[test]
    fn t289_origins_are_named_one_by_one() {
        judge::<Origin>(&[
            ("https://app.example.com", None),
            ("https://app.example.com:8443", None),
            ("http://localhost:6274", None),
            ("*", Some("every web page")),
            ("null", Some("every web page")),
            ("https://*.example.com", Some("every web page")),
            ("https://app.example.com/", Some("not an origin")),
            ("https://app.example.com/x", Some("not an origin")),
            ("https://App.example.com", Some("not an origin")),
            ("https://app.example.com:443", Some("not an origin")),
            ("http://app.example.com", Some("http beyond loopback")),
        ]);
    }

    #[test]
    fn t289_redirects_are_exact() {
        judge::<RedirectUrl>(&[
            ("https://app.example.com/callback?tenant=1", None),
            ("http://127.0.0.1/callback", None),
            ("http://localhost:7777/", None),
            ("cursor://anysphere.cursor-mcp/oauth/callback", None),
            ("com.example.app:/cb", None),
            ("http://app.example.com/callback", Some("http is for localhost")),
            ("https://*.example.com/callback", Some("wildcard")),
            ("https://app.example.com/*", Some("wildcard")),
            ("https://app.example.com/cb#x", Some("fragment")),
            ("https://app.example.com/cb?state=1", Some("belongs to the answer")),
            ("https://u@app.example.com/cb", Some("user name")),
            ("https://app.example.com/a/../cb", Some("dot segment")),
            ("javascript:alert(1)", Some("scheme is not allowed")),
            ("data:text/html,x", Some("scheme is not allowed")),
            ("urn:ietf:wg:oauth:2.0:oob", Some("scheme is not allowed")),
            ("/callback", Some("not an absolute URI")),
        ]);
        judge::<HttpsRedirect>(&[
            ("https://app.example.com/cb", None),
            ("http://localhost/cb", Some("not an https URL")),
            ("cursor://x/cb", Some("not an https URL")),
        ]);
        assert_eq!(
            RedirectUrl::parse(&format!("https://a/{}", "x".repeat(REDIRECT_MAX))).unwrap_err().wrong,
            "it is longer than 400 characters"
        );
    }

    #[test]
    fn schemes_belong_to_one_program() {
        judge::<Scheme>(&[
            ("cursor", None),
            ("com.example.app", None),
            ("javascript", Some("no program can have")),
            ("https", Some("no program can have")),
            ("cursor://", Some("not a URI scheme")),
            ("Cursor", Some("not a URI scheme")),
            ("1x", Some("not a URI scheme")),
        ]);
    }

    #[test]
    fn resource_paths_are_plain_and_not_the_gates_own() {
        judge::<ResourcePath>(&[
            ("/mcp", None),
            ("/", None),
            ("/a/b-c", None),
            ("/oauthx", None),
            ("mcp", Some("not a path")),
            ("/mcp/", Some("not a path")),
            ("//", Some("not a path")),
            ("/a//b", Some("not a path")),
            ("/a/../b", Some("not a path")),
            ("/a%2fb", Some("not a path")),
            ("/a?b", Some("not a path")),
            ("/oauth", Some("answers itself")),
            ("/oauth/token", Some("answers itself")),
            ("/.well-known/x", Some("answers itself")),
            ("/health", Some("answers itself")),
            ("/register", Some("answers itself")),
        ]);
    }
}
