//! What a guest's kernel has to be given before it can be a peer.

use super::{Lab, Outcome};

/// Ciphers are among them, and what IVs come from: if the kernel looked for these only when it sets up the first SA, that
/// would keep the peer waiting for seconds.
const IPSEC: [&str; 17] = [
    "xfrm_user",
    "esp4",
    "esp6",
    "ah4",
    "authenc",
    "gcm",
    "ghash_generic",
    "ctr",
    "cbc",
    "hmac",
    "sha256_generic",
    "sha512_generic",
    "chacha20poly1305",
    "echainiv",
    "seqiv",
    "drbg",
    "jitterentropy_rng",
];

/// Loads the modules of IPsec.
pub fn load_ipsec(lab: &Lab, guest: &str) -> Outcome<()> {
    lab.run(guest, &[&["modprobe", "-a"], &IPSEC[..]].concat()).map(drop)
}
