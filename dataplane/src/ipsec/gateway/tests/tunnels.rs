//! Tunnels that IKE makes: their traffic, whose it is, and how they come, move and go.

use super::ike::{CHILD_IN, CHILD_OUT, add, at, changed, child, datagram, request};
use super::*;
use crate::ipsec::gateway::record::session_key;

const NAT: Ports = Ports { source: 4500, destination: 61_234 };
const NEW_IN: u32 = CHILD_IN + 1024;

impl Member {
    /// A packet from inside goes where the policies say.
    fn pass(&mut self, mark: u32) -> Passing {
        let packet = packet(INSIDE, BRANCH, mark, 100, 0);
        let judged = self.judge(&packet);
        if let Passing::Into(spi) = judged {
            self.send_into(spi, &packet).expect("taken");
        }
        judged
    }

    fn judge(&self, packet: &[u8]) -> Passing {
        self.desk.policies.judge(&summarise_l3(packet).expect("a packet"))
    }

    fn ways(&self) -> Passing {
        self.judge(&packet(INSIDE, BRANCH, 0, 100, 0))
    }

    fn child_count(&self, event: &str) -> u64 {
        let counters = self.gateway.counters.of(usize::MAX);
        counters.iter().find(|(name, ..)| *name == event).map_or_else(|| panic!("no {event}"), |(.., count)| count)
    }
}

impl World {
    /// The IKE SA is told something, and its tunnels change.
    pub(super) fn change(&mut self, ike_spi: u64, children: Vec<ChildChange>) {
        self.owner().hear(&request(0xabcd, ike_spi, 2)).expect("taken");
        let answer = |question: &Question| Answer { children: children.clone(), ..changed(question, b"two") };
        assert_eq!(self.owner().answer_all(answer), 1);
    }

    /// Traffic goes both ways, whoever the owner is.
    fn passes_both_ways(&mut self, marks: std::ops::Range<u32>) {
        self.peer.got.clear();
        for mark in marks.clone() {
            assert_eq!(self.owner().pass(mark), Passing::Into(CHILD_IN));
            let frame = self.peer.seal(&packet(BRANCH, INSIDE, mark, 100, 0));
            self.owner().hear(&frame).expect("taken");
        }
        self.replicate();
        self.peer_opens();
        assert_eq!(self.peer.got, marks.clone().collect::<Vec<_>>());
        assert_eq!(self.delivered(), marks.collect::<Vec<_>>());
    }
}

#[test]
fn a_tunnel_of_ikes_outlives_its_owners() {
    for udp in [None, Some(NAT)] {
        let mut world = World::speaking();
        let spec = child(CHILD_IN, CHILD_OUT, udp);
        world.peer = Peer::new(&spec);
        world.establish(&spec);
        for turn in 0..6 {
            world.passes_both_ways(turn * 20..turn * 20 + 20);
            if turn % 2 == 0 {
                // What waits when the owner changes is counted.
                world.owner().wait(200 * MS);
                world.replicate();
            }
            world.turn();
        }
        assert!(world.members.iter().all(|it| it.child_count("restored") > 0 && it.child_count("not_restored") == 0));
        assert!(world.members.iter().all(|it| it.ike_count("tunnels") <= 1));
    }
}

#[test]
fn what_goes_through_a_nat_is_udp() {
    let mut world = World::speaking();
    let spec = child(CHILD_IN, CHILD_OUT, Some(NAT));
    world.establish(&spec);
    world.owner().pass(1);
    world.replicate();
    let frame = world.owner().desk.to_peer.pop().expect("a packet");
    let summary = summarise_l3(&frame).expect("a packet");
    assert_eq!((summary.proto, summary.src_port, summary.dst_port), (proto::UDP, 4500, 61_234));
    // The peer may send without UDP all the same.
    let mut bare = Peer::new(&child(CHILD_IN, CHILD_OUT, None));
    assert_eq!(world.owner().hear(&bare.seal(&packet(BRANCH, INSIDE, 5, 100, 0))), Ok(()));
    world.replicate();
    assert_eq!(world.delivered(), [5]);
}

