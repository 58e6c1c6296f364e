//! Messages as version 1 wrote them, and machines that do not believe what cannot be.

use std::path::PathBuf;

use phalanx_dataplane::replica::{
    BATCHES_OF_STREAM_MAX, MemberSet, Outbox, OutboxLimits, Position, Ship, Snapshots, Store, StoreLimits,
};
use proptest::prelude::*;

use super::super::message::{FORMATS, Hello, HelloAck, Message, MessageError, Range, Reason, VERSIONS};
use super::super::{Accepted, BATCH_BYTES_MAX, FrameBuffer, ProtocolError, Receiver, Sender, SenderEvent};
use super::support::{KEY, id, table, unit};

const HELLO: Hello = Hello { versions: VERSIONS, formats: FORMATS, incarnation: 7, worker: 2, workers: 4 };

fn one_of_each() -> Vec<(&'static str, Message<'static>)> {
    let nothing = HelloAck { version: 1, format: 1, fenced: None, has: None };
    let everything = HelloAck { fenced: Some(table(8)), has: Some(Position(9)), ..nothing };
    vec![
        ("hello", Message::Hello(HELLO)),
        ("hello_ack_nothing", Message::HelloAck(nothing)),
        ("hello_ack_all", Message::HelloAck(everything)),
        ("begin", Message::Begin(Position(0x0102_0304_0506))),
        ("batch", Message::Batch { first: Position(5), last: Position(9), version: table(3), bytes: b"\x01updates" }),
        ("ack", Message::Ack(Position(11))),
        ("fenced", Message::Fenced { position: Position(12), version: table(4) }),
        ("unsynced", Message::Unsynced { position: Position(13), unit: unit(1023) }),
        ("close", Message::Close(Reason::Superseded)),
    ]
}

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

/// The files under `tests/golden` are what version 1 wrote. They are never written anew; a new version adds a folder.
#[test]
fn what_version_1_said_is_understood_and_said_alike() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/replication-v1");
    for (name, message) in one_of_each() {
        let file = folder.join(name);
        if std::env::var_os("PHALANX_WRITE_GOLDEN").is_some() && !file.exists() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, encoded(&message)).unwrap();
        }
        let golden = std::fs::read(&file).unwrap();
        assert_eq!(Message::decode(&golden[4..]), Ok(message), "{name}");
        assert_eq!(encoded(&message), golden, "{name}");
    }
}

#[test]
fn a_message_cut_short_is_refused_and_one_that_says_more_is_understood() {
    for (name, message) in one_of_each() {
        let bytes = encoded(&message);
        for length in 4..bytes.len() {
            assert_eq!(Message::decode(&bytes[4..length]), Err(MessageError::Truncated), "{name} {length}");
        }
        let more = [&bytes[4..], b"of a newer version"].concat();
        assert_eq!(Message::decode(&more), Ok(message), "{name}");
    }
}

#[test]
fn messages_come_out_of_a_stream_whatever_its_pieces() {
    let all: Vec<u8> = one_of_each().iter().flat_map(|(_, message)| encoded(message)).collect();
    for piece in [1, 2, 3, 7, 50, 1000] {
        let (mut frames, mut got) = (FrameBuffer::default(), 0);
        for bytes in all.chunks(piece) {
            frames.push(bytes);
            while let Some(message) = frames.next_message().unwrap() {
                assert_eq!(Message::decode(message), Ok(one_of_each()[got].1));
                got += 1;
            }
        }
        assert_eq!(got, one_of_each().len());
    }
    let mut frames = FrameBuffer::default();
    frames.push(&u32::MAX.to_be_bytes());
    assert_eq!(frames.next_message(), Err(MessageError::TooLong));
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100), kind in 0_u8..10) {
        let bytes = [&[kind], bytes.as_slice()].concat();
        if let Ok(message) = Message::decode(&bytes) {
            let again = encoded(&message);
            prop_assert_eq!(Message::decode(&again[4..]), Ok(message));
        }
    }
}

fn open_sender(has: Option<Position>) -> Sender {
    let mut sender = Sender::new(1, 0, 1, &mut Vec::new());
    let ack = HelloAck { version: 1, format: 1, fenced: None, has };
    sender.handle(&Message::HelloAck(ack)).unwrap();
    sender
}

