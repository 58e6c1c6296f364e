//! Updates as bytes.
//!
//! A batch is a format byte and updates, one behind the other:
//!
//! ```text
//!  0            4      5     6        8               24
//!  +------------+------+-----+--------+---------------+------------------------+---------------+
//!  | length u32 | kind | app | unit   | session u128  | the kind's fields      | added fields  |
//!  +------------+------+-----+--------+---------------+------------------------+---------------+
//!               '------------------------- length ---------------------------------------------'
//! ```
//! All numbers are big-endian. Within a format, newer versions may add fields behind those of a kind, and kinds: an older member
//! skips what it does not know, *keeps* it with the session (of an unknown kind the latest one), and gives it back in
//! a put. Fields added to kinds that change streams are skipped only; what is to last belongs into a state or a kind of its own.
//! Another format is for changes that this cannot express; which one two members speak they agree on when they meet.
//!
//! Decoding is total and borrows: any bytes give updates or [`Malformed`], and nothing is allocated.

use std::fmt;

use super::limits::{STATE_BYTES_MAX, STREAMS_MAX, UPDATE_BYTES_MAX};
use crate::unit::Unit;

/// The batch format spoken here.
pub const FORMAT: u8 = 1;

/// A session's key, unique in its unit; what it is made of is its app's matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionKey(pub u128);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{:x}", self.0)
    }
}

/// How many updates an outbox's log had with this one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

/// Which assignment table someone acted under: the master's term, then the generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TableVersion {
    /// The master's term.
    pub term: u64,
    /// Rises with each change of the table.
    pub generation: u64,
}

/// One change of one session's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Update<'a> {
    /// The session's unit.
    pub unit: Unit,
    /// The session; [`SessionKey::default`] where the change is the whole unit's.
    pub session: SessionKey,
    /// The app that the session belongs to.
    pub app: u8,
    /// What changes.
    pub change: Change<'a>,
    /// Fields that a newer version added, as they came. Empty in what this version makes.
    pub added: &'a [u8],
}

/// What changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// The state that is sent once: the session begins.
    Initial {
        /// The record's version, the app's.
        version: u8,
        /// The record.
        bytes: &'a [u8],
    },
    /// The state that is sent when it changes; replaces what was sent before.
    Essential {
        /// The record's version, the app's.
        version: u8,
        /// The record.
        bytes: &'a [u8],
    },
    /// Bytes at a stream's end.
    Append {
        /// The stream, `0..STREAMS_MAX`.
        stream: u8,
        /// Where the first of them stands: the stream's end so far.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// What stands before `to` is needed no more. The end of the stream is trimmed as if it were a byte.
    Trim {
        /// The stream.
        stream: u8,
        /// The first byte that is still needed.
        to: u64,
    },
    /// The stream ends here: no byte at `offset` or behind it will come.
    End {
        /// The stream.
        stream: u8,
        /// Its end.
        offset: u64,
    },
    /// The session is over.
    Remove,
    /// Forget what is known of the session: a put follows (`Initial`, `Essential`, and `Trim`, `Append`, `End` for each
    /// stream), in updates that follow at once.
    Reset,
    /// The owner's digest of the unit at this point of the log. A backup that has the same is in sync.
    UnitCheck {
        /// The digest.
        digest: u64,
    },
    /// A snapshot of the unit begins.
    UnitBegin,
    /// A snapshot of the unit has ended; this is the owner's digest at this point of the log.
    UnitComplete {
        /// The digest.
        digest: u64,
    },
    /// A kind of a newer version: kept with the session.
    Unknown {
        /// The kind's number; at least [`Change::FIRST_UNKNOWN`].
        kind: u8,
        /// Its fields.
        bytes: &'a [u8],
    },
}

impl Change<'_> {
    /// The lowest number that no kind of this version has.
    pub const FIRST_UNKNOWN: u8 = 11;

    const fn kind(&self) -> u8 {
        match self {
            Self::Initial { .. } => 1,
            Self::Essential { .. } => 2,
            Self::Append { .. } => 3,
            Self::Trim { .. } => 4,
            Self::End { .. } => 5,
            Self::Remove => 6,
            Self::Reset => 7,
            Self::UnitCheck { .. } => 8,
            Self::UnitBegin => 9,
            Self::UnitComplete { .. } => 10,
            Self::Unknown { kind, .. } => *kind,
        }
    }
}

/// Why bytes are no batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("an update ends too early")]
    Truncated,
    /// Another format.
    #[error("record format {0} is not spoken here: run members of neighbouring versions only")]
    Format(u8),
    /// An update is longer than [`UPDATE_BYTES_MAX`].
    #[error("an update is longer than allowed")]
    TooLong,
    /// A field's value is not allowed.
    #[error("an update's {0} has no allowed value")]
    Value(&'static str),
}

/// What stands before the kind's fields, without the length.
const HEAD_BYTES: usize = 20;

impl<'a> Update<'a> {
    /// An update of this version.
    pub const fn new(unit: Unit, session: SessionKey, app: u8, change: Change<'a>) -> Self {
        Self { unit, session, app, change, added: &[] }
    }

    /// An update of a whole unit.
    pub const fn of_unit(unit: Unit, change: Change<'a>) -> Self {
        Self::new(unit, SessionKey(0), 0, change)
    }

