//! A hasher for the maps that every request looks into.
//!
//! Their keys are digests, addresses and other short things. The seed is of this process alone, so nobody outside can choose
//! keys that fall together (T249); beyond that it need not hide anything, and costs a few multiplications where the hasher of
//! the standard library costs a hundred instructions. Each word is folded with a 128-bit product, as wyhash and foldhash do.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Makes hashers with one seed.
#[derive(Clone, Copy)]
pub(crate) struct Seeded {
    seed: u64,
    multiplier: u64,
}

impl Seeded {
    /// With a seed that nobody knows.
    pub(crate) fn new() -> Self {
        let chance = RandomState::new();
        // An odd multiplier loses nothing of what is multiplied.
        Self { seed: chance.hash_one(0), multiplier: chance.hash_one(1) | 1 }
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding { state: self.seed, multiplier: self.multiplier }
    }
}

/// A hash in the making.
pub(crate) struct Folding {
    state: u64,
    multiplier: u64,
}

impl Folding {
    fn fold(&mut self, word: u64) {
        let (low, high) = (self.state ^ word).carrying_mul(self.multiplier, 0);
        // Both halves of the product, turned, so that words do not cancel each other out.
        self.state = (low ^ high).rotate_left(23).wrapping_add(self.multiplier);
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            for (to, from) in last.iter_mut().zip(rest) {
                *to = *from;
            }
            self.fold(u64::from_le_bytes(last));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.fold(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.fold(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.fold(u64::try_from(number).unwrap_or(u64::MAX));
    }

    fn finish(&self) -> u64 {
        let (low, high) = self.state.carrying_mul(self.multiplier, 0);
        low ^ high
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "tests may panic")]
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn t249_keys_that_differ_little_fall_apart_and_differently_each_time() {
        let seeded = Seeded::new();
        let of = |number: u32| {
            let mut key = [7_u8; 33];
            key[..4].copy_from_slice(&number.to_be_bytes());
            key
        };
        let hashes: HashSet<u64> = (0..100_000).map(|number| seeded.hash_one(of(number))).collect();
        assert_eq!(hashes.len(), 100_000);
        // Spread over the lowest and the highest bits, which maps go by.
        for bits in [0, 57] {
            let mut places = [0_u32; 64];
            for hash in &hashes {
                places[usize::try_from((hash >> bits) % 64).unwrap()] += 1;
            }
            assert!(places.iter().all(|count| (1_300..1_850).contains(count)), "{places:?}");
        }
        let other = Seeded::new();
        let same = (0..1_000).filter(|number| seeded.hash_one(of(*number)) % 64 == other.hash_one(of(*number)) % 64);
        assert!(same.count() < 100, "one seed says nothing about another");
    }

    #[test]
    fn every_byte_counts() {
        let seeded = Seeded::new();
        for length in 1..40 {
            for place in 0..length {
                let mut key = vec![0_u8; length];
                let before = seeded.hash_one(&key[..]);
                key[place] = 1;
                assert_ne!(seeded.hash_one(&key[..]), before, "{length} {place}");
            }
        }
    }
}
