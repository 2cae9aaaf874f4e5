//! What the listener and the way to the upstream promise: framing that nobody can read differently, headers that only
//! the gate can say, targets that stay under their path, and a client's address that the client cannot invent.
//!
//! | id | targets |
//! |---|---|
//! | F15, the request as the upstream gets it | `http-framing` (one reading), `http-request-headers` (fields), `http-passing` (a second reader of heads), `http-through` (one of whole connections) |
//! | F16, the answer as the client gets it | `http-answer` (also its body, by a second reader), `http-response-headers`, `http-back` (through a gate that runs) |
//! | F17, paths | `http-target`, and `oauth-route` for what needs no token |
//! | F25, MCP's headers and the body | `http-passing`, `http-through`: both pass byte for byte, because nothing is admitted by them |

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use portcullis_adapters::http::Upstream;
use portcullis_adapters::http::answer::{Head, Piece, Reader};
use portcullis_adapters::http::framing::{Framing, Misframed, Place};
use portcullis_adapters::http::headers::{self, Identity, Injected, Introduced};
use portcullis_adapters::http::peer::{self, Cidr, TrustedProxies};
use url::Url;

use crate::second::{self, Read};

/// F15: however the bytes arrive, framing reads the same; and where a second reader finds the end of a head, framing finds it.
pub fn framing(data: &[u8]) {
    let (step, message) = match data.split_first() {
        Some((step, message)) => (usize::from(*step).max(1), message),
        None => return,
    };
    let whole = feed(message, message.len().max(1));
    assert_eq!(whole, feed(message, step), "in steps of {step}");
    assert_eq!(whole, feed(message, 1), "byte by byte");

    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(end)) = request.parse(message) else { return };
    let (Some(head), Some(inside)) = (message.get(..end), message.get(..end - 1)) else { return };
    let Ok(place) = feed(head, head.len()) else { return };
    assert_eq!(feed(inside, 7), Ok(Place::Head), "the head ends before its last byte");
    let values = |name: &str| -> Vec<&[u8]> {
        let named = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "two framings were accepted");
    let expected = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Place::Between,
        ([length], _) if length.iter().all(|byte| *byte == b'0') => Place::Between,
        _ => Place::Body,
    };
    assert_eq!(place, expected, "lengths {lengths:?}, codings {codings:?}");
}

fn feed(message: &[u8], step: usize) -> Result<Place, Misframed> {
    let mut framing = Framing::new();
    for piece in message.chunks(step) {
        framing.feed(piece)?;
    }
    Ok(framing.place())
}

/// F15: whatever a client sends, the upstream reads of the gate's own names exactly what the gate says.
pub fn request_headers(data: &[u8]) {
    let map = onward(&fields(data));
    let own = ["host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-user"];
    for name in own {
        let value = if name == "x-forwarded-user" { "ada" } else { "gate" };
        assert!(map.get_all(name).iter().eq([value]), "{name}: {map:?}");
    }
    let gone = [
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "content-length",
        "upgrade",
        "expect",
        "authorization",
        "proxy-authorization",
        "dpop",
        "proxy",
        "forwarded",
        "x-real-ip",
        "x-session-id",
    ];
    for name in map.keys().map(HeaderName::as_str) {
        let read = name.replace('_', "-");
        assert!(!gone.contains(&read.as_str()), "{name}");
        assert!(!read.starts_with("x-forwarded-") || own.contains(&name), "{name}");
        assert!(is_plain(name) || name.starts_with("mcp-param-"), "{name}");
    }
    for cookie in map.get_all("cookie") {
        for pair in cookie.as_bytes().split(|byte| *byte == b';') {
            let pair = pair.trim_ascii().to_ascii_lowercase();
            assert!(!pair.starts_with(b"pc-") && !pair.starts_with(b"__host-pc-"), "{map:?}");
        }
    }
    assert_eq!(onward(&map), map, "a second time changes nothing");
}

/// F15, F25: what goes out is one request to a second, strict reader, with nothing of the client's credentials in it; and what MCP
/// says in headers stands there as it came, whatever the body says.
pub fn passing(data: &[u8]) {
    let sent = fields(data);
    let mut head = b"POST /mcp HTTP/1.1\r\n".to_vec();
    for (name, value) in &onward(&sent) {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(piece);
        }
    }
    head.extend_from_slice(b"\r\n");
    let mut space = [httparse::EMPTY_HEADER; 256];
    let mut second = httparse::Request::new(&mut space);
    let read = second.parse(&head);
    assert!(matches!(read, Ok(httparse::Status::Complete(end)) if end == head.len()), "{read:?}");
    let named = |name: &str| -> Vec<&[u8]> {
        let same = second.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        same.map(|field| field.value).collect()
    };
    for credential in ["authorization", "proxy-authorization", "dpop", "transfer-encoding", "content-length"] {
        assert!(named(credential).is_empty(), "{credential} reaches the upstream");
    }
    let nominated = |name: &str| {
        let lines = sent.get_all("connection").iter();
        let mut names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        names.any(|other| other.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    };
    for name in sent.keys().map(HeaderName::as_str).filter(|name| name.starts_with("mcp-")) {
        let passes = (is_plain(name) || name.starts_with("mcp-param-")) && !nominated(name);
        let came: Vec<&[u8]> = sent.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(named(name), if passes { came } else { Vec::new() }, "{name}");
    }
}

