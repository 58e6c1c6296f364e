//! Between workers and core: who is in sync with whom.
//!
//! Workers rewrite words in shared memory; this thread looks once a round whether anything changed, which costs a read
//! for each worker, and tells the core all there is. What the core says is known goes back, so that commits go on that waited for it.

use std::collections::{BTreeMap, VecDeque};

use phalanx_dataplane::app::UnitSet;
use phalanx_dataplane::unit::{MemberId, Unit};
use phalanx_dataplane::worker::{InSyncShared, worker_of};

use super::ClusterThread;

/// Words of the workers that are on their way; further ones are counted with the last of these.
const ON_THEIR_WAY_MAX: usize = 32;

/// What was read last, and what of it nobody has acknowledged yet.
#[derive(Default)]
pub(super) struct InSyncReader {
    /// By worker, the changes seen.
    seen: Vec<u64>,
    stamp: u64,
    on_their_way: VecDeque<(u64, Vec<u64>)>,
}

impl ClusterThread {
    fn in_sync_of(&self, worker: usize) -> Option<&InSyncShared> {
        self.parts.shared.workers.get(worker).map(|shared| &shared.replica.in_sync)
    }

    /// Tells the core what has changed. To be called before the core hears that a view is obeyed: what follows from the view
    /// was written before that was said.
    pub(super) fn take_in_sync(&mut self) {
        if self.parts.replicas.is_none() {
            return;
        }
        let workers = self.parts.shared.workers.len();
        let news = (0..workers).any(|worker| {
            let told = self.in_sync_of(worker).map_or(0, InSyncShared::told);
            self.in_sync.seen.get(worker).copied().unwrap_or(0) != told
        });
        if !news {
            return;
        }
        // Read before the words: they are at least as new.
        let seen: Vec<u64> = (0..workers).map(|worker| self.in_sync_of(worker).map_or(0, InSyncShared::told)).collect();
        let mut holders: BTreeMap<MemberId, UnitSet> = BTreeMap::new();
        for unit in Unit::all() {
            let Some(shared) = self.in_sync_of(worker_of(unit, workers)) else { continue };
            for member in shared.members(unit).iter() {
                holders.entry(member).or_insert(UnitSet::EMPTY).insert(unit);
            }
        }
        let it = &mut self.in_sync;
        it.stamp += 1;
        if it.on_their_way.len() >= ON_THEIR_WAY_MAX {
            it.on_their_way.pop_back();
        }
        it.on_their_way.push_back((it.stamp, seen.clone()));
        it.seen = seen;
        let (now, stamp) = (self.now(), self.in_sync.stamp);
        self.parts.core.handle_in_sync(now, stamp, holders);
        self.carry_out();
    }

    /// Tells the workers up to where whoever names heirs knows.
    pub(super) fn pass_on_known(&mut self) {
        let known = self.parts.core.in_sync_known();
        while self.in_sync.on_their_way.front().is_some_and(|(stamp, _)| *stamp <= known)
            && let Some((_, seen)) = self.in_sync.on_their_way.pop_front()
        {
            for (worker, told) in seen.into_iter().enumerate() {
                if let Some(shared) = self.in_sync_of(worker) {
                    shared.know(told);
                }
            }
        }
    }
}
