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

/// Takes fields, in the order in which they go out.
pub trait Fields {
    /// One more.
    fn put(&mut self, name: &HeaderName, value: &HeaderValue);

    /// All that is said of somebody.
    fn introduce(&mut self, who: &Introduced) {
        who.fields().filter_map(|(name, value)| Some((name, value?))).for_each(|(name, value)| self.put(name, &value));
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
