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
use super::transform::Transform;
use super::transport::Outside;

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
}

/// What is different in each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Draws {
    /// Its number; the low half is sent.
    pub sequence: u64,
    /// What makes the IV unique ([`super::nonce`]).
    pub nonce: u64,
    /// Names the fragments of an outer packet that may be fragmented.
    pub id: u16,
}

impl Encap {
    /// An SA's.
    pub const fn new(spi: u32, mode: Mode, transform: Transform) -> Self {
        Self { spi, mode, shape: Shape::of(transform) }
    }

    /// Whether the packet goes in a packet of the cluster's.
    pub const fn is_tunnel(&self) -> bool {
        matches!(self.mode, Mode::Tunnel(_))
    }

    /// The room that an IP packet needs. None: it has no header that could stay outside.
    pub fn room(&self, packet: &[u8]) -> Option<Layout> {
        let (around, hidden) = match self.mode {
            Mode::Tunnel(outer) => (outer.buffer_len(), packet.len()),
            Mode::Transport { udp } => (udp_len(udp), packet.len().checked_sub(Outside::of(packet).ok()?.len)?),
        };
        let Layout { before, after } = self.shape.around(hidden);
        Some(Layout { before: around + before, after })
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
                let esp_len = buffer.len().checked_sub(outer.buffer_len())?;
                outer.write(buffer, esp_len, &inner, draws.id)?;
                (outer.buffer_len(), inner.next_header, hidden)
            }
            Mode::Transport { udp } => {
                let outside = Outside::of(packet).ok()?;
                let hidden = packet.len().checked_sub(outside.len)?;
                self.move_header(buffer, room, outside, udp)?;
                (outside.len + udp_len(udp), outside.next_header, hidden)
            }
        };
        let Draws { sequence, nonce, .. } = draws;
        self.shape.write(buffer.get_mut(esp_at..)?, hidden, Fields { spi: self.spi, sequence, nonce, next_header });
        Some(esp_at)
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

    /// Writes what depends on the sealed bytes.
    pub fn finish(&self, packet: &mut [u8]) {
        if let Mode::Tunnel(outer) = self.mode {
            outer.finish(packet);
        }
    }

    /// The longest IP packet, with an IP header of this length, that fits into outer ones of `outer_mtu`: what is told to senders
    /// of longer ones.
    pub const fn mtu(&self, outer_mtu: usize, header_len: usize) -> usize {
        match self.mode {
            Mode::Tunnel(outer) => self.shape.payload_max(outer_mtu.saturating_sub(outer.buffer_len())),
            Mode::Transport { udp } => {
                header_len + self.shape.payload_max(outer_mtu.saturating_sub(header_len + udp_len(udp)))
            }
        }
    }
}
