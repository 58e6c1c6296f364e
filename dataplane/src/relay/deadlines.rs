//! When sessions are next to be looked at: a heap with at most a few entries for each session.
//!
//! A session is entered when its deadline becomes earlier than its entry; a deadline that becomes later is found to be so
//! when the old entry comes up. So the many changes of a busy session's timers cost nothing here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BinaryHeap<Reverse<(u64, u32, u32)>>);

impl Deadlines {
    /// Enters the session in this slot.
    pub(super) fn push(&mut self, at_ns: u64, slot: u32, life: u32) {
        self.0.push(Reverse((at_ns, slot, life)));
    }

    /// The first deadline.
    pub(super) fn next(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((at_ns, ..))| *at_ns)
    }

    /// Takes out the first session whose deadline has come: its slot, and the life that it had.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<(u32, u32)> {
        if self.next()? > now_ns {
            return None;
        }
        self.0.pop().map(|Reverse((_, slot, life))| (slot, life))
    }
}
