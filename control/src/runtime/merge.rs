//! Several workers, one voice: the cluster core hears of a view only when all workers obey it.

use std::collections::BTreeMap;

use phalanx_dataplane::steer::Notice;
use phalanx_dataplane::unit::Unit;

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
}

impl Merge {
    pub(super) fn new(workers: usize) -> Self {
        Self { obeyed: vec![0; workers], told: 0, logs: BTreeMap::new() }
    }

    /// Takes in what a worker says; what the core is to hear, if anything.
    pub(super) fn take(&mut self, worker: usize, notice: Notice) -> Option<Notice> {
        let Notice::Applied { version, logs } = notice else { return Some(notice) };
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
    fn a_skipped_view_is_covered_by_the_next() {
        let mut merge = Merge::new(2);
        assert_eq!(merge.take(0, applied(1, &[])), None);
        assert_eq!(merge.take(1, applied(5, &[(1, Some(&[7]))])), Some(applied(1, &[])));
        assert_eq!(merge.take(0, applied(5, &[])), Some(applied(5, &[(1, Some(&[7]))])));
    }
}
