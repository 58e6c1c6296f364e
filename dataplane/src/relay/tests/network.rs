//! What the network does and says: ICMP errors, silence, addresses that cannot be.

use super::*;
use crate::app::Trouble;
use crate::tcp::Keepalive;
use crate::wire::bytes;

impl World {
    /// The network returns a packet of the relay's.
    fn return_to_sender(&mut self, packet: &Outgoing, bytes: &[u8], trouble: Trouble) -> bool {
        let mut about = Summary::of_addresses(packet.destination, packet.source, proto::TCP);
        (about.src_port, about.dst_port) = (bytes::u16_at(bytes, 2), bytes::u16_at(bytes, 0));
        let returned = Returned { about, trouble, quoted: &bytes[..8] };
        self.relay.handle_returned(&mut self.worker, Self::unit(), &returned)
    }

    /// The client's bytes as the relay sends them on, before they arrive.
    fn on_the_way(&mut self, data: &[u8]) -> Vec<(Outgoing, Vec<u8>)> {
        self.client().say(data);
        let (now_ns, flow) = (self.worker.now_ns, *self.client().endpoint.flow());
        for segment in self.client().speak(now_ns) {
            self.give(flow.local_ip, flow.remote_ip, &segment);
        }
        let (out, acks): (Vec<_>, Vec<_>) =
            self.worker.sent.drain(..).partition(|(packet, _)| packet.source.to_string() == INSIDE);
        self.worker.sent = acks.into();
        out
    }
}

fn open() -> World {
    let mut world = World::new(spec(), 10);
    world.connect();
    world.run();
    assert_eq!(world.client().endpoint.state(), State::Established);
    world
}

#[test]
fn a_router_that_takes_less_gets_less() {
    let mut world = open();
    let data = pattern(5000, 1);
    let sent = world.on_the_way(&data);
    let (packet, first) = sent.iter().find(|(_, bytes)| bytes.len() > 900).expect("a large segment");
    assert!(world.return_to_sender(packet, first, Trouble::TooBig { mtu: 900 }));
    assert!(world.worker.sent.iter().all(|(_, bytes)| bytes.len() <= 900 - 20));
    assert_eq!(world.count("segments_shortened"), 1);
    // Once more about what was too big, as routers do: nothing changes.
    assert!(world.return_to_sender(packet, first, Trouble::TooBig { mtu: 900 }));
    assert_eq!(world.count("segments_shortened"), 1);
    world.pass(1000);
    assert!(world.servers[0].got == data);
}

#[test]
fn errors_that_prove_nothing_are_refused() {
    let mut world = open();
    let sent = world.on_the_way(&pattern(3000, 1));
    let (packet, bytes) = &sent[0];
    for trouble in [Trouble::TooBig { mtu: 576 }, Trouble::Refused, Trouble::Passing] {
        let mut guessed = bytes.clone();
        guessed[5] ^= 0x40;
        assert!(world.return_to_sender(packet, &guessed, trouble));
        let mut nobodys = bytes.clone();
        nobodys[3] ^= 1;
        assert!(!world.return_to_sender(packet, &nobodys, trouble), "no connection of ours");
    }
    assert_eq!(
        (world.count("errors_refused"), world.count("segments_shortened"), world.count("unreachable")),
        (3, 0, 0)
    );
}

#[test]
fn soft_errors_are_counted_and_end_nothing() {
    let mut world = open();
    let data = pattern(3000, 1);
    let sent = world.on_the_way(&data);
    let (packet, bytes) = &sent[0];
    assert!(world.return_to_sender(packet, bytes, Trouble::Passing));
    // An open connection has proved that its peer takes it.
    assert!(world.return_to_sender(packet, bytes, Trouble::Refused));
    assert_eq!(world.count("unreachable"), 2);
    world.pass(1000);
    assert!(world.servers[0].got == data && world.client().endpoint.state() == State::Established);
}

#[test]
fn a_back_end_whose_host_refuses_is_passed_over_at_once() {
    let mut world = World::new(spec(), 10);
    world.up = [false, true];
    let mut port = 40_000;
    while world.lost.is_empty() {
        world.connect_from(port);
        world.run();
        port += 1;
    }
    let (packet, syn) = world.lost.remove(0);
    world.servers.clear();
    assert!(world.return_to_sender(&packet, &syn, Trouble::Refused));
    world.run();
    assert_eq!((world.servers.len(), world.count("connect_failed")), (1, 1));
    assert_eq!(world.servers[0].endpoint.state(), State::Established, "and no time has passed");
}

