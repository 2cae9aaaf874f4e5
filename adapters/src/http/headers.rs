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

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, COOKIE, HOST, HeaderName, HeaderValue, SET_COOKIE};
use portcullis_domain::limits;
use portcullis_domain::wire::trace;
use zeroize::Zeroizing;

/// Who is asking, as the upstream is told. Made once per session.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// `X-Forwarded-User`.
    pub user: Option<HeaderValue>,
    /// `X-Forwarded-Email`.
    pub email: Option<HeaderValue>,
    /// `X-Forwarded-Groups`, separated by commas.
    pub groups: Option<HeaderValue>,
    /// `X-Forwarded-Preferred-Username`.
    pub preferred_username: Option<HeaderValue>,
    /// `X-Session-Id`.
    pub session: Option<HeaderValue>,
    /// `Authorization`, where the configuration gives the upstream a bearer. It must be marked as sensitive.
    pub authorization: Option<HeaderValue>,
}

impl Identity {
    /// What it says, by the name of the field that says it.
    pub fn fields(&self) -> [(&'static HeaderName, Option<&HeaderValue>); 6] {
        let Self { user, email, groups, preferred_username, session, authorization } = self;
        [
            (&X_FORWARDED_USER, user.as_ref()),
            (&X_FORWARDED_EMAIL, email.as_ref()),
            (&X_FORWARDED_GROUPS, groups.as_ref()),
            (&X_FORWARDED_PREFERRED_USERNAME, preferred_username.as_ref()),
            (&X_SESSION_ID, session.as_ref()),
            (&AUTHORIZATION, authorization.as_ref()),
        ]
    }

    /// Those of them that say something.
    fn said(&self) -> impl Iterator<Item = (&'static HeaderName, &HeaderValue)> {
        self.fields().into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// A text as a header value: percent-encoded where a comma, a percent sign, a control or anything beyond ASCII would
    /// change its meaning. Nothing, if it is empty or longer than an identity header may be.
    pub fn value(text: &str) -> Option<HeaderValue> {
        Self::list([text])
    }

    /// Several texts as one value, with commas between. All or nothing: half a list of groups would be a false one.
    pub fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<HeaderValue> {
        let mut value = String::new();
        for text in texts {
            if !value.is_empty() {
                value.push(',');
            }
            encode(text, &mut value);
            if value.len() > limits::IDENTITY_HEADER_MAX {
                return None;
            }
        }
        if value.is_empty() { None } else { HeaderValue::try_from(value).ok() }
    }
}

fn encode(text: &str, value: &mut String) {
    // White space at the ends would not survive a header; encoding each that stands there keeps the text whole.
    let inner = text.trim_matches(' ');
    let lead = text.len().saturating_sub(text.trim_start_matches(' ').len());
    let inner_end = lead.saturating_add(inner.len());
    // As almost always: nothing has to be encoded.
    value.reserve(text.len());
    if inner.len() == text.len() && text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'%'))
    {
        value.push_str(text);
        return;
    }
    for (at, byte) in text.bytes().enumerate() {
        let edge = byte == b' ' && (at < lead || at >= inner_end);
        match byte {
            b',' | b'%' => percent(byte, value),
            b' '..=b'~' if !edge => value.push(char::from(byte)),
            _ => percent(byte, value),
        }
    }
}

fn percent(byte: u8, value: &mut String) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    value.push('%');
    for half in [byte >> 4, byte & 0x0f] {
        value.extend(DIGITS.get(usize::from(half)));
    }
}

/// Who is asking, and how it is written in a request's head: once per session, because it is most of what the gate puts in.
pub struct Introduced {
    identity: Identity,
    /// All its fields, a line each. One of them may be a credential.
    lines: Zeroizing<Vec<u8>>,
}

impl Introduced {
    /// Somebody of whom this is said.
    #[must_use]
    pub fn of(identity: Identity) -> Self {
        let mut lines = Vec::with_capacity(identity.said().map(|(name, value)| line_length(name, value)).sum());
        identity.said().for_each(|(name, value)| put_line(&mut lines, name, value));
        Self { identity, lines: Zeroizing::new(lines) }
    }

    /// What is said.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

impl std::fmt::Debug for Introduced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Introduced").field(&self.identity).finish()
    }
}

/// Takes fields, in the order in which they go out.
pub trait Fields {
    /// One more.
    fn put(&mut self, name: &HeaderName, value: &HeaderValue);

    /// All that is said of somebody.
    fn introduce(&mut self, who: &Introduced) {
        who.identity.said().for_each(|(name, value)| self.put(name, value));
    }
}

