//! An upstream: where it is, and which of its paths a request becomes.
//!
//! A target is passed on as it came or refused; it is never decoded and encoded again, so that nobody behind the gate
//! can read it differently from what was judged.

use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use portcullis_domain::limits;

/// A protected server that speaks HTTP/1.1.
#[derive(Debug)]
pub struct Upstream {
    pub(super) place: Place,
    pub(super) port: u16,
    pub(super) connect_deadline: Duration,
    pub(super) connections_max: usize,
    /// Connections open on all cores.
    pub(super) open: AtomicUsize,
    /// Requests on all cores that wait because too many connections are open.
    pub(super) waiting: AtomicUsize,
    host: HeaderValue,
    base: String,
    exact: Uri,
    mount: Option<String>,
}

/// Where the upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Address(IpAddr),
    Name(String),
}

/// An upstream's address that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadUpstream {
    /// It is no `http://host:port/path`.
    Url,
    /// The scheme is not http.
    Scheme,
    /// It names a user, a query or a fragment.
    Extra,
}

/// A request target that is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTarget {
    /// It does not lie under the resource's path.
    Outside,
    /// A segment is empty, or means this or the parent directory, however it is written.
    Segment,
    /// A backslash, a control, a byte beyond ASCII, an encoded slash, backslash or NUL, or a percent sign that encodes
    /// nothing.
    Character,
}

impl Upstream {
    /// Reads `http://host:port/path`. With `mount`, the resource is everything under that path of the gateway, and what
    /// follows `mount` in a request is put behind the upstream's path; without it, every request goes to that one path.
    pub fn parse(url: &str, mount: Option<&str>) -> Result<Self, BadUpstream> {
        if url.contains(['#', '?', '@']) {
            return Err(BadUpstream::Extra);
        }
        let uri: Uri = url.parse().map_err(|_| BadUpstream::Url)?;
        if uri.scheme_str() != Some("http") {
            return Err(BadUpstream::Scheme);
        }
        let authority = uri.authority().ok_or(BadUpstream::Url)?;
        let name = authority.host();
        if name.is_empty() {
            return Err(BadUpstream::Url);
        }
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let place = match bare.parse::<IpAddr>() {
            Ok(address) => Place::Address(address),
            Err(_) => Place::Name(name.to_owned()),
        };
        // Digits alone: `parse` would take a sign.
        let port = match authority.as_str().strip_prefix(name).and_then(|rest| rest.strip_prefix(':')) {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| BadUpstream::Url)?
            }
            Some(_) => return Err(BadUpstream::Url),
            None => 80,
        };
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| BadUpstream::Url)?;
        let exact: Uri = uri.path().parse().map_err(|_| BadUpstream::Url)?;
        Ok(Self {
            place,
            port,
            connect_deadline: limits::UPSTREAM_CONNECT_DEADLINE,
            connections_max: limits::UPSTREAM_CONNECTIONS_MAX,
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            host,
            base: uri.path().trim_end_matches('/').to_owned(),
            exact,
            mount: mount.map(|mount| mount.trim_end_matches('/').to_owned()),
        })
    }

    /// The same with another bound on its connections, over all cores.
    pub fn with_connections_max(self, connections_max: usize) -> Self {
        Self { connections_max, ..self }
    }

    /// The same with another deadline for a connection.
    pub fn with_connect_deadline(self, connect_deadline: Duration) -> Self {
        Self { connect_deadline, ..self }
    }

    /// `Host` as the upstream knows itself.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// What a request target becomes at the upstream.
    pub fn target(&self, asked: &Uri) -> Result<Uri, BadTarget> {
        let query = asked.query();
        if query.is_some_and(|query| !query.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(BadTarget::Character);
        }
        let Some(mount) = &self.mount else {
            return match query {
                None => Ok(self.exact.clone()),
                Some(query) => assemble(&[self.exact.path(), "?", query]),
            };
        };
        let suffix = asked.path().strip_prefix(mount.as_str()).ok_or(BadTarget::Outside)?;
        if !suffix.is_empty() && !suffix.starts_with('/') {
            return Err(BadTarget::Outside);
        }
        judge(suffix)?;
        let path = match suffix {
            "" => self.exact.path(),
            _ => self.base.as_str(),
        };
        match query {
            None => assemble(&[path, suffix]),
            Some(query) => assemble(&[path, suffix, "?", query]),
        }
    }
}

fn assemble(parts: &[&str]) -> Result<Uri, BadTarget> {
    Uri::try_from(parts.concat()).map_err(|_| BadTarget::Character)
}

/// Refuses a path that a server might resolve to somewhere else than where it seems to lie.
fn judge(suffix: &str) -> Result<(), BadTarget> {
    if !suffix.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err(BadTarget::Character);
    }
    // RFC 3986 section 2.1: two hexadecimal digits follow. Servers differ in what they make of anything else.
    let is_escape = |behind: &str| behind.bytes().map_while(digit).take(2).count() == 2;
    if !suffix.split('%').skip(1).all(is_escape) {
        return Err(BadTarget::Character);
    }
    let Some(segments) = suffix.strip_prefix('/') else { return Ok(()) };
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(BadTarget::Segment);
        }
        judge_segment(segment)?;
    }
    Ok(())
}

