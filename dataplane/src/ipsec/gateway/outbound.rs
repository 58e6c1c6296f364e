//! To the peer: the size looked at, numbered, sealed.

use super::Gateway;
use super::clamp::{clamp, is_syn};
use super::spec::{SaMode, TunnelSpec};
use super::tap::show;
use crate::app::{Hindrance, Outlet, Passed, Way, Wrappable};
use crate::drop_reason::DropReason;
use crate::icmp_error::Complaint;
use crate::ipsec::encap::{Draws, Name};
use crate::ipsec::esp::Layout;
use crate::ipsec::outer::DontFragment;
use crate::parse::{Summary, flag};
use crate::tallies::add;

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// It is on its way, or counted as lost.
    Done(Passed),
    /// It must wait: the backups do not hold a lease of its number yet.
    NoNumber,
    /// The SA has no numbers left, or this member no IVs.
    NeverAgain,
}

impl Gateway {
    /// Takes a packet that belongs into a tunnel.
    pub(super) fn seal(
        &mut self,
        outlet: &mut dyn Outlet,
        spi: u32,
        summary: &Summary,
        buffer: &mut dyn Wrappable,
    ) -> Result<Passed, Hindrance> {
        let number = self.way_of(outlet, spi).ok_or(DropReason::EspNoSa)?;
        self.wake(outlet, number)?;
        let Some(slot) = self.slots.get_mut(number) else { return Err(DropReason::SaUnusable.into()) };
        let Some(tunnel) = &mut slot.tunnel else { return Err(DropReason::SaUnusable.into()) };
        if summary.ttl <= 1 && tunnel.form.is_hop() {
            return Err(Hindrance::Complaint(Complaint::TimeExceeded, DropReason::TtlExceeded));
        }
        if self.config.clamp_mss && is_syn(buffer.packet(), summary) {
            let mtu = tunnel.mtu_of(outlet, slot.spec.outer.destination, buffer.packet());
            clamp(buffer.packet_mut(), summary, mtu);
        }
        let stays_whole = summary.has(flag::DONT_FRAGMENT);
        if stays_whole || is_never_cut(&slot.spec) {
            let mtu = tunnel.mtu_of(outlet, slot.spec.outer.destination, buffer.packet());
            if buffer.packet().len() > mtu {
                let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
                return Err(match stays_whole {
                    true => Hindrance::Complaint(Complaint::TooBig { mtu }, DropReason::TooBig),
                    false => Hindrance::Cut { mtu },
                });
            }
        }
        // What waits already goes first.
        let sent = match tunnel.to_seal.is_empty() {
            true => self.seal_now(outlet, number, Packet::In(buffer)),
            false => Sent::NoNumber,
        };
        let passed = match sent {
            Sent::Done(passed) => passed,
            Sent::NeverAgain => return Err(DropReason::SaUnusable.into()),
            Sent::NoNumber => self.wait(number, buffer.packet())?,
        };
        self.renew(outlet, number, None);
        Ok(passed)
    }

    /// The tunnel that such traffic goes through at present.
    #[inline]
    pub(super) fn way_of(&mut self, outlet: &mut dyn Outlet, spi: u32) -> Option<usize> {
        let number = self.find(outlet, spi)?;
        self.way_from(outlet, number)
    }

    /// The same, of the tunnel that the policies name.
    #[inline]
    pub(super) fn way_from(&mut self, outlet: &mut dyn Outlet, number: usize) -> Option<usize> {
        match self.slots.through(number) {
            Ok(number) => Some(number),
            Err(older) => match self.find(outlet, older) {
                Some(_) => self.slots.through(number).ok(),
                None => Some(number),
            },
        }
    }

    fn wait(&mut self, number: usize, packet: &[u8]) -> Result<Passed, DropReason> {
        let Some(slot) = self.slots.get_mut(number) else { return Err(DropReason::SaUnusable) };
        let counters = self.counters.of(slot.counters);
        let (Some(kept), Some(tunnel)) = (self.spares.keep(packet), &mut slot.tunnel) else {
            add(&counters.wait_full, 1);
            return Err(DropReason::SaPending);
        };
        add(&counters.waited, 1);
        tunnel.to_seal.push_back(kept);
        Ok(Passed::Taken)
    }

    /// Seals a packet, if there is a number for it: where it lies, if it can grow there; otherwise in a buffer of its own, which is
    /// sent.
    pub(super) fn seal_now(&mut self, outlet: &mut dyn Outlet, number: usize, mut packet: Packet<'_>) -> Sent {
        let (Some(nonces), Some(slot)) = (self.ivs.of(outlet.incarnation()), self.slots.get_mut(number)) else {
            return Sent::NeverAgain;
        };
        let Some(tunnel) = &mut slot.tunnel else { return Sent::NeverAgain };
        let counters = self.counters.of(slot.counters);
        // At its life's end there is none either: what waits then is counted, and dropped, when it expires.
        let mut numbers = tunnel.ends.take_numbers(&mut tunnel.outbound, 1, &mut self.leases);
        let Some(sequence) = numbers.next() else { return Sent::NoNumber };
        let Some(nonce) = nonces.take(&mut tunnel.draw) else { return Sent::NeverAgain };
        tunnel.id = tunnel.id.wrapping_add(1);
        let name = Name { id: tunnel.id, unit: slot.spec.unit().number() };
        let draws = Draws { sequence, nonce, name };
        let (form, sealer, text) = (&tunnel.form, &mut tunnel.sealer, &mut self.text);
        show(&mut self.tap, outlet, slot.spec.inbound.spi, Way::Into, packet.bytes());
        let len = packet.bytes().len();
        let passed = form.layout(packet.bytes()).and_then(|layout| {
            if let Some(buffer) = packet.grow(layout) {
                form.seal(buffer, layout, draws, sealer.as_mut(), text)?;
                return Some(Passed::Wrapped);
            }
            let bytes = packet.bytes();
            let sent = outlet.send_whole(&mut |room| {
                let mut write = || {
                    let buffer = room.get_mut(..layout.before + len + layout.after)?;
                    buffer.get_mut(layout.before..layout.before + len)?.copy_from_slice(bytes);
                    form.seal(buffer, layout, draws, sealer.as_mut(), text)?;
                    Some(buffer.len())
                };
                write().unwrap_or(0)
            });
            sent.then_some(Passed::Taken)
        });
        match passed {
            Some(_) => {
                tunnel.carried.sent = tunnel.carried.sent.saturating_add(len as u64);
                add(&counters.packets_out, 1);
                add(&counters.bytes_out, len as u64);
            }
            None => add(&counters.not_sent, 1),
        }
        Sent::Done(passed.unwrap_or(Passed::Taken))
    }
}

/// Whether what a tunnel sends is never cut on its way, though what goes in might be: then that is to be cut before (RFC 4301
/// section 8.2.1).
pub(super) const fn is_never_cut(spec: &TunnelSpec) -> bool {
    matches!(spec.mode, SaMode::Tunnel)
        && (spec.outer.destination.is_ipv6() || matches!(spec.outer.dont_fragment, DontFragment::Set))
}

/// A packet to be sealed.
pub(super) enum Packet<'p> {
    /// In the buffer that it came in.
    In(&'p mut dyn Wrappable),
    /// In one that is not to be sent.
    Kept(&'p [u8]),
}

impl Packet<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::In(buffer) => buffer.packet(),
            Self::Kept(bytes) => bytes,
        }
    }

    fn grow(&mut self, layout: Layout) -> Option<&mut [u8]> {
        match self {
            Self::In(buffer) => buffer.grow(layout.before, layout.after),
            Self::Kept(_) => None,
        }
    }
}
