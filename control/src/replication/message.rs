//! The stream's messages on the wire.
//!
//! A message is its length (u32), a kind, and its fields, big-endian. What follows the known fields is ignored, so that a
//! newer member may say more; kinds that the agreed version does not have are errors. `Hello` and `HelloAck` never change
//! their beginnings: they are how two members find the version and the record format that both know.
//!
//! Decoding is total: any bytes give a message or an error, and nothing is allocated.

use phalanx_dataplane::replica::{FORMAT, Position, TableVersion};
use phalanx_dataplane::unit::Unit;

use super::limits::{BATCH_BYTES_MAX, MESSAGE_BYTES_MAX, WORKERS_MAX};
use crate::codec::{DecodeError, Reader};

/// The protocol's versions that are spoken here, lowest and highest.
pub const VERSIONS: Range = Range { lowest: 1, highest: 1 };
/// The record formats that are written and read here.
pub const FORMATS: Range = Range { lowest: FORMAT, highest: FORMAT };

/// Neighbouring versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The lowest.
    pub lowest: u8,
    /// The highest.
    pub highest: u8,
}

impl Range {
    /// The highest that both have.
    pub fn common(self, other: Self) -> Option<u8> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest)).then_some(highest)
    }

    /// Whether it is among them.
    pub const fn contains(self, version: u8) -> bool {
        self.lowest <= version && version <= self.highest
    }
}

/// An owner's worker introduces itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Protocol versions that it speaks.
    pub versions: Range,
    /// Record formats that it can write.
    pub formats: Range,
    /// Which start of the member it is.
    pub incarnation: u64,
    /// The worker's number.
    pub worker: u16,
    /// How many workers its member has.
    pub workers: u16,
}

/// A backup's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HelloAck {
    /// The protocol version to be spoken.
    pub version: u8,
    /// The record format to be written.
    pub format: u8,
    /// The table under which it has refused something, at some time.
    pub fenced: Option<TableVersion>,
    /// How far it has the log of this start of this worker; if at all.
    pub has: Option<Position>,
}

/// Why a side ends the stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Reason {
    /// It is no longer needed.
    #[error("it is not needed any more")]
    Done,
    /// No version in common.
    #[error("the members' versions are too far apart: upgrade one step at a time")]
    Version,
    /// A newer start of the same member was here.
    #[error("a newer start of the same member was here already")]
    Superseded,
    /// What came is no message, no update, or not at its place.
    #[error("what came is no message, or not at its place")]
    Malformed,
}

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// See [`Hello`].
    Hello(Hello),
    /// See [`HelloAck`].
    HelloAck(HelloAck),
    /// The log begins anew behind this position. The owner's units (of this worker) are out of sync until checked.
    Begin(Position),
    /// A piece of the log.
    Batch {
        /// It follows this position,
        first: Position,
        /// and ends with this one.
        last: Position,
        /// The table that the owner acted under.
        version: TableVersion,
        /// The format byte and updates.
        bytes: &'a [u8],
    },
    /// All up to here is applied, but for what was said before.
    Ack(Position),
    /// Something up to `position` was refused, because by this table its unit is another's.
    Fenced {
        /// The end of the batch.
        position: Position,
        /// The backup's table.
        version: TableVersion,
    },
    /// A unit is out of sync because of something up to `position`.
    Unsynced {
        /// The end of the batch.
        position: Position,
        /// The unit.
        unit: Unit,
    },
    /// This side ends the stream.
    Close(Reason),
}

/// Why bytes are no message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum MessageError {
    /// They end too early.
    #[error("a message ends too early")]
    Truncated,
    /// It is longer than allowed.
    #[error("a message is longer than allowed")]
    TooLong,
    /// No such kind.
    #[error("message kind {0} is unknown")]
    Kind(u8),
    /// A field's value is not allowed.
    #[error("the message's {0} has no allowed value")]
    Value(&'static str),
}

impl From<DecodeError> for MessageError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Truncated => Self::Truncated,
            DecodeError::TooMany => Self::TooLong,
            DecodeError::Type(kind) => Self::Kind(kind),
            DecodeError::Format(_) => Self::Value("format"),
            DecodeError::Value(field) => Self::Value(field),
        }
    }
}

/// What a stream begins with: nobody else's stream is mistaken for one.
const MAGIC: [u8; 4] = *b"PHXR";

