//! What the fragments of one IPv6 packet have in common (RFC 8200 section 4.5): a number that does not come again soon
//! between the same hosts, and that nobody can foresee, who might slip a fragment of his own in (RFC 7739). All members
//! speak from the cluster's addresses without asking one another, so the numbers are drawn, not counted.

use std::hash::{BuildHasher, RandomState};

/// A source of such numbers: a keyed hash of 0, 1, 2, …, under a secret of its own.
#[derive(Debug, Default)]
pub(super) struct FragmentIds {
    secret: RandomState,
    drawn: u64,
}

impl FragmentIds {
    pub(super) fn draw(&mut self) -> u32 {
        self.drawn = self.drawn.wrapping_add(1);
        self.secret.hash_one(self.drawn) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_hardly_repeat() {
        let mut ids = FragmentIds::default();
        let drawn: std::collections::HashSet<_> = (0..10_000).map(|_| ids.draw()).collect();
        // One pair in 86 runs, two in thousands, ten in none.
        assert!(drawn.len() > 9990);
    }
}
