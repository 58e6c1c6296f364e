//! What one member does with what the hosts send.

use std::sync::atomic::Ordering::Relaxed;

use dpdk::Eal;
use phalanx_dataplane::drop_reason::DropReason;
use phalanx_dataplane::port::Delivery;
use phalanx_dataplane::steer::{MarkerPart, Mode, Notice, Order, ReleaseTo};
use phalanx_dataplane::unit::Unit;
use phalanx_dataplane::wire::{MacAddr, arp, icmpv6, ipv4, ipv6, ipv6_ext, proto};
use phalanx_dataplane::worker::{WorkerOrder, cluster};

use crate::frames::*;
use crate::stage::*;

type Scene = fn(&Eal);

pub(crate) const ALL: &[(&str, Scene)] = &[
    ("forwarding IPv4, with ARP", forwards_v4),
    ("forwarding IPv6, with ND", forwards_v6),
    ("errors of a router", reports_errors),
    ("too long for the next link", cuts_or_complains),
    ("echoes to our addresses", answers_echoes),
    ("fragments that never meet", loses_fragments),
    ("Figure 9 under forward", figure_9_forward),
    ("Figure 9 under unicast and multicast", figure_9_shared),
    ("a tunnel", crate::tunnel::scene),
    ("a tunnel whose packets are never cut", crate::tunnel::never_cut),
    ("a tunnel's packets in fragments", crate::pieces::scene),
    ("frames longer than the MTU", crate::pieces::longer_than_the_mtu),
    ("the cluster's own traffic in tunnels", crate::transport::scene),
    ("tunnels of IKE's", crate::ike::scene),
    ("frames of the members' own", cluster_frames),
    ("no lease, no word", lease),
    ("a port without a link", no_link),
    ("probation", probation),
    ("a thousand packets, no allocation", no_allocation),
    ("tagged ports", crate::ports::vlans),
    ("an MTU that the driver does not know", crate::ports::long_frames),
    ("three ports", crate::ports::three_ports),
    ("an app", crate::echo::scene),
    ("an owner that died", crate::recall::scene),
    ("an owner that died, and whose heir hands over", crate::recall::from_an_heir),
    ("an owner that died, and answers that count", crate::recall::not_asked_for),
    ("an order that comes after packets", order_after_packets),
    ("two workers, a queue each", crate::workers::two_workers),
    ("two workers, one queue", crate::workers::one_queue_for_two),
];

const UNICAST: [u8; 6] = [2, 0x50, 0x48, 0, 0, 1];
const MULTICAST: [u8; 6] = [3, 0x50, 0x48, 0, 0, 1];

/// A stage whose member owns everything and knows both hosts.
fn ready(eal: &Eal, delivery: Delivery, inside_mtu: u16) -> Stage {
    let mut stage = Stage::new(eal, delivery, inside_mtu);
    stage.set_all(Mode::Mine, true);
    introduce(&mut stage);
    stage
}

/// What was there when an order came is processed before it is obeyed, however much that is.
fn order_after_packets(eal: &Eal) {
    const COUNT: usize = 150;
    let mut stage = ready(eal, Delivery::Unicast(UNICAST), 1500);
    stage.set_all(Mode::Drop, false);
    let frame = udp(&stage, 30).frame("10.2.0.100", "10.3.0.100");
    stage.send_only(OUTSIDE, &vec![frame.clone(); COUNT]);
    stage.set_all(Mode::Hold, false);
    assert_eq!(stage.data.workers[0].held(), 0, "they were another's");
    assert_eq!(stage.data.shared.dropped(DropReason::NotOwner), COUNT as u64);
    stage.send_only(OUTSIDE, &[frame]);
    stage.work();
    assert_eq!(stage.data.workers[0].held(), 1);
    stage.set_all(Mode::Drop, false);
    stage.assert_balance();
}

