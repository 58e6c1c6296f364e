//! Heirs, moves and farewells, where units have sessions: nobody gets a unit who does not hold them, if somebody does.

use super::*;

impl Net {
    /// Two members that hold each other's sessions, and a newcomer that holds nothing yet.
    fn with_newcomer(replicas: Replicas) -> Self {
        let mut net = Self::new(&[]);
        net.quick = [1, 2].into();
        for number in [1, 2] {
            net.start_with(number, replicas);
        }
        net.run(Span::from_ms(2000));
        assert_eq!((net.share(1), net.share(2)), (UNITS / 2, UNITS / 2));
        net.start_with(3, replicas);
        net.run(Span::from_ms(500));
        assert_eq!(net.members(1), 3);
        net
    }

    fn start_with(&mut self, number: u8, replicas: Replicas) {
        self.start(Settings { replicas: Some(replicas), ..settings(number) });
    }

    fn members(&self, number: u8) -> usize {
        self.cores[&number].snapshot(self.now).members.len()
    }

    fn unheld(&self) -> bool {
        self.events.iter().any(|(_, event)| matches!(event, ClusterEvent::HeirsNotInSync(_)))
    }
}

#[test]
fn a_newcomer_that_holds_nothing_inherits_nothing_and_is_given_nothing() {
    for victim in [1, 2] {
        let mut net = Net::with_newcomer(Replicas::All);
        assert_eq!(net.share(3), 0);
        let heir = 3 - victim;
        net.cores.remove(&victim);
        net.leases.remove(&victim);
        net.run(Span::from_ms(200));
        assert_eq!((net.share(heir), net.share(3)), (UNITS, 0), "after the death of {victim}");
        assert!(!net.unheld());
    }
}

#[test]
fn a_newcomer_gets_its_share_once_it_holds_the_sessions() {
    let mut net = Net::with_newcomer(Replicas::All);
    net.quick.insert(3);
    net.run(Span::from_ms(5000));
    assert!(net.share(3) > UNITS / 4, "{}", net.share(3));
}

#[test]
fn heirs_that_hold_nothing_are_counted() {
    let mut net = Net::with_newcomer(Replicas::All);
    net.quick.clear();
    net.run(Span::from_ms(100));
    net.cores.remove(&2);
    net.leases.remove(&2);
    net.run(Span::from_ms(200));
    assert!(net.unheld());
    assert_eq!(net.share(1) + net.share(3), UNITS);
    assert_eq!(net.cores[&1].snapshot(net.now).heirs_not_in_sync, UNITS as u64 / 2);
}

/// Of all followers a new master has had each owner's word, the dead master's too.
#[test]
fn a_successor_knows_who_holds_the_dead_masters_units() {
    let mut net = Net::with_newcomer(Replicas::All);
    net.quick.insert(3);
    net.run(Span::from_ms(5000));
    assert_eq!(net.master(), 1);
    // The next in the list falls out of sync, and only then the master dies.
    net.quick.remove(&2);
    net.run(Span::from_ms(50));
    let (before, dying) = (net.share(2), net.share(1));
    net.cores.remove(&1);
    net.leases.remove(&1);
    net.run(Span::from_ms(60));
    assert_eq!(net.master(), 2);
    assert_eq!((net.share(2), net.share(3)), (before, UNITS - before), "{dying} units were the master's");
    assert!(!net.unheld());
}

/// A master dies, its successor lacks a majority until just that one comes back: in another life, in which it holds nothing.
#[test]
fn who_comes_back_before_its_heirs_are_named_is_no_heir_of_its_own() {
    let mut net = Net::new(&[]);
    net.quick = [1, 2, 3].into();
    for number in 1..=3 {
        let with = Settings { replicas: Some(Replicas::All), quorum: Quorum::Majority, ..settings(number) };
        net.start(with);
    }
    net.run(Span::from_ms(5000));
    assert_eq!(net.master(), 1);
    let (first, third) = (net.share(1), net.share(3));
    assert!(first > 0 && third > 0);
    net.cores.remove(&1);
    net.leases.remove(&1);
    net.unheard = Some(3);
    net.quick.remove(&1);
    net.run(Span::from_ms(300));
    let members = [1, 2, 3].map(member).to_vec();
    let again = Settings {
        replicas: Some(Replicas::All),
        quorum: Quorum::Majority,
        incarnation: 9,
        last_membership: members,
        ..settings(1)
    };
    net.start(again);
    net.run(Span::from_ms(1000));
    assert_eq!((net.master(), net.members(2)), (2, 2), "{:#?}", net.events);
    assert_eq!((net.share(2), net.share(1)), (UNITS, 0), "{:#?}", net.events);
}

