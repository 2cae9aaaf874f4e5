//! Bytes of any length in blocks of one size.
//!
//! Sessions are kept for weeks, and a request's buffers for a millisecond. Where one allocator puts the ones between the others, the
//! gaps that nothing fits into any more take more than twice what the sessions do. So they have pages of their own, and what they take
//! is what they are long.

/// What a block holds beside the place of the next one.
const ROOM: usize = BLOCK - NEXT;
/// One block: the place of the next one, then bytes.
const BLOCK: usize = 64;
const NEXT: usize = size_of::<u32>();
/// Blocks of one page.
const PAGE: usize = 128;
/// The place behind the last block of a chain.
const END: u32 = u32::MAX;

type Block = [u8; BLOCK];

/// Blocks, in use or free. A place names the first block of one piece of bytes.
pub(super) struct Pool {
    pages: Vec<Box<[Block]>>,
    /// The first of the free blocks, which are a chain too.
    free: u32,
}

/// How many bytes of blocks a piece of this length takes.
pub(super) const fn taken_by(length: usize) -> usize {
    length.div_ceil(ROOM).saturating_mul(BLOCK)
}

impl Pool {
    pub(super) const fn new() -> Self {
        Self { pages: Vec::new(), free: END }
    }

    /// Whether so many bytes of blocks can be counted beside those that there are.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let blocks = self.pages.len().saturating_mul(PAGE).saturating_add(bytes / BLOCK).saturating_add(PAGE);
        u32::try_from(blocks).is_ok_and(|blocks| blocks < END)
    }

    /// Keeps these bytes, and says where. Nothing if there is no room.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Option<u32> {
        let mut first = END;
        // From the end, so that each block is written with the place of the one behind it.
        for piece in bytes.chunks(ROOM).rev() {
            let Some(place) = self.take() else {
                self.give_back(first);
                return None;
            };
            let (next, room) = split(self.block_mut(place)?)?;
            *next = first.to_ne_bytes();
            for (to, byte) in room.iter_mut().zip(piece) {
                *to = *byte;
            }
            first = place;
        }
        Some(first)
    }

    /// The bytes at this place, of which there are at least as many as `out` asks for.
    pub(super) fn read(&self, place: u32, out: &mut [u8]) {
        let pieces = out.chunks_mut(ROOM);
        let mut place = place;
        for piece in pieces {
            let Some(block) = self.block(place) else { return };
            let (next, room) = block.split_at(NEXT);
            piece.copy_from_slice(room.get(..piece.len()).unwrap_or_default());
            place = next.try_into().map_or(END, u32::from_ne_bytes);
        }
    }

    /// Wipes the bytes at this place, and gives their blocks back.
    pub(super) fn give_back(&mut self, first: u32) {
        let (mut place, free) = (first, self.free);
        while let Some((next, room)) = self.block_mut(place).and_then(split) {
            room.fill(0);
            let behind = u32::from_ne_bytes(*next);
            if behind == END {
                *next = free.to_ne_bytes();
                self.free = first;
            }
            place = behind;
        }
    }

    /// Gives the pages back, once nothing is kept here any more.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// A block that is free, of a new page if there is none.
    fn take(&mut self) -> Option<u32> {
        if self.free == END {
            let begin = u32::try_from(self.pages.len().checked_mul(PAGE)?).ok()?;
            let count = u32::try_from(PAGE).ok()?;
            let end = begin.checked_add(count).filter(|end| *end < END)?;
            let mut page = vec![[0; BLOCK]; PAGE].into_boxed_slice();
            for (block, place) in page.iter_mut().zip(begin..end) {
                let behind = place.checked_add(1).filter(|behind| *behind < end).unwrap_or(END);
                *split(block)?.0 = behind.to_ne_bytes();
            }
            self.pages.push(page);
            self.free = begin;
        }
        let place = self.free;
        let (next, _) = split(self.block_mut(place)?)?;
        self.free = u32::from_ne_bytes(*next);
        Some(place)
    }

    fn block(&self, place: u32) -> Option<&Block> {
        let place = usize::try_from(place).ok()?;
        self.pages.get(place / PAGE)?.get(place % PAGE)
    }

    fn block_mut(&mut self, place: u32) -> Option<&mut Block> {
        let place = usize::try_from(place).ok()?;
        self.pages.get_mut(place / PAGE)?.get_mut(place % PAGE)
    }
}

fn split(block: &mut Block) -> Option<(&mut [u8; NEXT], &mut [u8])> {
    block.split_first_chunk_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(length: usize, fill: u8) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 7).unwrap() ^ fill).collect()
    }

    fn read(pool: &Pool, place: u32, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        pool.read(place, &mut out);
        out
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_and_its_blocks_serve_again() {
        let mut pool = Pool::new();
        let lengths = [1, ROOM - 1, ROOM, ROOM + 1, 3 * ROOM, 100 * ROOM + 7];
        let mut pages = 0;
        for round in 0..10 {
            let places: Vec<u32> = lengths.iter().map(|length| pool.put(&piece(*length, round)).unwrap()).collect();
            for (place, length) in places.iter().zip(lengths) {
                assert_eq!(read(&pool, *place, length), piece(length, round), "{length}");
            }
            // Not in the order in which they came.
            for place in places.into_iter().rev() {
                pool.give_back(place);
            }
            assert!(round == 0 || pool.pages.len() == pages, "{} pages, then {}", pages, pool.pages.len());
            pages = pool.pages.len();
        }
    }

    #[test]
    fn p11_what_is_given_back_is_wiped() {
        let mut pool = Pool::new();
        let kept = pool.put(&piece(200, 0x40)).unwrap();
        let gone = pool.put(&piece(200, 0x80)).unwrap();
        pool.give_back(gone);
        let left = pool.pages.iter().flat_map(|page| page.iter()).flat_map(|block| block[NEXT..].iter());
        assert!(!left.clone().any(|byte| byte & 0x80 != 0));
        assert_eq!(left.filter(|byte| *byte & 0x40 != 0).count(), 200);
        assert_eq!(read(&pool, kept, 200), piece(200, 0x40));
    }

    #[test]
    fn a_piece_takes_whole_blocks() {
        assert_eq!([0, 1, ROOM, ROOM + 1].map(taken_by), [0, BLOCK, BLOCK, 2 * BLOCK]);
    }
}
