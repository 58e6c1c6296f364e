//! A piece of an outbox's log: updates one behind the other, and for each the members that it is for.
//!
//! Segments are shared with the transport, which writes them to one backup after the other: as they are where every
//! update is for that backup, else update by update.

use super::members::MemberSet;
use super::record::{FORMAT, Position, TableVersion};
use crate::unit::MemberId;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    /// Where it ends among the bytes.
    end: u32,
    to: MemberSet,
}

/// A closed piece of the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    pub(super) last: Position,
    pub(super) version: TableVersion,
    /// The format byte and the updates.
    pub(super) bytes: Vec<u8>,
    parts: Vec<Part>,
    any: MemberSet,
    all: MemberSet,
}

impl Segment {
    /// The log's position at its end.
    pub const fn last(&self) -> Position {
        self.last
    }

    /// The table that its owner acted under.
    pub const fn version(&self) -> TableVersion {
        self.version
    }

    /// Whether it holds an update for the member.
    pub const fn concerns(&self, member: MemberId) -> bool {
        self.any.contains(member)
    }

    /// Appends the batch that it is for a member.
    pub fn write_for(&self, member: MemberId, out: &mut Vec<u8>) {
        if self.all.contains(member) {
            out.extend_from_slice(&self.bytes);
            return;
        }
        out.push(FORMAT);
        let (mut begin, mut run) = (1, 1);
        for part in &self.parts {
            let end = part.end as usize;
            if !part.to.contains(member) {
                out.extend_from_slice(self.bytes.get(run..begin).unwrap_or(&[]));
                run = end;
            }
            begin = end;
        }
        out.extend_from_slice(self.bytes.get(run..begin).unwrap_or(&[]));
    }

    pub(super) fn reset(&mut self) {
        self.bytes.clear();
        self.parts.clear();
        (self.any, self.all) = (MemberSet::EMPTY, MemberSet::EMPTY);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Appends what `write` writes, for these members; says how long it was.
    pub(super) fn append(&mut self, to: MemberSet, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        if self.parts.is_empty() {
            self.bytes.clear();
            self.bytes.push(FORMAT);
            self.all = to;
        }
        let before = self.bytes.len();
        write(&mut self.bytes);
        self.any = self.any.union(to);
        self.all = self.all.intersection(to);
        let end = self.bytes.len() as u32;
        match self.parts.last_mut() {
            // Neighbours for the same members are one part.
            Some(part) if part.to == to => part.end = end,
            _ => self.parts.push(Part { end, to }),
        }
        self.bytes.len() - before
    }

    /// The memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.parts.capacity() * size_of::<Part>() + size_of::<Self>()
    }
}
