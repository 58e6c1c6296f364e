//! The world under many plans.

use super::plan::{Plan, Planted};
use super::world::{MS, World};

fn run(plan: Plan) -> World {
    if std::env::var("TCP_SHOW").is_ok() {
        eprintln!("{plan:?}");
    }
    let mut world = World::new(plan);
    world.run();
    for side in &world.sides {
        assert_eq!(side.fault, None, "seed {}", world.plan.seed);
        assert!(side.ended && side.established || world.plan.takeover_ns > 0);
    }
    world
}

#[test]
fn bytes_pass_both_ways_over_a_good_network() {
    let world = run(Plan::new(1));
    assert!(world.now_ns < 2000 * MS, "{}", world.now_ns);
}

#[test]
fn bytes_pass_over_bad_networks_with_any_options() {
    for seed in seeds(80) {
        run(Plan::random(seed));
    }
}

#[test]
fn a_restored_endpoint_goes_on_where_the_saved_one_was() {
    let mut takeovers = 0;
    // 2269: both restored, each with numbers that the other had left behind, and with shut windows.
    for seed in seeds(120).chain([2269]) {
        let mut plan = Plan::random(seed);
        plan.takeover_ns = [30, 200, 2000][seed as usize % 3] * MS;
        let world = run(plan);
        takeovers += world.sides.iter().map(|side| side.takeovers).sum::<usize>();
    }
    assert!(takeovers > 200, "{takeovers}");
}

/// Which seeds; TCP_SEEDS and TCP_FIRST say others.
fn seeds(least: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let first = number("TCP_FIRST").unwrap_or(0);
    first..first + number("TCP_SEEDS").unwrap_or(least)
}

/// The checks are worth something: each fault is found, and soon.
#[test]
fn planted_faults_are_found() {
    for planted in [Planted::AckBeforeCommit, Planted::SendBeforeCommit, Planted::ClockForgotten] {
        let found = (0..200).find(|seed| {
            let mut plan = Plan::random(*seed);
            plan.takeover_ns = 200 * MS;
            plan.commit_ns = plan.commit_ns.max(MS / 10);
            plan.planted = Some(planted);
            let mut world = World::new(plan);
            world.run();
            world.sides.iter().any(|side| side.fault.is_some())
        });
        assert!(found.is_some(), "{planted:?}");
    }
}
