//! Which path is what. Paths are compared as they came, undecoded: there is one way to write each.

use super::forward_auth;
use hyper::Method;
use portcullis_domain::oauth::metadata::Metadata;
use portcullis_domain::oauth::policy::Policy;
use portcullis_domain::oauth::resource::Resource;
use std::collections::HashMap;

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The authorization endpoint.
    Authorize,
    /// Where the consent page's form goes.
    Consent,
    /// Where the identity provider sends people back.
    Callback,
    /// The token endpoint.
    Token,
    /// The registration endpoint.
    Register,
    /// One registration: RFC 7592.
    Registration,
    /// The revocation endpoint.
    Revoke,
    /// The introspection endpoint.
    Introspect,
    /// The userinfo endpoint.
    Userinfo,
    /// Where the identity provider says that somebody has logged out.
    Logout,
    /// A metadata document.
    Metadata,
    /// Our public keys.
    Jwks,
    /// For load balancers.
    Health,
    /// A protected resource.
    Resource,
    /// Whether a request to a protected resource may pass: a proxy asks.
    ForwardAuth,
    /// Nothing.
    Nothing,
}

impl Route {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Authorize,
        Self::Consent,
        Self::Callback,
        Self::Token,
        Self::Register,
        Self::Registration,
        Self::Revoke,
        Self::Introspect,
        Self::Userinfo,
        Self::Logout,
        Self::Metadata,
        Self::Jwks,
        Self::Health,
        Self::Resource,
        Self::ForwardAuth,
        Self::Nothing,
    ];

    /// The label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Consent => "consent",
            Self::Callback => "callback",
            Self::Token => "token",
            Self::Register => "register",
            Self::Registration => "registration",
            Self::Revoke => "revoke",
            Self::Introspect => "introspect",
            Self::Userinfo => "userinfo",
            Self::Logout => "backchannel_logout",
            Self::Metadata => "metadata",
            Self::Jwks => "jwks",
            Self::Health => "health",
            Self::Resource => "resource",
            Self::ForwardAuth => "forward_auth",
            Self::Nothing => "none",
        }
    }

    /// What `Allow` says. A resource decides for itself, and a proxy asks with whatever method the client used.
    #[must_use]
    pub const fn methods(self) -> &'static [Method] {
        match self {
            Self::Authorize | Self::Userinfo => &[Method::GET, Method::POST],
            Self::Consent | Self::Token | Self::Register | Self::Revoke | Self::Introspect | Self::Logout => {
                &[Method::POST]
            }
            Self::Callback => &[Method::GET],
            Self::Registration => &[Method::GET],
            Self::Metadata | Self::Jwks | Self::Health => &[Method::GET, Method::HEAD],
            Self::Resource | Self::ForwardAuth | Self::Nothing => &[],
        }
    }

    /// Whether pages of any origin may read the answers, without credentials. Never where a browser is being led through.
    #[must_use]
    pub const fn is_open_to_pages(self) -> bool {
        matches!(
            self,
            Self::Token
                | Self::Register
                | Self::Registration
                | Self::Revoke
                | Self::Userinfo
                | Self::Metadata
                | Self::Jwks
        )
    }

    /// Whether a request may show something that only a living session has, and so go on beyond the share of its address.
    #[must_use]
    pub const fn may_show_a_session(self) -> bool {
        matches!(self, Self::Token | Self::Revoke | Self::Introspect | Self::Userinfo)
    }
}

/// The table of fixed paths.
#[derive(Clone, Debug)]
pub struct Routes {
    /// Each of them lies below a reserved prefix.
    fixed: HashMap<String, Route>,
    registrations: String,
    forward_auth: String,
    reserved: [String; 4],
}

impl Routes {
    /// For the gateway with this base URL: its endpoints below the base URL's path, and the names at the root of the host that
    /// clients of 2025-03-26 fall back to.
    #[must_use]
    pub fn of(base_url: &str) -> Self {
        let after_scheme = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
        let base = after_scheme.find('/').and_then(|start| after_scheme.get(start..)).unwrap_or_default();
        let below = |path: &str| [base, path].concat();
        let fixed = HashMap::from([
            (below("/oauth/authorize"), Route::Authorize),
            (below("/oauth/consent"), Route::Consent),
            (below("/oauth/callback"), Route::Callback),
            (below("/oauth/token"), Route::Token),
            (below("/oauth/register"), Route::Register),
            (below("/oauth/revoke"), Route::Revoke),
            (below("/oauth/introspect"), Route::Introspect),
            (below("/oauth/userinfo"), Route::Userinfo),
            (below("/oauth/backchannel-logout"), Route::Logout),
            (below("/.well-known/jwks.json"), Route::Jwks),
        ]);
        let reserved = ["/oauth/".to_owned(), "/.well-known/".to_owned(), below("/oauth/"), below("/.well-known/")];
        Self { fixed, registrations: below("/oauth/register/"), forward_auth: below(forward_auth::PREFIX), reserved }
    }

    /// What this path is, and the resource if it is one.
    #[must_use]
    pub fn find<'a>(&self, path: &str, metadata: &Metadata, policy: &'a Policy) -> (Route, Option<&'a Resource>) {
        // What is looked up for every request comes first: a path that lies below no reserved prefix is in no table.
        if !self.reserved.iter().any(|own| path.starts_with(own.as_str())) {
            return match at_the_root(path) {
                Some(route) => (route, None),
                None => policy.resources.by_path(path).map_or((Route::Nothing, None), |it| (Route::Resource, Some(it))),
            };
        }
        if let Some(route) = self.fixed.get(path) {
            return (*route, None);
        }
        if metadata.document(path).is_some() {
            return (Route::Metadata, None);
        }
        if self.registration(path).is_some() {
            return (Route::Registration, None);
        }
        if let Some(asked) = path.strip_prefix(&self.forward_auth)
            && let Some(resource) = policy.resources.by_path(asked)
        {
            return (Route::ForwardAuth, Some(resource));
        }
        // A resource that takes in everything does not take in what is the gate's: whoever looks there for a document that does not
        // exist must not be asked to log in, nor have the credentials for an endpoint carried on.
        (Route::Nothing, None)
    }

    /// The client id in the path of a registration.
    #[must_use]
    pub fn registration<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(&self.registrations).filter(|id| !id.is_empty() && !id.contains('/'))
    }
}

/// The paths at the root of the host: those that clients of 2025-03-26 fall back to, and that of load balancers.
fn at_the_root(path: &str) -> Option<Route> {
    match path {
        "/authorize" => Some(Route::Authorize),
        "/token" => Some(Route::Token),
        "/register" => Some(Route::Register),
        "/health" => Some(Route::Health),
        _ => None,
    }
}
