//! ESP in fragments: put together by one member, opened by another.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dpdk::Eal;
use phalanx_dataplane::ipsec::crypto::builtin::BuiltIn;
use phalanx_dataplane::ipsec::gateway::{Gateway, GatewayConfig, TunnelStats};
use phalanx_dataplane::port::Delivery;
use phalanx_dataplane::replica::{MemberSet, TableVersion};
use phalanx_dataplane::steer::{Holders, Mode, Order};
use phalanx_dataplane::unit::UNITS;
use phalanx_dataplane::wire::ipv4;
use phalanx_dataplane::worker::WorkerOrder;

use crate::frames::{CLIENT, Ip, SERVER, summary};
use crate::stage::{INSIDE, OUTSIDE, PEER_MACS, Stage, member};
use crate::tunnel::{CLUSTER, HOST, PEER, ip, sealed, spec};

const CLUSTER_FRAME: [u8; 2] = [0x88, 0xb5];
const PIECE: u8 = 4;

pub(crate) fn scene(eal: &Eal) {
    let mut stage = Stage::new(eal, Delivery::Unicast([2, 0x50, 0x48, 0, 0, 1]), 1500);
    let config = GatewayConfig::new(member(1), vec![spec()], [0; 16]);
    stage.data.workers[0].add_app(Box::new(Gateway::new(config, Arc::new(BuiltIn), TunnelStats::new(1))));
    stage.data.shared.incarnation.store(3, Relaxed);
    for (port, address, mac) in [(OUTSIDE, PEER, CLIENT), (INSIDE, HOST, SERVER)] {
        stage.data.workers[0].introduce(port as u8, address.parse().expect("an address"), mac);
    }
    opened_where_it_was_put_together(&mut stage);
    let pieces = passed_on_to_its_owner(&mut stage);
    passed_on_twice_at_most(&mut stage, &pieces);
    put_together_by_its_owner(&mut stage, &pieces);
    only_from_members(&mut stage, &pieces);
    stage.assert_balance();
}

/// A host that does not know the port's MTU: its frames are passed on as they are.
pub(crate) fn longer_than_the_mtu(eal: &Eal) {
    let mut stage = Stage::new(eal, Delivery::Forward, 1400);
    stage.set_all(Mode::Relay(member(2)), true);
    for to in ["10.2.0.100", "10.3.0.10"] {
        let frame = Ip::udp(stage.mac(INSIDE), SERVER, 1448).frame(HOST, to);
        let [outside, inside] = stage.exchange(INSIDE, std::slice::from_ref(&frame));
        assert_eq!((outside.len(), inside.len()), (0, 1), "{:?}", stage.drops());
        assert_eq!((&inside[0][..6], &inside[0][12..]), (&PEER_MACS[INSIDE][..], &frame[12..]));
    }
    stage.assert_balance();
}

/// A long packet of the peer's in two fragments, as a router on the way would have made them; with "don't fragment", as some do.
fn fragments(stage: &Stage, sequence: u64) -> (Vec<u8>, Vec<Vec<u8>>) {
    let inner = Ip::udp(SERVER, CLIENT, 1470).frame("10.9.0.7", HOST);
    let whole = sealed(stage, &spec(), ip(&inner), sequence);
    let carried = &whole[34..];
    let piece = |from: usize, to: usize, more: u16| {
        let fragment = (from / 8) as u16 | more | ipv4::DONT_FRAGMENT;
        let header = Ip {
            fragment,
            id: sequence as u16,
            proto: summary(&whole).proto,
            ..Ip::udp(stage.mac(OUTSIDE), CLIENT, 8)
        };
        Ip { payload: carried[from..to].to_vec(), ..header }.frame(PEER, CLUSTER)
    };
    let pieces = vec![piece(0, 800, ipv4::MORE_FRAGMENTS), piece(800, carried.len(), 0)];
    (ip(&inner).to_vec(), pieces)
}

/// What the inside got is what the peer sent.
fn assert_arrived(inside: &[Vec<u8>], sent: &[u8]) {
    assert_eq!(inside.len(), 1);
    assert_eq!(ip(&inside[0])[20..], sent[20..]);
}