impl Fields for HeaderMap {
    fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append(name, value.clone());
    }
}

/// Fields as lines of a head (RFC 9112 section 5).
pub(super) struct Lines<'a>(pub(super) &'a mut Vec<u8>);

impl Fields for Lines<'_> {
    fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        put_line(self.0, name, value);
    }

    fn introduce(&mut self, who: &Introduced) {
        self.0.extend_from_slice(&who.lines);
    }
}

fn put_line(lines: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    lines.extend_from_slice(name.as_str().as_bytes());
    lines.extend_from_slice(b": ");
    lines.extend_from_slice(value.as_bytes());
    lines.extend_from_slice(b"\r\n");
}

fn line_length(name: &HeaderName, value: &HeaderValue) -> usize {
    name.as_str().len().saturating_add(value.len()).saturating_add(4)
}

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
static X_FORWARDED_USER: HeaderName = HeaderName::from_static("x-forwarded-user");
static X_FORWARDED_EMAIL: HeaderName = HeaderName::from_static("x-forwarded-email");
static X_FORWARDED_GROUPS: HeaderName = HeaderName::from_static("x-forwarded-groups");
static X_FORWARDED_PREFERRED_USERNAME: HeaderName = HeaderName::from_static("x-forwarded-preferred-username");
static X_SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
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

/// Whether this is the name of a cookie of the gate: its own are `__Host-pc-*`, and `pc-*` on plain loopback. Of a cookie without a name
/// browsers send the value alone, where it is read as a name.
fn is_own_cookie(pair: &[u8]) -> bool {
    let pair = pair.trim_ascii();
    let pair = pair.strip_prefix(b"=").unwrap_or(pair);
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    [&b"__host-pc-"[..], b"pc-"]
        .iter()
        .any(|own| name.get(..own.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(own)))
}

fn pairs(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b';')
}

/// The client's cookies without the gate's, in one field.
fn cookies(headers: &HeaderMap, fields: &mut impl Fields) {
    let all = || headers.get_all(COOKIE).iter();
    if !all().flat_map(pairs).any(is_own_cookie) {
        return all().for_each(|value| fields.put(&COOKIE, value));
    }
    let mut kept = Vec::new();
    for pair in all().flat_map(pairs).map(<[u8]>::trim_ascii) {
        if pair.is_empty() || is_own_cookie(pair) {
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(b"; ");
        }
        kept.extend_from_slice(pair);
    }
    // Parts of valid values joined by valid bytes are a valid value; if ever not, the cookies are lost, not leaked.
    if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::from_bytes(&kept)) {
        fields.put(&COOKIE, &value);
    }
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

fn sweep_set_cookies(headers: &mut HeaderMap) {
    if !headers.get_all(SET_COOKIE).iter().any(|value| is_own_cookie(value.as_bytes())) {
        return;
    }
    let kept: Vec<HeaderValue> =
        headers.get_all(SET_COOKIE).iter().filter(|value| !is_own_cookie(value.as_bytes())).cloned().collect();
    headers.remove(SET_COOKIE);
    for value in kept {
        headers.append(SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let made = Identity::value(text);
            assert_eq!(made.as_ref().map(|made| made.to_str().unwrap()), value, "{text:?}");
        }
        assert_eq!(Identity::list(["staff", "a,b"]).unwrap(), "staff,a%2Cb");
        assert_eq!(Identity::list([]), None);
        let many = vec!["group"; limits::IDENTITY_HEADER_MAX];
        assert_eq!(Identity::list(many), None, "never half a list");
    }

    #[test]
    fn an_introduction_is_written_as_its_fields_are() {
        let identity = Identity {
            user: Identity::value("ada"),
            groups: Identity::list(["staff", "a,b"]),
            authorization: Some(HeaderValue::from_static("Bearer secret")),
            ..Identity::default()
        };
        let (mut by_field, mut at_once) = (Vec::new(), Vec::new());
        for (name, value) in identity.said() {
            Lines(&mut by_field).put(name, value);
        }
        let who = Introduced::of(identity);
        Lines(&mut at_once).introduce(&who);
        assert_eq!(at_once, by_field);
        assert_eq!(
            at_once,
            b"x-forwarded-user: ada\r\nx-forwarded-groups: staff,a%2Cb\r\nauthorization: Bearer secret\r\n"
        );
        let mut map = HeaderMap::new();
        map.introduce(&who);
        assert_eq!(map.len(), 3);
    }

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
