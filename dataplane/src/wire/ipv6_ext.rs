//! IPv6 extension headers (RFC 8200 section 4): a bounded walk to the upper layer, and the fragment header.
//!
//! The walk stops at AH: its SPI is what the filter wants, and nobody between the ends may look behind it.

use super::{WireError, bytes, proto};

mod field {
    pub(super) const NEXT_HEADER: usize = 0;
    pub(super) const LENGTH: usize = 1;
    pub(super) const OFFSET_MORE: usize = 2;
    pub(super) const ID: usize = 4;
}

/// Extension headers that a packet may have; each kind is expected at most once or twice (RFC 8200 section 4.1), so
/// honest packets stay far below.
pub const HEADERS_MAX: usize = 8;
/// Length of a fragment header.
pub const FRAGMENT_LEN: usize = 8;

/// What a fragment header says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fragment {
    /// Where this fragment belongs in the fragmentable part, in bytes.
    pub offset: u16,
    /// It isn't the last.
    pub more: bool,
    /// What the fragments of one packet share.
    pub id: u32,
}

/// Where a walk ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Walk {
    /// The protocol found there.
    pub proto: u8,
    /// Its offset from the start of the bytes walked.
    pub offset: usize,
    /// The last fragment header on the way.
    pub fragment: Option<Fragment>,
    /// Where the byte that names that fragment header stands: the end of the part that every fragment repeats.
    pub fragment_at: usize,
}

/// Walks from `next_header` at the start of `payload` to the upper layer. Behind the header of a fragment that is not
/// the first no header is looked for: what stands there is data.
#[inline]
pub fn walk(next_header: u8, payload: &[u8]) -> Result<Walk, WireError> {
    let mut walk = Walk { proto: next_header, offset: 0, fragment: None, fragment_at: 0 };
    for count in 0..=HEADERS_MAX {
        let header = bytes::tail(payload, walk.offset);
        let len = match walk.proto {
            proto::HOP_BY_HOP if count > 0 => return Err(WireError::Kind),
            proto::HOP_BY_HOP | proto::ROUTING | proto::DESTINATION_OPTIONS => {
                8 + 8 * usize::from(bytes::u8_at(header, field::LENGTH))
            }
            proto::FRAGMENT => FRAGMENT_LEN,
            _ => return Ok(walk),
        };
        if header.len() < len {
            return Err(WireError::Truncated);
        }
        if walk.proto == proto::FRAGMENT {
            walk.fragment = Some(parse_fragment(header));
            walk.fragment_at = walk.offset;
        }
        walk.proto = bytes::u8_at(header, field::NEXT_HEADER);
        walk.offset += len;
        if walk.fragment.is_some_and(|fragment| fragment.offset > 0) {
            return Ok(walk);
        }
    }
    Err(WireError::Length)
}

#[inline]
fn parse_fragment(header: &[u8]) -> Fragment {
    let word = bytes::u16_at(header, field::OFFSET_MORE);
    Fragment { offset: word & 0xfff8, more: word & 1 != 0, id: bytes::u32_at(header, field::ID) }
}

impl Fragment {
    /// Writes the header in front of a fragment of `next_header`; returns its length.
    pub fn emit(&self, next_header: u8, buffer: &mut [u8]) -> Result<usize, WireError> {
        if buffer.len() < FRAGMENT_LEN {
            return Err(WireError::Truncated);
        }
        bytes::put(buffer, field::NEXT_HEADER, [next_header, 0]);
        bytes::put_u16(buffer, field::OFFSET_MORE, self.offset & 0xfff8 | u16::from(self.more));
        bytes::put_u32(buffer, field::ID, self.id);
        Ok(FRAGMENT_LEN)
    }
}