/// Nothing goes into a tunnel before the backups hold it, and then all members know whose its traffic is.
#[test]
fn policies_come_with_the_commit_and_go_with_the_tunnel() {
    let mut world = World::speaking();
    world.owner().hear(&request(0xabcd, 0, 1)).expect("taken");
    let children = vec![add(&child(CHILD_IN, CHILD_OUT, None), None)];
    world.owner().answer_all(|question| Answer { children: children.clone(), ..changed(question, b"one") });
    assert_eq!((world.owner().ways(), world.backup().ways()), (Passing::Clear, Passing::Clear));
    world.ship();
    assert_eq!((world.owner().ways(), world.backup().ways()), (Passing::Clear, Passing::Into(CHILD_IN)));
    world.replicate();
    assert_eq!(world.owner().ways(), Passing::Into(CHILD_IN));
    for _ in 0..3 {
        world.turn();
        assert_eq!((world.owner().ways(), world.backup().ways()), (Passing::Into(CHILD_IN), Passing::Into(CHILD_IN)));
        world.owner().pass(1);
        world.replicate();
    }
    // Between two owners, too.
    let (all, owner) = (Unit::all().collect::<UnitSet>(), world.owner());
    owner.gateway.handle_units(&mut owner.desk, &UnitSet::EMPTY, &all);
    assert_eq!(owner.ways(), Passing::Into(CHILD_IN));
    owner.gateway.handle_units(&mut owner.desk, &all, &UnitSet::EMPTY);
    // A backup that has nothing learns of it by a snapshot.
    let at = 1 - world.owner;
    let number = world.members[at].id.number();
    world.members[at] = Member::speaking(number, 20);
    let generation = world.generation;
    world.take(world.owner);
    assert!(world.generation > generation);
    world.replicate();
    assert_eq!(world.backup().ways(), Passing::Into(CHILD_IN));
    // The tunnel goes.
    world.owner().hear(&request(0xabcd, 0, 2)).expect("taken");
    let children = vec![ChildChange::Remove { spi: CHILD_IN }];
    world.owner().answer_all(|question| Answer { children: children.clone(), ..changed(question, b"two") });
    world.replicate();
    assert_eq!((world.owner().ways(), world.backup().ways()), (Passing::Clear, Passing::Clear));
    let frame = world.peer.seal(&packet(BRANCH, INSIDE, 1, 100, 0));
    assert_eq!(world.owner().hear(&frame), Err(DropReason::EspNoSa));
    assert_eq!(world.backup().desk.store.get(unit(), session_key(CHILD_IN)), None);
    assert_eq!(world.owner().ike_count("tunnels"), 0);
}

/// What waits in a tunnel that goes is given back: others may wait in its place.
#[test]
fn a_tunnel_that_goes_lets_go_of_what_waits() {
    let mut world = World::speaking();
    let spi = world.establish(&child(CHILD_IN, CHILD_OUT, None));
    for mark in 0..10 {
        let frame = world.peer.seal(&packet(BRANCH, INSIDE, mark, 100, 0));
        world.owner().hear(&frame).expect("taken");
    }
    world.change(spi, vec![ChildChange::Remove { spi: CHILD_IN }]);
    world.replicate();
    assert_eq!((world.owner().child_count("wait_lost"), world.delivered().len()), (10, 0));
}

/// One that sleeps goes, too.
#[test]
fn a_tunnel_that_sleeps_is_removed() {
    let mut world = World::speaking();
    let spi = world.establish(&child(CHILD_IN, CHILD_OUT, None));
    world.turn();
    assert_eq!(world.owner().ike_count("tunnels"), 0, "it sleeps");
    world.change(spi, vec![ChildChange::Remove { spi: CHILD_IN }]);
    world.replicate();
    assert_eq!((world.owner().ways(), world.backup().ways()), (Passing::Clear, Passing::Clear));
    assert_eq!(world.backup().desk.store.get(unit(), session_key(CHILD_IN)), None);
    world.turn();
    assert_eq!(world.owner().ways(), Passing::Clear);
}

