//! Records that there are always to be: made by the owner of their unit, once.

use super::ike::changed;
use super::*;

const KEEPER: u64 = 0xfeed_0000_0000_0000;
const NEW: u64 = 0x00aa_bbcc_0000_0400;

fn keeper() -> u64 {
    KEEPER | u64::from(unit().number())
}

fn world() -> World {
    let members = [Member::keeping(1, 5, vec![keeper()]), Member::keeping(2, 9, vec![keeper()])];
    let peer = Peer::new(&super::ike::child(super::ike::CHILD_IN, super::ike::CHILD_OUT, None));
    let mut world = World { members, owner: 1, generation: 0, peer };
    world.turn();
    world
}

/// What a keeper answers that begins an IKE SA.
fn begins(question: &Question, spi: u64) -> Answer {
    Answer { successor: Some((spi, b"begun".to_vec(), Some(2000))), ..changed(question, b"keeper") }
}

#[test]
fn the_owner_makes_them_and_nobody_else() {
    let mut world = world();
    assert!(world.backup().questions().is_empty());
    let [question] = &world.owner().questions()[..] else { panic!("one question") };
    assert_eq!((question.spi, question.unit, &question.asked), (keeper(), unit(), &Asked::Timeout));
    assert!(question.record.is_none());
    let spi = NEW | u64::from(unit().number());
    world.owner().answer(begins(question, spi));
    assert!(world.owner().replies().is_empty(), "nobody holds it yet");
    world.replicate();
    assert_eq!(world.owner().replies(), [b"keeper"]);
    // Nothing more until their time comes, and an heir has both.
    for _ in 0..3 {
        world.owner().wait(1000 * MS);
        assert!(world.owner().questions().is_empty());
    }
    world.turn();
    world.owner().wait(1000 * MS);
    assert!(world.owner().questions().is_empty());
    world.owner().desk.clock_s = 2000;
    world.owner().wait(1000 * MS);
    let [question] = &world.owner().questions()[..] else { panic!("one question") };
    assert_eq!((question.spi, question.record.as_deref()), (spi, Some(&b"begun"[..])));
}

/// An owner dies, or is relieved, before anybody holds what it made: the heir makes it.
#[test]
fn what_nobody_holds_is_made_again() {
    let mut world = world();
    let question = world.owner().questions().pop().expect("a question");
    let late = begins(&question, NEW | u64::from(unit().number()));
    world.turn();
    let asked = world.owner().questions();
    assert_eq!(asked.iter().map(|question| question.spi).collect::<Vec<_>>(), [keeper()]);
    // The old owner wakes up, and hears the answer: it sends nothing.
    world.backup().answer(late);
    assert!(world.backup().replies().is_empty());
    // Nobody answers: it is asked again.
    world.owner().wait(11_000 * MS);
    let again = world.owner().questions();
    assert_eq!(again.iter().map(|question| question.spi).collect::<Vec<_>>(), [keeper()]);
}

/// One that ends though it is to be there is made anew, a second later.
#[test]
fn they_come_back() {
    let mut world = world();
    let question = world.owner().questions().pop().expect("a question");
    world.owner().answer(changed(&question, b"keeper"));
    world.replicate();
    world.owner().desk.clock_s += 100_000;
    world.owner().wait(1000 * MS);
    let question = world.owner().questions().pop().expect("a question");
    world.owner().answer(Answer { record: Kept::Ended, ..Answer::nothing(question.ticket, None) });
    world.owner().wait(1000 * MS);
    let question = world.owner().questions().pop().expect("a question");
    assert!(question.record.is_none());
}
