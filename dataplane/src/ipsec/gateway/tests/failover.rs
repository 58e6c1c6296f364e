//! Owners that come and go.

use super::*;

/// The tunnel goes to and fro, whatever was told or not: no number, no IV twice (the peer looks), no replay let in.
#[test]
fn a_tunnel_outlives_its_owners() {
    for numbers in [Numbers::Short, Numbers::Extended] {
        let mut world = World::new(numbers);
        let mut heard: Vec<Vec<u8>> = Vec::new();
        let mut delivered = Vec::new();
        for turn in 0..60_u32 {
            let marks = turn * 100..turn * 100 + 20;
            world.inside_sends(marks.clone());
            for mark in marks.clone() {
                let frame = world.peer.seal(&packet(BRANCH, INSIDE, mark, 100, 0));
                let _ = world.owner().hear(&frame);
                heard.push(frame);
                if turn % 3 == 0 {
                    world.replicate();
                }
            }
            match turn % 4 {
                0 => world.replicate(),
                1 => world.ship(),
                _ => {}
            }
            world.peer_opens();
            delivered.extend(world.delivered());
            if turn % 5 == 1 {
                world.owner().wait(200 * MS);
            }
            world.turn();
            // All that was ever sent comes again.
            for frame in &heard {
                let _ = world.owner().hear(frame);
            }
            world.replicate();
            delivered.extend(world.delivered());
        }
        let once: HashSet<_> = delivered.iter().collect();
        assert_eq!(once.len(), delivered.len(), "a replay was let in");
        assert!(delivered.len() >= 60 * 20 / 3, "{} packets came through", delivered.len());
        assert!(world.members.iter().all(|it| it.count("not_restored") == 0 && it.count("restored") > 0));
    }
}

/// One packet at a time, each committed: then an owner's death costs none of the next ones.
#[test]
fn a_slow_peer_loses_nothing() {
    let mut world = World::new(Numbers::Extended);
    for mark in 0..40 {
        world.peer_sends(mark..mark + 1);
        world.replicate();
        world.owner().wait(100 * MS);
        if mark % 3 == 0 {
            world.turn();
        }
    }
    let mut delivered = world.delivered();
    delivered.sort_unstable();
    assert_eq!(delivered, (0..40).collect::<Vec<_>>());
}

/// What an owner did that nobody knows of is nothing that anybody saw.
#[test]
fn what_was_not_committed_was_not_shown() {
    let mut world = World::new(Numbers::Short);
    world.inside_sends(0..5);
    world.peer_sends(0..5);
    assert!(world.peer.got.is_empty() && world.delivered().is_empty());
    world.turn();
    world.replicate();
    world.members.iter_mut().for_each(|it| it.gateway.handle_commit(&mut it.desk));
    assert_eq!(world.members[1].count("wait_lost") + world.members[0].count("wait_lost"), 10);
    world.inside_sends(5..10);
    world.replicate();
    world.peer_opens();
    assert_eq!(world.peer.got, [5, 6, 7, 8, 9]);
}

/// In a planned move, what waits for its commit goes on when the next owner knows of it, which then lets none of it in again.
#[test]
fn a_planned_move_loses_nothing_that_waits() {
    let mut world = World::new(Numbers::Extended);
    let frames: Vec<_> = (0..6).map(|mark| world.peer.seal(&packet(BRANCH, INSIDE, mark, 100, 0))).collect();
    for frame in [0, 1, 1, 3, 5, 3].map(|at: usize| &frames[at]) {
        let _ = world.owner().hear(frame);
    }
    world.stop();
    world.ship();
    assert_eq!(world.delivered(), [0_u32; 0], "nobody has said yet that the backup holds it");
    world.replicate();
    assert_eq!(world.delivered(), [0, 1, 3, 5]);
    world.turn();
    for frame in &frames {
        let _ = world.owner().hear(frame);
    }
    world.replicate();
    assert!(world.delivered().is_empty());
    world.peer_sends(6..8);
    world.replicate();
    assert_eq!(world.delivered(), [6, 7]);
    assert_eq!(world.members.each_ref().map(|it| it.count("wait_lost")), [0, 0]);
}

