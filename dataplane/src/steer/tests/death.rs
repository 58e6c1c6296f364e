//! An owner dies under `unicast`/`multicast`: master and new owner both see the packets, the new owner processes each once.

use super::support::*;
use crate::steer::{Limits, Mode, ReleaseTo, Source, code};
use proptest::prelude::*;

/// The master holds packets 0..`held`, the new owner sees directly from `first` on; the master passes on what it held,
/// interleaved with direct packets, and its marker comes after `marked` of them (late copies follow it).
fn takeover(held: u64, first: u64, marked: u64, by_deadline: bool) -> Station {
    let mut owner = Station::new(2);
    owner.set(Mode::HoldOwn);
    for packet in first..held {
        owner.receive(Source::Direct, packet);
    }
    for packet in 0..marked {
        owner.receive(Source::Member(member(1)), packet);
    }
    // What the master no longer held is seen directly only.
    owner.receive(Source::Direct, held);
    if by_deadline {
        owner.wait(Limits::default().hold_own_ns);
    } else {
        owner.release(ReleaseTo::Here, vec![]);
    }
    owner.receive(Source::Direct, held + 1);
    for packet in marked..held {
        owner.receive(Source::Member(member(1)), packet);
    }
    owner.set(Mode::Mine);
    owner.receive(Source::Direct, held + 2);
    owner
}

proptest! {
    #[test]
    fn each_packet_is_processed_once(held in 0..40u64, first in 0..40u64, marked in 0..40u64, deadline: bool) {
        let (first, marked) = (first.min(held), marked.min(held));
        let owner = takeover(held, first, marked, deadline);
        let mut processed = owner.diary.processed.clone();
        // In order, as long as the marker keeps its promise to come last.
        if marked == held {
            prop_assert!(processed.is_sorted(), "{:?}", processed);
        }
        processed.sort_unstable();
        prop_assert_eq!(processed, (0..held + 3).collect::<Vec<_>>());
        owner.assert_balance();
    }
}

#[test]
fn direct_copies_that_come_after_the_marker_are_known() {
    let mut owner = Station::new(2);
    owner.set(Mode::HoldOwn);
    owner.receive(Source::Member(member(1)), 1);
    owner.release(ReleaseTo::Here, vec![]);
    owner.set(Mode::Mine);
    owner.receive(Source::Direct, 1);
    owner.receive(Source::Direct, 2);
    assert_eq!(owner.diary.processed, [1, 2]);
}

#[test]
fn after_the_grace_time_the_fast_path_is_back() {
    let mut owner = Station::new(2);
    owner.set(Mode::HoldOwn);
    owner.receive(Source::Direct, 1);
    owner.release(ReleaseTo::Here, vec![]);
    owner.set(Mode::Mine);
    assert_eq!(owner.engine.codes()[unit().index()], code::SLOW);
    owner.wait(Limits::default().grace_ns);
    assert_eq!(owner.engine.codes()[unit().index()], code::MINE);
    assert_eq!(owner.engine.poll_timeout(), None);
}

#[test]
fn a_log_that_overflowed_never_lets_a_packet_be_processed_twice() {
    let limits = Limits { digests_per_unit_max: 2, ..Limits::default() };
    let mut owner = Station::with_limits(2, limits);
    owner.set(Mode::HoldOwn);
    for packet in 0..4 {
        owner.receive(Source::Direct, packet);
        owner.receive(Source::Member(member(1)), packet);
    }
    owner.release(ReleaseTo::Here, vec![]);
    assert_eq!(owner.diary.processed, [0, 1, 2, 3]);
    owner.assert_balance();
}
