//! What a guest's kernel has to be given before it can be a peer.

use super::{Lab, Outcome};

/// Ciphers are among them: looked for only when the first packet needs them, they would keep it waiting for seconds.
const IPSEC: [&str; 14] = [
    "xfrm_user",
    "esp4",
    "esp6",
    "ah4",
    "authenc",
    "gcm",
    "ctr",
    "cbc",
    "hmac",
    "sha256_generic",
    "sha512_generic",
    "chacha20poly1305",
    "echainiv",
    "seqiv",
];

/// Loads the modules of IPsec.
pub fn load_ipsec(lab: &Lab, guest: &str) -> Outcome<()> {
    lab.run(guest, &[&["modprobe", "-a"], &IPSEC[..]].concat()).map(drop)
}
