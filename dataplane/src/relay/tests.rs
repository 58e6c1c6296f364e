//! The relay between a client and a server, both of them endpoints of the same TCP on a wire without delay.

use super::*;
use crate::app::Outgoing;
use crate::filter::steered::PORTS_PER_UNIT;
use crate::replica::{DigestKey, Outbox, OutboxLimits, Store, StoreLimits};
use crate::tcp::{Config, Endpoint, State, Stream};
use crate::unit::UNITS;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

mod network;

const HERE: &str = "198.51.100.1:8080";
const INSIDE: &str = "10.10.0.1";
const SERVERS: [&str; 2] = ["10.10.0.10:80", "10.10.0.11:80"];
const MS: u64 = 1_000_000;

/// What a worker is to an app, with a wire of two queues.
struct Worker {
    now_ns: u64,
    owned: UnitSet,
    outbox: Outbox,
    store: Store,
    sent: VecDeque<(Outgoing, Vec<u8>)>,
}

impl Outlet for Worker {
    fn now_ns(&self) -> u64 {
        self.now_ns
    }
    fn owns(&self, unit: Unit) -> bool {
        self.owned.contains(unit)
    }
    fn source_towards(&self, _: IpAddr) -> Option<IpAddr> {
        INSIDE.parse().ok()
    }
    fn mtu_towards(&self, _: IpAddr) -> Option<u16> {
        Some(1500)
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
        let mut room = vec![0; 2000];
        let len = write(&mut room);
        room.truncate(len);
        if len > 0 {
            self.sent.push_back((packet, room));
        }
        len > 0
    }
}

/// A host's end of one connection.
struct Peer {
    endpoint: Endpoint,
    rx: Stream,
    tx: Stream,
    pool: ChunkPool,
    got: Vec<u8>,
    outcomes: Vec<crate::tcp::Outcome>,
}

impl Peer {
    fn new(mut endpoint: Endpoint) -> Self {
        endpoint.confirm(endpoint.initial_version());
        let stream = || Stream::new(0, 64 << 10);
        Self { endpoint, rx: stream(), tx: stream(), pool: ChunkPool::new(256), got: Vec::new(), outcomes: Vec::new() }
    }

    fn say(&mut self, bytes: &[u8]) -> usize {
        let taken = self.tx.append(&mut self.pool, bytes);
        self.tx.commit_to(self.tx.commit_target());
        taken
    }

    fn end(&mut self) {
        self.tx.finish();
        self.tx.commit_to(self.tx.commit_target());
    }

    fn hear(&mut self, now_ns: u64, segment: &Segment<'_>) {
        let outcome = self.endpoint.handle_segment(now_ns, segment, &mut self.rx, &mut self.tx, &mut self.pool);
        self.outcomes.push(outcome);
        self.endpoint.confirm(self.endpoint.initial_version());
        self.rx.commit_to(self.rx.commit_target());
        let at = self.got.len();
        self.got.resize(self.rx.end() as usize, 0);
        self.rx.copy_to(&self.pool, at as u64, &mut self.got[at..]);
        self.rx.trim_to(&mut self.pool, self.rx.end());
    }

    fn speak(&mut self, now_ns: u64) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        let mut room = vec![0; 2000];
        while let Some(len) = self.endpoint.poll_transmit(now_ns, &self.rx, &self.tx, &self.pool, &mut room) {
            said.push(room[..len].to_vec());
        }
        said
    }

    fn is_over(&self) -> bool {
        self.endpoint.is_done() || self.endpoint.state() == State::TimeWait
    }

    fn is_reset(&self) -> bool {
        self.outcomes.iter().any(|outcome| outcome.reset())
    }
}

struct World {
    relay: Relay,
    worker: Worker,
    client: Option<Peer>,
    servers: Vec<Peer>,
    /// Which servers answer.
    up: [bool; 2],
    /// What the relay sent to those that do not.
    lost: Vec<(Outgoing, Vec<u8>)>,
    counters: RelayStats,
}

