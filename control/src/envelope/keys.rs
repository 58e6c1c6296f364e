//! Keys that are derived from the cluster secret (HKDF-SHA256, RFC 5869), one label for each purpose.

use phalanx_dataplane::unit::MemberId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;

use super::wire::{HEADER_BYTES, Header, SALT_BYTES, VERSION_BEACON};
use crate::pki::ClusterSecret;

const LABEL_DATAGRAM: &[u8] = b"phalanx datagram v1";
const LABEL_BEACON: &[u8] = b"phalanx beacon v1";
const LABEL_REPLICA: &[u8] = b"phalanx replica v1";
const LABEL_RELAY: &[u8] = b"phalanx relay v1";
const LABEL_IKE: &[u8] = b"phalanx ike v1";
const LABEL_IKE_TOKEN: &[u8] = b"phalanx ike token v1";
const LABEL_STEERED: &[u8] = b"phalanx steered filter v1";

/// The sealing key of one boot of one member for one purpose.
pub(super) struct BootKey(LessSafeKey);

impl BootKey {
    /// Derives the key; `version` picks the label, so that datagrams and beacons never share a key.
    pub(super) fn derive(
        secret: &ClusterSecret,
        version: u8,
        sender: MemberId,
        salt: &[u8; SALT_BYTES],
    ) -> Option<Self> {
        let label = if version == VERSION_BEACON { LABEL_BEACON } else { LABEL_DATAGRAM };
        let number = [sender.number()];
        let info: [&[u8]; 2] = [label, &number];
        let unbound = UnboundKey::from(secret.extract(salt).expand(&info, &AES_256_GCM).ok()?);
        Some(Self(LessSafeKey::new(unbound)))
    }

    /// Seals `out[from..]` in place and appends the tag.
    pub(super) fn seal(&self, header: &Header, out: &mut Vec<u8>, from: usize) -> Option<()> {
        let aad: [u8; HEADER_BYTES] = header.emit();
        let body = out.get_mut(from..)?;
        let tag = self.0.seal_in_place_separate_tag(nonce(header.counter), Aad::from(aad), body).ok()?;
        out.extend_from_slice(tag.as_ref());
        Some(())
    }

    /// Opens `sealed` in place; what is returned is the clear text.
    pub(super) fn open<'a>(&self, header: &Header, sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        let clear = self.0.open_in_place(nonce(header.counter), Aad::from(header.emit()), sealed).ok()?;
        Some(clear)
    }
}

/// The counter is the nonce: a key lives for one boot, and a boot never uses a counter twice.
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Sixteen bytes of output, for [`hkdf::Prk::expand`].
struct Sixteen;

impl hkdf::KeyType for Sixteen {
    fn len(&self) -> usize {
        16
    }
}

/// The key of the `steered` filter's hash: all members derive the same, nobody outside knows it (DESIGN section 3).
pub fn steered_key(secret: &ClusterSecret) -> [u8; 16] {
    sixteen(secret, LABEL_STEERED)
}

/// The key of the relays' initial sequence numbers and SYN cookies: who takes over accepts its predecessor's cookies.
pub fn relay_key(secret: &ClusterSecret) -> [u8; 16] {
    sixteen(secret, LABEL_RELAY)
}

/// The key of the digests by which members compare what they hold of sessions.
pub fn replica_key(secret: &ClusterSecret) -> [u8; 16] {
    sixteen(secret, LABEL_REPLICA)
}

/// The key of IKE's cookies: any member takes another's.
pub fn ike_key(secret: &ClusterSecret) -> [u8; 16] {
    sixteen(secret, LABEL_IKE)
}

/// The key of IKE's tokens (RFC 6290): any member makes the same. Not that of cookies, which are made of what strangers say.
pub fn ike_token_key(secret: &ClusterSecret) -> [u8; 16] {
    sixteen(secret, LABEL_IKE_TOKEN)
}

fn sixteen(secret: &ClusterSecret, label: &[u8]) -> [u8; 16] {
    let mut key = [0; 16];
    let filled = secret.extract(&[]).expand(&[label], Sixteen).and_then(|okm| okm.fill(&mut key));
    debug_assert!(filled.is_ok(), "HKDF-SHA256 gives up to 8160 bytes");
    key
}
