//! What goes around an ESP packet in tunnel mode: the outer IP header (RFC 4301 section 5.1.2), and UDP's where a NAT stands
//! between (RFC 3948).
//!
//! The DSCP goes outside with the packet or is replaced; the congestion mark always goes ([`super::ecn`]). "Don't fragment" goes outside
//! as the configuration says; IPv6 has none. UDP's checksum is zero over IPv4 (RFC 3948 section 2.1) and true over IPv6, where peers refuse zero.

use std::net::IpAddr;

use super::ecn;
use super::encap::Name;
use crate::parse::{Family, address_number};
use crate::wire::checksum::Sum;
use crate::wire::{bytes, ipv4, ipv6, proto, udp};

/// The lower sixteen bits of an IPv6 flow label.
const LABEL_AT: std::ops::Range<usize> = 2..4;

/// The end points' UDP ports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ports {
    /// Ours.
    pub source: u16,
    /// The peer's, as the NAT shows it.
    pub destination: u16,
}

impl Ports {
    /// Writes the UDP header of so much ESP. None: too long for UDP.
    pub(super) fn emit(self, datagram: &mut [u8], esp_len: usize) -> Option<()> {
        let Self { source: source_port, destination: destination_port } = self;
        let payload_len = u16::try_from(esp_len).ok()?;
        udp::Repr { source_port, destination_port, payload_len }.emit(datagram).ok().map(drop)
    }
}

/// How much UDP adds, if there is UDP.
pub(super) const fn udp_len(udp: Option<Ports>) -> usize {
    if udp.is_some() { udp::HEADER_LEN } else { 0 }
}

/// What the IP header says that it carries.
pub(super) const fn carried_by(udp: Option<Ports>) -> u8 {
    if udp.is_some() { proto::UDP } else { proto::ESP }
}

/// Whether the outer packet may be fragmented on its way (RFC 4301 section 8.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum DontFragment {
    /// As the inner packet says.
    #[default]
    Copy,
    /// Never.
    Set,
    /// Always.
    Clear,
}

/// The headers of one tunnel's packets. Both addresses are of one family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Outer {
    /// The cluster's address.
    pub source: IpAddr,
    /// The peer's.
    pub destination: IpAddr,
    /// With a NAT between.
    pub udp: Option<Ports>,
    /// What takes the place of the inner DSCP.
    pub dscp: Option<u8>,
    /// See [`DontFragment`].
    pub dont_fragment: DontFragment,
    /// TTL or hop limit.
    pub hop_limit: u8,
}

/// What the outer header takes from the inner one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Inner {
    /// What ESP calls it: IPv4 or IPv6.
    pub next_header: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// It must not be fragmented.
    pub dont_fragment: bool,
}

impl Inner {
    /// An IP packet's.
    #[inline]
    pub fn of(packet: &[u8]) -> Option<Self> {
        match bytes::u8_at(packet, 0) >> 4 {
            4 => {
                let packet = ipv4::Packet::new_header_checked(packet).ok()?;
                Some(Self { next_header: proto::IPV4, tos: packet.tos(), dont_fragment: packet.dont_fragment() })
            }
            6 => {
                let packet = ipv6::Packet::new_header_checked(packet).ok()?;
                Some(Self { next_header: proto::IPV6, tos: packet.traffic_class(), dont_fragment: true })
            }
            _ => None,
        }
    }
}

impl Outer {
    /// Length of the headers.
    #[inline]
    pub const fn buffer_len(&self) -> usize {
        let ip = if self.source.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
        ip + udp_len(self.udp)
    }

