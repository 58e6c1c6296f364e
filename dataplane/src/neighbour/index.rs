//! An open-addressed index from neighbour to slot: linear probing, at most half full, deletion by shifting back, so
//! that no tombstones pile up and a lookup costs one or two cache lines.

use super::NextHop;

const EMPTY: u32 = u32::MAX;

pub(super) struct Index {
    cells: Vec<u32>,
    mask: usize,
    seed: u64,
}

impl Index {
    pub(super) fn new(entries_max: usize, seed: u64) -> Self {
        let size = (entries_max * 2).next_power_of_two().max(2);
        Self { cells: vec![EMPTY; size], mask: size - 1, seed }
    }

    /// Where the search for a neighbour starts: two rounds of folded multiplication, seeded.
    #[inline]
    fn home(&self, hop: NextHop) -> usize {
        let fold = |a: u64, b: u64| -> u64 {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        let (low, high) = (hop.address as u64, (hop.address >> 64) as u64 ^ u64::from(hop.port) << 48);
        let first = fold(low ^ self.seed, 0x9e37_79b9_7f4a_7c15);
        fold(first ^ high ^ self.seed.rotate_left(32), 0xd6e8_feb8_6659_fd93) as usize & self.mask
    }

    #[inline]
    pub(super) fn find(&self, hop: NextHop, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = self.home(hop);
        for _ in 0..self.cells.len() {
            match self.cells.get(at).copied() {
                None | Some(EMPTY) => return None,
                Some(slot) if is_it(slot as usize) => return Some(slot as usize),
                Some(_) => at = (at + 1) & self.mask,
            }
        }
        None
    }

    /// The caller has made sure that the neighbour isn't there, and that at most half of the cells are in use.
    pub(super) fn insert(&mut self, hop: NextHop, slot: usize) {
        let mut at = self.home(hop);
        for _ in 0..self.cells.len() {
            if let Some(cell) = self.cells.get_mut(at)
                && *cell == EMPTY
            {
                *cell = slot as u32;
                return;
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Removes a neighbour's cell and moves back those that it had pushed on.
    pub(super) fn remove(&mut self, hop: NextHop, slot: usize, hop_of: impl Fn(usize) -> Option<NextHop>) {
        let mut hole = self.home(hop);
        loop {
            match self.cells.get(hole).copied() {
                None | Some(EMPTY) => return,
                Some(found) if found as usize == slot => break,
                Some(_) => hole = (hole + 1) & self.mask,
            }
        }
        let mut at = hole;
        for _ in 0..self.cells.len() {
            at = (at + 1) & self.mask;
            let Some(next) = self.cells.get(at).copied().filter(|&cell| cell != EMPTY) else { break };
            let Some(home) = hop_of(next as usize).map(|hop| self.home(hop)) else { break };
            // It may move into the hole if its home is not behind the hole (cyclically).
            if (at.wrapping_sub(home) & self.mask) >= (at.wrapping_sub(hole) & self.mask) {
                self.set(hole, next);
                hole = at;
            }
        }
        self.set(hole, EMPTY);
    }

    fn set(&mut self, at: usize, value: u32) {
        if let Some(cell) = self.cells.get_mut(at) {
            *cell = value;
        }
    }
}
