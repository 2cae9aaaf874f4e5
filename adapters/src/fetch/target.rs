//! Where a call wants to go, judged by the text of its URL alone, before any name is resolved.
//!
//! RFC 3986 section 3, RFC 9110 section 4.2. The reader of URLs is the one of the whole house; it takes no host that
//! others could read as an IPv4 address in an odd spelling (`0x7f.1`, `2130706433`), and no zone.

use std::net::IpAddr;

use portcullis_domain::wire::uri::{self, Uri};

use super::vet::Reach;
use super::{Misconfigured, Refusal};

/// A judged destination.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) secure: bool,
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) path_and_query: String,
    pub(super) reach: Reach,
}

impl Target {
    /// The `Host` header: the port only where it is not the scheme's own (RFC 9110 section 7.2).
    pub(super) fn authority(&self) -> String {
        let host = match &self.host {
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
            Host::Address(IpAddr::V4(address)) => address.to_string(),
            Host::Name(name) => name.clone(),
        };
        if self.port == default_port(self.secure) { host } else { format!("{host}:{}", self.port) }
    }
}

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// An IP literal: vetted like an answer of the resolver.
    Address(IpAddr),
    /// A name in lower case.
    Name(String),
}

/// A host, and a port where only that one is meant: a line of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    host: Host,
    port: Option<u16>,
}

impl Place {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`: what can stand between `https://` and the path.
    pub(super) fn read(text: &str) -> Result<Self, Misconfigured> {
        let url = format!("https://{text}");
        let uri = Uri::parse(&url).map_err(|_| Misconfigured::Host)?;
        let host = uri.host().filter(|_| uri.userinfo().is_none() && uri.authority() == Some(text));
        Ok(Self { host: host.map(Host::from).ok_or(Misconfigured::Host)?, port: uri.port() })
    }

    fn is(&self, host: &Host, port: u16) -> bool {
        self.host == *host && self.port.is_none_or(|own| own == port)
    }
}

/// What the configuration says about hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// Hosts that the configuration names: anything goes.
    pub(super) named: Vec<Place>,
    /// Hosts at which this gateway itself is reached.
    pub(super) own: Vec<Place>,
}

impl Places {
    /// Judges a URL: https at port 443 and not this gateway itself, unless the configuration names the host.
    pub(super) fn judge(&self, url: &str) -> Result<Target, Refusal> {
        let uri = Uri::parse(url).map_err(|_| Refusal::Url)?;
        if uri.userinfo().is_some() || uri.fragment().is_some() {
            return Err(Refusal::Url);
        }
        if !uri.is_web() {
            return Err(Refusal::Scheme);
        }
        let secure = uri.has_scheme("https");
        let port = uri.port().unwrap_or(default_port(secure));
        let host = uri.host().map(Host::from).ok_or(Refusal::Url)?;
        let named = self.named.iter().any(|place| place.is(&host, port));
        if !named {
            if !secure {
                return Err(Refusal::Scheme);
            }
            if port != default_port(true) {
                return Err(Refusal::Port);
            }
            if self.own.iter().any(|place| place.is(&host, port)) {
                return Err(Refusal::Own);
            }
        }
        let reach = if named { Reach::Anywhere } else { Reach::Public };
        Ok(Target { secure, host, port, path_and_query: path_and_query(&uri), reach })
    }
}

impl From<uri::Host<'_>> for Host {
    fn from(host: uri::Host<'_>) -> Self {
        match host {
            uri::Host::Name(name) => Self::Name(name.to_ascii_lowercase()),
            uri::Host::V4(address) => Self::Address(address.into()),
            uri::Host::V6(address) => Self::Address(address.into()),
        }
    }
}

