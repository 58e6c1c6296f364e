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

/// What a keeper began ends: it is asked at once, though it is due much later, and though a question about it is out.
#[test]
fn who_ends_has_its_keeper_asked() {
    for asked_anyway in [false, true] {
        let mut world = world();
        let question = world.owner().questions().pop().expect("a question");
        let spi = NEW | u64::from(unit().number());
        world.owner().answer(Answer { timeout_s: Some(9000), ..begins(&question, spi) });
        world.replicate();
        world.owner().desk.clock_s = if asked_anyway { 9000 } else { 2000 };
        world.owner().wait(1000 * MS);
        let mut questions = world.owner().questions();
        let place = questions.iter().position(|question| question.spi == spi).expect("its time has come");
        let its = questions.remove(place);
        let ended = Answer { record: Kept::Ended, prompts: Some(keeper()), ..Answer::nothing(its.ticket, None) };
        world.owner().answer(ended);
        if let Some(earlier) = questions.pop() {
            assert_eq!((asked_anyway, earlier.spi), (true, keeper()));
            assert!(world.owner().questions().is_empty(), "one at a time");
            world.owner().answer(changed(&earlier, b"it knows nothing yet"));
        }
        let [question] = &world.owner().questions()[..] else { panic!("one question") };
        assert_eq!((question.spi, &question.asked), (keeper(), &Asked::Timeout));
        world.owner().answer(changed(question, b"it is over"));
        world.replicate();
        world.turn();
        world.owner().desk.clock_s += 100_000;
        world.owner().wait(1000 * MS);
        let [question] = &world.owner().questions()[..] else { panic!("one question") };
        assert_eq!(question.record.as_deref(), Some(&b"it is over"[..]));
    }
}

/// One of another unit is served by somebody else: such an answer makes no sense.
#[test]
fn nobody_of_another_unit_is_asked() {
    let mut world = world();
    let question = world.owner().questions().pop().expect("a question");
    world.owner().answer(Answer { prompts: Some(keeper() ^ 1), ..changed(&question, b"keeper") });
    assert_eq!(world.owner().ike_count("refused"), 1);
}
