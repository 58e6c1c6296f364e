//! To the peer: written as they are to be sealed, and finished after that.

use super::{Batch, Run, Then, Ticket};
use crate::app::{Fate, Outlet, Parcel, Way};
use crate::ipsec::crypto::Job;
use crate::ipsec::encap::{Draws, Encap, Name};
use crate::ipsec::esp::Layout;
use crate::ipsec::gateway::Gateway;
use crate::ipsec::gateway::clamp::is_syn_v4;
use crate::ipsec::gateway::form::Form;
use crate::ipsec::gateway::outbound::is_never_cut;
use crate::ipsec::gateway::tally::{Counts, Tally};
use crate::ipsec::gateway::tap::{Tap, show};
use crate::tallies::add;
use crate::wire::{bytes, ipv4};

/// What the longest header of a link takes.
const LINK_ROOM: usize = 18;

impl Gateway {
    /// Writes packets of a tunnel, the first of which is the burst's `first`, as they are to be sealed; answers how many, and what is to be
    /// known of them then. `mtu`: what every link takes.
    pub(super) fn begin_sealing<'p>(
        &mut self,
        outlet: &dyn Outlet,
        (incarnation, mtu): (u64, usize),
        number: usize,
        (first, parcels): (u8, &'p mut [Parcel<'_>]),
        batch: &mut Batch<'p, '_>,
    ) -> (usize, Then) {
        let none = (0, Then::default());
        let (Some(nonces), Some(slot)) = (self.ivs.of(incarnation), self.slots.get_mut(number)) else { return none };
        let Some(tunnel) = slot.tunnel.as_deref_mut().filter(|tunnel| tunnel.to_seal.is_empty()) else { return none };
        let Form::Esp { encap, .. } = &tunnel.form else { return none };
        if !tunnel.form.is_hop() {
            return none;
        }
        let fits = mtu.min(tunnel.path_mtu.get().into());
        let is_too_long = |packet: &[u8]| {
            let stays_whole = must_be_whole(packet) || is_never_cut(&slot.spec);
            let way = || tunnel.path_mtu.towards(outlet, slot.spec.outer.destination);
            stays_whole && packet.len() > encap.mtu(way().into(), 0)
        };
        let planned = plan_all(encap, parcels, self.config.clamp_mss, fits, &is_too_long);
        // All numbers at once. One that is left without an IV is left out.
        let numbers = tunnel.ends.take_numbers(&mut tunnel.outbound, planned as u64, &mut self.leases);
        let nonces = nonces.take_many(&mut tunnel.draw, numbers.end - numbers.start);
        let begun = (nonces.end - nonces.start) as usize;
        let (all, left) = parcels.split_at_mut(begun);
        left.iter_mut().take(planned - begun).for_each(|parcel| parcel.fate = Fate::Untouched);
        let name = Name { id: tunnel.id, unit: slot.spec.unit().number() };
        tunnel.id = tunnel.id.wrapping_add(begun as u16);
        if self.tap.as_ref().is_some_and(Tap::is_wanted) {
            all.iter()
                .for_each(|parcel| show(&mut self.tap, outlet, slot.spec.inbound.spi, Way::Into, parcel.packet()));
        }
        let draws = Draws { sequence: numbers.start, nonce: nonces.start, name };
        let (bytes, lost) = write_all(encap, (first, all), draws, batch);
        if lost > 0 {
            add(&self.counters.of(slot.counters).not_sent, lost);
        }
        let finishes = encap.is_to_be_finished();
        tunnel.carried.sent = tunnel.carried.sent.saturating_add(bytes);
        (begun, Then { counters: slot.counters, bytes, finishes, is_due: tunnel.may_be_due() })
    }

    /// What becomes of a tunnel's packets that were to be sealed.
    #[inline]
    pub(super) fn end_sealing(
        &self,
        (run, tickets, done): (&Run, &[Ticket], u32),
        parcels: &mut [Parcel<'_>],
        tally: &mut Tally,
    ) {
        let Then { counters, bytes, finishes, .. } = run.then;
        let mut counts = Counts { packets_out: tickets.len() as u64, bytes_out: bytes, ..Counts::default() };
        if run.bits() >> run.first & !done != 0 {
            take_back(tickets, done, parcels, &mut counts);
        }
        if finishes {
            self.finish_sealed(run.tunnel, tickets, parcels);
        }
        tally.add(counters, counts, &self.counters);
    }

    /// Writes what depends on the sealed bytes.
    fn finish_sealed(&self, number: usize, tickets: &[Ticket], parcels: &mut [Parcel<'_>]) {
        let tunnel = self.slots.get(number).and_then(|slot| slot.tunnel.as_deref());
        let Some(Form::Esp { encap, .. }) = tunnel.map(|tunnel| &tunnel.form) else { return };
        for ticket in tickets {
            if let Some(parcel) = parcels.get_mut(usize::from(ticket.place))
                && let Fate::Sent { start, len } = parcel.fate
            {
                let start = usize::from(start);
                encap.finish(parcel.room.get_mut(start..start + usize::from(len)).unwrap_or_default());
            }
        }
    }
}

/// Some were not sealed after all: they go nowhere, and do not count.
#[cold]
fn take_back(tickets: &[Ticket], done: u32, parcels: &mut [Parcel<'_>], counts: &mut Counts) {
    for (ticket, _) in tickets.iter().zip(0_u32..).filter(|(_, at)| done >> at & 1 == 0) {
        let Some(parcel) = parcels.get_mut(usize::from(ticket.place)) else { continue };
        parcel.fate = Fate::Taken;
        counts.not_sent += 1;
        counts.packets_out -= 1;
        counts.bytes_out -= u64::from(parcel.len);
    }
}

/// Whether a packet must not be fragmented.
#[inline]
fn must_be_whole(packet: &[u8]) -> bool {
    bytes::u16_at(packet, ipv4::FRAGMENT_AT) & ipv4::DONT_FRAGMENT != 0
}

/// Where a packet will lie when it is sealed. None: there is no room for all that comes around it, and for the header of a link.
#[inline]
fn plan(encap: &Encap, parcel: &Parcel<'_>) -> Option<Fate> {
    let (start, len) = (usize::from(parcel.start), usize::from(parcel.len));
    let Layout { before, after } = encap.room_around(len);
    let fits = len > 0 && start >= before + LINK_ROOM && start + len + after <= parcel.room.len();
    fits.then_some(Fate::Sent { start: (start - before) as u16, len: (before + len + after) as u16 })
}

/// Plans packets, from the first one on; answers how many. The next one is to be looked at more closely. `is_too_long` is asked of those that
/// will be longer than what surely `fits`.
#[inline(never)]
fn plan_all(
    encap: &Encap,
    parcels: &mut [Parcel<'_>],
    clamps: bool,
    fits: usize,
    is_too_long: &dyn Fn(&[u8]) -> bool,
) -> usize {
    let mut planned = 0;
    for parcel in parcels {
        let Some(fate) = plan(encap, parcel) else { break };
        let is_long = matches!(fate, Fate::Sent { len, .. } if usize::from(len) > fits) && is_too_long(parcel.packet());
        if is_long || clamps && is_syn_v4(parcel.packet()) {
            break;
        }
        (parcel.fate, planned) = (fate, planned + 1);
    }
    planned
}

/// Writes all but what the engine writes of packets that are planned; `draws` is what the first one gets. What cannot be written has
/// had its number, and is lost. Answers the bytes inside those that were written, and how many are lost. (A function of its own keeps what
/// all packets have in common in registers.)
#[inline(never)]
fn write_all<'p>(
    encap: &Encap,
    (first, parcels): (u8, &'p mut [Parcel<'_>]),
    Draws { sequence, nonce, name }: Draws,
    batch: &mut Batch<'p, '_>,
) -> (u64, u64) {
    let (mut bytes, mut lost) = (0, 0);
    for ((parcel, place), at) in parcels.iter_mut().zip(first..).zip(0_u16..) {
        let sequence = sequence + u64::from(at);
        let name = Name { id: name.id.wrapping_add(at), ..name };
        let len = u64::from(parcel.len);
        match write(encap, parcel, Draws { sequence, nonce: nonce + u64::from(at), name }) {
            Some(esp) => {
                batch.add(Job::new(esp, (sequence >> u32::BITS) as u32), Ticket { sequence, place });
                bytes += len;
            }
            None => lost += 1,
        }
    }
    (bytes, lost)
}

/// Answers what is to be sealed.
#[inline]
fn write<'p>(encap: &Encap, parcel: &'p mut Parcel<'_>, draws: Draws) -> Option<&'p mut [u8]> {
    let Fate::Sent { start, len } = std::mem::replace(&mut parcel.fate, Fate::Taken) else { return None };
    let buffer = parcel.room.get_mut(usize::from(start)..usize::from(start) + usize::from(len))?;
    let at = encap.build_aged(buffer, encap.room_around(parcel.len.into()), draws)?;
    parcel.fate = Fate::Sent { start, len };
    buffer.get_mut(at..)
}