fn spec() -> RelaySpec {
    RelaySpec {
        name: "web".into(),
        listen: HERE.parse().expect("an address"),
        backends: SERVERS.map(|s| s.parse().expect("an address")).to_vec(),
        connections_max: 100,
        buffer_bytes: 16 << 10,
        idle_ns: 10_000 * MS,
        connect_ns: 500 * MS,
        keepalive: None,
        health: None,
        proxy_protocol: false,
    }
}

impl World {
    fn new(spec: RelaySpec, half_open_max: usize) -> Self {
        Self::with(vec![spec], half_open_max)
    }

    fn with(relays: Vec<RelaySpec>, half_open_max: usize) -> Self {
        let counters = RelayStats::new(relays.len());
        let config = RelayConfig { relays, chunks: 64, half_open_max, key: [3; 16], replica_key: [7; 16], seed: 5 };
        let worker = Worker {
            now_ns: 1_000 * MS,
            owned: Unit::all().collect(),
            outbox: Outbox::new(OutboxLimits::default()),
            store: Store::new(DigestKey::new([7; 16]), StoreLimits::default()),
            sent: VecDeque::new(),
        };
        let relay = Relay::new(config, counters.clone());
        Self { relay, worker, client: None, servers: Vec::new(), up: [true; 2], lost: Vec::new(), counters }
    }

    fn unit() -> Unit {
        Unit::new(77).expect("a unit")
    }

    fn connect(&mut self) {
        self.connect_from(40_000);
    }

    fn connect_from(&mut self, port: u16) {
        let here: SocketAddr = HERE.parse().expect("an address");
        let flow = Flow {
            local_ip: "192.0.2.7".parse().expect("an address"),
            local_port: port,
            remote_ip: here.ip(),
            remote_port: here.port(),
        };
        let now_ns = self.worker.now_ns;
        let isn = IsnSource::new([9; 16]).isn(&flow, now_ns);
        self.client = Some(Peer::new(Endpoint::connect(&Config::default(), flow, isn, now_ns)));
    }

    fn give(&mut self, from: IpAddr, to: IpAddr, bytes: &[u8]) {
        let mut summary = Summary::of_addresses(from, to, proto::TCP);
        summary.src_port = u16::from_be_bytes([bytes[0], bytes[1]]);
        summary.dst_port = u16::from_be_bytes([bytes[2], bytes[3]]);
        assert!(self.relay.claims(&summary));
        if summary.dst_port >= OPENED_PORTS_MIN {
            assert_eq!(summary.dst_port % UNITS as u16, Self::unit().number(), "answers come to the session's unit");
        }
        self.relay.handle_packet(&mut self.worker, Self::unit(), &summary, bytes).expect("taken");
    }

    /// Lets everyone speak until nobody has anything to say.
    fn run(&mut self) {
        loop {
            let mut quiet = true;
            let now_ns = self.worker.now_ns;
            let mut said = Vec::new();
            for peer in self.client.iter_mut().chain(&mut self.servers) {
                let flow = *peer.endpoint.flow();
                said.extend(peer.speak(now_ns).into_iter().map(|bytes| (flow, bytes)));
            }
            for (flow, bytes) in said {
                quiet = false;
                self.give(flow.local_ip, flow.remote_ip, &bytes);
            }
            while let Some((packet, bytes)) = self.worker.sent.pop_front() {
                quiet = false;
                self.deliver(packet, &bytes);
            }
            if quiet {
                return;
            }
        }
    }

