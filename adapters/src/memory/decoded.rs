//! Grants that were decoded last, so that those of people who are here all the time are not decoded for each of their requests.
//!
//! They are found by their stamp, which no two versions of any record share: what is found is never out of date. Each stamp has one
//! place, so how much there is has an end, and few of those who find it taken take it over ([`Turn`]).

use crate::pace::Turn;
use portcullis_domain::fresh::Stamp;
use portcullis_domain::limits::DECODED_GRANTS_MAX;
use portcullis_domain::record::Record;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Place {
    kept: Option<(Stamp, Arc<Record>)>,
    turn: Turn,
}

/// The places.
pub(super) struct Decoded(Box<[Mutex<Place>]>);

impl Decoded {
    pub(super) fn new() -> Self {
        Self(std::iter::repeat_with(Mutex::default).take(DECODED_GRANTS_MAX).collect())
    }

    /// The record of this version.
    pub(super) fn recall(&self, stamp: Stamp) -> Option<Arc<Record>> {
        let place = self.place(stamp)?;
        place.kept.as_ref().filter(|(kept, _)| *kept == stamp).map(|(_, record)| Arc::clone(record))
    }

    /// Keeps it for the next time, if its place is free or it is time that another has it.
    pub(super) fn remember(&self, stamp: Stamp, record: &Arc<Record>) {
        let Some(mut place) = self.place(stamp) else { return };
        if place.kept.is_none() || place.turn.comes() {
            let before = place.kept.replace((stamp, Arc::clone(record)));
            // Nobody waits while it is dropped.
            drop(place);
            drop(before);
        }
    }

    /// This version is over.
    pub(super) fn forget(&self, stamp: Stamp) {
        if let Some(mut place) = self.place(stamp)
            && place.kept.as_ref().is_some_and(|(kept, _)| *kept == stamp)
        {
            place.kept = None;
        }
    }

    /// Stamps are as good as random, and nobody outside chooses one.
    fn place(&self, stamp: Stamp) -> Option<MutexGuard<'_, Place>> {
        let [first, second, ..] = stamp.0;
        let place = usize::from(u16::from_ne_bytes([first, second])).checked_rem(self.0.len())?;
        self.0.get(place).map(|place| place.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

const _: () = assert!(DECODED_GRANTS_MAX <= 1 << 16, "two bytes of a stamp choose the place");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t250_a_version_is_found_until_it_is_over_or_another_has_its_place() {
        let (decoded, record) = (Decoded::new(), Arc::new(Record::Mark));
        let stamp = |number: u8| Stamp([number; 16]);
        let other = Stamp([1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
        decoded.remember(stamp(1), &record);
        assert!(decoded.recall(stamp(1)).is_some());
        assert!(decoded.recall(other).is_none(), "a place is not a version");
        decoded.forget(other);
        assert!(decoded.recall(stamp(1)).is_some());
        for _ in 1..Turn::EVERY {
            decoded.remember(other, &record);
            assert!(decoded.recall(stamp(1)).is_some() && decoded.recall(other).is_none());
        }
        decoded.remember(other, &record);
        assert!(decoded.recall(stamp(1)).is_none() && decoded.recall(other).is_some());
        decoded.forget(other);
        assert!(decoded.recall(other).is_none());
        assert_eq!(Arc::strong_count(&record), 1);
    }
}
