//! What the network says of a packet that an app has sent: an ICMP error to a cluster address.
//!
//! Anybody can send one. An app believes it only as far as what it quotes proves that its sender saw the packet
//! (RFC 5927).

use crate::filter::quoted;
use crate::parse::{Family, Summary};
use crate::wire::{icmpv4, icmpv6, proto};
use std::net::IpAddr;

/// An ICMP error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Returned<'a> {
    /// The packet complained of, turned round: as if its receiver had sent it, so that it names the session as any packet
    /// of the session's does.
    pub about: Summary,
    /// What is wrong with it.
    pub trouble: Trouble,
    /// How what it carried began: eight bytes, or more.
    pub quoted: &'a [u8],
}

/// What is wrong with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trouble {
    /// The next link takes no more than this. Zero: the router does not say how much (it is older than RFC 1191).
    TooBig {
        /// The link's MTU.
        mtu: u16,
    },
    /// Nobody there speaks this protocol, or listens on this port: what RFC 1122 section 4.2.3.9 calls a hard error.
    Refused,
    /// It did not get there, and another may: a soft error.
    Passing,
}

impl<'a> Returned<'a> {
    /// Reads what an IP packet carries. None: it is no ICMP error, or none that means anything here (a source quench: RFC
    /// 6633; a redirect: routes are configured), or its checksum is wrong.
    #[inline]
    pub fn parse(summary: &Summary, payload: &'a [u8]) -> Option<Self> {
        if matches!(summary.proto, proto::ICMP | proto::ICMPV6) { Self::read(summary, payload) } else { None }
    }

    #[cold]
    fn read(summary: &Summary, payload: &'a [u8]) -> Option<Self> {
        let (about, quoted) = quoted::reversed(summary, payload)?;
        let trouble = match summary.family {
            Family::V4 => of_v4(&icmpv4::Packet::new_checked(payload).ok()?)?,
            Family::V6 => of_v6(summary, &icmpv6::Packet::new_checked(payload).ok()?)?,
        };
        Some(Self { about, trouble, quoted })
    }
}

fn of_v4(error: &icmpv4::Packet<&[u8]>) -> Option<Trouble> {
    if !error.verify_checksum() {
        return None;
    }
    match (error.kind(), error.code()) {
        (icmpv4::UNREACHABLE, icmpv4::CODE_FRAGMENTATION_NEEDED) => Some(Trouble::TooBig { mtu: error.mtu() }),
        (icmpv4::UNREACHABLE, icmpv4::CODE_PROTOCOL | icmpv4::CODE_PORT) => Some(Trouble::Refused),
        (icmpv4::UNREACHABLE | icmpv4::TIME_EXCEEDED | icmpv4::PARAMETER_PROBLEM, _) => Some(Trouble::Passing),
        _ => None,
    }
}

