//! How much of a peer's an IKE SA keeps. A peer that has proved its name may still mean harm, and all that is kept is replicated.
//!
//! The data plane takes a record of 32 KiB at most, and refuses what makes a longer one; so the sum of all that can be in one is less:
//!
//! | what | at most, in KiB |
//! | --- | --- |
//! | pieces of the next message | 10 |
//! | children, 150 bytes each; their selectors, 86 bytes each | 2.5 + 11 |
//! | the last answer and our own request, each with one child's selectors | 2 × 3.5 |
//! | names, keys, nonces, the peer's token | 1 |
//!
//! Before the peer has proved its name there are no children, but its first message (4), what it wants (8), and our certificates.

/// A first message: it comes in one datagram, which no path carries unless it is short.
pub(super) const FIRST_MAX: usize = 4 << 10;
/// What a peer wants that must be asked for a password first.
pub(super) const WANTED_MAX: usize = 8 << 10;
/// So many pieces a peer's message may have.
pub(super) const PIECES_MAX: u16 = 64;
/// And so long it may be in all.
pub(super) const PIECED_MAX: usize = 10 << 10;
/// A peer's name.
pub(super) const NAME_MAX: usize = 512;
/// What a peer wants to hear again, to know that we are where it thinks (RFC 4555 section 4.2.5).
pub(super) const COOKIE2_MAX: usize = 64;
/// Child SAs of one IKE SA, the old ones among them that have new keys.
pub(super) const CHILDREN_MAX: usize = 16;
/// Those for the same traffic (RFC 9611): half of them, so that each can stand beside one that takes its place.
pub(super) const ALIKE_MAX: usize = CHILDREN_MAX / 2;
/// Selectors of one side of a child: what the peer asks for beyond is not granted.
pub(super) const SELECTORS_MAX: usize = 32;
/// With so many selectors of all children no further child is made. The largest child alone is below it, so that it can get new keys.
pub(super) const ALL_SELECTORS_MAX: usize = 2 * SELECTORS_MAX + 1;
/// Networks of one side of a child.
pub(super) const NETWORKS_MAX: usize = 256;