/// Whether no server reads this name as another one.
pub(crate) fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// What the upstream reads of these fields.
fn onward(fields: &HeaderMap) -> HeaderMap {
    let who = Introduced::of(&Identity { user: "ada", ..Identity::default() }).expect("a name");
    let gate = HeaderValue::from_static("gate");
    let injected =
        Injected { host: &gate, client: &gate, proto: &gate, public_host: &gate, who: &who, request_id: &gate };
    let mut map = HeaderMap::new();
    headers::onward(fields, &injected, &mut map);
    map
}

/// F16: whatever an upstream sends, it neither frames, challenges, allows origins nor sets the gate's cookies.
pub fn response_headers(data: &[u8]) {
    let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in &fields(data) {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            answer.extend_from_slice(piece);
        }
    }
    answer.extend_from_slice(b"\r\n");
    let mut reader = Reader::new();
    reader.hear(&answer);
    let Ok(Some(Head { headers: map, .. })) = reader.head(false, &mut HeaderMap::new()) else { return };
    for name in map.keys().map(HeaderName::as_str) {
        assert!(
            !matches!(name, "connection" | "transfer-encoding" | "trailer" | "upgrade" | "www-authenticate"),
            "{name}"
        );
        assert!(!name.starts_with("access-control-"), "{name}");
        assert!(!name.starts_with("x-accel-") || name == "x-accel-buffering", "{name}");
    }
    for cookie in map.get_all("set-cookie") {
        let cookie = cookie.as_bytes().trim_ascii().to_ascii_lowercase();
        assert!(!cookie.starts_with(b"pc-") && !cookie.starts_with(b"__host-pc-"), "{map:?}");
    }
}

/// F16: however the bytes of an answer arrive, it reads the same; and where a second reader finds the end of the head, its status
/// and the length of its body, so does the first.
pub fn answer(data: &[u8]) {
    let Some((step, bytes)) = data.split_first() else { return };
    let whole = heard(bytes, bytes.len().max(1));
    assert_eq!(whole, heard(bytes, usize::from(*step).max(1)), "in steps of {step}");
    assert_eq!(whole, heard(bytes, 1), "byte by byte");
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut second = httparse::Response::new(&mut fields);
    let Some(Answered { status, length, body: said, ended, .. }) = whole else { return };
    // Interim answers are left out, so that the second reader would read another one.
    if bytes.starts_with(b"HTTP/1.1 1") || bytes.starts_with(b"HTTP/1.0 1") {
        return;
    }
    let read = second.parse(bytes);
    assert!(matches!(read, Ok(httparse::Status::Complete(_))), "{read:?}");
    assert_eq!(second.code, Some(status));
    let lengths: Vec<&[u8]> = second
        .headers
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("content-length"))
        .map(|field| field.value)
        .collect();
    let coded = second.headers.iter().any(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
    assert!(lengths.len() + usize::from(coded) <= 1, "two framings were accepted");
    if let (Some(length), [stated]) = (length, lengths.as_slice()) {
        let stated: Option<u64> = std::str::from_utf8(stated).ok().and_then(|stated| stated.parse().ok());
        assert!(Some(length) == stated || matches!(status, 204 | 304), "{length} {stated:?}");
    }
    if coded
        && !matches!(status, 204 | 304)
        && let Ok(httparse::Status::Complete(end)) = read
    {
        let rest = bytes.get(end..).unwrap_or_default();
        match second::chunked(rest) {
            Read::Whole(body, _) => {
                assert!(ended == Some(true) || ended.is_none(), "it is whole, and more is waited for");
                assert!(ended.is_none() || body == said, "two readers read two bodies");
            }
            Read::Partial => assert_ne!(ended, Some(true), "a part is passed off as the whole"),
            Read::Bad => assert_ne!(ended, Some(true), "what has no end has been given one"),
        }
    }
}

/// What was made of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Answered {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    length: Option<u64>,
    body: Vec<u8>,
    /// Nothing more belongs to it; or it is broken.
    ended: Option<bool>,
}