/// Each host asks for the member's own address, which makes it known.
fn introduce(stage: &mut Stage) {
    for (port, mac, net) in [(OUTSIDE, CLIENT, 2), (INSIDE, SERVER, 3)] {
        let [own, other] = [format!("10.{net}.0.100"), format!("10.{net}.0.1")];
        let out = stage.exchange(port, &[arp_request(mac, &own, &other)]);
        let reply = read_arp(&out[port][0]).expect("an ARP reply");
        assert_eq!((reply.operation, reply.sender_mac), (arp::Operation::Reply, stage.mac(port)));
        assert_eq!(macs(&out[port][0]), (mac, stage.mac(port)));
        // Having been asked, the member would ask back before long; here it is told at once.
        let told = arp_reply(stage.mac(port), mac, &own, &other);
        assert_eq!(stage.exchange(port, &[told]), [const { Vec::<Vec<u8>>::new() }; 2]);
    }
}

pub(crate) fn udp(stage: &Stage, len: usize) -> Ip {
    Ip::udp(stage.mac(OUTSIDE), CLIENT, len)
}

fn forwards_v4(eal: &Eal) {
    let mut stage = Stage::new(eal, Delivery::Forward, 1500);
    stage.set_all(Mode::Mine, true);
    let frames: Vec<_> = (0..3).map(|_| udp(&stage, 30).frame("10.2.0.100", "10.3.0.100")).collect();
    let out = stage.exchange(OUTSIDE, &frames);
    // The server is not known yet: one question, from the member's own address.
    assert_eq!((out[OUTSIDE].len(), out[INSIDE].len()), (0, 1));
    let asked = read_arp(&out[INSIDE][0]).expect("an ARP request");
    assert_eq!((asked.sender_ip, asked.target_ip), (v4("10.3.0.1"), v4("10.3.0.100")));
    stage.assert_balance();
    let mac = stage.mac(INSIDE);
    let out = stage.exchange(INSIDE, &[arp_reply(mac, SERVER, "10.3.0.100", "10.3.0.1")]);
    assert_eq!(out[INSIDE].len(), 3);
    // And by the fast way.
    let again = stage.exchange(OUTSIDE, &frames);
    assert_eq!(again[INSIDE].len(), 3);
    for frame in out[INSIDE].iter().chain(&again[INSIDE]) {
        assert_eq!(macs(frame), (SERVER, mac));
        let summary = summary(frame);
        assert_eq!((summary.ttl, summary.dst_ip()), (63, v4("10.3.0.100").into()));
        assert_eq!(summary.l4(frame), &frames[0][34..]);
    }
    assert_eq!(stage.data.shared.workers[0].forwarded.get(), 6);
    let loads = &stage.data.shared.workers[0].loads;
    let busy: Vec<_> = Unit::all().filter(|unit| loads.of(*unit).packets.get() > 0).collect();
    let [unit] = busy[..] else { panic!("one pair of hosts, one unit: {busy:?}") };
    // By the careful way and by the fast one.
    assert_eq!((loads.of(unit).packets.get(), loads.of(unit).bytes.get()), (6, 6 * frames[0].len() as u64));
    assert!(loads.cycles(unit).get() > 0);
    stage.assert_balance();
}

fn forwards_v6(eal: &Eal) {
    let mut stage = Stage::new(eal, Delivery::Forward, 1500);
    stage.set_all(Mode::Mine, true);
    let frame = udp(&stage, 30).frame("fd00:2::100", "fd00:3::100");
    let out = stage.exchange(OUTSIDE, std::slice::from_ref(&frame));
    let asked = summary(&out[INSIDE][0]);
    assert_eq!((asked.proto, asked.src_ip()), (proto::ICMPV6, v6("fd00:3::1").into()));
    let mac = stage.mac(INSIDE);
    let out = stage.exchange(INSIDE, &[advertisement(mac, SERVER, "fd00:3::100", "fd00:3::1")]);
    let forwarded = summary(&out[INSIDE][0]);
    assert_eq!((forwarded.ttl, forwarded.dst_ip()), (63, v6("fd00:3::100").into()));
    assert_eq!(macs(&out[INSIDE][0]), (SERVER, mac));
    assert_eq!(forwarded.l4(&out[INSIDE][0]), &frame[54..]);
    stage.assert_balance();
}

