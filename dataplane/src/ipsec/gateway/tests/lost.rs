//! Peers that speak of IKE SAs that are not here: who is told so, when, and who never is.

use super::ike::{at, changed, child, datagram, request};
use super::*;

/// An SPI that nobody has, of our unit, and none that is given to who begins.
const LOST: u64 = 0x1234_5000 | 77;
const CHILD_IN: u32 = 0x5_0000 | 77;
const SECOND: u64 = 1000 * MS;
const ALWAYS: u64 = u64::MAX;

/// The header of a sealed request, or of something else; it comes to port 4500.
fn message(spi: u64, first: u8, exchange: u8, flags: u8) -> Vec<u8> {
    let [a, b] = [0xabcd, spi].map(u64::to_be_bytes);
    let bytes = [&[0; 4][..], &a, &b, &[first, 0x20, exchange, flags, 0, 0, 0, 7, 0, 0, 0, 30, 1, 2]].concat();
    datagram(at(PEER, 4500), at(HERE, 4500), &bytes)
}

fn sealed(spi: u64) -> Vec<u8> {
    message(spi, 46, 37, 0x08)
}

/// An owner that knows for sure.
fn certain() -> World {
    let mut world = World::speaking();
    world.members.iter_mut().for_each(|member| member.desk.sole_up_to_ns = ALWAYS);
    world
}

/// What the machine would say.
fn told(question: &Question) -> Answer {
    let Asked::Lost { from, to, .. } = question.asked else { panic!("{question:?}") };
    let reply = Datagram { from: to, to: from, bytes: b"lost".to_vec() };
    Answer { send: vec![reply], ..Answer::nothing(question.ticket, None) }
}

impl Member {
    fn told(&self) -> (u64, u64) {
        (self.ike_count("lost_told"), self.ike_count("lost_untold"))
    }
}

#[test]
fn a_peer_is_told_after_a_while() {
    let mut world = certain();
    world.owner().hear(&sealed(LOST)).expect("taken");
    assert!(world.owner().questions().is_empty(), "not at once");
    world.owner().wait(3 * SECOND);
    let question = world.owner().questions().pop().expect("a question");
    assert_eq!((question.spi, question.record.is_none()), (LOST, true));
    let Asked::Lost { from, to, head } = &question.asked else { panic!("{question:?}") };
    assert_eq!((*from, *to), (at(PEER, 4500), at(HERE, 4500)));
    assert_eq!(head[..], [&sealed(LOST)[32..48], &[0, 0x20, 37, 0x08, 0, 0, 0, 7, 0, 0, 0, 28]].concat());
    world.owner().answer(told(&question));
    assert_eq!(world.owner().replies(), [b"\0\0\0\0lost"]);
    assert_eq!((world.owner().told(), world.owner().ike_count("sas")), ((1, 0), 0));
    world.owner().wait(3 * SECOND);
    assert_eq!(world.owner().gateway.poll_timeout(), None, "nothing is left to be done");
}

#[test]
fn who_asks_for_nothing_is_told_nothing() {
    let mut world = certain();
    let young = 1 << 63 | (1000 / 64) << 55 | LOST;
    for packet in [
        message(LOST, 46, 37, 0x28),
        message(LOST, 41, 37, 0x08),
        message(LOST, 0, 37, 0x08),
        message(LOST, 46, 34, 0x08),
        request(0xabcd, LOST, 1),
    ] {
        assert_eq!(world.owner().hear(&packet), Err(DropReason::IkeNoSa));
    }
    assert_eq!(world.owner().told(), (0, 0));
    // An IKE SA may still come about under this one.
    world.owner().hear(&sealed(young)).expect("taken");
    world.owner().wait(3 * SECOND);
    assert!(world.owner().questions().is_empty());
    assert_eq!(world.owner().told(), (0, 1));
    world.owner().desk.clock_s += 300;
    world.owner().hear(&sealed(young)).expect("taken");
    world.owner().wait(3 * SECOND);
    assert_eq!(world.owner().questions().len(), 1);
}

/// Somebody else may have served the unit when the message came, and nobody knows yet.
#[test]
fn who_is_not_certain_says_nothing() {
    let mut world = World::speaking();
    assert_eq!(world.owner().hear(&sealed(LOST)), Err(DropReason::IkeNoSa));
    assert_eq!(world.owner().told(), (0, 1));
    let owner = world.owner();
    // Certain later on.
    owner.desk.sole_up_to_ns = owner.desk.now_ns - 1;
    owner.hear(&sealed(LOST)).expect("taken");
    owner.wait(3 * SECOND);
    assert!(owner.questions().is_empty());
    owner.desk.sole_up_to_ns += 2;
    owner.wait(SECOND);
    assert_eq!(owner.questions().len(), 1);
    // Never, or too late, or not any more.
    for (then_ns, at_last_ns) in [(1, 1), (1, ALWAYS), (0, 0)] {
        let untold = owner.told().1;
        owner.desk.sole_up_to_ns = 1;
        owner.hear(&sealed(LOST)).expect("taken");
        owner.desk.sole_up_to_ns = then_ns;
        owner.wait(8 * SECOND);
        owner.desk.sole_up_to_ns = at_last_ns;
        owner.wait(8 * SECOND);
        assert!(owner.questions().is_empty());
        assert_eq!(owner.told().1, untold + 1);
    }
}

