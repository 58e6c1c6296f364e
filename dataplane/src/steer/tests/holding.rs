//! One engine alone: bounds, deadlines, leases, and a naive model over random histories.

use std::collections::VecDeque;

use super::support::*;
use crate::drop_reason::DropReason;
use crate::steer::{Limits, Mode, Notice, ReleaseTo, Source, Verdict, code};
use proptest::prelude::*;

#[test]
fn codes_follow_modes() {
    let mut s = Station::new(1);
    let cases = [
        (Mode::Drop, code::DROP),
        (Mode::Mine, code::MINE),
        (Mode::MineLogged, code::SLOW),
        (Mode::Relay(member(5)), code::RELAY | 5),
        (Mode::Relay(member(1)), code::MINE),
        (Mode::Hold, code::SLOW),
        (Mode::Quarantined, code::SLOW),
    ];
    for (mode, expected) in cases {
        s.set(mode);
        assert_eq!(s.engine.codes()[unit().index()], expected, "{mode:?}");
    }
}

#[test]
fn without_a_lease_nothing_leaves() {
    let mut s = Station::new(1);
    for mode in [Mode::Mine, Mode::MineLogged, Mode::Hold, Mode::HoldOwn, Mode::Relay(member(2)), Mode::Unassigned] {
        s.set(mode);
        let verdict = s.engine.steer(0, false, unit(), Source::Direct, || 1, 1);
        assert_eq!(verdict, Verdict::Drop(1, DropReason::NoLease), "{mode:?}");
    }
}

#[test]
fn an_unassigned_unit_is_reported_once_a_view_and_held() {
    let mut s = Station::new(1);
    for _ in 0..2 {
        s.set(Mode::Unassigned);
        s.receive(Source::Direct, 1);
        s.receive(Source::Direct, 2);
        assert_eq!(s.engine.poll_notice(), Some(Notice::Unassigned(unit())));
        assert_eq!(s.engine.poll_notice(), None);
    }
    s.release(ReleaseTo::Member(member(2)), vec![]);
    assert_eq!(s.diary.passed_on, [1, 2, 1, 2].map(|p| (member(2), p)));
    s.assert_balance();
}

#[test]
fn a_full_buffer_drops_the_newest_and_a_deadline_the_oldest() {
    let limits = Limits { held_max: 3, held_per_unit_max: 2, hold_ns: 10 * MS, ..Limits::default() };
    let mut s = Station::with_limits(1, limits);
    s.set(Mode::Hold);
    s.receive(Source::Direct, 1);
    s.wait(5 * MS);
    s.receive(Source::Direct, 2);
    s.receive(Source::Direct, 3);
    assert_eq!(s.diary.dropped, [(3, DropReason::HoldFull)]);
    assert_eq!(s.engine.poll_timeout(), Some(10 * MS));
    s.wait(5 * MS);
    assert_eq!(s.diary.dropped[1..], [(1, DropReason::HoldExpired)]);
    s.set(Mode::Drop);
    assert_eq!(s.diary.dropped[2..], [(2, DropReason::HeldDiscarded)]);
    assert_eq!(s.engine.held(), 0);
    s.assert_balance();
}

#[derive(Clone, Debug)]
enum Step {
    Receive(Source),
    Set(Mode),
    Release(ReleaseTo),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let modes = [Mode::Drop, Mode::Mine, Mode::Hold, Mode::Relay(member(2)), Mode::Quarantined];
    prop_oneof![
        6 => prop::bool::ANY.prop_map(|d| Step::Receive(if d { Source::Direct } else { Source::Member(member(3)) })),
        2 => prop::sample::select(modes.to_vec()).prop_map(Step::Set),
        1 => prop::sample::select(vec![ReleaseTo::Here, ReleaseTo::Member(member(2)), ReleaseTo::Nowhere])
            .prop_map(Step::Release),
        1 => (0..8u64).prop_map(|ms| Step::Wait(ms * MS)),
    ]
}

/// What the engine should do, said without pools, codes or logs.
#[derive(Default)]
struct Naive {
    mode: Mode,
    held: VecDeque<(u64, u64)>,
    processed: Vec<u64>,
    passed_on: Vec<u64>,
}

impl Naive {
    fn empty(&mut self, to: ReleaseTo) {
        let packets = self.held.drain(..).map(|(_, p)| p);
        match to {
            ReleaseTo::Here => self.processed.extend(packets),
            ReleaseTo::Member(_) => self.passed_on.extend(packets),
            ReleaseTo::Nowhere => drop(packets),
        }
    }

    fn step(&mut self, now_ns: u64, step: &Step, packet: u64, limits: &Limits) {
        match step {
            Step::Receive(source) => match (self.mode, source) {
                (Mode::Mine, _) => self.processed.push(packet),
                (Mode::Relay(_), Source::Direct) => self.passed_on.push(packet),
                (Mode::Hold, _) if self.held.len() < limits.held_per_unit_max => {
                    self.held.push_back((now_ns + limits.hold_ns, packet));
                }
                _ => {}
            },
            Step::Set(mode) => {
                self.mode = *mode;
                match mode {
                    Mode::Hold => {}
                    Mode::Mine => self.empty(ReleaseTo::Here),
                    Mode::Relay(to) => self.empty(ReleaseTo::Member(*to)),
                    _ => self.empty(ReleaseTo::Nowhere),
                }
            }
            Step::Release(to) => self.empty(*to),
            Step::Wait(_) => self.held.retain(|(deadline_ns, _)| *deadline_ns > now_ns),
        }
    }
}

proptest! {
    #[test]
    fn behaves_like_the_naive_model(steps in prop::collection::vec(step(), 0..200)) {
        let limits = Limits { held_max: 16, held_per_unit_max: 8, hold_ns: 10 * MS, ..Limits::default() };
        let mut s = Station::with_limits(1, limits);
        let mut naive = Naive::default();
        for (packet, step) in steps.iter().enumerate() {
            let packet = packet as u64;
            match step {
                Step::Receive(source) => s.receive(*source, packet),
                Step::Set(mode) => drop(s.set(*mode)),
                Step::Release(to) => s.release(*to, vec![]),
                Step::Wait(ns) => s.wait(*ns),
            }
            naive.step(s.now_ns, step, packet, &limits);
            s.assert_balance();
            prop_assert_eq!(s.engine.held(), naive.held.len());
        }
        prop_assert_eq!(&s.diary.processed, &naive.processed);
        prop_assert_eq!(s.diary.passed_on.iter().map(|p| p.1).collect::<Vec<_>>(), naive.passed_on);
    }
}
