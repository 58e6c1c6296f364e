//! A peer that is a cluster wants numbers skipped (RFC 6311): they are, once and for all owners.

use super::ike::{changed, child, request};
use super::*;

const CHILD_IN: u32 = 0x5_0000 | 77;

fn send(world: &mut World, marks: std::ops::Range<u32>) {
    for mark in marks {
        world.owner().send_into(CHILD_IN, &packet(INSIDE, BRANCH, mark, 100, 0)).expect("taken");
    }
    world.replicate();
    world.peer_opens();
}

#[test]
fn numbers_are_skipped_and_heirs_know() {
    let many = u64::from(u16::MAX) * 3;
    for (count, asleep, dies) in [(7, false, false), (many, false, false), (many, true, false), (many, false, true)] {
        let mut world = World::speaking();
        let spi = world.establish(&child(CHILD_IN, 0x6_0001, None));
        send(&mut world, 0..5);
        assert_eq!(world.peer.highest, 5);
        if asleep {
            world.turn();
        }
        let before = world.peer.highest;
        let owner = world.owner();
        owner.hear(&request(0xabcd, spi, 2)).expect("taken");
        let children = vec![ChildChange::Skip { spi: CHILD_IN, count }];
        owner.answer_all(|question| Answer { children: children.clone(), ..changed(question, b"skipped") });
        if count == many {
            assert!(owner.replies().is_empty(), "the backups do not know yet");
        }
        world.replicate();
        drop(world.owner().replies());
        if dies {
            world.turn();
        }
        send(&mut world, 5..10);
        let highest = world.peer.highest;
        assert!(highest >= before + count + 5 && world.peer.got.len() == 10, "{highest} after {before}, {count}");
        // Another owner does not go back.
        world.turn();
        send(&mut world, 10..15);
        assert!(world.peer.highest > highest && world.peer.got.len() == 15);
    }
}

#[test]
fn a_tunnel_that_is_not_there_skips_nothing() {
    let mut world = World::speaking();
    let spi = world.establish(&child(CHILD_IN, 0x6_0001, None));
    for (child, refused) in [(CHILD_IN + 1024, 0), (CHILD_IN + 1, 1)] {
        let owner = world.owner();
        owner.hear(&request(0xabcd, spi, 2)).expect("taken");
        let children = vec![ChildChange::Skip { spi: child, count: 5 }];
        owner.answer_all(|question| Answer { children: children.clone(), ..changed(question, b"on") });
        assert_eq!(owner.ike_count("refused"), refused);
    }
}
