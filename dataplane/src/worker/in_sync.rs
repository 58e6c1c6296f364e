//! What the cluster is told of backups: which of them hold which unit in sync with this worker.
//!
//! One word for each unit, rewritten when it changes, and a count of the changes; so a cluster thread that looks rarely
//! misses nothing but what is over. The other way comes the count that the cluster's heirs are known to go by: until it has
//! reached the change by which somebody fell out of sync, the worker commits nothing ([`crate::replica::Outbox::release`]).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::holdings::Holdings;
use crate::replica::MemberSet;
use crate::unit::{UNITS, Unit};

/// A cluster that does not answer for so long (it has no master, or one of an older version) is not waited for.
const HELD_BACK_MAX_NS: u64 = 1_000_000_000;
/// How soon a worker that waits for the answer looks again.
pub(super) const LOOK_AGAIN_NS: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub struct InSyncShared {
    words: Box<[AtomicU32]>,
    told: AtomicU64,
    known: AtomicU64,
}

impl Default for InSyncShared {
    fn default() -> Self {
        Self {
            words: (0..UNITS).map(|_| AtomicU32::new(0)).collect(),
            told: AtomicU64::new(0),
            known: AtomicU64::new(0),
        }
    }
}

impl InSyncShared {
    /// How often the worker has changed something. What is read after this is at least as new.
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::Acquire)
    }

    /// Who is in sync with this worker for a unit of its.
    pub fn members(&self, unit: Unit) -> MemberSet {
        self.words.get(unit.index()).map_or(MemberSet::EMPTY, |word| MemberSet::from_bits(word.load(Ordering::Acquire)))
    }

    /// The cluster goes by what was told up to here.
    pub fn know(&self, told: u64) {
        self.known.store(told, Ordering::Release);
    }
}

/// Since when, and for what, commits wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldBack {
    told: u64,
    since_ns: u64,
}

impl Holdings {
    /// Tells what has changed, and goes on committing if the cluster knows what it must. No more than a look where nothing has.
    /// Says whether commits go on though the cluster has not answered.
    pub fn tell_in_sync(&mut self, now_ns: u64, shared: &InSyncShared) -> bool {
        let changed = self.outbox.take_changed();
        if !changed.is_empty() {
            for unit in changed.iter() {
                if let Some(word) = shared.words.get(unit.index()) {
                    word.store(self.outbox.in_sync(unit).bits(), Ordering::Release);
                }
            }
            // This worker is the only one that writes.
            shared.told.store(shared.told.load(Ordering::Relaxed) + 1, Ordering::Release);
        }
        if self.outbox.take_shrunk() {
            self.held_back = Some(HeldBack { told: shared.told.load(Ordering::Relaxed), since_ns: now_ns });
        }
        let Some(held_back) = self.held_back else { return false };
        let known = shared.known.load(Ordering::Acquire) >= held_back.told;
        let late = now_ns.saturating_sub(held_back.since_ns) >= HELD_BACK_MAX_NS;
        if known || late {
            self.held_back = None;
            self.outbox.release();
        }
        late && !known
    }
}
