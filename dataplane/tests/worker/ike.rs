//! IKE at a desk, and its tunnels through the workers of a member: whichever of them a packet comes to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use dpdk::Eal;
use phalanx_dataplane::filter::steered::embed;
use phalanx_dataplane::ipsec::crypto::builtin::BuiltIn;
use phalanx_dataplane::ipsec::crypto::{Direction, Engine, Job};
use phalanx_dataplane::ipsec::encap::{Draws, Encap, Mode as Wrapping, Name};
use phalanx_dataplane::ipsec::gateway::{
    Answer, Asked, ChildChange, Datagram, GatewayConfig, Half, Kept, Network, Question, Selectors, TunnelSpec,
};
use phalanx_dataplane::ipsec::outer::{Outer, Ports};
use phalanx_dataplane::steer::Mode;
use phalanx_dataplane::wire::{proto, udp};
use phalanx_dataplane::worker::worker_of;

use crate::frames::{CLIENT, Ip, SERVER, summary};
use crate::stage::{INSIDE, OUTSIDE, Stage, member};
use crate::tunnel::{CLUSTER, HOST, PEER, ip, outer, spec};

const NAT: Ports = Ports { source: 4500, destination: 7777 };

/// One branch for each worker.
fn selectors(branch: u8) -> Selectors {
    let network = |text: &str| vec![Network::new(text.parse().expect("an address"), 24)];
    Selectors { local: network("10.3.0.0"), remote: network(&format!("10.{branch}.0.0")) }
}

fn message(stage: &Stage, initiator: u64, responder: u64) -> Vec<u8> {
    let [a, b] = [initiator, responder].map(u64::to_be_bytes);
    let message = [&a[..], &b, &[33, 0x20, 34, 0x08, 0, 0, 0, 0, 0, 0, 0, 28]].concat();
    let mut ip = Ip::udp(stage.mac(OUTSIDE), CLIENT, udp::HEADER_LEN + message.len());
    ip.payload[..4].copy_from_slice(&[500_u16.to_be_bytes(), 500_u16.to_be_bytes()].concat());
    // No checksum.
    ip.payload[6..8].fill(0);
    ip.payload[udp::HEADER_LEN..].copy_from_slice(&message);
    ip.frame(PEER, CLUSTER)
}

/// What a message leads to, and which worker asks.
fn ask(stage: &mut Stage, initiator: u64, responder: u64) -> (usize, Question) {
    let frame = message(stage, initiator, responder);
    stage.send_only(OUTSIDE, &[frame]);
    stage.work();
    let mut asked = stage.data.desks.iter_mut().enumerate().filter_map(|(at, desk)| Some((at, desk.next()?)));
    asked.next().unwrap_or_else(|| panic!("nobody asks"))
}

/// An answer, and what is sent of it.
fn answer(stage: &mut Stage, (worker, question): (usize, Question), children: Vec<ChildChange>) -> Vec<Vec<u8>> {
    let Asked::Message { from, to, .. } = question.asked else { panic!("{question:?}") };
    let send = vec![Datagram { from: to, to: from, bytes: b"reply".to_vec() }];
    let record = Kept::Changed(vec![7; 100]);
    let answer = Answer { record, children, send, ..Answer::nothing(question.ticket, None) };
    stage.data.desks[worker].answer(answer).expect("room");
    stage.work();
    let [outside, inside] = stage.collect();
    assert!(inside.is_empty());
    outside
}

fn child(spi: u32, branch: u8) -> TunnelSpec {
    let spec = spec();
    let outer = Outer { udp: Some(NAT), ..outer(CLUSTER, PEER) };
    TunnelSpec { outer, selectors: selectors(branch), inbound: Half { spi, ..spec.inbound.clone() }, ..spec }
}

/// A frame of the peer's through the NAT.
fn sealed(stage: &Stage, spec: &TunnelSpec, packet: &[u8], sequence: u64) -> Vec<u8> {
    let udp = Some(Ports { source: NAT.destination, destination: NAT.source });
    let wrapping = Wrapping::Tunnel(Outer { udp, ..outer(PEER, CLUSTER) });
    let transform = spec.protection.transform();
    let encap = Encap::new(spec.inbound.spi, wrapping, transform);
    let layout = encap.room(packet).expect("a packet");
    let mut buffer = [&vec![0; layout.before], packet, &vec![0; layout.after]].concat();
    let at =
        encap.build(&mut buffer, layout, Draws { sequence, nonce: sequence, name: Name::default() }).expect("a packet");
    let mut session = BuiltIn.session(transform, &spec.inbound.keys, spec.numbers, Direction::Seal).expect("a session");
    let mut jobs = [Job::new(&mut buffer[at..], 0)];
    session.process(&mut jobs);
    let mut frame = Ip::udp(stage.mac(OUTSIDE), CLIENT, 8).frame(PEER, CLUSTER)[..14].to_vec();
    frame.extend(buffer);
    frame
}