fn reports_errors(eal: &Eal) {
    let mut stage = ready(eal, Delivery::Forward, 1500);
    let dying = Ip { ttl: 1, ..udp(&stage, 30) }.frame("10.2.0.100", "10.3.0.100");
    let out = stage.exchange(OUTSIDE, std::slice::from_ref(&dying));
    let error = summary(&out[OUTSIDE][0]);
    assert_eq!((error.proto, error.src_ip()), (proto::ICMP, v4("10.2.0.10").into()));
    assert_eq!(error.l4(&out[OUTSIDE][0])[0], 11, "time exceeded");
    assert_eq!(macs(&out[OUTSIDE][0]), (CLIENT, stage.mac(OUTSIDE)));
    let mut broken = dying;
    broken[20] ^= 1;
    let elsewhere = Ip { to: MacAddr([2, 9, 9, 9, 9, 9]), ..udp(&stage, 30) }.frame("10.2.0.100", "10.3.0.100");
    let nowhere = udp(&stage, 30).frame("fd00:2::100", "fd00:9::1");
    let group = udp(&stage, 30).frame("10.2.0.100", "239.1.1.1");
    let own = udp(&stage, 30).frame("10.2.0.10", "10.3.0.100");
    let out = stage.exchange(OUTSIDE, &[broken, elsewhere, nowhere, group, own]);
    assert_eq!(out[INSIDE].len(), 0);
    let wanted = ["bad_checksum", "other_mac", "no_route", "not_forwardable", "bad_source", "ttl_exceeded"];
    for reason in wanted {
        assert!(stage.drops().contains(&(reason, 1)), "{reason} in {:?}", stage.drops());
    }
    stage.assert_balance();
}

fn cuts_or_complains(eal: &Eal) {
    let mut stage = ready(eal, Delivery::Forward, 1000);
    let long = udp(&stage, 1400).frame("10.2.0.100", "10.3.0.100");
    let out = stage.exchange(OUTSIDE, &[long]);
    let lens: Vec<_> = out[INSIDE].iter().map(|f| summary(f).l3_len()).collect();
    assert_eq!((lens.len(), lens.iter().map(|len| len - 20).sum::<u16>()), (2, 1400));
    assert!(lens.iter().all(|len| *len <= 1000), "{lens:?}");
    let whole = Ip { fragment: ipv4::DONT_FRAGMENT, ..udp(&stage, 1400) }.frame("10.2.0.100", "10.3.0.100");
    let out = stage.exchange(OUTSIDE, &[whole]);
    assert_eq!(out[INSIDE].len(), 0);
    let error = summary(&out[OUTSIDE][0]);
    let message = error.l4(&out[OUTSIDE][0]);
    assert_eq!((message[0], message[1], message[6], message[7]), (3, 4, 3, 232), "next MTU 1000");
    assert!(stage.drops().contains(&("too_big", 1)));
    stage.assert_balance();
}

fn answers_echoes(eal: &Eal) {
    let mut stage = ready(eal, Delivery::Forward, 1500);
    let mac = stage.mac(OUTSIDE);
    for target in ["10.2.0.1", "10.2.0.10"] {
        let out = stage.exchange(OUTSIDE, &[echo_request_v4(mac, CLIENT, "10.2.0.100", target, 56)]);
        let reply = summary(&out[OUTSIDE][0]);
        assert_eq!((reply.src_ip(), reply.dst_ip()), (v4(target).into(), v4("10.2.0.100").into()));
        assert_eq!(reply.l4(&out[OUTSIDE][0])[0], 0, "echo reply");
        assert_eq!(macs(&out[OUTSIDE][0]), (CLIENT, mac));
    }
    // A long one in fragments: put together, answered, cut again.
    let long = echo_request_v4(mac, CLIENT, "10.2.0.100", "10.2.0.10", 2992);
    let message = long[34..].to_vec();
    let piece = |from: usize, to: usize, more: bool| {
        let fragment = (from / 8) as u16 | if more { ipv4::MORE_FRAGMENTS } else { 0 };
        let ip = Ip { proto: proto::ICMP, payload: message[from..to].to_vec(), fragment, id: 9, ..udp(&stage, 8) };
        ip.frame("10.2.0.100", "10.2.0.10")
    };
    let pieces = [piece(0, 1480, true), piece(1480, 2960, true), piece(2960, 3000, false)];
    let out = stage.exchange(OUTSIDE, &pieces);
    let echoed: usize = out[OUTSIDE].iter().map(|f| usize::from(summary(f).l3_len()) - 20).sum();
    assert_eq!(echoed, 3000, "{:?}", stage.drops());
    answers_long_echoes_v6(&mut stage, mac);
    // Other packets to a cluster address: nobody's, and no answer.
    let out = stage.exchange(OUTSIDE, &[udp(&stage, 30).frame("10.2.0.100", "10.2.0.10")]);
    assert_eq!(out[OUTSIDE].len(), 0);
    assert!(stage.drops().contains(&("no_app", 1)));
    stage.assert_balance();
}

