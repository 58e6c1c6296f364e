//! The cluster's own public-key infrastructure (DESIGN section 9; patent Figure 3: certificates and personality).
//!
//! | part | what it is |
//! | --- | --- |
//! | [`Authority`] | the CA: a directory that only the operator holds; issues and revokes |
//! | [`Identity`] | a member's *personality*: its certificate and key, the CA's certificate, the cluster secret, signed as one bundle |
//! | [`Admission`] | the rules by which a peer's certificate is accepted: CA, cluster name, validity, CRL, the master's list |
//! | [`Roster`] | the members that were accepted, with their public keys |
//!
//! Who a member is stands in its certificate as a SAN URI, `phalanx://CLUSTER/ID/NAME`. All keys are Ed25519.
//! Nothing here reads a clock: validity is judged at a [`WallTime`] that is passed in.

mod admission;
mod authority;
mod bundle;
mod certificate;
mod crl;
mod files;
mod identity;
mod index;
mod names;
mod roster;
mod secret;
mod time;

pub use admission::{Admission, AdmissionError, CertificateCache, PeerIdentity};
pub use authority::{Authority, CaError, DAYS_DEFAULT, Issued};
pub(crate) use certificate::CERTIFICATE_BYTES_MAX;
pub use certificate::{CaCertificate, CertificateError, Claim, Fingerprint, MemberCertificate};
pub use crl::CrlError;
pub use files::{FileError, write_secret};
pub(crate) use files::{check_private, read};
pub use identity::{Identity, IdentityError};
pub use index::Record;
pub use names::{ClusterName, MemberName, NameError};
pub use roster::Roster;
pub use secret::{ClusterSecret, PublicKey, SECRET_BYTES, SIGNATURE_BYTES, SigningKey};
pub use time::WallTime;

#[cfg(test)]
mod tests;