/// Which SPIs of the peer's the packets have that were sent.
fn ways_taken(world: &mut World) -> Vec<u32> {
    world.replicate();
    let frames: Vec<_> = world.members.iter_mut().flat_map(|it| it.desk.to_peer.drain(..)).collect();
    let spi = |frame: Vec<u8>| Some(esp::header(&frame[locate(&frame).ok()?..])?.0);
    frames.into_iter().filter_map(spi).collect()
}

#[test]
fn a_new_tunnel_is_used_when_the_peer_has_shown_that_it_has_it() {
    const NEW_OUT: u32 = 0x7_0001;
    for (by_word, sleeps) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut world = World::speaking();
        let spi = world.establish(&child(CHILD_IN, CHILD_OUT, None));
        world.owner().pass(0);
        assert_eq!(ways_taken(&mut world), [CHILD_OUT]);
        let new = child(NEW_IN, NEW_OUT, None);
        world.change(spi, vec![add(&new, Some(CHILD_IN))]);
        world.replicate();
        world.owner().replies();
        if sleeps {
            world.turn();
        }
        let judged = world.owner().pass(1);
        assert!(matches!(judged, Passing::Into(CHILD_IN | NEW_IN)), "{judged:?}");
        // Whichever the policies name, as they were told in any order.
        world.owner().send_into(NEW_IN, &packet(INSIDE, BRANCH, 2, 100, 0)).expect("taken");
        world.owner().send_into(CHILD_IN, &packet(INSIDE, BRANCH, 2, 100, 0)).expect("taken");
        assert_eq!(ways_taken(&mut world), [CHILD_OUT; 3], "the peer may not have the new one");
        if by_word {
            let frame = Peer::new(&new).seal(&packet(BRANCH, INSIDE, 3, 100, 0));
            world.owner().hear(&frame).expect("taken");
            world.replicate();
            assert_eq!(world.delivered(), [3]);
            if sleeps {
                world.turn();
            }
            world.owner().send_into(NEW_IN, &packet(INSIDE, BRANCH, 4, 100, 0)).expect("taken");
            world.owner().send_into(CHILD_IN, &packet(INSIDE, BRANCH, 4, 100, 0)).expect("taken");
            assert_eq!(ways_taken(&mut world), [NEW_OUT; 2]);
        }
        world.change(spi, vec![ChildChange::Remove { spi: CHILD_IN }]);
        world.replicate();
        world.owner().replies();
        assert_eq!(world.owner().pass(5), Passing::Into(NEW_IN));
        assert_eq!(ways_taken(&mut world), [NEW_OUT]);
        // It is not looked for with every packet, now that it is gone.
        let slots = &world.owner().gateway.slots;
        let number = slots.find(NEW_IN).expect("awake");
        assert_eq!(slots.through(number), Ok(number));
    }
}

