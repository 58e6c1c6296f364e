//! The outer header and the sizes that follow from it.

use phalanx_dataplane::unit::MemberId;

use crate::pki::SIGNATURE_BYTES;

/// Length of a boot salt in bytes.
pub const SALT_BYTES: usize = 16;
/// Length of the header, which is the AEAD's additional data.
pub const HEADER_BYTES: usize = 2 + SALT_BYTES + 8;
/// Length of the sealed incarnation.
pub(super) const INCARNATION_BYTES: usize = 8;
/// Length of the AEAD's tag.
pub(super) const TAG_BYTES: usize = 16;
/// What sealing adds to a body.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + INCARNATION_BYTES + SIGNATURE_BYTES + TAG_BYTES;
/// The longest body.
pub const BODY_MAX: usize = 1200;
/// The longest frame.
pub const FRAME_MAX: usize = BODY_MAX + OVERHEAD_BYTES;

// A sealed frame goes out over Ethernet in one piece, with the kind byte before it and IPv6 + UDP headers around it.
const _: () = assert!(FRAME_MAX + 1 + 48 <= 1500);

/// The version of the datagram format.
pub(super) const VERSION_DATAGRAM: u8 = 1;
/// The version of the beacon format; apart from the datagrams', so that one is never taken for the other.
pub(super) const VERSION_BEACON: u8 = 0x81;

/// The outer header: everything that is readable without the cluster secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) version: u8,
    pub(super) sender: MemberId,
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) counter: u64,
}

impl Header {
    /// The header at the start of `frame`, and what comes after it.
    pub(super) fn parse(frame: &[u8], version: u8) -> Option<(Self, &[u8])> {
        let (header, rest) = frame.split_first_chunk::<HEADER_BYTES>()?;
        let (fixed, tail) = header.split_first_chunk::<2>()?;
        let (salt, counter) = tail.split_first_chunk::<SALT_BYTES>()?;
        if fixed[0] != version {
            return None;
        }
        let sender = MemberId::new(fixed[1])?;
        Some((Self { version, sender, salt: *salt, counter: u64::from_be_bytes(*counter.first_chunk()?) }, rest))
    }

    /// The header's bytes.
    pub(super) fn emit(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0] = self.version;
        out[1] = self.sender.number();
        out[2..2 + SALT_BYTES].copy_from_slice(&self.salt);
        out[2 + SALT_BYTES..].copy_from_slice(&self.counter.to_be_bytes());
        out
    }
}

/// Who a datagram says that it is from, and its number within that boot: nothing that is proved. For a frame that was
/// refused as a copy ([`super::OpenError::Duplicate`]) both are known to be those of the accepted original.
pub fn peek(frame: &[u8]) -> Option<(MemberId, u64)> {
    let (header, _) = Header::parse(frame, VERSION_DATAGRAM)?;
    Some((header.sender, header.counter))
}