    fn deliver(&mut self, packet: Outgoing, bytes: &[u8]) {
        let now_ns = self.worker.now_ns;
        let segment = Segment::parse(bytes, packet.source, packet.destination).expect("a sound segment");
        let to = SocketAddr::new(packet.destination, segment.destination_port);
        let Some(at) = SERVERS.iter().position(|s| *s == to.to_string()) else {
            // Without a client it is lost.
            return self.client.iter_mut().for_each(|client| client.hear(now_ns, &segment));
        };
        if !self.up[at] {
            return self.lost.push((packet, bytes.to_vec()));
        }
        let flow = Flow {
            local_ip: packet.destination,
            local_port: segment.destination_port,
            remote_ip: packet.source,
            remote_port: segment.source_port,
        };
        match self.servers.iter_mut().find(|server| *server.endpoint.flow() == flow) {
            Some(server) => server.hear(now_ns, &segment),
            None if segment.syn() => {
                let config = Config::default();
                let endpoint = Endpoint::listen_accept(&config, &segment, flow, crate::tcp::Seq(77), now_ns);
                self.servers.push(Peer::new(endpoint));
            }
            None => panic!("a segment for nobody: {segment:?}"),
        }
    }

    /// Lets time pass, in steps.
    fn pass(&mut self, ms: u64) {
        let until = self.worker.now_ns + ms * MS;
        while self.worker.now_ns < until {
            self.worker.now_ns += MS;
            let now_ns = self.worker.now_ns;
            for peer in self.client.iter_mut().chain(&mut self.servers) {
                if peer.endpoint.poll_timeout().is_some_and(|(at_ns, _)| at_ns <= now_ns) {
                    peer.endpoint.handle_timeout(now_ns);
                }
            }
            while self.relay.poll_timeout().is_some_and(|at_ns| at_ns <= now_ns) {
                self.relay.handle_timeout(&mut self.worker);
            }
            self.run();
        }
    }

    fn client(&mut self) -> &mut Peer {
        self.client.as_mut().expect("a client")
    }

    fn count(&self, name: &str) -> u64 {
        self.counters.of(0).iter().find(|(known, ..)| *known == name).expect("a counter").2
    }
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed) ^ (at >> 8) as u8).collect()
}

#[test]
fn bytes_pass_both_ways_and_each_end_closes_in_its_time() {
    let mut world = World::new(spec(), 10);
    world.connect();
    world.run();
    assert_eq!(world.servers.len(), 1);
    assert_eq!(world.client().endpoint.state(), State::Established);
    let (request, answer) = (pattern(100_000, 1), pattern(300_000, 2));
    let (mut asked, mut told) = (0, 0);
    for _ in 0..2000 {
        asked += world.client().say(&request[asked..]);
        told += world.servers[0].say(&answer[told..]);
        world.pass(1);
    }
    assert_eq!((asked, told), (request.len(), answer.len()));
    assert!(world.servers[0].got == request && world.client().got == answer);
    // The client has asked all it will; the server still answers.
    world.client().end();
    world.pass(100);
    assert_eq!(world.servers[0].endpoint.state(), State::CloseWait);
    world.servers[0].say(b"more");
    world.pass(100);
    assert!(world.client().got.ends_with(b"more"));
    world.servers[0].end();
    world.pass(100);
    assert_eq!(world.client().endpoint.state(), State::TimeWait);
    world.pass(40_000);
    assert_eq!((world.relay.table.len(), world.relay.half_open), (0, 0));
    assert_eq!(world.relay.pool.free_chunks(), world.relay.pool.capacity());
    assert_eq!((world.count("open"), world.count("accepted"), world.count("closed")), (0, 1, 1));
    assert_eq!((world.count("bytes_up"), world.count("bytes_down")), (100_000, 300_004));
}

#[test]
fn a_client_may_use_its_port_again_at_once() {
    let mut world = World::new(spec(), 10);
    for round in 0..3 {
        world.connect();
        world.run();
        assert_eq!(world.client().endpoint.state(), State::Established, "round {round}");
        // The server ends first: the relay waits in TIME-WAIT towards the client.
        let server = world.servers.last_mut().expect("a server");
        server.end();
        world.pass(10);
        world.client().end();
        world.pass(10);
        assert_eq!(world.relay.table.len(), 1);
        world.pass(1);
    }
}

