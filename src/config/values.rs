//! What single strings are read as: addresses, durations, times, names.

use super::complaint::{Wrong, wrong};
use super::keys::{FilePath, Text, Value};
use super::place::Place;
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::limits::{
    CLAIM_NAME_MAX, CLIENT_ID_MAX, CLIENT_NAME_MAX, GROUP_MAX, HOST_MAX, KEYS_URL_MAX, PROFILE_TEXT_MAX,
    SCOPE_DESCRIPTION_MAX, SCOPE_GRANT_MAX, SUBJECT_MAX,
};
use portcullis_domain::oauth::client_keys::KeysUrl;
use portcullis_domain::oidc::entry::{Address, is_domain};
use portcullis_domain::oidc::issuer::is_tenant;
use portcullis_domain::secret::SecretText;
use portcullis_domain::time::Timestamp;
use serde_json::{Value as Json, json};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Addresses from `address` on that share their first `prefix` bits; all further bits of `address` are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The first address.
    pub address: IpAddr,
    /// How many bits they share: 8 to 32 for IPv4, 7 to 128 for IPv6.
    pub prefix: u8,
}

impl Text for Cidr {
    fn shape() -> Json {
        json!({ "pattern": "^[0-9A-Fa-f.:]+/[0-9]{1,3}$" })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        const NOT_ONE: Wrong =
            wrong("is not a network", "write it as 10.0.0.0/8 or fd00::/8; one address as 10.1.2.3/32");
        let (address, prefix) = text.split_once('/').ok_or(NOT_ONE)?;
        let address: IpAddr = address.parse().map_err(|_| NOT_ONE)?;
        let prefix =
            Some(prefix).filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let prefix: u8 = prefix.ok_or(NOT_ONE)?.parse().map_err(|_| NOT_ONE)?;
        let (bits, least, longest) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 8, 32),
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
                return Err(wrong("is an IPv4 network written as IPv6", "write it as IPv4"));
            }
            IpAddr::V6(address) => (address.to_bits(), 7, 128),
        };
        if prefix > longest {
            return Err(NOT_ONE);
        }
        if prefix < least {
            return Err(wrong(
                "trusts so much of the Internet that anybody could claim any client address",
                "name only the networks of your own proxies",
            ));
        }
        if bits.checked_shl(prefix.into()).unwrap_or(0) != 0 {
            return Err(wrong("is an address inside a network", "write zeros after the prefix, or /32 (IPv6: /128)"));
        }
        Ok(Self { address, prefix })
    }
}

impl Text for SocketAddr {
    fn shape() -> Json {
        json!({})
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let address: Self = text
            .parse()
            .map_err(|_| wrong("is not an address with a port", "write it as 127.0.0.1:8080 or [::1]:8080"))?;
        if address.port() == 0 {
            return Err(wrong("leaves the port to chance", "write a port from 1 to 65535"));
        }
        Ok(address)
    }
}

impl Text for Duration {
    fn shape() -> Json {
        json!({ "pattern": "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$" })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        const NOT_ONE: Wrong = wrong("is not a duration", "write hours, minutes and seconds as 720h, 1h30m or 90s");
        let mut rest = text;
        let mut seconds: u64 = 0;
        for (unit, worth) in [('h', 3600_u64), ('m', 60), ('s', 1)] {
            let Some((digits, after)) = rest.split_once(unit) else { continue };
            if !(1..=6).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(NOT_ONE);
            }
            let count: u64 = digits.parse().map_err(|_| NOT_ONE)?;
            seconds = seconds.saturating_add(count.saturating_mul(worth));
            rest = after;
        }
        if rest.is_empty() && !text.is_empty() { Ok(Self::from_secs(seconds)) } else { Err(NOT_ONE) }
    }
}

