//! What a worker is to the relay: an outbox, a store, and a wire of one queue.

use std::collections::VecDeque;
use std::net::IpAddr;

use phalanx_dataplane::app::{Outgoing, Outlet, UnitSet};
use phalanx_dataplane::replica::{DigestKey, MemberSet, Outbox, OutboxLimits, Store, StoreLimits, TableVersion};
use phalanx_dataplane::unit::{MemberId, Unit};

use super::member::KEY;

/// The relay's address inside.
pub(super) const INSIDE: &str = "10.10.0.1";
/// What a frame carries, and a little more.
const ROOM: usize = 1600;
const MTU: u16 = 1500;

/// A segment, in a buffer of a frame's size.
pub(super) struct Buffer {
    room: Box<[u8; ROOM]>,
    len: usize,
}

impl Buffer {
    /// The segment.
    pub(super) fn bytes(&self) -> &[u8] {
        self.room.get(..self.len).unwrap_or(&[])
    }
}

/// See the module.
pub(super) struct Desk {
    pub(super) now_ns: u64,
    pub(super) owned: UnitSet,
    pub(super) outbox: Outbox,
    pub(super) store: Store,
    sent: VecDeque<(Outgoing, Buffer)>,
    spare: Vec<Buffer>,
    inside: Option<IpAddr>,
}

impl Desk {
    pub(super) fn new() -> Self {
        let store = Store::new(DigestKey::new(KEY), StoreLimits::default());
        Self {
            now_ns: 1,
            owned: UnitSet::EMPTY,
            outbox: Outbox::new(OutboxLimits::default()),
            store,
            sent: VecDeque::new(),
            spare: Vec::new(),
            inside: INSIDE.parse().ok(),
        }
    }

    /// A table by which one member owns all units and some hold them: what a worker does with it before the apps hear of
    /// it (`Path::note_holders`).
    pub(super) fn set_table(&mut self, me: MemberId, owner: MemberId, backups: MemberSet, version: TableVersion) {
        for unit in Unit::all() {
            self.store.set_owner(unit, Some(owner), version);
        }
        self.store.set_version(version);
        self.outbox.set_version(version);
        for unit in Unit::all().filter(|_| owner == me) {
            self.outbox.set_backups(unit, backups);
        }
    }

    /// What the relay has sent. Give the buffer back to [`Self::take_back`].
    pub(super) fn next_sent(&mut self) -> Option<(Outgoing, Buffer)> {
        self.sent.pop_front()
    }

    /// How many segments wait to be taken.
    pub(super) fn sent(&self) -> usize {
        self.sent.len()
    }

    pub(super) fn take_back(&mut self, buffer: Buffer) {
        self.spare.push(buffer);
    }
}

impl Outlet for Desk {
    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn owns(&self, unit: Unit) -> bool {
        self.owned.contains(unit)
    }

    fn source_towards(&self, _: IpAddr) -> Option<IpAddr> {
        self.inside
    }

    fn mtu_towards(&self, _: IpAddr) -> Option<u16> {
        Some(MTU)
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    fn cluster_clock_s(&self) -> u64 {
        1000 + self.now_ns / 1_000_000_000
    }

    fn send(&mut self, packet: Outgoing, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let mut buffer = self.spare.pop().unwrap_or_else(|| Buffer { room: Box::new([0; ROOM]), len: 0 });
        buffer.len = write(buffer.room.as_mut_slice());
        let any = buffer.len > 0;
        if any {
            self.sent.push_back((packet, buffer));
        } else {
            self.spare.push(buffer);
        }
        any
    }

    /// A relay never does.
    fn send_whole(&mut self, _: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        false
    }

    /// Nor this.
    fn forward(&mut self, _: Unit, _: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        false
    }

    fn incarnation(&self) -> u64 {
        1
    }
}
