//! ECDSA on every curve with every hash: ring has neither P-521 nor SHA-512 on the others.

use p256::ecdsa::signature::hazmat::PrehashVerifier;

use super::algorithm::Hash;

/// A curve of NIST's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

/// How a signature's two numbers are written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// SEQUENCE { INTEGER, INTEGER } (RFC 7427).
    Der,
    /// One behind the other, each as long as the curve's order (RFC 4754).
    Fixed,
}

/// Whether the key at `point` (SEC 1) signed `signed`.
pub(super) fn verifies(
    curve: Curve,
    point: &[u8],
    hash: Hash,
    form: Form,
    signed: &[u8],
    signature: &[u8],
) -> Option<()> {
    macro_rules! verifies_on {
        ($curve:ident) => {{
            let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?;
            let signature = match form {
                Form::Der => $curve::ecdsa::Signature::from_der(signature),
                Form::Fixed => $curve::ecdsa::Signature::from_slice(signature),
            };
            key.verify_prehash(hash.digest(signed).as_ref(), &signature.ok()?).ok()
        }};
    }
    match curve {
        Curve::P256 => verifies_on!(p256),
        Curve::P384 => verifies_on!(p384),
        Curve::P521 => verifies_on!(p521),
    }
}
