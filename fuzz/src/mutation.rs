//! Small changes to inputs, the same ones for the same seed: what the ordinary test run uses in place of libFuzzer.

/// A generator of numbers that look random and are the same in every run (SplitMix64).
pub struct Chance(u64);

impl Chance {
    /// The sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }
}

/// Bytes and sequences at which the formats of this product turn.
const PIECES: &[&[u8]] = &[
    b"%",
    b"%00",
    b"%2e",
    b"%2F",
    b"%25",
    b"&",
    b"=",
    b"+",
    b"#",
    b"?",
    b"/",
    b"//",
    b"\\",
    b":",
    b"@",
    b";",
    b",",
    b".",
    b"..",
    b" ",
    b"\t",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xc3\xa9",
    b"\xe2\x80\xae",
    b"\xef\xbb\xbf",
    b"\"",
    b"'",
    b"<",
    b">",
    b"{",
    b"}",
    b"[",
    b"]",
    b"-",
    b"_",
    b"~",
    b"!",
    b"0",
    b"1",
    b"9",
    b"a",
    b"A",
    b"null",
    b"true",
    b"-1",
    b"1e9",
    b"\\u0000",
    b"http://",
    b"https://",
    b"[::1]",
    b"127.0.0.1",
    b"localhost",
    b"xn--",
    b"0x",
    b":443",
    b"Bearer ",
    b"Basic ",
    b"==",
];

/// The most bytes that a changed input may have.
const LENGTH_MAX: usize = 4096;

/// Changes `input` in one to eight places, now and then with a part of `other`.
#[must_use]
pub fn mutated(input: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..=chance.below(8) {
        let at = chance.below(out.len() + 1);
        match chance.below(8) {
            0 if at < out.len() => out[at] ^= 1 << chance.below(8),
            1 if at < out.len() => out[at] = chance.next().to_le_bytes()[0],
            2 if at < out.len() => drop(out.remove(at)),
            3 => drop(out.splice(at..at, part(other, chance))),
            4 => {
                let copy = part(&out, chance);
                out.splice(at..at, copy);
            }
            5 => {
                let end = at + chance.below(out.len() - at + 1);
                out.drain(at..end);
            }
            6 if at < out.len() => {
                let piece = PIECES[chance.below(PIECES.len())];
                out.splice(at..=at, piece.iter().copied());
            }
            _ => drop(out.splice(at..at, PIECES[chance.below(PIECES.len())].iter().copied())),
        }
    }
    out.truncate(LENGTH_MAX);
    out
}

fn part(bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    let start = chance.below(bytes.len() + 1);
    let length = chance.below(bytes.len() - start + 1);
    bytes[start..start + length].to_vec()
}
