//! What the backups are told.
//!
//! | session | record | holds | written |
//! | --- | --- | --- | --- |
//! | a tunnel of the configuration's | Initial, version 1 | a fingerprint of its keys: they are in every member's configuration | when it wakes up |
//! | a tunnel of IKE's | Initial, version 2 | all of it (`saved`) | when it comes, wakes up, or its peer moves |
//! | both | Essential | the leases of both directions' numbers; how many bytes they will have carried by then, if that is limited | when one of them goes on |
//! | an IKE SA | Initial | nothing | when it comes |
//! | | Essential | when it is due next, and bytes that only its session thread reads | when it changes |
//!
//! The last two hold keys: who reads a member's memory reads them, in its log and its store. They are on no disk.

use zeroize::Zeroizing;

use crate::replica::{LeaseRecord, SessionKey};

/// The number of tunnels in updates.
pub(super) const APP: u8 = 2;
/// That of IKE SAs.
pub(super) const IKE_APP: u8 = 3;
/// The version of the records written here, but for one.
pub(super) const VERSION: u8 = 1;
/// The version of the Initial record of a tunnel of IKE's.
pub(super) const SAVED_VERSION: u8 = 2;

/// What makes the keys of IKE SAs others than those of tunnels and relays.
const IKE_KEYS: u128 = 0x494b_4576_3200_0000 << 64;

const TIMEOUT_LEN: usize = 8;
const LEN: usize = LeaseRecord::ENCODED_LEN;
const CARRIED_LEN: usize = 16;

/// How far both directions' numbers are spoken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Essential {
    /// Ours: none from here on was used.
    pub(super) outbound: LeaseRecord,
    /// The peer's: none from here on was let in.
    pub(super) inbound: LeaseRecord,
    /// What all numbers below have carried at most. None: that is not limited, or an older member has written it.
    pub(super) carried: Option<Carried>,
}

/// Bytes that went through a tunnel, one way and the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Carried {
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// An Essential record's bytes.
pub(super) struct Encoded {
    bytes: [u8; 2 * LEN + CARRIED_LEN],
    len: usize,
}

impl Encoded {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Essential {
    pub(super) fn encode(self) -> Encoded {
        let mut bytes = [0; 2 * LEN + CARRIED_LEN];
        let (outbound, rest) = bytes.split_at_mut(LEN);
        let (inbound, carried) = rest.split_at_mut(LEN);
        outbound.copy_from_slice(&self.outbound.encode());
        inbound.copy_from_slice(&self.inbound.encode());
        let Some(Carried { sent, received }) = self.carried else { return Encoded { bytes, len: 2 * LEN } };
        let (out_of, into) = carried.split_at_mut(CARRIED_LEN / 2);
        out_of.copy_from_slice(&sent.to_be_bytes());
        into.copy_from_slice(&received.to_be_bytes());
        Encoded { bytes, len: 2 * LEN + CARRIED_LEN }
    }

    /// None: it is no such record. What a newer member appended is skipped.
    pub(super) fn decode(version: u8, bytes: &[u8]) -> Option<Self> {
        let (outbound, rest) = bytes.split_at_checked(LEN)?;
        let (inbound, rest) = rest.split_at_checked(LEN)?;
        (version == VERSION).then_some(())?;
        let carried = rest.first_chunk::<CARRIED_LEN>().map(|carried| {
            let both = u128::from_be_bytes(*carried);
            Carried { sent: (both >> u64::BITS) as u64, received: both as u64 }
        });
        let (outbound, inbound) = (LeaseRecord::decode(outbound).ok()?, LeaseRecord::decode(inbound).ok()?);
        Some(Self { outbound, inbound, carried })
    }
}

/// A tunnel's session in the store.
pub(super) const fn session_key(spi: u32) -> SessionKey {
    SessionKey(spi as u128)
}

/// The SPI of the tunnel whose session this would be.
pub(super) fn spi_of(session: SessionKey) -> Option<u32> {
    u32::try_from(session.0).ok()
}

/// An IKE SA's session in the store.
pub(super) const fn ike_key(spi: u64) -> SessionKey {
    SessionKey(IKE_KEYS | spi as u128)
}

/// The SPI of the IKE SA whose session this would be.
pub(super) fn ike_spi_of(session: SessionKey) -> Option<u64> {
    u64::try_from(session.0.checked_sub(IKE_KEYS)?).ok()
}

/// The Essential record of an IKE SA.
pub(super) fn encode_ike(timeout_s: Option<u64>, bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut record = Zeroizing::new(Vec::with_capacity(TIMEOUT_LEN + bytes.len()));
    record.extend_from_slice(&timeout_s.unwrap_or(0).to_be_bytes());
    record.extend_from_slice(bytes);
    record
}

/// None: it is none.
pub(super) fn decode_ike(version: u8, record: &[u8]) -> Option<(Option<u64>, &[u8])> {
    let (timeout, bytes) = record.split_first_chunk::<TIMEOUT_LEN>()?;
    let timeout_s = Some(u64::from_be_bytes(*timeout)).filter(|at| *at > 0);
    (version == VERSION).then_some((timeout_s, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let (outbound, inbound) = (LeaseRecord { limit: 0x0102 }, LeaseRecord { limit: u64::MAX });
        let record = Essential { outbound, inbound, carried: None };
        let encoded = record.encode();
        let bytes = encoded.bytes();
        assert_eq!(bytes, [1, 0, 0, 0, 0, 0, 0, 1, 2, 1, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(Essential::decode(1, &[bytes, &[7]].concat()), Some(record));
        assert_eq!((Essential::decode(2, bytes), Essential::decode(1, &bytes[..17])), (None, None));
        let limited = Essential { carried: Some(Carried { sent: 0x0304, received: u64::MAX }), ..record };
        let encoded = limited.encode();
        let carried = [0, 0, 0, 0, 0, 0, 3, 4, 255, 255, 255, 255, 255, 255, 255, 255];
        assert_eq!(encoded.bytes(), [bytes, &carried].concat());
        assert_eq!(Essential::decode(1, &[encoded.bytes(), &[7]].concat()), Some(limited));
    }

    #[test]
    fn golden_of_an_ike_sa() {
        let bytes = encode_ike(Some(0x0102), b"abc");
        assert_eq!(**bytes, [0, 0, 0, 0, 0, 0, 1, 2, b'a', b'b', b'c']);
        assert_eq!(decode_ike(1, &bytes), Some((Some(0x0102), &b"abc"[..])));
        assert_eq!(decode_ike(1, &encode_ike(None, &[])), Some((None, &[][..])));
        assert_eq!((decode_ike(2, &bytes), decode_ike(1, &bytes[..7])), (None, None));
    }

    #[test]
    fn keys_tell_sessions_apart() {
        for spi in [0, 1, u64::from(u32::MAX), u64::MAX] {
            assert_eq!((ike_spi_of(ike_key(spi)), spi_of(ike_key(spi))), (Some(spi), None));
        }
        assert_eq!((spi_of(session_key(7)), ike_spi_of(session_key(7))), (Some(7), None));
        assert_eq!(ike_spi_of(SessionKey(ike_key(u64::MAX).0 + 1)), None);
        // A relay's, of IPv4, is below.
        assert!(ike_key(0).0 > u128::from(u32::MAX) << 64 | u128::from(u64::MAX));
    }
}
