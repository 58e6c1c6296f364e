//! The simulator finds what is planted, finds nothing where nothing is, and repeats itself exactly.

use phalanx_control::cluster::Fault;
use phalanx_tests::sim::{self, Options};

const SEEDS: u64 = 200;

fn is_found(fault: Fault) {
    let options = Options { fault: Some(fault), ..Options::default() };
    let found = (0..SEEDS).find_map(|seed| sim::World::run(seed, &options).err());
    let found = found.unwrap_or_else(|| panic!("{fault:?} was not found within {SEEDS} seeds"));
    println!("{fault:?}: seed {}, {}", found.seed, found.what);
}

#[test]
fn leases_that_never_lapse_are_found() {
    is_found(Fault::NoLeaseCheck);
}

#[test]
fn dropped_hold_buffers_are_found() {
    is_found(Fault::HoldDropped);
}

#[test]
fn two_owners_are_found() {
    is_found(Fault::TwoOwners);
}

#[test]
fn heirs_that_hold_nothing_are_found() {
    is_found(Fault::HeirsUnasked);
}

#[test]
fn without_a_planted_fault_nothing_is_found() {
    for seed in 0..SEEDS {
        if let Err(violation) = sim::run(seed, &Options::default()) {
            let tail = violation.trace.len().saturating_sub(100);
            panic!("seed {seed}: {}\n{}", violation.what, violation.trace[tail..].join("\n"));
        }
    }
}

#[test]
fn a_seed_repeats_itself() {
    for seed in 0..5 {
        let (first, second) = (sim::World::run(seed, &Options::default()), sim::World::run(seed, &Options::default()));
        let (first, second) = (first.map_err(|v| (v.step, v.what)), second.map_err(|v| (v.step, v.what)));
        assert_eq!(first, second);
    }
}

/// A lone kill in a healthy cluster: `sim` checks every blackout against `give_away(n)` and two periods.
#[test]
fn blackouts_stay_within_their_bound_at_three_milliseconds_too() {
    let options = Options { period_ms: Some(3), ..Options::default() };
    let mut longest = 0;
    for seed in 0..20 {
        if let Ok(report) = sim::run(seed, &options) {
            longest = longest.max(report.blackout_ns);
        }
    }
    // At the most allowed losses (20, under heavy loss) that is 21.5 + 2 periods.
    assert!((6_000_000..71_000_000).contains(&longest), "{longest} ns");
}
