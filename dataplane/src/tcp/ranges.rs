//! A small sorted set of disjoint ranges of positions: the SACK scoreboard, and the islands of data out of order.

use super::seq::Pos;

/// At most `N` ranges, apart from one another, lowest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ranges<const N: usize> {
    items: [(Pos, Pos); N],
    len: u8,
}

impl<const N: usize> Ranges<N> {
    pub(super) const fn new() -> Self {
        Self { items: [(0, 0); N], len: 0 }
    }

    pub(super) fn as_slice(&self) -> &[(Pos, Pos)] {
        self.items.get(..usize::from(self.len)).unwrap_or(&[])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether [`Self::insert`] would take this range.
    pub(super) fn takes(&self, start: Pos, end: Pos) -> bool {
        usize::from(self.len) < N || self.as_slice().iter().any(|&(a, b)| a <= end && start <= b)
    }

    /// Adds `start..end`; false if the set is full and the range touches none of it.
    pub(super) fn insert(&mut self, mut start: Pos, mut end: Pos) -> bool {
        if start >= end {
            return true;
        }
        if !self.takes(start, end) {
            return false;
        }
        let old = *self;
        let mut merged = Self::new();
        let mut placed = false;
        for &(a, b) in old.as_slice() {
            if b < start {
                merged.push(a, b);
            } else if a > end {
                if !placed {
                    merged.push(start, end);
                    placed = true;
                }
                merged.push(a, b);
            } else {
                start = start.min(a);
                end = end.max(b);
            }
        }
        if !placed {
            merged.push(start, end);
        }
        *self = merged;
        true
    }

    fn push(&mut self, start: Pos, end: Pos) {
        if let Some(place) = self.items.get_mut(usize::from(self.len)) {
            *place = (start, end);
            self.len += 1;
        }
    }

    /// Forgets everything before `pos`.
    pub(super) fn trim_below(&mut self, pos: Pos) {
        if self.as_slice().first().is_none_or(|&(start, _)| start >= pos) {
            return;
        }
        let old = *self;
        self.len = 0;
        for &(start, end) in old.as_slice().iter().filter(|(_, end)| *end > pos) {
            self.push(start.max(pos), end);
        }
    }

    /// The end of the range that holds `pos`.
    pub(super) fn end_of(&self, pos: Pos) -> Option<Pos> {
        self.as_slice().iter().find(|(start, end)| *start <= pos && pos < *end).map(|(_, end)| *end)
    }

    /// Where the first range behind `pos` begins.
    pub(super) fn next_start(&self, pos: Pos) -> Option<Pos> {
        self.as_slice().iter().map(|(start, _)| *start).find(|start| *start > pos)
    }

    /// How much of `..pos` is in the set.
    pub(super) fn below(&self, pos: Pos) -> Pos {
        self.as_slice().iter().map(|(start, end)| (pos.min(*end) - start).max(0)).sum()
    }

    /// All of the set.
    #[cfg(test)]
    pub(super) fn total(&self) -> Pos {
        self.as_slice().iter().map(|(start, end)| end - start).sum()
    }
}
