//! Pieces of bytes in pages of their own, each in a slot of about its length.
//!
//! Sessions are kept for weeks, and a request's buffers for a millisecond. Where one allocator puts the ones between the others, the
//! gaps that nothing fits into any more take more than twice what the sessions do. So they have pages of their own. All slots of a page
//! are of one size, and up to a kilobyte there is a size for every 16 bytes: a piece takes hardly more than it is long, and is read
//! where it lies. A page that nothing lies in any more is given back.

use std::num::NonZero;

/// Sizes are multiples of it.
const GRAIN: usize = 16;
/// Up to so many grains there are all sizes; up to twice as many every second, and so on.
const EXACT: usize = 64;
/// About the bytes of a page.
const PAGE: usize = 8 << 10;
/// Slots of the first page of a size: where there is little, little is set aside.
const SLOTS_FIRST: usize = 4;
/// Slots of any page at the most: a place holds the number of a slot in its lowest byte.
const SLOTS_MAX: usize = 1 << 8;
/// Pages at the most: their numbers are the other three bytes, of which the very last means nothing.
const PAGES_MAX: usize = (1 << 24) - 1;
/// Behind the last free slot of a page.
const NONE: u16 = u16::MAX;

/// Pages, and which of them have room.
pub(super) struct Pool {
    pages: Vec<Page>,
    /// Numbers of pages that there are not at the moment.
    vacant: Vec<usize>,
    /// By the numbers of their classes.
    sizes: Vec<Size>,
}

/// Where a piece lies: page and slot in four bytes, less one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(NonZero<u32>);

/// What there is of one size.
#[derive(Clone, Default)]
struct Size {
    /// Pages with a free slot.
    open: Vec<usize>,
    /// Slots of all its pages.
    slots: usize,
}

#[derive(Default)]
struct Page {
    bytes: Box<[u8]>,
    class: Class,
    used: u16,
    /// The first of the free slots; each begins with the number of the next one.
    free: u16,
    /// Where it stands in the list of open pages of its size.
    listed: u32,
}

/// A size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Class {
    number: u32,
    bytes: u32,
}

impl Class {
    /// The smallest that a piece of this length fits into; nothing if it is longer than anything that is kept.
    fn of(length: usize) -> Option<Self> {
        let grains = length.div_ceil(GRAIN).max(1);
        let step = (grains.checked_next_power_of_two()? / EXACT).max(1);
        let steps = grains.div_ceil(step);
        let octave = usize::try_from(step.trailing_zeros()).ok()?;
        let number = octave.checked_mul(EXACT)?.checked_add(steps)?;
        let bytes = steps.checked_mul(step)?.checked_mul(GRAIN)?;
        Some(Self { number: u32::try_from(number).ok()?, bytes: u32::try_from(bytes).ok()? })
    }

    fn bytes(self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    fn number(self) -> usize {
        usize::try_from(self.number).unwrap_or(usize::MAX)
    }
}

/// How many bytes a piece of this length takes.
pub(super) fn taken_by(length: usize) -> usize {
    Class::of(length).map_or(usize::MAX, Class::bytes)
}

impl Place {
    fn new(page: usize, slot: u16) -> Option<Self> {
        let number = page.checked_mul(SLOTS_MAX)?.checked_add(slot.into())?;
        u32::try_from(number).ok()?.checked_add(1).and_then(NonZero::new).map(Self)
    }

    const fn number(self) -> u32 {
        self.0.get().saturating_sub(1)
    }

    fn page(self) -> usize {
        usize::try_from(self.number()).unwrap_or(usize::MAX) / SLOTS_MAX
    }

    const fn slot(self) -> u16 {
        let [slot, ..] = self.number().to_le_bytes();
        u16::from_le_bytes([slot, 0])
    }
}

impl Pool {
    pub(super) const fn new() -> Self {
        Self { pages: Vec::new(), vacant: Vec::new(), sizes: Vec::new() }
    }

    /// Whether so many more pieces can be kept.
    pub(super) fn has_room(&self, pieces: usize) -> bool {
        self.pages.len().saturating_add(pieces) < PAGES_MAX
    }

