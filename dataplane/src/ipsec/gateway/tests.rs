//! The gateway of two members and a peer, on a wire without delay. The peer seals and opens by the library alone, and remembers
//! every number and every IV that it has seen: none may come twice, whoever sends.

use std::collections::HashSet;

use super::*;
use crate::app::Outgoing;
use crate::ipsec::crypto::builtin::BuiltIn;
use crate::ipsec::crypto::{Direction, Job, Numbers, Session};
use crate::ipsec::decap::{Decap, Found, locate};
use crate::ipsec::encap::{Draws, Encap, Mode, Name};
use crate::ipsec::esp;
use crate::ipsec::keys::Keys;
use crate::ipsec::outer::{DontFragment, Outer, Ports};
use crate::parse::summarise_l3;
use crate::replica::{
    Consequence, MemberSet, Outbox, OutboxLimits, Ship, Snapshots, Sources, Store, StoreLimits, TableVersion, updates,
};
use crate::wire::ipv4;

mod behind;
mod bursts;
mod chaos;
mod exchange;
mod failover;
mod ike;
mod keepers;
mod lives;
mod lost;
mod skips;
mod transport;
mod tunnels;

const MS: u64 = 1_000_000;
const HERE: [u8; 4] = [198, 51, 100, 1];
const PEER: [u8; 4] = [192, 0, 2, 9];
const INSIDE: [u8; 4] = [10, 3, 0, 5];
const BRANCH: [u8; 4] = [10, 9, 0, 7];
const SPI_IN: u32 = 0x1_0000 + 77;
const SPI_OUT: u32 = 0x2_0001;
const REPLICA_KEY: [u8; 16] = [7; 16];

fn member(number: u8) -> MemberId {
    MemberId::new(number).expect("a number")
}

fn unit() -> Unit {
    Unit::from_low_bits(SPI_IN)
}

fn outer(from: [u8; 4], to: [u8; 4]) -> Outer {
    Outer {
        source: from.into(),
        destination: to.into(),
        udp: None,
        dscp: None,
        dont_fragment: DontFragment::Copy,
        hop_limit: 64,
    }
}

fn spec(numbers: Numbers) -> TunnelSpec {
    let transform = "aes128gcm16".parse().expect("a transform");
    let half = |spi, key: u8| Half { spi, keys: Keys::new(transform, &[key; 20], &[]).expect("keys") };
    let network = |[a, b, ..]: [u8; 4]| Network::new([a, b, 0, 0].into(), 16);
    TunnelSpec {
        name: "branch".to_owned(),
        protection: Protection::Esp(transform),
        mode: SaMode::Tunnel,
        numbers,
        replay_window: 64,
        outer: outer(HERE, PEER),
        selectors: Selectors { local: vec![network(INSIDE)], remote: vec![network(BRANCH)] },
        inbound: Half { ..half(SPI_IN, 1) },
        outbound: half(SPI_OUT, 2),
        contact: None,
        life: Life::default(),
    }
}

/// An IPv4 packet that says which one it is.
fn packet(from: [u8; 4], to: [u8; 4], mark: u32, len: u16, fragment: u16) -> Vec<u8> {
    let (source, destination) = (from.into(), to.into());
    let repr = ipv4::Repr { tos: 0, id: 1, fragment, ttl: 9, protocol: 200, source, destination, payload_len: len };
    let mut packet = vec![0; ipv4::HEADER_LEN + usize::from(len)];
    repr.emit(&mut packet).expect("room");
    packet[ipv4::HEADER_LEN..][..4].copy_from_slice(&mark.to_be_bytes());
    packet
}

fn mark(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[ipv4::HEADER_LEN..][..4].try_into().expect("four bytes"))
}

/// What a worker is to the gateway.
struct Desk {
    now_ns: u64,
    owned: bool,
    /// Whose the unit is by the table.
    replicated: bool,
    outbox: Outbox,
    store: Store,
    incarnation: u64,
    mtu: u16,
    to_peer: Vec<Vec<u8>>,
    to_host: Vec<Vec<u8>>,
    policies: Policies,
    contacts: Vec<Contact>,
    clock_s: u64,
    sole_up_to_ns: u64,
}