#[test]
fn a_backup_cannot_acknowledge_what_it_was_not_sent() {
    let mut sender = open_sender(Some(Position(10)));
    assert_eq!(sender.handle(&Message::Ack(Position(10))), Ok(SenderEvent::Acked(Position(10))));
    assert_eq!(sender.handle(&Message::Ack(Position(11))), Err(ProtocolError::Position));
    // After a mistake nothing more is believed.
    assert_eq!(sender.handle(&Message::Ack(Position(10))), Err(ProtocolError::Unexpected));
    assert_eq!(open_sender(None).handle(&Message::Ack(Position(0))), Err(ProtocolError::Position));
}

#[test]
fn a_sender_hears_nothing_before_it_is_greeted_and_nothing_that_is_the_owners_to_say() {
    let greeting = || Sender::new(1, 0, 1, &mut Vec::new());
    for (name, message) in one_of_each() {
        let wanted = name.starts_with("hello_ack");
        assert_eq!(greeting().handle(&message).is_ok(), wanted, "{name} while greeting");
        let mut sender = open_sender(Some(Position(20)));
        let wanted = matches!(name, "ack" | "fenced" | "unsynced");
        assert_eq!(sender.handle(&message).is_ok(), wanted, "{name} when open");
        assert_eq!(sender.is_open(), wanted);
    }
    let far = HelloAck { version: 2, format: 1, fenced: None, has: None };
    assert_eq!(greeting().handle(&Message::HelloAck(far)), Err(ProtocolError::Version));
}

#[test]
fn members_of_neighbouring_versions_agree() {
    let range = |lowest, highest| Range { lowest, highest };
    assert_eq!(range(1, 2).common(range(2, 3)), Some(2));
    assert_eq!(range(1, 3).common(range(2, 4)), Some(3));
    assert_eq!(range(1, 1).common(range(2, 3)), None);
    let newer = Hello { versions: range(1, 2), formats: range(1, 2), ..HELLO };
    let mut out = Vec::new();
    Receiver::new().greet(&newer, &mut out).unwrap();
    assert!(matches!(Message::decode(&out[4..]), Ok(Message::HelloAck(HelloAck { version: 1, format: 1, .. }))));
    let far = Hello { versions: range(3, 4), ..HELLO };
    assert_eq!(Receiver::new().greet(&far, &mut out), Err(ProtocolError::Version));
}

fn has(out: &[u8]) -> (Option<phalanx_dataplane::replica::TableVersion>, Option<Position>) {
    let Ok(Message::HelloAck(ack)) = Message::decode(&out[4..]) else { panic!() };
    (ack.fenced, ack.has)
}

fn greet(receiver: &mut Receiver, hello: &Hello) -> Option<Position> {
    let mut out = Vec::new();
    receiver.greet(hello, &mut out).unwrap();
    has(&out).1
}

const fn batch(first: u64, last: u64, version: u64) -> Message<'static> {
    let version = phalanx_dataplane::replica::TableVersion { term: 1, generation: version };
    Message::Batch { first: Position(first), last: Position(last), version, bytes: b"\x01" }
}

fn said(receiver: &mut Receiver) -> Vec<u8> {
    let mut out = Vec::new();
    receiver.poll_transmit(&mut out);
    out
}

#[test]
fn batches_follow_one_another_without_a_gap_and_under_no_older_table() {
    let mut receiver = Receiver::new();
    assert_eq!(greet(&mut receiver, &HELLO), None);
    assert_eq!(receiver.accept(&batch(0, 1, 3)), Err(ProtocolError::Position), "the log has not begun");
    for (wrong, error) in [
        (batch(6, 9, 3), ProtocolError::Position),
        (batch(4, 9, 3), ProtocolError::Position),
        (batch(5, 9, 2), ProtocolError::OldTable),
        (Message::Ack(Position(1)), ProtocolError::Unexpected),
        (Message::Hello(HELLO), ProtocolError::Unexpected),
    ] {
        let mut receiver = Receiver::new();
        greet(&mut receiver, &HELLO);
        assert!(matches!(receiver.accept(&Message::Begin(Position(2))), Ok(Accepted::Lost { ticket: 0 })));
        assert!(matches!(receiver.accept(&batch(2, 5, 3)), Ok(Accepted::Batch { ticket: 1, .. })));
        assert_eq!(receiver.accept(&wrong), Err(error));
        assert_eq!(receiver.accept(&batch(5, 6, 3)), Err(ProtocolError::Position), "nothing more is accepted");
    }
}

