//! The replication stream: both machines are fed a script of messages, sound and unsound, in any order, and bytes that are
//! none. A sender never reports an acknowledgement of what was not sent; a receiver never acknowledges what was not
//! applied, nor holds more than it may.

use std::collections::VecDeque;

use phalanx_control::replication::message::{FORMATS, Hello, HelloAck, Message, Range, Reason, VERSIONS};
use phalanx_control::replication::{Accepted, FrameBuffer, Receiver, Sender, SenderEvent};
use phalanx_dataplane::replica::{BATCHES_OF_STREAM_MAX, Position, Ship, TableVersion};
use phalanx_dataplane::unit::Unit;

use super::cursor::{Cursor, member};

/// See the module.
pub(super) fn target(data: &[u8]) {
    frames(data);
    sender(&mut Cursor(data));
    receiver(&mut Cursor(data));
}

fn frames(data: &[u8]) {
    let mut frames = FrameBuffer::default();
    for piece in data.chunks(11) {
        frames.push(piece);
        while let Ok(Some(bytes)) = frames.next_message() {
            let Ok(message) = Message::decode(bytes) else { continue };
            let mut again = Vec::new();
            message.encode(&mut again);
            assert!(again.len() <= bytes.len() + 4);
            assert_eq!(Message::decode(&again[4..]), Ok(message));
        }
    }
}

fn message<'a>(script: &mut Cursor<'a>) -> Message<'a> {
    let (a, b) = (Position(script.number()), Position(script.number()));
    let version = TableVersion { term: 1, generation: script.number() % 4 };
    let flag = script.bool();
    match script.u8() % 12 {
        0 => Message::Hello(hello(script)),
        1 | 2 => Message::HelloAck(HelloAck {
            version: 1,
            format: 1,
            fenced: flag.then_some(version),
            has: flag.then_some(a),
        }),
        3 => Message::Begin(a),
        4..7 => {
            Message::Batch { first: a, last: Position(a.0.max(b.0).saturating_add(1)), version, bytes: script.take(9) }
        }
        7 | 8 => Message::Ack(a),
        9 => Message::Fenced { position: a, version },
        10 => Message::Unsynced { position: a, unit: Unit::from_low_bits(script.u8().into()) },
        _ => Message::Close(Reason::Done),
    }
}

fn hello(script: &mut Cursor<'_>) -> Hello {
    let versions = if script.u8() == 7 { Range { lowest: 9, highest: 9 } } else { VERSIONS };
    Hello {
        versions,
        formats: FORMATS,
        incarnation: script.number() % 4,
        worker: 0,
        workers: 1 + u16::from(script.u8() % 2),
    }
}

fn sender(script: &mut Cursor<'_>) {
    let mut out = Vec::new();
    let mut sender = Sender::new(1, 0, 1, &mut out);
    let mut sent = None;
    while !script.is_empty() {
        if script.u8().is_multiple_of(3) && sender.is_open() {
            let position = Position(script.number());
            sender.write(member(2), &Ship::Begin(position), &mut out);
            sent = Some(position);
        }
        let was_open = sender.is_open();
        match sender.handle(&message(script)) {
            Ok(SenderEvent::Greeted { has, .. }) => {
                assert!(!was_open);
                sent = has;
            }
            Ok(SenderEvent::Acked(position)) => assert!(was_open && Some(position) <= sent),
            Ok(SenderEvent::Fenced(_) | SenderEvent::Unsynced(_)) => assert!(was_open),
            Err(_) => assert!(!sender.is_open()),
        }
    }
}

fn receiver(script: &mut Cursor<'_>) {
    let mut receiver = Receiver::new();
    let mut open: Vec<u64> = Vec::new();
    let mut accepted: VecDeque<(u64, Position)> = VecDeque::new();
    let mut out = Vec::new();
    while !script.is_empty() {
        out.clear();
        match script.u8() % 4 {
            0 if receiver.is_idle() => {
                let _ = receiver.greet(&hello(script), &mut out);
            }
            1 if !open.is_empty() => {
                let ticket = open.remove(usize::from(script.u8()) % open.len());
                let unsynced = [Unit::from_low_bits(1)];
                let fenced = script.bool().then_some(TableVersion { term: 2, generation: 1 });
                receiver.outcome(ticket, if script.bool() { &unsynced } else { &[] }, fenced);
            }
            _ if receiver.has_room() => {
                let message = message(script);
                match receiver.accept(&message) {
                    Ok(Accepted::Lost { ticket } | Accepted::Batch { ticket, .. }) => {
                        let (Message::Begin(last) | Message::Batch { last, .. }) = message else {
                            panic!("{message:?}")
                        };
                        receiver.dealt(ticket, 1);
                        open.push(ticket);
                        accepted.push_back((ticket, last));
                    }
                    Err(_) => assert!(receiver.accept(&batch()).is_err(), "nothing is accepted after a mistake"),
                }
            }
            _ => {}
        }
        assert!(receiver.pending() <= BATCHES_OF_STREAM_MAX);
        out.clear();
        receiver.poll_transmit(&mut out);
        // Acknowledged is what is applied with all before it, and nothing else.
        let mut acked = None;
        while let Some((ticket, last)) = accepted.front().copied().filter(|(ticket, _)| !open.contains(ticket)) {
            accepted.pop_front();
            acked = Some((ticket, last));
        }
        assert_eq!(receiver.pending(), accepted.len());
        let (mut frames, mut said) = (FrameBuffer::default(), None);
        frames.push(&out);
        while let Ok(Some(bytes)) = frames.next_message() {
            if let Ok(Message::Ack(position)) = Message::decode(bytes) {
                said = Some(position);
            }
        }
        assert_eq!(said, acked.map(|(_, last)| last));
    }
}

const fn batch() -> Message<'static> {
    let version = TableVersion { term: 9, generation: 9 };
    Message::Batch { first: Position(1 << 50), last: Position(1 << 51), version, bytes: &[] }
}
