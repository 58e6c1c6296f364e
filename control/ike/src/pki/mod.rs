//! Proving a name with a certificate (RFC 7296 section 2.15, RFC 7427, RFC 4945): the peer's to us, and ours to it.
//!
//! A peer sends its name (the ID payload), its certificate with those that lead from it to an authority (CERT payloads), and
//! a signature over octets that only this exchange has (the AUTH payload). [`Trust::verify`] asks whether an authority of
//! ours says that this name has this key; [`PeerKey::verify`] whether the key signed the octets. Neither is worth anything
//! without the other. [`Credential`] is the other direction.
//!
//! ```text
//!   CERT ──┐                                  AUTH ──┐
//!   ID ────┴─> Trust::verify ──> PeerKey ────────────┴─> PeerKey::verify ──> it is who it says
//! ```
//!
//! What is decided here:
//! - **SHA-1 is refused** in certificates and in signatures. That ends peers that know neither RFC 7427 nor ECDSA: method 1
//!   was made for SHA-1. It does not fix the hash, though, and is accepted, and used, with SHA-2.
//! - RSA keys have 2048 to 8192 bits; ours at most 4096, which is where ring ends. RSASSA-PSS has MGF1 over the same hash and
//!   a salt as long as the hash; anything else is another algorithm, and refused.
//! - ECDSA is accepted on P-256, P-384 and P-521 with any SHA-2, for some peers sign with the longest hash that both know.
//!   *Authorities* sign with RSA, ECDSA on P-256 or P-384 with SHA-256 or SHA-384, or Ed25519.
//!
//! There is no clock, file or randomness here but ring's for signing.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `trust` | authorities, revocation, the way from a certificate to an authority |
//! | `usage` | what a certificate may be used for |
//! | `name` | whether a certificate says a name |
//! | `peer` | the peer's key, and its signatures |
//! | `credential`, `signing` | our certificates and key; our signatures |
//! | `algorithm` | hashes and signature algorithms, and how messages name them |
//! | `ecdsa` | ECDSA on every curve with every hash |
//! | `files` | certificates and revocation lists out of PEM and DER |

mod algorithm;
mod credential;
mod ecdsa;
mod files;
mod name;
mod peer;
mod signing;
mod trust;
mod usage;
#[cfg(test)]
mod wycheproof;

pub use algorithm::hash_algorithms;
pub use credential::{Credential, CredentialError};
pub use peer::{BadSignature, PeerKey};
pub use signing::RsaPadding;
pub use trust::{Distrust, Trust, TrustError};

/// Certificates of a peer that are looked at. A chain of the web has two or three.
pub const CERTIFICATES_MAX: usize = 8;
/// Bytes of all certificates of a peer.
pub const CERTIFICATES_BYTES_MAX: usize = 65_536;
/// The encoding of CERT and CERTREQ payloads that is spoken here: X.509, for signatures (RFC 7296 section 3.6).
pub const ENCODING_X509: u8 = 4;

/// Methods of AUTH payloads that are signatures.
pub mod method {
    /// RSASSA-PKCS1-v1_5 (RFC 7296 section 3.8).
    pub const RSA: u8 = 1;
    /// ECDSA on P-256 with SHA-256 (RFC 4754).
    pub const ECDSA_P256: u8 = 9;
    /// ECDSA on P-384 with SHA-384.
    pub const ECDSA_P384: u8 = 10;
    /// ECDSA on P-521 with SHA-512.
    pub const ECDSA_P521: u8 = 11;
    /// A signature that says its algorithm (RFC 7427).
    pub const DIGITAL_SIGNATURE: u8 = 14;
}
