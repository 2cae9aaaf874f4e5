//! Where pieces lie, by hashes of their names.
//!
//! Names stand in the pieces themselves, so that each is kept once. Here are 32 bits of its hash and its place: eight bytes in a table
//! that is between half and four fifths full. Two names may well have the same 32 bits, so whoever looks says which piece it is.

use super::pool::Place;

/// A table with open addressing: who finds his seat taken has the next one that is free.
pub(super) struct Index {
    seats: Box<[Option<Entry>]>,
    used: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    place: Place,
}

/// The least that a table has, once it has anything.
const SEATS_FIRST: usize = 8;

impl Index {
    pub(super) fn new() -> Self {
        Self { seats: Box::default(), used: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.used
    }

    /// The piece with this hash that `is` says yes to.
    pub(super) fn get(&self, hash: u32, is: impl Fn(Place) -> bool) -> Option<Place> {
        self.find(hash, is).map(|(_, place)| place)
    }

    /// A piece that is not here yet.
    pub(super) fn insert(&mut self, hash: u32, place: Place) {
        let filled = self.used.saturating_mul(5);
        if filled >= self.seats.len().saturating_mul(4) {
            self.resize(self.seats.len().saturating_mul(3) / 2);
        }
        self.seat(Entry { hash, place });
    }

    /// Takes the piece with this hash out that `is` says yes to.
    pub(super) fn remove(&mut self, hash: u32, is: impl Fn(Place) -> bool) -> Option<Place> {
        let (seat, place) = self.find(hash, is)?;
        self.vacate(seat);
        Some(place)
    }

    /// Takes all pieces out that `stays` says no to.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(Place) -> bool) {
        let mut seat = 0;
        while let Some(entry) = self.seats.get(seat) {
            match entry {
                // Somebody else may sit here by then, who is asked next.
                Some(entry) if !stays(entry.place) => self.vacate(seat),
                _ => seat = seat.saturating_add(1),
            }
        }
        if self.seats.len() > SEATS_FIRST && self.used.saturating_mul(4) < self.seats.len() {
            self.resize(self.used.saturating_mul(3) / 2);
        }
    }

    fn find(&self, hash: u32, is: impl Fn(Place) -> bool) -> Option<(usize, Place)> {
        let mut seat = self.own(hash);
        // One in five is free.
        while let Some(Some(entry)) = self.seats.get(seat) {
            if entry.hash == hash && is(entry.place) {
                return Some((seat, entry.place));
            }
            seat = self.behind(seat);
        }
        None
    }

    /// The seat that is a hash's own: they are in the order of the hashes.
    fn own(&self, hash: u32) -> usize {
        let seats = u64::try_from(self.seats.len()).unwrap_or_default();
        usize::try_from(u64::from(hash).saturating_mul(seats) >> 32).unwrap_or_default()
    }

    fn behind(&self, seat: usize) -> usize {
        let next = seat.saturating_add(1);
        if next < self.seats.len() { next } else { 0 }
    }

    fn seat(&mut self, entry: Entry) {
        let mut seat = self.own(entry.hash);
        while let Some(taken) = self.seats.get_mut(seat) {
            if taken.is_none() {
                *taken = Some(entry);
                self.used = self.used.saturating_add(1);
                return;
            }
            seat = self.behind(seat);
        }
    }

    /// Frees a seat, and lets everybody move up who would not be found behind a free one.
    fn vacate(&mut self, seat: usize) {
        self.used = self.used.saturating_sub(1);
        let (mut free, mut seat) = (seat, seat);
        loop {
            seat = self.behind(seat);
            let Some(Some(entry)) = self.seats.get(seat).copied() else { break };
            // Whoever has his own seat between the free one and this, this included, stays.
            let own = self.own(entry.hash);
            let stays = if free < seat { free < own && own <= seat } else { free < own || own <= seat };
            if !stays {
                self.put(free, Some(entry));
                free = seat;
            }
        }
        self.put(free, None);
    }

    fn put(&mut self, seat: usize, entry: Option<Entry>) {
        if let Some(seat) = self.seats.get_mut(seat) {
            *seat = entry;
        }
    }

    fn resize(&mut self, seats: usize) {
        let seats = vec![None; seats.max(SEATS_FIRST)].into_boxed_slice();
        let before = std::mem::replace(self, Self { seats, used: 0 });
        for entry in before.seats.into_iter().flatten() {
            self.seat(entry);
        }
    }
}

const _: () = assert!(size_of::<Option<Entry>>() == 8, "ENTRY_WEIGHT is that of such an entry");

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;
    use crate::memory::pool::Pool;
    use std::collections::HashMap;

    #[test]
    fn whatever_comes_and_goes_is_found_or_not_as_in_a_map() {
        let (mut pool, mut index, mut model) = (Pool::new(), Index::new(), HashMap::new());
        let mut chance = 1_u64;
        let mut draw = |below: u64| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (chance >> 33) % below
        };
        // Few hashes: many share one, and all of them lie close together at either end of the table.
        let hash = |name: u64| u32::try_from(name % 40).unwrap().wrapping_sub(20).wrapping_mul(1 << 20);
        for round in 0..60_000_u64 {
            let name = draw(400);
            let is = |place: Place| pool.at(place)[..8] == name.to_be_bytes();
            assert_eq!(index.get(hash(name), is), model.get(&name).copied(), "{round}");
            match model.get(&name) {
                Some(_) if draw(2) == 0 => assert_eq!(index.remove(hash(name), is), model.remove(&name)),
                None if draw(4) > 0 => {
                    let place = pool.put(&name.to_be_bytes()).unwrap();
                    index.insert(hash(name), place);
                    model.insert(name, place);
                }
                _ => {}
            }
            if round % 5_000 == 4_999 {
                let goes = draw(400);
                let gone = |name: u64| name < goes;
                index.retain(|place| !gone(u64::from_be_bytes(pool.at(place)[..8].try_into().unwrap())));
                model.retain(|name, _| !gone(*name));
            }
            assert_eq!(index.len(), model.len());
        }
        index.retain(|_| false);
        assert_eq!((index.len(), index.seats.len()), (0, SEATS_FIRST));
    }

    #[test]
    fn the_table_is_never_full_and_hardly_more_than_half_empty() {
        let (mut pool, mut index) = (Pool::new(), Index::new());
        for number in 0..20_000_u32 {
            index.insert(number.wrapping_mul(2_654_435_761), pool.put(&[1]).unwrap());
            let (used, seats) = (index.len(), index.seats.len());
            assert!((used - 1) * 5 < seats * 4 && (seats == SEATS_FIRST || used * 2 > seats), "{used} of {seats}");
        }
    }
}
