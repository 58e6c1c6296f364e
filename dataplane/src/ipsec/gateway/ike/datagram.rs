//! UDP of ports 500 and 4500: IKE, ESP (RFC 3948), and what keeps a NAT's memory fresh.

use std::net::{IpAddr, SocketAddr};

use super::Ike;
use crate::app::Outlet;
use crate::drop_reason::DropReason;
use crate::filter::steered::{PORT_IKE, PORT_IKE_NAT};
use crate::ipsec::gateway::Gateway;
use crate::ipsec::gateway::desk::Datagram;
use crate::parse::{Family, Summary, address_number, flag};
use crate::tallies::add;
use crate::unit::Unit;
use crate::wire::checksum::Sum;
use crate::wire::{ipv4, ipv6, proto, udp};

/// What stands before an IKE message where an SPI would be (RFC 3948 section 2.2).
const MARKER: [u8; 4] = [0; 4];
/// All of a packet that says nothing (section 2.3).
const KEEPALIVE: [u8; 1] = [0xff];
const TTL: u8 = 64;

/// Whether a UDP packet is the gateway's; if IKE is spoken here, and if not.
#[inline]
pub(in crate::ipsec::gateway) const fn is_port_of(summary: &Summary, ike: bool) -> bool {
    summary.has(flag::PORTS) && (summary.dst_port == PORT_IKE_NAT || ike && summary.dst_port == PORT_IKE)
}

impl Gateway {
    /// Takes a UDP packet.
    pub(in crate::ipsec::gateway) fn take_datagram(
        &mut self,
        outlet: &mut dyn Outlet,
        unit: Unit,
        summary: &Summary,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        let carried = summary.carried(packet);
        let datagram = udp::Packet::new_checked(carried).map_err(|_| DropReason::IkeMalformed)?;
        let payload = datagram.payload();
        let message = match payload.split_first_chunk() {
            _ if summary.dst_port == PORT_IKE => payload,
            Some((&MARKER, message)) => message,
            Some(_) => return self.open(outlet, summary, packet),
            None if payload == KEEPALIVE => {
                self.ike.iter().for_each(|ike| add(&ike.counters.keepalives, 1));
                return Ok(());
            }
            None => return Err(DropReason::IkeMalformed),
        };
        if !is_sound(summary, carried.get(..usize::from(datagram.length())).unwrap_or_default()) {
            return Err(DropReason::IkeMalformed);
        }
        let from = SocketAddr::new(summary.src_ip(), summary.src_port);
        let to = SocketAddr::new(summary.dst_ip(), summary.dst_port);
        self.hear(outlet, unit, (from, to), message)
    }
}

/// Whether the checksum is right, or is none.
fn is_sound(summary: &Summary, datagram: &[u8]) -> bool {
    let none = udp::Packet::new_checked(datagram).is_ok_and(|packet| packet.checksum() == 0);
    none && summary.family == Family::V4 || pseudo(summary.family, summary.src, summary.dst, datagram).is_valid()
}

fn pseudo(family: Family, source: u128, destination: u128, datagram: &[u8]) -> Sum {
    let len = datagram.len();
    match family {
        Family::V4 => Sum::new().pseudo_v4(source as u32, destination as u32, proto::UDP, len),
        Family::V6 => Sum::new().pseudo_v6(source, destination, proto::UDP, len),
    }
    .bytes(datagram)
}

impl Ike {
    /// Sends a message.
    pub(super) fn send(&mut self, outlet: &mut dyn Outlet, datagram: &Datagram) {
        self.id = self.id.wrapping_add(1);
        let id = self.id;
        let sent = outlet.send_whole(&mut |room| write(datagram, id, room).unwrap_or(0));
        add(if sent { &self.counters.sent } else { &self.counters.not_sent }, 1);
    }
}

/// Writes the packet. None: there is no room, or it makes no sense. It may be fragmented on its way.
fn write(datagram: &Datagram, id: u16, room: &mut [u8]) -> Option<usize> {
    let Datagram { from, to, bytes } = datagram;
    let marker: &[u8] = if from.port() == PORT_IKE_NAT { &MARKER } else { &[] };
    let payload_len = u16::try_from(marker.len() + bytes.len()).ok()?;
    let udp_len = payload_len.checked_add(udp::HEADER_LEN as u16)?;
    let ip_len = match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (tos, fragment, ttl, protocol) = (0, 0, TTL, proto::UDP);
            ipv4::Repr { tos, id, fragment, ttl, protocol, source, destination, payload_len: udp_len }.emit(room)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (traffic_class, next_header, hop_limit) = (0, proto::UDP, TTL);
            ipv6::Repr { traffic_class, next_header, hop_limit, source, destination, payload_len: udp_len }.emit(room)
        }
        _ => return None,
    }
    .ok()?;
    let carried = room.get_mut(ip_len..ip_len + usize::from(udp_len))?;
    let (source_port, destination_port) = (from.port(), to.port());
    udp::Repr { source_port, destination_port, payload_len }.emit(carried).ok()?;
    let payload = carried.get_mut(udp::HEADER_LEN..)?;
    payload.get_mut(..marker.len())?.copy_from_slice(marker);
    payload.get_mut(marker.len()..)?.copy_from_slice(bytes);
    let [(family, source), (_, destination)] = [from.ip(), to.ip()].map(address_number);
    let sum = pseudo(family, source, destination, carried).checksum();
    // Zero would say that there is none (RFC 768).
    udp::Packet::new_checked(carried).ok()?.set_checksum(if sum == 0 { u16::MAX } else { sum });
    Some(ip_len + usize::from(udp_len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::summarise_l3;

    #[test]
    fn a_message_is_a_packet() {
        for (from, to, marked) in [
            ("198.51.100.1:500", "192.0.2.9:500", false),
            ("198.51.100.1:4500", "192.0.2.9:61234", true),
            ("[2001:db8::1]:4500", "[2001:db8::2]:4500", true),
        ] {
            let datagram = Datagram { from: from.parse().unwrap(), to: to.parse().unwrap(), bytes: vec![7; 31] };
            let mut room = vec![0xaa; 200];
            let len = write(&datagram, 1, &mut room).unwrap();
            let summary = summarise_l3(&room[..len]).unwrap();
            assert_eq!((summary.src_ip(), summary.src_port), (datagram.from.ip(), datagram.from.port()));
            assert_eq!((summary.dst_ip(), summary.dst_port), (datagram.to.ip(), datagram.to.port()));
            let carried = summary.carried(&room[..len]);
            assert!(is_sound(&summary, carried) && udp::Packet::new_checked(carried).unwrap().checksum() != 0);
            let marker: &[u8] = if marked { &[0; 4] } else { &[] };
            assert_eq!(udp::Packet::new_checked(carried).unwrap().payload(), [marker, &[7; 31]].concat());
            let mut damaged = carried.to_vec();
            damaged[12] ^= 1;
            assert!(!is_sound(&summary, &damaged));
            (0..len).for_each(|room| assert_eq!(write(&datagram, 1, &mut vec![0; room]), None));
        }
        let (from, to) = ("198.51.100.1:500".parse().unwrap(), "[2001:db8::2]:500".parse().unwrap());
        assert_eq!(write(&Datagram { from, to, bytes: vec![] }, 1, &mut [0; 200]), None);
    }
}
