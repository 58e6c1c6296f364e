//! Authorities, revocation, and the way from a peer's certificate to an authority (RFC 5280 section 6).
//!
//! The way is webpki's to find: signatures, validity, basic constraints, path lengths, name constraints, critical extensions.
//! It takes the certificates between in any order, and its work is bounded whatever they are.
//!
//! Revocation is by lists that we are given. Whatever is on the way is looked up, the leaf and the authorities between; a
//! certificate of an authority without a list counts as not revoked. A list that is past its next update still revokes: to
//! forget it would forgive those on it, and to insist on a new one would lock out everybody when a file grows old.

use std::time::Duration;

use ring::digest;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error, OwnedCertRevocationList, RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::usage::{ForIke, may_sign};
use super::{CERTIFICATES_BYTES_MAX, CERTIFICATES_MAX, PeerKey, files, name};
use crate::wire::Identity;

/// Whom we believe: authorities, and what they revoked.
#[derive(Debug)]
pub struct Trust {
    roots: Vec<Root>,
    /// Of one authority's the newest first: webpki takes the first that fits.
    crls: Vec<CertRevocationList<'static>>,
}

#[derive(Clone, Debug)]
struct Root {
    anchor: TrustAnchor<'static>,
    /// SHA-1 over its SubjectPublicKeyInfo: a name for it, not a proof of anything.
    key_hash: Vec<u8>,
    from_s: i64,
    until_s: i64,
}

/// Why authorities or revocation lists cannot be used. The number is that of the file among those given, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TrustError {
    /// There is none.
    #[error("there is no authority")]
    NoRoots,
    /// It is neither PEM with certificates nor a certificate.
    #[error("file {0} holds no certificate that can be read")]
    NoCertificate(usize),
    /// It holds a certificate that is no authority's.
    #[error("file {0} holds a certificate that is not an authority's (CA:TRUE)")]
    NoAuthority(usize),
    /// It is neither PEM with revocation lists nor a list.
    #[error("file {0} holds no revocation list that can be read (X.509 version 2, whole and direct)")]
    NoRevocationList(usize),
}

/// Why a peer's certificates do not prove its name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Distrust {
    /// It sent none.
    #[error("it sent no certificate")]
    NoCertificate,
    /// It sent more than is looked at.
    #[error("it sent more than {CERTIFICATES_MAX} certificates or {CERTIFICATES_BYTES_MAX} bytes of them")]
    TooMuch,
    /// Its own cannot be read.
    #[error("its certificate cannot be read")]
    Malformed,
    /// No way leads to an authority of ours: it is another's, or one between is missing.
    #[error("no authority of ours issued its certificate, or one between was not sent")]
    UnknownIssuer,
    /// A certificate's time has not come.
    #[error("a certificate is not valid yet")]
    NotYetValid,
    /// A certificate's time is over.
    #[error("a certificate has expired")]
    Expired,
    /// An authority took a certificate back.
    #[error("a certificate was revoked")]
    Revoked,
    /// It was issued for something else.
    #[error("its certificate is not for IKE: see its key usage and extended key usage")]
    Usage,
    /// Something else about the certificates is not right.
    #[error("its certificates are not acceptable: {0}")]
    Chain(Error),
    /// Names of this kind cannot be in certificates.
    #[error("a name of kind {0} cannot be proved with a certificate")]
    NameKind(u8),
    /// The certificate is somebody else's.
    #[error("its certificate does not say its name")]
    OtherName,
    /// Its key is too short or of a kind that is not known here.
    #[error("its certificate's key cannot be used here: RSA from 2048 bits, ECDSA on NIST's curves, Ed25519")]
    Key,
}

impl Trust {
    /// Trust in authorities, each file PEM with any number of them, or one in DER.
    pub fn new(roots: &[impl AsRef<[u8]>]) -> Result<Self, TrustError> {
        let mut all = Vec::new();
        for (place, file) in roots.iter().enumerate() {
            let ders = files::ders(file.as_ref(), files::CERTIFICATE).ok_or(TrustError::NoCertificate(place))?;
            for der in ders {
                all.push(Root::parse(der, place)?);
            }
        }
        if all.is_empty() { Err(TrustError::NoRoots) } else { Ok(Self { roots: all, crls: Vec::new() }) }
    }

