//! Certificate revocation lists (RFC 5280 section 5): which serial numbers are no longer good.

use std::collections::BTreeSet;

use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::certificate::CaCertificate;

/// The longest list that is looked at: some thousands of entries.
const CRL_BYTES_MAX: usize = 1 << 20;

/// Why a revocation list is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CrlError {
    /// Not a CRL.
    #[error("not a certificate revocation list")]
    Malformed,
    /// Another CA signed it, or it was tampered with.
    #[error("the revocation list was not signed by this cluster's CA")]
    NotOurCa,
    /// It is older than the one that is in force: taking it would undo revocations.
    #[error("the revocation list is older than the one in force; fetch the CA's newest crl.pem")]
    Older,
}

/// A revocation list that our CA signed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct RevocationList {
    /// Rises with each list that the CA signs.
    pub(super) number: u64,
    pub(super) serials: BTreeSet<Vec<u8>>,
}

impl RevocationList {
    /// Reads a list in PEM or DER form and checks that `ca` signed it.
    pub(super) fn verify(bytes: &[u8], ca: &CaCertificate) -> Result<Self, CrlError> {
        if bytes.len() > CRL_BYTES_MAX {
            return Err(CrlError::Malformed);
        }
        if bytes.starts_with(b"-----") {
            let block = pem::parse(bytes).map_err(|_| CrlError::Malformed)?;
            if block.tag() != "X509 CRL" {
                return Err(CrlError::Malformed);
            }
            return Self::verify_der(block.contents(), ca);
        }
        Self::verify_der(bytes, ca)
    }

    fn verify_der(der: &[u8], ca: &CaCertificate) -> Result<Self, CrlError> {
        let Ok(([], list)) = CertificateRevocationList::from_der(der) else { return Err(CrlError::Malformed) };
        let signed_with_ours = list.issuer().as_raw() == ca.subject()
            && list.signature_algorithm.algorithm == OID_SIG_ED25519
            && ca.public_key().verifies(list.tbs_cert_list.as_ref(), &list.signature_value.data);
        if !signed_with_ours {
            return Err(CrlError::NotOurCa);
        }
        let number = list.crl_number().and_then(|number| u64::try_from(number).ok()).ok_or(CrlError::Malformed)?;
        let serials = list.iter_revoked_certificates().map(|entry| entry.raw_serial().to_vec()).collect();
        Ok(Self { number, serials })
    }
}