#[test]
fn what_is_sent_follows_a_peer_whom_a_nat_has_moved() {
    let mut world = World::speaking();
    let spec = child(CHILD_IN, CHILD_OUT, Some(NAT));
    world.peer = Peer::new(&spec);
    world.establish(&spec);
    world.passes_both_ways(0..5);
    let moved = |frame: &[u8]| datagram(at([192, 0, 2, 77], 7777), at(HERE, 4500), &frame[28..]);
    let destination = |world: &mut World| {
        world.owner().pass(9);
        world.replicate();
        let summary = summarise_l3(&world.owner().desk.to_peer.pop().expect("a packet")).expect("a packet");
        (summary.dst_ip(), summary.dst_port, summary.src_port)
    };
    let late = world.peer.seal(&packet(BRANCH, INSIDE, 20, 100, 0));
    let frame = world.peer.seal(&packet(BRANCH, INSIDE, 21, 100, 0));
    let mut forged = moved(&frame);
    *forged.last_mut().expect("bytes") ^= 1;
    assert_eq!(world.owner().hear(&forged), Err(DropReason::EspBadIcv));
    assert_eq!(destination(&mut world), (PEER.into(), 61_234, 4500), "nobody else moves it");
    world.owner().hear(&moved(&frame)).expect("taken");
    world.replicate();
    assert_eq!(destination(&mut world), ([192, 0, 2, 77].into(), 7777, 4500));
    assert_eq!(world.owner().child_count("moved"), 1);
    // What was on its way from the old address moves it no more, whether it waits or not.
    world.owner().wait(200 * MS);
    world.owner().hear(&late).expect("taken");
    world.replicate();
    assert_eq!(destination(&mut world), ([192, 0, 2, 77].into(), 7777, 4500));
    assert_eq!(world.delivered(), [21, 20]);
    let late = world.peer.seal(&packet(BRANCH, INSIDE, 22, 100, 0));
    let frame = world.peer.seal(&packet(BRANCH, INSIDE, 23, 100, 0));
    world.owner().hear(&moved(&frame)).expect("taken");
    world.owner().hear(&late).expect("taken");
    assert!(world.delivered().is_empty());
    world.owner().wait(200 * MS);
    world.replicate();
    assert_eq!(world.delivered(), [23, 22]);
    assert_eq!(destination(&mut world), ([192, 0, 2, 77].into(), 7777, 4500));
    world.turn();
    assert_eq!(destination(&mut world), ([192, 0, 2, 77].into(), 7777, 4500), "the heir knows");
}

#[test]
fn ike_moves_a_tunnel() {
    let mut world = World::speaking();
    let spi = world.establish(&child(CHILD_IN, CHILD_OUT, None));
    let (source, destination) = (outer(HERE, PEER).source, [192, 0, 2, 5].into());
    world.change(spi, vec![ChildChange::Move { spi: CHILD_IN, source, destination, udp: Some(NAT) }]);
    world.replicate();
    world.owner().replies();
    for _ in 0..2 {
        world.owner().pass(1);
        world.replicate();
        let summary = summarise_l3(&world.owner().desk.to_peer.pop().expect("a packet")).expect("a packet");
        assert_eq!((summary.dst_ip(), summary.dst_port), ([192, 0, 2, 5].into(), 61_234));
        world.turn();
    }
}

/// Without a tunnel nothing goes, where one is to be.
#[test]
fn what_is_guarded_waits_for_its_tunnel() {
    let mut config = GatewayConfig::new(member(1), Vec::new(), REPLICA_KEY);
    config.guards = vec![child(CHILD_IN, CHILD_OUT, None).selectors];
    let mut policies = config.policies();
    let (out, back) = (packet(INSIDE, BRANCH, 0, 100, 0), packet(BRANCH, INSIDE, 0, 100, 0));
    let judge = |policies: &Policies, packet: &[u8]| policies.judge(&summarise_l3(packet).expect("a packet"));
    assert_eq!((judge(&policies, &out), judge(&policies, &back)), (Passing::Guarded, Passing::Guarded));
    policies.insert(&config.guards[0], CHILD_IN);
    assert_eq!((judge(&policies, &out), judge(&policies, &back)), (Passing::Into(CHILD_IN), Passing::Bare));
}

/// Whose older IKE SAs are to be forgotten, all members hear: the owner when the backups hold the tunnel, the others when they are told.
#[test]
fn all_members_hear_of_a_peer_that_has_come_anew() {
    let mut world = World::speaking();
    let contact = Contact { names: [7; 16], since_s: 990 };
    let spec = TunnelSpec { contact: Some(contact), ..child(CHILD_IN, CHILD_OUT, None) };
    let ike_spi = world.establish(&spec);
    for member in &mut world.members {
        assert_eq!(std::mem::take(&mut member.desk.contacts), [contact]);
    }
    world.change(ike_spi, vec![add(&child(NEW_IN, CHILD_OUT + 1, None), Some(CHILD_IN))]);
    world.replicate();
    for member in &mut world.members {
        assert!(member.desk.contacts.is_empty(), "the next one says nothing");
    }
}
