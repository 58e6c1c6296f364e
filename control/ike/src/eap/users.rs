//! Where passwords come from.

use zeroize::Zeroizing;

/// The users that there are.
///
/// This is the seam between the conversation and those who know users: a file, a table in memory. MSCHAPv2 needs
/// the password itself, or its MD4, on this side; a stored hash of another kind is no use.
///
/// A RADIUS server is not reached through this trait: it does not give passwords away, and asking it takes time. It goes in
/// one level above, where EAP packets are passed on to it as they are, in place of a [`super::Conversation`], and it says
/// [`super::Step`] by step what to do (Access-Challenge: ask; Access-Accept with its two MPPE keys: granted).
pub trait Users {
    /// The password of the user with this name, which is without a domain. Unknown ones should take as long as known ones;
    /// all that is computed afterwards does.
    fn password(&self, name: &str) -> Option<Zeroizing<String>>;
}

/// A name without what Windows puts before it: of `DOMAIN\user`, `user`. Proofs are computed over this
/// (RFC 2759 section 4), as is the look-up.
pub(super) fn without_domain(name: &[u8]) -> &[u8] {
    match name.iter().position(|&byte| byte == b'\\') {
        Some(at) => name.get(at + 1..).unwrap_or_default(),
        None => name,
    }
}