/// IPv6: routers cut nothing, so the answer's source cuts it, into pieces that every link takes.
fn answers_long_echoes_v6(stage: &mut Stage, mac: MacAddr) {
    let request = |len, id| echo_request_v6(mac, CLIENT, ["fd00:2::100", "fd00:2::10"], len, 1440, id);
    // Who asks is not known yet; the pieces wait together.
    assert_eq!(stage.exchange(OUTSIDE, &request(1500, 1))[OUTSIDE].len(), 1);
    let out = stage.exchange(OUTSIDE, &[advertisement(mac, CLIENT, "fd00:2::100", "fd00:2::1")]);
    assert_eq!(out[OUTSIDE].len(), 2);
    for (id, len) in [(2, 3000), (3, 8000)] {
        let out = stage.exchange(OUTSIDE, &request(len, id));
        let pieces = &out[OUTSIDE];
        assert_eq!(pieces.len(), (len + 8).div_ceil(1232), "{:?}", stage.drops());
        let mut message = Vec::new();
        let mut ids = std::collections::HashSet::new();
        for (index, piece) in pieces.iter().enumerate() {
            let head = ipv6::Packet::new_checked(&piece[14..]).expect("an IPv6 packet");
            assert_eq!((head.source(), head.destination()), (v6("fd00:2::10"), v6("fd00:2::100")));
            assert!(piece.len() <= 14 + ipv6::MTU_MIN && head.next_header() == proto::FRAGMENT);
            let walk = ipv6_ext::walk(head.next_header(), head.payload()).expect("headers");
            let fragment = walk.fragment.expect("a fragment header");
            assert_eq!((walk.proto, usize::from(fragment.offset)), (proto::ICMPV6, message.len()));
            assert_eq!(fragment.more, index + 1 < pieces.len());
            ids.insert(fragment.id);
            message.extend(&head.payload()[8..]);
        }
        assert_eq!((ids.len(), message.len(), message[0]), (1, len + 8, 129), "an echo reply, whole");
        let reply = icmpv6::Packet::new_checked(&message[..]).expect("ICMPv6");
        assert!(reply.verify_checksum(v6("fd00:2::10"), v6("fd00:2::100")));
        assert!(message[8..].iter().enumerate().all(|(n, byte)| *byte == (n % 253) as u8));
        stage.assert_balance();
    }
    let lost: u64 = stage.data.shared.workers.iter().map(|w| w.originated_lost.get()).sum();
    assert_eq!(lost, 0);
}

/// Fragments of which others are missing, that don't fit together, or for which there is no room: each is counted.
fn loses_fragments(eal: &Eal) {
    let mut stage = ready(eal, Delivery::Forward, 1500);
    let piece = |stage: &Stage, id: u16, fragment: u16| {
        let ip = Ip { id, fragment, ..udp(stage, 16) };
        ip.frame("10.2.0.100", "10.2.0.10")
    };
    let first = |stage: &Stage, id: u16| piece(stage, id, ipv4::MORE_FRAGMENTS);
    let waiting = |stage: &Stage| stage.data.shared.workers[0].waiting.get();
    let twice = [first(&stage, 1), first(&stage, 1)];
    stage.exchange(OUTSIDE, &twice);
    assert_eq!((stage.data.shared.dropped(DropReason::ReassemblyFailed), waiting(&stage)), (2, 0));
    stage.assert_balance();
    // A hundred packets begin, of which 64 fit at most.
    let many: Vec<_> = (100..200).map(|id| first(&stage, id)).collect();
    stage.exchange(OUTSIDE, &many);
    let full = stage.data.shared.dropped(DropReason::ReassemblyFull);
    let expired = stage.data.shared.dropped(DropReason::ReassemblyExpired);
    assert!(full >= 36 && full + waiting(&stage) + expired == 100, "{:?}", stage.drops());
    stage.assert_balance();
    // The rest of them never comes.
    stage.work_until("the fragments' time is up", |stage| waiting(stage) == 0);
    assert_eq!(stage.data.shared.dropped(DropReason::ReassemblyExpired), 100 - full);
    stage.assert_balance();
    let late = [first(&stage, 1), piece(&stage, 2, 2)];
    stage.exchange(OUTSIDE, &late);
    assert_eq!(waiting(&stage), 2);
    stage.order(WorkerOrder::Stop);
    assert_eq!((stage.data.shared.dropped(DropReason::Stopping), waiting(&stage)), (2, 0));
    stage.assert_balance();
}