impl Outlet for Desk {
    fn now_ns(&self) -> u64 {
        self.now_ns
    }
    fn owns(&self, _: Unit) -> bool {
        self.owned
    }
    fn replicates(&self, _: Unit) -> bool {
        self.replicated
    }
    fn source_towards(&self, _: std::net::IpAddr) -> Option<std::net::IpAddr> {
        None
    }
    fn mtu_towards(&self, _: std::net::IpAddr) -> Option<u16> {
        Some(self.mtu)
    }
    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }
    fn store(&mut self) -> &mut Store {
        &mut self.store
    }
    fn cluster_clock_s(&self) -> u64 {
        self.clock_s
    }
    fn sole_up_to_ns(&self) -> u64 {
        self.sole_up_to_ns
    }
    fn lets_on(&mut self, _: &Summary, packet: &mut [u8]) -> bool {
        crate::wire::age(packet)
    }
    fn lets_on_all(&mut self, _: &[(u32, u32)]) -> u32 {
        u32::MAX
    }
    fn mtu_least(&self) -> usize {
        self.mtu.into()
    }
    fn protect(&mut self, selectors: &Selectors, spi: u32) {
        self.policies.insert(selectors, spi);
    }
    fn unprotect(&mut self, spi: u32) {
        self.policies.remove(spi);
    }
    fn announce(&mut self, contact: Contact) {
        self.contacts.push(contact);
    }
    fn send(&mut self, _: Outgoing, _: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        panic!("the gateway sends whole packets")
    }
    fn send_whole(&mut self, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        written(write, &mut self.to_peer)
    }
    fn forward(&mut self, _: Unit, write: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        written(write, &mut self.to_host)
    }
    fn incarnation(&self) -> u64 {
        self.incarnation
    }
}

fn written(write: &mut dyn FnMut(&mut [u8]) -> usize, wire: &mut Vec<Vec<u8>>) -> bool {
    let mut room = vec![0; 2000];
    let len = write(&mut room);
    room.truncate(len);
    if len > 0 {
        wire.push(room);
    }
    len > 0
}

struct Buffer {
    bytes: Vec<u8>,
    room: usize,
}

impl Wrappable for Buffer {
    fn packet(&self) -> &[u8] {
        &self.bytes
    }
    fn packet_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
    fn grow(&mut self, before: usize, after: usize) -> Option<&mut [u8]> {
        if before.max(after) > self.room {
            return None;
        }
        self.bytes = [&vec![0xee; before], &self.bytes[..], &vec![0xee; after]].concat();
        Some(&mut self.bytes)
    }
}

/// A member with a worker.
struct Member {
    id: MemberId,
    gateway: Box<Gateway>,
    desk: Desk,
    snapshots: Snapshots,
    /// Behind the desk, if IKE is spoken.
    session: Option<SessionDesk>,
}

impl Member {
    fn new(number: u8, incarnation: u64, spec: &TunnelSpec) -> Self {
        let id = member(number);
        let config = GatewayConfig::new(id, vec![spec.clone()], REPLICA_KEY);
        Self {
            id,
            gateway: Box::new(Gateway::new(config, Arc::new(BuiltIn), TunnelStats::new(1))),
            desk: Desk {
                now_ns: 1000 * MS,
                owned: false,
                replicated: false,
                outbox: Outbox::new(OutboxLimits::default()),
                store: Store::new(DigestKey::new(REPLICA_KEY), StoreLimits::default()),
                incarnation,
                mtu: 1500,
                to_peer: Vec::new(),
                to_host: Vec::new(),
                policies: Policies::default(),
                contacts: Vec::new(),
                clock_s: 1000,
                sole_up_to_ns: 0,
            },
            snapshots: Snapshots::new(),
            session: None,
        }
    }

    fn count(&self, event: &str) -> u64 {
        let counters = self.gateway.counters.of(0);
        counters.iter().find(|(name, ..)| *name == event).map_or_else(|| panic!("no {event}"), |(.., count)| count)
    }

    /// A packet comes from a host, in a buffer with room around it or without.
    fn send(&mut self, packet: &[u8]) -> Result<(), Hindrance> {
        self.send_into(SPI_IN, packet)
    }

    fn send_into(&mut self, spi: u32, packet: &[u8]) -> Result<(), Hindrance> {
        let summary = summarise_l3(packet).expect("a packet");
        let room = if self.desk.now_ns.is_multiple_of(2) { 100 } else { 0 };
        let mut buffer = Buffer { bytes: packet.to_vec(), room };
        if self.gateway.handle_passing(&mut self.desk, spi, &summary, &mut buffer)? == Passed::Wrapped {
            self.desk.to_peer.push(buffer.bytes);
        }
        self.desk.now_ns += 1;
        Ok(())
    }

    fn hear(&mut self, frame: &[u8]) -> Result<(), DropReason> {
        let summary = summarise_l3(frame).expect("a packet");
        assert!(self.gateway.claims(&summary));
        self.gateway.handle_packet(&mut self.desk, unit(), &summary, frame)
    }

