//! Randomness as an argument: what one decision may draw.
//!
//! Each state change draws 32 bytes once, from the operating system. Everything that its decision makes is derived from
//! them by HMAC-SHA256: ids and seeds are stable over the rounds of that one change, so that a round whose outcome is
//! unknown and its repetition mean the same thing; salts and stamps differ from round to round and from record to
//! record, so that no key seals twice and no stamp repeats.

use crate::hash;
use crate::key::Key;
use crate::secret::Secret;
use ring::hmac;
use std::cell::RefCell;
use std::fmt;

/// The version of one record as the store compares it: 16 bytes that never occur twice, so that a record that changed
/// and changed back is still seen to have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp(pub [u8; 16]);

/// 16 bytes that make the key of one sealing. Not `Clone`, made only by [`Fresh`], consumed by sealing: what holds one
/// can seal one thing, once.
pub struct Salt([u8; 16]);

impl Salt {
    /// The salt for the record that bears this stamp.
    pub(crate) const fn of(stamp: Stamp) -> Self {
        Self(stamp.0)
    }

    /// Uses it up.
    pub(crate) fn spend(self) -> [u8; 16] {
        self.0
    }
}

/// What one round of one decision may draw.
///
/// A label must not be used twice in one decision: that would give two things the same secret. Debug builds panic.
pub struct Fresh {
    key: hmac::Key,
    round: u32,
    used: RefCell<Vec<String>>,
}

impl Fresh {
    /// For one round, counted from zero, of the state change that drew these 32 bytes.
    #[must_use]
    pub fn new(drawn: &Secret<32>, round: u32) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, drawn.expose()), round, used: RefCell::default() }
    }

    /// A secret of at most 32 bytes: the same in every round of this state change.
    #[must_use]
    pub fn secret<const N: usize>(&self, label: &'static str) -> Secret<N> {
        const { assert!(N <= 32, "one HMAC-SHA256 gives 32 bytes") };
        Secret::new(self.derive("secret", label, None))
    }

    /// A salt for one sealing; `place` says of what. Another one in every round.
    #[must_use]
    pub fn salt(&self, place: &str) -> Salt {
        Salt(self.derive("salt", place, Some(self.round)))
    }

    /// The stamp of one record to be written. Another one in every round.
    #[must_use]
    pub fn stamp(&self, key: &Key) -> Stamp {
        Stamp(self.derive("stamp", &key.to_string(), Some(self.round)))
    }

    fn derive<const N: usize>(&self, kind: &'static str, label: &str, round: Option<u32>) -> [u8; N] {
        if cfg!(debug_assertions) {
            let name = format!("{kind} {label}");
            let mut used = self.used.borrow_mut();
            assert!(!used.contains(&name), "drawn twice in one decision: {name}");
            used.push(name);
        }
        let mut context = hmac::Context::with_key(&self.key);
        // Kind and round have a fixed form, so that the label, which comes last, cannot be mistaken for them.
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(&round.map_or([0; 5], |round| {
            let [a, b, c, d] = round.to_be_bytes();
            [1, a, b, c, d]
        }));
        context.update(label.as_bytes());
        hash::first(context.sign().as_ref())
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Fresh(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(round: u32) -> Fresh {
        Fresh::new(&Secret::new([7; 32]), round)
    }

    #[test]
    fn secrets_are_stable_over_rounds_and_salts_and_stamps_are_not() {
        let seed = |round| *fresh(round).secret::<32>("seed").expose();
        assert_eq!(seed(0), seed(1));
        assert_ne!(fresh(0).salt("a").0, fresh(1).salt("a").0);
        assert_ne!(fresh(0).salt("a").0, fresh(0).salt("b").0);
        assert_ne!(fresh(0).stamp(&Key::RingCheck), fresh(1).stamp(&Key::RingCheck));
        assert_ne!(*fresh(0).secret::<16>("a").expose(), fresh(0).salt("a").0, "kinds are apart");
    }

    #[test]
    fn other_bytes_drawn_give_other_secrets() {
        let other = Fresh::new(&Secret::new([8; 32]), 0);
        assert!(!other.secret::<16>("seed").same(fresh(0).secret::<16>("seed").expose()));
    }

    #[test]
    #[should_panic(expected = "drawn twice")]
    fn a_label_used_twice_is_our_own_mistake() {
        let fresh = fresh(0);
        let _first = fresh.secret::<16>("seed");
        let _second = fresh.secret::<16>("seed");
    }
}
