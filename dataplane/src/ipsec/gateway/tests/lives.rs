//! How much one pair of keys carries, whoever owns it.

use super::ike::{CHILD_IN, CHILD_OUT, add, child, request};
use super::*;
use crate::app::Way;
use crate::ipsec::gateway::record::{Carried, Essential, VERSION, session_key};
use crate::replica::{Change, Extent, Lease, LeaseRecord};

const NEW_IN: u32 = CHILD_IN + 1024;
const NEW_OUT: u32 = 0x7_0001;
const PACKETS: u64 = 1000;
/// What each of the tests' packets has in it.
const LEN: u64 = 120;

fn of_packets(spec: TunnelSpec) -> TunnelSpec {
    TunnelSpec { life: Life { packets: PACKETS, bytes: 0 }, ..spec }
}

fn of_bytes(bytes: u64) -> TunnelSpec {
    TunnelSpec { life: Life { packets: 0, bytes }, ..child(CHILD_IN, CHILD_OUT, None) }
}

impl Member {
    pub(super) fn tunnel(&mut self, spi: u32) -> &mut super::super::tunnel::Tunnel {
        let number = self.gateway.slots.find(spi).expect("awake");
        self.gateway.slots.tunnel(number).expect("awake")
    }

    /// What IKE is asked for, and of which IKE SA; it says nothing to that.
    pub(super) fn wishes(&mut self) -> Vec<(u64, Wish)> {
        let questions = self.questions();
        let wishes = questions.iter().map(|question| match question.asked {
            Asked::Wish(wish) => (question.spi, wish),
            _ => panic!("{question:?}"),
        });
        let wishes = wishes.collect();
        questions.iter().for_each(|question| self.answer(Answer::nothing(question.ticket, Some(90_000))));
        wishes
    }
}

impl World {
    /// Packets go both ways through a tunnel, ten of each, and a while passes. Answers what was refused.
    fn talk(&mut self, spi: u32, peer: &mut Peer, mark: u32) -> Vec<DropReason> {
        let mut refused = Vec::new();
        for mark in mark..mark + 10 {
            let done = self.owner().send_into(spi, &packet(INSIDE, BRANCH, mark, 100, 0));
            refused.extend(done.err().map(|hindrance| match hindrance {
                Hindrance::Drop(reason) => reason,
                Hindrance::Complaint(..) | Hindrance::Cut { .. } => panic!("{hindrance:?}"),
            }));
            let frame = peer.seal(&packet(BRANCH, INSIDE, mark, 100, 0));
            refused.extend(self.owner().hear(&frame).err());
        }
        self.replicate();
        self.owner().wait(10 * MS);
        refused
    }

    /// What was sent is opened by whom it is for.
    pub(super) fn opened_by(&mut self, peers: &mut [&mut Peer]) {
        for frame in self.members.iter_mut().flat_map(|it| it.desk.to_peer.drain(..)) {
            let Some(at) = locate(&frame).ok().filter(|_| frame[9] == proto::ESP) else { continue };
            let spi = esp::header(&frame[at..]).map(|(spi, _)| spi);
            peers.iter_mut().filter(|peer| Some(peer.spi) == spi).for_each(|peer| peer.open(&frame));
        }
    }
}

#[test]
fn new_keys_come_in_time_and_nothing_is_lost() {
    let mut world = World::speaking();
    let (old, new) = (of_packets(child(CHILD_IN, CHILD_OUT, None)), of_packets(child(NEW_IN, NEW_OUT, None)));
    let (mut first, mut second) = (Peer::new(&old), Peer::new(&new));
    let ike_spi = world.establish(&old);
    let mut marks = (0..).step_by(10);
    let mut asked = Vec::new();
    while asked.is_empty() {
        let mark = marks.next().expect("a mark");
        assert_eq!(world.talk(CHILD_IN, &mut first, mark), [], "mark {mark}");
        world.opened_by(&mut [&mut first]);
        asked = world.owner().wishes();
    }
    assert_eq!(asked, [(ike_spi, Wish::RekeyChild(CHILD_IN))]);
    assert!((PACKETS * 3 / 4..PACKETS - 50).contains(&first.sent), "{}", first.sent);
    assert_eq!(world.owner().ike_count("keys_worn"), 1);
    // The peer takes a moment, and then has them.
    assert_eq!(world.talk(CHILD_IN, &mut first, marks.next().expect("a mark")), []);
    world.opened_by(&mut [&mut first]);
    world.change(ike_spi, vec![add(&new, Some(CHILD_IN))]);
    assert_eq!(world.talk(CHILD_IN, &mut second, marks.next().expect("a mark")), []);
    world.opened_by(&mut [&mut first, &mut second]);
    world.change(ike_spi, vec![ChildChange::Remove { spi: CHILD_IN }]);
    let last = marks.next().expect("a mark");
    assert_eq!(world.talk(NEW_IN, &mut second, last), []);
    world.opened_by(&mut [&mut first, &mut second]);
    let expected: Vec<u32> = (0..last + 10).collect();
    assert_eq!([first.got, second.got].concat(), expected);
    assert_eq!(world.delivered(), expected);
    world.owner().wait(20_000 * MS);
    assert!(world.owner().wishes().is_empty(), "the new ones are young");
    assert_eq!(world.owner().ike_count("lives_over"), 0);
}

