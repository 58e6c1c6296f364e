//! The cluster link as replication sees it: production protocol machines at both ends, and between them streams of bytes
//! that are slow, stall while the link is cut, and break when that lasts, or when a process dies.
//!
//! Modelled: what `replication::outgoing` and `incoming` do around the machines (they are tasks of an async runtime), and QUIC.

use std::collections::VecDeque;

use phalanx_control::replication::message::{Hello, Message};
use phalanx_control::replication::{Accepted, FrameBuffer, Receiver, Sender, SenderEvent};
use phalanx_dataplane::replica::{Incoming, ReplicaNews, Ship, TableVersion};
use phalanx_dataplane::unit::MemberId;

use super::super::net::LINK;
use super::super::world::{Event, MS, US, World};
use super::desk::{Desk, frames};
use super::{DeskEvent, SessionFault, Sessions};

/// A connection that is silent for so long is dead (`link::limits`).
const IDLE: u64 = 1000 * MS;
/// How often a stalled link is tried again.
const RETRY: u64 = 10 * MS;

/// An owner's stream to one backup.
struct Outgoing {
    number: u32,
    /// The life of the backup's process that it leads to.
    life: u32,
    sender: Sender,
    frames: FrameBuffer,
}

/// A backup's end of one owner's streams.
struct Entrance {
    receiver: Receiver,
    /// The owner's life and the stream's number.
    stream: (u32, u32),
    frames: FrameBuffer,
    hello: Option<Hello>,
    greeted: bool,
    waiting: VecDeque<Incoming>,
}

/// A member's ends of all streams.
pub(super) struct Links {
    life: u32,
    wanted: u32,
    outgoing: Vec<Option<Outgoing>>,
    entrances: Vec<Entrance>,
    streams: u32,
    /// Which life of each member answered last.
    lives: Vec<u32>,
}

impl Links {
    pub(super) fn new(life: u32, members: usize) -> Self {
        let entrance = || Entrance {
            receiver: Receiver::new(),
            stream: (0, 0),
            frames: frames(),
            hello: None,
            greeted: false,
            waiting: VecDeque::new(),
        };
        Self {
            life,
            wanted: 0,
            outgoing: (0..members).map(|_| None).collect(),
            entrances: (0..members).map(|_| entrance()).collect(),
            streams: 0,
            lives: vec![0; members],
        }
    }

    /// The life of a backup that this member's word about it is of.
    pub(super) fn life_of(&self, backup: usize) -> u32 {
        self.lives[backup]
    }

    /// The stream that is open to a member: its number, and the life that it leads to.
    fn stream_to(&self, to: usize) -> Option<(u32, u32)> {
        self.outgoing.get(to)?.as_ref().map(|stream| (stream.number, stream.life))
    }
}

/// Bytes of one stream, in one direction.
#[derive(Clone, Debug)]
pub struct Bytes {
    from: usize,
    /// The owner's life, and the stream's number.
    stream: (u32, u32),
    to_backup: bool,
    /// The receiver's life.
    life: u32,
    bytes: Vec<u8>,
}

/// One direction between two members.
#[derive(Default)]
pub(super) struct Wire {
    last: u64,
    stalled: VecDeque<Bytes>,
    since: u64,
}

fn id(at: usize) -> Option<MemberId> {
    MemberId::new(at as u8 + 1)
}

impl Desk {
    /// Encodes what the worker has handed over, for a backup.
    fn gather(&mut self, to: usize, planted: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let (Some(member), Some(Some(stream))) = (id(to), self.links.outgoing.get_mut(to)) else { return out };
        while stream.sender.is_open()
            && let Some(shipped) = self.handle.poll_ship(member)
        {
            if shipped.stream != stream.number {
                continue;
            }
            stream.sender.write(member, &shipped.ship, &mut out);
            if let (true, Ship::Segment(segment)) = (planted, &shipped.ship) {
                self.handle.acknowledge(member, segment.last());
            }
        }
        out
    }

