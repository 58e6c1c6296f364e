//! Hashes and signature algorithms, and how messages name them.
//!
//! RFC 7427 names an algorithm by its AlgorithmIdentifier in DER: an object identifier, and parameters. There are few, each
//! with one encoding, or two: a hash within has parameters that are NULL, or none, and both must be accepted (RFC 4055
//! section 2.1). So they are bytes to be compared, and no DER is parsed.

use ring::digest;

/// A hash of the SHA-2 family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(super) const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its number in SIGNATURE_HASH_ALGORITHMS.
    pub(super) const fn number(self) -> u16 {
        match self {
            Self::Sha256 => 2,
            Self::Sha384 => 3,
            Self::Sha512 => 4,
        }
    }

    pub(super) fn digest(self, bytes: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, bytes)
    }
}

/// The number of "identity" among the hashes: the algorithm hashes on its own (RFC 8420).
pub(super) const IDENTITY_NUMBER: u16 = 5;

/// The data of our SIGNATURE_HASH_ALGORITHMS notification (RFC 7427 section 4): all that [`super::PeerKey`] verifies.
pub fn hash_algorithms() -> Vec<u8> {
    let numbers = Hash::ALL.iter().map(|hash| hash.number()).chain([IDENTITY_NUMBER]);
    numbers.flat_map(u16::to_be_bytes).collect()
}

/// A signature algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scheme {
    RsaPkcs1(Hash),
    RsaPss(Hash),
    Ecdsa(Hash),
    Ed25519,
}

impl Scheme {
    /// The scheme that `identifier` names.
    pub(super) fn of(identifier: &[u8]) -> Option<Self> {
        IDENTIFIERS.iter().find(|(_, known)| *known == identifier).map(|(scheme, _)| *scheme)
    }

    /// How we name it.
    pub(super) fn identifier(self) -> Option<&'static [u8]> {
        IDENTIFIERS.iter().find(|(scheme, _)| *scheme == self).map(|(_, known)| *known)
    }
}

/// What names what. We write the first of a scheme.
#[rustfmt::skip]
const IDENTIFIERS: [(Scheme, &[u8]); 16] = [
    // SEQUENCE { sha256WithRSAEncryption (1.2.840.113549.1.1.11), NULL }, and those with SHA-384 (….12) and SHA-512 (….13).
    (Scheme::RsaPkcs1(Hash::Sha256), b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"),
    (Scheme::RsaPkcs1(Hash::Sha384), b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00"),
    (Scheme::RsaPkcs1(Hash::Sha512), b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00"),
    // The same without the NULL.
    (Scheme::RsaPkcs1(Hash::Sha256), b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"),
    (Scheme::RsaPkcs1(Hash::Sha384), b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c"),
    (Scheme::RsaPkcs1(Hash::Sha512), b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d"),
    // SEQUENCE { id-RSASSA-PSS (1.2.840.113549.1.1.10), SEQUENCE {
    //   [0] SEQUENCE { the hash (2.16.840.1.101.3.4.2.1, .2 or .3), NULL },
    //   [1] SEQUENCE { id-mgf1 (1.2.840.113549.1.1.8), SEQUENCE { the same hash, NULL } },
    //   [2] INTEGER, the salt's length: 32, 48 or 64 } }
    (Scheme::RsaPss(Hash::Sha256), b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
        \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
        \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
        \xa2\x03\x02\x01\x20"),
    (Scheme::RsaPss(Hash::Sha384), b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
        \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
        \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
        \xa2\x03\x02\x01\x30"),
    (Scheme::RsaPss(Hash::Sha512), b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
        \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\
        \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\
        \xa2\x03\x02\x01\x40"),
    // The same without the NULLs.
    (Scheme::RsaPss(Hash::Sha256), b"\x30\x3d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x30\
        \xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\
        \xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\
        \xa2\x03\x02\x01\x20"),
    (Scheme::RsaPss(Hash::Sha384), b"\x30\x3d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x30\
        \xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\
        \xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\
        \xa2\x03\x02\x01\x30"),
    (Scheme::RsaPss(Hash::Sha512), b"\x30\x3d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x30\
        \xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\
        \xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\
        \xa2\x03\x02\x01\x40"),
    // SEQUENCE { ecdsa-with-SHA256 (1.2.840.10045.4.3.2) }, and those with SHA-384 (….3) and SHA-512 (….4).
    (Scheme::Ecdsa(Hash::Sha256), b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"),
    (Scheme::Ecdsa(Hash::Sha384), b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"),
    (Scheme::Ecdsa(Hash::Sha512), b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04"),
    // SEQUENCE { id-Ed25519 (1.3.101.112) }
    (Scheme::Ed25519, b"\x30\x05\x06\x03\x2b\x65\x70"),
];