fn serve(stage: &mut Stage, tunnel: Mode, owner: u8) {
    let mut modes = vec![Mode::Mine; UNITS];
    modes[spec().unit().index()] = tunnel;
    let mut view = stage.view(modes, false);
    let mut owners = vec![Some(member(1)); UNITS];
    owners[spec().unit().index()] = Some(member(owner));
    let version = TableVersion { term: 1, generation: view.version };
    view.holders = Some(Arc::new(Holders { version, owners, backups: vec![MemberSet::EMPTY; UNITS] }));
    stage.order(WorkerOrder::Steer(Order::View(view)));
}

fn opened_where_it_was_put_together(stage: &mut Stage) {
    serve(stage, Mode::Mine, 1);
    let (sent, mut pieces) = fragments(stage, 1);
    pieces.reverse();
    let [outside, inside] = stage.exchange(OUTSIDE, &pieces);
    assert!(outside.is_empty(), "{:?}", stage.drops());
    assert_arrived(&inside, &sent);
    stage.assert_balance();
}

/// Answers the pieces.
fn passed_on_to_its_owner(stage: &mut Stage) -> Vec<Vec<u8>> {
    serve(stage, Mode::Drop, 2);
    let (_, pieces) = fragments(stage, 2);
    let [outside, inside] = stage.exchange(OUTSIDE, &pieces);
    assert!(inside.is_empty());
    assert_eq!(outside.len(), 2, "{:?}", stage.drops());
    for frame in &outside {
        assert_eq!((&frame[..6], &frame[6..12]), (&PEER_MACS[OUTSIDE][..], &stage.mac(OUTSIDE).0[..]));
        assert_eq!((&frame[12..14], &frame[14..18]), (&CLUSTER_FRAME[..], &[PIECE, 1, 1, 0][..]));
        assert!(frame.len() <= 14 + 1500);
    }
    stage.assert_balance();
    outside
}

/// Pieces as the other member would send them.
fn from_the_other(stage: &Stage, pieces: &[Vec<u8>], hops: u8) -> Vec<Vec<u8>> {
    let turn = |frame: &Vec<u8>| {
        let mut frame = frame.clone();
        frame[..6].copy_from_slice(&stage.mac(OUTSIDE).0);
        frame[6..12].copy_from_slice(&PEER_MACS[OUTSIDE]);
        frame[15..17].copy_from_slice(&[2, hops]);
        frame
    };
    pieces.iter().map(turn).collect()
}

/// Whoever has just given the unit away passes it on once more; but not for ever.
fn passed_on_twice_at_most(stage: &mut Stage, pieces: &[Vec<u8>]) {
    let again = stage.exchange(OUTSIDE, &from_the_other(stage, pieces, 1));
    assert_eq!(again[OUTSIDE].len(), 2);
    assert!(again[OUTSIDE].iter().all(|frame| frame[14..18] == [PIECE, 1, 2, 0]));
    assert_eq!(stage.exchange(OUTSIDE, &from_the_other(stage, pieces, 2)), [Vec::<Vec<u8>>::new(), Vec::new()]);
    assert!(stage.drops().contains(&("not_owner", 1)), "{:?}", stage.drops());
    stage.assert_balance();
}

fn put_together_by_its_owner(stage: &mut Stage, pieces: &[Vec<u8>]) {
    serve(stage, Mode::Mine, 1);
    let [outside, inside] = stage.exchange(OUTSIDE, &from_the_other(stage, pieces, 1));
    assert!(outside.is_empty());
    assert_arrived(&inside, &fragments(stage, 2).0);
    stage.assert_balance();
}

/// Who is no member, or says that it is another one, has nothing passed on; nor do frames that are no pieces do any harm.
fn only_from_members(stage: &mut Stage, pieces: &[Vec<u8>]) {
    let mut forged = from_the_other(stage, pieces, 1);
    forged[0][6..12].copy_from_slice(&CLIENT.0);
    forged[1][15] = 3;
    let mut others = from_the_other(stage, pieces, 1);
    others[0].truncate(18);
    others[1].truncate(16);
    let mut whole = from_the_other(stage, pieces, 1).remove(0);
    let inner = Ip::udp(SERVER, CLIENT, 100).frame(PEER, CLUSTER);
    whole.truncate(18);
    whole.extend(&inner[14..]);
    let frames = [forged, others, vec![whole]].concat();
    assert_eq!(stage.exchange(OUTSIDE, &frames), [Vec::<Vec<u8>>::new(), Vec::new()]);
    assert!(stage.drops().contains(&("cluster_malformed", 5)), "{:?}", stage.drops());
}
