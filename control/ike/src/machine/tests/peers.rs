//! Two machines before one another: one begins, the other answers. All that either knows goes through records between any two steps.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::machine::{Keeper, Seen};
use crate::state::Phase;
use crate::wire::header;

/// Which side a member is of.
pub(super) const US: usize = 0;
pub(super) const THEM: usize = 1;

/// Two members.
pub(super) struct Peers {
    pub(super) worlds: [World; 2],
    /// Messages on their way: to whom, what.
    pub(super) wire: VecDeque<(usize, Datagram)>,
    /// Children as the data planes have them, by inbound SPI.
    pub(super) tunnels: [BTreeMap<u32, super::super::ChildSa>; 2],
    pub(super) reports: [Vec<String>; 2],
    /// When each SA of a side is due.
    pub(super) due: [BTreeMap<u64, u64>; 2],
    pub(super) keepers: [Option<Keeper>; 2],
    /// What becomes of a message to a side on its way.
    pub(super) way: fn(usize, Datagram) -> Datagram,
}

/// Ours, and that of the peer, which is the same seen from the other side.
pub(super) fn configs() -> [Config; 2] {
    let mut ours = config();
    let connection = &mut ours.connections[0];
    connection.start = Some(path());
    connection.remote_addresses = vec![network("192.0.2.9/32")];
    connection.remote_id = Some(Identity::of_text(CLIENT));
    let mut theirs = ours.clone();
    let connection = &mut theirs.connections[0];
    connection.start = None;
    connection.local_address = Some(path().theirs.ip());
    connection.remote_addresses = vec![network("198.51.100.1/32")];
    connection.local_id = Identity::of_text(CLIENT);
    connection.remote_id = Some(Identity::of_text(GATEWAY));
    for child in &mut connection.children {
        std::mem::swap(&mut child.local, &mut child.remote);
    }
    [ours, theirs]
}

pub(super) fn mirrored(path: Path) -> Path {
    Path { ours: path.theirs, theirs: path.ours }
}

impl Peers {
    pub(super) fn new(configs: [Config; 2]) -> Self {
        let mut worlds = configs.map(World::new);
        (worlds[THEM].random, worlds[THEM].draw) = (Counted(1234), 1 << 40);
        Self {
            worlds,
            wire: VecDeque::new(),
            tunnels: Default::default(),
            reports: Default::default(),
            due: Default::default(),
            keepers: [None, None],
            way: |_, datagram| datagram,
        }
    }

    /// A side's keeper looks.
    pub(super) fn look(&mut self, side: usize, seen: Seen) -> Option<u64> {
        let before = self.keepers[side].take().map(|keeper| Keeper::restore(&keeper.save()).unwrap());
        let (machine, given) = self.worlds[side].turn();
        let (keeper, outcome) = machine.keep(given, before, "road", seen).expect("it is kept");
        let spi = keeper.spi;
        self.keepers[side] = Some(keeper);
        let at_s = outcome.timeout_s;
        let begun = outcome.successor.as_ref().map(|(_, timeout_s)| *timeout_s);
        let shown = self.worlds[side].commit(u64::MAX, outcome);
        begun.flatten().map(|at_s| self.due[side].insert(spi, at_s));
        self.note(side, u64::MAX, shown);
        at_s
    }

    /// A side begins; our SPI.
    pub(super) fn begin(&mut self, side: usize) -> u64 {
        self.look(side, Seen::Nothing);
        self.worlds[side].now_s += 4;
        self.look(side, Seen::Nothing);
        self.keepers[side].as_ref().unwrap().spi
    }

