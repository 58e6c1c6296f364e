//! The backup's end of the streams of one worker of one owner: a state machine without a socket.
//!
//! It outlives the streams. What an earlier one brought is still on its way to the workers when the next one says hello; so the
//! answer waits until that is applied ([`Receiver::is_idle`]), and then names exactly what is held.
//!
//! A batch is dealt out to several workers, and done when all have dealt with their parts. Batches are acknowledged in
//! order, each after what had to be said about it. What was said on a stream that broke may not have been heard: then the
//! next answer is that nothing is held, and digests find out what differs; refusals that must stop the owner's commits are said again.

use std::collections::VecDeque;

use phalanx_dataplane::replica::{BATCHES_OF_STREAM_MAX, Position, TableVersion};
use phalanx_dataplane::unit::Unit;

use super::message::{FORMATS, Hello, HelloAck, Message, VERSIONS};
use super::sender::ProtocolError;

#[derive(Debug)]
struct Pending {
    ticket: u64,
    last: Position,
    parts: usize,
    fenced: Option<TableVersion>,
    unsynced: Vec<Unit>,
}

/// What is to be done with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted<'a> {
    /// Tell all workers that what they hold of the owner's worker is not complete.
    Lost {
        /// To be named in [`Receiver::dealt`] and [`Receiver::outcome`].
        ticket: u64,
    },
    /// Deal the batch out.
    Batch {
        /// To be named in [`Receiver::dealt`] and [`Receiver::outcome`].
        ticket: u64,
        /// The table that the owner acted under.
        version: TableVersion,
        /// The format byte and updates.
        bytes: &'a [u8],
    },
}

/// See the module.
#[derive(Debug)]
pub struct Receiver {
    hello: Option<Hello>,
    /// The end of what was accepted; nothing, while the log has to begin anew.
    at: Option<Position>,
    version: TableVersion,
    pending: VecDeque<Pending>,
    next_ticket: u64,
    fenced: Option<TableVersion>,
    /// Something was said on this stream that the owner must have heard before it may rely on what is held.
    said: bool,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiver {
    /// The end of streams that nobody has opened yet.
    pub fn new() -> Self {
        Self {
            hello: None,
            at: None,
            version: TableVersion::default(),
            pending: VecDeque::with_capacity(BATCHES_OF_STREAM_MAX),
            next_ticket: 0,
            fenced: None,
            said: false,
        }
    }

    /// Whether all that was accepted is applied.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// How many batches are accepted and not acknowledged.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether another batch may be accepted.
    pub fn has_room(&self) -> bool {
        self.pending.len() < BATCHES_OF_STREAM_MAX
    }

    /// The owner's worker and how many there are, as last said.
    pub fn owner_worker(&self) -> (u16, u16) {
        self.hello.map_or((0, 1), |hello| (hello.worker, hello.workers))
    }

    /// A new stream. To be called when [`Self::is_idle`]; what is pending then is forgotten.
    pub fn greet(&mut self, hello: &Hello, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let version = VERSIONS.common(hello.versions).ok_or(ProtocolError::Version)?;
        let format = FORMATS.common(hello.formats).ok_or(ProtocolError::Version)?;
        let before = self.hello.map_or(0, |before| before.incarnation);
        if hello.incarnation < before {
            return Err(ProtocolError::Superseded);
        }
        let same =
            self.hello.is_some_and(|before| (before.incarnation, before.workers) == (hello.incarnation, hello.workers));
        if !same || self.said || !self.is_idle() {
            self.at = None;
        }
        if hello.incarnation != before {
            self.fenced = None;
        }
        self.pending.clear();
        self.said = false;
        self.version = TableVersion::default();
        self.hello = Some(*hello);
        Message::HelloAck(HelloAck { version, format, fenced: self.fenced, has: self.at }).encode(out);
        Ok(())
    }

    /// Takes in a message of the owner. After an error nothing more is accepted until the next [`Self::greet`].
    pub fn accept<'a>(&mut self, message: &Message<'a>) -> Result<Accepted<'a>, ProtocolError> {
        let accepted = self.judge(message);
        // An owner that says farewell may come back, and go on.
        if accepted.is_err_and(|error| !matches!(error, ProtocolError::Closed(_))) {
            self.at = None;
        }
        accepted
    }

    fn judge<'a>(&mut self, message: &Message<'a>) -> Result<Accepted<'a>, ProtocolError> {
        match *message {
            Message::Begin(position) => {
                self.at = Some(position);
                Ok(Accepted::Lost { ticket: self.expect(position) })
            }
            Message::Batch { first, last, version, bytes } => {
                if self.at != Some(first) {
                    return Err(ProtocolError::Position);
                }
                if version < self.version {
                    return Err(ProtocolError::OldTable);
                }
                (self.at, self.version) = (Some(last), version);
                Ok(Accepted::Batch { ticket: self.expect(last), version, bytes })
            }
            Message::Close(reason) => Err(ProtocolError::Closed(reason)),
            _ => Err(ProtocolError::Unexpected),
        }
    }

    fn expect(&mut self, last: Position) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.pending.push_back(Pending { ticket, last, parts: usize::MAX, fenced: None, unsynced: Vec::new() });
        ticket
    }

    /// A batch was dealt out in so many parts. Each comes back by [`Self::outcome`].
    pub fn dealt(&mut self, ticket: u64, parts: usize) {
        if let Some(pending) = self.find(ticket) {
            pending.parts = parts;
        }
    }

    /// A worker is done with its part of a batch.
    pub fn outcome(&mut self, ticket: u64, unsynced: &[Unit], fenced: Option<TableVersion>) {
        if let Some(pending) = self.find(ticket) {
            pending.parts = pending.parts.saturating_sub(1);
            pending.unsynced.extend_from_slice(unsynced);
            pending.fenced = pending.fenced.max(fenced);
        }
    }

    /// A worker found no updates in its part: the stream is to be closed.
    pub fn malformed(&mut self) -> ProtocolError {
        self.at = None;
        self.said = true;
        ProtocolError::Malformed
    }

    fn find(&mut self, ticket: u64) -> Option<&mut Pending> {
        let first = self.pending.front()?.ticket;
        let index = usize::try_from(ticket.checked_sub(first)?).ok()?;
        self.pending.get_mut(index)
    }

    /// Appends what is to be said about batches that are done. Call it as well when there is no stream: what has no
    /// listener is not lost.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) {
        let mut done = None;
        while let Some(pending) = self.pending.front().filter(|pending| pending.parts == 0) {
            let position = pending.last;
            self.fenced = self.fenced.max(pending.fenced);
            if let Some(version) = pending.fenced {
                self.said = true;
                Message::Fenced { position, version }.encode(out);
            }
            for unit in &pending.unsynced {
                self.said = true;
                Message::Unsynced { position, unit: *unit }.encode(out);
            }
            done = Some(position);
            self.pending.pop_front();
        }
        if let Some(position) = done {
            Message::Ack(position).encode(out);
        }
    }
}