/// Nobody hears of the wish, or nobody grants it.
#[test]
fn at_the_end_of_its_life_nothing_goes_through() {
    for burst in [None, Some(10), Some(7), Some(32)] {
        let mut world = World::speaking();
        let spec = of_packets(child(CHILD_IN, CHILD_OUT, None));
        let mut peer = Peer::new(&spec);
        let ike_spi = world.establish(&spec);
        let mut wishes = Vec::new();
        let mut refused = Vec::new();
        for mark in (0..1200).step_by(burst.unwrap_or(10)) {
            if let Some(len) = burst {
                let packets: Vec<_> = (mark..).take(len).map(|mark| packet(INSIDE, BRANCH, mark, 100, 0)).collect();
                refused.extend(world.owner().take_burst_of(CHILD_IN, Way::Into, &packets));
                world.replicate();
                world.owner().wait(len as u64 * MS);
            } else {
                refused.extend(world.talk(CHILD_IN, &mut peer, mark));
            }
            world.opened_by(&mut [&mut peer]);
            wishes.extend(world.owner().wishes());
        }
        assert_eq!(peer.got, (0..PACKETS as u32).collect::<Vec<_>>(), "bursts: {burst:?}");
        assert!(refused.len() >= 200 && refused.iter().all(|it| *it == DropReason::SaExpired), "{refused:?}");
        let frame = Peer::new(&spec).seal_as(&packet(BRANCH, INSIDE, 1, 100, 0), 5000);
        assert_eq!(world.owner().hear(&frame), Err(DropReason::SaExpired));
        assert_eq!(world.owner().take_burst_of(CHILD_IN, Way::OutOf, &[frame]), [DropReason::SaExpired]);
        // First new keys are asked for, a few times more when there is nothing left to be carried, and then that it ends: again and
        // again, with or without traffic.
        for _ in 0..6 {
            world.owner().wait(2500 * MS);
            wishes.extend(world.owner().wishes());
        }
        let [keys, end] = [Wish::RekeyChild(CHILD_IN), Wish::CloseChild(CHILD_IN)].map(|wish| (ike_spi, wish));
        assert_eq!(wishes, [keys, keys, keys, keys, end, end, end]);
        assert_eq!(world.owner().ike_count("lives_over"), 1);
        world.change(ike_spi, vec![ChildChange::Remove { spi: CHILD_IN }]);
        assert_eq!(world.owner().gateway.slots.find(CHILD_IN), None);
    }
}

/// Nobody gives keys that were set by hand a successor: their operator is told, in time and at the end, once by each owner.
#[test]
fn keys_set_by_hand_come_to_their_end() {
    let mut world = World::of(&of_packets(spec(Numbers::Extended)));
    let send = |world: &mut World, mark| {
        let sent = world.owner().send_into(SPI_IN, &packet(INSIDE, BRANCH, mark, 100, 0));
        world.replicate();
        world.owner().wait(10 * MS);
        sent
    };
    let told = |world: &mut World| {
        let counters = world.owner().gateway.counters.of(0);
        [&counters.keys_worn, &counters.lives_over].map(|it| it.load(std::sync::atomic::Ordering::Relaxed))
    };
    let mut worn_at = None;
    for mark in 0..PACKETS as u32 {
        send(&mut world, mark).expect("taken");
        let [worn, over] = told(&mut world);
        assert!(worn <= 1 && over == u64::from(mark == PACKETS as u32 - 1), "{mark}: {worn}, {over}");
        worn_at = worn_at.or_else(|| (worn > 0).then_some(u64::from(mark)));
    }
    assert!(worn_at.is_some_and(|at| (PACKETS * 3 / 4..PACKETS * 7 / 8 + 10).contains(&at)), "{worn_at:?}");
    for owner in ["the first", "its heir"] {
        assert_eq!(send(&mut world, 0), Err(Hindrance::Drop(DropReason::SaExpired)), "{owner}");
        assert_eq!(told(&mut world)[1], 1, "{owner}");
        world.turn();
    }
}

