//! Configuration payloads (RFC 7296 section 3.15).
//!
//! ```text
//!   payload     kind │ 0 0 0 │ attribute …
//!   attribute   0, type (15 bits) │ length │ value
//! ```

use super::bytes::{Reader, len_u16};
use super::limits::ATTRIBUTES_MAX;
use super::{Attribute, Malformed, Payload};

/// All but the bit that is reserved.
const TYPE: u16 = 0x7fff;

pub(super) fn parse(body: &[u8]) -> Result<Payload, Malformed> {
    let mut reader = Reader::new(body);
    let (kind, [_, _, _]) = (reader.u8()?, reader.array()?);
    let mut attributes = Vec::new();
    while !reader.is_empty() {
        if attributes.len() == ATTRIBUTES_MAX {
            return Err(Malformed::TooMany("attributes"));
        }
        let (kind, len) = (reader.u16()? & TYPE, usize::from(reader.u16()?));
        attributes.push(Attribute { kind, value: reader.take(len)?.to_vec() });
    }
    Ok(Payload::Configuration { kind, attributes })
}

pub(super) fn emit(kind: u8, attributes: &[Attribute], out: &mut Vec<u8>) {
    out.extend_from_slice(&[kind, 0, 0, 0]);
    for Attribute { kind, value } in attributes {
        out.extend_from_slice(&(kind & TYPE).to_be_bytes());
        out.extend_from_slice(&len_u16(value.len()).to_be_bytes());
        out.extend_from_slice(value);
    }
}
