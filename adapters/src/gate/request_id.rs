//! What a request is called, in logs on both sides of the gate: `X-Request-Id`.

use crate::http::headers::X_REQUEST_ID;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use portcullis_domain::limits::REQUEST_ID_MAX;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Makes the names of one core's requests. They are no secrets: they only have to differ, everywhere and for ever, and not to
/// tell how many there are.
pub(crate) struct RequestIds {
    seeds: [u64; 2],
    next: AtomicU64,
}

impl RequestIds {
    /// With a seed that no other core has.
    pub(crate) fn new() -> Self {
        let chance = RandomState::new();
        Self { seeds: [chance.hash_one(0), chance.hash_one(1)], next: AtomicU64::new(0) }
    }

    /// A new one: 32 hexadecimal digits.
    pub(crate) fn make(&self) -> HeaderValue {
        // A core's requests are counted on its own thread.
        let count = self.next.load(Relaxed).wrapping_add(1);
        self.next.store(count, Relaxed);
        let mut name = [0_u8; 32];
        let [first, second] = self.seeds.map(|seed| mixed(seed.wrapping_add(count.wrapping_mul(STEP))));
        let quarters = [first >> 32, first, second >> 32, second];
        for (place, quarter) in name.as_chunks_mut::<8>().0.iter_mut().zip(quarters) {
            *place = digits(quarter & 0xffff_ffff);
        }
        // Digits are a header value.
        HeaderValue::from_bytes(&name).unwrap_or(HeaderValue::from_static("unknown"))
    }
}

/// What a trusted proxy calls the request, if that can be read and has an end.
pub(crate) fn given(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut given = headers.get_all(X_REQUEST_ID).iter();
    let (Some(given), None) = (given.next(), given.next()) else { return None };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    let good = (1..=REQUEST_ID_MAX).contains(&given.len()) && given.as_bytes().iter().all(plain);
    good.then(|| given.clone())
}

/// The step and the mixing of splitmix64: every count gives another number, and neighbours have nothing in common.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

const fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The eight hexadecimal digits of 32 bits, all at once: each half of a byte is moved into a byte of its own, and becomes a digit
/// or, where adding six carries into its upper half, a letter.
const fn digits(word: u64) -> [u8; 8] {
    let word = (word | (word << 16)) & 0x0000_ffff_0000_ffff;
    let word = (word | (word << 8)) & 0x00ff_00ff_00ff_00ff;
    let word = (word | (word << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (word.wrapping_add(0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    let from_nine_to_a = 0x27;
    word.wrapping_add(0x3030_3030_3030_3030).wrapping_add(letters.wrapping_mul(from_nine_to_a)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_requests_have_one_name() {
        let cores = [RequestIds::new(), RequestIds::new()];
        let names: HashSet<_> = (0..10_000).flat_map(|_| cores.iter().map(RequestIds::make)).collect();
        assert_eq!(names.len(), 20_000);
        let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        assert!(names.iter().all(|name| name.len() == 32 && name.as_bytes().iter().all(hex)));
    }

    #[test]
    fn digits_are_those_of_the_number() {
        for word in [0, 1, 0x9abc_def0, 0x0123_4567, 0xffff_ffff, 0xa0a9_090a] {
            assert_eq!(str::from_utf8(&digits(word)), Ok(format!("{word:08x}").as_str()));
        }
    }

    #[test]
    fn a_given_name_is_one_short_word() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(X_REQUEST_ID, HeaderValue::from_str(value).unwrap());
            }
            given(&headers).map(|name| name.to_str().unwrap().to_owned())
        };
        let longest = "x".repeat(REQUEST_ID_MAX);
        for good in ["a", "0af7651916cd43dd", "1-67891233-abcdef012345678912345678", "Root=1:a/b+c@d_e.f", &longest] {
            assert_eq!(read(&[good]).as_deref(), Some(good));
        }
        for bad in [&[][..], &[""], &["a b"], &["a\"b"], &["a,b"], &["a{b}"], &["a", "a"], &[&format!("{longest}x")]] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
