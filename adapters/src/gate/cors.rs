//! What pages of other origins may do: the Fetch standard's CORS protocol.
//!
//! Every answer is `*` without credentials: what a page can read here, it can read with a token that it holds itself, and never
//! with what the browser holds.

use hyper::HeaderMap;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request};
use portcullis_domain::limits::CORS_HEADERS_MAX;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::known_clients;
use portcullis_domain::wire::uri::Uri;
use std::collections::HashSet;

/// Whose pages may use the protected resources. Anybody without an `Origin` may: that is no browser.
#[derive(Clone, Debug)]
pub struct AllowedOrigins {
    listed: HashSet<String>,
    loopback: bool,
}

impl AllowedOrigins {
    /// The gateway's own origin, and those of the configuration; out of the box those of the known web clients and of loopback
    /// pages. A gateway on a loopback address is for this machine: out of the box only loopback pages reach it.
    #[must_use]
    pub fn of(base_url: &str, configured: Option<&[String]>) -> Self {
        let base = Uri::parse(base_url).ok();
        let here = base.is_some_and(|base| base.is_loopback_host());
        let own = base.and_then(|base| base.origin());
        let listed = match configured {
            Some(configured) => configured.to_vec(),
            None if here => Vec::new(),
            None => known_clients::origins().map(str::to_owned).collect(),
        };
        Self { listed: listed.into_iter().chain(own).collect(), loopback: configured.is_none() }
    }

    /// Whether a request with these headers may go on (RS-9): then, whether a page has sent it.
    ///
    /// # Errors
    /// [`Fault::Origin`].
    pub fn check(&self, headers: &HeaderMap) -> Result<bool, Fault> {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(false),
            (Some(origin), None) if origin.to_str().is_ok_and(|origin| self.allows(origin)) => Ok(true),
            _ => Err(Fault::Origin),
        }
    }

    fn allows(&self, origin: &str) -> bool {
        let loopback = || {
            let uri = Uri::parse(origin).ok().filter(Uri::is_web);
            uri.is_some_and(|uri| {
                uri.is_loopback_host() && uri.path().is_empty() && uri.origin().as_deref() == Some(origin)
            })
        };
        self.listed.contains(origin) || (self.loopback && loopback())
    }
}

/// Whether a browser asks beforehand what it may send.
pub(crate) fn is_preflight<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight: these methods, and the headers that it names, as it names them. The wildcard does not cover
/// `Authorization`, and `Mcp-Param-*` cannot be listed.
pub(crate) fn preflight(asked: &HeaderMap, methods: HeaderValue, answer: &mut HeaderMap) {
    let named = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|named| is_list_of_names(named));
    let headers = named.cloned().unwrap_or(HeaderValue::from_static("authorization, content-type"));
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    answer.insert(VARY, HeaderValue::from_static("access-control-request-headers"));
}

fn is_list_of_names(value: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_, ".contains(byte);
    value.len() <= CORS_HEADERS_MAX && value.as_bytes().iter().all(plain)
}

/// Lets every page read an answer, and the headers in it that clients go by.
pub(crate) fn open(answer: &mut HeaderMap) {
    const EXPOSED: &str =
        "WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After, DPoP-Nonce, X-Request-Id";
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(base: &str, configured: Option<&[String]>, origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        AllowedOrigins::of(base, configured).check(&headers).is_ok()
    }

    #[test]
    fn t231_origins_out_of_the_box() {
        let base = "https://gate.example";
        for (origin, may) in [
            ("https://gate.example", true),
            ("https://claude.ai", true),
            ("http://localhost:6274", true),
            ("http://127.0.0.1:3000", true),
            ("https://evil.example", false),
            ("https://gate.example.evil.example", false),
            ("http://gate.example", false),
            ("null", false),
            ("http://localhost.evil.example", false),
            ("http://localhost:1/x", false),
            ("", false),
        ] {
            assert_eq!(allowed(base, None, origin), may, "{origin}");
        }
    }

    #[test]
    fn t231_a_loopback_gateway_is_for_this_machine_s_pages_only() {
        let base = "http://127.0.0.1:8080";
        assert!(allowed(base, None, "http://localhost:6274") && allowed(base, None, base));
        assert!(!allowed(base, None, "https://claude.ai"));
    }

    #[test]
    fn t231_what_is_configured_replaces_what_comes_out_of_the_box() {
        let only = ["https://app.example".to_owned()];
        let base = "https://gate.example";
        assert!(allowed(base, Some(&only), "https://app.example") && allowed(base, Some(&only), base));
        assert!(!allowed(base, Some(&only), "http://localhost:6274"));
        assert!(!allowed(base, Some(&only), "https://claude.ai"));
    }

    #[test]
    fn t231_two_origins_are_none_and_no_origin_is_no_browser() {
        let origins = AllowedOrigins::of("https://gate.example", None);
        let mut headers = HeaderMap::new();
        assert!(origins.check(&headers).is_ok());
        for _ in 0..2 {
            headers.append(ORIGIN, HeaderValue::from_static("https://gate.example"));
        }
        assert_eq!(origins.check(&headers), Err(Fault::Origin));
    }
}