    /// What a backup says reaches its owner.
    fn hear(&mut self, backup: usize, bytes: &[u8]) -> Result<(), String> {
        let (Some(member), Some(Some(stream))) = (id(backup), self.links.outgoing.get_mut(backup)) else {
            return Ok(());
        };
        stream.frames.push(bytes);
        let mut acked = None;
        let tell = |news| self.handle.tell(news).map_err(|news| format!("no room for {news:?}"));
        while let Some(message) = stream.frames.next_message().map_err(|error| error.to_string())? {
            let message = Message::decode(message).map_err(|error| error.to_string())?;
            match stream.sender.handle(&message).map_err(|error| format!("a backup's {message:?}: {error}"))? {
                SenderEvent::Greeted { fenced, has } => {
                    self.links.lives[backup] = stream.life;
                    if let Some(version) = fenced {
                        tell(ReplicaNews::Fenced { version })?;
                    }
                    tell(ReplicaNews::Greeted { member, stream: stream.number, has })?;
                }
                SenderEvent::Acked(position) => acked = Some(position),
                SenderEvent::Fenced(version) => tell(ReplicaNews::Fenced { version })?,
                SenderEvent::Unsynced(unit) => tell(ReplicaNews::Unsynced { member, unit })?,
            }
        }
        if let Some(position) = acked {
            self.handle.acknowledge(member, position);
        }
        Ok(())
    }

    /// A stream's bytes reach the backup.
    fn receive(&mut self, bytes: &Bytes) {
        let Some(entrance) = self.links.entrances.get_mut(bytes.from) else { return };
        if bytes.stream > entrance.stream {
            entrance.stream = bytes.stream;
            (entrance.frames, entrance.hello, entrance.greeted) = (frames(), None, false);
        }
        if bytes.stream == entrance.stream {
            entrance.frames.push(&bytes.bytes);
        }
    }

    /// Deals out what an owner has told, answers what can be answered.
    fn take_in(&mut self, owner: usize) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let (Some(from), Some(entrance)) = (id(owner), self.links.entrances.get_mut(owner)) else { return Ok(out) };
        let wrong = |error: &dyn std::fmt::Display| format!("an owner's stream: {error}");
        loop {
            while let Some(part) = entrance.waiting.pop_front() {
                if let Err(part) = self.handle.deliver(part) {
                    entrance.waiting.push_front(part);
                    break;
                }
            }
            if !entrance.waiting.is_empty() || !entrance.receiver.has_room() {
                break;
            }
            if let Some(hello) = entrance.hello.filter(|_| !entrance.greeted) {
                if !entrance.receiver.is_idle() {
                    break;
                }
                entrance.receiver.greet(&hello, &mut out).map_err(|error| wrong(&error))?;
                entrance.greeted = true;
            }
            let Some(message) = entrance.frames.next_message().map_err(|error| wrong(&error))? else { break };
            let message = Message::decode(message).map_err(|error| wrong(&error))?;
            if let Message::Hello(hello) = message {
                entrance.hello = Some(hello);
                continue;
            }
            let (ticket, version, bytes, lost) =
                match entrance.receiver.accept(&message).map_err(|error| wrong(&error))? {
                    Accepted::Lost { ticket } => (ticket, TableVersion::default(), &[][..], Some((0, 1))),
                    Accepted::Batch { ticket, version, bytes } => (ticket, version, bytes, None),
                };
            entrance.receiver.dealt(ticket, 1);
            let (bytes, stream) = (bytes.to_vec(), owner as u64);
            entrance.waiting.push_back(Incoming { from, stream, ticket, version, lost, bytes });
        }
        Ok(out)
    }

    /// Collects what the worker has applied.
    fn collect(&mut self) -> Result<(), String> {
        while let Some(outcome) = self.handle.poll_outcome() {
            if let Some(malformed) = outcome.malformed {
                return Err(format!("{} finds no updates in a batch: {malformed}", self.me));
            }
            if let Some(entrance) = self.links.entrances.get_mut(outcome.stream as usize) {
                entrance.receiver.outcome(outcome.ticket, &outcome.unsynced, outcome.fenced);
            }
        }
        Ok(())
    }

    /// What is to be said about it to an owner.
    fn answer(&mut self, owner: usize, out: &mut Vec<u8>) -> (u32, u32) {
        let Some(entrance) = self.links.entrances.get_mut(owner) else { return (0, 0) };
        let mut said = Vec::new();
        entrance.receiver.poll_transmit(&mut said);
        // What has no listener is not lost: the next greeting tells.
        if entrance.greeted {
            out.append(&mut said);
        }
        entrance.stream
    }
}