impl<'a> Message<'a> {
    /// Appends the message with its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&[0; 4]);
        match self {
            Self::Hello(hello) => {
                out.push(1);
                out.extend_from_slice(&MAGIC);
                for range in [hello.versions, hello.formats] {
                    out.extend_from_slice(&[range.lowest, range.highest]);
                }
                out.extend_from_slice(&hello.incarnation.to_be_bytes());
                out.extend_from_slice(&hello.worker.to_be_bytes());
                out.extend_from_slice(&hello.workers.to_be_bytes());
            }
            Self::HelloAck(ack) => {
                out.extend_from_slice(&[2, ack.version, ack.format]);
                out.push(u8::from(ack.fenced.is_some()));
                put_version(out, ack.fenced.unwrap_or_default());
                out.push(u8::from(ack.has.is_some()));
                put_position(out, ack.has.unwrap_or_default());
            }
            Self::Begin(position) => {
                out.push(3);
                put_position(out, *position);
            }
            Self::Batch { first, last, version, bytes } => {
                batch_head(out, *first, *last, *version, bytes.len());
                out.extend_from_slice(bytes);
            }
            Self::Ack(position) => {
                out.push(5);
                put_position(out, *position);
            }
            Self::Fenced { position, version } => {
                out.push(6);
                put_position(out, *position);
                put_version(out, *version);
            }
            Self::Unsynced { position, unit } => {
                out.push(7);
                put_position(out, *position);
                out.extend_from_slice(&unit.number().to_be_bytes());
            }
            Self::Close(reason) => out.extend_from_slice(&[8, reason_number(*reason)]),
        }
        put_length(out, begin);
    }

    /// Appends a batch whose bytes `write` writes.
    pub fn encode_batch(
        out: &mut Vec<u8>,
        (first, last): (Position, Position),
        version: TableVersion,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let begin = out.len();
        out.extend_from_slice(&[0; 4]);
        batch_head(out, first, last, version, 0);
        let content = out.len();
        write(out);
        let length = ((out.len() - content) as u32).to_be_bytes();
        if let Some(place) = out.get_mut(content - 4..content) {
            place.copy_from_slice(&length);
        }
        put_length(out, begin);
    }

    /// The message that the bytes (without their length) are.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLong);
        }
        let r = &mut Reader(bytes);
        Ok(match r.u8()? {
            1 => Self::Hello(hello(r)?),
            2 => Self::HelloAck(hello_ack(r)?),
            3 => Self::Begin(position(r)?),
            4 => {
                let (first, last, version) = (position(r)?, position(r)?, version(r)?);
                let length = r.u32()? as usize;
                if length > BATCH_BYTES_MAX {
                    return Err(MessageError::TooLong);
                }
                if last <= first {
                    return Err(MessageError::Value("position"));
                }
                Self::Batch { first, last, version, bytes: r.take(length)? }
            }
            5 => Self::Ack(position(r)?),
            6 => Self::Fenced { position: position(r)?, version: version(r)? },
            7 => Self::Unsynced { position: position(r)?, unit: r.unit()? },
            8 => Self::Close(match r.u8()? {
                1 => Reason::Done,
                2 => Reason::Version,
                3 => Reason::Superseded,
                4 => Reason::Malformed,
                _ => return Err(MessageError::Value("reason")),
            }),
            kind => return Err(MessageError::Kind(kind)),
        })
    }
}

const fn reason_number(reason: Reason) -> u8 {
    match reason {
        Reason::Done => 1,
        Reason::Version => 2,
        Reason::Superseded => 3,
        Reason::Malformed => 4,
    }
}

fn batch_head(out: &mut Vec<u8>, first: Position, last: Position, version: TableVersion, length: usize) {
    out.push(4);
    put_position(out, first);
    put_position(out, last);
    put_version(out, version);
    out.extend_from_slice(&(length as u32).to_be_bytes());
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(&position.0.to_be_bytes());
}

fn put_version(out: &mut Vec<u8>, version: TableVersion) {
    out.extend_from_slice(&version.term.to_be_bytes());
    out.extend_from_slice(&version.generation.to_be_bytes());
}

fn put_length(out: &mut [u8], begin: usize) {
    let length = ((out.len() - begin - 4) as u32).to_be_bytes();
    if let Some(place) = out.get_mut(begin..begin + 4) {
        place.copy_from_slice(&length);
    }
}

fn position(r: &mut Reader<'_>) -> Result<Position, DecodeError> {
    r.u64().map(Position)
}

fn version(r: &mut Reader<'_>) -> Result<TableVersion, DecodeError> {
    Ok(TableVersion { term: r.u64()?, generation: r.u64()? })
}

fn range(r: &mut Reader<'_>) -> Result<Range, MessageError> {
    let range = Range { lowest: r.u8()?, highest: r.u8()? };
    if range.lowest <= range.highest { Ok(range) } else { Err(MessageError::Value("version range")) }
}

/// A value that is there or not: a flag, and its bytes in either case.
fn optional<T>(
    r: &mut Reader<'_>,
    value: fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    let there = r.bool()?;
    value(r).map(|value| there.then_some(value))
}

fn hello(r: &mut Reader<'_>) -> Result<Hello, MessageError> {
    if r.array()? != MAGIC {
        return Err(MessageError::Value("beginning"));
    }
    let (versions, formats) = (range(r)?, range(r)?);
    let (incarnation, worker, workers) = (r.u64()?, r.u16()?, r.u16()?);
    if worker >= workers || workers > WORKERS_MAX {
        return Err(MessageError::Value("worker"));
    }
    Ok(Hello { versions, formats, incarnation, worker, workers })
}

fn hello_ack(r: &mut Reader<'_>) -> Result<HelloAck, MessageError> {
    let (version_spoken, format) = (r.u8()?, r.u8()?);
    let fenced = optional(r, version)?;
    let has = optional(r, position)?;
    Ok(HelloAck { version: version_spoken, format, fenced, has })
}
