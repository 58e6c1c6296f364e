//! The last packets of other members' sessions, kept for as long as a death may go unnoticed.
//!
//! Between an owner's death and its heir's taking over, what the peers send is lost with the owner. A peer's TCP sends it
//! again, but only after its own timeout: 200 ms at best, longer than the death itself takes to be noticed, and three times
//! that if the first repetition is lost, too. Yet some member has seen those packets: every one under `unicast` and
//! `multicast`, the master under `forward`. So it keeps copies of the last of them and processes these again when it turns
//! out that their owner is gone.
//!
//! The dead owner may have processed some of them: only apps that take a packet twice for what it is get any
//! ([`crate::app::App::bears_repeats`]). A planned move recalls nothing: there no packet is lost.
//!
//! One ring of bytes, allocated once. A copy lies in one piece; where it does not fit before the end, it begins anew at the
//! front. The newest copy pushes out the oldest ones.

use std::collections::VecDeque;

use super::Worker;
use super::path::Path;
use crate::app::UnitSet;
use crate::parse::Summary;
use crate::port::PortIndex;
use crate::steer::{Mode, View};
use crate::unit::{MemberId, Unit};

/// Bytes that each copy may take in the mean.
const BYTES_EACH: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Copy {
    at_ns: u64,
    start: usize,
    len: usize,
    unit: Unit,
    port: PortIndex,
}

/// Copies of frames, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    bytes: Box<[u8]>,
    copies: VecDeque<Copy>,
    copies_max: usize,
    /// Where the next copy begins, if it fits before the end.
    end: usize,
    keep_ns: u64,
}

impl Recent {
    /// At most so many copies, none of which is kept for longer than this; none yet, for there is no room.
    pub(super) fn new(copies_max: usize, keep_ns: u64) -> Self {
        Self { copies_max, keep_ns, ..Self::default() }
    }

    /// Makes room: some app has a use for copies.
    pub(super) fn reserve(&mut self) {
        self.copies.reserve_exact(self.copies_max);
        self.bytes = vec![0; self.copies_max * BYTES_EACH].into_boxed_slice();
    }

    /// Keeps a copy, unless it is longer than all that there is.
    fn keep(&mut self, now_ns: u64, unit: Unit, port: PortIndex, frame: &[u8]) {
        let len = frame.len();
        if len > self.bytes.len() {
            return;
        }
        let wraps = self.end + len > self.bytes.len();
        let start = if wraps { 0 } else { self.end };
        // What lies between the last copy's end and this one's: copies lie in the order of their age.
        let in_the_way = |old: &Copy| match wraps {
            true => old.start >= self.end || old.start < len,
            false => old.start >= start && old.start < start + len,
        };
        while self.copies.front().is_some_and(|old| {
            self.copies.len() == self.copies_max || in_the_way(old) || old.at_ns.saturating_add(self.keep_ns) < now_ns
        }) {
            self.copies.pop_front();
        }
        if let Some(room) = self.bytes.get_mut(start..start + len) {
            room.copy_from_slice(frame);
            self.copies.push_back(Copy { at_ns: now_ns, start, len, unit, port });
            self.end = start + len;
        }
    }

    /// Hands out what is kept for these units, oldest first, and forgets it.
    pub(super) fn take(&mut self, now_ns: u64, units: &UnitSet, mut each: impl FnMut(PortIndex, &[u8])) {
        for copy in self.copies.iter_mut().filter(|copy| units.contains(copy.unit)) {
            // Copies are forgotten in place: their order is that of their bytes.
            let len = std::mem::take(&mut copy.len);
            let is_recent = copy.at_ns.saturating_add(self.keep_ns) >= now_ns;
            if let Some(frame) = self.bytes.get(copy.start..copy.start + len)
                && len > 0
                && is_recent
            {
                each(copy.port, frame);
            }
        }
    }
}

impl Path {
    /// Keeps a copy of a packet to a cluster address, of a unit that is another member's, if an app could use it later.
    pub(super) fn remember_packet(&mut self, unit: Unit, summary: &Summary, port: PortIndex, frame: &[u8]) {
        if self.holdings.store.owner(unit).is_some()
            && self.apps.iter().any(|app| app.claims(summary) && app.bears_repeats())
        {
            self.recent.keep(self.now_ns, unit, port, frame);
        }
    }

