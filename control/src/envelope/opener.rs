//! The receiving side: cheapest test first.
//!
//! Header → known sender? → copy or replay? (no cryptography so far) → seal → incarnation → signature → remembered.

use phalanx_dataplane::unit::MemberId;

use super::boots::{Boots, Place, Position};
use super::keys::BootKey;
use super::wire::{BODY_MAX, HEADER_BYTES, Header, INCARNATION_BYTES, OVERHEAD_BYTES, VERSION_DATAGRAM};
use crate::pki::{ClusterSecret, PublicKey, SIGNATURE_BYTES};

/// Why a member's key is not to be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyRefusal {
    /// Nobody with that number was admitted.
    Unknown,
    /// Its certificate was revoked.
    Revoked,
}

/// Who knows the admitted members' public keys: the roster.
pub trait PublicKeys {
    /// The public key of `member`'s admitted certificate.
    fn public_key(&self, member: MemberId) -> Result<PublicKey, KeyRefusal>;
}

/// Why a frame was not opened. Each is a drop reason of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum OpenError {
    /// Too short, too long, or not of this version.
    #[error("not a cluster datagram of this version")]
    Malformed,
    /// No member with that number was admitted.
    #[error("sender was not admitted to the cluster")]
    UnknownSender,
    /// The sender's certificate was revoked.
    #[error("sender's certificate is revoked")]
    Revoked,
    /// A copy of a frame that was accepted before: the same datagram came by another path.
    #[error("copy of a datagram that came by another path")]
    Duplicate,
    /// Older than what is still accepted, or from an earlier boot of its sender.
    #[error("replay of an old datagram")]
    Replay,
    /// The seal or the signature is wrong.
    #[error("forged: the seal or the signature is wrong")]
    Forged,
    /// More beacons than are worth looking at.
    #[error("over the rate limit")]
    RateLimited,
}

impl From<KeyRefusal> for OpenError {
    fn from(refusal: KeyRefusal) -> Self {
        match refusal {
            KeyRefusal::Unknown => Self::UnknownSender,
            KeyRefusal::Revoked => Self::Revoked,
        }
    }
}

/// An opened datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened<'a> {
    /// Who sent it: proved by the signature.
    pub sender: MemberId,
    /// Which boot of the sender.
    pub incarnation: u64,
    /// Its number within the boot.
    pub counter: u64,
    /// What it says.
    pub body: &'a [u8],
}

/// Opens the datagrams of all members.
///
/// What it refuses as replay: any counter that it accepted before or that lags 64 behind, any boot whose incarnation is not higher
/// than the newest that it accepted from that sender. A receiver that has just started has accepted nothing yet: until it hears a
/// sender's live traffic, a recording of that sender's traffic would pass. It therefore learns the senders' positions over the
/// mutually authenticated link at join and hands them to [`Opener::vouch`]; and no promise in the cluster protocol rests on a bare
/// keepalive (a lease counts from the *receiver's own* send time, which the keepalive quotes).
pub struct Opener {
    secret: ClusterSecret,
    boots: Boots,
    scratch: Vec<u8>,
}

impl Opener {
    /// An opener that has heard nobody yet.
    pub fn new(secret: ClusterSecret) -> Self {
        Self { secret, boots: Boots::new(), scratch: Vec::with_capacity(BODY_MAX + OVERHEAD_BYTES) }
    }

    /// Opens one frame. Never allocates; a refused frame changes nothing.
    pub fn open(&mut self, frame: &[u8], keys: &impl PublicKeys) -> Result<Opened<'_>, OpenError> {
        if frame.len() > BODY_MAX + OVERHEAD_BYTES || frame.len() < OVERHEAD_BYTES {
            return Err(OpenError::Malformed);
        }
        let (header, _) = Header::parse(frame, VERSION_DATAGRAM).ok_or(OpenError::Malformed)?;
        let public = keys.public_key(header.sender)?;
        let (incarnation, key) = unseal(&self.secret, &self.boots, &header, frame, &mut self.scratch)?;
        let end = verify(&self.scratch, &public)?;
        self.boots.accept(&header, incarnation, key);
        let body = self.scratch.get(HEADER_BYTES + INCARNATION_BYTES..end).ok_or(OpenError::Malformed)?;
        Ok(Opened { sender: header.sender, incarnation, counter: header.counter, body })
    }

    /// Takes `position`, which `member` told over an authenticated, live connection, for its present one: everything older is
    /// refused from now on, even when this receiver never heard it. Such a connection outranks what datagrams said, so this is
    /// also how a member whose incarnation fell back (its disk was lost) is heard again.
    pub fn vouch(&mut self, member: MemberId, position: Position) {
        if let Some(key) = BootKey::derive(&self.secret, VERSION_DATAGRAM, member, &position.salt) {
            self.boots.vouch(member, position, key);
        }
    }
}

/// Everything up to the signature. Leaves header and clear text in `scratch`; returns the incarnation, and the key if it was
/// derived for this frame.
pub(super) fn unseal(
    secret: &ClusterSecret,
    boots: &Boots,
    header: &Header,
    frame: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<(u64, Option<BootKey>), OpenError> {
    match boots.place(header) {
        Place::New => {}
        Place::Copy => return Err(OpenError::Duplicate),
        Place::Old => return Err(OpenError::Replay),
    }
    scratch.clear();
    scratch.extend_from_slice(frame);
    let sealed = scratch.get_mut(HEADER_BYTES..).ok_or(OpenError::Malformed)?;
    let (clear, derived) = match boots.key(header) {
        Some(key) => (key.open(header, sealed), None),
        None => {
            let key = BootKey::derive(secret, header.version, header.sender, &header.salt).ok_or(OpenError::Forged)?;
            (key.open(header, sealed), Some(key))
        }
    };
    let clear = clear.ok_or(OpenError::Forged)?;
    let incarnation = u64::from_be_bytes(*clear.first_chunk().ok_or(OpenError::Malformed)?);
    let length = HEADER_BYTES + clear.len();
    scratch.truncate(length);
    if !boots.incarnation_is_fresh(header, incarnation) {
        return Err(OpenError::Replay);
    }
    Ok((incarnation, derived))
}

/// Checks the signature at the end of `clear` (header and clear text); returns where the signature starts.
pub(super) fn verify(clear: &[u8], public: &PublicKey) -> Result<usize, OpenError> {
    let end = clear.len().checked_sub(SIGNATURE_BYTES).ok_or(OpenError::Malformed)?;
    let (signed, signature) = clear.split_at_checked(end).ok_or(OpenError::Malformed)?;
    if public.verifies(signed, signature) { Ok(end) } else { Err(OpenError::Forged) }
}
