//! The names of algorithms.

use super::esp::EspCipher;
use crate::crypto::{Cipher, Group, Integrity, Prf};

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// A cipher, of ESP at least; IKE has not all of them.
    Cipher(EspCipher),
    Integrity(Integrity),
    Prf(Prf),
    Group(Group),
    /// Extended sequence numbers: yes or no.
    Esn(bool),
}

/// Each thing's first name is the one that is written.
const NAMES: [(&str, Part); 44] = [
    ("aes128gcm16", Part::Cipher(EspCipher::Ike(Cipher::AesGcm16_128))),
    ("aes256gcm16", Part::Cipher(EspCipher::Ike(Cipher::AesGcm16_256))),
    ("chacha20poly1305", Part::Cipher(EspCipher::Ike(Cipher::ChaCha20Poly1305))),
    ("aes128", Part::Cipher(EspCipher::Ike(Cipher::AesCbc128))),
    ("aes256", Part::Cipher(EspCipher::Ike(Cipher::AesCbc256))),
    ("aes128ctr", Part::Cipher(EspCipher::Ike(Cipher::AesCtr128))),
    ("aes256ctr", Part::Cipher(EspCipher::Ike(Cipher::AesCtr256))),
    ("null", Part::Cipher(EspCipher::Null)),
    ("aes128gmac", Part::Cipher(EspCipher::AesGmac128)),
    ("aes256gmac", Part::Cipher(EspCipher::AesGmac256)),
    ("sha1", Part::Integrity(Integrity::HmacSha1_96)),
    ("sha256", Part::Integrity(Integrity::HmacSha256_128)),
    ("sha384", Part::Integrity(Integrity::HmacSha384_192)),
    ("sha512", Part::Integrity(Integrity::HmacSha512_256)),
    ("aesxcbc", Part::Integrity(Integrity::AesXcbc96)),
    ("aescmac", Part::Integrity(Integrity::AesCmac96)),
    ("prfsha1", Part::Prf(Prf::HmacSha1)),
    ("prfsha256", Part::Prf(Prf::HmacSha256)),
    ("prfsha384", Part::Prf(Prf::HmacSha384)),
    ("prfsha512", Part::Prf(Prf::HmacSha512)),
    ("prfaesxcbc", Part::Prf(Prf::AesXcbc)),
    ("prfaescmac", Part::Prf(Prf::AesCmac)),
    ("modp2048", Part::Group(Group::Modp2048)),
    ("modp3072", Part::Group(Group::Modp3072)),
    ("modp4096", Part::Group(Group::Modp4096)),
    ("ecp256", Part::Group(Group::Ecp256)),
    ("ecp384", Part::Group(Group::Ecp384)),
    ("ecp521", Part::Group(Group::Ecp521)),
    ("x25519", Part::Group(Group::X25519)),
    ("esn", Part::Esn(true)),
    ("noesn", Part::Esn(false)),
    // Other names of the same.
    ("aes", Part::Cipher(EspCipher::Ike(Cipher::AesCbc128))),
    ("aesctr", Part::Cipher(EspCipher::Ike(Cipher::AesCtr128))),
    ("aes128gcm", Part::Cipher(EspCipher::Ike(Cipher::AesGcm16_128))),
    ("aes128gcm128", Part::Cipher(EspCipher::Ike(Cipher::AesGcm16_128))),
    ("aes256gcm", Part::Cipher(EspCipher::Ike(Cipher::AesGcm16_256))),
    ("aes256gcm128", Part::Cipher(EspCipher::Ike(Cipher::AesGcm16_256))),
    ("aesgmac", Part::Cipher(EspCipher::AesGmac128)),
    ("sha", Part::Integrity(Integrity::HmacSha1_96)),
    ("sha2_256", Part::Integrity(Integrity::HmacSha256_128)),
    ("sha2_384", Part::Integrity(Integrity::HmacSha384_192)),
    ("sha2_512", Part::Integrity(Integrity::HmacSha512_256)),
    ("prfsha", Part::Prf(Prf::HmacSha1)),
    ("curve25519", Part::Group(Group::X25519)),
];

