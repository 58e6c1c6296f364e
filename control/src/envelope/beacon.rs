//! Beacons: how a member that nobody knows yet makes itself heard (patent Figure 6: looking for a master).
//!
//! A beacon carries the sender's certificate, so the receiver needs no roster. As a certificate alone proves nothing (DESIGN
//! departure 4), the beacon is signed with its key and carries the boot's salt, incarnation and counter, so that a copy is told
//! from the original. It is sealed under the cluster secret like a datagram: strangers cannot make anyone look at a certificate.
//! What a beacon says only leads to a mutually authenticated connection; nothing is granted on a beacon alone.
//!
//! Order of tests: copy or replay → seal → rate (per sender, then overall) → certificate → signature. The rate is asked after
//! the seal, so that a stranger's noise cannot use up the members' tokens.

use phalanx_dataplane::unit::{MEMBER_NUMBER_MAX, MemberId};

use super::boots::{Boots, Position};
use super::bucket::TokenBucket;
use super::keys::BootKey;
use super::opener::{OpenError, unseal, verify};
use super::sealer::{SealError, seal_signed, take_header};
use super::wire::{HEADER_BYTES, Header, INCARNATION_BYTES, OVERHEAD_BYTES, SALT_BYTES, VERSION_BEACON};
use crate::pki::{Admission, AdmissionError, CERTIFICATE_BYTES_MAX, CertificateCache, ClusterSecret};
use crate::pki::{Identity, PeerIdentity, SigningKey, WallTime};

/// The longest body of a beacon.
pub const BEACON_BODY_MAX: usize = 512;
const LENGTH_BYTES: usize = 2;
const BEACON_MAX: usize = OVERHEAD_BYTES + LENGTH_BYTES + CERTIFICATE_BYTES_MAX + BEACON_BODY_MAX;
const _: () = assert!(BEACON_MAX + 1 + 48 <= 1500);

/// Public-key work that beacons may cause: of one sender, and in all. A member sends a few a second while it looks for a master.
const RATE_SENDER: (u64, u64) = (10, 10);
const RATE_ALL: (u64, u64) = (100, 64);

/// Seals one member's beacons during one boot.
pub struct BeaconSealer {
    member: MemberId,
    signing: std::sync::Arc<SigningKey>,
    certificate: Vec<u8>,
    key: BootKey,
    position: Position,
}

impl BeaconSealer {
    /// A sealer with the salt and incarnation of this boot: the same as the datagrams', whose key is another.
    pub fn new(identity: &Identity, salt: [u8; SALT_BYTES], incarnation: u64) -> Result<Self, SealError> {
        let member = identity.member();
        let key = BootKey::derive(identity.secret(), VERSION_BEACON, member, &salt).ok_or(SealError::Crypto)?;
        Ok(Self {
            member,
            signing: std::sync::Arc::clone(identity.signing_key()),
            certificate: identity.certificate().to_vec(),
            key,
            position: Position { salt, incarnation, counter: 0 },
        })
    }

    /// Writes a beacon that says `body` to `out`, whose old content is dropped.
    pub fn seal(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        if body.len() > BEACON_BODY_MAX {
            return Err(SealError::TooLong(body.len()));
        }
        let length = u16::try_from(self.certificate.len()).map_err(|_| SealError::TooLong(self.certificate.len()))?;
        out.clear();
        let header = take_header(&mut self.position, self.member, VERSION_BEACON)?;
        let parts: [&[u8]; 3] = [&length.to_be_bytes(), &self.certificate, body];
        seal_signed(&header, self.position.incarnation, &parts, &self.signing, &self.key, out)
    }
}

/// An opened beacon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beacon<'a> {
    /// Who sent it: its certificate was accepted, and it signed with that key.
    pub peer: PeerIdentity,
    /// The certificate, for the roster.
    pub certificate: &'a [u8],
    /// Which boot of the sender.
    pub incarnation: u64,
    /// What it says.
    pub body: &'a [u8],
}

