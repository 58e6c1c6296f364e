//! The `steered` scheme: identifiers that the cluster itself allocates carry the unit; everything else is hashed
//! under the cluster's secret.
//!
//! | traffic to the cluster | unit |
//! | --- | --- |
//! | ESP, AH | low ten bits of the SPI |
//! | UDP 4500 without the non-ESP marker | the ESP inside: low ten bits of its SPI |
//! | IKE (UDP 500, UDP 4500 with the marker) | low ten bits of our SPI; if we have none yet, hash(source, initiator SPI) |
//! | L2TP (UDP 1701) | low ten bits of our tunnel ID; if zero, as any UDP |
//! | enhanced GRE (PPTP) | low ten bits of our call ID |
//! | TCP to port 32768 and above | low ten bits of the port: it is ours, of a connection that the cluster opened |
//! | other TCP, UDP | hash of the 4-tuple |
//! | a fragment | hash(source, destination, protocol (IPv4), id): who reassembles it |
//! | an ICMP error about a packet of a tunnel of ours that must not be cut | low ten bits of that packet's identification, or flow label |
//! | anything else, ICMP echo too | symmetric hash of the addresses |
//!
//! Who allocates such an identifier (SPI, tunnel ID, call ID) therefore chooses it with the session's unit in its low
//! ten bits; [`embed`] does that. Forwarded clear traffic goes by the symmetric hash, fragments and all.
//!
//! "Our" IKE SPI is the responder's if the message comes from the original initiator, else the initiator's (RFC 7296
//! section 3.1: the I flag). IKEv1 has no such flag; there the responder cookie counts.

use super::hash::Key;
use crate::parse::{Family, Summary, flag};
use crate::unit::{UNITS, Unit};
use crate::wire::{bytes, proto};

/// UDP port of IKE.
pub const PORT_IKE: u16 = 500;
/// UDP port of IKE and ESP behind NAT (RFC 3948).
pub const PORT_IKE_NAT: u16 = 4500;
/// UDP port of L2TP.
pub const PORT_L2TP: u16 = 1701;

/// TCP ports from here on are local ports of connections that the cluster itself opens.
pub const OPENED_PORTS_MIN: u16 = 32_768;
/// How many of those ports carry the same unit.
pub const PORTS_PER_UNIT: u16 = (u16::MAX - OPENED_PORTS_MIN + 1) / UNITS as u16;

/// The local port with this number, below [`PORTS_PER_UNIT`], for a connection of the unit.
#[inline]
pub const fn port_of(unit: Unit, number: u16) -> u16 {
    OPENED_PORTS_MIN | (number % PORTS_PER_UNIT) << UNITS.trailing_zeros() | unit.number()
}

/// An identifier to hand out: `random`, with its low ten bits replaced by the unit.
#[inline]
pub const fn embed(unit: Unit, random: u32) -> u32 {
    random & !(UNITS as u32 - 1) | unit.number() as u32
}

/// One word per IPv4 pair: the smaller address below, so that direction doesn't matter.
#[inline(always)]
pub(super) fn symmetric4(key: &Key, a: u32, b: u32) -> Unit {
    let word = u64::from(a.min(b)) | u64::from(a.max(b)) << 32;
    Unit::from_low_bits(key.hash([word]))
}

/// The unit of a pair of addresses, whichever way the packet goes.
#[inline]
pub(super) fn symmetric(key: &Key, summary: &Summary) -> Unit {
    match summary.family {
        Family::V4 => symmetric4(key, summary.src as u32, summary.dst as u32),
        Family::V6 => {
            let (a, b) = (summary.src.min(summary.dst), summary.src.max(summary.dst));
            Unit::from_low_bits(key.hash([a as u64, (a >> 64) as u64, b as u64, (b >> 64) as u64]))
        }
    }
}

/// The unit of a packet to a cluster address; `payload` starts at the header of `summary.proto`.
#[inline]
pub(super) fn to_cluster(key: &Key, summary: &Summary, payload: &[u8]) -> Unit {
    if summary.is_fragment() {
        // IPv6: the first fragment may show a later header than the others name, and the id is for the pair of
        // addresses anyway (RFC 8200 section 4.5).
        let proto = if summary.family == Family::V4 { summary.proto } else { 0 };
        return directed(key, summary, u64::from(summary.id) | u64::from(proto) << 32 | 1 << 63);
    }
    let carried = match summary.proto {
        proto::TCP if summary.has(flag::PORTS) => of_opened(summary.dst_port),
        proto::UDP => of_udp(key, summary, bytes::tail(payload, 8)),
        proto::ESP => bytes::array(payload, 0).map(u32::from_be_bytes).and_then(of_spi),
        proto::AH => bytes::array(payload, 4).map(u32::from_be_bytes).and_then(of_spi),
        proto::GRE => of_gre(payload),
        _ => None,
    };
    carried.unwrap_or_else(|| hashed(key, summary))
}