/// Reads one answer in steps. Nothing if its head has not come, or is none.
fn heard(bytes: &[u8], step: usize) -> Option<Answered> {
    let mut reader = Reader::new();
    let mut pieces = bytes.chunks(step);
    let head = loop {
        match reader.head(false, &mut HeaderMap::new()) {
            Err(_) => return None,
            Ok(Some(head)) => break head,
            Ok(None) => reader.hear(pieces.next()?),
        }
    };
    let fields = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    let length = reader.size_hint().exact();
    let mut answered = Answered { status: head.status.as_u16(), fields, length, body: Vec::new(), ended: Some(false) };
    loop {
        match reader.data() {
            Err(_) => answered.ended = None,
            Ok(Piece::End) => answered.ended = Some(true),
            Ok(Piece::Data(data)) => {
                assert!(!data.is_empty());
                answered.body.extend_from_slice(&data);
                continue;
            }
            Ok(Piece::More) => match pieces.next() {
                Some(piece) => {
                    reader.hear(piece);
                    continue;
                }
                None => answered.ended = Some(reader.close()),
            },
        }
        return Some(answered);
    }
}

/// Lines of `name: value`; where a line is no field it is left out.
fn fields(data: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(128) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (Some(name), Some(value)) = (line.get(..colon), line.get(colon + 1..)) else { continue };
        let value = value.trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}

/// F17: a target that is passed on stays under the upstream's path, also for a server that decodes it, twice, and then
/// resolves it; and it is passed on byte for byte.
pub fn target(data: &[u8]) {
    static UPSTREAM: LazyLock<Option<Upstream>> =
        LazyLock::new(|| Upstream::parse("http://upstream/base", Some("/mcp")).ok());
    let (Some(upstream), Ok(asked)) = (&*UPSTREAM, Uri::try_from([b"/mcp", data].concat())) else { return };
    let Ok(target) = upstream.target(&asked) else { return };
    let suffix = asked.path().strip_prefix("/mcp");
    assert_eq!(target.path().strip_prefix("/base"), suffix, "{asked}");
    assert_eq!(target.query(), asked.query(), "{asked}");
    let mut path = target.path().to_owned();
    // As it is, decoded once, decoded twice.
    for _ in 0..3 {
        assert!(!path.contains(['\\', '\0']) && !path.contains("//"), "{target} is read as {path}");
        let url = Url::parse(&format!("http://upstream{path}"));
        assert!(url.is_ok_and(|url| is_under_base(url.path())), "{target} is read as {path}");
        path = decoded(&path);
    }
}

fn is_under_base(path: &str) -> bool {
    path == "/base" || path.starts_with("/base/")
}

/// Percent-decoded. A question mark or a number sign that was encoded is still part of the path to a server, but would
/// not be to the URL reader, and becomes a letter.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let pair = behind.get(..2).filter(|pair| *first == b'%' && pair.iter().all(u8::is_ascii_hexdigit));
        let pair = pair.and_then(|pair| std::str::from_utf8(pair).ok());
        let byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let skip = if byte.is_some() { 2 } else { 0 };
        bytes.push(byte.unwrap_or(*first));
        rest = behind.get(skip..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).replace(['?', '#'], "x")
}

/// The client is the socket's other end or an address that a trusted proxy wrote, and nothing that a client puts in front
/// of the line changes that.
pub fn client(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let blocks = ["10.0.0.0/8", "fd00::/8"].into_iter().filter_map(|block| Cidr::parse(block).ok());
    let trusted = TrustedProxies::new(blocks.collect());
    let proxy = SocketAddr::from(([10, 0, 0, 1], 1));
    let stranger = SocketAddr::from(([203, 0, 113, 1], 1));
    let mut map = HeaderMap::new();
    map.insert("x-forwarded-for", value.clone());
    assert_eq!(peer::client(stranger, &map, &trusted).address, stranger.ip(), "a stranger is believed");
    let found = peer::client(proxy, &map, &trusted).address;
    assert!(found == proxy.ip() || mentions(data, found), "{found} comes from nowhere");
    if !trusted.contains(found) {
        let longer = [b"198.51.100.66, ", data].concat();
        if let Ok(longer) = HeaderValue::from_bytes(&longer) {
            map.insert("x-forwarded-for", longer);
            assert_eq!(peer::client(proxy, &map, &trusted).address, found, "the client chose its own address");
        }
    }
    assert_eq!(peer::rate_key(peer::rate_key(found)), peer::rate_key(found));
}

/// Whether an element of the line can be read as this address.
fn mentions(line: &[u8], address: IpAddr) -> bool {
    let line = String::from_utf8_lossy(line).into_owned();
    line.split(',').any(|hop| {
        let hop = hop.trim().trim_matches('"');
        let bare = hop.trim_start_matches('[').trim_end_matches(']');
        let read = hop.parse::<SocketAddr>().map(|hop| hop.ip()).or_else(|_| bare.parse());
        read.is_ok_and(|read: IpAddr| read.to_canonical() == address)
    })
}
