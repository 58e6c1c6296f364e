//! The sockets that are missing: bytes that break anywhere between one owner and one backup.

use std::collections::VecDeque;

use phalanx_dataplane::replica::{Incoming, ReplicaNews};

use super::super::super::message::Message;
use super::super::super::{Accepted, FrameBuffer, Sender, SenderEvent};
use super::super::support::table;
use super::member::Stream;
use super::{World, member_id};

impl World {
    pub(super) fn open(&mut self, from: usize, to: usize) {
        if self.members[from].streams[to].is_some() {
            return;
        }
        let member = &mut self.members[from];
        member.next_stream += 1;
        let mut out = Vec::new();
        let sender = Sender::new(member.incarnation, 0, 1, &mut out);
        member.streams[to] = Some(Stream {
            number: member.next_stream,
            sender,
            to_backup: out.into(),
            to_owner: VecDeque::new(),
            at_backup: FrameBuffer::default(),
            at_owner: FrameBuffer::default(),
            hello: None,
            greeted: false,
        });
    }

    pub(super) fn cut(&mut self, from: usize, to: usize) {
        if let Some(stream) = self.members[from].streams[to].take() {
            let news = ReplicaNews::Gone { member: member_id(to), stream: stream.number };
            self.members[from].handle.tell(news).unwrap();
        }
    }

    /// The owner's link: takes what the worker handed over.
    pub(super) fn gather(&mut self, from: usize, to: usize) {
        let member = &mut self.members[from];
        let Some(stream) = &mut member.streams[to] else { return };
        if !stream.sender.is_open() {
            return;
        }
        if let Some(shipped) = member.handle.poll_ship(member_id(to))
            && shipped.stream == stream.number
        {
            let mut out = Vec::new();
            stream.sender.write(member_id(to), &shipped.ship, &mut out);
            stream.to_backup.extend(out);
        }
    }

    /// Some bytes reach the backup.
    pub(super) fn carry(&mut self, from: usize, to: usize) {
        let count = 1 + self.rng.below(3000);
        let Some(mut stream) = self.members[from].streams[to].take() else { return };
        let backup = &mut self.members[to];
        let entrance = &mut backup.entrances[from];
        let mut out = Vec::new();
        if entrance.waiting.is_empty() && entrance.receiver.has_room() {
            let bytes: Vec<u8> = stream.to_backup.drain(..count.min(stream.to_backup.len())).collect();
            stream.at_backup.push(&bytes);
            while entrance.waiting.is_empty()
                && (stream.hello.is_none() || stream.greeted)
                && let Some(message) = stream.at_backup.next_message().unwrap()
            {
                let message = Message::decode(message).unwrap();
                if let Message::Hello(hello) = message {
                    stream.hello = Some(hello);
                    break;
                }
                let lost = matches!(message, Message::Begin(_));
                let (ticket, version, bytes) = match entrance.receiver.accept(&message).unwrap() {
                    Accepted::Lost { ticket } => (ticket, table(0), &[][..]),
                    Accepted::Batch { ticket, version, bytes } => (ticket, version, bytes),
                };
                let (Message::Begin(last) | Message::Batch { last, .. }) = message else { panic!() };
                entrance.receiver.dealt(ticket, 1);
                entrance.tickets.push_back((ticket, last));
                let (from, number) = (member_id(from), from as u64);
                let lost = lost.then_some((0, 1));
                entrance.waiting.push_back(Incoming {
                    from,
                    stream: number,
                    ticket,
                    version,
                    lost,
                    bytes: bytes.to_vec(),
                });
            }
        }
        if let Some(hello) = stream.hello.filter(|_| !stream.greeted)
            && entrance.waiting.is_empty()
            && entrance.receiver.is_idle()
        {
            entrance.receiver.greet(&hello, &mut out).unwrap();
            stream.greeted = true;
        }
        while let Some(part) = entrance.waiting.pop_front() {
            if let Err(part) = backup.handle.deliver(part) {
                entrance.waiting.push_front(part);
                break;
            }
        }
        stream.to_owner.extend(out);
        self.members[from].streams[to] = Some(stream);
    }

    /// The backup's link: acknowledges what its worker has done.
    pub(super) fn collect(&mut self, to: usize) {
        while let Some(outcome) = self.members[to].handle.poll_outcome() {
            assert_eq!(outcome.malformed, None);
            let from = outcome.stream as usize;
            let entrance = &mut self.members[to].entrances[from];
            entrance.receiver.outcome(outcome.ticket, &outcome.unsynced, outcome.fenced);
            let (ticket, last) = entrance.tickets.pop_front().unwrap();
            assert_eq!(ticket, outcome.ticket, "in order");
            entrance.applied = Some(last);
            self.seen.fenced += u64::from(outcome.fenced.is_some());
            let idle = entrance.receiver.pending() == 1;
            if idle {
                self.compare(from, to, last);
            }
            let mut out = Vec::new();
            self.members[to].entrances[from].receiver.poll_transmit(&mut out);
            if let Some(stream) = self.members[from].streams[to].as_mut().filter(|stream| stream.greeted) {
                stream.to_owner.extend(out);
            }
        }
    }

    /// Some bytes reach the owner.
    pub(super) fn carry_back(&mut self, from: usize, to: usize) {
        let count = 1 + self.rng.below(100);
        let member = &mut self.members[from];
        let Some(stream) = &mut member.streams[to] else { return };
        let bytes: Vec<u8> = stream.to_owner.drain(..count.min(stream.to_owner.len())).collect();
        stream.at_owner.push(&bytes);
        while let Some(message) = stream.at_owner.next_message().unwrap() {
            let (backup, number) = (member_id(to), stream.number);
            match stream.sender.handle(&Message::decode(message).unwrap()).unwrap() {
                SenderEvent::Greeted { fenced, has } => {
                    if let Some(version) = fenced {
                        member.handle.tell(ReplicaNews::Fenced { version }).unwrap();
                    }
                    member.handle.tell(ReplicaNews::Greeted { member: backup, stream: number, has }).unwrap();
                }
                SenderEvent::Acked(position) => member.handle.acknowledge(backup, position),
                SenderEvent::Fenced(version) => member.handle.tell(ReplicaNews::Fenced { version }).unwrap(),
                SenderEvent::Unsynced(unit) => {
                    member.handle.tell(ReplicaNews::Unsynced { member: backup, unit }).unwrap();
                }
            }
        }
    }
}
