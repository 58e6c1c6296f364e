//! Several workers, one voice: the cluster core hears of a view only when all workers obey it, and of a member's marker
//! only when every worker of that member has sent its part by every port.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use phalanx_dataplane::steer::{MarkerPart, Notice};
use phalanx_dataplane::unit::{MemberId, Unit};

/// Markers of which parts may be missing. Those that never become whole give way to newer ones.
const MARKERS_MAX: usize = 32;

type Logs = BTreeMap<Unit, Option<Vec<u32>>>;

/// What the workers have said so far and the core has not heard yet.
#[derive(Clone, Debug)]
pub(super) struct Merge {
    /// By worker: the newest view that it obeys.
    obeyed: Vec<u64>,
    /// The newest view that all obey.
    told: u64,
    /// Digest logs by the view with which they ended.
    logs: BTreeMap<u64, Logs>,
    /// Markers on their way, oldest first.
    markers: VecDeque<Marker>,
}

/// What has come of a marker.
#[derive(Clone, Debug)]
struct Marker {
    from: MemberId,
    token: u64,
    parts: BTreeSet<MarkerPart>,
}

impl Merge {
    pub(super) fn new(workers: usize) -> Self {
        Self { obeyed: vec![0; workers], told: 0, logs: BTreeMap::new(), markers: VecDeque::new() }
    }

    /// Takes in what a worker says; what the core is to hear, if anything.
    pub(super) fn take(&mut self, worker: usize, notice: Notice) -> Option<Notice> {
        let (version, logs) = match notice {
            Notice::Applied { version, logs } => (version, logs),
            Notice::Marker { from, token, part } => {
                let whole = self.collect(from, token, part);
                return whole.then_some(Notice::Marker { from, token, part: MarkerPart::WHOLE });
            }
            Notice::Unassigned(_) => return Some(notice),
        };
        let slot = self.obeyed.get_mut(worker)?;
        *slot = version.max(*slot);
        let kept = self.logs.entry(version).or_default();
        for (unit, digests) in logs {
            add(kept, unit, digests);
        }
        let all = self.obeyed.iter().copied().min().unwrap_or(version);
        if all <= self.told {
            return None;
        }
        self.told = all;
        let later = self.logs.split_off(&(all + 1));
        let mut logs = Logs::new();
        for (unit, digests) in std::mem::replace(&mut self.logs, later).into_values().flatten() {
            add(&mut logs, unit, digests);
        }
        Some(Notice::Applied { version: all, logs: logs.into_iter().collect() })
    }
}

impl Merge {
    /// Whether this part makes a marker whole.
    fn collect(&mut self, from: MemberId, token: u64, part: MarkerPart) -> bool {
        let known = self.markers.iter().position(|marker| marker.from == from && marker.token == token);
        let at = known.unwrap_or_else(|| {
            if self.markers.len() >= MARKERS_MAX {
                self.markers.pop_front();
            }
            self.markers.push_back(Marker { from, token, parts: BTreeSet::new() });
            self.markers.len() - 1
        });
        let Some(marker) = self.markers.get_mut(at) else { return false };
        marker.parts.insert(part);
        let whole = marker.parts.iter().filter(|other| other.of() == part.of()).count() == usize::from(part.of());
        if whole {
            self.markers.remove(at);
        }
        whole
    }
}

/// A unit's packets may have come to several workers; if one cannot name all of its own, nobody can name all.
fn add(logs: &mut Logs, unit: Unit, digests: Option<Vec<u32>>) {
    let merged = logs.entry(unit).or_insert_with(|| Some(Vec::new()));
    *merged = merged.take().zip(digests).map(|(mut all, more)| {
        all.extend(more);
        all
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(number: u16) -> Unit {
        Unit::new(number).unwrap()
    }

    fn applied(version: u64, logs: &[(u16, Option<&[u32]>)]) -> Notice {
        let logs = logs.iter().map(|(number, digests)| (unit(*number), digests.map(<[u32]>::to_vec))).collect();
        Notice::Applied { version, logs }
    }

    #[test]
    fn one_worker_speaks_for_itself() {
        let mut merge = Merge::new(1);
        assert_eq!(merge.take(0, applied(1, &[(3, Some(&[9]))])), Some(applied(1, &[(3, Some(&[9]))])));
        assert_eq!(merge.take(0, Notice::Unassigned(unit(4))), Some(Notice::Unassigned(unit(4))));
    }

    #[test]
    fn the_slowest_worker_decides_and_logs_are_joined() {
        let mut merge = Merge::new(3);
        assert_eq!(merge.take(0, applied(1, &[(3, Some(&[1, 2])), (4, None)])), None);
        assert_eq!(merge.take(0, applied(2, &[(3, Some(&[5]))])), None);
        assert_eq!(merge.take(1, applied(2, &[(3, Some(&[3])), (4, Some(&[6]))])), None);
        let all = [(3, Some(&[1, 2, 4][..])), (4, None)];
        assert_eq!(merge.take(2, applied(1, &[(3, Some(&[4]))])), Some(applied(1, &all)));
        assert_eq!(merge.take(2, applied(2, &[])), Some(applied(2, &[(3, Some(&[5, 3])), (4, Some(&[6]))])));
        assert!(merge.logs.is_empty());
    }

    #[test]
    fn a_marker_is_told_when_every_worker_has_sent_its_part_by_every_port() {
        let mut merge = Merge::new(2);
        let from = MemberId::new(3).unwrap();
        let part = |index, of| MarkerPart::new(index, of).unwrap();
        let marker = |token, part| Notice::Marker { from, token, part };
        let whole = |token| Some(marker(token, MarkerPart::WHOLE));
        assert_eq!(merge.take(0, marker(7, MarkerPart::WHOLE)), whole(7));
        for (worker, index) in [(0, 0), (1, 2), (0, 2), (1, 3)] {
            assert_eq!(merge.take(worker, marker(8, part(index, 4))), None);
        }
        // The next one begins before this one ends.
        assert_eq!(merge.take(0, marker(9, part(0, 2))), None);
        assert_eq!(merge.take(1, marker(8, part(1, 4))), whole(8));
        assert_eq!(merge.take(1, marker(9, part(1, 2))), whole(9));
        // Those that never become whole are forgotten in the end.
        (10..1000).for_each(|token| assert_eq!(merge.take(0, marker(token, part(0, 2))), None));
        assert_eq!(merge.markers.len(), MARKERS_MAX);
    }

    #[test]
    fn a_skipped_view_is_covered_by_the_next() {
        let mut merge = Merge::new(2);
        assert_eq!(merge.take(0, applied(1, &[])), None);
        assert_eq!(merge.take(1, applied(5, &[(1, Some(&[7]))])), Some(applied(1, &[])));
        assert_eq!(merge.take(0, applied(5, &[])), Some(applied(5, &[(1, Some(&[7]))])));
    }
}