fn allocates_nothing(stage: &mut Stage, spec: &TunnelSpec, to_branch: &[u8], inner: &[u8]) {
    for round in 0..20 {
        let frame = sealed(stage, spec, inner, 10 + round);
        stage.send_only(OUTSIDE, &[frame]);
        stage.send_only(INSIDE, &[to_branch.to_vec(), to_branch.to_vec()]);
        let before = dpdk::alloc_count::thread_allocations();
        stage.work();
        let allocated = dpdk::alloc_count::thread_allocations() - before;
        assert!(round < 5 || allocated == 0, "{allocated} allocations in round {round}");
        let [outside, inside] = stage.collect();
        assert_eq!((outside.len(), inside.len()), (2, 1));
    }
}

fn unprotected(stage: &Stage) -> u64 {
    stage.drops().into_iter().find(|(name, _)| *name == "unprotected").map_or(0, |(_, count)| count)
}

pub(crate) fn scene(eal: &Eal) {
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    let wake = Arc::new(move || {
        count.fetch_add(1, Relaxed);
    });
    let guards = vec![selectors(20), selectors(21)];
    let config = GatewayConfig { guards, ike: Some(wake), ..GatewayConfig::new(member(1), Vec::new(), [0; 16]) };
    let mut stage = Stage::with_gateway(eal, config);
    assert_eq!(stage.data.desks.len(), 2);
    stage.data.shared.incarnation.store(3, Relaxed);
    for worker in &mut stage.data.workers {
        for (port, address, mac) in [(OUTSIDE, PEER, CLIENT), (INSIDE, HOST, SERVER)] {
            worker.introduce(port as u8, address.parse().expect("an address"), mac);
        }
    }
    stage.set_all(Mode::Mine, true);
    for worker in 0..2 {
        comes_and_goes(&mut stage, worker);
    }
    assert!(woken.load(Relaxed) >= 4);
    stage.assert_balance();
}

/// A tunnel whose unit is this worker's. All frames come to the first one.
fn comes_and_goes(stage: &mut Stage, worker: usize) {
    let branch = 20 + worker as u8;
    let remote = format!("10.{branch}.0.7");
    let to_branch = Ip::udp(stage.mac(INSIDE), SERVER, 200).frame(HOST, &remote);
    let before = unprotected(stage);
    assert_eq!(stage.exchange(INSIDE, std::slice::from_ref(&to_branch)), [Vec::<Vec<u8>>::new(), Vec::new()]);
    let from_branch = Ip::udp(stage.mac(OUTSIDE), CLIENT, 200).frame(&remote, HOST);
    assert_eq!(stage.exchange(OUTSIDE, std::slice::from_ref(&from_branch)), [Vec::<Vec<u8>>::new(), Vec::new()]);
    assert_eq!(unprotected(stage), before + 2, "neither way");
    // Which worker it is chance says.
    let mut initiators = 1 + 1000 * worker as u64..;
    let (initiator, asked) = loop {
        let initiator = initiators.next().expect("numbers");
        let asked = ask(stage, initiator, 0);
        assert_eq!(asked.0, worker_of(asked.1.unit, 2));
        if asked.0 == worker {
            break (initiator, asked);
        }
        let nothing = Answer::nothing(asked.1.ticket, None);
        stage.data.desks[asked.0].answer(nothing).expect("room");
        stage.work();
    };
    let ike_spi = asked.1.spi;
    let spec = child(embed(asked.1.unit, 0x5_0000), branch);
    let add = ChildChange::Add { tunnel: Box::new(spec.clone()), ike_spi, replaces: None };
    let replies = answer(stage, asked, vec![add]);
    assert_eq!(replies.len(), 1);
    let reply = summary(&replies[0]);
    let ends = |ip: &str| SocketAddr::new(ip.parse().expect("an address"), 500);
    assert_eq!((SocketAddr::new(reply.src_ip(), reply.src_port), reply.dst_port), (ends(CLUSTER), 500));
    assert_eq!(reply.l4(&replies[0])[udp::HEADER_LEN..], b"reply"[..]);
    // Both ways, from whichever worker the frames come to.
    let [outside, inside] = stage.exchange(INSIDE, &[to_branch.clone(), to_branch.clone()]);
    assert_eq!((outside.len(), inside.len()), (2, 0), "{:?}", stage.drops());
    for frame in &outside {
        let it = summary(frame);
        assert_eq!((it.proto, it.src_port, it.dst_port), (proto::UDP, NAT.source, NAT.destination));
    }
    let inner = Ip::udp(SERVER, CLIENT, 300).frame(&remote, HOST);
    let frame = sealed(stage, &spec, ip(&inner), 1);
    let [outside, inside] = stage.exchange(OUTSIDE, &[frame]);
    assert_eq!((outside.len(), inside.len()), (0, 1), "{:?}", stage.drops());
    assert_eq!(summary(&inside[0]).l4(&inside[0]), summary(&inner).l4(&inner));
    allocates_nothing(stage, &spec, &to_branch, ip(&inner));
    // It goes, and nothing goes in clear.
    let asked = ask(stage, initiator, ike_spi);
    assert_eq!((asked.0, asked.1.record.as_deref()), (worker, Some(&[7; 100][..])));
    assert_eq!(answer(stage, asked, vec![ChildChange::Remove { spi: spec.inbound.spi }]).len(), 1);
    let before = unprotected(stage);
    assert_eq!(stage.exchange(INSIDE, &[to_branch]), [Vec::<Vec<u8>>::new(), Vec::new()]);
    assert_eq!(unprotected(stage), before + 1);
}
