//! Key exchange on the curves P-256, P-384 and P-521 (RFC 5903).
//!
//! On the wire a point is x, then y, without SEC 1's format byte; a shared secret is x alone (section 7). `ring` is faster, but
//! never gives a private key out, so that no other member could go on with an exchange.

use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use p256::elliptic_curve::{AffinePoint, CurveArithmetic, FieldBytesSize, PublicKey, SecretKey};

use super::secret::Secret;

/// SEC 1's sign of a point with both coordinates.
const UNCOMPRESSED: u8 = 4;

/// The public key of a private key. None: it is none, being 0 or not below the curve's order.
pub(super) fn public<C>(private: &[u8]) -> Option<Vec<u8>>
where
    C: CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    let point = SecretKey::<C>::from_slice(private).ok()?.public_key().to_sec1_point(false);
    point.as_bytes().split_first().map(|(_, coordinates)| coordinates.to_vec())
}

/// None: the peer's coordinates are out of range or no point of the curve (RFC 6989 section 2.3). The neutral element has no
/// coordinates, and with no cofactor nothing leads there.
pub(super) fn agree<C>(private: &[u8], peer_public: &[u8]) -> Option<Secret>
where
    C: CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    let point = [&[UNCOMPRESSED][..], peer_public].concat();
    let peer = PublicKey::<C>::from_sec1_bytes(&point).ok()?;
    let shared = SecretKey::<C>::from_slice(private).ok()?.diffie_hellman(&peer);
    Some(Secret::from(&shared.raw_secret_bytes()[..]))
}