    /// Time passes.
    fn wait(&mut self, span_ns: u64) {
        let until_ns = self.desk.now_ns + span_ns;
        while let Some(at_ns) = self.gateway.poll_timeout().filter(|at_ns| *at_ns <= until_ns) {
            self.desk.now_ns = self.desk.now_ns.max(at_ns);
            self.gateway.handle_timeout(&mut self.desk);
        }
        self.desk.now_ns = until_ns;
    }
}

/// Two members, of which one owns the tunnel, and the peer.
struct World {
    members: [Member; 2],
    owner: usize,
    generation: u64,
    peer: Peer,
}

impl World {
    fn new(numbers: Numbers) -> Self {
        Self::of(&spec(numbers))
    }

    fn of(spec: &TunnelSpec) -> Self {
        let members = [Member::new(1, 5, spec), Member::new(2, 9, spec)];
        let mut world = Self { members, owner: 1, generation: 0, peer: Peer::new(spec) };
        world.turn();
        world
    }

    fn owner(&mut self) -> &mut Member {
        &mut self.members[self.owner]
    }

    /// The other member becomes the owner, the present one its backup: as far as they know from each other by now.
    fn turn(&mut self) {
        let (old, new) = (self.owner, 1 - self.owner);
        self.generation += 1;
        let version = TableVersion { term: 1, generation: self.generation };
        self.stop();
        let all: UnitSet = Unit::all().collect();
        let heir = self.members[new].id;
        let was = &mut self.members[old];
        was.desk.replicated = false;
        let backup = was.id;
        for member in &mut self.members {
            member.desk.store.set_owner(unit(), Some(heir), version);
            member.desk.store.set_version(version);
            member.desk.outbox.set_version(version);
        }
        self.members[old].desk.outbox.set_backups(unit(), MemberSet::EMPTY);
        let is = &mut self.members[new];
        (is.desk.owned, is.desk.replicated) = (true, true);
        is.desk.outbox.set_backups(unit(), MemberSet::of(backup));
        is.desk.outbox.greeted(backup, self.generation as u32, None);
        is.gateway.handle_units(&mut is.desk, &all, &UnitSet::EMPTY);
        self.owner = new;
        self.replicate();
    }

    /// The owner stops, as in a planned move; by the table it is the owner still.
    fn stop(&mut self) {
        let all: UnitSet = Unit::all().collect();
        let owner = self.owner();
        owner.desk.owned = false;
        owner.gateway.handle_units(&mut owner.desk, &UnitSet::EMPTY, &all);
    }

    /// The backup takes in all that the owner has to tell, and says so; the owner goes on with that.
    fn replicate(&mut self) {
        for _ in 0..4 {
            self.ship();
            let (owner, backup) = (&mut self.members[self.owner].desk.outbox, self.members[1 - self.owner].id);
            let head = owner.head();
            owner.acknowledged(backup, head);
            let owner = self.owner();
            owner.gateway.handle_commit(&mut owner.desk);
        }
    }

    /// The backup takes in all that the owner has to tell; the owner does not hear of it.
    fn ship(&mut self) {
        let [first, second] = &mut self.members;
        let (owner, backup) = if self.owner == 0 { (first, second) } else { (second, first) };
        let Desk { outbox, store, .. } = &mut owner.desk;
        let mut all = Sources { store, live: std::slice::from_mut(&mut owner.gateway) };
        while owner.snapshots.pump(outbox, &mut all, 100) {}
        let version = TableVersion { term: 1, generation: self.generation };
        while let Some((_, ship)) = owner.desk.outbox.poll_ship(backup.id) {
            let Ship::Segment(segment) = ship else { continue };
            let mut batch = Vec::new();
            segment.write_for(backup.id, &mut batch);
            for update in updates(&batch) {
                let update = update.expect("a sound update");
                match backup.desk.store.apply(owner.id, version, &update) {
                    Ok(()) => {}
                    // It has something else, and is told all of it.
                    Err(refused) if refused.consequence() == Consequence::Unsync => {
                        owner.desk.outbox.unsynced(backup.id, update.unit)
                    }
                    Err(refused) => panic!("{update:?}: {refused}"),
                }
            }
            while let Some((_, unit, session)) = backup.desk.store.next_change() {
                backup.gateway.handle_backup(&mut backup.desk, unit, session);
            }
        }
    }

    /// Hosts inside send so many packets, and the peer opens what comes of it by now.
    fn inside_sends(&mut self, marks: std::ops::Range<u32>) {
        for mark in marks {
            self.owner().send(&packet(INSIDE, BRANCH, mark, 100, 0)).expect("taken");
        }
        self.peer_opens();
    }

