//! ICMP errors that a router owes to senders: built into the caller's buffer, and mostly not sent at all.
//!
//! RFC 1812 section 4.3.2.7 and RFC 4443 section 2.4(e) say when to keep silent; [`build`] answers with the
//! [`Silence`] then. What remains is rate limited by a [`TokenBucket`] (RFC 1812 section 4.3.2.8). Only the owner of a
//! packet's unit calls this: another member never answers.

use crate::parse::{Family, Summary};
use crate::wire::{icmpv4, icmpv6, ipv4, ipv6, proto};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What went wrong with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Complaint {
    /// Its TTL or hop limit ran out here.
    TimeExceeded,
    /// No route leads to its destination.
    NoRoute,
    /// The last hop's neighbour does not answer.
    HostUnreachable,
    /// Too long for the next link, and not to be fragmented.
    TooBig {
        /// The next link's MTU.
        mtu: u16,
    },
}

/// Why no error is sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Silence {
    /// It complains itself: errors about errors would breed.
    #[error("the packet is an ICMP error or redirect")]
    AboutAnError,
    /// A fragment other than the first: its sender hears of the first.
    #[error("the packet is a later fragment")]
    LaterFragment,
    /// Sent to many, by IP or by Ethernet: many would answer.
    #[error("the packet was sent to a group or to all")]
    ToMany,
    /// Its source is nobody in particular.
    #[error("the packet's source is not one host's address")]
    Source,
    /// The answering address is of the other IP version, or the buffer is too short.
    #[error("the error cannot be built with this address or buffer")]
    Unbuildable,
}

/// Longest error: IPv4 errors stay within what every host takes in one piece (RFC 1812 section 4.3.2.3) …
pub const LEN_MAX_V4: usize = 576;
/// … and IPv6 errors within the least MTU (RFC 4443 section 3).
pub const LEN_MAX_V6: usize = ipv6::MTU_MIN;

/// TTL of errors.
const TTL: u8 = 64;
/// Precedence of ICMP errors: internetwork control (RFC 1812 section 4.3.2.5).
const TOS_V4: u8 = 0xc0;

/// Builds the IP packet (no Ethernet header) that tells a packet's source what went wrong. `packet` is the IP packet as
/// it was received ([`Summary::l3`]), `from` an address of ours, `link_group` whether it came in a frame addressed to
/// a group (other than the cluster's own multicast address). Returns the length written, at most [`LEN_MAX_V4`] or
/// [`LEN_MAX_V6`]; shorter buffers get shorter quotations.
pub fn build(
    complaint: Complaint,
    summary: &Summary,
    packet: &[u8],
    from: IpAddr,
    link_group: bool,
    out: &mut [u8],
) -> Result<usize, Silence> {
    may_answer(complaint, summary, packet, link_group)?;
    match (from, summary.src_ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => build_v4(complaint, packet, from, to, out),
        (IpAddr::V6(from), IpAddr::V6(to)) => build_v6(complaint, packet, from, to, out),
        _ => Err(Silence::Unbuildable),
    }
}

/// Whether a packet may be complained of at all.
pub fn may_answer(complaint: Complaint, summary: &Summary, packet: &[u8], link_group: bool) -> Result<(), Silence> {
    if summary.fragment_offset > 0 {
        return Err(Silence::LaterFragment);
    }
    let one_host = match summary.family {
        Family::V4 => {
            let top = summary.src >> 24;
            top != 0 && top != 127 && top < 224
        }
        Family::V6 => summary.src > 1 && summary.src >> 120 != 0xff,
    };
    if !one_host {
        return Err(Silence::Source);
    }
    // RFC 4443 section 2.4(e.3): path MTU discovery works for IPv6 multicast too.
    let exempt = summary.family == Family::V6 && matches!(complaint, Complaint::TooBig { .. });
    if !exempt && (link_group || summary.is_to_group()) {
        return Err(Silence::ToMany);
    }
    let at = usize::from(summary.l4_offset.saturating_sub(summary.l3_offset));
    let is_error = match (summary.family, summary.proto, packet.get(at)) {
        (Family::V4, proto::ICMP, Some(&kind)) => icmpv4::is_error(kind),
        (Family::V6, proto::ICMPV6, Some(&kind)) => icmpv6::is_error(kind) || kind == icmpv6::REDIRECT,
        // An ICMP packet whose type is not there: in doubt, silence.
        (_, proto::ICMP | proto::ICMPV6, None) => true,
        _ => false,
    };
    if is_error { Err(Silence::AboutAnError) } else { Ok(()) }
}