/// A unit that leaves takes with it what is said in its name, even if it comes back.
#[test]
fn who_loses_the_unit_says_nothing() {
    for when in 0..3 {
        let mut world = certain();
        world.owner().hear(&sealed(LOST)).expect("taken");
        let old = world.owner;
        if when == 0 {
            world.turn();
        }
        world.members[old].wait(3 * SECOND);
        let mut questions = world.members[old].questions();
        assert_eq!(questions.len(), usize::from(when > 0));
        if when == 1 {
            world.turn();
        }
        questions.drain(..).for_each(|question| world.members[old].answer(told(&question)));
        if when < 2 {
            world.turn();
            world.replicate();
            world.members[old].wait(3 * SECOND);
            assert!(world.members[old].questions().is_empty() && world.members[old].replies().is_empty(), "{when}");
        }
        assert_eq!(world.members[old].told(), (u64::from(when == 2), 0));
    }
}

/// The heir must know what the peer is told: or else it goes on with an IKE SA whose token everybody has seen.
#[test]
fn it_is_said_when_the_backups_know_that_it_is_over() {
    let mut world = certain();
    let spi = world.establish(&child(CHILD_IN, 0x6_0001, None));
    world.owner().hear(&sealed(spi)).expect("taken");
    let question = world.owner().questions().pop().expect("it is alive: an ordinary question");
    assert!(matches!(question.asked, Asked::Message { .. }) && question.record.is_some());
    let children = vec![ChildChange::Remove { spi: CHILD_IN }];
    world.owner().answer(Answer { record: Kept::Ended, children, ..Answer::nothing(question.ticket, None) });
    world.owner().desk.clock_s += 1000;
    world.owner().hear(&sealed(spi)).expect("taken");
    world.owner().wait(3 * SECOND);
    let question = world.owner().questions().pop().expect("a question");
    world.owner().answer(told(&question));
    assert!(world.owner().replies().is_empty(), "nobody knows yet");
    world.replicate();
    assert_eq!(world.owner().replies(), [b"\0\0\0\0lost"]);
}

/// One that is there, awake or asleep, is never spoken of so.
#[test]
fn of_one_that_lives_nothing_is_told() {
    let mut world = certain();
    let spi = world.establish(&child(CHILD_IN, 0x6_0001, None));
    for _ in 0..3 {
        world.turn();
        let owner = world.owner();
        owner.desk.clock_s += 1000;
        owner.hear(&sealed(spi)).expect("taken");
        owner.wait(3 * SECOND);
        let asked: Vec<Asked> = owner.questions().into_iter().map(|question| question.asked).collect();
        assert!(matches!(asked.as_slice(), [Asked::Message { .. }]), "{asked:?}");
        assert_eq!(owner.told(), (0, 0));
    }
}

#[test]
fn so_many_are_told_in_a_second_and_no_more() {
    let mut world = certain();
    let owner = world.owner();
    for number in 0..300 {
        let done = owner.hear(&sealed(LOST + (number << 10)));
        assert_eq!(done, if number < 256 { Ok(()) } else { Err(DropReason::IkeNoSa) });
    }
    owner.wait(3 * SECOND);
    let mut asked = 0;
    while let questions = owner.questions()
        && !questions.is_empty()
    {
        asked += questions.len();
        questions.iter().for_each(|question| owner.answer(told(question)));
    }
    assert_eq!((asked, owner.told(), owner.replies().len()), (256, (256, 44), 256));
    // The machine may have nothing to say.
    owner.hear(&sealed(LOST)).expect("there is room again");
    owner.wait(3 * SECOND);
    owner.answer_all(|question| Answer::nothing(question.ticket, None));
    assert_eq!((owner.told(), owner.replies().len()), ((256, 45), 0));
}

/// What anybody can say to an IKE SA is looked at now and then.
#[test]
fn what_comes_in_clear_is_bounded_and_counted() {
    let mut world = certain();
    let spi = world.establish(&child(CHILD_IN, 0x6_0001, None));
    let owner = world.owner();
    for second in 1..3 {
        owner.wait(SECOND);
        for number in 0..100 {
            let done = owner.hear(&message(spi, 41, 37, 0x28));
            assert_eq!(done, if number < 64 { Ok(()) } else { Err(DropReason::IkeInClear) }, "message {number}");
            owner.answer_all(|question| Answer { token: Some(false), ..Answer::nothing(question.ticket, Some(9999)) });
        }
        assert_eq!(owner.ike_count("lost_doubted"), second * 64);
        owner.hear(&sealed(spi)).expect("what is sealed is looked at");
        owner.answer_all(|question| changed(question, b"on"));
    }
    owner.wait(SECOND);
    owner.hear(&message(spi, 41, 37, 0x28)).expect("taken");
    owner.answer_all(|question| Answer {
        record: Kept::Ended,
        token: Some(true),
        ..Answer::nothing(question.ticket, None)
    });
    assert_eq!((owner.ike_count("lost_believed"), owner.ike_count("sas")), (1, 0));
}
