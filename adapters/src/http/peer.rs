//! Who the client is, when proxies stand in front of the gateway.
//!
//! `X-Forwarded-For` is read from right to left: each trusted proxy vouches for the address to its left, and the first
//! address that is not a trusted proxy is the client. What stands left of it is the client's own invention. Out of the
//! box nobody is trusted and the header counts for nothing.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::HeaderName;
use portcullis_domain::limits;

/// A block of addresses, such as `10.0.0.0/8` or `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: u128,
    prefix: u32,
    is_v4: bool,
}

/// A block that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadCidr {
    /// The part before the slash is no IP address.
    Address,
    /// The part behind the slash is no prefix length for such an address.
    Prefix,
    /// The address has bits set behind the prefix: one of the two is not what was meant.
    HostBits,
}

impl Cidr {
    /// Reads a block; an address without a slash is a block of one.
    pub fn parse(text: &str) -> Result<Self, BadCidr> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| BadCidr::Address)?;
        let address = address.to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            // `parse` would take a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| BadCidr::Prefix)?
            }
            Some(_) => return Err(BadCidr::Prefix),
        };
        if prefix > width {
            return Err(BadCidr::Prefix);
        }
        let network = bits(address);
        if network & mask(prefix, address.is_ipv4()) != network {
            return Err(BadCidr::HostBits);
        }
        Ok(Self { network, prefix, is_v4: address.is_ipv4() })
    }

    /// Whether the address lies in the block. An IPv4 address in IPv6 clothing is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.is_v4 && bits(address) & mask(self.prefix, self.is_v4) == self.network
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(prefix: u32, is_v4: bool) -> u128 {
    let width: u32 = if is_v4 { 32 } else { 128 };
    let all = if is_v4 { u128::from(u32::MAX) } else { u128::MAX };
    let host = width.saturating_sub(prefix);
    all & u128::MAX.checked_shl(host).unwrap_or(0)
}

/// The proxies whose word about the client counts.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<Cidr>);

impl TrustedProxies {
    /// These blocks and no others.
    pub fn new(blocks: Vec<Cidr>) -> Self {
        Self(blocks)
    }

    /// Whether this address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|block| block.contains(address))
    }
}

/// The client as far as anybody trustworthy knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client<'a> {
    /// Its address.
    pub address: IpAddr,
    /// Whether the socket's other end is a trusted proxy.
    pub is_proxied: bool,
    /// `X-Forwarded-Proto` of a trusted proxy: true for https.
    pub is_https: Option<bool>,
    /// `X-Forwarded-Host` of a trusted proxy. Empty if it is there and cannot be read, so that it matches no host.
    pub host: Option<&'a str>,
}

/// Finds the client of a request.
pub fn client<'a>(socket: SocketAddr, headers: &'a HeaderMap, trusted: &TrustedProxies) -> Client<'a> {
    let nearest = socket.ip().to_canonical();
    if !trusted.contains(nearest) {
        return Client { address: nearest, is_proxied: false, is_https: None, host: None };
    }
    let is_https = last_of(headers, &X_FORWARDED_PROTO).and_then(|proto| match proto {
        _ if proto.eq_ignore_ascii_case("https") => Some(true),
        _ if proto.eq_ignore_ascii_case("http") => Some(false),
        _ => None,
    });
    let host = last_of(headers, &X_FORWARDED_HOST);
    Client { address: walk(nearest, headers, trusted), is_proxied: true, is_https, host }
}

/// What a rate limit counts by: the address, and of an IPv6 address the /64 that one customer has to itself.
pub fn rate_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask(64, false))),
        address => address,
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

fn walk(nearest: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    let mut known = nearest;
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops.take(limits::FORWARDED_HOPS_MAX) {
        // Nobody vouches for what stands left of something unreadable: the last good address is the client.
        let Some(address) = hop_address(hop) else { break };
        known = address;
        if !trusted.contains(address) {
            break;
        }
    }
    known
}

/// An address as proxies write it: bare, with a port, in brackets, in quotes.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    let bare = text.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse::<Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical())
}