impl World {
    /// Lets a member's link do what can be done now.
    pub(super) fn link_round(&mut self, at: usize, sessions: &mut Sessions) -> Result<(), String> {
        let planted = match sessions.fault {
            Some(SessionFault::AckBeforeCommit | SessionFault::AnswerBeforeCommit) => true,
            Some(SessionFault::FenceIgnored) => self.usurps(at),
            _ => false,
        };
        for other in 0..self.nodes.len() {
            let Some(desk) = self.desk(at) else { return Ok(()) };
            let bytes = desk.gather(other, planted);
            let (number, life) = desk.links.stream_to(other).unwrap_or_default();
            let stream = (desk.links.life, number);
            let mut answers = desk.take_in(other)?;
            desk.collect()?;
            let of = desk.answer(other, &mut answers);
            if !bytes.is_empty() {
                self.put_on_wire(sessions, other, Bytes { from: at, stream, to_backup: true, life, bytes });
            }
            if !answers.is_empty() {
                let bytes = Bytes { from: at, stream: of, to_backup: false, life: of.0, bytes: answers };
                self.put_on_wire(sessions, other, bytes);
            }
        }
        Ok(())
    }

    /// Bytes are on their way, behind all before them.
    fn put_on_wire(&mut self, sessions: &mut Sessions, to: usize, bytes: Bytes) {
        let (from, members) = (bytes.from, self.nodes.len());
        let whole = self.net.connected(from, to, LINK) && self.net.connected(to, from, LINK);
        let wire = &mut sessions.wires[from * members + to];
        if !whole || !wire.stalled.is_empty() {
            if wire.stalled.is_empty() {
                wire.since = self.now;
                self.at(self.now + RETRY, Event::Stalled(from, to));
            }
            wire.stalled.push_back(bytes);
            return;
        }
        let (tx, rx) = (self.net.lines[from].tx[LINK], self.net.lines[to].rx[LINK]);
        let late = if tx.delay_ns + rx.delay_ns > 0 { self.rng.below(tx.delay_ns + rx.delay_ns) } else { 0 };
        let lost = self.rng.permille((tx.loss + rx.loss).min(900));
        let again = if lost { self.rng.between(5 * MS, 60 * MS) } else { 0 };
        let then = (self.now + self.rng.between(30 * US, 150 * US) + late + again).max(wire.last);
        wire.last = then;
        self.at(then, Event::Desk(to, bytes.life, DeskEvent::Bytes(bytes)));
    }

    /// A link that is cut is tried again, and given up when that has lasted.
    pub(super) fn try_stalled(&mut self, sessions: &mut Sessions, from: usize, to: usize) {
        let whole = self.net.connected(from, to, LINK) && self.net.connected(to, from, LINK);
        let members = self.nodes.len();
        let wire = &mut sessions.wires[from * members + to];
        if whole {
            // Loss recovery has doubled its pauses meanwhile.
            let then = (self.now + self.rng.between(MS, 2 * MS + (self.now - wire.since) / 2)).max(wire.last);
            wire.last = then;
            for bytes in std::mem::take(&mut wire.stalled) {
                self.at(then, Event::Desk(to, bytes.life, DeskEvent::Bytes(bytes)));
            }
        } else if self.now > wire.since + IDLE {
            let stalled = std::mem::take(&mut wire.stalled);
            for bytes in stalled {
                let (owner, backup) = if bytes.to_backup { (from, to) } else { (to, from) };
                let (life, number) = bytes.stream;
                self.at(self.now, Event::Desk(owner, life, DeskEvent::Broken(backup, number)));
            }
        } else {
            self.at(self.now + RETRY, Event::Stalled(from, to));
        }
    }

