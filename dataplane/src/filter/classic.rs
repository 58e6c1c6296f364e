//! The patent's filter function ("Sample Cluster Filtering function", called at Figure 9 steps 911 and 913).
//!
//! Forwarded: source XOR destination. To the cluster: source XOR source port for TCP and UDP, else source XOR
//! destination. Departures, both needed for a packet to meet its flow: a fragment is nobody's TCP or UDP yet (its
//! ports are in another packet), so it goes by its addresses; and an ICMP error goes by the packet that it quotes,
//! which [`super::Filter`] sees to for both schemes.

use crate::parse::{Family, Summary, flag};
use crate::unit::Unit;

/// Folds a 32-bit key to a unit: all bits take part.
#[inline]
pub const fn fold(k: u32) -> Unit {
    Unit::from_low_bits(k ^ k >> 10 ^ k >> 20 ^ k >> 30)
}

/// An address as a 32-bit number in host order; IPv6 is XORed word by word.
#[inline]
const fn address(family: Family, number: u128) -> u32 {
    match family {
        Family::V4 => number as u32,
        Family::V6 => (number ^ number >> 32 ^ number >> 64 ^ number >> 96) as u32,
    }
}

/// The unit of forwarded traffic: the same in both directions.
#[inline]
pub const fn forwarded(summary: &Summary) -> Unit {
    fold(address(summary.family, summary.src) ^ address(summary.family, summary.dst))
}

/// The unit of traffic to a cluster address.
#[inline]
pub const fn to_cluster(summary: &Summary) -> Unit {
    if summary.has(flag::PORTS) && !summary.is_fragment() {
        fold(address(summary.family, summary.src) ^ summary.src_port as u32)
    } else {
        forwarded(summary)
    }
}
