//! Payloads, one behind the other: each names the kind of the next (RFC 7296 section 3.2).

use super::bytes::{Reader, put_structure};
use super::limits::{MESSAGE_BYTES_MAX, PAYLOADS_MAX};
use super::{Malformed, Payload, kind, payload};

const CRITICAL: u8 = 0x80;

/// Reads the payloads of a plain message, or those that were sealed. `first` is the kind of the first one.
pub fn payloads(first: u8, bytes: &[u8]) -> Result<Vec<Payload>, Malformed> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(Malformed::TooMany("bytes"));
    }
    let mut reader = Reader::new(bytes);
    let mut payloads = Vec::new();
    let mut next = first;
    while next != kind::NONE {
        if payloads.len() == PAYLOADS_MAX {
            return Err(Malformed::TooMany("payloads"));
        }
        let found = reader.structure()?;
        payloads.push(payload::parse(next, found.second & CRITICAL != 0, found.body)?);
        next = found.first;
    }
    reader.end()?;
    Ok(payloads)
}

/// The kind of the first payload, and the bytes of all, to be sealed.
///
/// Of an unknown payload there is only its head. Who builds payloads keeps to what their fields can say: 64 KiB a
/// payload, 255 transforms or selectors.
pub fn emit_payloads(payloads: &[Payload]) -> (u8, Vec<u8>) {
    let mut out = Vec::new();
    let mut following = payloads.iter().map(Payload::kind).chain([kind::NONE]);
    let first = following.next().unwrap_or(kind::NONE);
    for (payload, next) in payloads.iter().zip(following) {
        let critical = matches!(payload, Payload::Unknown { critical: true, .. });
        let flags = if critical { CRITICAL } else { 0 };
        put_structure(&mut out, next, flags, |out| payload::emit(payload, out));
    }
    (first, out)
}
