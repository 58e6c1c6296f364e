//! From an IP packet to an ESP packet, in place.
//!
//! The caller makes room around the packet ([`Encap::room`]), has everything but the check value written ([`Encap::build`]),
//! has an engine seal what begins at the place it is told, for a burst at once, and has the rest written ([`Encap::finish`]).
//!
//! ```text
//!   tunnel       │ outer │ (UDP) │ ESP, IV │ IP packet            │ trailer, ICV │
//!   transport    │ IP header │ (UDP) │ ESP, IV │ what it carried  │ trailer, ICV │
//! ```

use super::esp::{Fields, Layout, Shape};
use super::outer::{Inner, Outer, Ports, carried_by, udp_len};
use super::template::Template;
use super::transform::Transform;
use super::transport::Outside;
use crate::wire::{self, ipv4, proto};

/// What becomes of the IP header (RFC 4301 section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// It is hidden, and goes in a packet of the cluster's.
    Tunnel(Outer),
    /// It stays.
    Transport {
        /// With a NAT between.
        udp: Option<Ports>,
    },
}

/// What all packets of an SA that goes out have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Encap {
    spi: u32,
    mode: Mode,
    shape: Shape,
    /// Length of what is put before ESP.
    outer_len: usize,
    /// If it is the plainest of tunnels.
    template: Option<Template>,
}

/// What is different in each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Draws {
    /// Its number; the low half is sent.
    pub sequence: u64,
    /// What makes the IV unique ([`super::nonce`]).
    pub nonce: u64,
    /// What names it in its outer header.
    pub name: Name,
}

/// What stands where an outer header names its packet. Fragments of a packet have that in common, so one that may be cut has a number
/// of its own. One that may not be cut needs none (RFC 6864), and says whose it is: so a router that complains of it, which quotes
/// no more of it than SPI and number of the *peer's*, tells which unit of ours has sent it. IPv6 says so in the flow label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Name {
    /// The number of one that may be cut.
    pub id: u16,
    /// The unit: ten bits.
    pub unit: u16,
}

impl Encap {
    /// An SA's.
    pub const fn new(spi: u32, mode: Mode, transform: Transform) -> Self {
        let (outer_len, template) = match &mode {
            Mode::Tunnel(outer) => (outer.buffer_len(), Template::of(outer)),
            Mode::Transport { udp } => (udp_len(*udp), None),
        };
        Self { spi, mode, shape: Shape::of(transform), outer_len, template }
    }

    /// Whether the packet goes in a packet of the cluster's.
    pub const fn is_tunnel(&self) -> bool {
        matches!(self.mode, Mode::Tunnel(_))
    }

    /// The room that an IP packet needs. None: it has no header that could stay outside.
    pub fn room(&self, packet: &[u8]) -> Option<Layout> {
        let hidden = match &self.mode {
            Mode::Tunnel(_) => packet.len(),
            Mode::Transport { .. } => packet.len().checked_sub(Outside::of(packet).ok()?.len)?,
        };
        Some(self.room_around(hidden))
    }

    /// The room that so many hidden bytes need: in a tunnel, the whole packet.
    #[inline]
    pub(super) const fn room_around(&self, hidden: usize) -> Layout {
        let Layout { before, after } = self.shape.around(hidden);
        Layout { before: self.outer_len + before, after }
    }

    /// Writes what goes around the IP packet that lies in the buffer with this room around it. Answers where ESP begins: from
    /// there on it is to be sealed. None: it is no IP packet, it would be too long for IP, or it is not the room that
    /// [`Self::room`] says.
    pub fn build(&self, buffer: &mut [u8], room: Layout, draws: Draws) -> Option<usize> {
        let packet = buffer.get(room.before..buffer.len().checked_sub(room.after)?)?;
        let (esp_at, next_header, hidden) = match self.mode {
            Mode::Tunnel(outer) => {
                let inner = Inner::of(packet)?;
                let hidden = packet.len();
                let esp_len = buffer.len().checked_sub(self.outer_len)?;
                outer.write(buffer, esp_len, &inner, draws.name)?;
                (self.outer_len, inner.next_header, hidden)
            }
            Mode::Transport { udp } => {
                let outside = Outside::of(packet).ok()?;
                let hidden = packet.len().checked_sub(outside.len)?;
                self.move_header(buffer, room, outside, udp)?;
                (outside.len + self.outer_len, outside.next_header, hidden)
            }
        };
        let Draws { sequence, nonce, .. } = draws;
        self.shape.write(buffer.get_mut(esp_at..)?, hidden, Fields { spi: self.spi, sequence, nonce, next_header });
        Some(esp_at)
    }

