//! Whole messages: payloads to be read at once, or one payload that seals the others (RFC 7296 section 3.14), or a
//! fragment of such a one (RFC 7383).
//!
//! ```text
//!   plain      header │ payload │ payload …
//!   sealed     header │ first 0 length │                IV, ciphertext, ICV
//!   fragment   header │ first 0 length │ number │ total │ IV, ciphertext, ICV
//!              └──────────── associated data ──────────┘└────── sealed ──────┘
//! ```
//! How long IV and ICV are depends on keys: opening and sealing is not done here.

use super::bytes::{Reader, STRUCTURE_HEAD_BYTES, len_u16};
use super::chain::{emit_payloads, payloads};
use super::header::{self, HEADER_BYTES};
use super::{Header, Malformed, Payload, kind};

/// What stands before the sealed bytes of a sealed message: header and the sealing payload's head.
pub const SEALED_HEAD_BYTES: usize = HEADER_BYTES + STRUCTURE_HEAD_BYTES;
/// The same of a fragment.
pub const FRAGMENT_HEAD_BYTES: usize = SEALED_HEAD_BYTES + 4;

/// A message as far as it can be read without keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parsed<'m> {
    /// Its header.
    pub header: Header,
    /// What follows.
    pub body: Body<'m>,
}

/// What follows a header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body<'m> {
    /// Payloads for everybody to read.
    Plain(Vec<Payload>),
    /// Payloads to be opened.
    Sealed(Sealed<'m>),
    /// A piece of what was cut before it was sealed.
    Fragment(FragmentOf<'m>),
}

/// Payloads to be opened; then they are read by [`payloads`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sealed<'m> {
    /// The kind of the first payload inside; 0: there is none.
    pub first: u8,
    /// All before the IV: what an AEAD authenticates.
    pub associated: &'m [u8],
    /// IV, ciphertext and ICV.
    pub sealed: &'m [u8],
}

/// A piece of a chain of payloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentOf<'m> {
    /// The kind of the first payload of the whole; 0 in all fragments but the first.
    pub first: u8,
    /// Which piece: `1..=total`.
    pub number: u16,
    /// How many there are.
    pub total: u16,
    /// All before the IV, numbers included: what an AEAD authenticates.
    pub associated: &'m [u8],
    /// IV, ciphertext and ICV.
    pub sealed: &'m [u8],
}

/// Reads a message.
pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Malformed> {
    let (header, first, rest) = header::split(bytes)?;
    let body = match first {
        kind::SEALED => Body::Sealed(sealed(bytes, rest)?),
        kind::FRAGMENT => Body::Fragment(fragment(bytes, rest)?),
        _ => Body::Plain(payloads(first, rest)?),
    };
    Ok(Parsed { header, body })
}

fn sealed<'m>(message: &'m [u8], rest: &'m [u8]) -> Result<Sealed<'m>, Malformed> {
    let mut reader = Reader::new(rest);
    let payload = reader.structure()?;
    reader.end()?;
    let associated = before(message, payload.body);
    Ok(Sealed { first: payload.first, associated, sealed: payload.body })
}

fn fragment<'m>(message: &'m [u8], rest: &'m [u8]) -> Result<FragmentOf<'m>, Malformed> {
    let Sealed { first, sealed: numbered, .. } = sealed(message, rest)?;
    let mut reader = Reader::new(numbered);
    let (number, total) = (reader.u16()?, reader.u16()?);
    if number == 0 || number > total {
        return Err(Malformed::Value("fragment number"));
    }
    if number > 1 && first != kind::NONE {
        return Err(Malformed::Value("fragment's next payload"));
    }
    let sealed = reader.rest();
    Ok(FragmentOf { first, number, total, associated: before(message, sealed), sealed })
}

/// What stands before the message's end.
fn before<'m>(message: &'m [u8], end: &[u8]) -> &'m [u8] {
    message.get(..message.len().saturating_sub(end.len())).unwrap_or_default()
}

/// A plain message.
pub fn emit(header: &Header, payloads: &[Payload]) -> Vec<u8> {
    let (first, chain) = emit_payloads(payloads);
    let mut out = header::emit(header, first, HEADER_BYTES + chain.len());
    out.extend_from_slice(&chain);
    out
}

/// The associated data of a sealed message; the message is this and exactly `sealed_len` bytes: IV, ciphertext, ICV.
pub fn emit_sealed_head(header: &Header, first: u8, sealed_len: usize) -> Vec<u8> {
    let mut out = header::emit(header, kind::SEALED, SEALED_HEAD_BYTES + sealed_len);
    out.extend_from_slice(&[first, 0]);
    out.extend_from_slice(&len_u16(STRUCTURE_HEAD_BYTES + sealed_len).to_be_bytes());
    out
}

/// The same of fragment `number`, from 1, of `total`; `first` is the kind of the first payload of the whole, whichever
/// fragment this is.
pub fn emit_fragment_head(header: &Header, first: u8, number: u16, total: u16, sealed_len: usize) -> Vec<u8> {
    let first = if number == 1 { first } else { kind::NONE };
    let payload_len = FRAGMENT_HEAD_BYTES - HEADER_BYTES + sealed_len;
    let mut out = header::emit(header, kind::FRAGMENT, FRAGMENT_HEAD_BYTES + sealed_len);
    out.extend_from_slice(&[first, 0]);
    for field in [len_u16(payload_len), number, total] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out
}
