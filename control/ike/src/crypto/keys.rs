//! The keys of an IKE SA and of its children (RFC 7296 sections 2.14, 2.17, 2.18).
//!
//! ```text
//!   nonces, g^ir ── prf ──► SKEYSEED ── prf+ ──► SK_d ai ar ei er pi pr
//!                                                  │
//!              old SK_d, nonces, new g^ir ── prf ──┤► SKEYSEED of the IKE SA that takes over
//!              SK_d, nonces, (new g^ir) ──── prf+ ─┘► a child SA's keys
//! ```

use super::prf::Prf;
use super::secret::Secret;
use super::suite::Suite;

/// An IKE SA's keys. The initiator is the one of the exchange that made them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IkeKeys {
    /// Other keys are derived from it.
    pub d: Secret,
    /// It checks what the initiator sends; empty, if the cipher checks.
    pub ai: Secret,
    /// It checks what the responder sends; empty, if the cipher checks.
    pub ar: Secret,
    /// It hides what the initiator sends; with its salt.
    pub ei: Secret,
    /// It hides what the responder sends; with its salt.
    pub er: Secret,
    /// It binds the initiator's name to its proof.
    pub pi: Secret,
    /// It binds the responder's name to its proof.
    pub pr: Secret,
}

impl IkeKeys {
    /// The keys of a new IKE SA (section 2.14).
    pub fn derive(suite: Suite, shared: &Secret, nonce_i: &[u8], nonce_r: &[u8], spi_i: u64, spi_r: u64) -> Self {
        let [key_i, key_r] = [nonce_i, nonce_r].map(|nonce| {
            let len = if suite.prf.halves_nonces() { nonce.len().min(8) } else { nonce.len() };
            nonce.get(..len).unwrap_or(nonce)
        });
        let seed = suite.prf.compute(&[key_i, key_r].concat(), &[shared.as_bytes()]);
        Self::expand(suite, &seed, &[nonce_i, nonce_r, &spi_i.to_be_bytes(), &spi_r.to_be_bytes()])
    }

    /// The keys of an IKE SA that takes over from another one (section 2.18), whose PRF makes the seed.
    #[expect(clippy::too_many_arguments, reason = "section 2.18 names as many")]
    pub fn derive_rekeyed(
        suite: Suite,
        old_prf: Prf,
        old_d: &Secret,
        shared: &Secret,
        nonce_i: &[u8],
        nonce_r: &[u8],
        spi_i: u64,
        spi_r: u64,
    ) -> Self {
        let seed = old_prf.compute(old_d.as_bytes(), &[shared.as_bytes(), nonce_i, nonce_r]);
        Self::expand(suite, &seed, &[nonce_i, nonce_r, &spi_i.to_be_bytes(), &spi_r.to_be_bytes()])
    }

    /// Whether their lengths are this suite's: to be asked of keys that come from somewhere else.
    pub fn are_for(&self, suite: Suite) -> bool {
        [&self.d, &self.ai, &self.ar, &self.ei, &self.er, &self.pi, &self.pr].map(Secret::len) == lengths(suite)
    }

    fn expand(suite: Suite, seed: &Secret, parts: &[&[u8]]) -> Self {
        let lengths = lengths(suite);
        let stream = suite.prf.expand(seed.as_bytes(), parts, lengths.iter().sum());
        let stream = stream.expect("seven keys are shorter than 255 blocks");
        let mut rest = stream.as_bytes();
        let [d, ai, ar, ei, er, pi, pr] = lengths.map(|len| {
            let (key, after) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            rest = after;
            Secret::from(key)
        });
        Self { d, ai, ar, ei, er, pi, pr }
    }
}

/// In the order in which they are derived.
fn lengths(suite: Suite) -> [usize; 7] {
    let (prf, check, hide) = (suite.prf.key_len(), suite.integrity_key_len(), suite.cipher.key_len());
    [prf, check, check, hide, hide, prf, prf]
}

/// A child SA's keys, one behind the other (section 2.17); `shared` is there if keys were exchanged for it.
///
/// # Panics
/// More than 255 blocks of the PRF's are wanted: no SA has so long keys.
pub fn child_keymat(
    prf: Prf,
    d: &Secret,
    shared: Option<&Secret>,
    nonce_i: &[u8],
    nonce_r: &[u8],
    len: usize,
) -> Secret {
    let shared = shared.map_or(&[][..], Secret::as_bytes);
    prf.expand(d.as_bytes(), &[shared, nonce_i, nonce_r], len).expect("keys are shorter than 255 blocks")
}
