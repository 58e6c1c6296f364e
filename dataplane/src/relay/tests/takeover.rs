//! Sessions that change hands: asleep, awake, as a backup has them.

use super::*;

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
    pub(super) fn take_over(&mut self) {
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

/// What the digest says of live sessions is what it says of the same sessions asleep, and of a backup's copy.
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
    assert_eq!(world.count("restored"), u64::from(SESSIONS));
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
