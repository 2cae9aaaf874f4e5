//! What the endpoints answer, and how it becomes a response. The only place where status, headers and faults meet.

use super::cors;
use crate::http::AnswerBody;
use crate::http::pages::{self, Page};
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, PRAGMA,
    REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use hyper::{Method, Response, StatusCode};
use portcullis_domain::limits::FLOW_LIFE;
use portcullis_domain::oauth::consent::CookieNames;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::wire::header::Challenge;
use portcullis_domain::wire::json::ObjectWriter;
use portcullis_ports::gateway::SetCookie;

/// The gateway's own address, in the forms in which requests and responses name it.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// `scheme://host[:port]`, as browsers write it.
    pub(crate) origin: String,
    /// `host[:port]`, with every way to write the default port.
    hosts: Vec<String>,
    /// `X-Forwarded-Proto`.
    pub(crate) proto: HeaderValue,
    /// `X-Forwarded-Host`.
    pub(crate) public_host: HeaderValue,
    cookies: CookieNames,
}

impl Site {
    /// Of this base URL, which the configuration has judged.
    pub(crate) fn of(base_url: &str) -> Self {
        let (scheme, rest) = base_url.split_once("://").unwrap_or(("https", base_url));
        let authority = rest.find('/').and_then(|slash| rest.get(..slash)).unwrap_or(rest);
        let default = if scheme == "https" { ":443" } else { ":80" };
        let mut hosts = vec![authority.to_ascii_lowercase()];
        let has_port =
            authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        if !has_port {
            hosts.push(format!("{}{default}", authority.to_ascii_lowercase()));
        }
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("invalid"));
        Self {
            origin: format!("{scheme}://{authority}"),
            hosts,
            proto: value(scheme),
            public_host: value(authority),
            cookies: CookieNames::of(base_url),
        }
    }

    /// Whether clients come by https.
    pub(crate) fn is_https(&self) -> bool {
        self.proto == "https"
    }

    /// Whether a `Host` is ours.
    pub(crate) fn is(&self, host: &str) -> bool {
        // Nearly everybody writes it as it is.
        self.hosts.iter().any(|own| own == host || own.eq_ignore_ascii_case(host))
    }
}

/// An answer of the gate itself.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    cookies: Vec<Cookie>,
    /// Why it is a refusal: for what is counted and told, and never for the other side.
    refusal: Option<Fault>,
}

/// How a request is answered.
pub(crate) enum Reply {
    /// By the gate.
    Own(Answer),
    /// By what stands behind it.
    Passed(Response<AnswerBody>),
}

#[derive(Debug)]
enum Cookie {
    /// For the browser's session.
    Keep(SetCookie),
    /// For as long as a login may take.
    Login(SetCookie),
    Clear(String),
}