fn figure_9_forward(eal: &Eal) {
    let mut stage = ready(eal, Delivery::Forward, 1500);
    let frame = udp(&stage, 30).frame("10.2.0.100", "10.3.0.100");
    // The master passes on what another member owns: only the hardware addresses change.
    stage.set_all(Mode::Relay(member(2)), true);
    let out = stage.exchange(OUTSIDE, std::slice::from_ref(&frame));
    assert_eq!((out[OUTSIDE].len(), out[INSIDE].len()), (1, 0));
    assert_eq!(macs(&out[OUTSIDE][0]), (MacAddr(PEER_MACS[OUTSIDE]), stage.mac(OUTSIDE)));
    assert_eq!(out[OUTSIDE][0][12..], frame[12..]);
    // It holds while the owner has not acknowledged, then releases in order, and a marker follows.
    stage.set_all(Mode::Hold, true);
    let numbered: Vec<_> =
        (1..=3u16).map(|id| Ip { id, ..udp(&stage, 30) }.frame("10.2.0.100", "10.3.0.100")).collect();
    let out = stage.exchange(OUTSIDE, &numbered);
    assert_eq!((out[OUTSIDE].len(), stage.data.workers[0].held()), (0, 3));
    stage.assert_balance();
    for unit in Unit::all() {
        let release = Order::Release { unit, to: ReleaseTo::Member(member(2)), except: vec![] };
        stage.order(WorkerOrder::Steer(release));
    }
    stage.order(WorkerOrder::Steer(Order::Marker { to: member(2), token: 77 }));
    let out = stage.collect();
    let ids: Vec<_> = out[OUTSIDE].iter().take(3).map(|f| summary(f).id).collect();
    assert_eq!(ids, [1, 2, 3]);
    let part = |index| MarkerPart::new(index, 2).expect("a part");
    assert_eq!(out[OUTSIDE][3][14..28], cluster::marker(77, member(1), part(0)));
    assert_eq!(out[INSIDE][0][14..28], cluster::marker(77, member(1), part(1)), "a part on every port");
    // A planned move away: processed here, and a copy to the new owner.
    stage.set_all(Mode::RelayBoth { from: member(1), to: member(2) }, true);
    let out = stage.exchange(OUTSIDE, std::slice::from_ref(&frame));
    assert_eq!((out[OUTSIDE].len(), out[INSIDE].len()), (1, 1));
    assert_eq!(summary(&out[OUTSIDE][0]).ttl, 64, "the copy is as it came in");
    assert_eq!(summary(&out[INSIDE][0]).ttl, 63);
    // Passed-on packets are processed by the owner, and dropped by anyone else.
    let relayed = Ip { from: MacAddr(PEER_MACS[OUTSIDE]), ..udp(&stage, 30) }.frame("10.2.0.100", "10.3.0.100");
    stage.set_all(Mode::Mine, false);
    let out = stage.exchange(OUTSIDE, std::slice::from_ref(&relayed));
    assert_eq!(out[INSIDE].len(), 1);
    stage.set_all(Mode::Relay(member(2)), true);
    let out = stage.exchange(OUTSIDE, &[relayed]);
    assert_eq!(out[OUTSIDE].len() + out[INSIDE].len(), 0);
    assert!(stage.drops().contains(&("relayed_twice", 1)));
    stage.assert_balance();
}