    /// As [`Self::build`], for an IPv4 packet without options whose header is sound; and makes it one hop older, for into the tunnel is
    /// a hop. None, too: it has no hop left.
    #[inline]
    pub fn build_aged(&self, buffer: &mut [u8], room: Layout, draws: Draws) -> Option<usize> {
        let Some(template) = &self.template else { return self.age_and_build(buffer, room, draws) };
        let len = u16::try_from(buffer.len()).ok()?;
        let hidden = buffer.len().checked_sub(room.before + room.after)?;
        let (outer, esp) = buffer.split_first_chunk_mut()?;
        let inner = esp.get_mut(self.shape.body_at()..)?.first_chunk_mut()?;
        template.write(outer, len, inner, draws.name)?;
        let Draws { sequence, nonce, .. } = draws;
        self.shape.write(esp, hidden, Fields { spi: self.spi, sequence, nonce, next_header: proto::IPV4 });
        Some(ipv4::HEADER_LEN)
    }

    fn age_and_build(&self, buffer: &mut [u8], room: Layout, draws: Draws) -> Option<usize> {
        let end = buffer.len().checked_sub(room.after)?;
        wire::age(buffer.get_mut(room.before..end)?).then_some(())?;
        self.build(buffer, room, draws)
    }

    /// The IP header comes to the front, and says that it carries ESP.
    fn move_header(&self, buffer: &mut [u8], room: Layout, outside: Outside, ports: Option<Ports>) -> Option<()> {
        buffer.copy_within(room.before..room.before + outside.len, 0);
        let len = buffer.len();
        let (header, rest) = buffer.split_at_mut_checked(outside.len)?;
        outside.rewrite(header, carried_by(ports), len)?;
        let esp_len = rest.len().checked_sub(udp_len(ports))?;
        ports.map_or(Some(()), |ports| ports.emit(rest, esp_len))
    }

    /// Whether there is something to [`Self::finish`].
    #[inline]
    pub(super) const fn is_to_be_finished(&self) -> bool {
        self.template.is_none()
    }

    /// Writes what depends on the sealed bytes.
    pub fn finish(&self, packet: &mut [u8]) {
        if let Mode::Tunnel(outer) = &self.mode {
            outer.finish(packet);
        }
    }

    /// The longest IP packet, with an IP header of this length, that fits into outer ones of `outer_mtu`: what is told to senders
    /// of longer ones.
    pub const fn mtu(&self, outer_mtu: usize, header_len: usize) -> usize {
        let kept = if self.is_tunnel() { 0 } else { header_len };
        kept + self.shape.payload_max(outer_mtu.saturating_sub(kept + self.outer_len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipsec::outer::DontFragment;
    use proptest::prelude::*;

    proptest! {
        /// What is written once for all packets is what would be written for each.
        #[test]
        fn a_template_writes_what_the_header_is(
            tos: u8, id: u16, unit in 0_u16..1024, whole: bool, ttl: u8, len in 0_u16..1400, dscp in prop::option::of(0_u8..64), rule in 0..3_usize,
            addresses: [u32; 2], hop_limit: u8, v6: bool, which in 0..54_usize,
        ) {
            let address = |number: u32| match v6 {
                true => std::net::Ipv6Addr::from(u128::from(number)).into(),
                false => std::net::Ipv4Addr::from(number).into(),
            };
            let dont_fragment = [DontFragment::Copy, DontFragment::Set, DontFragment::Clear][rule];
            let [source, destination] = addresses.map(address);
            let outer = Outer { source, destination, udp: None, dscp, dont_fragment, hop_limit };
            let encap = Encap::new(7, Mode::Tunnel(outer), Transform::all().nth(which).unwrap());
            let fragment = if whole { ipv4::DONT_FRAGMENT } else { 0 };
            let (source, destination) = (1.into(), 2.into());
            let repr = ipv4::Repr { tos, id, fragment, ttl, protocol: 17, source, destination, payload_len: len };
            let mut packet = vec![0x55; ipv4::HEADER_LEN + usize::from(len)];
            repr.emit(&mut packet).unwrap();
            let room = encap.room(&packet).unwrap();
            let mut plain = [&vec![0; room.before], &packet[..], &vec![0; room.after]].concat();
            let mut quick = plain.clone();
            let draws = Draws { sequence: 0x99_0000_0001, nonce: 5, name: Name { id, unit } };
            let aged = wire::age(&mut plain[room.before..room.before + packet.len()]);
            let at = if aged { encap.build(&mut plain, room, draws) } else { None };
            prop_assert_eq!(encap.build_aged(&mut quick, room, draws), at);
            if at.is_some() {
                prop_assert_eq!(plain, quick);
            }
        }
    }
}
