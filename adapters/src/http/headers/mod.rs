//! Which header fields pass the gate, in each direction. This is the one table of it.
//!
//! | request field | fate |
//! |---|---|
//! | what `Connection` names, `Connection` and the other hop-by-hop fields | removed, before anything is put in (RFC 9110 section 7.6.1) |
//! | `Content-Length`, `Transfer-Encoding`, `Expect`, `Host` | made anew for the upstream |
//! | `TE`, `Trailer` | removed: trailers pass in neither direction |
//! | `Upgrade`, `HTTP2-Settings` | removed: nothing is upgraded (RFC 9110 section 7.8 lets a server ignore it) |
//! | `Authorization`, `Proxy-Authorization`, `DPoP` | removed: they are meant for the gate |
//! | `Cookie` | passes without the gate's own cookies |
//! | `X-Forwarded-*`, `Forwarded`, `X-Real-IP`, `X-Session-Id`, `X-Request-Id` | removed; the gate's own are put in |
//! | `X-Original-URL`, `X-Rewrite-URL` | removed: some frameworks route by them instead of the target |
//! | `Proxy` | removed: programs behind CGI read it as `HTTP_PROXY`, by which their own calls go |
//! | `traceparent`, `tracestate` | pass if they are well formed; the second only with the first |
//! | any name with more than letters, digits and hyphens, except `Mcp-Param-*` | removed: many servers read `_` as `-`, some also `.` and others |
//! | everything else | passes, value untouched |
//!
//! | response field | fate |
//! |---|---|
//! | hop-by-hop fields and what `Connection` names | removed |
//! | `WWW-Authenticate` | removed: only the gate's challenge may reach a client |
//! | `Access-Control-*` | removed: the gate answers for its own origin |
//! | `Set-Cookie` | passes, unless it would set one of the gate's cookies |
//! | `X-Accel-*`, `X-Sendfile` | removed: a proxy in front would obey them; `X-Accel-Buffering: no` is put on event streams |
//! | `Alt-Svc`, `Clear-Site-Data` | removed: one leads around the gate, the other ends logins |
//! | `X-Request-Id` | replaced by the gate's own, which the upstream was told |
//! | everything else | passes, value untouched |

mod cookies;
mod fields;
mod identity;

pub use fields::Fields;
pub(super) use fields::Lines;
pub use identity::{Identity, Introduced};

use cookies::{cookies, sweep_set_cookies};
use hyper::HeaderMap;
use hyper::header::{CONNECTION, CONTENT_TYPE, COOKIE, HOST, HeaderName, HeaderValue, SET_COOKIE};
use portcullis_domain::wire::trace;

/// What the gate itself says to the upstream about a request.
#[derive(Debug)]
pub struct Injected<'a> {
    /// The upstream's own name.
    pub host: &'a HeaderValue,
    /// `X-Forwarded-For`: the one address that counts as the client's.
    pub client: &'a HeaderValue,
    /// `X-Forwarded-Proto`.
    pub proto: &'a HeaderValue,
    /// `X-Forwarded-Host`.
    pub public_host: &'a HeaderValue,
    /// Who is asking.
    pub who: &'a Introduced,
    /// `X-Request-Id`.
    pub request_id: &'a HeaderValue,
}

/// What both sides call a request.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context section 3.2.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Tells of a client's fields as the upstream reads them, in the order in which they go out: what may pass of the client's, and the
/// gate's own.
pub fn onward(headers: &HeaderMap, injected: &Injected<'_>, fields: &mut impl Fields) {
    fields.put(&HOST, injected.host);
    // Few requests have one: one look at each name is less than a search for it.
    let is_nominating = headers.keys().any(|name| *name == CONNECTION);
    let named = if is_nominating { named(headers) } else { Vec::new() };
    let (mut has_cookies, mut has_trace) = (false, false);
    for (name, value) in headers {
        if *name == COOKIE {
            has_cookies = true;
        } else if passes_request(name.as_str()) {
            if !named.contains(name) {
                fields.put(name, value);
            }
        } else if *name == TRACEPARENT {
            has_trace = true;
        }
    }
    if has_cookies && !named.contains(&COOKIE) {
        cookies(headers, fields);
    }
    if has_trace {
        trace_context(headers, &named, fields);
    }
    fields.put(&X_FORWARDED_FOR, injected.client);
    fields.put(&X_FORWARDED_PROTO, injected.proto);
    fields.put(&X_FORWARDED_HOST, injected.public_host);
    fields.put(&X_REQUEST_ID, injected.request_id);
    fields.introduce(injected.who);
}

/// Makes an upstream's fields, those that [`passes_response`], the client's. `connection`: the values of its `Connection`. Whether
/// the body is an event stream.
pub fn back<'v>(headers: &mut HeaderMap, connection: impl IntoIterator<Item = &'v HeaderValue>) -> bool {
    for name in nominated(connection) {
        headers.remove(name);
    }
    if headers.contains_key(SET_COOKIE) {
        sweep_set_cookies(headers);
    }
    let is_event_stream = headers.get(CONTENT_TYPE).is_some_and(names_event_stream);
    if is_event_stream {
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    }
    is_event_stream
}