fn figure_9_shared(eal: &Eal) {
    for (delivery, shared) in [(Delivery::Unicast(UNICAST), UNICAST), (Delivery::Multicast(MULTICAST), MULTICAST)] {
        let mut stage = ready(eal, delivery, 1500);
        // The master alone answers for the cluster address: with the shared address, from its own.
        let out = stage.exchange(OUTSIDE, &[arp_request(CLIENT, "10.2.0.100", "10.2.0.10")]);
        let reply = read_arp(&out[OUTSIDE][0]).expect("an ARP reply");
        assert_eq!(reply.sender_mac, MacAddr(shared));
        assert_eq!(macs(&out[OUTSIDE][0]).1, stage.mac(OUTSIDE));
        stage.set_all(Mode::Mine, false);
        let out = stage.exchange(OUTSIDE, &[arp_request(CLIENT, "10.2.0.100", "10.2.0.10")]);
        assert_eq!(out[OUTSIDE].len(), 0);
        // Every member sees the packet; the owner forwards it, from its own address.
        let frame = Ip { to: MacAddr(shared), ..udp(&stage, 30) }.frame("10.2.0.100", "10.3.0.100");
        let out = stage.exchange(OUTSIDE, std::slice::from_ref(&frame));
        assert_eq!(macs(&out[INSIDE][0]), (SERVER, stage.mac(INSIDE)));
        // The others drop it.
        stage.set_all(Mode::Drop, true);
        let out = stage.exchange(OUTSIDE, &[frame.clone(), frame.clone()]);
        assert_eq!(out[OUTSIDE].len() + out[INSIDE].len(), 0);
        assert_eq!(stage.data.shared.dropped(DropReason::NotOwner), 2);
        // A takeover: what the master passes on is not processed a second time.
        stage.set_all(Mode::HoldOwn, false);
        assert_eq!(stage.exchange(OUTSIDE, std::slice::from_ref(&frame))[INSIDE].len(), 0);
        let own = stage.mac(OUTSIDE);
        let relayed =
            Ip { to: own, from: MacAddr(PEER_MACS[OUTSIDE]), ..udp(&stage, 30) }.frame("10.2.0.100", "10.3.0.100");
        assert_eq!(stage.exchange(OUTSIDE, &[relayed])[INSIDE].len(), 1);
        for unit in Unit::all() {
            stage.order(WorkerOrder::Steer(Order::Release { unit, to: ReleaseTo::Here, except: vec![] }));
        }
        assert_eq!(stage.collect()[INSIDE].len(), 0);
        assert_eq!(stage.data.shared.dropped(DropReason::Duplicate), 1);
        stage.assert_balance();
    }
}

fn cluster_frames(eal: &Eal) {
    let mut stage = ready(eal, Delivery::Forward, 1500);
    let peer = MacAddr(PEER_MACS[INSIDE]);
    let up = cluster_frame(MacAddr::BROADCAST, peer, &[cluster::KIND_BEACON, 1, 2, 3]);
    let marker = cluster_frame(stage.mac(INSIDE), peer, &cluster::marker(42, member(2), MarkerPart::WHOLE));
    let forged = cluster_frame(stage.mac(INSIDE), SERVER, &cluster::marker(43, member(2), MarkerPart::WHOLE));
    let unknown = cluster_frame(MacAddr::BROADCAST, peer, &[9]);
    stage.exchange(INSIDE, &[up, marker, forged, unknown]);
    let seen = stage.data.handles[0].poll_frame(|f| (f.port, f.source, f.payload()[..4].to_vec()));
    assert_eq!(seen, Some((INSIDE as u8, peer.0, vec![2, 1, 2, 3])));
    let notices: Vec<_> = std::iter::from_fn(|| stage.data.handles[0].poll_notice()).collect();
    assert_eq!(notices, [Notice::Marker { from: member(2), token: 42, part: MarkerPart::WHOLE }]);
    assert_eq!(stage.data.shared.dropped(DropReason::ClusterMalformed), 2);
    let payload = vec![cluster::KIND_DATAGRAM, 5, 6].into_boxed_slice();
    stage.order(WorkerOrder::Transmit { ports: 0b11, destination: [0xff; 6], payload });
    for frames in stage.collect() {
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0][12..17], [0x88, 0xb5, 1, 5, 6]);
    }
    stage.order(WorkerOrder::Announce);
    let told = stage.collect();
    let announced: Vec<_> = told[OUTSIDE].iter().filter_map(|f| read_arp(f)).map(|a| a.sender_ip).collect();
    assert_eq!(announced, ["10.2.0.10", "10.2.0.10", "10.2.0.1", "10.2.0.1"].map(v4));
    stage.assert_balance();
}

