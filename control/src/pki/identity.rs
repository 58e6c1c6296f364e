//! A member's identity: its personality bundle, verified before anything in it is used.

use std::path::Path;
use std::sync::Arc;

use phalanx_dataplane::unit::MemberId;

use super::admission::{Admission, AdmissionError};
use super::bundle::Bundle;
use super::certificate::{CaCertificate, CertificateError, Fingerprint};
use super::files::{self, FileError};
use super::names::{ClusterName, MemberName};
use super::secret::{ClusterSecret, SigningKey};
use super::time::WallTime;

/// The longest bundle; ours have some 2 kB.
const BUNDLE_BYTES_MAX: u64 = 64 << 10;

/// Why a bundle is not an identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read, or others may read it.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a bundle.
    #[error("this is not an identity bundle; make one with `phalanx ca issue`")]
    Malformed,
    /// The CA certificate in it is not one.
    #[error("the bundle's CA certificate is no good: {0}")]
    Ca(CertificateError),
    /// The parts are not those that the CA put together.
    #[error("the bundle was changed after the CA signed it, or another CA signed it; issue it again")]
    Signature,
    /// The member's certificate is not accepted.
    #[error("the bundle's certificate is no good: {0}")]
    Certificate(#[from] AdmissionError),
    /// The private key belongs to another certificate.
    #[error("the bundle's private key does not belong to its certificate")]
    KeyMismatch,
}

/// Who this member is, with everything that it needs to prove it. Shared as `Arc<Identity>`.
#[derive(Debug)]
pub struct Identity {
    member: MemberId,
    name: MemberName,
    fingerprint: Fingerprint,
    not_after: WallTime,
    certificate: Vec<u8>,
    ca: CaCertificate,
    signing_key: Arc<SigningKey>,
    secret: ClusterSecret,
}

impl Identity {
    /// Reads and verifies the bundle at `path`, which nobody but its owner may read.
    pub fn load(path: &Path, now: WallTime) -> Result<Self, IdentityError> {
        files::check_private(path)?;
        Self::parse(&files::read(path, BUNDLE_BYTES_MAX)?, now)
    }

    /// Verifies a bundle: signature over the whole, certificate chain, validity, and that key and certificate match.
    pub fn parse(text: &[u8], now: WallTime) -> Result<Self, IdentityError> {
        let (bundle, signature) = Bundle::decode(text).ok_or(IdentityError::Malformed)?;
        let ca = CaCertificate::parse(&bundle.ca).map_err(IdentityError::Ca)?;
        if !bundle.is_signed_by(ca.public_key(), &signature) {
            return Err(IdentityError::Signature);
        }
        let me = Admission::new(ca.clone()).check(&bundle.certificate, now)?;
        let signing_key = SigningKey::from_pkcs8(&bundle.key_pkcs8).ok_or(IdentityError::Malformed)?;
        if signing_key.public_key() != me.public_key {
            return Err(IdentityError::KeyMismatch);
        }
        let secret = bundle.cluster_secret().ok_or(IdentityError::Malformed)?;
        Ok(Self {
            member: me.member,
            name: me.name,
            fingerprint: me.fingerprint,
            not_after: me.not_after,
            certificate: bundle.certificate,
            ca,
            signing_key: Arc::new(signing_key),
            secret,
        })
    }

    /// This member's number.
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// This member's name.
    pub fn name(&self) -> &MemberName {
        &self.name
    }

    /// The cluster that it belongs to.
    pub fn cluster(&self) -> &ClusterName {
        self.ca.cluster()
    }

    /// SHA-256 over its certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// When its certificate ends.
    pub fn not_after(&self) -> WallTime {
        self.not_after
    }

    /// Its certificate in DER form.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The CA's certificate.
    pub fn ca(&self) -> &CaCertificate {
        &self.ca
    }

    /// Its private key.
    pub fn signing_key(&self) -> &Arc<SigningKey> {
        &self.signing_key
    }

    /// The cluster secret.
    pub fn secret(&self) -> &ClusterSecret {
        &self.secret
    }
}
