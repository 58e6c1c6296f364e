//! Certificates and revocation lists out of what files hold: PEM, or one in DER.

/// The tag of a certificate in PEM.
pub(super) const CERTIFICATE: &str = "CERTIFICATE";
/// The tag of a revocation list in PEM.
pub(super) const REVOCATION_LIST: &str = "X509 CRL";

/// What a file holds under `tag`, in order, in DER. `None` if it cannot be read or holds nothing.
pub(super) fn ders(file: &[u8], tag: &str) -> Option<Vec<Vec<u8>>> {
    // A SEQUENCE whose length has bytes of its own, as with all that is longer than 127 bytes: no text begins like that.
    if let [0x30, 0x80..=0xff, ..] = file {
        return Some(vec![file.to_vec()]);
    }
    let blocks = pem::parse_many(file).ok()?;
    let found: Vec<_> = blocks.into_iter().filter(|block| block.tag() == tag).map(pem::Pem::into_contents).collect();
    (!found.is_empty()).then_some(found)
}