/// Replays are refused by their place, old processes by their incarnation.
#[test]
fn what_was_said_before_is_not_heard_again() {
    let mut receiver = Receiver::new();
    greet(&mut receiver, &HELLO);
    receiver.accept(&Message::Begin(Position(0))).unwrap();
    receiver.accept(&batch(0, 4, 3)).unwrap();
    assert_eq!(receiver.accept(&batch(0, 4, 3)), Err(ProtocolError::Position));
    let old = Hello { incarnation: 6, ..HELLO };
    assert_eq!(receiver.greet(&old, &mut Vec::new()), Err(ProtocolError::Superseded));
}

#[test]
fn a_batch_is_acknowledged_when_all_its_parts_are_applied_and_all_before_it() {
    let mut receiver = Receiver::new();
    greet(&mut receiver, &HELLO);
    receiver.accept(&Message::Begin(Position(0))).unwrap();
    receiver.dealt(0, 2);
    receiver.accept(&batch(0, 4, 3)).unwrap();
    receiver.dealt(1, 1);
    receiver.outcome(1, &[], None);
    receiver.outcome(0, &[], None);
    assert!(said(&mut receiver).is_empty());
    receiver.outcome(0, &[], None);
    assert_eq!(said(&mut receiver), encoded(&Message::Ack(Position(4))));
    assert!(receiver.is_idle());
}

#[test]
fn bad_news_come_before_the_acknowledgement_and_are_not_forgotten_with_the_stream() {
    let mut receiver = Receiver::new();
    greet(&mut receiver, &HELLO);
    receiver.accept(&Message::Begin(Position(0))).unwrap();
    receiver.dealt(0, 1);
    receiver.outcome(0, &[], None);
    said(&mut receiver);
    assert_eq!(greet(&mut receiver, &HELLO), Some(Position(0)), "nothing was lost: the log goes on");
    receiver.accept(&batch(0, 4, 3)).unwrap();
    receiver.dealt(1, 1);
    receiver.outcome(1, &[unit(5)], Some(table(9)));
    let position = Position(4);
    let expected = [
        encoded(&Message::Fenced { position, version: table(9) }),
        encoded(&Message::Unsynced { position, unit: unit(5) }),
        encoded(&Message::Ack(position)),
    ];
    assert_eq!(said(&mut receiver), expected.concat());
    // Was it heard? If not, the owner would take the unit for confirmed.
    let mut out = Vec::new();
    receiver.greet(&HELLO, &mut out).unwrap();
    assert_eq!(has(&out), (Some(table(9)), None));
    // A new process has refused nothing yet.
    let mut out = Vec::new();
    receiver.greet(&Hello { incarnation: 8, ..HELLO }, &mut out).unwrap();
    assert_eq!(has(&out), (None, None));
}

#[test]
fn a_receiver_accepts_only_so_much_at_a_time() {
    let mut receiver = Receiver::new();
    greet(&mut receiver, &HELLO);
    receiver.accept(&Message::Begin(Position(0))).unwrap();
    let mut at = 0;
    while receiver.has_room() {
        receiver.accept(&batch(at, at + 1, 3)).unwrap();
        at += 1;
    }
    assert_eq!(receiver.pending(), BATCHES_OF_STREAM_MAX);
}

/// The longest that an outbox makes fits what a receiver takes.
#[test]
fn the_longest_batch_fits() {
    let mut outbox = Outbox::new(OutboxLimits::default());
    outbox.set_backups(unit(1), MemberSet::of(id(2)));
    outbox.greeted(id(2), 1, None);
    Snapshots::new().pump(&mut outbox, &mut Store::new(KEY, StoreLimits::default()), 10);
    let bytes = vec![0; phalanx_dataplane::replica::STATE_BYTES_MAX];
    for _ in 0..10 {
        let change = phalanx_dataplane::replica::Change::Essential { version: 1, bytes: &bytes };
        outbox.append(&super::support::update(unit(1), 1, change));
    }
    let mut sender = open_sender(None);
    let (mut frames, mut longest) = (FrameBuffer::default(), 0);
    while let Some((_, ship)) = outbox.poll_ship(id(2)) {
        let mut out = Vec::new();
        sender.write(id(2), &ship, &mut out);
        frames.push(&out);
        let message = frames.next_message().unwrap().unwrap();
        if let (Ok(Message::Batch { bytes, .. }), Ship::Segment(_)) = (Message::decode(message), &ship) {
            longest = longest.max(bytes.len());
        }
    }
    assert!((32 << 10..=BATCH_BYTES_MAX).contains(&longest), "{longest}");
}