    /// The same authorities, with these revocation lists instead of those before; each file PEM or DER.
    pub fn with_crls(mut self, crls: &[impl AsRef<[u8]>]) -> Result<Self, TrustError> {
        let mut dated = Vec::new();
        for (place, file) in crls.iter().enumerate() {
            let unread = TrustError::NoRevocationList(place);
            for der in files::ders(file.as_ref(), files::REVOCATION_LIST).ok_or(unread)? {
                let (_, parsed) = CertificateRevocationList::from_der(&der).map_err(|_| unread)?;
                let list = OwnedCertRevocationList::from_der(&der).map_err(|_| unread)?;
                dated.push((parsed.last_update().timestamp(), list.into()));
            }
        }
        dated.sort_by_key(|(updated_s, _)| std::cmp::Reverse(*updated_s));
        self.crls = dated.into_iter().map(|(_, list)| list).collect();
        Ok(self)
    }

    /// The authorities as CERTREQ payloads name them: SHA-1 over each one's key, one behind the other (RFC 7296 section 3.7).
    pub fn authorities(&self) -> Vec<u8> {
        self.roots.iter().flat_map(|root| root.key_hash.iter().copied()).collect()
    }

    /// The key that belongs to `identity`, if `certificates` prove it at `now_s` (seconds since 1970). They are in DER, the
    /// peer's own first; the order of the others does not matter, nor do any that lead nowhere.
    pub fn verify(&self, certificates: &[Vec<u8>], identity: &Identity, now_s: u64) -> Result<PeerKey, Distrust> {
        let bytes = certificates.iter().map(Vec::len).fold(0, usize::saturating_add);
        if certificates.len() > CERTIFICATES_MAX || bytes > CERTIFICATES_BYTES_MAX {
            return Err(Distrust::TooMuch);
        }
        let (leaf, others) = certificates.split_first().ok_or(Distrust::NoCertificate)?;
        let (rest, certificate) = X509Certificate::from_der(leaf).map_err(|_| Distrust::Malformed)?;
        if !rest.is_empty() {
            return Err(Distrust::Malformed);
        }
        self.verify_chain(leaf, others, now_s)?;
        if !may_sign(&certificate) {
            return Err(Distrust::Usage);
        }
        if !name::can_be_certified(identity) {
            return Err(Distrust::NameKind(identity.kind));
        }
        if !name::says(&certificate, identity) {
            return Err(Distrust::OtherName);
        }
        PeerKey::of(certificate.public_key()).ok_or(Distrust::Key)
    }

    fn verify_chain(&self, leaf: &[u8], others: &[Vec<u8>], now_s: u64) -> Result<(), Distrust> {
        let leaf = CertificateDer::from(leaf);
        let leaf = EndEntityCert::try_from(&leaf).map_err(|_| Distrust::Malformed)?;
        let others: Vec<_> = others.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let valid = self.roots.iter().filter(|root| root.is_valid(now_s));
        let anchors: Vec<_> = valid.map(|root| root.anchor.clone()).collect();
        let crls: Vec<_> = self.crls.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&crls)
            .ok()
            .map(|options| options.with_status_policy(UnknownStatusPolicy::Allow).build());
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s));
        leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &others, now, ForIke, revocation, None)
            .map(|_| ())
            .map_err(Distrust::from)
    }
}

impl Root {
    fn parse(der: Vec<u8>, place: usize) -> Result<Self, TrustError> {
        let unread = TrustError::NoCertificate(place);
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| unread)?;
        if !certificate.is_ca() {
            return Err(TrustError::NoAuthority(place));
        }
        let anchor = CertificateDer::from(der.as_slice());
        let anchor = webpki::anchor_from_trusted_cert(&anchor).map_err(|_| unread)?.to_owned();
        let key = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.public_key().raw);
        Ok(Self {
            anchor,
            key_hash: key.as_ref().to_vec(),
            from_s: certificate.validity().not_before.timestamp(),
            until_s: certificate.validity().not_after.timestamp(),
        })
    }

    /// webpki does not ask this of authorities.
    fn is_valid(&self, now_s: u64) -> bool {
        i64::try_from(now_s).is_ok_and(|now_s| (self.from_s..=self.until_s).contains(&now_s))
    }
}

impl From<Error> for Distrust {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownIssuer => Self::UnknownIssuer,
            Error::CertNotValidYet { .. } => Self::NotYetValid,
            Error::CertExpired { .. } => Self::Expired,
            Error::CertRevoked => Self::Revoked,
            Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => Self::Usage,
            other => Self::Chain(other),
        }
    }
}
