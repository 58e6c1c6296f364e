//! Key exchange: a pair of keys, and what it agrees on with a peer (RFC 7296 section 2.12, checks of RFC 6989).

use p256::NistP256;
use p384::NistP384;
use p521::NistP521;
use x25519_dalek::{PublicKey, StaticSecret};

use super::ecp;
use super::group::Group;
use super::modp::{self, Modp2048, Modp3072, Modp4096};
use super::random::Random;
use super::secret::Secret;

/// So many private keys are tried. The curve with the most of them that are none is P-256: one in 2³².
const TRIES: usize = 16;

/// A pair of keys.
#[derive(Clone, Debug)]
pub struct KeyPair {
    group: Group,
    private: Secret,
    public: Vec<u8>,
}

/// A public key that is none of its group, or that makes secrets foreseeable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the peer's public key is not one of its group")]
pub struct BadPublic;

impl KeyPair {
    /// A new one.
    ///
    /// # Panics
    /// What is random there always says the same.
    pub fn generate(group: Group, random: &mut dyn Random) -> Self {
        let mut tried = (0..TRIES).map(|_| {
            let mut private = vec![0; group.private_len()];
            random.fill(&mut private);
            if let (Group::Ecp521, Some(first)) = (group, private.first_mut()) {
                // Of 528 bits, 521 are the curve's.
                *first &= 1;
            }
            let private = Secret::new(private);
            public(group, private.as_bytes()).map(|public| Self { group, private, public })
        });
        tried.find_map(|pair| pair).expect("random bytes are a private key sooner or later")
    }

    /// The one with this private key, which another member made. None: it is no private key of the group.
    pub fn restore(group: Group, private: &[u8]) -> Option<Self> {
        let public = (private.len() == group.private_len()).then(|| public(group, private))??;
        Some(Self { group, private: Secret::from(private), public })
    }

    /// Its group.
    pub fn group(&self) -> Group {
        self.group
    }

    /// What the peer is told.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// What only members are told.
    pub fn private(&self) -> &Secret {
        &self.private
    }

    /// The secret that it shares with the owner of a public key.
    ///
    /// # Errors
    /// The public key is not one of the group's, or one that leads to few secrets.
    pub fn agree(&self, peer_public: &[u8]) -> Result<Secret, BadPublic> {
        if peer_public.len() != self.group.public_len() {
            return Err(BadPublic);
        }
        let private = self.private.as_bytes();
        let shared = match self.group {
            Group::Modp2048 => modp::agree(Modp2048, private, peer_public),
            Group::Modp3072 => modp::agree(Modp3072, private, peer_public),
            Group::Modp4096 => modp::agree(Modp4096, private, peer_public),
            Group::Ecp256 => ecp::agree::<NistP256>(private, peer_public),
            Group::Ecp384 => ecp::agree::<NistP384>(private, peer_public),
            Group::Ecp521 => ecp::agree::<NistP521>(private, peer_public),
            Group::X25519 => x25519(private, peer_public),
        };
        shared.ok_or(BadPublic)
    }
}

/// The public key that belongs to a private one of the group's length, if it is one.
fn public(group: Group, private: &[u8]) -> Option<Vec<u8>> {
    match group {
        Group::Modp2048 => modp::public(Modp2048, private),
        Group::Modp3072 => modp::public(Modp3072, private),
        Group::Modp4096 => modp::public(Modp4096, private),
        Group::Ecp256 => ecp::public::<NistP256>(private),
        Group::Ecp384 => ecp::public::<NistP384>(private),
        Group::Ecp521 => ecp::public::<NistP521>(private),
        Group::X25519 => {
            let private = StaticSecret::from(<[u8; 32]>::try_from(private).ok()?);
            Some(PublicKey::from(&private).to_bytes().to_vec())
        }
    }
}

/// None: a point of small order, whose multiples are all zero.
fn x25519(private: &[u8], peer_public: &[u8]) -> Option<Secret> {
    let [private, peer_public] = [private, peer_public].map(<[u8; 32]>::try_from);
    let shared = StaticSecret::from(private.ok()?).diffie_hellman(&PublicKey::from(peer_public.ok()?));
    shared.was_contributory().then(|| Secret::from(&shared.as_bytes()[..]))
}