    /// The members to keep streams with are these now.
    pub(in crate::sim) fn keep_streams(&mut self, at: usize) {
        let life = self.nodes[at].life;
        let Some(process) = &mut self.nodes[at].process else { return };
        let Some(desk) = &mut process.desk else { return };
        let wanted = process.core.others().fold(0_u32, |set, (other, _)| set | 1 << other.index());
        let new = wanted & !desk.links.wanted;
        let gone = desk.links.wanted & !wanted;
        desk.links.wanted = wanted;
        for other in 0..self.nodes.len() {
            if gone >> other & 1 == 1 {
                self.break_stream(at, other, None);
            }
            if new >> other & 1 == 1 {
                self.at(self.now, Event::Desk(at, life, DeskEvent::Dial(other)));
            }
        }
    }

    /// A stream ends at its owner's; another one is tried, if it is wanted.
    pub(super) fn break_stream(&mut self, at: usize, to: usize, number: Option<u32>) {
        let life = self.nodes[at].life;
        let Some(desk) = self.desk(at) else { return };
        let stream = &mut desk.links.outgoing[to];
        if stream.as_ref().is_none_or(|stream| number.is_some_and(|number| number != stream.number)) {
            return;
        }
        if let (Some(member), Some(stream)) = (id(to), stream.take()) {
            // There is always room: the ring holds thousands.
            let _ = desk.handle.tell(ReplicaNews::Gone { member, stream: stream.number });
        }
        self.at(self.now + 20 * MS, Event::Desk(at, life, DeskEvent::Dial(to)));
    }

    /// Opens a stream, if it is wanted and the other side is there.
    pub(super) fn dial(&mut self, sessions: &mut Sessions, at: usize, to: usize) {
        let (life, to_life) = (self.nodes[at].life, self.nodes[to].life);
        let there = self.nodes[to].process.is_some() && self.nodes[to].paused == 0;
        let whole = self.net.connected(at, to, LINK) && self.net.connected(to, at, LINK);
        let again = self.now + self.rng.between(20 * MS, 100 * MS);
        let Some(desk) = self.desk(at) else { return };
        let links = &mut desk.links;
        if links.wanted >> to & 1 == 0 || links.outgoing[to].is_some() {
            return;
        }
        if !there || !whole {
            return self.at(again, Event::Desk(at, life, DeskEvent::Dial(to)));
        }
        links.streams += 1;
        let number = links.streams;
        let mut bytes = Vec::new();
        let sender = Sender::new(life.into(), 0, 1, &mut bytes);
        links.outgoing[to] = Some(Outgoing { number, life: to_life, sender, frames: frames() });
        let wire = &mut sessions.wires[at * self.nodes.len() + to];
        // A handshake goes before.
        wire.last = wire.last.max(self.now + 2 * MS);
        let bytes = Bytes { from: at, stream: (life, number), to_backup: true, life: to_life, bytes };
        self.put_on_wire(sessions, to, bytes);
    }

    /// A process died: those who had streams to it hear of that some time.
    pub(in crate::sim) fn break_streams_to(&mut self, dead: usize) {
        for at in 0..self.nodes.len() {
            let life = self.nodes[at].life;
            let desk = self.nodes[at].process.as_ref().and_then(|process| process.desk.as_ref());
            if let Some((number, _)) = desk.and_then(|desk| desk.links.stream_to(dead)) {
                let then = self.now + self.rng.between(MS, IDLE);
                self.at(then, Event::Desk(at, life, DeskEvent::Broken(dead, number)));
            }
        }
    }

    /// Bytes of a stream arrive.
    pub(super) fn take_bytes(&mut self, at: usize, bytes: &Bytes) -> Result<(), String> {
        let Some(desk) = self.desk(at) else { return Ok(()) };
        if bytes.to_backup {
            desk.receive(bytes);
        } else if desk.links.stream_to(bytes.from).is_some_and(|(number, _)| bytes.stream == (desk.links.life, number))
        {
            desk.hear(bytes.from, &bytes.bytes)?;
        }
        Ok(())
    }
}
