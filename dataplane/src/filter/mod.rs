//! The filter: packet → unit (DESIGN.md section 3, patent Figure 9 steps 911 and 913).
//!
//! Every member computes the same unit for the same packet, without asking anyone. Two schemes: the patent's own
//! ([`classic`]) and keyed hashing plus identifiers that carry the unit ([`steered`]). An ICMP error belongs to the
//! packet that it quotes, whose direction is turned round first, so that it meets the flow that it is about.

pub mod classic;
pub mod flow;
pub(crate) mod hash;
pub(crate) mod quoted;
pub mod steered;
#[cfg(test)]
mod tests;

use crate::parse::Summary;
use crate::unit::Unit;
use crate::wire::proto;
use std::fmt;

pub use flow::{Flow, FlowError};

/// Which function a cluster uses; the same on all its members.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Scheme {
    /// The patent's XOR fold: anyone can compute it, and aim.
    Classic,
    /// Keyed hash, and identifiers that carry the unit.
    #[default]
    Steered,
}

/// A scheme and its key. Copy it into each worker.
#[derive(Clone, Copy)]
pub struct Filter {
    scheme: Scheme,
    key: hash::Key,
}

impl fmt::Debug for Filter {
    /// The key is the cluster's secret: never shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl Filter {
    /// A filter. `classic` ignores the key.
    pub fn new(scheme: Scheme, key: [u8; 16]) -> Self {
        Self { scheme, key: hash::Key::new(key) }
    }

    /// Which function it uses.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// A packet's unit. `payload` is what the IP packet carries ([`Summary::l4`]); it is looked at for identifiers of
    /// ours and for the packet that an ICMP error quotes.
    #[inline]
    pub fn unit(&self, summary: &Summary, to_cluster: bool, payload: &[u8]) -> Unit {
        if matches!(summary.proto, proto::ICMP | proto::ICMPV6)
            && let Some((quoted, _)) = quoted::reversed(summary, payload)
        {
            return self.unit_of_quoted(&quoted, to_cluster);
        }
        match (self.scheme, to_cluster) {
            (Scheme::Classic, false) => classic::forwarded(summary),
            (Scheme::Classic, true) => classic::to_cluster(summary),
            (Scheme::Steered, false) => steered::symmetric(&self.key, summary),
            (Scheme::Steered, true) => steered::to_cluster(&self.key, summary, payload),
        }
    }

    /// A frame's unit, for callers that have no use for the summary itself.
    #[inline]
    pub fn unit_of_frame(&self, summary: &Summary, to_cluster: bool, frame: &[u8]) -> Unit {
        self.unit(summary, to_cluster, summary.l4(frame))
    }

    /// The units of a burst of forwarded IPv4 packets that are not ICMP errors, by their addresses (numbers in host
    /// order): what [`Self::unit`] says of each. Written to vectorise; `N` of 8 to 32 serves best.
    #[inline(always)]
    pub fn units4<const N: usize>(&self, src: &[u32; N], dst: &[u32; N], out: &mut [Unit; N]) {
        match self.scheme {
            Scheme::Classic => {
                for i in 0..N {
                    out[i] = classic::fold(src[i] ^ dst[i]);
                }
            }
            Scheme::Steered => {
                for i in 0..N {
                    out[i] = steered::symmetric4(&self.key, src[i], dst[i]);
                }
            }
        }
    }

    /// A quoted packet's identifiers (SPI, tunnel ID, ...) are the peer's, not ours: without its payload, only addresses and
    /// ports count. The port of a connection that the cluster has opened is ours, and carries the unit; so does the name of
    /// a packet that left a tunnel of ours and must not be cut ([`crate::ipsec::encap::Name`]).
    #[cold]
    fn unit_of_quoted(&self, quoted: &Summary, to_cluster: bool) -> Unit {
        match (self.scheme, to_cluster) {
            (Scheme::Classic, false) => classic::forwarded(quoted),
            (Scheme::Classic, true) => classic::to_cluster(quoted),
            (Scheme::Steered, false) => steered::symmetric(&self.key, quoted),
            (Scheme::Steered, true) if steered::is_named(quoted) => Unit::from_low_bits(quoted.id),
            (Scheme::Steered, true) => steered::to_cluster(&self.key, quoted, &[]),
        }
    }
}