impl Text for Timestamp {
    fn shape() -> Json {
        json!({ "format": "date-time", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$" })
    }

    /// RFC 3339 section 5.6, narrowed to whole seconds of UTC.
    fn parse(text: &str) -> Result<Self, Wrong> {
        const NOT_ONE: Wrong = wrong("is not a UTC time of RFC 3339", "write it as 2026-01-31T09:00:00Z");
        moment(text).map(Self::from_secs).ok_or(NOT_ONE)
    }
}

/// Seconds since the Unix epoch of `2026-01-31T09:00:00Z`.
fn moment(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month.checked_sub(1)?).ok()?;
    let length = *lengths.get(before)?;
    if year < 1970 || !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Leap days up to the end of the year before, counted from the year 1.
    let leaps = |year: u64| (year / 4).saturating_add(year / 400).saturating_sub(year / 100);
    let last = year.checked_sub(1)?;
    let days = year
        .checked_sub(1970)?
        .checked_mul(365)?
        .checked_add(leaps(last).checked_sub(leaps(1969))?)?
        .checked_add(lengths.iter().take(before).sum())?
        .checked_add(day.checked_sub(1)?)?;
    days.checked_mul(86_400)?
        .checked_add(hour.checked_mul(3600)?)?
        .checked_add(minute.checked_mul(60)?)?
        .checked_add(second)
}

/// Three numbers of exactly these many digits.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut numbers = [0; 3];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part =
            parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// A text that is read by rules of its own and then kept as it is.
macro_rules! texts {
    ($($(#[$about:meta])* pub struct $name:ident: $shape:expr, $check:expr;)*) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// As configured.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl $crate::config::keys::Text for $name {
            fn shape() -> serde_json::Value {
                $shape
            }

            fn parse(text: &str) -> Result<Self, $crate::config::complaint::Wrong> {
                let check: fn(&str) -> Result<(), $crate::config::complaint::Wrong> = $check;
                check(text).map(|()| Self(text.to_owned()))
            }
        }
    )*};
}
pub(super) use texts;

texts! {
    /// The name of a scope on the wire (RFC 6749 section 3.3).
    pub struct ScopeName: json!({ "pattern": r"^[!#-\[\]-~]+$", "maxLength": SCOPE_GRANT_MAX }), |text| {
        let letters = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
        let instead = "write plain ASCII without spaces, quotes and backslashes";
        unless(text.is_empty() || text.len() > SCOPE_GRANT_MAX || !letters, "is not the name of a scope", instead)
    };

    /// What a scope lets a client do, as a person reads it.
    pub struct ScopeDescription: json!({ "maxLength": SCOPE_DESCRIPTION_MAX }), |text| {
        unless(text.len() > SCOPE_DESCRIPTION_MAX, "is too long for the consent page", "say it in at most 200 bytes")
    };

    /// `client_id` (RFC 6749 appendix A.1, without the space).
    pub struct ClientId: json!({ "maxLength": CLIENT_ID_MAX }), |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        unless(text.len() > CLIENT_ID_MAX || !plain, "is not a client identifier", "write plain ASCII without spaces")
    };

    /// The name of a client or of a resource, as the consent page shows it.
    pub struct ShownName: json!({ "minLength": 1, "maxLength": CLIENT_NAME_MAX }), |text| {
        let is_one = (1..=CLIENT_NAME_MAX).contains(&text.len());
        unless(!is_one, "is empty, or too long for the consent page", "use a name of 1 to 128 bytes")
    };

