//! What the guarded outbound client promises about addresses: F13 (the classifier) and F14 (the judgement of a resolution).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portcullis_adapters::fetch::{Reach, special_use, vet};
use portcullis_domain::limits::FETCH_ADDRESSES_MAX;

/// F13: an address that is not special-use lies in no special-use net by a second reading of the registries, carries no
/// IPv4 address inside, and writing an IPv4 address in an IPv6 form never makes it reachable.
pub fn address(data: &[u8]) {
    let Some((shape, rest)) = data.split_first() else { return };
    let Some(bytes) = rest.first_chunk::<16>() else { return };
    let v6 = near(*shape, *bytes);
    if special_use(v6.into()).is_none() {
        assert!(is_public_v6(v6), "{v6}");
        assert_eq!(v6.to_canonical(), IpAddr::V6(v6), "mapping changes nothing about {v6}");
        assert_eq!(inner(v6), None, "{v6} carries an IPv4 address");
    }
    let [a, b, c, d, start, ..] = *bytes;
    // The first two bytes of ranges that chance alone would hardly meet.
    let starts = [[100, 127], [168, 63], [169, 254], [172, 31], [192, 0], [192, 31], [192, 52], [192, 88], [192, 175]];
    let starts = starts.into_iter().chain([[192, 168], [198, 18], [198, 19], [198, 51], [203, 0]]);
    let [a, b] = starts.into_iter().nth(start.into()).unwrap_or([a, b]);
    let v4 = Ipv4Addr::new(a, b, c, d);
    if special_use(v4.into()).is_none() {
        assert!(is_public_v4(v4), "{v4}");
    }
    for form in [v4.to_ipv6_mapped(), v4.to_ipv6_compatible()] {
        assert!(special_use(form.into()).is_some(), "{form}");
    }
}

/// F14: what may be dialled was answered and is public, each once, and one special-use answer leaves nothing.
pub fn answers(data: &[u8]) {
    let Some(([reach, own], rest)) = data.split_first_chunk::<2>() else { return };
    let reach = if reach & 1 == 0 { Reach::Public } else { Reach::Anywhere };
    let answers = list(rest);
    let own: Vec<IpAddr> = answers.iter().copied().skip(usize::from(*own)).take(1).collect();
    match vet(&answers, 443, reach, &own) {
        Ok(vetted) => {
            let dialled = vetted.addresses();
            assert!(!dialled.is_empty() && answers.len() <= FETCH_ADDRESSES_MAX);
            assert!(dialled.iter().all(|address| address.port() == 443 && answers.contains(&address.ip())));
            assert!(answers.iter().all(|answer| dialled.iter().filter(|address| address.ip() == *answer).count() == 1));
            if reach == Reach::Public {
                assert!(answers.iter().all(|answer| special_use(*answer).is_none() && !own.contains(answer)));
            }
        }
        Err(_) => {
            let reason = answers.is_empty()
                || answers.len() > FETCH_ADDRESSES_MAX
                || reach == Reach::Public
                    && answers.iter().any(|answer| special_use(*answer).is_some() || own.contains(answer));
            assert!(reason, "refused without a reason: {answers:?}");
        }
    }
}

/// Reads addresses off the input: one byte of shape, then 4 or 16 bytes, or a reference to an earlier one.
fn list(mut data: &[u8]) -> Vec<IpAddr> {
    let mut answers: Vec<IpAddr> = Vec::new();
    while let Some((shape, rest)) = data.split_first() {
        data = rest;
        if shape & 0x80 != 0 {
            let index = usize::from(shape & 0x7f);
            if let Some(earlier) = answers.get(index).copied() {
                answers.push(earlier);
            }
        } else if shape & 0x40 != 0 {
            let Some((bytes, rest)) = data.split_first_chunk::<16>() else { break };
            data = rest;
            answers.push(near(*shape, *bytes).into());
        } else {
            let Some((bytes, rest)) = data.split_first_chunk::<4>() else { break };
            data = rest;
            answers.push(IpAddr::from(*bytes));
        }
    }
    answers
}

/// Puts the prefix of a special form before the bytes, so that inputs lie near the edges more often than chance has it.
fn near(shape: u8, mut bytes: [u8; 16]) -> Ipv6Addr {
    let prefixes: [&[u8]; 12] = [
        &[],
        &[0; 10],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0],
        &[0, 0x64, 0xff, 0x9b],
        &[0x20, 0x01],
        &[0x20, 0x02],
        &[0x3f, 0xff],
        &[0x26, 0x20, 0, 0x4f],
        &[0xfe],
        &[0x20],
        &[0x3f],
    ];
    let prefix = prefixes.get(usize::from(shape & 0x0f)).copied().unwrap_or(&[]);
    for (byte, fixed) in bytes.iter_mut().zip(prefix) {
        *byte = *fixed;
    }
    if shape & 0x10 != 0 {
        let [.., a, b, c, d, _, _, _, _] = &mut bytes;
        (*a, *b, *c, *d) = (*a & 2, 0, 0x5e, 0xfe);
    }
    Ipv6Addr::from(bytes)
}

/// The IPv4 address that an IPv6 address carries for a translator or a tunnel, whichever form says so first.
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let at = |from: usize| {
        let bytes = octets.get(from..)?.first_chunk::<4>()?;
        Some(Ipv4Addr::from(*bytes))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => at(12),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => at(12),
        [0x2002, ..] => at(2),
        [0x2001, 0, ..] => at(4),
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => at(12),
        _ => None,
    }
}

/// The IPv6 registry once more, by patterns instead of prefixes.
fn is_public_v6(address: Ipv6Addr) -> bool {
    !address.is_loopback()
        && !address.is_unspecified()
        && !address.is_multicast()
        && !address.is_unique_local()
        && !address.is_unicast_link_local()
        && match address.segments() {
            [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x2620, 0x4f, 0x8000, ..] => false,
            [0x3fff, second, ..] => second >= 0x1000,
            [first, ..] => (0x2000..=0x3fff).contains(&first),
        }
}

/// The IPv4 registry once more.
fn is_public_v4(address: Ipv4Addr) -> bool {
    !address.is_private()
        && !address.is_loopback()
        && !address.is_link_local()
        && !address.is_documentation()
        && !address.is_multicast()
        && !address.is_broadcast()
        && !matches!(
            address.octets(),
            [0, ..]
                | [100, 64..=127, ..]
                | [192, 0, 0, _]
                | [192, 31, 196, _]
                | [192, 52, 193, _]
                | [192, 88, 99, _]
                | [192, 175, 48, _]
                | [198, 18 | 19, ..]
                | [168, 63, 129, 16]
                | [240..=255, ..]
        )
}