fn build_v4(
    complaint: Complaint,
    packet: &[u8],
    from: Ipv4Addr,
    to: Ipv4Addr,
    out: &mut [u8],
) -> Result<usize, Silence> {
    const HEADERS: usize = ipv4::HEADER_LEN + icmpv4::HEADER_LEN;
    let (kind, code, rest) = match complaint {
        Complaint::TimeExceeded => (icmpv4::TIME_EXCEEDED, 0, 0),
        Complaint::NoRoute => (icmpv4::UNREACHABLE, icmpv4::CODE_NET, 0),
        Complaint::HostUnreachable => (icmpv4::UNREACHABLE, icmpv4::CODE_HOST, 0),
        Complaint::TooBig { mtu } => (icmpv4::UNREACHABLE, icmpv4::CODE_FRAGMENTATION_NEEDED, u32::from(mtu)),
    };
    let quoted = quote(packet, out, HEADERS, LEN_MAX_V4)?;
    let repr = ipv4::Repr {
        tos: TOS_V4,
        id: 0,
        fragment: ipv4::DONT_FRAGMENT,
        ttl: TTL,
        protocol: proto::ICMP,
        source: from,
        destination: to,
        payload_len: (icmpv4::HEADER_LEN + quoted) as u16,
    };
    repr.emit(out).map_err(|_| Silence::Unbuildable)?;
    let message = out.get_mut(ipv4::HEADER_LEN..HEADERS + quoted).ok_or(Silence::Unbuildable)?;
    let mut message = icmpv4::Packet::new_checked(message).map_err(|_| Silence::Unbuildable)?;
    message.set_kind(kind);
    message.set_code(code);
    message.set_rest(rest);
    message.fill_checksum();
    Ok(HEADERS + quoted)
}

fn build_v6(
    complaint: Complaint,
    packet: &[u8],
    from: Ipv6Addr,
    to: Ipv6Addr,
    out: &mut [u8],
) -> Result<usize, Silence> {
    const HEADERS: usize = ipv6::HEADER_LEN + icmpv6::HEADER_LEN;
    let (kind, code, rest) = match complaint {
        Complaint::TimeExceeded => (icmpv6::TIME_EXCEEDED, 0, 0),
        Complaint::NoRoute => (icmpv6::UNREACHABLE, icmpv6::CODE_NO_ROUTE, 0),
        Complaint::HostUnreachable => (icmpv6::UNREACHABLE, icmpv6::CODE_ADDRESS, 0),
        Complaint::TooBig { mtu } => (icmpv6::PACKET_TOO_BIG, 0, u32::from(mtu)),
    };
    let quoted = quote(packet, out, HEADERS, LEN_MAX_V6)?;
    let repr = ipv6::Repr {
        traffic_class: 0,
        next_header: proto::ICMPV6,
        hop_limit: TTL,
        source: from,
        destination: to,
        payload_len: (icmpv6::HEADER_LEN + quoted) as u16,
    };
    repr.emit(out).map_err(|_| Silence::Unbuildable)?;
    let message = out.get_mut(ipv6::HEADER_LEN..HEADERS + quoted).ok_or(Silence::Unbuildable)?;
    let mut message = icmpv6::Packet::new_checked(message).map_err(|_| Silence::Unbuildable)?;
    message.set_kind(kind);
    message.set_code(code);
    message.set_rest(rest);
    message.fill_checksum(from, to);
    Ok(HEADERS + quoted)
}

/// Copies as much of the packet as fits behind the headers; returns how much.
fn quote(packet: &[u8], out: &mut [u8], headers: usize, len_max: usize) -> Result<usize, Silence> {
    let room = out.len().min(len_max).checked_sub(headers).ok_or(Silence::Unbuildable)?;
    let quoted = packet.get(..room).unwrap_or(packet);
    let place = out.get_mut(headers..headers + quoted.len()).ok_or(Silence::Unbuildable)?;
    place.copy_from_slice(quoted);
    Ok(quoted.len())
}

/// A rate limit that allows bursts. Counted in nanoseconds: each event costs its share of a second.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TokenBucket {
    cost_ns: u64,
    depth_ns: u64,
    saved_ns: u64,
    last_ns: u64,
}

