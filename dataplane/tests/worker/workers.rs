//! Several workers: units are shared, packets handed over, queues lent, order kept.

use std::sync::atomic::Ordering::Relaxed;

use dpdk::Eal;
use phalanx_dataplane::drop_reason::DropReason;
use phalanx_dataplane::port::Delivery;
use phalanx_dataplane::steer::{Mode, Order, View};
use phalanx_dataplane::unit::{UNITS, Unit};
use phalanx_dataplane::worker::{WorkerOrder, cluster, worker_of};

use crate::frames::*;
use crate::scenes::udp;
use crate::stage::*;

/// All frames come in by one queue; each worker serves its units, and hears of neighbours that another one met.
pub(crate) fn two_workers(eal: &Eal) {
    share_work(&mut Stage::with_workers(eal, Delivery::Forward, 1500, 2, 2));
}

/// The second worker has no queue at all: what it receives and what it sends goes through the first.
pub(crate) fn one_queue_for_two(eal: &Eal) {
    let mut stage = Stage::with_workers(eal, Delivery::Forward, 1500, 2, 1);
    share_work(&mut stage);
    let sent = |stage: &Stage, at: usize| stage.data.shared.workers[at].ports[INSIDE].tx_packets.get();
    assert_eq!((sent(&stage, 0), sent(&stage, 1)), (1 + 1 + 32 + 40, 0), "one queue, one that counts");
    charge_by_unit(&mut stage);
    // What is passed on goes before the marker that says so, from either worker.
    stage.set_all(Mode::Relay(member(2)), true);
    let frames = from_many_hosts(&stage);
    stage.send_only(OUTSIDE, &frames);
    stage.work();
    stage.order(WorkerOrder::Steer(Order::Marker { to: member(2), token: 5 }));
    let out = stage.collect();
    let markers = out[OUTSIDE].iter().rev().take_while(|frame| frame[12..14] == [0x88, 0xb5]).count();
    assert_eq!((out[OUTSIDE].len(), markers), (42, 2));
    keeps_order(&mut stage);
    // The lease lapses while packets are on their way to the queue: they don't leave, and are counted once.
    stage.set_all(Mode::Mine, true);
    let balance = |stage: &Stage| stage.data.shared.workers.iter().map(|w| w.forwarded.get()).collect::<Vec<_>>();
    let before = balance(&stage);
    stage.send_only(OUTSIDE, &frames);
    stage.data.workers[0].poll_once();
    stage.data.workers[0].poll_once();
    stage.data.workers[1].poll_once();
    let on_their_way = stage.data.shared.workers[1].forwarded.get() - before[1];
    assert!(on_their_way > 8, "{on_their_way}");
    stage.data.shared.lease_until_ns.store(1, Relaxed);
    stage.work();
    assert_eq!(stage.data.shared.workers[1].forwarded.get(), before[1]);
    assert_eq!(stage.data.shared.dropped(DropReason::NoLease), on_their_way);
    stage.assert_balance();
    stage.collect();
    stage.data.shared.lease_until_ns.store(u64::MAX, Relaxed);
    // The first worker is busy elsewhere: the way to its queue fills up, and what does not fit is counted.
    full_lane(&mut stage);
}

/// A view reaches one worker before the other: what the other one still holds is overtaken by nothing.
fn keeps_order(stage: &mut Stage) {
    stage.set_all(Mode::Hold, true);
    let numbered = |stage: &Stage, id| -> Vec<_> {
        let ip = Ip { id, ..udp(stage, 30) };
        (0..40).map(|host| ip.frame(&format!("10.2.0.{}", 101 + host), "10.3.0.100")).collect()
    };
    assert_eq!(stage.exchange(OUTSIDE, &numbered(stage, 1))[OUTSIDE].len(), 0);
    let held = stage.data.workers[1].held();
    let view = stage.view(vec![Mode::Relay(member(2)); UNITS], true);
    let order = |stage: &mut Stage, worker: usize, view: &View| {
        let order = WorkerOrder::Steer(Order::View(view.clone()));
        stage.data.handles[worker].order(order).expect("the worker obeys");
        stage.work();
        stage.collect()
    };
    let mut out = order(stage, 0, &view)[OUTSIDE].clone();
    assert_eq!(out.len(), 40 - held);
    out.extend(stage.exchange(OUTSIDE, &numbered(stage, 2))[OUTSIDE].clone());
    out.extend(order(stage, 1, &view)[OUTSIDE].clone());
    assert_eq!(out.len(), 80);
    let mut last = std::collections::HashMap::new();
    for frame in &out {
        let now = summary(frame);
        let before = last.insert(now.src, now.id).unwrap_or(0);
        assert_eq!(now.id, before + 1, "{} is out of order", now.src_ip());
    }
    stage.assert_balance();
}

