//! Reading numbers and structures off bytes, and writing them.
//!
//! Payloads, proposals, transforms and traffic selectors begin alike, with two bytes and their own length:
//!
//! ```text
//!   0       1       2                 4
//!   ┌───────┬───────┬─────────────────┬──────────┐
//!   │ first │ second│ length (all of  │   body   │
//!   │       │       │ it), big-endian │          │
//!   └───────┴───────┴─────────────────┴──────────┘
//! ```

use super::Malformed;

/// What stands before a structure's body.
pub(super) const STRUCTURE_HEAD_BYTES: usize = 4;

/// What begins with two bytes and its length.
pub(super) struct Structure<'m> {
    pub(super) first: u8,
    pub(super) second: u8,
    pub(super) body: &'m [u8],
}

/// Bytes that are read from the front; it never reads past their end.
#[derive(Clone, Copy)]
pub(super) struct Reader<'m>(&'m [u8]);

impl<'m> Reader<'m> {
    pub(super) const fn new(bytes: &'m [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub(super) const fn rest(self) -> &'m [u8] {
        self.0
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed::Excess) }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'m [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn structure(&mut self) -> Result<Structure<'m>, Malformed> {
        let (first, second, len) = (self.u8()?, self.u8()?, usize::from(self.u16()?));
        let body_len = len.checked_sub(STRUCTURE_HEAD_BYTES).ok_or(Malformed::Truncated)?;
        Ok(Structure { first, second, body: self.take(body_len)? })
    }
}

/// Appends a structure whose body `write` appends.
pub(super) fn put_structure(out: &mut Vec<u8>, first: u8, second: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&[first, second, 0, 0]);
    write(out);
    let len = len_u16(out.len() - begin);
    if let Some(field) = out.get_mut(begin + 2..begin + STRUCTURE_HEAD_BYTES) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}

/// A length as its field has it. A longer one is the caller's mistake: what results is no message to anybody.
pub(super) fn len_u16(len: usize) -> u16 {
    debug_assert!(len <= usize::from(u16::MAX), "{len} bytes in one structure");
    u16::try_from(len).unwrap_or(u16::MAX)
}

/// A length or count in one byte; as [`len_u16`].
pub(super) fn len_u8(len: usize) -> u8 {
    debug_assert!(len <= usize::from(u8::MAX), "{len}, where a byte has to say it");
    u8::try_from(len).unwrap_or(u8::MAX)
}
