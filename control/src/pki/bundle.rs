//! A member's personality on disk: one file of PEM blocks that belong together, signed as a whole (patent Figure 3).
//!
//! ```text
//! CERTIFICATE                    the member's
//! PRIVATE KEY                    the member's, PKCS#8
//! CERTIFICATE                    the CA's
//! PHALANX CLUSTER SECRET         32 bytes
//! PHALANX PERSONALITY SIGNATURE  Ed25519 by the CA over all of the above
//! ```
//! The signature covers label and content of each block with their lengths, in order, so no block can be exchanged, dropped
//! or added. The anchor is the CA certificate inside: the file is as trustworthy as the way on which it came, and whole.

use pem::{EncodeConfig, LineEnding, Pem};
use zeroize::Zeroizing;

use super::secret::{ClusterSecret, PublicKey, SIGNATURE_BYTES, SigningKey};

const TAG_CERTIFICATE: &str = "CERTIFICATE";
const TAG_KEY: &str = "PRIVATE KEY";
const TAG_SECRET: &str = "PHALANX CLUSTER SECRET";
const TAG_SIGNATURE: &str = "PHALANX PERSONALITY SIGNATURE";
/// What the signed text starts with, so that the CA's signature over a bundle can never pass for one over something else.
const LABEL: &[u8] = b"phalanx personality v1\0";

/// The parts of a bundle.
pub(super) struct Bundle {
    pub(super) certificate: Vec<u8>,
    pub(super) key_pkcs8: Zeroizing<Vec<u8>>,
    pub(super) ca: Vec<u8>,
    pub(super) secret: Zeroizing<Vec<u8>>,
}

impl Bundle {
    fn blocks(&self) -> [(&'static str, &[u8]); 4] {
        [
            (TAG_CERTIFICATE, &self.certificate),
            (TAG_KEY, &self.key_pkcs8),
            (TAG_CERTIFICATE, &self.ca),
            (TAG_SECRET, &self.secret),
        ]
    }

    /// What is signed.
    fn signed_text(&self) -> Zeroizing<Vec<u8>> {
        let blocks = self.blocks();
        let length = blocks.iter().map(|(tag, content)| tag.len() + content.len() + 16).sum::<usize>() + LABEL.len();
        // Reserved whole: a vector that grows leaves copies of secrets behind.
        let mut text = Zeroizing::new(Vec::with_capacity(length));
        text.extend_from_slice(LABEL);
        for (tag, content) in blocks {
            for field in [tag.as_bytes(), content] {
                text.extend_from_slice(&(field.len() as u64).to_be_bytes());
                text.extend_from_slice(field);
            }
        }
        text
    }

    /// The file's text, signed by `ca_key`.
    pub(super) fn encode(&self, ca_key: &SigningKey) -> Zeroizing<String> {
        let signature = ca_key.sign(&self.signed_text());
        let blocks = self.blocks().into_iter().chain([(TAG_SIGNATURE, signature.as_slice())]);
        let pieces: Vec<_> = blocks.map(|(tag, content)| encode_block(tag, content)).collect();
        let mut text = Zeroizing::new(String::with_capacity(pieces.iter().map(|piece| piece.len()).sum()));
        for piece in pieces {
            text.push_str(&piece);
        }
        text
    }

    /// Reads a bundle; the signature is returned for [`Bundle::is_signed_by`].
    pub(super) fn decode(text: &[u8]) -> Option<(Self, Vec<u8>)> {
        let mut blocks = pem::parse_many(text)
            .ok()?
            .into_iter()
            .map(|block| (block.tag().to_owned(), Zeroizing::new(block.into_contents())));
        let mut next = |tag: &str| blocks.next().filter(|block| block.0 == tag).map(|block| block.1);
        let certificate = next(TAG_CERTIFICATE)?.to_vec();
        let key_pkcs8 = next(TAG_KEY)?;
        let ca = next(TAG_CERTIFICATE)?.to_vec();
        let secret = next(TAG_SECRET)?;
        let signature = next(TAG_SIGNATURE)?.to_vec();
        if blocks.next().is_some() || signature.len() != SIGNATURE_BYTES {
            return None;
        }
        Some((Self { certificate, key_pkcs8, ca, secret }, signature))
    }

    /// Whether `signature` is the CA's over this bundle.
    pub(super) fn is_signed_by(&self, ca: &PublicKey, signature: &[u8]) -> bool {
        ca.verifies(&self.signed_text(), signature)
    }

    /// The cluster secret, if it has the right length.
    pub(super) fn cluster_secret(&self) -> Option<ClusterSecret> {
        ClusterSecret::from_slice(&self.secret)
    }
}

/// One PEM block with plain line ends.
pub(super) fn encode_block(tag: &str, content: &[u8]) -> Zeroizing<String> {
    let block = Pem::new(tag, content);
    let text = Zeroizing::new(pem::encode_config(&block, EncodeConfig::new().set_line_ending(LineEnding::LF)));
    drop(Zeroizing::new(block.into_contents()));
    text
}
