//! What this process has worked out about the bearers that it admitted last, so that it need not be worked out again.
//!
//! Opening a token and judging its tag give the same answer for as long as the process lives, and a token comes many times.
//! Whether its session still stands is no part of this, and is asked every time.
//!
//! Only what was admitted gets in, so nobody outside chooses what is in here, and how much there is has an end: sets of four,
//! each behind a lock of its own that is held for a comparison. Where all four are taken, few of those who come take a place ([`Turn`]).

use crate::pace::Turn;
use crate::seeded::Seeded;
use hyper::header::HeaderValue;
use portcullis_domain::limits::BEARERS_MAX;
use portcullis_domain::secret;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

const WAYS: usize = 4;
const SETS: usize = BEARERS_MAX / WAYS;
/// A sealed token ends with its authentication tag, which is as good as random: no more of it needs to be hashed.
const TAIL: usize = 24;

/// What is known, by value of `Authorization`.
pub(crate) struct Bearers<K> {
    sets: Box<[Mutex<Set<K>>]>,
    seeded: Seeded,
}

/// A place: with the hash of whoever has it, which is compared first.
type Way<K> = Option<(u64, Box<Bearer<K>>)>;

struct Set<K> {
    ways: [Way<K>; WAYS],
    /// Which one goes next.
    next: usize,
    turn: Turn,
}

struct Bearer<K> {
    authorization: Zeroizing<Box<[u8]>>,
    known: K,
}

impl<K: Clone> Bearers<K> {
    /// None yet.
    pub(crate) fn new() -> Self {
        let set = || Mutex::new(Set { ways: [const { None }; WAYS], next: 0, turn: Turn::default() });
        Self { sets: std::iter::repeat_with(set).take(SETS).collect(), seeded: Seeded::new() }
    }

    /// What is known of this bearer.
    pub(crate) fn recall(&self, authorization: &HeaderValue) -> Option<K> {
        let value = authorization.as_bytes();
        let hash = self.hash(value);
        let set = self.set(hash)?;
        let (_, bearer) = set.ways.iter().flatten().find(|(known, _)| *known == hash)?;
        secret::same(&bearer.authorization, value).then(|| bearer.known.clone())
    }

    /// Remembers this of a bearer that was admitted, in the place of what was known before, or of nothing; or of another bearer, if it
    /// is time for that.
    pub(crate) fn remember(&self, authorization: &HeaderValue, known: K) {
        let value = authorization.as_bytes();
        let hash = self.hash(value);
        let Some(mut set) = self.set(hash) else { return };
        let Some(way) = set.place(hash) else { return };
        let bearer = Box::new(Bearer { authorization: Zeroizing::new(value.into()), known });
        let before = way.replace((hash, bearer));
        // Nobody waits while it is dropped.
        drop(set);
        drop(before);
    }

    fn hash(&self, value: &[u8]) -> u64 {
        let tail = value.len().saturating_sub(TAIL);
        self.seeded.hash_one(value.get(tail..).unwrap_or_default())
    }

    /// A set is whole after every step of its change, so a panic elsewhere leaves nothing half done in it.
    fn set(&self, hash: u64) -> Option<MutexGuard<'_, Set<K>>> {
        let place = usize::try_from(hash).unwrap_or_default() % SETS;
        self.sets.get(place).map(|set| set.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K> Set<K> {
    /// Where somebody with this hash is remembered, if they are.
    fn place(&mut self, hash: u64) -> Option<&mut Way<K>> {
        let own = self.ways.iter().position(|way| way.as_ref().is_some_and(|(known, _)| *known == hash));
        let place = own.or_else(|| self.ways.iter().position(Option::is_none)).or_else(|| self.given_up())?;
        self.ways.get_mut(place)
    }

    /// Whose place is taken by whoever comes now, if anybody's is.
    fn given_up(&mut self) -> Option<usize> {
        self.turn.comes().then(|| {
            let place = self.next;
            self.next = place.wrapping_add(1) % WAYS;
            place
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn bearer(text: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Bearer {text}")).unwrap()
    }

    #[test]
    fn a_bearer_is_known_by_all_of_its_value() {
        let bearers = Bearers::new();
        let tail = "t".repeat(TAIL);
        bearers.remember(&bearer(&format!("one{tail}")), 1);
        bearers.remember(&bearer("short"), 2);
        assert_eq!(bearers.recall(&bearer(&format!("one{tail}"))), Some(1));
        assert_eq!(bearers.recall(&bearer("short")), Some(2));
        for other in [&format!("two{tail}"), &format!("oone{tail}"), &format!("one{tail}t"), "", "Short", &tail] {
            assert_eq!(bearers.recall(&bearer(other)), None, "{other}");
        }
        bearers.remember(&bearer("short"), 3);
        assert_eq!(bearers.recall(&bearer("short")), Some(3), "what was known before is replaced");
        bearers.remember(&bearer(&format!("two{tail}")), 4);
        assert_eq!(bearers.recall(&bearer(&format!("two{tail}"))), Some(4));
        assert_eq!(
            bearers.recall(&bearer(&format!("one{tail}"))),
            None,
            "two that end alike share a place, not what is known"
        );
    }

    #[test]
    fn t250_what_is_remembered_has_an_end() {
        let (bearers, known) = (Bearers::new(), Arc::new(()));
        for number in 0..BEARERS_MAX * 3 {
            bearers.remember(&bearer(&format!("{number:030}")), Arc::clone(&known));
        }
        let held = Arc::strong_count(&known) - 1;
        assert!(held <= BEARERS_MAX && held > BEARERS_MAX / 2, "{held}");
    }

    #[test]
    fn more_than_there_is_room_for_do_not_push_each_other_out_all_the_time() {
        let bearers = Bearers::new();
        let all: Vec<HeaderValue> = (0..BEARERS_MAX * 2).map(|number| bearer(&format!("{number:030}"))).collect();
        let turn = || {
            let is_known = |bearer: &&HeaderValue| bearers.recall(bearer).is_some();
            let (known, others): (Vec<_>, Vec<_>) = all.iter().partition(is_known);
            others.iter().for_each(|bearer| bearers.remember(bearer, ()));
            known.len()
        };
        turn();
        let (second, third) = (turn(), turn());
        assert!(second > BEARERS_MAX / 2 && third > BEARERS_MAX / 2, "{second}, {third}");
    }

    #[test]
    fn whoever_goes_on_coming_has_a_place_at_last() {
        let bearers = Bearers::new();
        for number in 0..BEARERS_MAX * 8 {
            bearers.remember(&bearer(&format!("{number:030}")), ());
        }
        let late = bearer("late");
        assert!((0..Turn::EVERY).any(|_| {
            bearers.remember(&late, ());
            bearers.recall(&late).is_some()
        }));
    }
}
