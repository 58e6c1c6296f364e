//! The simulator finds what is planted, finds nothing where nothing is, and repeats itself exactly.

use phalanx_control::cluster::Fault;
use phalanx_tests::sim::{self, Options, SessionFault, SessionOptions, SessionReport};

const SEEDS: u64 = 200;

fn is_found(fault: Fault) {
    let options = Options { fault: Some(fault), ..Options::default() };
    println!("{fault:?}: {}", find(&options, &format!("{fault:?}")));
}

/// A fault of the sessions is found by this in what a checker says, at a seed at which nothing is found without it: the sessions'
/// simulation has yet to pass by itself.
fn is_found_in_sessions(fault: SessionFault, ipsec: bool, says: impl Fn(&str) -> bool) {
    let options = |fault| Options { sessions: Some(SessionOptions { fault, ipsec }), ..Options::default() };
    let found = (0..SEEDS).find_map(|seed| {
        let violation = sim::World::run(seed, &options(Some(fault))).err().filter(|found| says(&found.what))?;
        sim::World::run(seed, &options(None)).is_ok().then_some(violation)
    });
    let found = found.unwrap_or_else(|| panic!("{fault:?} was not found within {SEEDS} seeds"));
    println!("{fault:?}: seed {}, {}", found.seed, found.what);
}

fn find(options: &Options, fault: &str) -> String {
    let found = (0..SEEDS).find_map(|seed| sim::World::run(seed, options).err());
    let found = found.unwrap_or_else(|| panic!("{fault} was not found within {SEEDS} seeds"));
    format!("seed {}, {}", found.seed, found.what)
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
fn acknowledging_before_the_backups_hold_it_is_found() {
    // What was acknowledged is sent never again: the heir waits for it for ever, or resets the connection.
    is_found_in_sessions(SessionFault::AckBeforeCommit, false, |said| {
        said.contains("no progress") || said.contains("the connection of")
    });
}

#[test]
fn leases_that_are_not_replicated_are_found() {
    is_found_in_sessions(SessionFault::LeaseNotReplicated, false, |said| said.contains("ticket"));
}

#[test]
fn ike_answers_that_no_backup_holds_are_found() {
    is_found_in_sessions(SessionFault::AnswerBeforeCommit, true, |said| said.contains("peer"));
}

#[test]
fn esp_numbers_that_are_not_replicated_are_found() {
    is_found_in_sessions(SessionFault::NumbersNotReplicated, true, |said| {
        said.contains("let in twice") || said.contains("number") && said.contains("comes twice")
    });
}

#[test]
fn a_life_that_is_lived_twice_is_found() {
    is_found_in_sessions(SessionFault::IncarnationReused, true, |said| said.starts_with("IV"));
}

#[test]
fn an_ike_sa_that_goes_on_from_an_old_record_is_found() {
    is_found_in_sessions(SessionFault::OldRecordRestored, true, |said| {
        said.contains("with other words") || said.contains("its gateway") || said.contains("has tunnels")
    });
}

#[test]
fn an_old_owner_that_nobody_stops_is_found() {
    is_found_in_sessions(SessionFault::FenceIgnored, true, |said| {
        said.contains("twice") || said.contains("with other words") || said.contains("its gateway")
    });
}

#[test]
fn peers_with_ipsec_notice_nothing() {
    let options = Options { sessions: Some(SessionOptions { fault: None, ipsec: true }), ..Options::default() };
    let mut seen = SessionReport::default();
    // A few second owners send most of what they all send: how much that is in fewer seeds is chance.
    for seed in 0..2 * SEEDS {
        match sim::run(seed, &options) {
            Ok(report) => seen.add(&report.sessions),
            Err(violation) => panic!("seed {seed}: {}", violation.what),
        }
    }
    assert!(seen.words > 10_000 && seen.answers > 10_000 && seen.takeovers > 100, "{seen:?}");
    assert!(seen.tunnels > seen.handshakes, "they get new keys: {seen:?}");
    assert!(seen.dual_units > 20 && seen.dual_sent > 100 && seen.dual_let_in > 0, "two owners are forced: {seen:?}");
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