impl Answer {
    /// An empty answer.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new(), cookies: Vec::new(), refusal: None }
    }

    /// JSON that nobody may keep.
    pub(crate) fn json(status: StatusCode, json: impl Into<Bytes>) -> Self {
        Self::empty(status).with(CONTENT_TYPE, "application/json").filled(json)
    }

    /// JSON that says the same to everybody, until the configuration changes.
    pub(crate) fn document(json: impl Into<Bytes>) -> Self {
        Self::json(StatusCode::OK, json).with(CACHE_CONTROL, "public, max-age=300")
    }

    /// A refusal, in the form of RFC 6749 section 5.2.
    pub(crate) fn fault(fault: Fault) -> Self {
        let wire = fault.wire();
        let body = ObjectWriter::new().text("error", wire.error).text("error_description", &wire.text()).finish();
        Self::json(status(wire.status), body).after(wire.retry_after).because(fault)
    }

    /// A refusal of a client's credentials (RFC 6749 section 5.2: with a challenge of the scheme that it used).
    pub(crate) fn fault_to_basic(fault: Fault) -> Self {
        let answer = Self::fault(fault);
        if answer.status == StatusCode::UNAUTHORIZED {
            return answer.with(WWW_AUTHENTICATE, "Basic realm=\"portcullis\", charset=\"UTF-8\"");
        }
        answer
    }

    /// A refusal of a bearer token at an endpoint of our own, with a challenge that says why only to who has shown one (RFC 6750
    /// section 3, RFC 7592 section 2.1).
    pub(crate) fn fault_to_bearer(fault: Fault, is_shown: bool) -> Self {
        let answer = Self::fault(fault);
        if answer.status != StatusCode::UNAUTHORIZED {
            return answer;
        }
        let (plain, why) = ("Bearer realm=\"portcullis\"", "Bearer realm=\"portcullis\", error=\"invalid_token\"");
        answer.with(WWW_AUTHENTICATE, if is_shown { why } else { plain })
    }

    /// A refusal of an access token, with this challenge and why: RFC 6750 section 3.
    pub(crate) fn fault_to_token(fault: Fault, mut challenge: Challenge) -> Self {
        let wire = fault.wire();
        let answer = Self::fault(fault);
        if !matches!(wire.status, 400 | 401 | 403) {
            return answer;
        }
        // "If the request lacks any authentication information, the resource server SHOULD NOT include an error code."
        if fault != Fault::TokenMissing {
            challenge = challenge.param("error", wire.error).param("error_description", wire.description);
        }
        match HeaderValue::from_str(&challenge.into_string()) {
            Ok(value) => answer.with_value(WWW_AUTHENTICATE, value),
            Err(_) => answer,
        }
    }

    /// A page.
    pub(crate) fn page(page: Page) -> Self {
        let mut answer = Self::empty(status(page.status()));
        answer.headers.extend(page.headers());
        answer.filled(page.into_body())
    }

    /// A refusal on a page.
    pub(crate) fn fault_page(fault: Fault, gate: &pages::Gate) -> Self {
        Self::page(pages::error(fault, None, gate)).after(fault.wire().retry_after).because(fault)
    }

    /// On to somewhere else. After a POST, so that the browser does not post again (RFC 9110 section 15.4.4).
    pub(crate) fn redirect(method: &Method, location: &str) -> Result<Self, Fault> {
        let status = if method == Method::POST { StatusCode::SEE_OTHER } else { StatusCode::FOUND };
        // A judged redirect URI is ASCII without controls, so anything else is our own mistake.
        let location = HeaderValue::from_str(location).map_err(|_| Fault::Internal("a location is no header value"))?;
        Ok(Self::empty(status).with_value(LOCATION, location))
    }

    /// Wrong method.
    pub(crate) fn method(allowed: &[Method]) -> Self {
        Self::fault(Fault::Method).with_value(ALLOW, methods(allowed))
    }

    pub(crate) fn filled(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn with(self, name: HeaderName, value: &'static str) -> Self {
        self.with_value(name, HeaderValue::from_static(value))
    }

    pub(crate) fn with_value(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// With the cookie that browsers keep for their forms.
    pub(crate) fn keeping(mut self, cookie: SetCookie) -> Self {
        self.cookies.push(Cookie::Keep(cookie));
        self
    }

    /// With the cookie of a login.
    pub(crate) fn logging_in(mut self, cookie: SetCookie) -> Self {
        self.cookies.push(Cookie::Login(cookie));
        self
    }

    /// Without these cookies from now on.
    pub(crate) fn clearing(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.cookies.extend(names.into_iter().map(Cookie::Clear));
        self
    }

    /// Given because of this refusal.
    pub(crate) fn because(mut self, fault: Fault) -> Self {
        self.refusal = Some(fault);
        self
    }

    /// Why it is a refusal, if it is one.
    pub(crate) const fn refusal(&self) -> Option<Fault> {
        self.refusal
    }

    /// Readable for pages of every origin.
    pub(crate) fn open(mut self) -> Self {
        cors::open(&mut self.headers);
        self
    }

    /// The answer to a preflight.
    pub(crate) fn preflight(asked: &HeaderMap, allowed: &[Method]) -> Self {
        let mut answer = Self::empty(StatusCode::NO_CONTENT);
        cors::preflight(asked, methods(allowed), &mut answer.headers);
        answer
    }

    fn after(self, seconds: Option<u32>) -> Self {
        match seconds {
            Some(seconds) => self.with_value(RETRY_AFTER, HeaderValue::from(seconds)),
            None => self,
        }
    }

    /// The response, with what every answer of the gate carries.
    pub(crate) fn into_response(self, site: &Site) -> Response<AnswerBody> {
        let Self { status, mut headers, body, cookies, refusal: _ } = self;
        let missing = |name, value, headers: &mut HeaderMap| {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        };
        missing(CACHE_CONTROL, "no-store", &mut headers);
        if headers.get(CACHE_CONTROL).is_some_and(|value| value == "no-store") {
            missing(PRAGMA, "no-cache", &mut headers);
        }
        missing(CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'", &mut headers);
        missing(REFERRER_POLICY, "no-referrer", &mut headers);
        missing(X_CONTENT_TYPE_OPTIONS, "nosniff", &mut headers);
        missing(X_FRAME_OPTIONS, "DENY", &mut headers);
        if site.cookies.secure {
            missing(STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains", &mut headers);
        }
        for cookie in &cookies {
            if let Ok(mut value) = HeaderValue::from_str(&cookie.text(site.cookies)) {
                value.set_sensitive(true);
                headers.append(SET_COOKIE, value);
            }
        }
        let mut response = Response::new(AnswerBody::Whole(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

impl Cookie {
    fn text(&self, names: CookieNames) -> String {
        let secure = if names.secure { "; Secure" } else { "" };
        let (name, value, age) = match self {
            Self::Keep(SetCookie { name, value }) => (name, value.expose(), String::new()),
            Self::Login(SetCookie { name, value }) => {
                (name, value.expose(), format!("; Max-Age={}", FLOW_LIFE.as_secs()))
            }
            Self::Clear(name) => (name, "", "; Max-Age=0".to_owned()),
        };
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{age}{secure}")
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn methods(allowed: &[Method]) -> HeaderValue {
    let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static("GET"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t230_the_host_is_ours_in_every_way_to_write_the_default_port_and_in_no_other() {
        let site = Site::of("https://gate.example/base");
        assert!(site.is("gate.example") && site.is("GATE.example") && site.is("gate.example:443"));
        for other in ["gate.example:80", "gate.example.", "evil.example", "", "gate.example:443 ", "x@gate.example"] {
            assert!(!site.is(other), "{other}");
        }
        assert_eq!(site.origin, "https://gate.example");
        let loopback = Site::of("http://127.0.0.1:8080");
        assert!(loopback.is("127.0.0.1:8080") && !loopback.is("127.0.0.1") && !loopback.is("localhost:8080"));
    }

    #[test]
    fn t073_t205_every_answer_carries_what_it_must() {
        let site = Site::of("https://gate.example");
        let response = Answer::fault(Fault::StoreUnavailable).into_response(&site);
        for (name, value) in [
            ("cache-control", "no-store"),
            ("content-type", "application/json"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("retry-after", "5"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ] {
            assert_eq!(response.headers().get(name).unwrap(), value, "{name}");
        }
        assert_eq!(response.status(), 503);
        let plain = Answer::document("{}").into_response(&Site::of("http://127.0.0.1:1"));
        assert_eq!(plain.headers().get("cache-control").unwrap(), "public, max-age=300");
        assert!(!plain.headers().contains_key("strict-transport-security"));
    }

    #[test]
    fn t210_cookies_have_every_attribute() {
        let names = CookieNames { secure: true };
        let cookie =
            || SetCookie { name: "__Host-pc-x".into(), value: portcullis_domain::secret::SecretText::new("v".into()) };
        assert_eq!(
            Cookie::Login(cookie()).text(names),
            "__Host-pc-x=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=600; Secure"
        );
        assert_eq!(Cookie::Keep(cookie()).text(names), "__Host-pc-x=v; Path=/; HttpOnly; SameSite=Lax; Secure");
        let clear = Cookie::Clear("pc-x".into()).text(CookieNames { secure: false });
        assert_eq!(clear, "pc-x=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    }
}