/// The unit of a packet that carries no identifier of ours: 4-tuple if there are ports, else addresses.
#[inline]
fn hashed(key: &Key, summary: &Summary) -> Unit {
    if !summary.has(flag::PORTS) {
        return symmetric(key, summary);
    }
    let ports = u64::from(summary.src_port) | u64::from(summary.dst_port) << 16;
    directed(key, summary, ports | u64::from(summary.proto) << 32)
}

/// Hash of source, destination and one more word.
#[inline]
fn directed(key: &Key, summary: &Summary, word: u64) -> Unit {
    let (src, dst) = (summary.src, summary.dst);
    let hash = match summary.family {
        Family::V4 => key.hash([src as u64 | (dst as u64) << 32, word]),
        Family::V6 => key.hash([src as u64, (src >> 64) as u64, dst as u64, (dst >> 64) as u64, word]),
    };
    Unit::from_low_bits(hash)
}

/// Whether a packet of ours, turned round, has its unit for a name.
pub(super) fn is_named(quoted: &Summary) -> bool {
    let of_tunnel = match quoted.proto {
        proto::ESP | proto::AH => true,
        proto::UDP => quoted.dst_port == PORT_IKE_NAT,
        _ => false,
    };
    of_tunnel && quoted.has(flag::DONT_FRAGMENT)
}

#[inline]
fn of_opened(port: u16) -> Option<Unit> {
    (port >= OPENED_PORTS_MIN).then(|| Unit::from_low_bits(port.into()))
}

/// SPIs 1..=255 are reserved and 0 is none (RFC 4303 section 2.1): we never allocate them.
#[inline]
fn of_spi(spi: u32) -> Option<Unit> {
    (spi > 255).then(|| Unit::from_low_bits(spi))
}

#[inline]
fn of_udp(key: &Key, summary: &Summary, data: &[u8]) -> Option<Unit> {
    match summary.dst_port {
        PORT_IKE => of_ike(key, summary, data),
        PORT_IKE_NAT => match bytes::array(data, 0).map(u32::from_be_bytes)? {
            0 => of_ike(key, summary, bytes::tail(data, 4)),
            spi => of_spi(spi),
        },
        PORT_L2TP => of_l2tp(data),
        _ => None,
    }
}

/// IKE's header (RFC 7296 section 3.1): initiator SPI, responder SPI, next payload, version, exchange, flags.
fn of_ike(key: &Key, summary: &Summary, data: &[u8]) -> Option<Unit> {
    const FROM_INITIATOR: u8 = 0x08;
    let initiator = u64::from_be_bytes(bytes::array(data, 0)?);
    let responder = u64::from_be_bytes(bytes::array(data, 8)?);
    let (version, flags) = (bytes::u8_at(data, 17), bytes::u8_at(data, 19));
    if version >> 4 == 2 && flags & FROM_INITIATOR == 0 {
        return Some(Unit::from_low_bits(initiator as u32));
    }
    if responder != 0 {
        return Some(Unit::from_low_bits(responder as u32));
    }
    let (src, high) = (summary.src as u64, (summary.src >> 64) as u64);
    Some(Unit::from_low_bits(key.hash([src, high, initiator])))
}

/// L2TPv2's header (RFC 2661 section 3.1): flags and version, a length if the L bit is set, tunnel ID.
#[inline]
fn of_l2tp(data: &[u8]) -> Option<Unit> {
    const LENGTH_PRESENT: u16 = 0x4000;
    let word = u16::from_be_bytes(bytes::array(data, 0)?);
    if word & 0x000f != 2 {
        return None;
    }
    let at = if word & LENGTH_PRESENT != 0 { 4 } else { 2 };
    let tunnel = u16::from_be_bytes(bytes::array(data, at)?);
    (tunnel != 0).then(|| Unit::from_low_bits(u32::from(tunnel)))
}

/// Enhanced GRE (RFC 2637 section 4.1): version 1, protocol 0x880B, payload length, call ID.
#[inline]
fn of_gre(payload: &[u8]) -> Option<Unit> {
    let [_, version, p0, p1, _, _, c0, c1] = bytes::array(payload, 0)?;
    let enhanced = version & 7 == 1 && [p0, p1] == [0x88, 0x0b];
    enhanced.then(|| Unit::from_low_bits(u32::from(u16::from_be_bytes([c0, c1]))))
}