/// Reads a segment as it is, decoded once and decoded twice, because some servers do, and without parameters behind a
/// semicolon, because some servers drop them.
fn judge_segment(segment: &str) -> Result<(), BadTarget> {
    let mut bytes = segment.as_bytes().to_vec();
    for round in 0..3_u8 {
        if round > 0 {
            if !bytes.contains(&b'%') {
                return Ok(());
            }
            bytes = decode(&bytes);
            // Some readers of URLs drop line ends and tabs, and with them what keeps two dots from being a segment.
            if bytes.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0..=0x1f | 0x7f)) {
                return Err(BadTarget::Character);
            }
        }
        let name = bytes.split(|byte| *byte == b';').next().unwrap_or_default();
        // Spaces around a name are dropped by others.
        if matches!(name.trim_ascii(), b"." | b"..") {
            return Err(BadTarget::Segment);
        }
    }
    Ok(())
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%'
            && let [high, low, behind @ ..] = behind
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            decoded.push((high << 4) | low);
            rest = behind;
        } else {
            decoded.push(*first);
            rest = behind;
        }
    }
    decoded
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn become_of(url: &str, mount: Option<&str>, asked: &str) -> Result<String, BadTarget> {
        let upstream = Upstream::parse(url, mount).unwrap();
        upstream.target(&asked.parse().unwrap()).map(|target| target.to_string())
    }

    #[test]
    fn addresses_are_read() {
        for (url, host, port, place) in [
            ("http://127.0.0.1:3000/mcp", "127.0.0.1:3000", 3000, Place::Address([127, 0, 0, 1].into())),
            ("http://[::1]:3000", "[::1]:3000", 3000, Place::Address(std::net::Ipv6Addr::LOCALHOST.into())),
            ("http://upstream.internal/", "upstream.internal", 80, Place::Name("upstream.internal".to_owned())),
        ] {
            let upstream = Upstream::parse(url, None).unwrap();
            assert_eq!(
                (upstream.host().to_str().unwrap(), upstream.port, upstream.place.clone()),
                (host, port, place),
                "{url}"
            );
        }
        for (url, fault) in [
            ("https://a.example/", BadUpstream::Scheme),
            ("a.example", BadUpstream::Scheme),
            ("/mcp", BadUpstream::Scheme),
            ("http://", BadUpstream::Url),
            ("http://a.example:99999/", BadUpstream::Url),
            ("http://a.example:/", BadUpstream::Url),
            ("http://ada@a.example/", BadUpstream::Extra),
            ("http://a.example/?q", BadUpstream::Extra),
            ("http://a.example/#f", BadUpstream::Extra),
        ] {
            assert_eq!(Upstream::parse(url, None).unwrap_err(), fault, "{url}");
        }
    }

    #[test]
    fn t237_an_exact_resource_goes_to_one_path() {
        for (url, asked, target) in [
            ("http://u:1/mcp", "/mcp", "/mcp"),
            ("http://u:1/mcp", "/other?x=%2e%2e/&y", "/mcp?x=%2e%2e/&y"),
            ("http://u:1", "/mcp", "/"),
            ("http://u:1/a/b/", "/mcp", "/a/b/"),
        ] {
            assert_eq!(become_of(url, None, asked).as_deref(), Ok(target), "{url} {asked}");
        }
    }

    #[test]
    fn t237_a_subtree_passes_what_follows_raw() {
        for (url, mount, asked, target) in [
            ("http://u:1/base", "/mcp", "/mcp", "/base"),
            ("http://u:1/base/", "/mcp/", "/mcp", "/base/"),
            ("http://u:1/base/", "/mcp", "/mcp/", "/base/"),
            ("http://u:1/base", "/mcp", "/mcp/a%20b/c;v=1/?q=%00..", "/base/a%20b/c;v=1/?q=%00.."),
            ("http://u:1", "/", "/sse?x", "/sse?x"),
            ("http://u:1", "/", "/", "/"),
            ("http://u:1", "/mcp", "/mcp/...", "/..."),
            ("http://u:1", "/mcp", "/mcp/a..b/.c", "/a..b/.c"),
        ] {
            assert_eq!(become_of(url, Some(mount), asked).as_deref(), Ok(target), "{url} {mount} {asked}");
        }
    }

    #[test]
    fn t237_a_subtree_cannot_be_left() {
        for (asked, fault) in [
            ("/mcpx", BadTarget::Outside),
            ("/MCP/a", BadTarget::Outside),
            ("/%6dcp/a", BadTarget::Outside),
            ("/other", BadTarget::Outside),
            ("/mcp/..", BadTarget::Segment),
            ("/mcp/.", BadTarget::Segment),
            ("/mcp/a/../../b", BadTarget::Segment),
            ("/mcp/%2e%2e/b", BadTarget::Segment),
            ("/mcp/%2E./b", BadTarget::Segment),
            ("/mcp/.%2e", BadTarget::Segment),
            ("/mcp/..;x=y/b", BadTarget::Segment),
            ("/mcp/..%3bx/b", BadTarget::Segment),
            ("/mcp/%252e%252e/b", BadTarget::Segment),
            ("/mcp//b", BadTarget::Segment),
            ("/mcp/a%2fb", BadTarget::Character),
            ("/mcp/a%5Cb", BadTarget::Character),
            ("/mcp/a%00", BadTarget::Character),
            ("/mcp/a%zz", BadTarget::Character),
            ("/mcp/a%+0", BadTarget::Character),
            ("/mcp/a%", BadTarget::Character),
            ("/mcp/a%2", BadTarget::Character),
            ("/mcp/a%252fb", BadTarget::Character),
            ("/mcp/..%2f..%2fb", BadTarget::Character),
        ] {
            assert_eq!(become_of("http://u:1/base", Some("/mcp"), asked), Err(fault), "{asked}");
        }
    }
}