/// Why a beacon was not opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BeaconError {
    /// As for a datagram.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its certificate is not accepted: worth telling the operator.
    #[error("member {sender}'s certificate is not accepted: {reason}")]
    NotAdmitted {
        /// The number that the beacon claims.
        sender: u8,
        /// What is wrong with the certificate.
        reason: AdmissionError,
    },
}

/// Opens beacons.
pub struct BeaconOpener {
    secret: ClusterSecret,
    boots: Boots,
    cache: CertificateCache,
    of_sender: Vec<TokenBucket>,
    of_all: TokenBucket,
    scratch: Vec<u8>,
}

impl BeaconOpener {
    /// An opener that has heard nobody yet.
    pub fn new(secret: ClusterSecret) -> Self {
        let (rate, burst) = RATE_SENDER;
        Self {
            secret,
            boots: Boots::new(),
            cache: CertificateCache::new(),
            of_sender: (0..MEMBER_NUMBER_MAX).map(|_| TokenBucket::new(rate, burst)).collect(),
            of_all: TokenBucket::new(RATE_ALL.0, RATE_ALL.1),
            scratch: Vec::with_capacity(BEACON_MAX),
        }
    }

    /// Opens one beacon; its certificate is judged by `admission` at `wall`. `now_ns` is monotonic and drives the rate limit.
    pub fn open(
        &mut self,
        frame: &[u8],
        admission: &Admission,
        wall: WallTime,
        now_ns: u64,
    ) -> Result<Beacon<'_>, BeaconError> {
        if frame.len() > BEACON_MAX || frame.len() < OVERHEAD_BYTES + LENGTH_BYTES {
            return Err(OpenError::Malformed.into());
        }
        let (header, _) = Header::parse(frame, VERSION_BEACON).ok_or(OpenError::Malformed)?;
        let (incarnation, key) = unseal(&self.secret, &self.boots, &header, frame, &mut self.scratch)?;
        let allowed = self.of_sender.get_mut(header.sender.index()).is_some_and(|bucket| bucket.take(now_ns));
        if !allowed || !self.of_all.take(now_ns) {
            return Err(OpenError::RateLimited.into());
        }
        let sender = header.sender.number();
        let certificate = split(&self.scratch).ok_or(OpenError::Malformed)?.0;
        let peer = self
            .cache
            .check(admission, certificate, wall)
            .map_err(|reason| BeaconError::NotAdmitted { sender, reason })?;
        if peer.member != header.sender {
            let reason = AdmissionError::OtherMember { found: peer.member.number(), expected: sender };
            return Err(BeaconError::NotAdmitted { sender, reason });
        }
        let end = verify(&self.scratch, &peer.public_key)?;
        self.boots.accept(&header, incarnation, key);
        let clear = self.scratch.get(..end).ok_or(OpenError::Malformed)?;
        let (certificate, body) = split(clear).ok_or(OpenError::Malformed)?;
        Ok(Beacon { peer, certificate, incarnation, body })
    }
}