/// What a server sends again late is answered, but not at the price of a new connection; nor does TIME-WAIT count as one.
#[test]
fn time_wait_towards_a_back_end_gives_way_to_a_new_connection() {
    let mut world = World::new(RelaySpec { connections_max: 2, ..spec() }, 10);
    for port in 0..100 {
        world.connect_from(41_000 + port);
        world.run();
        assert_eq!(world.client().endpoint.state(), State::Established, "connection {port}");
        world.client().end();
        world.pass(2);
        world.servers.last_mut().expect("a server").end();
        world.pass(2);
        world.servers.retain(|server| !server.is_over());
    }
    assert_eq!(world.relay.table.len(), 2 * usize::from(PORTS_PER_UNIT), "two back ends");
    assert_eq!((world.count("resets_sent"), world.count("refused_limit")), (0, 0));
    world.pass(31_000);
    assert_eq!(world.relay.table.len(), 0);
}

/// A unit has 32 ports for each back end, and a client's TIME-WAIT lasts half a minute: a port is not kept for as long.
#[test]
fn a_connection_in_time_wait_keeps_no_port_towards_its_back_end() {
    let mut world = World::new(RelaySpec { connections_max: 1000, ..spec() }, 10);
    for port in 0..200 {
        world.connect_from(41_000 + port);
        world.run();
        assert_eq!(world.client().endpoint.state(), State::Established, "connection {port}");
        world.servers.last_mut().expect("a server").end();
        world.pass(2);
        world.client().end();
        world.pass(2);
        world.servers.retain(|server| !server.is_over());
    }
    assert_eq!((world.relay.table.len(), world.servers.len()), (200, 0));
    assert_eq!(world.count("resets_sent"), 0);
    // Nor after a takeover.
    world.take_over();
    world.pass(1);
    assert_eq!(world.relay.table.len(), 200);
    world.connect_from(42_000);
    world.run();
    assert_eq!(world.client().endpoint.state(), State::Established);
}

#[test]
fn a_slow_reader_holds_the_writer_up_within_bounds() {
    let mut world = World::new(spec(), 10);
    world.connect();
    world.run();
    // The server does not read: its window closes.
    let data = pattern(1_000_000, 3);
    let mut sent = 0;
    world.servers[0].rx = Stream::new(0, 8 << 10);
    for _ in 0..200 {
        sent += world.client().say(&data[sent..]);
        world.pass(1);
    }
    let chunks = world.relay.pool.capacity() - world.relay.pool.free_chunks();
    assert!(chunks <= 2 * (16 << 10) / crate::tcp::CHUNK_LEN + 2, "{chunks} chunks are in use");
}

#[test]
fn a_back_end_that_is_down_is_passed_over() {
    let mut world = World::new(spec(), 10);
    world.up = [false, true];
    for port in 0..4 {
        world.connect_from(41_000 + port);
        world.run();
        world.pass(1200);
        assert_eq!(world.client().endpoint.state(), State::Established);
        assert_eq!(world.servers.len(), usize::from(port) + 1);
    }
    // The first client finds out; the others are not sent there while it rests.
    assert!(world.count("connect_failed") <= 3, "{}", world.count("connect_failed"));
    assert!(world.servers.iter().all(|server| server.endpoint.flow().local_ip.to_string() == "10.10.0.11"));
}

#[test]
fn without_any_back_end_the_client_is_told() {
    let mut world = World::new(spec(), 10);
    world.up = [false; 2];
    world.connect();
    world.run();
    world.pass(3_000);
    assert!(world.client().is_reset());
    assert_eq!((world.count("refused_no_backend"), world.relay.table.len()), (1, 0));
}

