//! What the backups are told of a tunnel.
//!
//! | record | holds | written |
//! | --- | --- | --- |
//! | Initial | a fingerprint of its keys: they are in every member's configuration | when it wakes up |
//! | Essential | the leases of both directions' numbers | when one of them goes on |

use crate::replica::{LeaseRecord, SessionKey};

/// The app's number in updates.
pub(super) const APP: u8 = 2;
/// The version of the records written here.
pub(super) const VERSION: u8 = 1;

const LEN: usize = LeaseRecord::ENCODED_LEN;

/// How far both directions' numbers are spoken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Essential {
    /// Ours: none from here on was used.
    pub(super) outbound: LeaseRecord,
    /// The peer's: none from here on was let in.
    pub(super) inbound: LeaseRecord,
}

impl Essential {
    pub(super) fn encode(self) -> [u8; 2 * LEN] {
        let mut bytes = [0; 2 * LEN];
        let (outbound, inbound) = bytes.split_at_mut(LEN);
        outbound.copy_from_slice(&self.outbound.encode());
        inbound.copy_from_slice(&self.inbound.encode());
        bytes
    }

    /// None: it is no such record. What a newer member appended is skipped.
    pub(super) fn decode(version: u8, bytes: &[u8]) -> Option<Self> {
        let (outbound, rest) = bytes.split_at_checked(LEN)?;
        let inbound = rest.get(..LEN)?;
        (version == VERSION).then_some(())?;
        Some(Self { outbound: LeaseRecord::decode(outbound).ok()?, inbound: LeaseRecord::decode(inbound).ok()? })
    }
}

/// A tunnel's session in the store.
pub(super) const fn session_key(spi: u32) -> SessionKey {
    SessionKey(spi as u128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let record = Essential { outbound: LeaseRecord { limit: 0x0102 }, inbound: LeaseRecord { limit: u64::MAX } };
        let bytes = record.encode();
        assert_eq!(bytes, [1, 0, 0, 0, 0, 0, 0, 1, 2, 1, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(Essential::decode(1, &[&bytes[..], &[7]].concat()), Some(record));
        assert_eq!((Essential::decode(2, &bytes), Essential::decode(1, &bytes[..17])), (None, None));
    }
}
