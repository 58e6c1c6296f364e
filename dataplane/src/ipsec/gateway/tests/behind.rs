//! What a change of owners costs a peer that waits for answers.

use super::ike::{CHILD_IN, CHILD_OUT, add, child};
use super::*;
use crate::app::Way;

const NEW_IN: u32 = CHILD_IN + 1024;
const NEW_OUT: u32 = 0x7_0001;

impl World {
    /// Packets come fast enough for a lease that goes ahead of them.
    fn hurry(&mut self, peer: &mut Peer) {
        for mark in 0..1000 {
            let frame = peer.seal(&packet(BRANCH, INSIDE, mark, 100, 0));
            self.owner().hear(&frame).expect("taken");
            self.replicate();
            self.owner().wait(MS / 5);
        }
        assert_eq!(self.delivered().len(), 1000);
        let ahead = self.owner().tunnel(CHILD_IN).inbound.left();
        assert!((20..400).contains(&ahead), "{ahead}");
    }

    /// As an owner stops in a planned move: the next one begins when it holds all that was said.
    fn hand_over(&mut self) {
        let owner = self.owner();
        owner.desk.owned = false;
        owner.gateway.handle_units(&mut owner.desk, &UnitSet::EMPTY, &Unit::all().collect());
        self.replicate();
        self.turn();
    }

    /// One packet of the peer's, alone or in a burst. Why it was refused, if it was.
    fn hears(&mut self, frame: &[u8], in_burst: bool) -> Option<DropReason> {
        let heard = if in_burst {
            self.owner().take_burst_of(CHILD_IN, Way::OutOf, &[frame.to_vec()]).pop()
        } else {
            self.owner().hear(frame).err()
        };
        self.replicate();
        heard
    }
}

/// A tunnel whose peer is fast, and its peer.
fn hurried() -> (World, TunnelSpec, Peer) {
    let (mut world, spec) = (World::speaking(), child(CHILD_IN, CHILD_OUT, None));
    let mut peer = Peer::new(&spec);
    world.establish(&spec);
    world.hurry(&mut peer);
    (world, spec, peer)
}

#[test]
fn a_peer_that_does_not_come_past_is_given_new_keys() {
    for in_burst in [false, true] {
        let mut world = World::speaking();
        let (old, new) = (child(CHILD_IN, CHILD_OUT, None), child(NEW_IN, NEW_OUT, None));
        let mut peer = Peer::new(&old);
        let ike_spi = world.establish(&old);
        world.hurry(&mut peer);
        world.turn();
        // What came into the death comes again, at once. Then TCP tries again after 200 ms, 400 ms, ...
        let last: Vec<_> = (0..3).map(|_| peer.seal(&packet(BRANCH, INSIDE, 1, 100, 0))).collect();
        for frame in &last {
            assert_eq!(world.hears(frame, in_burst), Some(DropReason::EspReplayed));
        }
        world.owner().wait(200 * MS);
        assert_eq!(world.hears(&last[2], in_burst), Some(DropReason::EspReplayed));
        world.owner().wait(400 * MS);
        assert_eq!(world.owner().wishes(), [], "it may have said nothing since then");
        let frame = peer.seal(&packet(BRANCH, INSIDE, 1, 100, 0));
        assert_eq!(world.hears(&frame, in_burst), Some(DropReason::EspReplayed));
        world.owner().wait(50 * MS);
        assert_eq!(world.owner().wishes(), [(ike_spi, Wish::RekeyChild(CHILD_IN))]);
        assert_eq!((world.owner().ike_count("keys_behind"), world.owner().ike_count("keys_worn")), (1, 0));
        world.change(ike_spi, vec![add(&new, Some(CHILD_IN))]);
        world.replicate();
        let frame = Peer::new(&new).seal(&packet(BRANCH, INSIDE, 7, 100, 0));
        assert_eq!(world.owner().hear(&frame), Ok(()));
        world.replicate();
        assert_eq!(world.delivered(), [7]);
        world.owner().wait(1000 * MS);
        assert_eq!(world.owner().wishes(), [], "once is enough");
    }
}

