//! How much of anything is looked at. A message is at most 64 KiB, so these bound work and memory within one; they are
//! well above what peers send (a default proposal of strongSwan's has about 30 transforms, a message about a dozen
//! payloads). Where the field that counts is a byte, as for selectors, it is limit enough.

/// Bytes of a message, sealed or opened: what fits into a UDP datagram.
pub const MESSAGE_BYTES_MAX: usize = 65_535;
/// Payloads of a message.
pub const PAYLOADS_MAX: usize = 64;
/// Proposals of an SA payload.
pub const PROPOSALS_MAX: usize = 64;
/// Transforms of a proposal.
pub const TRANSFORMS_MAX: usize = 128;
/// SPIs of a delete payload.
pub const SPIS_MAX: usize = 1024;
/// Attributes of a configuration payload: a gateway may name that many networks behind it.
pub const ATTRIBUTES_MAX: usize = 256;
/// Networks that a selector's range is taken apart into. Any range of IPv4 needs fewer, a sane one of IPv6, too.
pub const NETWORKS_MAX: usize = 64;
