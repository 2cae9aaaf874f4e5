//! An upstream: where it is, and which of its paths a request becomes.
//!
//! A target is passed on as it came or refused; it is never decoded and encoded again, so that nobody behind the gate
//! can read it differently from what was judged.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use portcullis_domain::limits;
use rustls::ClientConfig;

use super::address::{Address, Stream};

/// A protected server that speaks HTTP/1.1, at one address or at several.
#[derive(Debug)]
pub struct Upstream {
    first: Address,
    others: Vec<Address>,
    tls: Option<Arc<ClientConfig>>,
    /// Whose turn it is among several addresses.
    turn: AtomicUsize,
    pub(super) connect_deadline: Duration,
    pub(super) connections_max: usize,
    /// Connections open on all cores.
    pub(super) open: AtomicUsize,
    /// Requests on all cores that wait because too many connections are open.
    pub(super) waiting: AtomicUsize,
    base: String,
    mount: Option<String>,
}

/// How it stands with an upstream, over all cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// Open connections, with those at rest.
    pub open: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Addresses that are left aside because they failed.
    pub aside: usize,
}

/// An upstream's address that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadUpstream {
    /// It is no `http://host:port/path`, `https://host:port/path` or `unix:/socket:/path`.
    Url,
    /// The scheme is none of these.
    Scheme,
    /// It names a user, a query or a fragment.
    Extra,
    /// Its addresses differ in their path, or some are reached over TLS and some are not.
    Mixed,
    /// There is no address, or there are too many.
    Count,
    /// It is reached over TLS, and nothing says how.
    Tls,
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
    /// The server at this address. With `mount`, the resource is everything under that path of the gateway, and what
    /// follows `mount` in a request is put behind the upstream's path; without it, every request goes to that one path.
    ///
    /// # Errors
    /// [`BadUpstream`].
    pub fn parse(url: &str, mount: Option<&str>) -> Result<Self, BadUpstream> {
        Self::at([url], mount, None)
    }

    /// The same server at several addresses, each a URL as in the documentation of [`BadUpstream::Url`]. `tls` is how those
    /// that speak it are spoken to.
    ///
    /// # Errors
    /// [`BadUpstream`].
    pub fn at<'u>(
        urls: impl IntoIterator<Item = &'u str>,
        mount: Option<&str>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, BadUpstream> {
        let mut addresses = urls.into_iter().map(Address::parse).collect::<Result<Vec<_>, _>>()?.into_iter();
        let first = addresses.next().ok_or(BadUpstream::Count)?;
        let others: Vec<Address> = addresses.collect();
        if others.len() >= limits::UPSTREAM_ADDRESSES_MAX {
            return Err(BadUpstream::Count);
        }
        if others.iter().any(|other| other.path != first.path || other.is_secure() != first.is_secure()) {
            return Err(BadUpstream::Mixed);
        }
        if first.is_secure() && tls.is_none() {
            return Err(BadUpstream::Tls);
        }
        Ok(Self {
            base: first.path.path().trim_end_matches('/').to_owned(),
            first,
            others,
            tls,
            turn: AtomicUsize::new(0),
            connect_deadline: limits::UPSTREAM_CONNECT_DEADLINE,
            connections_max: limits::UPSTREAM_CONNECTIONS_MAX,
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
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

    /// How many addresses it has.
    pub fn addresses(&self) -> usize {
        self.others.len().saturating_add(1)
    }

    /// How it stands with it.
    pub fn gauges(&self) -> Gauges {
        let aside = (0..self.addresses()).filter(|place| !self.address(*place).due().is_zero());
        Gauges { open: self.open.load(Relaxed), waiting: self.waiting.load(Relaxed), aside: aside.count() }
    }

    /// Connects to one of its addresses, and hangs up: for whoever wants to know whether it can be reached.
    ///
    /// # Errors
    /// Why not.
    pub async fn probe(&self, place: usize) -> io::Result<()> {
        match tokio::time::timeout(self.connect_deadline, self.connect(place)).await {
            Ok(connected) => connected.map(drop),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// `Host` as the upstream knows itself at one of its addresses.
    pub(super) fn host(&self, place: usize) -> &HeaderValue {
        &self.address(place).host
    }

    pub(super) fn address(&self, place: usize) -> &Address {
        place.checked_sub(1).and_then(|other| self.others.get(other)).unwrap_or(&self.first)
    }

    pub(super) async fn connect(&self, place: usize) -> io::Result<Stream> {
        self.address(place).connect(self.tls.as_ref()).await
    }

    /// The address for the next request: each that is well in its turn; if none is, the one that may be tried again first.
    /// Turns and not the least busy, because a count of open requests would be one that all cores write to.
    pub(super) fn pick(&self) -> usize {
        if self.others.is_empty() {
            return 0;
        }
        let count = self.addresses();
        let turn = self.turn.fetch_add(1, Relaxed);
        let places = (0..count).map(|step| turn.wrapping_add(step).checked_rem(count).unwrap_or(0));
        // The first of several that are due alike is the one whose turn it is.
        places.min_by_key(|place| self.address(*place).due()).unwrap_or(0)
    }

    /// What a request target becomes at the upstream.
    pub fn target(&self, asked: &Uri) -> Result<Uri, BadTarget> {
        let query = asked.query();
        if query.is_some_and(|query| !query.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(BadTarget::Character);
        }
        let Some(mount) = &self.mount else {
            return match query {
                None => Ok(self.first.path.clone()),
                Some(query) => assemble(&[self.first.path.path(), "?", query]),
            };
        };
        let suffix = asked.path().strip_prefix(mount.as_str()).ok_or(BadTarget::Outside)?;
        if !suffix.is_empty() && !suffix.starts_with('/') {
            return Err(BadTarget::Outside);
        }
        judge(suffix)?;
        let path = match suffix {
            "" => self.first.path.path(),
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

/// Reads a segment as it is and decoded, once and twice, because some servers do, and once more, because readers of URLs
/// take an escaped dot for a dot; and without parameters behind a semicolon, because some servers drop them.
fn judge_segment(segment: &str) -> Result<(), BadTarget> {
    let mut bytes = segment.as_bytes().to_vec();
    for round in 0..4_u8 {
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
    use super::super::address::Place;
    use super::*;

    fn become_of(url: &str, mount: Option<&str>, asked: &str) -> Result<String, BadTarget> {
        let upstream = Upstream::parse(url, mount).unwrap();
        upstream.target(&asked.parse().unwrap()).map(|target| target.to_string())
    }

    #[test]
    fn addresses_are_read() {
        let v4 = Place::Address([127, 0, 0, 1].into(), 3000);
        let v6 = Place::Address(std::net::Ipv6Addr::LOCALHOST.into(), 3000);
        for (url, host, place, path) in [
            ("http://127.0.0.1:3000/mcp", "127.0.0.1:3000", v4, "/mcp"),
            ("http://[::1]:3000", "[::1]:3000", v6, "/"),
            ("http://upstream.internal/", "upstream.internal", Place::Name("upstream.internal".to_owned(), 80), "/"),
            ("unix:/run/mcp.sock:/mcp", "localhost", Place::Socket("/run/mcp.sock".into()), "/mcp"),
            ("unix:/run/mcp.sock", "localhost", Place::Socket("/run/mcp.sock".into()), "/"),
            ("unix:/run/a:b/c.sock:/x/y", "localhost", Place::Socket("/run/a:b/c.sock".into()), "/x/y"),
        ] {
            let upstream = Upstream::parse(url, None).unwrap();
            let address = upstream.address(0);
            assert_eq!(
                (address.host.to_str().unwrap(), &address.place, address.path.path()),
                (host, &place, path),
                "{url}"
            );
        }
        for (url, fault) in [
            ("https://a.example/", BadUpstream::Tls),
            ("ftp://a.example/", BadUpstream::Scheme),
            ("a.example", BadUpstream::Scheme),
            ("/mcp", BadUpstream::Scheme),
            ("unix:run/mcp.sock", BadUpstream::Url),
            ("unix:", BadUpstream::Url),
            ("http://", BadUpstream::Url),
            ("http://a.example:99999/", BadUpstream::Url),
            ("http://a.example:/", BadUpstream::Url),
            ("http://ada@a.example/", BadUpstream::Extra),
            ("http://a.example/?q", BadUpstream::Extra),
            ("http://a.example/#f", BadUpstream::Extra),
        ] {
            assert_eq!(Upstream::parse(url, None).unwrap_err(), fault, "{url}");
        }
        assert_eq!(Upstream::at([], None, None).unwrap_err(), BadUpstream::Count);
        assert_eq!(Upstream::at(["http://a/x", "http://b/y"], None, None).unwrap_err(), BadUpstream::Mixed);
        assert_eq!(Upstream::at(["http://a/x", "https://b/x"], None, None).unwrap_err(), BadUpstream::Mixed);
        let many = vec!["http://a"; limits::UPSTREAM_ADDRESSES_MAX + 1];
        assert_eq!(Upstream::at(many, None, None).unwrap_err(), BadUpstream::Count);
    }

    #[test]
    fn addresses_take_turns_and_one_that_fails_is_left_aside() {
        let upstream = Upstream::at(["http://a", "http://b", "unix:/c"], None, None).unwrap();
        let picks = |count: usize| (0..count).map(|_| upstream.pick()).collect::<Vec<_>>();
        assert_eq!(picks(6), [0, 1, 2, 0, 1, 2]);
        upstream.address(1).failed();
        assert!(!picks(6).contains(&1), "aside");
        upstream.address(0).failed();
        upstream.address(2).failed();
        upstream.address(2).failed();
        assert!(!picks(6).contains(&2), "all are aside: the one that failed twice is due last");
        upstream.address(2).succeeded();
        assert_eq!(picks(3), [2, 2, 2], "one that has answered is well again");
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
            ("/mcp/%25252e.", BadTarget::Segment),
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