    /// Keeps these bytes, and says where. Nothing if there is no room.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Option<Place> {
        let class = Class::of(bytes.len())?;
        let number = match self.sizes.get(class.number()).and_then(|size| size.open.last()) {
            Some(number) => *number,
            None => self.open(class)?,
        };
        let page = self.pages.get_mut(number)?;
        let (slot, room) = page.take()?;
        room.get_mut(..bytes.len())?.copy_from_slice(bytes);
        if page.free == NONE {
            self.sizes.get_mut(class.number())?.open.pop();
        }
        Place::new(number, slot)
    }

    /// The slot at this place: the bytes that were put there, and zeros behind them.
    pub(super) fn at(&self, place: Place) -> &[u8] {
        self.pages.get(place.page()).and_then(|page| page.slot(place.slot())).unwrap_or_default()
    }

    /// Wipes the bytes at this place, and takes their slot back.
    pub(super) fn give_back(&mut self, place: Place) {
        let number = place.page();
        let Some(page) = self.pages.get_mut(number) else { return };
        let Some(size) = self.sizes.get_mut(page.class.number()) else { return };
        if page.free == NONE {
            page.listed = u32::try_from(size.open.len()).unwrap_or(u32::MAX);
            size.open.push(number);
        }
        page.give_back(place.slot());
        if page.used == 0 {
            let page = std::mem::take(page);
            size.slots = size.slots.saturating_sub(page.slots());
            let listed = usize::try_from(page.listed).unwrap_or(usize::MAX);
            size.open.swap_remove(listed);
            let moved = size.open.get(listed).and_then(|moved| self.pages.get_mut(*moved));
            if let Some(moved) = moved {
                moved.listed = page.listed;
            }
            self.vacant.push(number);
        }
    }

    /// One more page of this size.
    fn open(&mut self, class: Class) -> Option<usize> {
        if self.sizes.len() <= class.number() {
            self.sizes.resize_with(class.number().checked_add(1)?, Size::default);
        }
        let number = self.vacant.last().copied().unwrap_or(self.pages.len());
        if number >= PAGES_MAX {
            return None;
        }
        let size = self.sizes.get_mut(class.number())?;
        let most = PAGE.checked_div(class.bytes())?.clamp(1, SLOTS_MAX);
        // As much again as there is already, until a page is whole.
        let slots = size.slots.clamp(SLOTS_FIRST.min(most), most);
        let page = Page::new(class, slots, u32::try_from(size.open.len()).ok()?)?;
        size.slots = size.slots.checked_add(slots)?;
        size.open.push(number);
        if self.vacant.pop().is_some() {
            *self.pages.get_mut(number)? = page;
        } else {
            self.pages.push(page);
        }
        Some(number)
    }
}

impl Page {
    /// With all slots free.
    fn new(class: Class, slots: usize, listed: u32) -> Option<Self> {
        let bytes = vec![0; class.bytes().checked_mul(slots)?].into_boxed_slice();
        let mut page = Self { bytes, class, used: 0, free: NONE, listed };
        for slot in (0..u16::try_from(slots).ok()?).rev() {
            page.link(slot);
        }
        Some(page)
    }

    fn slots(&self) -> usize {
        self.bytes.len().checked_div(self.class.bytes()).unwrap_or_default()
    }

    fn slot(&self, slot: u16) -> Option<&[u8]> {
        let begin = self.class.bytes().checked_mul(slot.into())?;
        self.bytes.get(begin..begin.checked_add(self.class.bytes())?)
    }

    fn slot_mut(&mut self, slot: u16) -> Option<&mut [u8]> {
        let begin = self.class.bytes().checked_mul(slot.into())?;
        self.bytes.get_mut(begin..begin.checked_add(self.class.bytes())?)
    }

    /// A free slot, which is all zeros.
    fn take(&mut self) -> Option<(u16, &mut [u8])> {
        let slot = self.free;
        let next: &mut [u8; 2] = self.slot_mut(slot)?.first_chunk_mut()?;
        let behind = u16::from_ne_bytes(std::mem::take(next));
        self.free = behind;
        self.used = self.used.saturating_add(1);
        Some((slot, self.slot_mut(slot)?))
    }

    fn give_back(&mut self, slot: u16) {
        if let Some(bytes) = self.slot_mut(slot) {
            bytes.fill(0);
        }
        self.link(slot);
        self.used = self.used.saturating_sub(1);
    }