/// But not when the table has given the tunnel away meanwhile, or did and gave it back: an heir may not know of it.
#[test]
fn what_left_with_a_tunnel_that_was_given_away_is_lost() {
    for comes_back in [false, true] {
        let mut world = World::new(Numbers::Extended);
        world.peer_sends(0..3);
        world.stop();
        world.turn();
        if comes_back {
            world.turn();
        }
        world.members.iter_mut().for_each(|it| it.gateway.handle_commit(&mut it.desk));
        world.replicate();
        assert!(world.delivered().is_empty());
        let lost: u64 = world.members.iter().map(|it| it.count("wait_lost")).sum();
        assert_eq!(lost, 3);
        world.peer_sends(3..5);
        world.replicate();
        assert_eq!(world.delivered(), [3, 4]);
    }
}

/// Both believe to own the tunnel, and both send: numbers can meet then, IVs cannot.
#[test]
fn two_owners_at_once_have_no_iv_in_common() {
    let spec = spec(Numbers::Extended);
    let mut ivs = HashSet::new();
    let mut members = [Member::new(1, 5, &spec), Member::new(1, 6, &spec), Member::new(2, 5, &spec)];
    for round in 0..50 {
        for member in &mut members {
            let all: UnitSet = Unit::all().collect();
            if round % 10 == 3 {
                member.gateway.handle_units(&mut member.desk, &UnitSet::EMPTY, &all);
                // What comes back is older than what was sent.
                member.desk.store.clear(unit());
            }
            member.send(&packet(INSIDE, BRANCH, round, 100, 0)).expect("taken");
            for frame in member.desk.to_peer.drain(..) {
                assert!(ivs.insert(frame[28..36].to_vec()), "an IV came twice");
            }
        }
    }
    assert_eq!(ivs.len(), 150);
}

/// A record of other keys is none of this tunnel's.
#[test]
fn other_keys_begin_anew() {
    let mut world = World::new(Numbers::Short);
    world.inside_sends(0..5);
    world.replicate();
    let mut other = spec(Numbers::Short);
    other.outbound.keys = Keys::new(other.protection.transform(), &[9; 20], &[]).expect("keys");
    let config = GatewayConfig::new(member(2), vec![other], REPLICA_KEY);
    let at = 1 - world.owner;
    *world.members[at].gateway = Gateway::new(config, Arc::new(BuiltIn), TunnelStats::new(1));
    world.turn();
    world.owner().send(&packet(INSIDE, BRANCH, 5, 100, 0)).expect("taken");
    world.replicate();
    let owner = world.owner();
    assert_eq!((owner.count("not_restored"), owner.count("packets_out")), (1, 1));
    let frame = &owner.desk.to_peer[0];
    assert_eq!(esp::header(&frame[20..]), Some((SPI_OUT, 1)));
}

/// What is awake and what is in a store have the same digest, and a snapshot makes the one of the other.
#[test]
fn a_snapshot_says_what_the_log_said() {
    let mut world = World::new(Numbers::Short);
    world.inside_sends(0..5);
    world.peer_sends(0..5);
    world.replicate();
    let at = world.owner;
    let held = world.members[1 - at].desk.store.digest(unit());
    let live = world.members[at].gateway.digest(unit());
    assert_eq!(live, held);
    let member = &mut world.members[at];
    let all: UnitSet = Unit::all().collect();
    member.gateway.handle_units(&mut member.desk, &UnitSet::EMPTY, &all);
    world.ship();
    let held = world.members[1 - at].desk.store.digest(unit());
    let member = &mut world.members[at];
    assert_eq!((member.gateway.digest(unit()), member.desk.store.digest(unit())), (0, held));
}