    fn note(&mut self, side: usize, spi: u64, shown: Shown) {
        for event in shown.children {
            match event {
                ChildEvent::Add(child) => drop(self.tunnels[side].insert(child.inbound.spi, *child)),
                ChildEvent::Remove(spi) => drop(self.tunnels[side].remove(&spi)),
                ChildEvent::Move { .. } | ChildEvent::Skip { .. } => {}
            }
        }
        match shown.timeout_s {
            Some(at_s) => self.due[side].insert(spi, at_s),
            None => self.due[side].remove(&spi),
        };
        // A successor's time is not shown: it says when it is asked.
        for spi in self.worlds[side].records.keys() {
            self.due[side].entry(*spi).or_insert(self.worlds[side].now_s);
        }
        let records = &self.worlds[side].records;
        self.due[side].retain(|spi, _| records.contains_key(spi));
        self.reports[side].extend(shown.reports.iter().map(ToString::to_string));
        self.wire.extend(shown.sent.into_iter().map(|datagram| (1 - side, datagram)));
    }

    /// What a member calls the SA that a message is for.
    pub(super) fn spi_of(bytes: &[u8]) -> u64 {
        let header = header(bytes).unwrap();
        match (header.from_initiator, header.responder_spi) {
            (false, _) => header.initiator_spi,
            // As workers name those that begin.
            (true, 0) => header.initiator_spi ^ 0x5555_0000_0000_0000,
            (true, spi) => spi,
        }
    }

    /// A member hears a message.
    pub(super) fn hear(&mut self, side: usize, datagram: &Datagram) {
        let path = Path { ours: datagram.to, theirs: datagram.from };
        let spi = Self::spi_of(&datagram.bytes);
        let shown = self.worlds[side].step(spi, Event::Message { path, bytes: &datagram.bytes });
        self.note(side, spi, shown);
    }

    /// Delivers the next message.
    pub(super) fn deliver(&mut self) -> bool {
        let Some((side, datagram)) = self.wire.pop_front() else { return false };
        self.hear(side, &(self.way)(side, datagram));
        true
    }

    pub(super) fn settle(&mut self) {
        while self.deliver() {}
    }

    /// An event for one of a side's SAs.
    pub(super) fn step(&mut self, side: usize, spi: u64, event: Event<'_>) {
        let shown = self.worlds[side].step(spi, event);
        self.note(side, spi, shown);
    }

    /// Time goes on: those that are due by then are asked, and messages arrive.
    pub(super) fn go(&mut self, to_s: u64) {
        loop {
            self.settle();
            let next = (0..2).flat_map(|side| self.due[side].iter().map(move |(spi, at_s)| (*at_s, side, *spi))).min();
            let Some((at_s, side, spi)) = next.filter(|(at_s, _, _)| *at_s <= to_s) else { break };
            let now_s = self.worlds[side].now_s.max(at_s);
            self.worlds.iter_mut().for_each(|world| world.now_s = world.now_s.max(now_s));
            self.due[side].remove(&spi);
            self.step(side, spi, Event::Timeout);
        }
        self.worlds.iter_mut().for_each(|world| world.now_s = to_s);
    }

    /// The SAs of a side that are up.
    pub(super) fn up(&self, side: usize) -> Vec<IkeSa> {
        let sas = self.worlds[side].records.values().map(|record| IkeSa::restore(record).unwrap());
        sas.filter(|sa| matches!(sa.phase, Phase::Established(_)) && !sa.succeeded).collect()
    }

    /// Both have the same tunnels, with the same keys, each from its own side; so many.
    pub(super) fn assert_tunnels(&self, count: usize) {
        let [ours, theirs] = &self.tunnels;
        let reports = &self.reports;
        assert_eq!((ours.len(), theirs.len()), (count, count), "{reports:?}");
        for one in ours.values() {
            let other = theirs.get(&one.outbound.spi).expect("the peer has it, too");
            assert_eq!((other.outbound.spi, &other.name), (one.inbound.spi, &one.name));
            for (half, mirror) in [(&one.inbound, &other.outbound), (&one.outbound, &other.inbound)] {
                assert_eq!(half.cipher_key, mirror.cipher_key);
                assert_eq!(half.integrity_key, mirror.integrity_key);
            }
            assert_eq!((&one.local, &one.remote), (&other.remote, &other.local));
            assert_eq!((one.udp, &one.transform, one.extended), (other.udp, &other.transform, other.extended));
        }
    }
}
