//! Which addresses are not places on the public internet.
//!
//! RFC 6890 and the two special-purpose address registries that it founded, RFC 4291 section 2.4, RFC 5214 section 6.1.
//!
//! An IPv6 address must lie in 2000::/3, the only block handed out for global unicast, and outside the ranges below.
//! Forms that carry an IPv4 address inside (mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP) are refused
//! whole, whatever they carry: no public server needs to be reached through them, and where such a packet ends up is
//! decided by a translator that this program does not know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names the special-use range that holds `address`; `None` means that it is a public unicast address.
#[must_use]
pub fn special_use(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => V4.iter().find(|range| range.holds(address)).map(|range| range.used_for),
        IpAddr::V6(address) => V6
            .iter()
            .find(|range| range.holds(address))
            .map(|range| range.used_for)
            .or_else(|| is_isatap(address).then_some("ISATAP"))
            .or_else(|| (!GLOBAL_UNICAST.holds(address)).then_some("outside global unicast")),
    }
}

/// The addresses that share their first `prefix` bits with `first`.
struct Range<A> {
    first: A,
    prefix: u32,
    used_for: &'static str,
}

impl Range<Ipv4Addr> {
    fn holds(&self, address: Ipv4Addr) -> bool {
        (self.first.to_bits() ^ address.to_bits()).leading_zeros() >= self.prefix
    }
}

impl Range<Ipv6Addr> {
    fn holds(&self, address: Ipv6Addr) -> bool {
        (self.first.to_bits() ^ address.to_bits()).leading_zeros() >= self.prefix
    }
}

/// An interface identifier of 00-00-5E-FE or 02-00-5E-FE and then an IPv4 address can follow any prefix.
fn is_isatap(address: Ipv6Addr) -> bool {
    let [_, _, _, _, high, low, _, _] = address.segments();
    high & !0x0200 == 0 && low == 0x5efe
}

const fn v4(first: [u8; 4], prefix: u32, used_for: &'static str) -> Range<Ipv4Addr> {
    let [a, b, c, d] = first;
    Range { first: Ipv4Addr::new(a, b, c, d), prefix, used_for }
}

const fn v6(first: [u16; 8], prefix: u32, used_for: &'static str) -> Range<Ipv6Addr> {
    let [a, b, c, d, e, f, g, h] = first;
    Range { first: Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix, used_for }
}

const GLOBAL_UNICAST: Range<Ipv6Addr> = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, "global unicast");

/// The IPv4 registry, multicast, and one address that a large cloud keeps for its own machines.
const V4: [Range<Ipv4Addr>; 19] = [
    v4([0, 0, 0, 0], 8, "this network"),
    v4([10, 0, 0, 0], 8, "private use"),
    v4([100, 64, 0, 0], 10, "shared address space"),
    v4([127, 0, 0, 0], 8, "loopback"),
    v4([168, 63, 129, 16], 32, "cloud platform services"),
    v4([169, 254, 0, 0], 16, "link local"),
    v4([172, 16, 0, 0], 12, "private use"),
    v4([192, 0, 0, 0], 24, "protocol assignments"),
    v4([192, 0, 2, 0], 24, "documentation"),
    v4([192, 31, 196, 0], 24, "AS112"),
    v4([192, 52, 193, 0], 24, "multicast tunnels"),
    v4([192, 88, 99, 0], 24, "6to4 relay"),
    v4([192, 168, 0, 0], 16, "private use"),
    v4([192, 175, 48, 0], 24, "AS112"),
    v4([198, 18, 0, 0], 15, "benchmarking"),
    v4([198, 51, 100, 0], 24, "documentation"),
    v4([203, 0, 113, 0], 24, "documentation"),
    v4([224, 0, 0, 0], 4, "multicast"),
    v4([240, 0, 0, 0], 4, "reserved"),
];

