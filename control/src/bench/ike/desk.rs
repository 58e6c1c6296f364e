//! What a worker is to the gateway: a log, a store, policies, and a wire that is a list.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use phalanx_dataplane::app::{Outgoing, Outlet};
use phalanx_dataplane::ipsec::gateway::{Policies, Selectors, Word};
use phalanx_dataplane::replica::{DigestKey, MemberSet, Outbox, OutboxLimits, Store, StoreLimits, TableVersion};
use phalanx_dataplane::unit::{MemberId, Unit};

/// The key of digests; anything that all have.
pub(super) const REPLICA_KEY: [u8; 16] = *b"a key for a bank";
/// The table that says who owns what.
pub(super) const TABLE: TableVersion = TableVersion { term: 1, generation: 1 };
/// A packet's room.
const ROOM: usize = 4096;
const MTU: u16 = 1500;
const SECOND_NS: u64 = 1_000_000_000;
/// What certificates are valid at.
const NOW_S: u64 = 1_800_000_000;

/// See the module.
pub(super) struct Desk {
    pub(super) now_ns: u64,
    pub(super) owns: bool,
    pub(super) outbox: Outbox,
    pub(super) store: Store,
    pub(super) policies: Policies,
    /// What others are told of tunnels.
    pub(super) words: VecDeque<Word>,
    pub(super) sent: Vec<Vec<u8>>,
    room: Box<[u8]>,
}

impl Desk {
    pub(super) fn new(owner: MemberId, backups: MemberSet, owns: bool) -> Self {
        let mut store = Store::new(DigestKey::new(REPLICA_KEY), StoreLimits::default());
        let mut outbox = Outbox::new(OutboxLimits::default());
        store.set_version(TABLE);
        outbox.set_version(TABLE);
        for unit in Unit::all() {
            store.set_owner(unit, Some(owner), TABLE);
            if owns {
                outbox.set_backups(unit, backups);
            }
        }
        Self {
            now_ns: SECOND_NS,
            owns,
            outbox,
            store,
            policies: Policies::default(),
            words: VecDeque::new(),
            sent: Vec::new(),
            room: vec![0; ROOM].into(),
        }
    }
}

impl Outlet for Desk {
    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn owns(&self, _: Unit) -> bool {
        self.owns
    }

    fn source_towards(&self, _: IpAddr) -> Option<IpAddr> {
        None
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
        NOW_S + self.now_ns / SECOND_NS
    }

    fn protect(&mut self, selectors: &Selectors, spi: u32) {
        if self.policies.insert(selectors, spi) {
            self.words.push_back(Word::Insert(Arc::new(selectors.clone()), spi));
        }
    }

    fn unprotect(&mut self, spi: u32) {
        if self.policies.remove(spi) {
            self.words.push_back(Word::Remove(spi));
        }
    }

    /// The gateway sends whole packets.
    fn send(&mut self, _: Outgoing, _: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        false
    }

    fn send_whole(&mut self, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let len = write(&mut self.room);
        let packet = self.room.get(..len).filter(|packet| !packet.is_empty());
        self.sent.extend(packet.map(<[u8]>::to_vec));
        packet.is_some()
    }

    /// No traffic goes through these tunnels.
    fn forward(&mut self, _: Unit, _: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        false
    }

    fn incarnation(&self) -> u64 {
        1
    }
}