/// Whether a `Content-Type` is that of an event stream.
pub(super) fn names_event_stream(content_type: &HeaderValue) -> bool {
    let media = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    media.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

fn passes_request(name: &str) -> bool {
    is_usual(name) || passes_by_rule(name)
}

/// What most requests have and may pass, so that it is looked for first.
fn is_usual(name: &str) -> bool {
    matches!(
        name,
        "accept" | "accept-encoding" | "content-type" | "user-agent" | "mcp-protocol-version" | "mcp-session-id"
    )
}

fn passes_by_rule(name: &str) -> bool {
    if is_hop_by_hop(name) || name.starts_with("x-forwarded-") {
        return false;
    }
    if matches!(
        name,
        "host"
            | "content-length"
            | "expect"
            | "http2-settings"
            | "authorization"
            | "dpop"
            | "proxy"
            | "forwarded"
            | "x-real-ip"
            | "x-session-id"
            | "x-request-id"
            | "traceparent"
            | "tracestate"
            | "x-original-url"
            | "x-rewrite-url"
    ) {
        return false;
    }
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') || name.starts_with("mcp-param-")
}

/// Whether a field of an upstream may go on to the client.
pub(super) fn passes_response(name: &str) -> bool {
    !(is_hop_by_hop(name)
        || name.starts_with("access-control-")
        || name.starts_with("x-accel-")
        || matches!(name, "www-authenticate" | "alt-svc" | "clear-site-data" | "x-sendfile"))
}

/// The names in `Connection` that do not go anyway.
fn nominated<'v>(connection: impl IntoIterator<Item = &'v HeaderValue>) -> impl Iterator<Item = HeaderName> {
    connection
        .into_iter()
        .flat_map(tokens)
        .filter(|token| !token.eq_ignore_ascii_case(b"keep-alive") && !token.eq_ignore_ascii_case(b"close"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
}

/// Those of them that are there, each once: every field is compared with each of these, and `Connection` has room for tens of
/// thousands.
fn named(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut named = Vec::new();
    for name in nominated(headers.get_all(CONNECTION)) {
        if headers.contains_key(&name) && !named.contains(&name) {
            named.push(name);
        }
    }
    named
}

/// The elements of a list (RFC 9110 section 5.6.1).
pub(super) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Trace context, if it is one, as it came: the gate is no part of the trace, and whoever is none changes nothing (W3C Trace
/// Context section 4). What is malformed is not carried on, nor is a state without its parent.
fn trace_context(headers: &HeaderMap, named: &[HeaderName], fields: &mut impl Fields) {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else { return };
    if named.contains(&TRACEPARENT) || trace::trace_id(parent.as_bytes()).is_none() {
        return;
    }
    fields.put(&TRACEPARENT, parent);
    let states = || headers.get_all(TRACESTATE).iter();
    if !named.contains(&TRACESTATE) && trace::is_state(states().map(HeaderValue::as_bytes)) {
        states().for_each(|state| fields.put(&TRACESTATE, state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t227_a_field_is_named_away_however_often_and_a_list_of_names_is_no_longer_than_the_head_has_fields() {
        let mut headers = HeaderMap::new();
        let names: String = (0..9_000).map(|number| format!("x{number},")).collect();
        headers.append("x-mine", HeaderValue::from_static("1"));
        for list in [names.as_str(), "X-Mine, x-mine,, keep-alive", "close, X-MINE, a b, other", &names] {
            headers.append(CONNECTION, HeaderValue::from_str(list).unwrap());
        }
        headers.append("x8999", HeaderValue::from_static("1"));
        assert_eq!(named(&headers), ["x8999", "x-mine"]);
    }

    #[test]
    fn t226_every_field_has_one_fate() {
        for (name, passes) in [
            ("accept", true),
            ("accept-encoding", true),
            ("content-type", true),
            ("user-agent", true),
            ("mcp-protocol-version", true),
            ("content-encoding", true),
            ("cookie", true),
            ("origin", true),
            ("mcp-session-id", true),
            ("mcp-param-user_id", true),
            ("x-custom", true),
            ("x_custom", false),
            ("mcp_session_id", false),
            ("mcp-session_id", false),
            ("x.custom", false),
            ("x!forwarded~user", false),
            ("authorization", false),
            ("x-forwarded-", false),
            ("x-forwarded-client-cert", false),
            ("forwarded", false),
            ("proxy", false),
            ("x-request-id", false),
            ("transfer-encoding", false),
            ("te", false),
        ] {
            assert_eq!((passes_request(name), passes_by_rule(name)), (passes, passes), "{name}");
        }
    }
}