#[test]
fn a_client_whose_host_refuses_is_forgotten() {
    let mut world = World::new(spec(), 10);
    world.connect();
    let (now_ns, flow) = (world.worker.now_ns, *world.client().endpoint.flow());
    let syn = world.client().speak(now_ns).remove(0);
    world.give(flow.local_ip, flow.remote_ip, &syn);
    let (packet, answer) = world.worker.sent.pop_front().expect("an answer");
    assert!(world.return_to_sender(&packet, &answer, Trouble::Refused));
    assert_eq!((world.relay.table.len(), world.relay.half_open, world.worker.sent.len()), (0, 0, 0));
}

#[test]
fn a_client_that_vanishes_is_found_out_if_that_is_wanted() {
    let keepalive = Keepalive { idle_ns: 100 * MS, interval_ns: 50 * MS, probes_max: 2 };
    let mut world = World::new(RelaySpec { keepalive: Some(keepalive), idle_ns: 1000 * MS, ..spec() }, 10);
    world.connect();
    world.run();
    // One that is there answers; that is no use of the connection.
    world.pass(900);
    assert_eq!((world.count("timed_out"), world.relay.table.len()), (0, 1));
    world.client().say(b"x");
    world.pass(900);
    assert_eq!((world.count("idle_closed"), world.relay.table.len()), (0, 1));
    world.client().say(b"y");
    world.run();
    world.client = None;
    world.pass(150);
    assert_eq!(world.relay.table.len(), 1);
    world.pass(150);
    assert_eq!((world.count("timed_out"), world.count("idle_closed"), world.relay.table.len()), (1, 0, 0));
    assert!(world.servers[0].is_reset());
}

#[test]
fn must_41_42_and_45_listeners_and_connections_do_not_mix() {
    let other = RelaySpec { listen: "198.51.100.2:8080".parse().expect("an address"), ..spec() };
    let mut world = World::with(vec![spec(), other], 10);
    let at = |ip: &str, local_port| Flow {
        local_ip: ip.parse().expect("an address"),
        local_port,
        remote_ip: "192.0.2.7".parse().expect("an address"),
        remote_port: 5,
    };
    for (ip, port, relay) in [
        ("198.51.100.1", 8080, Some(0)),
        ("198.51.100.2", 8080, Some(1)),
        ("198.51.100.3", 8080, None),
        ("198.51.100.1", 81, None),
    ] {
        assert_eq!(world.relay.relay_at(&at(ip, port)), relay, "{ip}:{port}");
    }
    world.connect_from(40_000);
    world.run();
    let first = world.client.take();
    world.connect_from(40_001);
    world.run();
    world.client().say(b"second");
    world.run();
    world.client = first;
    world.client().say(b"first");
    world.run();
    let got: Vec<&[u8]> = world.servers.iter().map(|server| server.got.as_slice()).collect();
    assert_eq!(got, [&b"first"[..], b"second"]);
    let sources: Vec<IpAddr> = world.servers.iter().map(|server| server.endpoint.flow().remote_ip).collect();
    assert_eq!(sources, [INSIDE.parse::<IpAddr>().expect("an address"); 2]);
}

#[test]
fn must_67_the_segment_size_is_the_links() {
    for (listen, client, size) in [(HERE, "192.0.2.7", 1460), ("[2001:db8::1]:8080", "2001:db8::7", 1440)] {
        let listen: SocketAddr = listen.parse().expect("an address");
        let mut world = World::new(RelaySpec { listen, ..spec() }, 10);
        let flow = Flow {
            local_ip: client.parse().expect("an address"),
            local_port: 40_000,
            remote_ip: listen.ip(),
            remote_port: listen.port(),
        };
        let mut peer = Peer::new(Endpoint::connect(&Config::default(), flow, crate::tcp::Seq(9), world.worker.now_ns));
        let syn = peer.speak(world.worker.now_ns).remove(0);
        world.give(flow.local_ip, flow.remote_ip, &syn);
        let (packet, answer) = world.worker.sent.pop_front().expect("an answer");
        let answer = Segment::parse(&answer, packet.source, packet.destination).expect("a segment");
        assert_eq!(answer.options.mss, Some(size));
    }
}

#[test]
fn must_63_nobody_is_no_client() {
    let mut world = World::new(RelaySpec { listen: "[2001:db8::1]:8080".parse().expect("an address"), ..spec() }, 10);
    let mut summary = Summary::of_addresses(
        "::".parse().expect("an address"),
        "2001:db8::1".parse().expect("an address"),
        proto::TCP,
    );
    (summary.src_port, summary.dst_port) = (9, 8080);
    let refused = world.relay.handle_packet(&mut world.worker, World::unit(), &summary, &[0; 20]);
    assert_eq!(refused, Err(DropReason::BadSource));
}
