//! Key exchange modulo a prime (RFC 3526): 2ˣ out, (2ʸ)ˣ shared.
//!
//! The primes are safe ones, and 2 is a square: it generates the half of the group whose order is the prime (p − 1) / 2. A peer
//! that sends 0, 1 or p − 1 would make the secret foreseeable and is refused (RFC 6989 section 2.1); all other numbers have an
//! order so great that short exponents ([`super::Group::private_len`]) are as good as long ones.

mod primes;

use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams};
use crypto_bigint::{U512, Uint};
use zeroize::Zeroizing;

pub(super) use primes::{Modp2048, Modp3072, Modp4096};

use super::secret::Secret;

/// The public key of a private key. None: it is one that peers refuse.
pub(super) fn public<P: ConstMontyParams<N>, const N: usize>(_prime: P, private: &[u8]) -> Option<Vec<u8>> {
    let public = power::<P, N>(&Uint::from(2_u8), private)?;
    is_public::<P, N>(&public).then(|| big_endian(&public))
}

/// What a private key makes of a peer's public key, as long as the prime. None: the peer's is too long, 0, 1, p − 1 or more.
pub(super) fn agree<P: ConstMontyParams<N>, const N: usize>(
    _prime: P,
    private: &[u8],
    peer_public: &[u8],
) -> Option<Secret> {
    let peer = (peer_public.len() == Uint::<N>::BYTES).then(|| Uint::<N>::from_be_slice(peer_public))?;
    is_public::<P, N>(&peer).then_some(())?;
    let shared = Zeroizing::new(power::<P, N>(&peer, private)?);
    Some(Secret::new(big_endian(&shared)))
}

/// 1 < y < p − 1. What a public key is, anybody may learn from the time that this takes.
fn is_public<P: ConstMontyParams<N>, const N: usize>(number: &Uint<N>) -> bool {
    let last = P::PARAMS.modulus().as_ref().wrapping_sub(&Uint::ONE);
    *number > Uint::ONE && *number < last
}

/// In a time that tells no more of the private key than its length, which is the group's.
fn power<P: ConstMontyParams<N>, const N: usize>(base: &Uint<N>, private: &[u8]) -> Option<Uint<N>> {
    let mut padded = Zeroizing::new([0; U512::BYTES]);
    let start = padded.len().checked_sub(private.len())?;
    padded.get_mut(start..)?.copy_from_slice(private);
    let exponent = Zeroizing::new(U512::from_be_slice(&*padded));
    let bits = 8 * private.len() as u32;
    let power = Zeroizing::new(ConstMontyForm::<P, N>::new(base).pow_bounded_exp(&*exponent, bits));
    Some(power.retrieve())
}

/// Straight from the limbs, which leaves no copy on the stack.
fn big_endian<const N: usize>(number: &Uint<N>) -> Vec<u8> {
    number.as_words().iter().rev().flat_map(|word| word.to_be_bytes()).collect()
}