/// The second worker says so much in one round that its way to the queue is full when routed packets are to follow.
fn full_lane(stage: &mut Stage) {
    const LANE_LEN: u64 = 511;
    let frames = from_many_hosts(stage);
    stage.send_only(OUTSIDE, &frames);
    stage.data.workers[0].poll_once();
    let payload = vec![cluster::KIND_DATAGRAM].into_boxed_slice();
    for _ in 0..600 {
        let order = WorkerOrder::Transmit { ports: 1 << INSIDE, destination: [0xff; 6], payload: payload.clone() };
        stage.data.handles[1].order(order).expect("the worker obeys");
    }
    let before = stage.data.shared.workers[1].forwarded.get();
    stage.data.workers[1].poll_once();
    let second = &stage.data.shared.workers[1];
    assert_eq!(second.originated_lost.get(), 600 - LANE_LEN);
    assert_eq!(second.forwarded.get(), before);
    let dropped = stage.data.shared.dropped(DropReason::HandoverFull);
    assert!(dropped > 8, "{dropped}");
    stage.work();
    assert_eq!(stage.collect()[INSIDE].len() as u64, LANE_LEN + 40 - dropped);
    stage.assert_balance();
}

fn from_many_hosts(stage: &Stage) -> Vec<Vec<u8>> {
    (0..40).map(|host| udp(stage, 30).frame(&format!("10.2.0.{}", 101 + host), "10.3.0.100")).collect()
}

fn share_work(stage: &mut Stage) {
    stage.set_all(Mode::Mine, true);
    let frames = from_many_hosts(stage);
    let asked = stage.exchange(OUTSIDE, &frames);
    assert_eq!(asked[INSIDE].len(), 2, "each worker asks once");
    let mac = stage.mac(INSIDE);
    let out = stage.exchange(INSIDE, &[arp_reply(mac, SERVER, "10.3.0.100", "10.3.0.1")]);
    // A worker lets sixteen packets wait for a neighbour.
    assert_eq!(out[INSIDE].len(), 32, "{:?}", stage.drops());
    let out = stage.exchange(OUTSIDE, &frames);
    assert_eq!(out[INSIDE].len(), 40);
    let shares: Vec<_> = stage.data.shared.workers.iter().map(|w| w.forwarded.get()).collect();
    assert!(shares.iter().all(|n| *n > 16), "{shares:?}");
    stage.assert_balance();
}

/// What the first worker does for the second is charged to the second's units, unless they are another member's.
fn charge_by_unit(stage: &mut Stage) {
    let frames = from_many_hosts(stage);
    let for_second = |stage: &Stage| -> Vec<u64> {
        let loads = &stage.data.shared.workers[0].loads;
        Unit::all().filter(|unit| worker_of(*unit, 2) == 1).map(|unit| loads.cycles(unit).get()).collect()
    };
    let rises = |stage: &mut Stage| {
        let before = for_second(stage);
        for frame in &frames {
            stage.exchange(OUTSIDE, std::slice::from_ref(frame));
        }
        for_second(stage).iter().zip(before).filter(|(now, before)| **now > *before).count()
    };
    let units = rises(stage);
    assert!(units > 10, "{units} of the second worker's units were charged with what the first did for them");
    stage.set_all(Mode::Relay(member(2)), true);
    assert_eq!(rises(stage), 0);
    stage.set_all(Mode::Mine, true);
}