fn lease(eal: &Eal) {
    let mut stage = ready(eal, Delivery::Forward, 1500);
    stage.data.shared.lease_until_ns.store(1, Relaxed);
    let mac = stage.mac(OUTSIDE);
    let frame = udp(&stage, 30).frame("10.2.0.100", "10.3.0.100");
    let out = stage.exchange(OUTSIDE, &[frame, arp_request(CLIENT, "10.2.0.100", "10.2.0.10")]);
    assert_eq!(out[OUTSIDE].len() + out[INSIDE].len(), 0);
    assert_eq!(stage.data.shared.dropped(DropReason::NoLease), 1);
    let out = stage.exchange(OUTSIDE, &[echo_request_v4(mac, CLIENT, "10.2.0.100", "10.2.0.1", 8)]);
    assert_eq!(out[OUTSIDE].len(), 1, "its own address is its own");
    stage.assert_balance();
}

/// Whoever watches the links says so; what was routed by the fast way until then stops at once.
fn no_link(eal: &Eal) {
    let mut stage = ready(eal, Delivery::Forward, 1500);
    let frames: Vec<_> = (0..3).map(|_| udp(&stage, 30).frame("10.2.0.100", "10.3.0.100")).collect();
    for (up, through, dropped) in [(true, 3, 0), (true, 3, 0), (false, 0, 3), (false, 0, 6), (true, 3, 6)] {
        stage.data.shared.ports[INSIDE].link_up.store(up, Relaxed);
        stage.work();
        assert_eq!(stage.exchange(OUTSIDE, &frames)[INSIDE].len(), through);
        assert_eq!(stage.data.shared.dropped(DropReason::PortDown), dropped);
    }
    stage.assert_balance();
}

fn probation(eal: &Eal) {
    let mut stage = ready(eal, Delivery::Forward, 1500);
    stage.data.shared.probation.store(true, Relaxed);
    stage.data.shared.ports[OUTSIDE].probation_until_ns.store(u64::MAX, Relaxed);
    let frame = udp(&stage, 30).frame("10.2.0.100", "10.3.0.100");
    let beacon = cluster_frame(MacAddr::BROADCAST, MacAddr(PEER_MACS[OUTSIDE]), &[cluster::KIND_BEACON]);
    let out = stage.exchange(OUTSIDE, &[frame, arp_request(CLIENT, "10.2.0.100", "10.2.0.10"), beacon]);
    assert_eq!(out[OUTSIDE].len() + out[INSIDE].len(), 0);
    assert_eq!(stage.data.shared.dropped(DropReason::Probation), 2);
    assert!(stage.data.handles[0].poll_frame(|_| ()).is_some());
    stage.assert_balance();
}

fn no_allocation(eal: &Eal) {
    let mut stage = ready(eal, Delivery::Forward, 1500);
    let frames: Vec<_> = (0..16).map(|_| udp(&stage, 30).frame("10.2.0.100", "10.3.0.100")).collect();
    let v6 = udp(&stage, 30).frame("fd00:2::100", "fd00:3::100");
    stage.exchange(OUTSIDE, std::slice::from_ref(&v6));
    let mac = stage.mac(INSIDE);
    stage.exchange(INSIDE, &[advertisement(mac, SERVER, "fd00:3::100", "fd00:3::1")]);
    for mode in [Mode::Mine, Mode::Drop, Mode::Relay(member(2)), Mode::Hold, Mode::MineLogged] {
        stage.set_all(mode, true);
        for _ in 0..10 {
            stage.send_only(OUTSIDE, &frames);
            stage.send_only(OUTSIDE, std::slice::from_ref(&v6));
            let before = dpdk::alloc_count::thread_allocations();
            stage.work();
            assert_eq!(dpdk::alloc_count::thread_allocations() - before, 0, "{mode:?}");
            stage.collect();
        }
    }
    stage.assert_balance();
}