/// What has waited for numbers goes when they come, and no further than all others.
#[test]
fn what_waited_takes_no_number_too_many() {
    for commit_every in 60..140 {
        let mut world = World::of(&of_packets(spec(Numbers::Extended)));
        let mut peer = Peer::new(&of_packets(spec(Numbers::Extended)));
        for mark in 0..4000 {
            let _ = world.owner().send_into(SPI_IN, &packet(INSIDE, BRANCH, mark, 100, 0));
            if mark % commit_every == commit_every - 1 {
                world.replicate();
                world.opened_by(&mut [&mut peer]);
            }
        }
        assert_eq!(peer.got.len(), PACKETS as usize, "a commit every {commit_every} packets");
        let sent = world.owner().send_into(SPI_IN, &packet(INSIDE, BRANCH, 0, 100, 0));
        assert_eq!(sent, Err(Hindrance::Drop(DropReason::SaExpired)));
    }
}

/// Where the older one carries nothing any more, nobody waits for the peer to show that it has the new one.
#[test]
fn what_takes_the_place_of_a_spent_one_is_used_at_once() {
    for (comes_later, sleeps) in [(true, false), (false, false), (true, true)] {
        let mut world = World::speaking();
        let (old, new) = (of_packets(child(CHILD_IN, CHILD_OUT, None)), of_packets(child(NEW_IN, NEW_OUT, None)));
        let ike_spi = world.establish(&old);
        if !comes_later {
            world.change(ike_spi, vec![add(&new, Some(CHILD_IN))]);
        }
        world.owner().send_into(CHILD_IN, &packet(INSIDE, BRANCH, 0, 100, 0)).expect("taken");
        world.replicate();
        let tunnel = world.owner().tunnel(CHILD_IN);
        tunnel.outbound = Lease::restore(Extent::default(), LeaseRecord { limit: PACKETS }, 0);
        let _ = world.owner().send_into(CHILD_IN, &packet(INSIDE, BRANCH, 1, 100, 0));
        world.replicate();
        assert!(world.owner().tunnel(CHILD_IN).spent);
        if comes_later {
            world.change(ike_spi, vec![add(&new, Some(CHILD_IN))]);
            world.replicate();
        }
        if sleeps {
            world.turn();
        }
        let mut peer = Peer::new(&new);
        world.opened_by(&mut []);
        for spi in [CHILD_IN, NEW_IN] {
            world.owner().send_into(spi, &packet(INSIDE, BRANCH, 7, 100, 0)).expect("taken");
        }
        world.replicate();
        world.opened_by(&mut [&mut peer]);
        assert_eq!(peer.got, [7, 7], "{comes_later}, {sleeps}");
        // And it is time for the older one to go; at an heir, when it is spoken through.
        world.owner().wait(50 * MS);
        let ends = vec![(ike_spi, Wish::CloseChild(CHILD_IN)); usize::from(!sleeps)];
        assert_eq!(world.owner().wishes(), ends, "{comes_later}, {sleeps}");
    }
}

