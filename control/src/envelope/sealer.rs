//! The sending side.

use std::sync::Arc;

use phalanx_dataplane::unit::MemberId;

use super::boots::Position;
use super::keys::BootKey;
use super::wire::{BODY_MAX, HEADER_BYTES, Header, INCARNATION_BYTES, OVERHEAD_BYTES, SALT_BYTES, VERSION_DATAGRAM};
use crate::pki::{ClusterSecret, SigningKey};

/// Why nothing was sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// The body is longer than the format allows.
    #[error("the body has {0} bytes, more than a cluster datagram carries; split it or send it over the link")]
    TooLong(usize),
    /// All counters of this boot are used up.
    #[error("all nonces of this boot are used; restart the member")]
    Exhausted,
    /// The cryptographic library refused.
    #[error("sealing failed in the cryptographic library")]
    Crypto,
}

/// Seals one member's datagrams during one boot.
pub struct Sealer {
    member: MemberId,
    signing: Arc<SigningKey>,
    key: BootKey,
    position: Position,
}

impl Sealer {
    /// A sealer for `member`, who signs with `signing`.
    ///
    /// `salt` must be fresh random bytes for every boot. `incarnation` must be higher at every boot: kept on disk and raised *before* use
    /// (where the disk may be lost, take the greater of that and the seconds of the wall clock).
    pub fn new(
        member: MemberId,
        signing: Arc<SigningKey>,
        secret: &ClusterSecret,
        salt: [u8; SALT_BYTES],
        incarnation: u64,
    ) -> Result<Self, SealError> {
        let key = BootKey::derive(secret, VERSION_DATAGRAM, member, &salt).ok_or(SealError::Crypto)?;
        Ok(Self { member, signing, key, position: Position { salt, incarnation, counter: 0 } })
    }

    /// Writes the sealed form of `body` to `out`, whose old content is dropped.
    pub fn seal(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        if body.len() > BODY_MAX {
            return Err(SealError::TooLong(body.len()));
        }
        out.clear();
        out.reserve(body.len() + OVERHEAD_BYTES);
        let header = take_header(&mut self.position, self.member, VERSION_DATAGRAM)?;
        seal_signed(&header, self.position.incarnation, &[body], &self.signing, &self.key, out)
    }

    /// Where this boot stands: tell it to peers over the authenticated link (see [`super::Opener::vouch`]).
    pub fn position(&self) -> Position {
        self.position
    }
}

/// The next header of a boot; uses up its counter even if sealing fails later, so that no nonce is ever tried twice.
pub(super) fn take_header(position: &mut Position, sender: MemberId, version: u8) -> Result<Header, SealError> {
    let counter = position.counter;
    position.counter = counter.checked_add(1).ok_or(SealError::Exhausted)?;
    Ok(Header { version, sender, salt: position.salt, counter })
}

/// Header, then the sealed incarnation, `parts` and signature. The signature covers everything before it, header included,
/// and the header's version keeps datagrams and beacons apart.
pub(super) fn seal_signed(
    header: &Header,
    incarnation: u64,
    parts: &[&[u8]],
    signing: &SigningKey,
    key: &BootKey,
    out: &mut Vec<u8>,
) -> Result<(), SealError> {
    out.extend_from_slice(&header.emit());
    out.extend_from_slice(&incarnation.to_be_bytes());
    debug_assert_eq!(out.len(), HEADER_BYTES + INCARNATION_BYTES);
    for part in parts {
        out.extend_from_slice(part);
    }
    let signature = signing.sign(out);
    out.extend_from_slice(&signature);
    key.seal(header, out, HEADER_BYTES).ok_or(SealError::Crypto)
}
