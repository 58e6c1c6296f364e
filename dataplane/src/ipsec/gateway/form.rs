//! What a tunnel makes of its packets: ESP or AH.

use super::spec::{Protection, SaMode, TunnelSpec};
use crate::ipsec::crypto::{Job, Session};
use crate::ipsec::decap::{self, Decap, Found};
use crate::ipsec::encap::{Draws, Encap, Mode};
use crate::ipsec::esp::{self, Layout};
use crate::ipsec::transport::Outside;
use crate::ipsec::{Refused, ah};
use crate::wire::{self, proto};

/// See the module.
pub(super) enum Form {
    Esp { encap: Encap, decap: Decap },
    Ah { wrap: ah::Wrap, icv_len: usize, tunnel: bool },
}

/// SPI and the low half of the number of an IP packet that came in.
pub(super) fn label(protocol: u8, packet: &[u8]) -> Result<(u32, u32), Refused> {
    if protocol == proto::AH {
        return ah::locate(packet).map(|place| (place.spi, place.sequence));
    }
    let at = decap::locate(packet)?;
    packet.get(at..).and_then(esp::header).ok_or(Refused::Malformed)
}

impl Form {
    /// A tunnel's.
    pub(super) const fn new(spec: &TunnelSpec) -> Self {
        let (spi, tunnel) = (spec.outbound.spi, matches!(spec.mode, SaMode::Tunnel));
        let mode = if tunnel { Mode::Tunnel(spec.outer) } else { Mode::Transport { udp: spec.outer.udp } };
        match spec.protection {
            Protection::Esp(transform) => {
                Self::Esp { encap: Encap::new(spi, mode, transform), decap: Decap::new(&mode, transform) }
            }
            Protection::Ah(integrity) => {
                Self::Ah { wrap: ah::Wrap::new(spi, mode, integrity), icv_len: integrity.icv_len(), tunnel }
            }
        }
    }

    /// How long packets with a header like this one's may be that are to fit into ones of `outer_mtu`.
    pub(super) fn mtu(&self, packet: &[u8], outer_mtu: usize) -> usize {
        match self {
            Self::Esp { encap, .. } => encap.mtu(outer_mtu, Outside::of(packet).map_or(0, |outside| outside.len)),
            Self::Ah { wrap, .. } => wrap.mtu(outer_mtu),
        }
    }

    /// Opens an IP packet in place. `text` takes a packet and an ICV.
    pub(super) fn open(
        &self,
        packet: &mut [u8],
        sequence_high: u32,
        opener: &mut dyn Session,
        text: &mut [u8],
    ) -> Result<Found, Refused> {
        match self {
            Self::Esp { decap, .. } => {
                let at = decap::locate(packet)?;
                let esp = packet.get_mut(at..).ok_or(Refused::Malformed)?;
                decap.shape().check(esp.len())?;
                process(opener, esp, sequence_high).ok_or(Refused::BadIcv)?;
                decap.unwrap(packet, at)
            }
            Self::Ah { icv_len, tunnel, .. } => {
                let place = ah::locate(packet)?;
                let text = ah::checked(packet, &place, *icv_len, text)?;
                process(opener, text, sequence_high).ok_or(Refused::BadIcv)?;
                ah::unwrap(packet, &place, *tunnel).map(Found::Packet)
            }
        }
    }

    /// Whether packets that go in are a hop older. Those that stay what they are, are not.
    pub(super) const fn is_hop(&self) -> bool {
        match self {
            Self::Esp { encap, .. } => encap.is_tunnel(),
            Self::Ah { tunnel, .. } => *tunnel,
        }
    }

    /// The room that a packet needs around it. None: it is none.
    pub(super) fn layout(&self, packet: &[u8]) -> Option<Layout> {
        match self {
            Self::Esp { encap, .. } => encap.room(packet),
            Self::Ah { wrap, .. } => Some(Layout { before: wrap.room(packet)?, after: 0 }),
        }
    }

    /// Makes the packet that lies in the buffer with this room around it one hop older, if it is a hop, and seals it. None: it does not fit, or
    /// is none.
    pub(super) fn seal(
        &self,
        buffer: &mut [u8],
        layout: Layout,
        draws: Draws,
        sealer: &mut dyn Session,
        text: &mut [u8],
    ) -> Option<()> {
        let end = buffer.len().checked_sub(layout.after)?;
        if self.is_hop() {
            wire::age(buffer.get_mut(layout.before..end)?).then_some(())?;
        }
        let sequence_high = (draws.sequence >> u32::BITS) as u32;
        match self {
            Self::Esp { encap, .. } => {
                let at = encap.build(buffer, layout, draws)?;
                process(sealer, buffer.get_mut(at..)?, sequence_high)?;
                encap.finish(buffer);
            }
            Self::Ah { wrap, icv_len, .. } => {
                let place = wrap.build(buffer, layout.before, draws)?;
                let text = ah::checked(buffer, &place, *icv_len, text).ok()?;
                process(sealer, text, sequence_high)?;
                ah::put_icv(buffer, &place, text.get(text.len().checked_sub(*icv_len)?..)?);
            }
        }
        Some(())
    }
}

/// None: it was not done.
fn process(session: &mut dyn Session, packet: &mut [u8], sequence_high: u32) -> Option<()> {
    let mut jobs = [Job::new(packet, sequence_high)];
    session.process(&mut jobs);
    jobs[0].done.then_some(())
}
