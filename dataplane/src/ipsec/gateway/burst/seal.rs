//! To the peer: written as they are to be sealed, and finished after that.

use std::ops::Range;

use super::{Batch, Ticket};
use crate::app::{Fate, Outlet, Parcel, Way};
use crate::ipsec::crypto::{Job, Numbers};
use crate::ipsec::encap::{Draws, Encap, Name};
use crate::ipsec::esp::Layout;
use crate::ipsec::gateway::Gateway;
use crate::ipsec::gateway::clamp::is_syn_v4;
use crate::ipsec::gateway::form::Form;
use crate::ipsec::gateway::outbound::is_never_cut;
use crate::ipsec::gateway::tally::Tally;
use crate::ipsec::gateway::tap::show;
use crate::tallies::add;
use crate::wire::{bytes, ipv4};

/// What the longest header of a link takes.
const LINK_ROOM: usize = 18;

/// A packet that is to be sealed: where, and what is different in it.
struct Planned {
    /// What it will be, in the buffer.
    place: Range<usize>,
    layout: Layout,
}

impl Gateway {
    /// Writes packets of a tunnel as they are to be sealed; answers how many. `mtu`: what every link takes.
    pub(super) fn begin_sealing<'p>(
        &mut self,
        outlet: &dyn Outlet,
        (incarnation, mtu): (u64, usize),
        ticket: Ticket,
        run: &'p mut [Parcel<'_>],
        batch: &mut Batch<'p>,
    ) -> usize {
        let (Some(nonces), Some(slot)) = (self.ivs.of(incarnation), self.slots.get_mut(ticket.tunnel)) else {
            return 0;
        };
        let Some(tunnel) = slot.tunnel.as_deref_mut().filter(|tunnel| tunnel.to_seal.is_empty()) else { return 0 };
        let Form::Esp { encap, .. } = &tunnel.form else { return 0 };
        if !tunnel.form.is_hop() {
            return 0;
        }
        let (clamps, fits) = (self.config.clamp_mss, encap.mtu(mtu.min(tunnel.path_mtu.get().into()), 0));
        let unit = slot.spec.unit().number();
        let mut begun = 0;
        for (parcel, place) in run.iter_mut().zip(ticket.place..) {
            let packet = parcel.packet();
            if packet.len() > fits && (must_be_whole(packet) || is_never_cut(&slot.spec)) {
                let way = tunnel.path_mtu.towards(outlet, slot.spec.outer.destination);
                if packet.len() > encap.mtu(way.into(), 0) {
                    break;
                }
            }
            let Some(planned) = plan(encap, parcel) else { break };
            if clamps && is_syn_v4(packet) {
                break;
            }
            let Some(sequence) = tunnel.outbound.take(&mut self.leases) else { break };
            if tunnel.numbers == Numbers::Short && sequence > u64::from(u32::MAX) {
                break;
            }
            let Some(nonce) = nonces.take(&mut tunnel.draw) else { break };
            tunnel.id = tunnel.id.wrapping_add(1);
            show(&mut self.tap, outlet, slot.spec.inbound.spi, Way::Into, packet);
            begun += 1;
            let (start, len) = (planned.place.start as u16, planned.place.len() as u16);
            let Parcel { room, fate, .. } = parcel;
            // What cannot be written has had its number, and is lost.
            *fate = Fate::Taken;
            let esp = write(encap, room, planned, Draws { sequence, nonce, name: Name { id: tunnel.id, unit } });
            if let Some(esp) = esp {
                *fate = Fate::Sent { start, len };
                batch.add(Job::new(esp, (sequence >> u32::BITS) as u32), Ticket { sequence, place, ..ticket });
            } else {
                add(&self.counters.of(slot.counters).not_sent, 1);
            }
        }
        begun
    }

    /// What becomes of a packet that was to be sealed.
    #[inline]
    pub(super) fn end_sealing(&mut self, ticket: &Ticket, done: bool, parcel: &mut Parcel<'_>, tally: &mut Tally) {
        let Some(slot) = self.slots.get_mut(ticket.tunnel) else { return };
        let counts = tally.of(slot.counters, &self.counters);
        let Fate::Sent { start, len } = parcel.fate else { return };
        if !done {
            parcel.fate = Fate::Taken;
            counts.not_sent += 1;
            return;
        }
        counts.packets_out += 1;
        counts.bytes_out += u64::from(parcel.len);
        let Some(tunnel) = slot.tunnel.as_deref_mut() else { return };
        tunnel.carried.sent = tunnel.carried.sent.saturating_add(parcel.len.into());
        if let Form::Esp { encap, .. } = &tunnel.form {
            let start = usize::from(start);
            encap.finish(parcel.room.get_mut(start..start + usize::from(len)).unwrap_or_default());
        }
    }
}

/// Whether a packet must not be fragmented.
#[inline]
fn must_be_whole(packet: &[u8]) -> bool {
    bytes::u16_at(packet, ipv4::FRAGMENT_AT) & ipv4::DONT_FRAGMENT != 0
}

/// Where a packet will lie when it is sealed. None: it must be looked at more closely.
#[inline]
fn plan(encap: &Encap, parcel: &Parcel<'_>) -> Option<Planned> {
    let packet = parcel.packet();
    let layout = encap.room(packet).filter(|_| !packet.is_empty())?;
    let start = usize::from(parcel.start).checked_sub(layout.before).filter(|start| *start >= LINK_ROOM)?;
    let end = usize::from(parcel.start) + packet.len() + layout.after;
    (end <= parcel.room.len()).then_some(Planned { place: start..end, layout })
}

/// Writes all but what the engine writes. Answers what is to be sealed.
#[inline]
fn write<'p>(encap: &Encap, room: &'p mut [u8], planned: Planned, draws: Draws) -> Option<&'p mut [u8]> {
    let Planned { place, layout } = planned;
    let buffer = room.get_mut(place)?;
    let at = encap.build_aged(buffer, layout, draws)?;
    buffer.get_mut(at..)
}