    fn peer_opens(&mut self) {
        let frames: Vec<_> = self.members.iter_mut().flat_map(|it| it.desk.to_peer.drain(..)).collect();
        frames.iter().for_each(|frame| self.peer.open(frame));
    }

    /// The peer sends so many packets; those that came out by now are answered, by their marks.
    fn peer_sends(&mut self, marks: std::ops::Range<u32>) {
        for mark in marks {
            let frame = self.peer.seal(&packet(BRANCH, INSIDE, mark, 100, 0));
            let _ = self.owner().hear(&frame);
        }
    }

    /// What hosts inside got, by the marks.
    fn delivered(&mut self) -> Vec<u32> {
        let packets = self.members.iter_mut().flat_map(|it| it.desk.to_host.drain(..));
        packets.map(|packet| mark(&packet)).collect()
    }
}

/// The other end, which sends in order and remembers all that it has seen.
struct Peer {
    spi: u32,
    encap: Encap,
    decap: Decap,
    sealer: Box<dyn Session>,
    opener: Box<dyn Session>,
    /// Whether nobody but one owner sends.
    in_order: bool,
    sent: u64,
    seen: HashSet<u64>,
    highest: u64,
    ivs: HashSet<[u8; 8]>,
    got: Vec<u32>,
}

impl Peer {
    fn new(spec: &TunnelSpec) -> Self {
        let Outer { source, destination, udp, .. } = spec.outer;
        let udp = udp.map(|Ports { source, destination }| Ports { source: destination, destination: source });
        let mode = match spec.mode {
            SaMode::Tunnel => Mode::Tunnel(Outer { source: destination, destination: source, udp, ..spec.outer }),
            SaMode::Transport => Mode::Transport { udp },
        };
        let transform = spec.protection.transform();
        let session = |half: &Half, direction| {
            BuiltIn.session(transform, &half.keys, spec.numbers, direction).expect("a session")
        };
        Self {
            spi: spec.outbound.spi,
            encap: Encap::new(spec.inbound.spi, mode, transform),
            decap: Decap::new(&mode, transform),
            sealer: session(&spec.inbound, Direction::Seal),
            opener: session(&spec.outbound, Direction::Open),
            in_order: true,
            sent: 0,
            seen: HashSet::new(),
            highest: 0,
            ivs: HashSet::new(),
            got: Vec::new(),
        }
    }

    fn seal(&mut self, inner: &[u8]) -> Vec<u8> {
        self.sent += 1;
        self.seal_as(inner, self.sent)
    }

    fn seal_as(&mut self, inner: &[u8], sequence: u64) -> Vec<u8> {
        let layout = self.encap.room(inner).expect("a packet");
        let mut buffer = [&vec![0; layout.before], inner, &vec![0; layout.after]].concat();
        let draws = Draws { sequence, nonce: sequence, name: Name::default() };
        let at = self.encap.build(&mut buffer, layout, draws).expect("a packet");
        let mut jobs = [Job::new(&mut buffer[at..], (sequence >> 32) as u32)];
        self.sealer.process(&mut jobs);
        assert!(jobs[0].done);
        self.encap.finish(&mut buffer);
        buffer
    }

    fn open(&mut self, frame: &[u8]) {
        let packet = self.opened(frame);
        assert_eq!(packet[8], if self.encap.is_tunnel() { 8 } else { 9 }, "a tunnel is a hop");
        self.got.push(mark(&packet));
    }

    /// What is inside.
    fn opened(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut frame = frame.to_vec();
        let at = locate(&frame).expect("ESP");
        let (spi, low) = esp::header(&frame[at..]).expect("a header");
        assert_eq!(spi, self.spi);
        // No test sends so much that the high half of a number would move.
        let sequence = u64::from(low);
        let iv = frame[at + 8..at + 16].try_into().expect("eight bytes");
        assert!(self.ivs.insert(iv), "an IV came twice");
        assert!(self.seen.insert(sequence), "number {sequence} came twice");
        assert!(!self.in_order || sequence > self.highest, "number {sequence} after {}", self.highest);
        self.highest = self.highest.max(sequence);
        let mut jobs = [Job::new(&mut frame[at..], 0)];
        self.opener.process(&mut jobs);
        assert!(jobs[0].done, "a wrong check value");
        let Ok(Found::Packet(place)) = self.decap.unwrap(&mut frame, at) else { panic!("no packet inside") };
        frame[place].to_vec()
    }
}
