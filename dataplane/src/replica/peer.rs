//! One backup, as an outbox sees it.
//!
//! ```text
//!            greeted                 too slow
//! Unconnected ─────────> Connected ─────────────> Dropped
//!      ^                  │   ^                      │
//!      └──── gone ────────┘   └── all acknowledged ──┘
//! ```
//! Whatever the state: a backup that has confirmed a unit is waited for until it is dropped or no longer a backup; a broken
//! connection alone changes nothing about that, for the member may still be the one that takes over.

use std::collections::VecDeque;

use super::record::Position;
use crate::unit::Unit;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// No stream, or one that has not been answered.
    Unconnected,
    /// Gets the log.
    Connected,
    /// Fell behind: gets nothing until what it was sent is acknowledged.
    Dropped,
}

pub(super) struct Peer {
    pub(super) standing: Standing,
    /// Names the stream that is in use: what was given to the transport for an older one is void.
    pub(super) stream: u32,
    /// The position to begin at that it has not been told yet.
    pub(super) begin: Option<Position>,
    /// The next segment to give it, by number.
    pub(super) next: u64,
    /// The end of what it was given.
    pub(super) shipped: Position,
    /// The end of what it has.
    pub(super) acked: Position,
    /// The last position that is for it.
    pub(super) addressed: Position,
    /// Bytes that were addressed to it, ever, and those of them that it has acknowledged.
    pub(super) bytes: u64,
    /// After which position which sum of `bytes` was reached: one entry a segment.
    pub(super) marks: VecDeque<(Position, u64)>,
    pub(super) bytes_acked: u64,
    /// Units whose check or snapshot ends at a position, oldest first.
    pub(super) confirming: VecDeque<(Unit, Position)>,
    /// Units that it is a backup of.
    pub(super) wanted: u32,
    /// Those among them whose updates it gets.
    pub(super) live: u32,
    /// Those that it has confirmed.
    pub(super) synced: u32,
    /// Commits wait for it.
    pub(super) waited: bool,
    /// It has what was committed when they began to.
    pub(super) caught_up: bool,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self {
            standing: Standing::Unconnected,
            stream: 0,
            begin: None,
            next: 0,
            shipped: Position(0),
            acked: Position(0),
            addressed: Position(0),
            bytes: 0,
            marks: VecDeque::new(),
            bytes_acked: 0,
            confirming: VecDeque::new(),
            wanted: 0,
            live: 0,
            synced: 0,
            waited: false,
            caught_up: false,
        }
    }

    /// How far it has the log: to its head, if nothing else is for it.
    pub(super) fn reached(&self, head: Position) -> Position {
        if self.acked >= self.addressed { head } else { self.acked }
    }

    /// Bytes for it that it has not acknowledged.
    pub(super) const fn lag_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.bytes_acked)
    }

    /// Whether the log is kept for it.
    pub(super) fn is_followed(&self) -> bool {
        match self.standing {
            Standing::Unconnected => self.live > 0,
            Standing::Connected => self.live > 0 || self.addressed > self.acked,
            Standing::Dropped => false,
        }
    }

    pub(super) fn note_bytes(&mut self, position: Position, bytes: usize) {
        self.addressed = position;
        self.bytes += bytes as u64;
    }

    /// A segment ends: remembers what its acknowledgement will stand for.
    pub(super) fn mark(&mut self, last: Position) {
        self.marks.push_back((last, self.bytes));
    }

    pub(super) fn acknowledge(&mut self, position: Position) {
        self.acked = position;
        while let Some((_, bytes)) = self.marks.front().copied().filter(|(last, _)| *last <= position) {
            self.bytes_acked = bytes;
            self.marks.pop_front();
        }
    }

    /// From here on nothing before `head` matters any more.
    pub(super) fn restart(&mut self, head: Position) {
        (self.acked, self.shipped, self.addressed) = (head, head, head);
        self.bytes_acked = self.bytes;
        self.marks.clear();
        self.confirming.clear();
        self.begin = Some(head);
    }
}