impl TokenBucket {
    /// A full bucket: `rate_per_s` events a second in the long run, `burst` at once. A rate of zero allows nothing.
    pub fn new(rate_per_s: u32, burst: u32, now_ns: u64) -> Self {
        let cost_ns = 1_000_000_000u64.checked_div(u64::from(rate_per_s)).map_or(u64::MAX, |cost| cost.max(1));
        let depth_ns = if rate_per_s == 0 { 0 } else { cost_ns.saturating_mul(u64::from(burst)) };
        Self { cost_ns, depth_ns, saved_ns: depth_ns, last_ns: now_ns }
    }

    /// Whether one more event is allowed now; if so, it is counted.
    #[inline]
    pub fn allow(&mut self, now_ns: u64) -> bool {
        let elapsed_ns = now_ns.saturating_sub(self.last_ns);
        self.last_ns = self.last_ns.max(now_ns);
        self.saved_ns = self.saved_ns.saturating_add(elapsed_ns).min(self.depth_ns);
        match self.saved_ns.checked_sub(self.cost_ns) {
            Some(rest) => {
                self.saved_ns = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{flag, summarise_l3};
    use crate::wire::checksum::Sum;
    use proptest::prelude::*;

    fn packet_v4(protocol: u8, fragment: u16, source: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let repr = ipv4::Repr {
            tos: 0,
            id: 5,
            fragment,
            ttl: 1,
            protocol,
            source: source.into(),
            destination: Ipv4Addr::new(10, 2, 0, 1),
            payload_len: payload.len() as u16,
        };
        let mut packet = vec![0; 20];
        repr.emit(&mut packet).unwrap();
        packet.extend(payload);
        packet
    }

    fn packet_v6(next_header: u8, destination: &str, payload: &[u8]) -> Vec<u8> {
        let repr = ipv6::Repr {
            traffic_class: 0,
            next_header,
            hop_limit: 1,
            source: "fd00:1::5".parse().unwrap(),
            destination: destination.parse().unwrap(),
            payload_len: payload.len() as u16,
        };
        let mut packet = vec![0; 40];
        repr.emit(&mut packet).unwrap();
        packet.extend(payload);
        packet
    }

    fn answer(complaint: Complaint, packet: &[u8], link_group: bool) -> Result<Vec<u8>, Silence> {
        let summary = summarise_l3(packet).unwrap();
        let from = match summary.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)),
            Family::V6 => IpAddr::V6("fd00:1::1".parse().unwrap()),
        };
        let mut out = vec![0xee; 2000];
        let len = build(complaint, &summary, packet, from, link_group, &mut out)?;
        out.truncate(len);
        Ok(out)
    }

    #[test]
    fn v4_errors_quote_and_verify() {
        let packet = packet_v4(proto::UDP, ipv4::DONT_FRAGMENT, [10, 1, 0, 5], &[7; 1000]);
        let cases = [
            (Complaint::TimeExceeded, 11, 0, 0),
            (Complaint::NoRoute, 3, 0, 0),
            (Complaint::HostUnreachable, 3, 1, 0),
            (Complaint::TooBig { mtu: 1400 }, 3, 4, 1400),
        ];
        for (complaint, kind, code, mtu) in cases {
            let out = answer(complaint, &packet, false).unwrap();
            assert_eq!(out.len(), LEN_MAX_V4);
            let ip = ipv4::Packet::new_checked(&out).unwrap();
            assert!(ip.verify_checksum());
            assert_eq!(ip.destination(), Ipv4Addr::new(10, 1, 0, 5));
            let icmp = icmpv4::Packet::new_checked(ip.payload()).unwrap();
            assert!(icmp.verify_checksum());
            assert_eq!((icmp.kind(), icmp.code(), icmp.mtu()), (kind, code, mtu));
            assert_eq!(icmp.payload(), &packet[..LEN_MAX_V4 - 28]);
        }
    }

