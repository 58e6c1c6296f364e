//! Whether a peer's certificate is accepted, here and now.
//!
//! All of these must hold: our CA signed it; it names our cluster; it is valid at this time; the CA did not revoke it; and,
//! where the master's list of admitted certificates is known (the patent's list), it is on that list. A revocation list's
//! "next update" is not looked at: members must go on when the operator's CA is away, and a list never un-revokes.

use std::collections::{BTreeSet, VecDeque};

use phalanx_dataplane::unit::{MEMBER_NUMBER_MAX, MemberId};

use super::certificate::{CaCertificate, CertificateError, Fingerprint, MemberCertificate};
use super::crl::{CrlError, RevocationList};
use super::names::{ClusterName, MemberName};
use super::secret::PublicKey;
use super::time::WallTime;

/// Why a peer's certificate is not accepted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdmissionError {
    /// It is not a certificate of our CA.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// It belongs to another cluster.
    #[error("the certificate is for cluster {theirs}, not for this one; issue one with this cluster's CA")]
    OtherCluster {
        /// The cluster that it names.
        theirs: ClusterName,
    },
    /// It is not valid yet.
    #[error("the certificate is not valid before {0}; are the clocks right?")]
    NotYetValid(WallTime),
    /// It is no longer valid.
    #[error("the certificate ended on {0}; issue a new one with `phalanx ca issue`")]
    Expired(WallTime),
    /// The CA revoked it.
    #[error("the certificate is revoked; if the member is to come back, issue a new one with `phalanx ca issue`")]
    Revoked,
    /// It is not on the master's list.
    #[error("the certificate is not on the list of admitted certificates")]
    NotListed,
    /// The peer is another member than the one that was expected.
    #[error("the peer is member {found}, not member {expected}")]
    OtherMember {
        /// The number in the certificate.
        found: u8,
        /// The number that was asked for.
        expected: u8,
    },
}

/// A peer whose certificate was accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerIdentity {
    /// Its number.
    pub member: MemberId,
    /// Its name.
    pub name: MemberName,
    /// SHA-256 over its certificate.
    pub fingerprint: Fingerprint,
    /// Its public key.
    pub public_key: PublicKey,
    /// When its certificate ends.
    pub not_after: WallTime,
}

/// The rules of admission: a plain value, replaced as a whole when they change.
#[derive(Clone, Debug)]
pub struct Admission {
    ca: CaCertificate,
    revoked: RevocationList,
    listed: Option<BTreeSet<Fingerprint>>,
}

impl Admission {
    /// Accepts all certificates of `ca` for its cluster.
    pub fn new(ca: CaCertificate) -> Self {
        Self { ca, revoked: RevocationList::default(), listed: None }
    }

    /// The cluster whose members are accepted.
    pub fn cluster(&self) -> &ClusterName {
        self.ca.cluster()
    }

    /// Puts a revocation list (PEM or DER) in force. On an error the old one stays.
    pub fn load_crl(&mut self, bytes: &[u8]) -> Result<(), CrlError> {
        let list = RevocationList::verify(bytes, &self.ca)?;
        if list.number < self.revoked.number {
            return Err(CrlError::Older);
        }
        self.revoked = list;
        Ok(())
    }

    /// Sets the master's list of admitted certificates; `None` while it is not known.
    pub fn set_listed(&mut self, listed: Option<BTreeSet<Fingerprint>>) {
        self.listed = listed;
    }

    /// Judges a certificate in DER form at time `now`. Costs one signature check.
    pub fn check(&self, der: &[u8], now: WallTime) -> Result<PeerIdentity, AdmissionError> {
        self.judge(&MemberCertificate::verify(der, &self.ca)?, now)
    }

    /// Judges a certificate that is known to be signed by our CA.
    fn judge(&self, certificate: &MemberCertificate, now: WallTime) -> Result<PeerIdentity, AdmissionError> {
        if certificate.cluster != *self.ca.cluster() {
            return Err(AdmissionError::OtherCluster { theirs: certificate.cluster.clone() });
        }
        if now < certificate.not_before {
            return Err(AdmissionError::NotYetValid(certificate.not_before));
        }
        if now > certificate.not_after {
            return Err(AdmissionError::Expired(certificate.not_after));
        }
        if self.revoked.serials.contains(&certificate.serial) {
            return Err(AdmissionError::Revoked);
        }
        if self.listed.as_ref().is_some_and(|list| !list.contains(&certificate.fingerprint)) {
            return Err(AdmissionError::NotListed);
        }
        Ok(PeerIdentity {
            member: certificate.member,
            name: certificate.name.clone(),
            fingerprint: certificate.fingerprint,
            public_key: certificate.public_key,
            not_after: certificate.not_after,
        })
    }
}

/// How many verified certificates are remembered: two for each possible member.
const CACHE_MAX: usize = 2 * MEMBER_NUMBER_MAX as usize;

/// Certificates whose CA signature was checked before, so that the next look costs a hash. Everything that can change
/// (time, revocation, the list) is judged anew each time. Bounded: the oldest entry makes room.
#[derive(Clone, Debug, Default)]
pub struct CertificateCache {
    ca: Option<PublicKey>,
    known: VecDeque<MemberCertificate>,
}

impl CertificateCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Like [`Admission::check`], with memory.
    pub fn check(&mut self, admission: &Admission, der: &[u8], now: WallTime) -> Result<PeerIdentity, AdmissionError> {
        if self.ca != Some(*admission.ca.public_key()) {
            self.ca = Some(*admission.ca.public_key());
            self.known.clear();
        }
        let fingerprint = Fingerprint::of(der);
        if let Some(certificate) = self.known.iter().find(|known| known.fingerprint == fingerprint) {
            return admission.judge(certificate, now);
        }
        let certificate = MemberCertificate::verify(der, &admission.ca)?;
        let judged = admission.judge(&certificate, now);
        if self.known.len() >= CACHE_MAX {
            self.known.pop_front();
        }
        self.known.push_back(certificate);
        judged
    }
}