/// What stands in the request line: an empty path is sent as `/` (RFC 9112 section 3.2.1).
fn path_and_query(uri: &Uri<'_>) -> String {
    let path = if uri.path().is_empty() { "/" } else { uri.path() };
    match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

const fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_domain::limits::URI_MAX;

    fn places(named: &[&str], own: &[&str]) -> Places {
        let read = |texts: &[&str]| texts.iter().map(|text| Place::read(text).unwrap()).collect();
        Places { named: read(named), own: read(own) }
    }

    fn refusal(places: &Places, url: &str) -> Option<Refusal> {
        places.judge(url).err()
    }

    #[test]
    fn t127_strangers_may_name_only_https_at_443() {
        let places = places(&[], &[]);
        for port in ["22", "25", "80", "6379", "11211", "9200", "1", "444", "8443", "65535"] {
            assert_eq!(refusal(&places, &format!("https://a.example:{port}/")), Some(Refusal::Port), "{port}");
        }
        for url in
            ["http://a.example/", "http://a.example:443/", "ftp://a.example/", "file:///etc/passwd", "gopher://a/"]
        {
            assert_eq!(refusal(&places, url), Some(Refusal::Scheme), "{url}");
        }
        for url in ["https://a.example", "https://a.example:443/x?y", "HTTPS://A.example/"] {
            let target = places.judge(url).unwrap_or_else(|refusal| panic!("{url}: {refusal:?}"));
            assert_eq!((target.port, target.reach, target.secure), (443, Reach::Public, true), "{url}");
            assert_eq!(target.authority(), "a.example", "{url}");
        }
    }

    #[test]
    fn t123_odd_spellings_of_addresses_are_no_hosts() {
        let places = places(&[], &[]);
        for host in [
            "0x7f.1",
            "0x7f.0.0.1",
            "0x7f000001",
            "2130706433",
            "017700000001",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "1.2.3.4.5",
            "256.1.1.1",
            "a.1",
            "a.0x",
            "a.0X7F",
            "a.09",
            "[::1%25lo]",
            "[::1%lo]",
            "[fe80::1%eth0]",
            "[::1",
            "::1",
            "[1.2.3.4]",
            "[::ffff:127.0.0.1]",
            "a_b.example",
            "[v1.a]",
            "a..b",
            ".a",
            "a.",
            "-a.example",
            "a-.example",
            "a%2eexample",
            "user@a.example",
            "user:pw@a.example",
            "a.example@127.0.0.1",
            "",
            "\u{2488}.example",
            "a b",
            "a,b",
            "a;b",
            "a$b",
            "*.example",
        ] {
            let answer = refusal(&places, &format!("https://{host}/"));
            assert_eq!(answer, Some(Refusal::Url), "{host}");
        }
    }

    #[test]
    fn t123_ip_literals_are_read_as_addresses() {
        let places = places(&[], &[]);
        for (host, address) in
            [("127.0.0.1", "127.0.0.1"), ("[::ffff:7f00:1]", "::ffff:127.0.0.1"), ("[2001:DB8::1]", "2001:db8::1")]
        {
            let target =
                places.judge(&format!("https://{host}/")).unwrap_or_else(|refusal| panic!("{host}: {refusal:?}"));
            assert_eq!(target.host, Host::Address(address.parse().unwrap()), "{host}");
        }
    }

    #[test]
    fn urls_that_other_readers_split_differently_are_refused() {
        let places = places(&["a.example", "127.0.0.1"], &[]);
        for url in [
            "",
            "https:",
            "https:/a.example/",
            "//a.example/",
            "https://",
            "https:///a.example/",
            "https://a.example:/",
            "https://a.example:0/",
            "https://a.example:0443/",
            "https://a.example:+443/",
            "https://a.example:65536/",
            "https://a.example:443:443/",
            "https://a.example\\@b/",
            "https://a.example/#f",
            "https://a.example/\r\nX: y",
            "https://a.example/\u{e9}",
            "https://a.example/ b",
            " https://a.example/",
            "https://a.example\t/",
            "https://a.example/<x>",
        ] {
            let answer = refusal(&places, url);
            assert_eq!(answer, Some(Refusal::Url), "{url}");
        }
        let long = format!("https://a.example/{}", "a".repeat(URI_MAX));
        assert_eq!(refusal(&places, &long), Some(Refusal::Url));
    }

    #[test]
    fn p08_what_the_configuration_names_may_be_reached_in_any_way() {
        let places = places(&["Dex.internal", "idp.internal:5556", "127.0.0.1:9000", "[::1]"], &["dex.internal"]);
        for (url, reach) in [
            ("http://dex.internal/", Ok(Reach::Anywhere)),
            ("https://DEX.INTERNAL:8443/", Ok(Reach::Anywhere)),
            ("http://idp.internal:5556/dex", Ok(Reach::Anywhere)),
            ("http://idp.internal/dex", Err(Refusal::Scheme)),
            ("https://idp.internal:5557/", Err(Refusal::Port)),
            ("https://idp.internal/", Ok(Reach::Public)),
            ("http://127.0.0.1:9000/", Ok(Reach::Anywhere)),
            ("http://127.0.0.1:9001/", Err(Refusal::Scheme)),
            ("http://[0:0::1]:77/", Ok(Reach::Anywhere)),
            ("https://sub.dex.internal/", Ok(Reach::Public)),
            ("http://sub.dex.internal/", Err(Refusal::Scheme)),
        ] {
            assert_eq!(places.judge(url).map(|target| target.reach), reach, "{url}");
        }
    }

    #[test]
    fn t131_own_hosts_are_refused() {
        let places = places(&[], &["gate.example", "other.example:8443"]);
        assert_eq!(refusal(&places, "https://gate.example/.well-known/x"), Some(Refusal::Own));
        assert_eq!(refusal(&places, "https://GATE.example:443/"), Some(Refusal::Own));
        assert_eq!(refusal(&places, "https://other.example/"), None);
    }

    #[test]
    fn what_is_sent_follows_from_the_url() {
        let places = places(&["h.example", "[::1]"], &[]);
        for (url, authority, path) in [
            ("http://h.example", "h.example", "/"),
            ("http://h.example:80/a?b=c", "h.example", "/a?b=c"),
            ("http://h.example:443/a", "h.example:443", "/a"),
            ("https://h.example:80?q", "h.example:80", "/?q"),
            ("http://[::1]:8080/a:b@c", "[::1]:8080", "/a:b@c"),
        ] {
            let target = places.judge(url).unwrap_or_else(|refusal| panic!("{url}: {refusal:?}"));
            assert_eq!((target.authority().as_str(), target.path_and_query.as_str()), (authority, path), "{url}");
        }
    }

    #[test]
    fn a_place_is_a_host_and_perhaps_a_port() {
        for text in ["", "a:", "a:x", "a:0", "https://a", "a/b", "a:1:2", "0x7f.1", "[::1", "user@a"] {
            assert_eq!(Place::read(text), Err(Misconfigured::Host), "{text}");
        }
    }
}