#[test]
fn a_member_leaves_only_when_others_hold_what_it_holds() {
    for leaving in [1, 2] {
        let mut net = Net::with_newcomer(Replicas::All);
        net.cores.get_mut(&leaving).unwrap().handle_drain(net.now);
        net.run(Span::from_ms(3000));
        assert!(net.left.is_empty(), "{leaving} alone holds what the other one owns");
        assert_eq!(net.share(3 - leaving), UNITS);
        net.quick.insert(3);
        net.run(Span::from_ms(2000));
        assert_eq!(net.left, [leaving]);
    }
}

#[test]
fn a_member_that_waits_in_vain_leaves_at_last_and_says_so() {
    let mut net = Net::with_newcomer(Replicas::All);
    net.cores.get_mut(&2).unwrap().handle_drain(net.now);
    net.run(Span::from_ms(14_000));
    assert_eq!(net.left, [2]);
    let warned = |(number, event): &(u8, ClusterEvent)| *number == 2 && matches!(event, ClusterEvent::LeavesUnheld(_));
    assert!(net.events.iter().any(warned));
}

#[test]
fn units_with_one_backup_move_to_whoever_gets_their_sessions_first() {
    let mut net = Net::with_newcomer(Replicas::Count(1));
    for _ in 0..100 {
        net.run(Span::from_ms(20));
        let logs = net.modes.values().flatten().any(|mode| *mode == Mode::MineLogged);
        assert!(!logs, "nothing is noted for a newcomer that cannot follow yet: it might be too much");
    }
    assert_eq!(net.share(3), 0, "it does not come into sync");
    net.quick.insert(3);
    net.run(Span::from_ms(15_000));
    assert!(net.share(3) > UNITS / 4, "{}", net.share(3));
    for backups in net.holders.values().flat_map(|holders| &holders.backups) {
        assert_eq!(backups.iter().count(), 1, "nobody holds what nobody asked for");
    }
    let mut dead = Net::with_newcomer(Replicas::Count(1));
    dead.quick.insert(3);
    dead.run(Span::from_ms(15_000));
    dead.cores.remove(&3);
    dead.leases.remove(&3);
    dead.run(Span::from_ms(200));
    assert!(!dead.unheld() && dead.share(1) + dead.share(2) == UNITS);
}

/// What is known of backups is said soon, not with the next keepalive: the owner may be dead by then.
#[test]
fn heirs_are_known_a_quarter_of_a_period_after_they_hold_what_they_inherit() {
    let mut net = Net::with_newcomer(Replicas::All);
    net.quick.insert(3);
    net.run(Span(STEP.0 + net.cores[&1].settings.period.quarters(1).0));
    for (owner, other) in [(1, 2), (2, 1)] {
        let units: Vec<Unit> = net.cores[&other].table.units_of(member(owner)).collect();
        let known = |unit: &Unit| net.cores[&other].in_sync(*unit).is_some_and(|held| held.contains(member(3)));
        assert!(!units.is_empty() && units.iter().all(known), "{other} of the units of {owner}");
    }
}

#[test]
fn an_owner_learns_that_whoever_names_heirs_knows() {
    let mut net = Net::with_newcomer(Replicas::All);
    for number in [1, 2] {
        let core = &net.cores[&number];
        assert!(core.in_sync_known() > 0, "member {number}");
    }
    // A master that none of its followers hears may be succeeded by one that does not know.
    net.unheard = Some(1);
    net.quick.remove(&2);
    let stamp = net.stamp;
    net.run(Span::from_ms(20));
    assert!(net.stamp > stamp && net.cores[&1].in_sync_known() <= stamp);
}

#[test]
fn what_is_said_of_an_earlier_life_counts_for_no_other() {
    let mut net = Net::with_newcomer(Replicas::All);
    net.quick.insert(3);
    net.run(Span::from_ms(5000));
    // Member 3 dies and comes back, holding nothing.
    net.quick.remove(&3);
    net.cores.remove(&3);
    net.start_with(3, Replicas::All);
    net.run(Span::from_ms(1000));
    net.cores.remove(&2);
    net.leases.remove(&2);
    net.run(Span::from_ms(200));
    assert_eq!((net.share(1), net.share(3)), (UNITS, 0));
}