/// The rightmost element of a header: the one that the nearest proxy wrote. Empty if it is no text.
fn last_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let line = headers.get_all(name).iter().next_back()?;
    let text = line.to_str().unwrap_or_default();
    Some(text.rsplit(',').next().unwrap_or_default().trim_matches([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn trusted() -> TrustedProxies {
        TrustedProxies::new(
            ["10.0.0.0/8", "127.0.0.1", "fd00::/8", "::1"].map(|text| Cidr::parse(text).unwrap()).to_vec(),
        )
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn blocks_are_read_and_contain_what_they_should() {
        for (block, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "2001:db8::1", "1.2.3.4"),
            ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::10.1.1.1"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("192.168.1.128/25", "192.168.1.200", "192.168.1.127"),
        ] {
            let read = Cidr::parse(block).unwrap();
            assert!(read.contains(inside.parse().unwrap()), "{block} {inside}");
            assert!(!read.contains(outside.parse().unwrap()), "{block} {outside}");
        }
        for (block, fault) in [
            ("", BadCidr::Address),
            ("10.0.0/8", BadCidr::Address),
            ("010.0.0.0/8", BadCidr::Address),
            ("localhost", BadCidr::Address),
            ("10.0.0.0/", BadCidr::Prefix),
            ("10.0.0.0/33", BadCidr::Prefix),
            ("10.0.0.0/+8", BadCidr::Prefix),
            ("10.0.0.0/-1", BadCidr::Prefix),
            ("::/129", BadCidr::Prefix),
            ("10.0.0.1/8", BadCidr::HostBits),
            ("2001:db8::1/32", BadCidr::HostBits),
        ] {
            assert_eq!(Cidr::parse(block), Err(fault), "{block}");
        }
    }

    #[test]
    fn seed_bug_60_the_client_is_found_from_right_to_left() {
        for (socket, lines, found) in [
            // Nobody trusted in between: the socket is the client whatever is claimed.
            ("203.0.113.9:5", &["198.51.100.1"][..], "203.0.113.9"),
            ("127.0.0.1:5", &[], "127.0.0.1"),
            ("127.0.0.1:5", &["198.51.100.1"], "198.51.100.1"),
            // A spoofed leftmost entry counts for nothing.
            ("127.0.0.1:5", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1:5", &["1.1.1.1", "198.51.100.1, 10.0.0.7"], "198.51.100.1"),
            ("127.0.0.1:5", &["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
            // As proxies write them.
            ("127.0.0.1:5", &["198.51.100.1:4711"], "198.51.100.1"),
            ("127.0.0.1:5", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("127.0.0.1:5", &["[2001:db8::1]"], "2001:db8::1"),
            ("127.0.0.1:5", &["\"[2001:db8::1]:4711\""], "2001:db8::1"),
            ("[::ffff:127.0.0.1]:5", &["::ffff:198.51.100.1"], "198.51.100.1"),
            // Junk stops the walk at the last good address.
            ("127.0.0.1:5", &["198.51.100.1, unknown"], "127.0.0.1"),
            ("127.0.0.1:5", &["198.51.100.1, junk, 10.0.0.7"], "10.0.0.7"),
            ("127.0.0.1:5", &["198.51.100.1,"], "127.0.0.1"),
            ("127.0.0.1:5", &["198.51.100.1:99999"], "127.0.0.1"),
            ("127.0.0.1:5", &["\u{7f}"], "127.0.0.1"),
            ("127.0.0.1:5", &[""], "127.0.0.1"),
        ] {
            let mut map = HeaderMap::new();
            for line in lines {
                if let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) {
                    map.append("x-forwarded-for", value);
                }
            }
            let client = client(socket.parse().unwrap(), &map, &trusted());
            assert_eq!(client.address, found.parse::<IpAddr>().unwrap(), "{socket} {lines:?}");
        }
    }

    #[test]
    fn b60_a_flood_of_hops_is_not_walked() {
        let mut map = HeaderMap::new();
        let line = format!("198.51.100.1{}", ", 10.0.0.1".repeat(1_000));
        map.append("x-forwarded-for", HeaderValue::try_from(line).unwrap());
        let client = client("127.0.0.1:5".parse().unwrap(), &map, &trusted());
        assert_eq!(client.address, "10.0.0.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn proto_and_host_count_only_from_a_trusted_proxy() {
        let map = headers(&[("x-forwarded-proto", "http, HTTPS"), ("x-forwarded-host", "evil.example, gate.example")]);
        let known = client("10.0.0.1:5".parse().unwrap(), &map, &trusted());
        assert_eq!((known.is_proxied, known.is_https, known.host), (true, Some(true), Some("gate.example")));
        let unknown = client("203.0.113.9:5".parse().unwrap(), &map, &trusted());
        assert_eq!((unknown.is_proxied, unknown.is_https, unknown.host), (false, None, None));
        let nobody = client("10.0.0.1:5".parse().unwrap(), &map, &TrustedProxies::default());
        assert_eq!((nobody.is_proxied, nobody.is_https, nobody.host), (false, None, None));
        let odd = headers(&[("x-forwarded-proto", "ws")]);
        assert_eq!(client("10.0.0.1:5".parse().unwrap(), &odd, &trusted()).is_https, None);
    }

    #[test]
    fn a_rate_counts_a_whole_64() {
        for (address, key) in [
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("198.51.100.1", "198.51.100.1"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
        ] {
            assert_eq!(rate_key(address.parse().unwrap()), key.parse::<IpAddr>().unwrap(), "{address}");
        }
    }
}
