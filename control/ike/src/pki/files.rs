//! Certificates and revocation lists out of what files hold: PEM, or one in DER.

/// The tag of a certificate in PEM.
pub(super) const CERTIFICATE: &str = "CERTIFICATE";
/// The tag of a revocation list in PEM.
pub(super) const REVOCATION_LIST: &str = "X509 CRL";

/// What begins every certificate and list in DER: a SEQUENCE with a long length.
const DER_START: [u8; 1] = [0x30];

/// What a file holds under `tag`, in order, in DER. A file without PEM, and with DER's first byte, is taken for one in DER;
/// PEM's dashes never begin with it. `None` if it cannot be read or holds nothing.
pub(super) fn ders(file: &[u8], tag: &str) -> Option<Vec<Vec<u8>>> {
    if file.starts_with(&DER_START) {
        return Some(vec![file.to_vec()]);
    }
    let blocks = pem::parse_many(file).ok()?;
    let found: Vec<_> = blocks.into_iter().filter(|block| block.tag() == tag).map(pem::Pem::into_contents).collect();
    (!found.is_empty()).then_some(found)
}