#[test]
fn a_back_end_that_fails_its_checks_gets_no_connections_until_it_passes_them() {
    let health = Health { interval_ns: 100 * MS, timeout_ns: 50 * MS, fall: 2, rise: 2 };
    let mut world = World::new(RelaySpec { health: Some(health), ..spec() }, 10);
    world.worker.owned = std::iter::once(World::unit()).collect();
    world.pass(300);
    assert_eq!((world.count("checks_failed"), world.relay.table.len()), (0, 0));
    world.servers.clear();
    world.up = [true, false];
    world.pass(400);
    assert_eq!(world.count("back_end_down"), 1);
    world.servers.clear();
    for port in 0..6 {
        world.connect_from(41_000 + port);
        world.run();
        assert_eq!(world.client().endpoint.state(), State::Established, "at once, without trying the other");
    }
    assert_eq!(world.count("connect_failed"), 0);
    world.up = [true, true];
    world.pass(400);
    assert_eq!(world.count("back_end_up"), 1);
    // Checks leave nothing behind.
    assert!(world.relay.pool.capacity() - world.relay.pool.free_chunks() == 0);
}

#[test]
fn a_reset_passes_through() {
    for by_client in [true, false] {
        let mut world = World::new(spec(), 10);
        world.connect();
        world.run();
        let peer = if by_client { world.client.as_mut().expect("a client") } else { &mut world.servers[0] };
        peer.endpoint.abort();
        world.pass(10);
        let other = if by_client { &world.servers[0] } else { world.client.as_ref().expect("a client") };
        assert!(other.is_reset());
        assert_eq!(world.relay.table.len(), 0);
    }
}

#[test]
fn under_a_flood_cookies_stand_for_connections() {
    let mut world = World::new(spec(), 3);
    // SYNs whose senders never answer.
    for port in 0..50 {
        world.connect_from(42_000 + port);
        let now_ns = world.worker.now_ns;
        let syn = world.client().speak(now_ns).remove(0);
        let flow = *world.client().endpoint.flow();
        world.give(flow.local_ip, flow.remote_ip, &syn);
        world.worker.sent.clear();
    }
    assert_eq!((world.relay.half_open, world.relay.table.len()), (3, 3));
    assert_eq!(world.count("cookies_sent"), 47);
    // One that does answer is served all the same.
    world.connect();
    world.run();
    assert_eq!(world.client().endpoint.state(), State::Established);
    let data = pattern(5_000, 4);
    world.client().say(&data);
    world.pass(50);
    assert_eq!(world.servers[0].got, data);
    assert_eq!(world.count("cookies_accepted"), 1);
}

#[test]
fn strangers_and_limits() {
    let mut world = World::new(RelaySpec { connections_max: 1, ..spec() }, 10);
    world.connect();
    world.run();
    let first = world.client.take();
    world.connect_from(43_000);
    world.run();
    assert!(world.client().is_reset(), "one connection is all that this relay may have");
    assert_eq!(world.count("refused_limit"), 1);
    world.client = first;
    assert_eq!(world.client().endpoint.state(), State::Established);
    // A segment to a port of ours that no connection has.
    let port = crate::filter::steered::port_of(World::unit(), 31);
    let flow = Flow {
        local_ip: "10.10.0.99".parse().expect("an address"),
        local_port: 80,
        remote_ip: INSIDE.parse().expect("an address"),
        remote_port: port,
    };
    let mut stray = Peer::new(Endpoint::connect(&Config::default(), flow, crate::tcp::Seq(5), 0));
    let syn = stray.speak(0).remove(0);
    world.give(flow.local_ip, flow.remote_ip, &syn);
    let (packet, bytes) = world.worker.sent.pop_back().expect("an answer");
    let answer = Segment::parse(&bytes, packet.source, packet.destination).expect("a segment");
    assert!(answer.rst());
}

#[test]
fn an_idle_connection_ends() {
    let mut world = World::new(RelaySpec { idle_ns: 200 * MS, ..spec() }, 10);
    world.connect();
    world.run();
    world.pass(150);
    world.client().say(b"still here");
    world.pass(150);
    assert_eq!(world.relay.table.len(), 1);
    world.pass(300);
    assert!(world.client().is_reset() && world.servers[0].is_reset());
    assert_eq!((world.count("idle_closed"), world.relay.table.len()), (1, 0));
}