/// Certificate and what follows it.
fn split(clear: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = clear.get(HEADER_BYTES + INCARNATION_BYTES..)?.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Authority;

    const NOW: WallTime = WallTime::from_unix_seconds(1_900_000_000);

    fn identities() -> (Identity, Identity) {
        let dir = tempfile::tempdir().unwrap();
        let mut ca = Authority::init(dir.path(), &"edge".parse().unwrap(), NOW).unwrap();
        let mut issue = |name: &str, number| {
            let issued = ca.issue(&name.parse().unwrap(), MemberId::new(number).unwrap(), 30, NOW).unwrap();
            Identity::parse(issued.bundle.as_bytes(), NOW).unwrap()
        };
        (issue("m1", 1), issue("m2", 2))
    }

    fn beacon(sealer: &mut BeaconSealer, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        sealer.seal(body, &mut out).unwrap();
        out
    }

    #[test]
    fn a_beacon_introduces_a_member_nobody_knows() {
        let (me, peer) = identities();
        let admission = Admission::new(me.ca().clone());
        let frame = beacon(&mut BeaconSealer::new(&peer, [1; 16], 3).unwrap(), &[7; BEACON_BODY_MAX]);
        let mut opener = BeaconOpener::new(me.secret().clone());
        let heard = opener.open(&frame, &admission, NOW, 0).unwrap();
        assert_eq!((heard.peer.name.as_str(), heard.incarnation), ("m2", 3));
        assert_eq!((heard.certificate, heard.body), (peer.certificate(), &[7; BEACON_BODY_MAX][..]));
        assert_eq!(opener.open(&frame, &admission, NOW, 0), Err(OpenError::Duplicate.into()));
    }

    #[test]
    fn a_copied_certificate_is_worth_nothing() {
        let (me, peer) = identities();
        let admission = Admission::new(me.ca().clone());
        // Member 1 knows the secret and shows member 2's certificate, but has not its key.
        let mut impostor = BeaconSealer::new(&me, [1; 16], 3).unwrap();
        impostor.certificate = peer.certificate().to_vec();
        let mut opener = BeaconOpener::new(me.secret().clone());
        let other = opener.open(&beacon(&mut impostor, b""), &admission, NOW, 0);
        assert!(matches!(other, Err(BeaconError::NotAdmitted { sender: 1, .. })), "{other:?}");
        impostor.member = peer.member();
        impostor.key = BootKey::derive(me.secret(), VERSION_BEACON, peer.member(), &[1; 16]).unwrap();
        assert_eq!(opener.open(&beacon(&mut impostor, b""), &admission, NOW, 0), Err(OpenError::Forged.into()));
    }

    #[test]
    fn every_byte_counts_and_datagrams_are_no_beacons() {
        let (me, peer) = identities();
        let admission = Admission::new(me.ca().clone());
        let frame = beacon(&mut BeaconSealer::new(&peer, [1; 16], 3).unwrap(), b"hello");
        for at in 0..frame.len() {
            let mut opener = BeaconOpener::new(me.secret().clone());
            let mut broken = frame.clone();
            broken[at] ^= 1;
            assert!(opener.open(&broken, &admission, NOW, 0).is_err(), "byte {at}");
            assert!(opener.open(&frame[..at], &admission, NOW, 0).is_err(), "cut at {at}");
        }
        let mut sealer = super::super::Sealer::new(
            peer.member(),
            std::sync::Arc::clone(peer.signing_key()),
            peer.secret(),
            [1; 16],
            3,
        )
        .unwrap();
        let mut datagram = Vec::new();
        sealer.seal(b"hello, this is long enough to be a beacon", &mut datagram).unwrap();
        let mut opener = BeaconOpener::new(me.secret().clone());
        assert_eq!(opener.open(&datagram, &admission, NOW, 0), Err(OpenError::Malformed.into()));
        datagram[0] = VERSION_BEACON;
        assert_eq!(opener.open(&datagram, &admission, NOW, 0), Err(OpenError::Forged.into()));
    }

    #[test]
    fn a_chatty_member_is_limited_and_noise_does_not_use_up_its_tokens() {
        let (me, peer) = identities();
        let admission = Admission::new(me.ca().clone());
        let mut sealer = BeaconSealer::new(&peer, [1; 16], 3).unwrap();
        let mut opener = BeaconOpener::new(me.secret().clone());
        let noise = [&[VERSION_BEACON, 2], [9; 300].as_slice()].concat();
        for _ in 0..1000 {
            assert_eq!(opener.open(&noise, &admission, NOW, 0), Err(OpenError::Forged.into()));
        }
        let heard = (0..30).filter(|_| opener.open(&beacon(&mut sealer, b""), &admission, NOW, 0).is_ok()).count();
        assert_eq!(heard, 10);
        assert!(opener.open(&beacon(&mut sealer, b""), &admission, NOW, 1_000_000_000).is_ok());
    }
}
