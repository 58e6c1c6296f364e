//! One member: rings, outbox and stores of production, and both ends of each stream.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use phalanx_dataplane::replica::{
    Incoming, MemberSet, Outbox, OutboxLimits, PortHandle, Position, Snapshots, Store, StoreLimits, WorkerPort, port,
};
use phalanx_dataplane::unit::MEMBER_NUMBER_MAX;

use super::super::super::message::Hello;
use super::super::super::{FrameBuffer, Receiver, Sender};
use super::super::support::KEY;
use super::said::History;
use super::{LOG_BYTES_MAX, MEMBERS};

/// One owner's stream to one backup.
pub(super) struct Stream {
    pub(super) number: u32,
    pub(super) sender: Sender,
    pub(super) to_backup: VecDeque<u8>,
    pub(super) to_owner: VecDeque<u8>,
    pub(super) at_backup: FrameBuffer,
    pub(super) at_owner: FrameBuffer,
    pub(super) hello: Option<Hello>,
    pub(super) greeted: bool,
}

/// A backup's end for one owner.
#[derive(Default)]
pub(super) struct Entrance {
    pub(super) receiver: Receiver,
    pub(super) waiting: VecDeque<Incoming>,
    /// Tickets and the positions that they end at.
    pub(super) tickets: VecDeque<(u64, Position)>,
    /// Nothing, since it was started.
    pub(super) applied: Option<Position>,
}

pub(super) struct Member {
    pub(super) incarnation: u64,
    /// Which of the tables it knows.
    pub(super) knows: usize,
    pub(super) outbox: Outbox,
    pub(super) store: Store,
    /// The live sessions.
    pub(super) own: Store,
    pub(super) snapshots: Snapshots,
    pub(super) port: WorkerPort,
    pub(super) handle: PortHandle,
    /// By unit of its: who holds it, as the cluster knows.
    pub(super) heirs: BTreeMap<u16, MemberSet>,
    /// Began another life since, and was not seen out of sync yet: what is said of it is said of the earlier one.
    pub(super) reborn: MemberSet,
    pub(super) histories: BTreeMap<u16, History>,
    pub(super) entrances: Vec<Entrance>,
    pub(super) streams: Vec<Option<Stream>>,
    pub(super) next_stream: u32,
}

impl Member {
    pub(super) fn new(incarnation: u64) -> Self {
        let nothing: phalanx_dataplane::replica::Wake = Arc::new(|| {});
        let (handle, port) =
            port(nothing.clone(), vec![nothing.clone(); usize::from(MEMBER_NUMBER_MAX)], nothing.clone());
        let limits =
            OutboxLimits { log_bytes_max: LOG_BYTES_MAX, log_segments_max: 64, snapshot_window_bytes: 4 << 10 };
        Self {
            incarnation,
            knows: 0,
            outbox: Outbox::new(limits),
            store: Store::new(KEY, StoreLimits::default()),
            own: Store::new(KEY, StoreLimits::default()),
            snapshots: Snapshots::new(),
            port,
            handle,
            heirs: BTreeMap::new(),
            reborn: MemberSet::EMPTY,
            histories: BTreeMap::new(),
            entrances: (0..MEMBERS).map(|_| Entrance::default()).collect(),
            streams: (0..MEMBERS).map(|_| None).collect(),
            next_stream: 0,
        }
    }
}