    /// The units of members that are gone, as far as a view that is about to be obeyed wants their packets here: processed, or held for
    /// an heir.
    pub(super) fn orphans(&self, view: &View) -> UnitSet {
        let is_gone = |owner: MemberId| owner != self.me && view.peers.get(owner.index()).is_none_or(Option::is_none);
        let wanted = |mode: Mode| match mode {
            Mode::Mine | Mode::MineLogged | Mode::HoldOwn | Mode::Hold | Mode::Unassigned => true,
            Mode::Drop | Mode::Quarantined | Mode::Relay(_) | Mode::RelayBoth { .. } => false,
        };
        let units = Unit::all().zip(&view.modes).filter(|(_, mode)| wanted(**mode)).map(|(unit, _)| unit);
        // One that is on its way from an heir to us: that one has what there was. The master keeps it for the heir.
        let heirs =
            |unit: Unit| view.holders.as_ref().and_then(|holders| holders.owners.get(unit.index()).copied().flatten());
        let has_heir = |unit: Unit| heirs(unit).is_some_and(|heir| heir != self.me && !is_gone(heir));
        let units = units.filter(|unit| view.answers || !has_heir(*unit));
        units.filter(|unit| self.holdings.store.owner(*unit).is_some_and(is_gone)).collect()
    }
}

impl Worker {
    /// Processes once more what is kept of these units' packets, as if it came in now.
    pub(super) fn recall(&mut self, units: &UnitSet) {
        let mut recent = std::mem::take(&mut self.path.recent);
        recent.take(self.path.now_ns, units, |port, frame| {
            if let Some(mbuf) = self.path.pool.alloc_from(frame) {
                self.path.counters.copied.add(1);
                self.path.counters.recalled.add(1);
                self.receive_one(mbuf, port, false);
            }
        });
        self.path.recent = recent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_room(copies_max: usize, keep_ns: u64) -> Recent {
        let mut recent = Recent::new(copies_max, keep_ns);
        recent.reserve();
        recent
    }

    fn all(recent: &mut Recent, now_ns: u64) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        recent.take(now_ns, &Unit::all().collect(), |_, frame| frames.push(frame.to_vec()));
        frames
    }

    proptest! {
        /// What comes out are the newest of what went in, unchanged and in order, as many as fit.
        #[test]
        fn the_newest_come_out(lens in prop::collection::vec(1..3000_usize, 1..60)) {
            let mut recent = with_room(8, 1000);
            let frames: Vec<Vec<u8>> = lens.iter().enumerate().map(|(i, len)| vec![i as u8; *len]).collect();
            for frame in &frames {
                recent.keep(5, Unit::from_low_bits(1), 0, frame);
            }
            let out = all(&mut recent, 5);
            prop_assert!(!out.is_empty() && out.len() <= 8);
            prop_assert_eq!(&out[..], &frames[frames.len() - out.len()..]);
            // Nothing was pushed out that could have stayed: at worst a copy's length is lost at the end of the ring.
            if let Some(next) = frames.len().checked_sub(out.len() + 1) {
                let bytes: usize = frames[next..].iter().map(Vec::len).sum();
                prop_assert!(out.len() == 8 || bytes + 3000 > 8 * BYTES_EACH);
            }
            prop_assert!(all(&mut recent, 5).is_empty());
        }
    }

    #[test]
    fn only_recent_ones_of_the_units_asked_for() {
        let mut recent = with_room(8, 100);
        for (at_ns, unit) in [(0, 1), (50, 2), (60, 1), (70, 2)] {
            recent.keep(at_ns, Unit::from_low_bits(unit), 3, &[at_ns as u8]);
        }
        let mut taken = Vec::new();
        let ones: UnitSet = std::iter::once(Unit::from_low_bits(1)).collect();
        recent.take(120, &ones, |port, frame| taken.push((port, frame.to_vec())));
        assert_eq!(taken, [(3, vec![60])]);
        assert_eq!(all(&mut recent, 160), [[70]]);
        recent.keep(200, Unit::from_low_bits(1), 3, &[0; 8 * BYTES_EACH + 1]);
        assert!(all(&mut recent, 200).is_empty());
    }
}