/// The IPv6 registry. What lies outside 2000::/3 would be refused anyway and is listed so that logs name it.
const V6: [Range<Ipv6Addr>; 19] = [
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible"),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped"),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "IPv4-translated"),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "NAT64"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local NAT64"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard only"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "dummy prefix"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "protocol assignments and Teredo"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4"),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "AS112"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link local"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site local"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What may lie next to a range.
    enum Side {
        Public,
        /// Another special-use range begins or ends there, or the address space does.
        Special,
    }
    use Side::{Public, Special};

    /// First and last address of each range, and whether the addresses beside it are public. Written out, not computed,
    /// so that a wrong prefix in the table cannot be wrong here in the same way.
    const BOUNDARIES: [(&str, &str, Side, Side); 42] = [
        ("0.0.0.0", "0.255.255.255", Special, Public),
        ("10.0.0.0", "10.255.255.255", Public, Public),
        ("100.64.0.0", "100.127.255.255", Public, Public),
        ("127.0.0.0", "127.255.255.255", Public, Public),
        ("168.63.129.16", "168.63.129.16", Public, Public),
        ("169.254.0.0", "169.254.255.255", Public, Public),
        ("172.16.0.0", "172.31.255.255", Public, Public),
        ("192.0.0.0", "192.0.0.255", Public, Public),
        ("192.0.2.0", "192.0.2.255", Public, Public),
        ("192.31.196.0", "192.31.196.255", Public, Public),
        ("192.52.193.0", "192.52.193.255", Public, Public),
        ("192.88.99.0", "192.88.99.255", Public, Public),
        ("192.168.0.0", "192.168.255.255", Public, Public),
        ("192.175.48.0", "192.175.48.255", Public, Public),
        ("198.18.0.0", "198.19.255.255", Public, Public),
        ("198.51.100.0", "198.51.100.255", Public, Public),
        ("203.0.113.0", "203.0.113.255", Public, Public),
        ("224.0.0.0", "239.255.255.255", Public, Special),
        ("240.0.0.0", "255.255.255.255", Special, Special),
        ("::", "::", Special, Special),
        ("::1", "::1", Special, Special),
        ("::2", "::ffff:ffff", Special, Special),
        ("::ffff:0:0", "::ffff:ffff:ffff", Special, Special),
        ("::ffff:0:0:0", "::ffff:0:ffff:ffff", Special, Special),
        ("64:ff9b::", "64:ff9b::ffff:ffff", Special, Special),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Special, Special),
        ("100::", "100::ffff:ffff:ffff:ffff", Special, Special),
        ("100:0:0:1::", "100::1:ffff:ffff:ffff:ffff", Special, Special),
        ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Special, Public),
        ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Public, Public),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Public, Public),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Public, Public),
        ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", Public, Public),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Public, Public),
        ("4000::", "4000::", Public, Special),
        ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Special, Special),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Special, Special),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Special, Special),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Special, Special),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Special, Special),
        ("2606:4700::5efe:808:808", "2606:4700::5efe:808:808", Special, Special),
        ("2606:4700::200:5efe:0:0", "2606:4700::200:5efe:ffff:ffff", Public, Public),
    ];

    fn step(address: IpAddr, up: bool) -> Option<IpAddr> {
        match address {
            IpAddr::V4(a) => {
                let bits = if up { a.to_bits().checked_add(1) } else { a.to_bits().checked_sub(1) };
                bits.map(|bits| Ipv4Addr::from_bits(bits).into())
            }
            IpAddr::V6(a) => {
                let bits = if up { a.to_bits().checked_add(1) } else { a.to_bits().checked_sub(1) };
                bits.map(|bits| Ipv6Addr::from_bits(bits).into())
            }
        }
    }

    #[test]
    fn t123_every_boundary_of_every_range() {
        for (first, last, before, after) in BOUNDARIES {
            let (first, last): (IpAddr, IpAddr) = (first.parse().unwrap(), last.parse().unwrap());
            for inside in [first, last] {
                assert!(special_use(inside).is_some(), "{inside} is special");
            }
            for (side, outside) in [(before, step(first, false)), (after, step(last, true))] {
                let public = outside.is_some_and(|address| special_use(address).is_none());
                assert_eq!(public, matches!(side, Public), "beside {first} to {last}: {outside:?}");
            }
        }
    }

    #[test]
    fn t123_every_row_of_the_table_has_its_boundaries_tested() {
        let tested = |row: IpAddr| BOUNDARIES.iter().any(|(first, ..)| first.parse::<IpAddr>().unwrap() == row);
        for row in V4 {
            assert!(tested(row.first.into()), "{}", row.first);
        }
        for row in V6 {
            assert!(tested(row.first.into()), "{}", row.first);
        }
    }

    #[test]
    fn t123_ranges_are_named() {
        for (address, used_for) in [
            ("169.254.169.254", "link local"),
            ("100.100.100.200", "shared address space"),
            ("192.0.0.192", "protocol assignments"),
            ("255.255.255.255", "reserved"),
            ("fd00:ec2::254", "unique local"),
            ("fe80::1", "link local"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "protocol assignments and Teredo"),
            ("2001:20::1", "protocol assignments and Teredo"),
            ("4000::1", "outside global unicast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
        ] {
            assert_eq!(special_use(address.parse().unwrap()), Some(used_for), "{address}");
        }
    }

    #[test]
    fn t123_public_addresses_stay_reachable() {
        for address in ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"] {
            assert_eq!(special_use(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn t123_embedded_ipv4_is_refused_in_every_form() {
        // Loopback, cloud metadata, and a public address: a translator in the way is refused whatever it translates.
        for inner in [[127, 0, 0, 1], [169, 254, 169, 254], [8, 8, 8, 8]] {
            let bits = u128::from(u32::from_be_bytes(inner));
            let at = |prefix: &str, shift: u32| {
                Ipv6Addr::from_bits(prefix.parse::<Ipv6Addr>().unwrap().to_bits() | bits << shift)
            };
            for (form, address) in [
                ("compatible", at("::", 0)),
                ("mapped", at("::ffff:0:0", 0)),
                ("translated", at("::ffff:0:0:0", 0)),
                ("NAT64", at("64:ff9b::", 0)),
                ("NAT64 local", at("64:ff9b:1::", 0)),
                ("NAT64 local, /48 layout", at("64:ff9b:1::", 64)),
                ("6to4", at("2002::", 80)),
                ("Teredo server", at("2001::", 64)),
                ("Teredo client", Ipv6Addr::from_bits(at("2001::", 0).to_bits() ^ 0xffff_ffff)),
                ("ISATAP", at("2a00:1450::5efe:0:0", 0)),
                ("ISATAP, universal bit", at("2a00:1450::200:5efe:0:0", 0)),
                ("ISATAP, link local", at("fe80::5efe:0:0", 0)),
            ] {
                assert!(special_use(address.into()).is_some(), "{form}: {address}");
            }
        }
    }
}
