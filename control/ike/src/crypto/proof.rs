//! Who proves what (RFC 7296 section 2.15): the bytes that a peer vouches for, and how it does so with a shared key.

use super::prf::Prf;
use super::secret::Secret;

/// What section 2.15 mixes into shared keys, so that none of them is stored or used as such.
const PAD: &[u8] = b"Key Pad for IKEv2";

/// The bytes that a peer signs: the first message that it sent, the other's nonce, its name under its key.
///
/// `sk_p` is SK_pi or SK_pr; `id_payload_body` is the payload without its generic header.
pub fn signed_octets(
    prf: Prf,
    own_message: &[u8],
    peer_nonce: &[u8],
    sk_p: &Secret,
    id_payload_body: &[u8],
) -> Vec<u8> {
    [own_message, peer_nonce, prf.compute(sk_p.as_bytes(), &[id_payload_body]).as_bytes()].concat()
}

/// The proof with a shared key; to be compared with the peer's in constant time, as [`Secret`] does.
pub fn psk_auth(
    prf: Prf,
    shared_key: &[u8],
    own_message: &[u8],
    peer_nonce: &[u8],
    sk_p: &Secret,
    id_payload_body: &[u8],
) -> Secret {
    let name = prf.compute(sk_p.as_bytes(), &[id_payload_body]);
    let key = prf.compute(shared_key, &[PAD]);
    prf.compute(key.as_bytes(), &[own_message, peer_nonce, name.as_bytes()])
}
