//! SHA-256 and HMAC-SHA256 (FIPS 180-4, RFC 2104) as arrays, over one value or over labelled parts.
//!
//! Parts are length-prefixed, so that no two lists of parts read the same, and a label keeps one use apart from another.

use ring::{digest, hmac};

/// SHA-256 of one value.
#[must_use]
pub fn sha256(value: &[u8]) -> [u8; 32] {
    first(digest::digest(&digest::SHA256, value).as_ref())
}

/// SHA-256 of a label and parts.
#[must_use]
pub fn sha256_of(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    each(label, parts, |bytes| context.update(bytes));
    first(context.finish().as_ref())
}

/// HMAC-SHA256 of a label and parts.
#[must_use]
pub fn mac_of(key: &hmac::Key, label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    each(label, parts, |bytes| context.update(bytes));
    first(context.sign().as_ref())
}

/// The first `N` bytes of a longer value; what a shorter one lacks is zero.
#[must_use]
pub fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

/// Gives out lengths and parts in their order. What is short is gathered first: each piece that is taken has a price of its own.
fn each(label: &str, parts: &[&[u8]], mut take: impl FnMut(&[u8])) {
    let (mut gathered, mut held) = ([0; 256], 0_usize);
    for part in std::iter::once(&label.as_bytes()).chain(parts) {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes();
        for piece in [&length[..], part] {
            let end = held.saturating_add(piece.len());
            if let Some(room) = gathered.get_mut(held..end) {
                room.copy_from_slice(piece);
                held = end;
                continue;
            }
            take(gathered.get(..held).unwrap_or_default());
            take(piece);
            held = 0;
        }
    }
    take(gathered.get(..held).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_parts_do_not_run_into_each_other() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
        let lists: [(&str, &[&[u8]]); 5] =
            [("a", &[b"bc"]), ("ab", &[b"c"]), ("a", &[b"b", b"c"]), ("a", &[b"bc", b""]), ("abc", &[])];
        for (n, (label, parts)) in lists.iter().enumerate() {
            for (other, more) in lists.iter().skip(n + 1) {
                assert_ne!(sha256_of(label, parts), sha256_of(other, more));
                assert_ne!(mac_of(&key, label, parts), mac_of(&key, other, more));
            }
        }
    }

    #[test]
    fn parts_of_any_length_are_taken_in_their_order() {
        let long = [7_u8; 1_000];
        for lengths in [&[][..], &[3], &[248], &[249], &[256], &[1_000], &[3, 300, 4], &[240, 1, 0, 2], &[0, 0, 900, 1]]
        {
            let parts: Vec<&[u8]> = lengths.iter().map(|length| &long[..*length]).collect();
            let mut plain = Vec::new();
            for part in std::iter::once(&b"label"[..]).chain(parts.iter().copied()) {
                plain.extend_from_slice(&u64::try_from(part.len()).unwrap().to_be_bytes());
                plain.extend_from_slice(part);
            }
            assert_eq!(sha256_of("label", &parts), sha256(&plain), "{lengths:?}");
        }
    }

    #[test]
    fn sha256_of_the_standard_s_example() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hex: String = sha256(b"abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert_eq!(first::<2>(&[1, 2, 3]), [1, 2]);
        assert_eq!(first::<3>(&[1]), [1, 0, 0]);
    }
}