    /// Writes the headers of a packet whose ESP begins behind them and is `esp_len` long. None: too long for IP.
    #[inline]
    pub fn write(&self, packet: &mut [u8], esp_len: usize, inner: &Inner, name: Name) -> Option<()> {
        let payload_len = u16::try_from(esp_len + udp_len(self.udp)).ok()?;
        let protocol = carried_by(self.udp);
        let tos = self.dscp.map_or(inner.tos, |dscp| dscp << 2 | inner.tos & ecn::MASK);
        let ip_len = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let whole = match self.dont_fragment {
                    DontFragment::Copy => inner.dont_fragment,
                    DontFragment::Set => true,
                    DontFragment::Clear => false,
                };
                let (id, fragment) = if whole { (name.unit, ipv4::DONT_FRAGMENT) } else { (name.id, 0) };
                let ttl = self.hop_limit;
                ipv4::Repr { tos, id, fragment, ttl, protocol, source, destination, payload_len }.emit(packet)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let hop_limit = self.hop_limit;
                let (traffic_class, next_header) = (tos, protocol);
                let repr = ipv6::Repr { traffic_class, next_header, hop_limit, source, destination, payload_len };
                let len = repr.emit(packet);
                packet.get_mut(LABEL_AT)?.copy_from_slice(&name.unit.to_be_bytes());
                len
            }
            _ => return None,
        }
        .ok()?;
        self.udp.map_or(Some(()), |ports| ports.emit(packet.get_mut(ip_len..)?, esp_len))
    }

    /// What can be written only when the packet is sealed.
    #[inline]
    pub fn finish(&self, packet: &mut [u8]) {
        if self.udp.is_none() || self.source.is_ipv4() {
            return;
        }
        let [(_, source), (_, destination)]: [(Family, u128); 2] = [self.source, self.destination].map(address_number);
        let Some(datagram) = packet.get_mut(ipv6::HEADER_LEN..) else { return };
        let sum = Sum::new().pseudo_v6(source, destination, proto::UDP, datagram.len()).bytes(datagram).checksum();
        if let Ok(mut header) = udp::Packet::new_checked(datagram) {
            // Zero would say that there is none (RFC 768).
            header.set_checksum(if sum == 0 { u16::MAX } else { sum });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports { source: 4500, destination: 61_234 };

    fn outer(v6: bool, udp: Option<Ports>) -> Outer {
        let [source, destination] = if v6 {
            ["2001:db8::1", "2001:db8::2"].map(|ip| ip.parse().unwrap())
        } else {
            ["198.51.100.1", "192.0.2.9"].map(|ip| ip.parse().unwrap())
        };
        Outer { source, destination, udp, dscp: None, dont_fragment: DontFragment::Copy, hop_limit: 64 }
    }

    fn inner(tos: u8, dont_fragment: bool) -> Inner {
        Inner { next_header: proto::IPV4, tos, dont_fragment }
    }

    #[test]
    fn what_goes_outside() {
        let mut packet = [0xaa; 60];
        let plain = outer(false, None);
        plain.write(&mut packet, 40, &inner(0xb9, true), Name { id: 77, unit: 9 }).unwrap();
        let header = ipv4::Repr::parse(&packet).unwrap();
        assert_eq!((header.tos, header.id, header.fragment, header.ttl), (0xb9, 9, ipv4::DONT_FRAGMENT, 64));
        assert_eq!((header.protocol, header.payload_len), (proto::ESP, 40));
        let free = Outer { dscp: Some(10), dont_fragment: DontFragment::Clear, ..plain };
        free.write(&mut packet, 40, &inner(0xb9, true), Name { id: 77, unit: 9 }).unwrap();
        let header = ipv4::Repr::parse(&packet).unwrap();
        assert_eq!((header.tos, header.id, header.fragment), (10 << 2 | 1, 77, 0));
        assert!(plain.write(&mut packet, 65_530, &inner(0, true), Name::default()).is_none(), "too long for IP");
        assert_eq!(packet[20..], [0xaa; 40]);
    }

    #[test]
    fn behind_a_nat() {
        for v6 in [false, true] {
            let outer = outer(v6, Some(PORTS));
            let mut packet = vec![0x55; outer.buffer_len() + 31];
            outer.write(&mut packet, 31, &inner(0, true), Name { id: 1, unit: 0x3ff }).unwrap();
            outer.finish(&mut packet);
            let (header, datagram) = packet.split_at(outer.buffer_len() - udp::HEADER_LEN);
            let udp = udp::Packet::new_checked(datagram).unwrap();
            assert_eq!((udp.source_port(), udp.destination_port(), udp.length()), (4500, 61_234, 39));
            if v6 {
                assert_eq!(header[..4], [0x60, 0, 3, 0xff]);
                let ip = ipv6::Packet::new_header_checked(header).unwrap();
                let (source, destination) = (ip.source().into(), ip.destination().into());
                let sum = Sum::new().pseudo_v6(source, destination, proto::UDP, 39).bytes(datagram);
                assert!(udp.checksum() != 0 && sum.is_valid());
            } else {
                assert_eq!(udp.checksum(), 0);
            }
        }
    }

    #[test]
    fn what_is_no_ip_packet_does_not_go_in() {
        assert_eq!((Inner::of(&[]), Inner::of(&[0x45; 3]), Inner::of(&[0x75; 60])), (None, None, None));
    }
}