#[test]
fn the_back_end_is_told_who_the_client_is() {
    let mut world = World::new(RelaySpec { proxy_protocol: true, ..spec() }, 10);
    world.connect();
    world.run();
    world.client().say(b"GET /");
    world.pass(50);
    assert_eq!(world.servers[0].got.len(), 28 + 5);
    assert!(world.servers[0].got.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07"));
    assert!(world.servers[0].got.ends_with(b"GET /"));
    world.servers[0].say(b"200");
    world.pass(50);
    assert_eq!(world.client().got, b"200");
}

#[test]
fn units_that_leave_take_their_sessions_along_in_silence() {
    let mut world = World::new(spec(), 10);
    world.connect();
    world.run();
    let all: UnitSet = Unit::all().collect();
    world.worker.owned = UnitSet::EMPTY;
    world.relay.handle_units(&mut world.worker, &UnitSet::EMPTY, &all);
    assert_eq!(world.relay.table.len(), 0);
    assert!(world.worker.sent.is_empty(), "no RST: somebody else goes on with it");
}

impl World {
    /// Another member takes over, with what a backup has.
    fn take_over(&mut self) {
        let all: UnitSet = Unit::all().collect();
        self.worker.owned = UnitSet::EMPTY;
        self.relay.handle_units(&mut self.worker, &UnitSet::EMPTY, &all);
        let (specs, counters) = (self.relay.specs.clone(), self.counters.clone());
        let config =
            RelayConfig { relays: specs, chunks: 64, half_open_max: 10, key: [3; 16], replica_key: [7; 16], seed: 6 };
        self.relay = Relay::new(config, counters);
        // Its clock is another.
        self.worker.owned = all;
        self.relay.handle_units(&mut self.worker, &all, &UnitSet::EMPTY);
    }

    /// Whether the connection of a peer's is awake.
    fn knows(&self, peer: &Flow) -> bool {
        let ours = Flow {
            local_ip: peer.remote_ip,
            local_port: peer.remote_port,
            remote_ip: peer.local_ip,
            remote_port: peer.local_port,
        };
        self.relay.table.find(&ours).is_some()
    }
}

#[test]
fn a_successor_carries_on_where_its_predecessor_stopped() {
    let mut world = World::new(spec(), 10);
    world.connect();
    world.run();
    let (request, answer) = (pattern(200_000, 1), pattern(200_000, 2));
    let (mut asked, mut told) = (0, 0);
    for round in 0..4000 {
        asked += world.client().say(&request[asked..]);
        told += world.servers[0].say(&answer[told..]);
        world.pass(1);
        if round % 20 == 7 && round < 400 {
            world.take_over();
        }
    }
    assert!(world.servers[0].got == request, "{} of {} bytes", world.servers[0].got.len(), request.len());
    assert!(world.client().got == answer, "{} of {} bytes", world.client().got.len(), answer.len());
    assert!(world.count("restored") >= 20 && world.count("not_restored") == 0);
    world.client().end();
    world.take_over();
    world.pass(500);
    world.servers[0].end();
    world.take_over();
    world.pass(500);
    assert_eq!(world.client().endpoint.state(), State::TimeWait);
    world.take_over();
    world.pass(40_000);
    assert_eq!((world.relay.table.len(), world.relay.half_open), (0, 0));
    assert_eq!(world.relay.pool.free_chunks(), world.relay.pool.capacity());
}

/// Whoever ends first, and whenever somebody else takes over: in the end nothing is left.
#[test]
fn a_successor_finishes_what_was_being_closed() {
    for (client_first, steps) in
        [(false, 0), (false, 1), (false, 2), (false, 3), (true, 0), (true, 1), (true, 2), (true, 3)]
    {
        let mut world = World::new(spec(), 10);
        world.connect();
        world.run();
        world.client().say(b"question");
        world.pass(5);
        for step in 0..4 {
            let by_client = (step == 0) == client_first;
            match (step, by_client) {
                (0 | 1, true) => world.client().end(),
                (0 | 1, false) => world.servers[0].end(),
                _ => {}
            }
            world.pass(5);
            if step == steps {
                world.take_over();
                world.pass(3);
                world.take_over();
            }
            world.pass(3);
            if step == 3 && !client_first {
                // What was over before stays so: there is nobody any more who would answer.
                let session = (0..4)
                    .find_map(|slot| world.relay.table.get(slot))
                    .unwrap_or_else(|| panic!("nothing is in TIME-WAIT; taken over after {steps} steps"));
                assert!(session.ends.iter().flatten().any(|end| end.state() == State::Closed), "{session:#?}");
            }
            world.pass(if step < 2 { 5 } else { 2_000 });
        }
        world.pass(60_000);
        let left: Vec<_> = (0..4).filter_map(|slot| world.relay.table.get(slot)).collect();
        assert!(left.is_empty(), "client first: {client_first}, taken over after {steps} steps: {left:#?}");
        assert_eq!(world.relay.pool.free_chunks(), world.relay.pool.capacity());
    }
}

#[test]
fn a_successor_finishes_what_was_being_opened() {
    for steps in 0..6 {
        let mut world = World::new(spec(), 10);
        world.connect();
        for step in 0..6 {
            if step == steps {
                world.take_over();
            }
            // One exchange of segments at a time.
            let now_ns = world.worker.now_ns;
            let mut said = Vec::new();
            for peer in world.client.iter_mut().chain(&mut world.servers) {
                let flow = *peer.endpoint.flow();
                said.extend(peer.speak(now_ns).into_iter().map(|bytes| (flow, bytes)));
            }
            for (flow, bytes) in said {
                world.give(flow.local_ip, flow.remote_ip, &bytes);
            }
            while let Some((packet, bytes)) = world.worker.sent.pop_front() {
                world.deliver(packet, &bytes);
            }
        }
        world.pass(3_000);
        assert_eq!(world.client().endpoint.state(), State::Established, "taken over after {steps} steps");
        world.client().say(b"hello");
        world.pass(1_000);
        assert_eq!(world.servers.last().expect("a server").got, b"hello", "taken over after {steps} steps");
    }
}

/// What the digest says of live sessions is what it says of the same sessions asleep, and of a backup's copy.
#[test]
fn sessions_of_other_apps_stay_where_they_are() {
    use crate::replica::{Change, SessionKey, Update};
    let mut world = World::new(spec(), 10);
    let unit = World::unit();
    let other = Update::new(unit, SessionKey(5), 200, Change::Initial { version: 1, bytes: b"not a relay's" });
    world.worker.store.keep(&other).expect("room");
    let units: UnitSet = std::iter::once(unit).collect();
    world.relay.handle_units(&mut world.worker, &units, &UnitSet::EMPTY);
    world.connect();
    world.run();
    assert_eq!(world.client().endpoint.state(), State::Established);
    assert!(world.worker.store.get(unit, SessionKey(5)).is_some_and(|record| record.app == 200));
}

#[test]
fn live_and_sleeping_sessions_have_the_same_digest() {
    let mut world = World::new(spec(), 10);
    let unit = World::unit();
    world.connect();
    world.run();
    world.client().say(&pattern(3_000, 9));
    world.servers[0].say(&pattern(5_000, 8));
    world.pass(3);
    let live = world.relay.digest_of(unit);
    assert_ne!(live, 0);
    let mut copy = Store::new(DigestKey::new([7; 16]), StoreLimits::default());
    let mut cursor = Cursor::default();
    while let Step::Next(next) =
        world.relay.put_after(unit, cursor, &mut |update| copy.keep(update).expect("a sound update"))
    {
        cursor = next;
    }
    assert_eq!(copy.digest(unit), live);
    let all: UnitSet = Unit::all().collect();
    world.worker.owned = UnitSet::EMPTY;
    world.relay.handle_units(&mut world.worker, &UnitSet::EMPTY, &all);
    assert_eq!(world.worker.store.digest(unit), live);
    assert_eq!(world.relay.digest_of(unit), 0);
}

/// A takeover wakes nobody up; a packet does so for its own session, from either side, and the rest follows by itself.
#[test]
fn a_packet_wakes_its_own_session_and_the_rest_comes_a_few_at_a_time() {
    const SESSIONS: u16 = 40;
    let backend = |host: u8| SocketAddr::from(([10, 10, 0, host], 80));
    let mut world = World::new(RelaySpec { backends: vec![backend(10), backend(11)], ..spec() }, 100);
    let mut clients = Vec::new();
    for port in 0..SESSIONS {
        world.connect_from(40_000 + port);
        world.run();
        clients.extend(world.client.take());
    }
    world.take_over();
    assert_eq!((world.relay.table.len(), world.worker.store.session_count()), (0, SESSIONS.into()));
    // A client speaks, then a server whose client is another one.
    world.client = clients.pop();
    world.client().say(b"hello");
    let now_ns = world.worker.now_ns;
    let (said, flow) = (world.client().speak(now_ns), *world.client().endpoint.flow());
    world.give(flow.local_ip, flow.remote_ip, &said[0]);
    assert_eq!(world.relay.table.len(), 1);
    assert!(world.knows(&flow));
    world.servers[3].say(b"hello");
    let (said, flow) = (world.servers[3].speak(now_ns), *world.servers[3].endpoint.flow());
    world.give(flow.local_ip, flow.remote_ip, &said[0]);
    assert_eq!(world.relay.table.len(), 2);
    assert!(world.knows(&flow));
    world.worker.sent.clear();
    // A new connection's port to its back end is no sleeper's: each has 32 of the unit, 40 of all 64 are taken.
    for port in 0..20 {
        world.connect_from(42_000 + port);
        world.run();
        assert_eq!(world.client().endpoint.state(), State::Established);
    }
    assert_eq!(world.worker.store.session_count(), usize::from(SESSIONS) - 2, "nobody else has woken up");
    let mut rounds = 0;
    while world.worker.store.session_count() > 0 {
        let before = world.worker.store.session_count();
        world.relay.handle_timeout(&mut world.worker);
        assert!(before - world.worker.store.session_count() <= 16, "a round's packets wait for as long");
        rounds += 1;
    }
    assert_eq!((rounds, world.relay.table.len()), (3, usize::from(SESSIONS) + 20));
    assert_eq!(world.count("restored"), SESSIONS.into());
    assert_eq!(world.count("resets_sent"), 0);
}

/// What belongs to nobody wakes a unit up as a whole, once.
#[test]
fn a_stray_segment_is_refused_though_sessions_sleep() {
    let mut world = World::new(spec(), 10);
    for port in 0..5 {
        world.connect_from(40_000 + port);
        world.run();
    }
    let mut stray = *world.servers[0].endpoint.flow();
    world.take_over();
    stray.local_port = 81;
    let mut stranger = Peer::new(Endpoint::connect(&Config::default(), stray, crate::tcp::Seq(5), world.worker.now_ns));
    let said = stranger.speak(world.worker.now_ns);
    world.give(stray.local_ip, stray.remote_ip, &said[0]);
    assert_eq!((world.relay.table.len(), world.worker.store.session_count()), (5, 0));
    let (packet, bytes) = world.worker.sent.pop_back().expect("an answer");
    let answer = Segment::parse(&bytes, packet.source, packet.destination).expect("a sound segment");
    assert!(answer.rst() && answer.destination_port == stray.local_port);
}
