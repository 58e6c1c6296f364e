//! The notice board between the cluster thread and everyone who only wants to look: one value, replaced as a whole, so
//! that a slow reader never delays the cluster thread.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use phalanx_dataplane::unit::MemberId;

use super::post::Refused;
use crate::cluster::{Snapshot, Time};
use crate::link::LinkStats;
use crate::replication::ReplicationStats;
use crate::status::Event;

/// How many events are remembered.
pub(super) const EVENTS_MAX: usize = 256;

/// What the cluster thread tells.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    /// When.
    pub(super) at: Time,
    /// The core.
    pub(super) core: Snapshot,
    /// The members' names as they introduced themselves.
    pub(super) names: Vec<(MemberId, String)>,
    /// Frames that were refused.
    pub(super) refused: Refused,
    /// The link's counters.
    pub(super) link: LinkStats,
    /// The counters of what carries sessions to the other members.
    pub(super) replication: ReplicationStats,
    /// The latest events, oldest first.
    pub(super) events: Arc<Vec<Event>>,
    /// Whether this member was once let in, so that searching means that it was parted from its cluster.
    pub(super) was_member: bool,
    /// Rounds of the cluster thread's loop.
    pub(super) rounds: u64,
    /// The most that a deadline was missed by, in nanoseconds.
    pub(super) late_max_ns: u64,
}

/// The board.
#[derive(Debug, Default)]
pub(super) struct Board(ArcSwapOption<Posted>);

impl Board {
    /// Replaces what is posted.
    pub(super) fn post(&self, posted: Posted) {
        self.0.store(Some(Arc::new(posted)));
    }

    /// What is posted now; nothing before the cluster thread's first round.
    pub(super) fn read(&self) -> Option<Arc<Posted>> {
        self.0.load_full()
    }
}