    /// The name of a claim.
    pub struct ClaimName: json!({ "minLength": 1, "maxLength": CLAIM_NAME_MAX }), |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        let instead = "write plain ASCII without spaces, at most 256 bytes";
        unless(text.is_empty() || text.len() > CLAIM_NAME_MAX || !plain, "is not the name of a claim", instead)
    };

    /// The identifier of a tenant of Entra ID, as its tokens write it.
    pub struct TenantId: json!({ "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$" }), |text| {
        let instead = "write its tenant id, 8-4-4-4-12 digits in lower case, not its domain";
        unless(!is_tenant(text), "is not the identifier of a tenant", instead)
    };

    /// The domain of e-mail addresses.
    pub struct EmailDomain: json!({ "pattern": "^[A-Za-z0-9-]+([.][A-Za-z0-9-]+)*$", "maxLength": HOST_MAX }), |text| {
        unless(!is_domain(text), "is not a domain", "write what stands behind the @, as example.com")
    };

    /// An e-mail address.
    pub struct EmailAddress: json!({ "pattern": "^[^@ ]+@[^@ ]+$", "maxLength": PROFILE_TEXT_MAX }), |text| {
        let good = text.len() <= PROFILE_TEXT_MAX && Address::read(text).is_some();
        unless(!good, "is not an e-mail address", "write one name at one domain, without quotes and comments")
    };

    /// The name of a group.
    pub struct GroupName: json!({ "minLength": 1, "maxLength": GROUP_MAX }), |text| {
        let plain = (1..=GROUP_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        unless(!plain, "is not the name of a group", "write it as the provider does, at most 256 bytes")
    };

    /// `sub` (OpenID Connect Core section 2).
    pub struct Subject: json!({ "minLength": 1, "maxLength": SUBJECT_MAX }), |text| {
        let plain = (1..=SUBJECT_MAX).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        unless(!plain, "is not a subject", "write it as the provider does: 1 to 255 characters of plain ASCII")
    };
}

/// One rule.
pub(super) const fn unless(broken: bool, what: &'static str, instead: &'static str) -> Result<(), Wrong> {
    if broken { Err(wrong(what, instead)) } else { Ok(()) }
}

/// A file of CA certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// Its text: PEM, with at least one certificate in it and no private key.
    pub pem: String,
}

impl Value for CaFile {
    fn schema() -> Json {
        FilePath::schema()
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        let FilePath(path) = FilePath::read(json, at)?;
        let pem = at.file(&path)?.expose().to_owned();
        if pem.contains("PRIVATE KEY-----") {
            at.complain("names a file with a private key in it", "name a file that holds certificates only");
            return None;
        }
        if !pem.contains("-----BEGIN CERTIFICATE-----") {
            at.complain("names a file without a PEM certificate", "name a file of PEM certificates");
            return None;
        }
        Some(Self { path, pem })
    }
}

/// A file that holds the gate's own certificate, with its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFile(pub CaFile);

impl Value for CertificateFile {
    fn schema() -> Json {
        CaFile::schema()
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        CaFile::read(json, at).map(Self)
    }
}

/// The public keys of a client (RFC 7517 section 5).
#[derive(Clone, Debug)]
pub struct Jwks(pub Arc<KeySet>);

impl Jwks {
    fn of(text: &str) -> Result<Self, Wrong> {
        let set =
            KeySet::read(text.as_bytes()).map_err(|_| wrong("is not a JWK Set", "write it as {\"keys\": [..]}"))?;
        if set.passed_over().iter().any(|unfit| unfit.is_secret()) {
            return Err(wrong("holds a private or symmetric key", "give the client's public keys only"));
        }
        if set.keys().is_empty() || !set.passed_over().is_empty() {
            let instead = "use RSA keys of 2048 to 4096 bits, P-256, P-384 or Ed25519, each kid once";
            return Err(wrong("holds no key, or one that signatures cannot be checked with", instead));
        }
        Ok(Self(Arc::new(set)))
    }
}

impl Value for Jwks {
    fn schema() -> Json {
        json!({ "type": "object", "required": ["keys"] })
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        at.take(Self::of(&json.to_string()))
    }
}

/// A file with the public keys of a client.
pub(super) struct JwksFile(pub(super) Jwks);

impl Value for JwksFile {
    fn schema() -> Json {
        FilePath::schema()
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        let FilePath(path) = FilePath::read(json, at)?;
        let text = at.file(&path)?;
        at.take(Jwks::of(text.expose())).map(Self)
    }
}

/// Where a client publishes its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUri(pub KeysUrl);

impl JwksUri {
    /// As configured.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Text for JwksUri {
    fn shape() -> Json {
        json!({ "format": "uri", "pattern": "^https?://[^#@]+$", "maxLength": KEYS_URL_MAX })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        const NOT_ONE: Wrong = wrong("is not where keys can be published", "write an https URL, or http on loopback");
        KeysUrl::configured(text).map(Self).ok_or(NOT_ONE)
    }
}