const SMALL_BLOCKS: &str = "its blocks are too small: take an AES";
const BROKEN_HASH: &str = "MD5 is broken: take sha256";
const SHORT_PRIME: &str = "its prime is too short to last: take modp2048 or more, better x25519 or ecp256";
const SMALL_SUBGROUP: &str = "where its prime comes from is not known: take modp2048 or more, better x25519 or ecp256";
const CUT_SHORT: &str = "its check value is shorter than it need be: take the one of 16 bytes";
const NO_192: &str = "keys of 192 bits are not to be had here: take 128 or 256";
const WRONG_CUT: &str = "it is an old mistake about sha256's length: take sha256";

/// Names that strongSwan knows and that are not to be had here; and why.
const REFUSED: [(&str, &str); 34] = [
    ("des", "DES is broken: take an AES"),
    ("3des", SMALL_BLOCKS),
    ("blowfish", SMALL_BLOCKS),
    ("blowfish128", SMALL_BLOCKS),
    ("blowfish192", SMALL_BLOCKS),
    ("blowfish256", SMALL_BLOCKS),
    ("cast128", SMALL_BLOCKS),
    ("md5", BROKEN_HASH),
    ("md5_128", BROKEN_HASH),
    ("prfmd5", BROKEN_HASH),
    ("modpnull", "it exchanges nothing"),
    ("modpnone", "it exchanges nothing"),
    ("modp768", SHORT_PRIME),
    ("modp1024", SHORT_PRIME),
    ("modp1536", SHORT_PRIME),
    ("modp1024s160", SHORT_PRIME),
    ("modp2048s224", SMALL_SUBGROUP),
    ("modp2048s256", SMALL_SUBGROUP),
    ("ecp192", "the curve is too small: take ecp256"),
    ("ecp224", "the curve is too small: take ecp256"),
    ("sha256_96", WRONG_CUT),
    ("sha2_256_96", WRONG_CUT),
    ("aes128gcm8", CUT_SHORT),
    ("aes128gcm64", CUT_SHORT),
    ("aes128gcm12", CUT_SHORT),
    ("aes128gcm96", CUT_SHORT),
    ("aes256gcm8", CUT_SHORT),
    ("aes256gcm64", CUT_SHORT),
    ("aes256gcm12", CUT_SHORT),
    ("aes256gcm96", CUT_SHORT),
    ("aes192", NO_192),
    ("aes192ctr", NO_192),
    ("aes192gcm16", NO_192),
    ("aes192gmac", NO_192),
];

/// What a name stands for.
pub(super) fn part(name: &str) -> Option<Part> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, part)| *part)
}

/// What a thing is called.
pub(super) fn name(part: Part) -> &'static str {
    NAMES.iter().find(|(_, known)| *known == part).map_or("?", |(name, _)| name)
}

/// Why a known name is not taken.
pub(super) fn refused(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(known, _)| *known == name).map(|(_, why)| *why)
}

/// The name that is most like one that nobody knows, if any is.
pub(super) fn alike(name: &str) -> Option<&'static str> {
    // Whoever writes more than this has not mistyped a name.
    (name.len() <= 32).then_some(())?;
    let name = name.to_ascii_lowercase();
    let most = name.len() / 2;
    let distances = NAMES.iter().map(|(known, _)| (distance(&name, known), *known));
    distances
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= most.min(3))
        .map(|(_, known)| known)
}

/// How many letters are to be added, left out or changed (Levenshtein), row by row.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (number, letter) in one.bytes().enumerate() {
        let mut left = number + 1;
        let mut diagonal = std::mem::replace(&mut row[0], left);
        for (place, same) in row[1..].iter_mut().zip(other.bytes().map(|known| known == letter)) {
            let best = (diagonal + usize::from(!same)).min(*place + 1).min(left + 1);
            diagonal = std::mem::replace(place, best);
            left = best;
        }
    }
    row.last().copied().unwrap_or_default()
}
