//! What a certificate may be used for (RFC 4945 section 5.1.3).

use webpki::{Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext};
use x509_parser::prelude::X509Certificate;

/// Accepts a certificate that does not say what it is for, or names a purpose of [`PURPOSES`], be it among others. webpki
/// asks this of the authorities between, too: one that may only sign e-mail certificates makes no gateways.
pub(super) struct ForIke;

/// id-kp-ipsecIKE, 1.3.6.1.5.5.7.3.17
const IPSEC_IKE: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x11";

/// The contents of object identifiers.
const PURPOSES: [&[u8]; 5] = [
    IPSEC_IKE,
    // id-kp-serverAuth, 1.3.6.1.5.5.7.3.1: what Windows and macOS want of gateways
    b"\x2b\x06\x01\x05\x05\x07\x03\x01",
    // id-kp-clientAuth, 1.3.6.1.5.5.7.3.2
    b"\x2b\x06\x01\x05\x05\x07\x03\x02",
    // iKEIntermediate, 1.3.6.1.5.5.8.2.2: what came before ipsecIKE
    b"\x2b\x06\x01\x05\x05\x08\x02\x02",
    // anyExtendedKeyUsage, 2.5.29.37.0
    b"\x55\x1d\x25\x00",
];

impl ExtendedKeyUsageValidator for ForIke {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut none = true;
        for purpose in purposes {
            none = false;
            let purpose = purpose?;
            if PURPOSES.iter().any(|known| KeyPurposeId::new(known) == purpose) {
                return Ok(());
            }
        }
        if none {
            return Ok(());
        }
        let required = KeyUsage::required_if_present(IPSEC_IKE);
        Err(Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required, present: Vec::new() }))
    }
}

/// Whether the key may sign: the certificate has no key usage, or one with digitalSignature or nonRepudiation. webpki does
/// not look at that.
pub(super) fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    match certificate.key_usage() {
        Ok(None) => true,
        Ok(Some(usage)) => usage.value.digital_signature() || usage.value.non_repudiation(),
        Err(_) => false,
    }
}