/// Owners come and go, whether they have told what they did or not: an heir counts no less than what was sent, and a life ends.
#[test]
fn a_takeover_does_not_make_a_tunnel_younger() {
    let limit = 40_000_000;
    for (spec, turn_every) in [
        (of_packets(child(CHILD_IN, CHILD_OUT, None)), 70),
        (of_packets(child(CHILD_IN, CHILD_OUT, None)), 9),
        (of_bytes(limit), 70),
        (of_bytes(limit), 9),
    ] {
        let mut world = World::speaking();
        let mut peer = Peer::new(&spec);
        world.establish(&spec);
        let mut ended_at = None;
        for round in 0..4000_u32 {
            let _ = world.owner().send_into(CHILD_IN, &packet(INSIDE, BRANCH, round, 100, 0));
            let frame = peer.seal(&packet(BRANCH, INSIDE, round, 100, 0));
            let _ = world.owner().hear(&frame);
            match round % 3 {
                0 => world.replicate(),
                1 => world.ship(),
                _ => world.owner().wait(20 * MS),
            }
            world.opened_by(&mut [&mut peer]);
            if round % turn_every == turn_every - 1 {
                world.turn();
                let delivered = world.members.iter().map(|it| it.desk.to_host.len() as u64).sum::<u64>();
                let _ = world.owner().send_into(CHILD_IN, &packet(INSIDE, BRANCH, round, 100, 0));
                let tunnel = world.owner().tunnel(CHILD_IN);
                assert!(tunnel.outbound.next() > peer.got.len() as u64);
                if spec.life.bytes > 0 {
                    let Carried { sent, received } = tunnel.carried;
                    assert!(sent >= peer.got.len() as u64 * LEN && received >= delivered * LEN, "round {round}");
                }
            }
            if world.owner().tunnel(CHILD_IN).spent {
                ended_at = Some(round);
                break;
            }
        }
        let many = if spec.life.packets > 0 { PACKETS as u32 } else { 4000 };
        assert!(ended_at.is_some_and(|round| round <= many), "{:?}, every {turn_every}: {ended_at:?}", spec.life);
        // Heirs know it, too.
        world.replicate();
        world.turn();
        let refused = world.owner().send_into(CHILD_IN, &packet(INSIDE, BRANCH, 0, 100, 0));
        assert_eq!(refused, Err(Hindrance::Drop(DropReason::SaExpired)));
    }
}

/// One takeover moves the end less than the soft limit is before it.
#[test]
fn an_heir_still_asks_in_time() {
    let mut world = World::speaking();
    let spec = of_packets(child(CHILD_IN, CHILD_OUT, None));
    let mut peer = Peer::new(&spec);
    let ike_spi = world.establish(&spec);
    for mark in (0..860).step_by(10) {
        assert_eq!(world.talk(CHILD_IN, &mut peer, mark), []);
    }
    assert!(world.owner().wishes().is_empty());
    world.turn();
    assert_eq!(world.talk(CHILD_IN, &mut peer, 860).iter().filter(|it| **it == DropReason::SaExpired).count(), 0);
    world.owner().wait(50 * MS);
    assert_eq!(world.owner().wishes(), [(ike_spi, Wish::RekeyChild(CHILD_IN))]);
    assert!(!world.owner().tunnel(CHILD_IN).spent);
    // An owner that dies after it has asked has asked nothing: its heir asks.
    world.turn();
    world.talk(CHILD_IN, &mut peer, 870);
    world.owner().wait(50 * MS);
    assert_eq!(world.owner().wishes(), [(ike_spi, Wish::RekeyChild(CHILD_IN))]);
}

/// The IKE SA has been given new keys, and an heir has the tunnel.
#[test]
fn the_ike_sa_that_goes_on_is_asked() {
    for asleep in [false, true] {
        let mut world = World::speaking();
        let spec = of_packets(child(CHILD_IN, CHILD_OUT, None));
        let mut peer = Peer::new(&spec);
        let old = world.establish(&spec);
        if asleep {
            world.turn();
        }
        let new = old ^ 1 << 40;
        world.owner().hear(&request(0xabcd, old, 2)).expect("taken");
        let successor = Some((new, b"new".to_vec(), Some(90_000)));
        let children = vec![ChildChange::Adopt { spi: CHILD_IN, ike_spi: new }];
        let next = |question: &Question| Answer {
            successor: successor.clone(),
            children: children.clone(),
            record: Kept::Ended,
            ..Answer::nothing(question.ticket, None)
        };
        assert_eq!(world.owner().answer_all(next), 1);
        world.replicate();
        world.turn();
        for mark in (0..950).step_by(10) {
            world.talk(CHILD_IN, &mut peer, mark);
        }
        assert_eq!(world.owner().wishes(), [(new, Wish::RekeyChild(CHILD_IN))], "asleep: {asleep}");
    }
}

