//! From an ESP packet to an IP packet, in place.
//!
//! [`locate`] finds where ESP begins; the caller finds the SA by its SPI, asks its replay window, has an engine open what
//! begins there, for a burst at once; [`Decap::unwrap`] then says what the packet is.

use std::ops::Range;

use super::encap::Mode;
use super::esp::{self, Carried, Shape};
use super::outer::Inner;
use super::transform::Transform;
use super::transport::Outside;
use super::{Refused, ecn};
use crate::parse::{Summary, summarise_l3};
use crate::wire::{proto, udp};

/// What a packet that was opened is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// An IP packet, here in the buffer.
    Packet(Range<usize>),
    /// Nothing: it was sent so that nobody sees when nothing is sent (RFC 4303 section 2.6).
    Dummy,
}

/// What all packets of an SA that comes in have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Decap {
    tunnel: bool,
    shape: Shape,
}

/// Where ESP begins in an IP packet that carries it, in UDP or not.
///
/// # Errors
/// [`Refused::Malformed`].
pub fn locate(packet: &[u8]) -> Result<usize, Refused> {
    let outside = Outside::of(packet)?;
    let at = match outside.next_header {
        proto::ESP => outside.len,
        proto::UDP => outside.len + udp::HEADER_LEN,
        _ => return Err(Refused::Malformed),
    };
    if packet.len() < at + esp::HEADER_LEN { Err(Refused::Malformed) } else { Ok(at) }
}

impl Decap {
    /// An SA's. Of the mode only its kind matters.
    pub const fn new(mode: &Mode, transform: Transform) -> Self {
        Self { tunnel: matches!(mode, Mode::Tunnel(_)), shape: Shape::of(transform) }
    }

    /// The lengths of its packets.
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What a packet is that was opened; `esp_at` as [`locate`] said.
    ///
    /// # Errors
    /// What it carries is not what it says: a tunnel carries whole IP packets, and a mark that its inner sender understands.
    pub fn unwrap(&self, buffer: &mut [u8], esp_at: usize) -> Result<Found, Refused> {
        let Carried { start, len, next_header } = self.shape.carried(buffer.get(esp_at..).unwrap_or_default())?;
        if next_header == esp::DUMMY {
            return Ok(Found::Dummy);
        }
        let start = esp_at + start;
        if self.tunnel {
            let outer = Inner::of(buffer).ok_or(Refused::Malformed)?;
            inner(buffer, start, len, next_header, outer.tos)
        } else {
            restore(buffer, start, len, next_header)
        }
    }

    /// What a packet carries that was opened; where it begins is counted from the packet's first byte.
    ///
    /// # Errors
    /// [`Refused::Malformed`].
    #[inline]
    pub fn carried_at(&self, packet: &[u8], esp_at: usize) -> Result<Carried, Refused> {
        let carried = self.shape.carried(packet.get(esp_at..).unwrap_or_default())?;
        Ok(Carried { start: esp_at + carried.start, ..carried })
    }

    /// As [`Self::unwrap`], for a tunnel's packet that came in one of this TOS; and what a look at it found, counted from its own first
    /// byte. None: a dummy.
    ///
    /// # Errors
    /// As [`Self::unwrap`].
    #[inline]
    pub fn unwrap_from(
        &self,
        buffer: &mut [u8],
        esp_at: usize,
        outer_tos: u8,
    ) -> Result<Option<(Range<usize>, Summary)>, Refused> {
        let Carried { start, len, next_header } = self.shape.carried(buffer.get(esp_at..).unwrap_or_default())?;
        if next_header == esp::DUMMY {
            return Ok(None);
        }
        let start = esp_at + start;
        let summary = look(buffer.get_mut(start..start + len).ok_or(Refused::Malformed)?, next_header, outer_tos)?;
        Ok(Some((start..start + usize::from(summary.l3_len()), summary)))
    }
}

/// A whole packet comes out of the tunnel. Padding behind it stays behind.
pub(super) fn inner(
    buffer: &mut [u8],
    start: usize,
    len: usize,
    next_header: u8,
    outer_tos: u8,
) -> Result<Found, Refused> {
    let summary = look(buffer.get_mut(start..start + len).ok_or(Refused::Malformed)?, next_header, outer_tos)?;
    Ok(Found::Packet(start..start + usize::from(summary.l3_len())))
}

/// Looks at a packet that has come out of a tunnel, and gives it the mark that it has from now on.
#[inline]
fn look(packet: &mut [u8], next_header: u8, outer_tos: u8) -> Result<Summary, Refused> {
    let inner = Inner::of(packet).filter(|inner| inner.next_header == next_header).ok_or(Refused::NotIp)?;
    let summary = summarise_l3(packet).map_err(|_| Refused::NotIp)?;
    let combined = ecn::combine(inner.tos, outer_tos).ok_or(Refused::Congested)?;
    if combined != inner.tos & ecn::MASK {
        ecn::set(packet, combined);
    }
    Ok(summary)
}

/// The IP header goes back to what it carried.
pub(super) fn restore(buffer: &mut [u8], start: usize, len: usize, next_header: u8) -> Result<Found, Refused> {
    let outside = Outside::of(buffer)?;
    let at = start.checked_sub(outside.len).ok_or(Refused::Malformed)?;
    buffer.copy_within(..outside.len, at);
    let packet = buffer.get_mut(at..start + len).ok_or(Refused::Malformed)?;
    let packet_len = packet.len();
    outside.rewrite(packet, next_header, packet_len).ok_or(Refused::Malformed)?;
    Ok(Found::Packet(at..start + len))
}
