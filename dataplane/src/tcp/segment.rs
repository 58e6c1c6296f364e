//! A segment (RFC 9293 section 3.1): read into plain values, and written.

use super::flow::{Flow, pseudo_header};
use super::options::Options;
use super::seq::Seq;
use crate::wire::tcp::{self, FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, HEADER_LEN};
use crate::wire::{WireError, bytes};
use std::net::IpAddr;

const CHECKSUM: usize = 16;

/// Why bytes are not a segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum SegmentError {
    /// Not a whole header.
    #[error("not a TCP header: {0}")]
    Header(#[from] WireError),
    /// The checksum is wrong.
    #[error("the TCP checksum is wrong")]
    Checksum,
}

/// A segment that was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// Sequence number of the first octet (of the SYN, if it has one).
    pub seq: Seq,
    /// The next octet that the sender expects; means nothing without ACK.
    pub ack: Seq,
    /// `wire::tcp::FLAG_*`.
    pub flags: u8,
    /// The window, unscaled.
    pub window: u16,
    /// The options.
    pub options: Options,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads what an IP packet carries: all of it, without Ethernet's padding. The checksum must be right (MUST-3).
    pub fn parse(data: &'a [u8], source: IpAddr, destination: IpAddr) -> Result<Self, SegmentError> {
        let segment = Self::parse_verified(data)?;
        if pseudo_header(source, destination, data.len()).bytes(data).is_valid() {
            Ok(segment)
        } else {
            Err(SegmentError::Checksum)
        }
    }

    /// The same where the card has verified the checksum.
    pub fn parse_verified(data: &'a [u8]) -> Result<Self, SegmentError> {
        let packet = tcp::Packet::new_checked(data)?;
        let header_len = packet.header_len();
        Ok(Self {
            source_port: packet.source_port(),
            destination_port: packet.destination_port(),
            seq: Seq(packet.sequence()),
            ack: Seq(packet.acknowledgement()),
            flags: packet.flags(),
            window: packet.window(),
            options: Options::parse(data.get(HEADER_LEN..header_len).unwrap_or(&[])),
            payload: bytes::tail(data, header_len),
        })
    }

    /// SYN.
    pub const fn syn(&self) -> bool {
        self.flags & FLAG_SYN != 0
    }

    /// ACK.
    pub const fn has_ack(&self) -> bool {
        self.flags & FLAG_ACK != 0
    }

    /// RST.
    pub const fn rst(&self) -> bool {
        self.flags & FLAG_RST != 0
    }

    /// FIN.
    pub const fn fin(&self) -> bool {
        self.flags & FLAG_FIN != 0
    }

    /// The sequence numbers that it takes up: SYN and FIN count one each.
    pub const fn len(&self) -> u32 {
        self.payload.len() as u32 + self.syn() as u32 + self.fin() as u32
    }

    /// Whether it takes up no sequence number.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A header that is to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repr {
    /// Whose segment: local is the sender.
    pub flow: Flow,
    /// Sequence number.
    pub seq: Seq,
    /// Acknowledgement; zero without ACK.
    pub ack: Seq,
    /// `wire::tcp::FLAG_*`.
    pub flags: u8,
    /// The window, already scaled down.
    pub window: u16,
    /// The options.
    pub options: Options,
}

impl Repr {
    /// A RST: with this sequence number, and with an acknowledgement if there is one.
    pub(super) fn reset(flow: Flow, seq: Seq, ack: Option<Seq>) -> Self {
        let flags = if ack.is_some() { FLAG_RST | FLAG_ACK } else { FLAG_RST };
        Self { flow, seq, ack: ack.unwrap_or_default(), flags, window: 0, options: Options::default() }
    }

    /// Header and options, in bytes.
    pub fn header_len(&self) -> usize {
        HEADER_LEN + self.options.buffer_len()
    }

    /// Writes the whole segment; the payload is what the two slices hold, one behind the other. Returns its length.
    pub fn emit(&self, payload: [&[u8]; 2], buffer: &mut [u8]) -> Result<usize, WireError> {
        let mut at = self.emit_header(buffer)?;
        for part in payload {
            buffer.get_mut(at..at + part.len()).ok_or(WireError::Truncated)?.copy_from_slice(part);
            at += part.len();
        }
        self.fill_checksum(buffer, at)?;
        Ok(at)
    }

    /// Writes the header, checksum zero: the payload goes behind it, then [`Self::fill_checksum`].
    pub(super) fn emit_header(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        let len = self.header_len();
        let header = buffer.get_mut(..len).ok_or(WireError::Truncated)?;
        bytes::put_u16(header, 0, self.flow.local_port);
        bytes::put_u16(header, 2, self.flow.remote_port);
        bytes::put_u32(header, 4, self.seq.0);
        bytes::put_u32(header, 8, if self.flags & FLAG_ACK != 0 { self.ack.0 } else { 0 });
        bytes::put(header, 12, [(len as u8 / 4) << 4, self.flags]);
        bytes::put_u16(header, 14, self.window);
        bytes::put_u32(header, CHECKSUM, 0);
        self.options.emit(header.get_mut(HEADER_LEN..).unwrap_or(&mut []));
        Ok(len)
    }

    /// Fills in the checksum of a segment of this length (MUST-2).
    pub(super) fn fill_checksum(&self, buffer: &mut [u8], len: usize) -> Result<(), WireError> {
        let segment = buffer.get_mut(..len).ok_or(WireError::Truncated)?;
        let sum = pseudo_header(self.flow.local_ip, self.flow.remote_ip, len).bytes(segment).checksum();
        bytes::put_u16(segment, CHECKSUM, sum);
        Ok(())
    }
}

/// Writes the RST that answers a segment for which there is no connection (RFC 9293 section 3.10.7.1). `None`: it is a
/// RST itself, or the buffer is short.
pub fn refuse(flow: &Flow, segment: &Segment<'_>, buffer: &mut [u8]) -> Option<usize> {
    if segment.rst() {
        return None;
    }
    let reset = if segment.has_ack() {
        Repr::reset(*flow, segment.ack, None)
    } else {
        Repr::reset(*flow, Seq(0), Some(segment.seq.plus(segment.len())))
    };
    reset.emit([&[], &[]], buffer).ok()
}