/// There is no room for the wish: it is not forgotten.
#[test]
fn a_wish_that_finds_no_room_is_said_again() {
    let mut world = World::speaking();
    let spec = of_packets(child(CHILD_IN, CHILD_OUT, None));
    let mut peer = Peer::new(&spec);
    let ike_spi = world.establish(&spec);
    // Somebody thinks about this IKE SA, and as much waits as may.
    for mark in 0..5 {
        world.owner().hear(&request(0xabcd, ike_spi, mark)).expect("taken");
    }
    let busy = world.owner().questions().pop().expect("a question");
    for mark in (0..950).step_by(10) {
        world.talk(CHILD_IN, &mut peer, mark);
    }
    assert!(world.owner().questions().is_empty());
    world.owner().answer(Answer::nothing(busy.ticket, Some(90_000)));
    for _ in 0..4 {
        let waited = world.owner().questions().pop().expect("a question");
        assert!(matches!(waited.asked, Asked::Message { .. }));
        world.owner().answer(Answer::nothing(waited.ticket, Some(90_000)));
    }
    world.owner().wait(50 * MS);
    assert_eq!(world.owner().wishes(), [(ike_spi, Wish::RekeyChild(CHILD_IN))]);
}

/// Numbers of 32 bits are such a limit, and those of 64 are none.
#[test]
fn short_numbers_are_replaced_in_time() {
    for (numbers, wished) in [(Numbers::Short, 1), (Numbers::Extended, 0)] {
        let mut world = World::speaking();
        let spec = TunnelSpec { numbers, ..child(CHILD_IN, CHILD_OUT, None) };
        let ike_spi = world.establish(&spec);
        world.owner().send_into(CHILD_IN, &packet(INSIDE, BRANCH, 0, 100, 0)).expect("taken");
        world.replicate();
        let reach = |world: &mut World, limit: u64| {
            let tunnel = world.owner().tunnel(CHILD_IN);
            tunnel.outbound = Lease::restore(Extent::default(), LeaseRecord { limit }, 0);
            let _ = world.owner().send_into(CHILD_IN, &packet(INSIDE, BRANCH, 0, 100, 0));
            world.replicate();
            world.owner().wait(60 * MS);
            world.owner().wishes()
        };
        let all = 1_u64 << 32;
        assert_eq!(reach(&mut world, all / 4 * 3 - 100_000), []);
        assert_eq!(reach(&mut world, all / 8 * 7 + 1), vec![(ike_spi, Wish::RekeyChild(CHILD_IN)); wished]);
    }
}

/// An older member writes no bytes into its records, and they are guessed from the numbers then: no fewer than there can have been.
#[test]
fn what_no_record_says_is_guessed() {
    let essential =
        Essential { outbound: LeaseRecord { limit: 501 }, inbound: LeaseRecord { limit: 301 }, carried: None };
    for (bytes, expected) in [(1_000_000_000, (500 * 9600, 300 * 9600)), (0, (0, 0))] {
        let mut world = World::speaking();
        world.establish(&of_bytes(bytes));
        world.turn();
        let encoded = essential.encode();
        let change = Change::Essential { version: VERSION, bytes: encoded.bytes() };
        world.owner().desk.store.keep(&Update::new(unit(), session_key(CHILD_IN), record::APP, change)).expect("kept");
        let _ = world.owner().send_into(CHILD_IN, &packet(INSIDE, BRANCH, 0, 100, 0));
        let Carried { sent, received } = world.owner().tunnel(CHILD_IN).carried;
        assert_eq!((sent, received), expected);
    }
}

/// Bursts count as single packets do.
#[test]
fn bytes_are_counted_both_ways() {
    let mut world = World::speaking();
    let spec = of_bytes(1_000_000_000);
    let mut peer = Peer::new(&spec);
    world.establish(&spec);
    world.talk(CHILD_IN, &mut peer, 0);
    let packets: Vec<_> = (0..20).map(|mark| packet(INSIDE, BRANCH, mark, 100, 0)).collect();
    assert_eq!(world.owner().take_burst_of(CHILD_IN, Way::Into, &packets), []);
    let frames: Vec<_> = (0..30).map(|mark| peer.seal(&packet(BRANCH, INSIDE, mark, 100, 0))).collect();
    assert_eq!(world.owner().take_burst_of(CHILD_IN, Way::OutOf, &frames), []);
    world.replicate();
    world.owner().desk.outbox.set_backups(unit(), MemberSet::EMPTY);
    let frames: Vec<_> = (0..30).map(|mark| peer.seal(&packet(BRANCH, INSIDE, mark, 100, 0))).collect();
    assert_eq!(world.owner().take_burst_of(CHILD_IN, Way::OutOf, &frames), []);
    assert_eq!(world.owner().tunnel(CHILD_IN).carried, Carried { sent: 30 * LEN, received: 70 * LEN });
}
