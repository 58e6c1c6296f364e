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
mod takeover;
mod world;

use world::*;

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