    #[test]
    fn v6_errors_quote_and_verify() {
        let packet = packet_v6(proto::UDP, "fd00:2::1", &[7; 1400]);
        let out = answer(Complaint::TooBig { mtu: 1380 }, &packet, false).unwrap();
        assert_eq!(out.len(), LEN_MAX_V6);
        let ip = ipv6::Packet::new_checked(&out).unwrap();
        let icmp = icmpv6::Packet::new_checked(ip.payload()).unwrap();
        assert!(icmp.verify_checksum(ip.source(), ip.destination()));
        assert_eq!((icmp.kind(), icmp.code(), icmp.mtu()), (2, 0, 1380));
        let sum = Sum::new().pseudo_v6(ip.source().into(), ip.destination().into(), 58, ip.payload().len());
        assert!(sum.bytes(ip.payload()).is_valid());
        let short = packet_v6(proto::UDP, "fd00:2::1", &[7; 8]);
        let out = answer(Complaint::HostUnreachable, &short, false).unwrap();
        assert_eq!((out.len(), out[40], out[41]), (40 + 8 + 48, 1, 3));
    }

    #[test]
    fn silence_is_kept() {
        let udp = packet_v4(proto::UDP, 0, [10, 1, 0, 5], &[0; 8]);
        assert_eq!(answer(Complaint::NoRoute, &udp, true), Err(Silence::ToMany));
        let later = packet_v4(proto::UDP, 1, [10, 1, 0, 5], &[0; 8]);
        assert_eq!(answer(Complaint::NoRoute, &later, false), Err(Silence::LaterFragment));
        let first = packet_v4(proto::UDP, ipv4::MORE_FRAGMENTS, [10, 1, 0, 5], &[0; 8]);
        assert!(answer(Complaint::NoRoute, &first, false).is_ok());
        for (kind, silent) in [(3, true), (5, true), (11, true), (0, false), (8, false)] {
            let icmp = packet_v4(proto::ICMP, 0, [10, 1, 0, 5], &[kind, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(answer(Complaint::TimeExceeded, &icmp, false).is_err(), silent, "type {kind}");
        }
        assert_eq!(
            answer(Complaint::NoRoute, &packet_v4(proto::ICMP, 0, [10, 1, 0, 5], &[]), false),
            Err(Silence::AboutAnError)
        );
        for (kind, silent) in [(1, true), (4, true), (100, true), (137, true), (128, false), (135, false)] {
            let icmp = packet_v6(proto::ICMPV6, "fd00:2::1", &[kind, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(answer(Complaint::TimeExceeded, &icmp, false).is_err(), silent, "type {kind}");
        }
    }

    #[test]
    fn only_too_big_answers_ipv6_multicast() {
        let packet = packet_v6(proto::UDP, "ff0e::1", &[0; 8]);
        assert_eq!(answer(Complaint::TimeExceeded, &packet, true), Err(Silence::ToMany));
        assert!(answer(Complaint::TooBig { mtu: 1280 }, &packet, true).is_ok());
    }

    #[test]
    fn a_source_that_is_nobody_hears_nothing() {
        let packet = packet_v4(proto::UDP, 0, [10, 1, 0, 5], &[0; 8]);
        let mut summary = summarise_l3(&packet).unwrap();
        for src in [0u128, 0x7f00_0001, 0xe000_0001, 0xffff_ffff] {
            summary.src = src;
            assert_eq!(may_answer(Complaint::NoRoute, &summary, &packet, false), Err(Silence::Source));
        }
    }

    #[test]
    fn the_bucket_empties_and_fills() {
        let mut bucket = TokenBucket::new(10, 3, 0);
        assert_eq!((0..5).filter(|_| bucket.allow(0)).count(), 3);
        assert!(!bucket.allow(99_999_999) && bucket.allow(100_000_000));
        assert!(!bucket.allow(50)); // a clock that steps back earns nothing
        assert_eq!((0..50).filter(|_| bucket.allow(60_000_000_000)).count(), 3);
        assert!(!TokenBucket::new(0, 5, 0).allow(u64::MAX));
    }

    proptest! {
        #[test]
        fn any_buffer_will_do(len in 0usize..700, payload in proptest::collection::vec(any::<u8>(), 0..64), v6: bool,
                              proto: u8, at: u16) {
            let packet = if v6 { packet_v6(17, "fd00:2::1", &payload) } else { packet_v4(proto, 0, [10, 1, 0, 5], &payload) };
            let mut summary = summarise_l3(&packet).unwrap();
            summary.proto = proto;
            summary.l4_offset = at;
            summary.flags |= flag::OPTIONS;
            let mut out = vec![0; len];
            let from = if v6 { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
            if let Ok(written) = build(Complaint::NoRoute, &summary, &packet, from, false, &mut out) {
                prop_assert!(written <= len);
            }
        }
    }
}
