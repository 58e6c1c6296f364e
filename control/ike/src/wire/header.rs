//! The header that every message begins with (RFC 7296 section 3.1).
//!
//! ```text
//!   0         8         16     17        18         19      20           24       28
//!   ┌─────────┬─────────┬──────┬─────────┬──────────┬───────┬────────────┬────────┐
//!   │ SPI     │ SPI     │ first│ version │ exchange │ flags │ message ID │ length │
//!   │ (init.) │ (resp.) │ kind │         │          │       │            │        │
//!   └─────────┴─────────┴──────┴─────────┴──────────┴───────┴────────────┴────────┘
//! ```

use super::bytes::Reader;
use super::limits::MESSAGE_BYTES_MAX;
use super::{Exchange, Header, Malformed};

/// Its length.
pub const HEADER_BYTES: usize = 28;

const MAJOR: u8 = 2;
const FROM_INITIATOR: u8 = 0x08;
const RESPONSE: u8 = 0x20;

/// The header alone, for an error about what follows it. The message's length is right, its version is 2.
pub fn header(bytes: &[u8]) -> Result<Header, Malformed> {
    split(bytes).map(|(header, _, _)| header)
}

/// The header, the kind of the first payload, and what follows.
pub(super) fn split(bytes: &[u8]) -> Result<(Header, u8, &[u8]), Malformed> {
    let (major, header, first, rest) = fields(bytes)?;
    if major == MAJOR { Ok((header, first, rest)) } else { Err(Malformed::Version(major)) }
}

/// The major version, and the header as if it were one of version 2: SPIs and message ID have stood where they stand
/// since version 1, so that a newer one can be answered with [`super::notify::INVALID_MAJOR_VERSION`].
pub fn header_of_any_version(bytes: &[u8]) -> Result<(u8, Header), Malformed> {
    fields(bytes).map(|(major, header, _, _)| (major, header))
}

fn fields(bytes: &[u8]) -> Result<(u8, Header, u8, &[u8]), Malformed> {
    let mut reader = Reader::new(bytes);
    let (initiator_spi, responder_spi) = (reader.u64()?, reader.u64()?);
    let (first, version, exchange, flags) = (reader.u8()?, reader.u8()?, Exchange(reader.u8()?), reader.u8()?);
    let (message_id, len) = (reader.u32()?, u64::from(reader.u32()?));
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(Malformed::TooMany("bytes"));
    }
    match len.cmp(&(bytes.len() as u64)) {
        std::cmp::Ordering::Greater => return Err(Malformed::Truncated),
        std::cmp::Ordering::Less => return Err(Malformed::Excess),
        std::cmp::Ordering::Equal => {}
    }
    let (from_initiator, response) = (flags & FROM_INITIATOR != 0, flags & RESPONSE != 0);
    let header = Header { initiator_spi, responder_spi, exchange, from_initiator, response, message_id };
    Ok((version >> 4, header, first, reader.rest()))
}

/// Appends it to nothing: what `len` counts begins with it.
pub(super) fn emit(header: &Header, first: u8, len: usize) -> Vec<u8> {
    debug_assert!(len <= MESSAGE_BYTES_MAX, "a message of {len} bytes");
    let from_initiator = if header.from_initiator { FROM_INITIATOR } else { 0 };
    let response = if header.response { RESPONSE } else { 0 };
    let mut out = Vec::with_capacity(len.min(MESSAGE_BYTES_MAX));
    out.extend_from_slice(&header.initiator_spi.to_be_bytes());
    out.extend_from_slice(&header.responder_spi.to_be_bytes());
    out.extend_from_slice(&[first, MAJOR << 4, header.exchange.0, from_initiator | response]);
    out.extend_from_slice(&header.message_id.to_be_bytes());
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    out
}