    /// Puts a slot in front of the free ones.
    fn link(&mut self, slot: u16) {
        let behind = self.free.to_ne_bytes();
        if let Some(next) = self.slot_mut(slot).and_then(<[u8]>::first_chunk_mut) {
            *next = behind;
            self.free = slot;
        }
    }
}

const _: () = assert!(GRAIN >= size_of::<u16>(), "a free slot holds the number of the next one");

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;

    fn piece(length: usize, fill: u8) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 7).unwrap() ^ fill).collect()
    }

    fn held(pool: &Pool) -> usize {
        pool.pages.iter().map(|page| page.bytes.len()).sum()
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_and_its_slots_serve_again() {
        let mut pool = Pool::new();
        let lengths = [1, GRAIN - 1, GRAIN, GRAIN + 1, 203, 1_024, 1_025, 5_000, 70_000, 256 * 1_024 + 60];
        for round in 0..10 {
            let mut places = Vec::new();
            for number in 0..lengths.len() * 40 {
                // Each size again and again, and never twice in a row.
                let length = lengths[number * 7 % lengths.len()];
                places.push((pool.put(&piece(length, round)).unwrap(), length));
            }
            for (place, length) in &places {
                let (kept, behind) = pool.at(*place).split_at(*length);
                assert_eq!(kept, piece(*length, round), "{length}");
                assert!(behind.iter().all(|byte| *byte == 0), "{length}");
            }
            // Not in the order in which they came, and one is left so that its page stays.
            let last = places.remove(usize::from(round) * 13 % places.len());
            let most = held(&pool);
            while !places.is_empty() {
                let at = usize::from(round).wrapping_mul(31) % places.len();
                pool.give_back(places.swap_remove(at).0);
            }
            assert!(held(&pool) <= 8 * PAGE + last.1, "{} bytes of {most} are still there", held(&pool));
            assert_eq!(&pool.at(last.0)[..last.1], piece(last.1, round));
            pool.give_back(last.0);
            assert_eq!(held(&pool), 0);
        }
    }

    #[test]
    fn slots_that_are_free_are_used_before_there_are_more() {
        let mut pool = Pool::new();
        let mut places: Vec<Place> = (0..1_000).map(|_| pool.put(&piece(200, 1)).unwrap()).collect();
        let most = held(&pool);
        assert!(most < 1_000 * taken_by(200) + 2 * PAGE);
        for round in 0..100_usize {
            for _ in 0..500 {
                let at = (round * 97 + places.len() * 31) % places.len();
                pool.give_back(places.swap_remove(at));
            }
            places.extend((0..500).map(|_| pool.put(&piece(199, 2)).unwrap()));
            assert!(held(&pool) <= most + PAGE, "{} after {round} rounds", held(&pool));
        }
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 1_000, "no two pieces share a slot");
    }

    #[test]
    fn p11_what_is_given_back_is_wiped() {
        let mut pool = Pool::new();
        let kept = pool.put(&piece(200, 0x40)).unwrap();
        let gone = pool.put(&piece(200, 0x80)).unwrap();
        pool.give_back(gone);
        // A free slot begins with the number of the next one.
        let left = || pool.pages.iter().flat_map(|page| page.bytes.chunks(208)).flat_map(|slot| &slot[2..]);
        assert!(!left().any(|byte| byte & 0x80 != 0));
        assert_eq!(left().filter(|byte| **byte & 0x40 != 0).count(), 198);
        assert_eq!(&pool.at(kept)[..200], piece(200, 0x40));
    }

    #[test]
    fn a_piece_takes_hardly_more_than_it_is_long() {
        assert_eq!([0, 1, 16, 17, 1_024].map(taken_by), [16, 16, 16, 32, 1_024]);
        for length in 1..300_000_usize {
            let taken = taken_by(length);
            assert!(taken >= length && taken - length <= (length / 32).max(15), "{length} takes {taken}");
        }
        // Neither are two sizes one, nor one size two.
        let classes: Vec<Class> = (1..300_000).map(|length| Class::of(length).unwrap()).collect();
        assert!(classes.windows(2).all(|two| (two[0].number == two[1].number) == (two[0].bytes == two[1].bytes)));
        assert!(classes.is_sorted_by_key(|class| class.bytes) && classes.is_sorted_by_key(|class| class.number));
        assert!(classes.last().unwrap().number < 700);
    }
}