/// What is above the limit may have to wait until the backups have time; its peer has come past all the same.
#[test]
fn whoever_waits_for_a_commit_is_not_behind() {
    let (mut world, spec, mut peer) = hurried();
    world.turn();
    let frame = peer.seal(&packet(BRANCH, INSIDE, 1, 100, 0));
    assert_eq!(world.owner().hear(&frame), Err(DropReason::EspReplayed));
    world.owner().wait(200 * MS);
    let limit = world.owner().tunnel(CHILD_IN).inbound.next();
    for number in [limit - 1, limit] {
        let frame = Peer::new(&spec).seal_as(&packet(BRANCH, INSIDE, 1, 100, 0), number);
        assert_eq!(world.owner().hear(&frame).err(), (number < limit).then_some(DropReason::EspReplayed));
        world.owner().wait(200 * MS);
    }
    // It was asked for before that came: no other keys are wanted now.
    assert_eq!(world.owner().wishes().len(), 1);
    world.owner().wait(20_000 * MS);
    assert_eq!(world.owner().wishes(), []);
}

#[test]
fn nobody_is_given_new_keys_who_comes_past_or_proves_nothing() {
    let (mut world, spec, mut peer) = hurried();
    let next = peer.sent + 1;
    world.turn();
    let mut forged = Peer::new(&spec).seal_as(&packet(BRANCH, INSIDE, 1, 100, 0), next);
    *forged.last_mut().expect("an ICV") ^= 1;
    assert_eq!(world.hears(&forged, false), Some(DropReason::EspBadIcv));
    world.owner().wait(1000 * MS);
    assert_eq!(world.owner().wishes(), []);
    let mut refused = 0;
    for mark in 1000..1600 {
        let frame = peer.seal(&packet(BRANCH, INSIDE, mark, 100, 0));
        refused += usize::from(world.hears(&frame, mark % 2 == 0).is_some());
        world.owner().wait(MS / 5);
    }
    assert!((20..400).contains(&refused), "{refused}");
    assert_eq!(world.delivered(), (1000 + refused as u32..1600).collect::<Vec<_>>());
    world.owner().wait(1000 * MS);
    assert_eq!(world.owner().wishes(), []);
    // What comes again later is nothing but a replay.
    let frame = Peer::new(&spec).seal_as(&packet(BRANCH, INSIDE, 1, 100, 0), peer.sent - 9);
    assert_eq!(world.hears(&frame, false), Some(DropReason::EspReplayed));
    world.owner().wait(1000 * MS);
    assert_eq!(world.owner().wishes(), []);
}

/// However fast it was, whoever owned it: the next owner lets in the next number, and none that was let in, and sends on without a gap.
#[test]
fn a_planned_move_skips_nothing() {
    for in_burst in [false, true] {
        let mut world = World::speaking();
        let spec = child(CHILD_IN, CHILD_OUT, None);
        let mut peer = Peer::new(&spec);
        world.establish(&spec);
        for turn in 0..4 {
            world.hurry(&mut peer);
            let last = peer.sent;
            world.owner().send_into(CHILD_IN, &packet(INSIDE, BRANCH, turn, 100, 0)).expect("taken");
            world.hand_over();
            let replay = Peer::new(&spec).seal_as(&packet(BRANCH, INSIDE, 1, 100, 0), last);
            assert_eq!(world.hears(&replay, in_burst), Some(DropReason::EspReplayed));
            let frame = peer.seal(&packet(BRANCH, INSIDE, 7, 100, 0));
            assert_eq!(world.hears(&frame, in_burst), None);
            assert_eq!(world.delivered(), [7]);
            world.opened_by(&mut [&mut peer]);
        }
        assert_eq!((peer.got, peer.highest), (vec![0, 1, 2, 3], 4));
    }
}
