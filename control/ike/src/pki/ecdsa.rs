//! ECDSA on every curve with every hash: by ring, which is several times faster, where it can. It has neither P-521 nor SHA-512 on
//! the others, nor compressed points.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, EcdsaVerificationAlgorithm, UnparsedPublicKey,
};

use super::algorithm::Hash;

/// SEC 1's sign of a point with both coordinates.
const UNCOMPRESSED: u8 = 4;

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
    if let Some(algorithm) = rings(curve, hash, form).filter(|_| point.first() == Some(&UNCOMPRESSED)) {
        return UnparsedPublicKey::new(algorithm, point).verify(signed, signature).ok();
    }
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

/// What ring has.
const fn rings(curve: Curve, hash: Hash, form: Form) -> Option<&'static EcdsaVerificationAlgorithm> {
    Some(match (curve, hash, form) {
        (Curve::P256, Hash::Sha256, Form::Der) => &ECDSA_P256_SHA256_ASN1,
        (Curve::P256, Hash::Sha256, Form::Fixed) => &ECDSA_P256_SHA256_FIXED,
        (Curve::P256, Hash::Sha384, Form::Der) => &ECDSA_P256_SHA384_ASN1,
        (Curve::P384, Hash::Sha256, Form::Der) => &ECDSA_P384_SHA256_ASN1,
        (Curve::P384, Hash::Sha384, Form::Der) => &ECDSA_P384_SHA384_ASN1,
        (Curve::P384, Hash::Sha384, Form::Fixed) => &ECDSA_P384_SHA384_FIXED,
        _ => return None,
    })
}
