//! SA payloads: proposals, their transforms, and the attributes of these (RFC 7296 section 3.3).
//!
//! ```text
//!   proposal    more │ 0 │ length │ number │ protocol │ SPI length │ transforms │ SPI │ transform …
//!   transform   more │ 0 │ length │ kind   │ 0        │ id (16 bits)            │ attribute …
//!   attribute   1, type (15 bits) │ value (16 bits)
//!               0, type (15 bits) │ length (16 bits) │ value
//! ```
//! "More" and the numbers of things say the same twice; a payload in which they differ is refused: whoever reads it
//! otherwise would see other proposals than we do.

use super::bytes::{Reader, len_u8, put_structure};
use super::limits::{PROPOSALS_MAX, TRANSFORMS_MAX};
use super::{Malformed, Proposal, Transform, protocol};

const LAST: u8 = 0;
const MORE_PROPOSALS: u8 = 2;
const MORE_TRANSFORMS: u8 = 3;

const SHORT: u16 = 0x8000;
const KEY_BITS: u16 = SHORT | 14;
/// Stands for whatever attribute a strange transform had: short, of the highest number for private use.
const STRANGE: u16 = u16::MAX;

pub(super) fn parse(body: &[u8]) -> Result<Vec<Proposal>, Malformed> {
    let mut reader = Reader::new(body);
    let mut proposals = Vec::new();
    while !reader.is_empty() {
        if proposals.len() == PROPOSALS_MAX {
            return Err(Malformed::TooMany("proposals"));
        }
        let found = reader.structure()?;
        check_more(found.first, MORE_PROPOSALS, reader.is_empty())?;
        proposals.push(proposal(found.body)?);
    }
    Ok(proposals)
}

fn check_more(said: u8, more: u8, is_last: bool) -> Result<(), Malformed> {
    let right = if is_last { LAST } else { more };
    if said == right { Ok(()) } else { Err(Malformed::Value("mark of the last")) }
}

fn proposal(body: &[u8]) -> Result<Proposal, Malformed> {
    let mut reader = Reader::new(body);
    let (number, protocol) = (reader.u8()?, reader.u8()?);
    let (spi_len, count) = (usize::from(reader.u8()?), usize::from(reader.u8()?));
    if !spi_len_suits(protocol, spi_len) {
        return Err(Malformed::Value("SPI length"));
    }
    if count > TRANSFORMS_MAX {
        return Err(Malformed::TooMany("transforms"));
    }
    let spi = reader.take(spi_len)?.to_vec();
    let transforms = transforms(reader, count)?;
    Ok(Proposal { number, protocol, spi, transforms })
}

/// A proposal of a protocol that is not known here is there to be passed over, whatever its SPI.
const fn spi_len_suits(protocol: u8, spi_len: usize) -> bool {
    match protocol {
        protocol::IKE => spi_len == 0 || spi_len == 8,
        protocol::AH | protocol::ESP => spi_len == 4,
        _ => true,
    }
}

fn transforms(mut reader: Reader<'_>, count: usize) -> Result<Vec<Transform>, Malformed> {
    let mut transforms = Vec::new();
    for left in (0..count).rev() {
        let found = reader.structure()?;
        check_more(found.first, MORE_TRANSFORMS, left == 0)?;
        transforms.push(transform(found.body)?);
    }
    reader.end()?;
    Ok(transforms)
}

/// The key length is an attribute that may be there once, in its short form. All else is strange.
fn transform(body: &[u8]) -> Result<Transform, Malformed> {
    let mut reader = Reader::new(body);
    let (kind, _reserved, id) = (reader.u8()?, reader.u8()?, reader.u16()?);
    let mut transform = Transform { kind, id, key_bits: None, strange: false };
    while !reader.is_empty() {
        let (attribute, value_or_len) = (reader.u16()?, reader.u16()?);
        if attribute & SHORT == 0 {
            reader.take(usize::from(value_or_len))?;
        }
        match (attribute, transform.key_bits) {
            (KEY_BITS, None) => transform.key_bits = Some(value_or_len),
            _ => transform.strange = true,
        }
    }
    Ok(transform)
}

pub(super) fn emit(proposals: &[Proposal], out: &mut Vec<u8>) {
    for (proposal, left) in proposals.iter().zip((0..proposals.len()).rev()) {
        let more = if left == 0 { LAST } else { MORE_PROPOSALS };
        put_structure(out, more, 0, |out| {
            let (spi_len, count) = (len_u8(proposal.spi.len()), len_u8(proposal.transforms.len()));
            out.extend_from_slice(&[proposal.number, proposal.protocol, spi_len, count]);
            out.extend_from_slice(&proposal.spi);
            emit_transforms(&proposal.transforms, out);
        });
    }
}

fn emit_transforms(transforms: &[Transform], out: &mut Vec<u8>) {
    for (transform, left) in transforms.iter().zip((0..transforms.len()).rev()) {
        let more = if left == 0 { LAST } else { MORE_TRANSFORMS };
        put_structure(out, more, 0, |out| {
            let [high, low] = transform.id.to_be_bytes();
            out.extend_from_slice(&[transform.kind, 0, high, low]);
            let key_bits = transform.key_bits.map(|bits| (KEY_BITS, bits));
            let strange = transform.strange.then_some((STRANGE, 0));
            for (attribute, value) in key_bits.into_iter().chain(strange) {
                out.extend_from_slice(&attribute.to_be_bytes());
                out.extend_from_slice(&value.to_be_bytes());
            }
        });
    }
}
