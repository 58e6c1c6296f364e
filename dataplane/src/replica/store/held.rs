//! One session in a store: how each change is made, and what contradicts what is known.

use super::super::digest::{DigestKey, SessionDigest};
use super::super::limits::{STREAMS_MAX, UNKNOWN_KINDS_MAX};
use super::super::record::{Change, Update};
use super::super::session::{Buffers, Record, State, Stream};
use super::refusal::Refused;

/// A session and what the store notes of it.
pub(super) struct Held {
    pub(super) record: Record,
    pub(super) digest: SessionDigest,
    /// What `digest` with the streams came to: the session's part of the unit's sum.
    pub(super) value: u64,
    /// In which snapshot of its unit it was put.
    pub(super) epoch: u32,
    /// Whether it stands in the unit's list of busy sessions.
    pub(super) listed: bool,
}

/// What a change has to keep to.
pub(super) struct Context {
    pub(super) key: DigestKey,
    pub(super) stream_bytes_max: usize,
    /// Bytes that the store has left.
    pub(super) room: usize,
}

impl Held {
    pub(super) fn change(
        &mut self,
        update: &Update<'_>,
        context: &Context,
        buffers: &mut Buffers,
    ) -> Result<(), Refused> {
        match update.change {
            Change::Initial { version, bytes } => {
                context.fits(bytes.len() + update.added.len())?;
                self.record.initial.get_or_insert_with(State::default).set(version, bytes, update.added);
                self.digest.set_initial(context.key, version, bytes, update.added);
                Ok(())
            }
            Change::Essential { version, bytes } => {
                context.fits(bytes.len() + update.added.len())?;
                self.record.essential.get_or_insert_with(State::default).set(version, bytes, update.added);
                self.digest.set_essential(context.key, version, bytes, update.added);
                Ok(())
            }
            Change::Append { stream, offset, bytes } => self.stream(stream)?.append(offset, bytes, context, buffers),
            Change::Trim { stream, to } => self.stream(stream)?.trim(to, buffers),
            Change::End { stream, offset } => self.stream(stream)?.finish(offset),
            Change::Unknown { kind, bytes } => {
                context.fits(bytes.len())?;
                self.set_unknown(kind, bytes)?;
                let kinds = self.record.unknown.iter().map(|(kind, bytes)| (*kind, bytes.as_slice()));
                self.digest.set_unknown(context.key, kinds);
                Ok(())
            }
            Change::Remove
            | Change::Reset
            | Change::UnitCheck { .. }
            | Change::UnitBegin
            | Change::UnitComplete { .. } => Ok(()),
        }
    }

    fn stream(&mut self, number: u8) -> Result<&mut Stream, Refused> {
        let index = usize::from(number);
        if index >= STREAMS_MAX {
            return Err(Refused::Contradiction);
        }
        if self.record.streams.len() <= index {
            self.record.streams.resize_with(index + 1, Stream::default);
        }
        self.record.streams.get_mut(index).ok_or(Refused::Contradiction)
    }

    fn set_unknown(&mut self, kind: u8, bytes: &[u8]) -> Result<(), Refused> {
        let unknown = &mut self.record.unknown;
        let place = match unknown.binary_search_by_key(&kind, |(kind, _)| *kind) {
            Ok(place) => place,
            Err(_) if unknown.len() >= UNKNOWN_KINDS_MAX => return Err(Refused::OverLimits),
            Err(place) => {
                unknown.insert(place, (kind, Vec::new()));
                place
            }
        };
        if let Some((_, kept)) = unknown.get_mut(place) {
            kept.clear();
            kept.extend_from_slice(bytes);
        }
        Ok(())
    }
}

impl Context {
    fn fits(&self, bytes: usize) -> Result<(), Refused> {
        if bytes <= self.room { Ok(()) } else { Err(Refused::OverLimits) }
    }
}

impl Stream {
    fn append(&mut self, offset: u64, bytes: &[u8], context: &Context, buffers: &mut Buffers) -> Result<(), Refused> {
        if offset != self.end() {
            return Err(Refused::Gap);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let in_range = offset.checked_add(bytes.len() as u64).is_some_and(|end| end < u64::MAX);
        if self.fin.is_some() || !in_range {
            return Err(Refused::Contradiction);
        }
        let length = self.bytes.len() + bytes.len();
        // A buffer that grows may double.
        let growth = if length > self.bytes.capacity() { 2 * length } else { 0 };
        if length > context.stream_bytes_max || growth > context.room {
            return Err(Refused::OverLimits);
        }
        if self.bytes.capacity() == 0 {
            self.bytes = buffers.take();
        }
        self.bytes.extend(bytes);
        Ok(())
    }

    /// A stream that was never used may be moved anywhere: that is how a put tells where it stands.
    fn trim(&mut self, to: u64, buffers: &mut Buffers) -> Result<(), Refused> {
        let end = self.end();
        let fresh = end == 0 && self.fin.is_none();
        let last = self.fin.map_or(end, |fin| fin.saturating_add(1));
        if to > last && !fresh {
            return Err(Refused::Gap);
        }
        if to <= self.start {
            return Ok(());
        }
        let gone = usize::try_from(to - self.start).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.drain(..gone);
        self.start = to;
        if self.bytes.is_empty() {
            buffers.give(std::mem::take(&mut self.bytes));
        }
        Ok(())
    }

    fn finish(&mut self, offset: u64) -> Result<(), Refused> {
        match self.fin {
            Some(fin) if fin == offset => Ok(()),
            Some(_) => Err(Refused::Contradiction),
            None if offset == u64::MAX => Err(Refused::Contradiction),
            None if offset != self.end() => Err(Refused::Gap),
            None => {
                self.fin = Some(offset);
                Ok(())
            }
        }
    }
}