    /// Appends the update's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[self.change.kind(), self.app]);
        out.extend_from_slice(&self.unit.number().to_be_bytes());
        out.extend_from_slice(&self.session.0.to_be_bytes());
        match self.change {
            Change::Initial { version, bytes } | Change::Essential { version, bytes } => {
                out.push(version);
                put_bytes(out, bytes);
            }
            Change::Append { stream, offset, bytes } => {
                out.push(stream);
                out.extend_from_slice(&offset.to_be_bytes());
                put_bytes(out, bytes);
            }
            Change::Trim { stream, to: offset } | Change::End { stream, offset } => {
                out.push(stream);
                out.extend_from_slice(&offset.to_be_bytes());
            }
            Change::UnitCheck { digest } | Change::UnitComplete { digest } => {
                out.extend_from_slice(&digest.to_be_bytes());
            }
            Change::Remove | Change::Reset | Change::UnitBegin => {}
            Change::Unknown { bytes, .. } => out.extend_from_slice(bytes),
        }
        out.extend_from_slice(self.added);
        let length = (out.len() - begin - 4) as u32;
        if let Some(head) = out.get_mut(begin..begin + 4) {
            head.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// The update that the bytes (without their length) are.
    pub fn decode(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut r = Reader(frame);
        let (kind, app) = (r.u8()?, r.u8()?);
        let unit = Unit::new(r.u16()?).ok_or(Malformed::Value("unit"))?;
        let session = SessionKey(u128::from_be_bytes(r.array()?));
        let change = match kind {
            0 => return Err(Malformed::Value("kind")),
            1 => Change::Initial { version: r.u8()?, bytes: r.state()? },
            2 => Change::Essential { version: r.u8()?, bytes: r.state()? },
            3 => {
                let (stream, offset, bytes) = (r.stream()?, r.u64()?, r.state()?);
                offset
                    .checked_add(bytes.len() as u64)
                    .filter(|end| *end < u64::MAX)
                    .ok_or(Malformed::Value("offset"))?;
                Change::Append { stream, offset, bytes }
            }
            4 => Change::Trim { stream: r.stream()?, to: r.u64()? },
            5 => {
                let (stream, offset) = (r.stream()?, r.u64()?);
                if offset == u64::MAX {
                    return Err(Malformed::Value("offset"));
                }
                Change::End { stream, offset }
            }
            6 => Change::Remove,
            7 => Change::Reset,
            8 => Change::UnitCheck { digest: r.u64()? },
            9 => Change::UnitBegin,
            10 => Change::UnitComplete { digest: r.u64()? },
            kind => {
                let bytes = r.take(r.0.len())?;
                if bytes.len() > STATE_BYTES_MAX {
                    return Err(Malformed::TooLong);
                }
                Change::Unknown { kind, bytes }
            }
        };
        if r.0.len() > STATE_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        Ok(Self { unit, session, app, change, added: r.0 })
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A batch's format and what follows it.
pub fn batch_format(batch: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    match batch.split_first() {
        Some((&FORMAT, frames)) => Ok((FORMAT, frames)),
        Some((&other, _)) => Err(Malformed::Format(other)),
        None => Err(Malformed::Truncated),
    }
}

/// A batch's updates, up to the first that is none.
pub fn updates(batch: &[u8]) -> impl Iterator<Item = Result<Update<'_>, Malformed>> {
    let (frames, refused) = match batch_format(batch) {
        Ok((_, frames)) => (frames, None),
        Err(error) => (&[][..], Some(Err(error))),
    };
    refused.into_iter().chain(Frames::new(frames).map(|frame| frame.and_then(|it| Update::decode(it.content))))
}

/// One update's place among the bytes of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// All of it, with its length.
    pub whole: &'a [u8],
    /// What follows the length.
    pub content: &'a [u8],
}

/// Walks over a batch's updates (what follows the format byte) without decoding them. Ends after the first error.
pub struct Frames<'a>(&'a [u8]);

impl<'a> Frames<'a> {
    /// A walk over these bytes.
    pub const fn new(frames: &'a [u8]) -> Self {
        Self(frames)
    }

    /// What has not been walked over.
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn step(&mut self) -> Result<Frame<'a>, Malformed> {
        let length = u32::from_be_bytes(Reader(self.0).array()?) as usize;
        if length > UPDATE_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        if length < HEAD_BYTES {
            return Err(Malformed::Truncated);
        }
        let (whole, rest) = self.0.split_at_checked(4 + length).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(Frame { whole, content: whole.get(4..).unwrap_or(&[]) })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.0 = &[];
        }
        Some(step)
    }
}

/// The unit that a frame's content is about: all that is needed to find the worker that serves it.
pub fn frame_unit(content: &[u8]) -> Result<Unit, Malformed> {
    let mut r = Reader(content);
    r.take(2)?;
    Unit::new(r.u16()?).ok_or(Malformed::Value("unit"))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed::Truncated)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn stream(&mut self) -> Result<u8, Malformed> {
        self.u8().and_then(|it| if usize::from(it) < STREAMS_MAX { Ok(it) } else { Err(Malformed::Value("stream")) })
    }

    /// Bytes behind their length.
    fn state(&mut self) -> Result<&'a [u8], Malformed> {
        let length = u32::from_be_bytes(self.array()?) as usize;
        if length > STATE_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        self.take(length)
    }
}
