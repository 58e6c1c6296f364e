//! Groups of the key exchange (RFC 7296 section 3.3.2, type 4), and how long what they write is.
//!
//! | name | number | RFC | public key | shared secret |
//! | --- | --- | --- | --- | --- |
//! | `modp2048`, `modp3072`, `modp4096` | 14, 15, 16 | 3526 | the prime's length | the same |
//! | `ecp256`, `ecp384`, `ecp521` | 19, 20, 21 | 5903 | x, then y | x |
//! | `x25519` | 31 | 8031 | 32 | 32 |

/// A group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Group {
    /// Numbers modulo a prime of 2048 bits.
    Modp2048,
    /// Of 3072 bits.
    Modp3072,
    /// Of 4096 bits.
    Modp4096,
    /// The curve P-256.
    Ecp256,
    /// The curve P-384.
    Ecp384,
    /// The curve P-521.
    Ecp521,
    /// Curve25519.
    X25519,
}

impl Group {
    /// All that there are.
    pub const ALL: [Self; 7] =
        [Self::Modp2048, Self::Modp3072, Self::Modp4096, Self::Ecp256, Self::Ecp384, Self::Ecp521, Self::X25519];

    /// The one with IANA's number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.id() == id)
    }

    /// IANA's number.
    pub const fn id(self) -> u16 {
        match self {
            Self::Modp2048 => 14,
            Self::Modp3072 => 15,
            Self::Modp4096 => 16,
            Self::Ecp256 => 19,
            Self::Ecp384 => 20,
            Self::Ecp521 => 21,
            Self::X25519 => 31,
        }
    }

    /// Length of a public key.
    pub const fn public_len(self) -> usize {
        match self {
            Self::Modp2048 => 256,
            Self::Modp3072 => 384,
            Self::Modp4096 => 512,
            Self::Ecp256 => 64,
            Self::Ecp384 => 96,
            Self::Ecp521 => 132,
            Self::X25519 => 32,
        }
    }

    /// Length of a private key.
    ///
    /// For the primes: exponents need twice as many bits as the group is worth, no more, since the only subgroup besides
    /// those of one and two elements, which [`super::KeyPair::agree`] refuses, is half the group. RFC 3526 section 8 has
    /// the primes worth up to 160, 210 and 240 bits, hence 320, 420 and 480; here it is the next higher of 384, 448, 512.
    pub const fn private_len(self) -> usize {
        match self {
            Self::Modp2048 => 48,
            Self::Modp3072 => 56,
            Self::Modp4096 => 64,
            Self::Ecp256 | Self::X25519 => 32,
            Self::Ecp384 => 48,
            Self::Ecp521 => 66,
        }
    }

    /// Length of what two key pairs agree on.
    pub const fn shared_len(self) -> usize {
        match self {
            Self::Ecp256 | Self::Ecp384 | Self::Ecp521 => self.public_len() / 2,
            _ => self.public_len(),
        }
    }
}
