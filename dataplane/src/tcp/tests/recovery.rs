//! Loss recovery and congestion: what goes out again, and when.

use super::pair::{Bench, OUR_ISS};
use super::plan::Plan;
use super::world::{MS, World};
use crate::tcp::*;
use crate::wire::tcp::FLAG_ACK;

fn with_sack() -> Bench {
    let config = Config { sack: true, ..Bench::plain() };
    Bench::established_with(&config, Options { sack_permitted: true, mss: Some(1000), ..Options::default() })
}

fn sack(blocks: &[(i64, i64)], ack: i64) -> Segment<'static> {
    let mut segment = Bench::segment(1, ack, FLAG_ACK, &[]);
    segment.window = 60_000;
    for (left, right) in blocks {
        segment.options.sack.push(OUR_ISS.at(*left), OUR_ISS.at(*right));
    }
    segment
}

fn seqs(bench: &mut Bench) -> Vec<i32> {
    bench.said().iter().map(|said| said.seq).collect()
}

#[test]
fn the_third_duplicate_ack_sends_the_first_hole_again() {
    let mut bench = Bench::established();
    bench.give(8000);
    assert_eq!(bench.said().len(), 8);
    bench.hear(1, 1, FLAG_ACK, &[]);
    bench.hear(1, 1, FLAG_ACK, &[]);
    assert_eq!(seqs(&mut bench), [] as [i32; 0]);
    bench.hear(1, 1, FLAG_ACK, &[]);
    assert_eq!(seqs(&mut bench), [1]);
    // A partial acknowledgement shows the next hole (RFC 6582).
    bench.hear(1, 3001, FLAG_ACK, &[]);
    assert_eq!(seqs(&mut bench), [3001]);
    bench.hear(1, 8001, FLAG_ACK, &[]);
    assert_eq!(seqs(&mut bench), [] as [i32; 0]);
}

#[test]
fn keepalives_of_the_peer_are_no_duplicates() {
    let mut bench = Bench::established();
    bench.give(8000);
    bench.said();
    for _ in 0..5 {
        bench.hear(0, 1, FLAG_ACK, &[]);
        let answer = bench.said();
        assert!(answer.len() == 1 && answer[0].payload.is_empty(), "{answer:?}");
    }
}

#[test]
fn sack_tells_all_holes_and_what_arrived_is_not_sent_again() {
    let mut bench = with_sack();
    bench.hear_segment(&sack(&[], 1));
    bench.give(10_000);
    assert_eq!(bench.said().len(), 10);
    // 1 and 3001 are lost; all others arrive.
    bench.hear_segment(&sack(&[(1001, 2001)], 1));
    bench.hear_segment(&sack(&[(1001, 3001)], 1));
    bench.hear_segment(&sack(&[(4001, 5001), (1001, 3001)], 1));
    for end in [6001, 7001, 8001, 9001, 10_001] {
        bench.hear_segment(&sack(&[(4001, end), (1001, 3001)], 1));
    }
    assert_eq!(seqs(&mut bench), [1, 3001]);
    bench.hear_segment(&sack(&[(4001, 10_001)], 3001));
    bench.give(1000);
    assert_eq!(seqs(&mut bench), [10_001], "nothing again, and on with what is new");
}

#[test]
fn after_a_timeout_everything_not_reported_goes_again() {
    let mut bench = with_sack();
    bench.hear_segment(&sack(&[], 1));
    bench.give(4000);
    bench.said();
    bench.wait_for(Timer::Retransmit);
    assert_eq!(seqs(&mut bench), [1]);
    bench.hear_segment(&sack(&[(2001, 3001)], 1001));
    assert_eq!(seqs(&mut bench), [1001, 3001]);
}

#[test]
fn a_sack_of_what_was_never_sent_is_nothing() {
    let mut bench = with_sack();
    bench.hear_segment(&sack(&[], 1));
    bench.give(3000);
    bench.said();
    bench.hear_segment(&sack(&[(2001, 90_001), (5, 4), (-9, 2), (1, 1 << 30)], 1));
    bench.wait_for(Timer::Retransmit);
    assert_eq!(seqs(&mut bench), [1]);
}

#[test]
fn the_window_grows_with_what_is_acknowledged_and_falls_at_a_loss() {
    let mut bench = Bench::established();
    let open = |ack| Segment { window: 65_000, ..Bench::segment(1, ack, FLAG_ACK, &[]) };
    bench.hear_segment(&open(1));
    bench.give(200_000);
    assert_eq!(bench.said().len(), 10);
    bench.now_ns += 10 * MS;
    bench.hear_segment(&open(2001));
    assert_eq!(bench.said().len(), 4, "slow start");
    for _ in 0..3 {
        bench.hear_segment(&open(2001));
    }
    bench.said();
    bench.hear_segment(&open(14_001));
    let after = bench.said().len();
    assert!((7..=9).contains(&after), "seven tenths of what was in flight: {after}");
}

/// One segment in a hundred is lost: no transfer waits for timeouts only.
#[test]
fn losses_are_repaired_in_round_trips() {
    for sack in [true, false] {
        let mut plan = Plan::new(7);
        plan.bytes = [2_000_000, 0];
        plan.loss = 1;
        plan.config.iter_mut().for_each(|config| config.sack = sack);
        let mut world = World::new(plan);
        world.run();
        assert!(world.lost > 5, "{}", world.lost);
        assert!(world.now_ns < 12_000 * MS, "{} ms", world.now_ns / MS);
    }
}
