//! What a worker lets others see of replication: copies of its outbox's and store's figures, renewed several times a second.

use super::counter::Counter;
use super::in_sync::InSyncShared;
use crate::replica::{OutboxStats, StoreStats};

/// See the module. `log` is what this worker tells of its own sessions, `store` what it holds of others'.
#[derive(Debug)]
pub struct ReplicaShared {
    log: Box<[Counter]>,
    store: Box<[Counter]>,
    /// Pairs of a unit of ours and a backup that is to hold it and does not yet.
    pub lacking: Counter,
    /// Who is in sync, for the cluster.
    pub in_sync: InSyncShared,
    /// The longest that an update waited for its commit lately.
    pub commit_ns: Counter,
    /// Times that commits went on though the cluster had not answered that it knows who fell out of sync.
    pub unheard: Counter,
    /// Sessions in the store.
    pub sessions: Counter,
    /// Bytes that they take.
    pub bytes: Counter,
}

impl Default for ReplicaShared {
    fn default() -> Self {
        Self {
            log: OutboxStats::default().iter().map(|_| Counter::default()).collect(),
            store: StoreStats::default().iter().map(|_| Counter::default()).collect(),
            lacking: Counter::default(),
            in_sync: InSyncShared::default(),
            commit_ns: Counter::default(),
            unheard: Counter::default(),
            sessions: Counter::default(),
            bytes: Counter::default(),
        }
    }
}

impl ReplicaShared {
    pub(super) fn publish(&self, log: &OutboxStats, store: &StoreStats) {
        let publish = |to: &[Counter], values: &mut dyn Iterator<Item = u64>| {
            to.iter().zip(values).for_each(|(counter, value)| counter.set(value));
        };
        publish(&self.log, &mut log.iter().map(|(_, _, value)| value));
        publish(&self.store, &mut store.iter().map(|(_, _, value)| value));
    }

    /// Which side (`log` or `store`), name, description and value of each figure.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64)> {
        let log: Vec<_> = OutboxStats::default().iter().map(|(name, help, _)| ("log", name, help)).collect();
        let store: Vec<_> = StoreStats::default().iter().map(|(name, help, _)| ("store", name, help)).collect();
        let values: Vec<u64> = self.log.iter().chain(&self.store).map(Counter::get).collect();
        log.into_iter().chain(store).zip(values).map(|((side, name, help), value)| (side, name, help, value))
    }
}
