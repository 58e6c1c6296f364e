//! The owner's end of a stream: a state machine without a socket.
//!
//! ```text
//! Greeting ──HelloAck──> Open ──Close, or any mistake──> Closed
//! ```
//! A backup is believed nothing that cannot be: an acknowledgement of what was never sent ends the stream.

use phalanx_dataplane::replica::{Position, Ship, TableVersion};
use phalanx_dataplane::unit::{MemberId, Unit};

use super::message::{FORMATS, Hello, Message, MessageError, Reason, VERSIONS};

/// What a backup said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SenderEvent {
    /// It answered.
    Greeted {
        /// See [`super::message::HelloAck`].
        fenced: Option<TableVersion>,
        /// How far it has the log.
        has: Option<Position>,
    },
    /// It has the log up to here.
    Acked(Position),
    /// It refused something by this table.
    Fenced(TableVersion),
    /// It does not hold this unit as it should.
    Unsynced(Unit),
}

/// Why a stream ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// No message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A message that has no place here.
    #[error("a message came that has no place here")]
    Unexpected,
    /// A position that cannot be.
    #[error("a message names a position that cannot be")]
    Position,
    /// A batch under an older table than the one before it.
    #[error("a batch was made under an older table than the one before it")]
    OldTable,
    /// A batch holds what is no update.
    #[error("a batch holds what is no update")]
    Malformed,
    /// The versions have nothing in common.
    #[error("the members' versions are too far apart: upgrade one step at a time")]
    Version,
    /// A newer start of the same member was here.
    #[error("a newer start of the same member was here already")]
    Superseded,
    /// The other side ended the stream.
    #[error("the other side ended it: {0}")]
    Closed(Reason),
}

impl ProtocolError {
    /// What the other side is told.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Version => Reason::Version,
            Self::Superseded => Reason::Superseded,
            Self::Closed(_) => Reason::Done,
            _ => Reason::Malformed,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Greeting,
    Open,
    Closed,
}

/// See the module.
#[derive(Debug)]
pub struct Sender {
    state: State,
    /// The end of what was sent; nothing, before the backup has said what it has or was told to begin.
    sent: Option<Position>,
    acked: Position,
}

impl Sender {
    /// A new stream; appends the first message.
    pub fn new(incarnation: u64, worker: u16, workers: u16, out: &mut Vec<u8>) -> Self {
        let hello = Hello { versions: VERSIONS, formats: FORMATS, incarnation, worker, workers };
        Message::Hello(hello).encode(out);
        Self { state: State::Greeting, sent: None, acked: Position(0) }
    }

    /// Whether the backup has answered.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Appends what the outbox has for `member`, this stream's backup.
    pub fn write(&mut self, member: MemberId, ship: &Ship, out: &mut Vec<u8>) {
        if !self.is_open() {
            return;
        }
        match ship {
            Ship::Begin(position) => {
                Message::Begin(*position).encode(out);
                (self.sent, self.acked) = (Some(*position), *position);
            }
            Ship::Segment(segment) => {
                // An outbox says where a log begins before it ships any.
                let Some(first) = self.sent else { return };
                let version = segment.version();
                Message::encode_batch(out, (first, segment.last()), version, |out| segment.write_for(member, out));
                self.sent = Some(segment.last());
            }
        }
    }

    /// Takes in a message. After an error the stream is closed.
    pub fn handle(&mut self, message: &Message<'_>) -> Result<SenderEvent, ProtocolError> {
        let event = self.judge(message);
        if event.is_err() {
            self.state = State::Closed;
        }
        event
    }

    fn judge(&mut self, message: &Message<'_>) -> Result<SenderEvent, ProtocolError> {
        match (self.state, message) {
            (_, Message::Close(reason)) => Err(ProtocolError::Closed(*reason)),
            (State::Greeting, Message::HelloAck(ack)) => {
                if !VERSIONS.contains(ack.version) || !FORMATS.contains(ack.format) {
                    return Err(ProtocolError::Version);
                }
                self.state = State::Open;
                self.sent = ack.has;
                self.acked = ack.has.unwrap_or_default();
                Ok(SenderEvent::Greeted { fenced: ack.fenced, has: ack.has })
            }
            (State::Open, Message::Ack(position)) => {
                let sent = self.sent.ok_or(ProtocolError::Position)?;
                if *position > sent {
                    return Err(ProtocolError::Position);
                }
                // One that was on its way when the log began anew says nothing any more.
                self.acked = self.acked.max(*position);
                Ok(SenderEvent::Acked(self.acked))
            }
            (State::Open, Message::Fenced { version, .. }) => Ok(SenderEvent::Fenced(*version)),
            (State::Open, Message::Unsynced { unit, .. }) => Ok(SenderEvent::Unsynced(*unit)),
            _ => Err(ProtocolError::Unexpected),
        }
    }
}