fn of_v6(summary: &Summary, error: &icmpv6::Packet<&[u8]>) -> Option<Trouble> {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (summary.src_ip(), summary.dst_ip()) else { return None };
    if !error.verify_checksum(source, destination) {
        return None;
    }
    match (error.kind(), error.code()) {
        (icmpv6::PACKET_TOO_BIG, _) => Some(Trouble::TooBig { mtu: u16::try_from(error.mtu()).unwrap_or(u16::MAX) }),
        (icmpv6::UNREACHABLE, icmpv6::CODE_PORT) => Some(Trouble::Refused),
        (icmpv6::PARAMETER_PROBLEM, icmpv6::CODE_NEXT_HEADER) => Some(Trouble::Refused),
        (icmpv6::UNREACHABLE | icmpv6::TIME_EXCEEDED | icmpv6::PARAMETER_PROBLEM, _) => Some(Trouble::Passing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::summarise_l3;
    use crate::wire::{ipv4, ipv6};

    /// An error of `kind` and `code` about cluster:80 -> peer:5000, as a bare IP packet.
    fn error(v6: bool, kind: u8, code: u8, rest: u32) -> Vec<u8> {
        let l4 = [0, 80, 0x13, 0x88, 1, 2, 3, 4];
        if v6 {
            let [router, us, peer] =
                ["fd00::1", "fd00::10", "fd00::20"].map(|ip| ip.parse::<std::net::Ipv6Addr>().expect("an address"));
            let repr = |next_header, source, destination, payload_len| ipv6::Repr {
                traffic_class: 0,
                next_header,
                hop_limit: 9,
                source,
                destination,
                payload_len,
            };
            let mut packet = vec![0; 96];
            repr(proto::ICMPV6, router, us, 56).emit(&mut packet).expect("room");
            repr(proto::TCP, us, peer, 1000).emit(&mut packet[48..]).expect("room");
            packet[88..].copy_from_slice(&l4);
            let mut icmp = icmpv6::Packet::new_checked(&mut packet[40..]).expect("room");
            icmp.set_kind(kind);
            icmp.set_code(code);
            icmp.set_rest(rest);
            icmp.fill_checksum(router, us);
            return packet;
        }
        let [router, us, peer] =
            ["10.0.0.1", "10.0.0.10", "10.0.0.20"].map(|ip| ip.parse::<std::net::Ipv4Addr>().expect("an address"));
        let repr = |protocol, source, destination, payload_len| ipv4::Repr {
            tos: 0,
            id: 0,
            fragment: 0,
            ttl: 9,
            protocol,
            source,
            destination,
            payload_len,
        };
        let mut packet = vec![0; 56];
        repr(proto::ICMP, router, us, 36).emit(&mut packet).expect("room");
        repr(proto::TCP, us, peer, 1000).emit(&mut packet[28..]).expect("room");
        packet[48..].copy_from_slice(&l4);
        let mut icmp = icmpv4::Packet::new_checked(&mut packet[20..]).expect("room");
        icmp.set_kind(kind);
        icmp.set_code(code);
        icmp.set_rest(rest);
        icmp.fill_checksum();
        packet
    }

    fn trouble(packet: &[u8]) -> Option<Trouble> {
        let summary = summarise_l3(packet).expect("a sound packet");
        let returned = Returned::parse(&summary, summary.l4(packet))?;
        assert_eq!((returned.about.src_port, returned.about.dst_port), (5000, 80));
        assert_eq!((returned.about.dst_ip(), &returned.quoted[4..]), (summary.dst_ip(), &[1, 2, 3, 4][..]));
        Some(returned.trouble)
    }

    #[test]
    fn errors_are_told_apart() {
        let too_big = Some(Trouble::TooBig { mtu: 1400 });
        for (v6, kind, code, expected) in [
            (false, 3, 4, too_big),
            (false, 3, 2, Some(Trouble::Refused)),
            (false, 3, 3, Some(Trouble::Refused)),
            (false, 3, 0, Some(Trouble::Passing)),
            (false, 3, 1, Some(Trouble::Passing)),
            (false, 3, 5, Some(Trouble::Passing)),
            (false, 11, 0, Some(Trouble::Passing)),
            (false, 12, 0, Some(Trouble::Passing)),
            (false, 4, 0, None),
            (false, 5, 1, None),
            (false, 8, 0, None),
            (true, 2, 0, too_big),
            (true, 1, 4, Some(Trouble::Refused)),
            (true, 4, 1, Some(Trouble::Refused)),
            (true, 1, 0, Some(Trouble::Passing)),
            (true, 3, 0, Some(Trouble::Passing)),
            (true, 4, 0, Some(Trouble::Passing)),
            (true, 100, 0, None),
            (true, 128, 0, None),
        ] {
            let mut packet = error(v6, kind, code, 1400);
            assert_eq!(trouble(&packet), expected, "IPv6: {v6}, {kind} {code}");
            *packet.last_mut().expect("bytes") ^= 1;
            let summary = summarise_l3(&packet).expect("a sound packet");
            assert_eq!(Returned::parse(&summary, summary.l4(&packet)), None, "a wrong checksum");
        }
    }
}