/// A file that holds a private key.
#[derive(Clone, Debug)]
pub struct KeyFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// Its text: PEM, with a private key in it.
    pub pem: SecretText,
}

impl Value for KeyFile {
    fn schema() -> Json {
        FilePath::schema()
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        let FilePath(path) = FilePath::read(json, at)?;
        let pem = at.file(&path)?;
        if !pem.expose().contains("PRIVATE KEY-----") {
            at.complain(
                "names a file without a PEM private key",
                "name a file that begins with -----BEGIN PRIVATE KEY-----",
            );
            return None;
        }
        Some(Self { path, pem })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What is wrong with a text.
    pub(in crate::config) fn said<T: Text>(text: &str) -> &'static str {
        match T::parse(text) {
            Ok(_) => panic!("{text} was read"),
            Err(wrong) => wrong.wrong,
        }
    }

    #[test]
    fn durations_are_hours_minutes_seconds() {
        for (text, seconds) in
            [("720h", 2_592_000), ("30m", 1800), ("90s", 90), ("1h30m", 5400), ("0s", 0), ("1h1s", 3601)]
        {
            assert_eq!(Duration::parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "h", "30", "30 m", "m30", "30s1h", "1d", "-1h", "+1h", "1.5h", "1h1h", "9999999s", "1H"] {
            assert_eq!(said::<Duration>(text), "is not a duration", "{text}");
        }
    }

    #[test]
    fn times_are_utc_seconds() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-01-31T09:00:00Z", 1_769_850_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(Timestamp::parse(text), Ok(Timestamp::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "2026-01-31",
            "2026-01-31T09:00:00",
            "2026-01-31T09:00:00+01:00",
            "2026-01-31 09:00:00Z",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-32T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00.5Z",
            "1969-12-31T23:59:59Z",
            "2026-1-01T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01-01T00:00:00Z",
            "2026-01-01T00:00:00z",
        ] {
            assert_eq!(said::<Timestamp>(text), "is not a UTC time of RFC 3339", "{text}");
        }
    }

    #[test]
    fn t289_networks_are_exact_and_not_the_whole_internet() {
        for (text, address, prefix) in [
            ("10.0.0.0/8", "10.0.0.0", 8),
            ("10.1.2.3/32", "10.1.2.3", 32),
            ("fd00::/8", "fd00::", 8),
            ("::1/128", "::1", 128),
        ] {
            assert_eq!(Cidr::parse(text), Ok(Cidr { address: address.parse().unwrap(), prefix }), "{text}");
        }
        for text in ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "8000::/1"] {
            assert!(said::<Cidr>(text).starts_with("trusts so much"), "{text}");
        }
        for text in ["10.0.0.1/8", "fd00::1/8", "192.168.1.1/24"] {
            assert_eq!(said::<Cidr>(text), "is an address inside a network", "{text}");
        }
        for text in
            ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "fd00::/+8", "a/8", "10.0.0.0/8/8"]
        {
            assert_eq!(said::<Cidr>(text), "is not a network", "{text}");
        }
        assert_eq!(said::<Cidr>("::ffff:10.0.0.0/104"), "is an IPv4 network written as IPv6");
    }

    #[test]
    fn listeners_have_an_address_and_a_port() {
        assert_eq!(SocketAddr::parse("[::1]:80"), Ok("[::1]:80".parse().unwrap()));
        for text in [":8080", "8080", "localhost:8080", "127.0.0.1", "127.0.0.1:65536"] {
            assert_eq!(said::<SocketAddr>(text), "is not an address with a port", "{text}");
        }
        assert_eq!(said::<SocketAddr>("127.0.0.1:0"), "leaves the port to chance");
    }

    #[test]
    fn scope_names_are_scope_tokens() {
        for text in ["mcp", "mcp:read", "https://example.com/a", "!"] {
            assert!(ScopeName::parse(text).is_ok(), "{text}");
        }
        let long = "s".repeat(SCOPE_GRANT_MAX + 1);
        for text in ["a b", "a\"b", "a\\b", "ä", "a\u{7f}", &long] {
            assert_eq!(said::<ScopeName>(text), "is not the name of a scope", "{text}");
        }
    }
}
