//! From the peer: opened, looked at, let in, routed on.

use std::net::SocketAddr;

use super::Gateway;
use super::clamp::{clamp, is_syn};
use super::counters::TunnelCounters;
use super::form::label;
use super::tap::show;
use super::tunnel::Opened;
use crate::app::{Outlet, Way};
use crate::drop_reason::DropReason;
use crate::ipsec::Refused;
use crate::ipsec::decap::Found;
use crate::parse::{Summary, address_number, summarise_l3};
use crate::tallies::add;
use crate::unit::Unit;
use crate::wire::proto;

impl From<Refused> for DropReason {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Malformed | Refused::NotIp => Self::EspMalformed,
            Refused::BadIcv => Self::EspBadIcv,
            Refused::Replayed | Refused::TooOld => Self::EspReplayed,
            Refused::Congested => Self::EspCongested,
        }
    }
}

impl Gateway {
    /// Opens a packet to one of our SPIs, in UDP or not.
    pub(super) fn open(&mut self, outlet: &mut dyn Outlet, summary: &Summary, packet: &[u8]) -> Result<(), DropReason> {
        let (spi, low) = label(summary.proto, packet)?;
        let number = self.tunnel_at(outlet, spi, summary).ok_or(DropReason::EspNoSa)?;
        self.wake(outlet, number)?;
        let Some(slot) = self.slots.get_mut(number) else { return Err(DropReason::SaUnusable) };
        let Some(tunnel) = &mut slot.tunnel else { return Err(DropReason::SaUnusable) };
        let sequence = tunnel.whole(low).ok_or(DropReason::EspReplayed)?;
        let is_new = tunnel.window.check(sequence);
        if !tunnel.may_be_behind() {
            is_new?;
        }
        let place = self.scratch.get_mut(..packet.len()).ok_or(DropReason::EspMalformed)?;
        place.copy_from_slice(packet);
        let high = (sequence >> u32::BITS) as u32;
        let inner = match tunnel.form.open(place, high, tunnel.opener.as_mut(), &mut self.text)? {
            Found::Packet(range) => place.get_mut(range).unwrap_or_default(),
            Found::Dummy => &mut [],
        };
        if let Err(refused) = is_new {
            tunnel.note_behind(sequence, outlet.now_ns());
            return Err(refused.into());
        }
        if !inner.is_empty() {
            let inside = summarise_l3(inner).map_err(|_| DropReason::EspMalformed)?;
            if !slot.spec.selectors.allow(&inside) {
                return Err(DropReason::PolicyMismatch);
            }
            if self.config.clamp_mss && is_syn(inner, &inside) {
                let mtu = tunnel.mtu_of(outlet, slot.spec.outer.destination, inner);
                clamp(inner, &inside, mtu);
            }
        }
        let (unit, counters) = (slot.spec.unit(), self.counters.of(slot.counters));
        let from = (summary.proto == proto::UDP).then(|| SocketAddr::new(summary.src_ip(), summary.src_port));
        // None that nobody holds a lease for: whoever takes over would let it in again.
        if tunnel.inbound.admit(sequence, &mut self.leases) {
            let newest = sequence >= tunnel.window.next();
            tunnel.let_in(sequence, inner.len())?;
            show(&mut self.tap, outlet, spi, Way::OutOf, inner);
            deliver(outlet, unit, counters, inner);
            self.note(outlet, number, from.filter(|_| newest));
            self.renew(outlet, number, None);
            return Ok(());
        }
        let Some(packet) = self.spares.keep(inner) else {
            add(&counters.wait_full, 1);
            return Err(DropReason::SaPending);
        };
        add(&counters.waited, 1);
        tunnel.to_admit.push_back(Opened { sequence, from, packet });
        self.renew(outlet, number, None);
        Ok(())
    }

    /// The tunnel that a packet with this SPI belongs to: it must be addressed to the address that the peer was told.
    fn tunnel_at(&mut self, outlet: &mut dyn Outlet, spi: u32, summary: &Summary) -> Option<usize> {
        let number = self.find(outlet, spi)?;
        let ours = address_number(self.slots.get(number)?.spec.outer.source);
        (ours == (summary.family, summary.dst)).then_some(number)
    }

    /// A packet of the peer's was let in. `from`: where it is now, if that is news.
    #[inline]
    pub(super) fn note(&mut self, outlet: &mut dyn Outlet, number: usize, from: Option<SocketAddr>) {
        if let Some(child) = self.slots.get_mut(number).and_then(|slot| slot.child.as_mut()) {
            child.heard = true;
        }
        if let Some(from) = from {
            self.follow(outlet, number, from);
        }
    }
}

/// Sends a packet from a tunnel of this unit on its way. An empty one is a dummy.
pub(super) fn deliver(outlet: &mut dyn Outlet, unit: Unit, counters: &TunnelCounters, packet: &[u8]) {
    add(&counters.packets_in, 1);
    if packet.is_empty() {
        return add(&counters.dummies_in, 1);
    }
    add(&counters.bytes_in, packet.len() as u64);
    if !forward(outlet, unit, packet) {
        add(&counters.not_sent, 1);
    }
}

/// Routes a copy on.
pub(super) fn forward(outlet: &mut dyn Outlet, unit: Unit, packet: &[u8]) -> bool {
    outlet.forward(unit, &mut |room| match room.get_mut(..packet.len()) {
        Some(place) => {
            place.copy_from_slice(packet);
            packet.len()
        }
        None => 0,
    })
}
