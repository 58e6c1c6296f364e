//! From the peer: looked at before they are opened, and let in after that. Those with which nothing is to be done but to send them on are
//! guests: the policies are asked about all of them at once.

use std::ops::Range;

use super::{BURST, Batch, DESTINATION_AT, Ticket};
use crate::app::{Fate, Outlet, Parcel, Way};
use crate::drop_reason::DropReason;
use crate::ipsec::crypto::Job;
use crate::ipsec::ecn;
use crate::ipsec::esp;
use crate::ipsec::gateway::Gateway;
use crate::ipsec::gateway::clamp::{clamp, is_syn, is_syn_v4};
use crate::ipsec::gateway::form::Form;
use crate::ipsec::gateway::inbound::forward;
use crate::ipsec::gateway::slots::Slot;
use crate::ipsec::gateway::tally::Tally;
use crate::ipsec::gateway::tap::show;
use crate::ipsec::gateway::tunnel::Opened;
use crate::parse::{PlainV4, Summary, plain_v4, summarise_l3};
use crate::tallies::add;
use crate::wire::{self, bytes, ipv4, proto};

const TOS_AT: usize = 1;

/// A plain packet that has been let in, and may be sent on if the policies say so.
#[derive(Clone, Copy)]
struct Guest {
    place: u8,
    start: u16,
    len: u16,
}

/// Those of a burst.
pub(super) struct Guests {
    all: [Guest; BURST],
    /// Source and destination.
    hosts: [(u32, u32); BURST],
    count: usize,
}

/// What a packet that was opened is.
enum Inside {
    Dummy,
    Plain(Range<usize>, PlainV4),
    Other(Range<usize>, Summary),
}

impl Gateway {
    /// Looks at packets of a tunnel that are to be opened, and refuses those that cannot be; answers how many.
    pub(super) fn begin_opening<'p>(
        &mut self,
        ticket: Ticket,
        run: &'p mut [Parcel<'_>],
        batch: &mut Batch<'p>,
    ) -> usize {
        let Some(tunnel) = self.slots.tunnel(ticket.tunnel) else { return 0 };
        let Form::Esp { decap, .. } = &tunnel.form else { return 0 };
        if !tunnel.form.is_hop() {
            return 0;
        }
        let mut begun = 0;
        for (parcel, place) in run.iter_mut().zip(ticket.place..) {
            let packet = parcel.packet();
            if Some(bytes::u32_at(packet, DESTINATION_AT)) != tunnel.source {
                break;
            }
            let Some((_, low)) = packet.get(ipv4::HEADER_LEN..).and_then(esp::header) else { break };
            let esp_len = packet.len() - ipv4::HEADER_LEN;
            let sequence = tunnel.whole(low).ok_or(DropReason::EspReplayed);
            let sequence = sequence.and_then(|number| tunnel.window.check(number).map(|()| number).map_err(Into::into));
            match sequence.and_then(|number| Ok(decap.shape().check(esp_len).map(|()| number)?)) {
                Ok(sequence) => {
                    let start = usize::from(parcel.start) + ipv4::HEADER_LEN;
                    let esp = parcel.room.get_mut(start..start + esp_len).unwrap_or_default();
                    batch.add(Job::new(esp, (sequence >> u32::BITS) as u32), Ticket { sequence, place, ..ticket });
                }
                // It is opened all the same, for what it shows.
                Err(DropReason::EspReplayed) if tunnel.may_be_behind() => break,
                Err(reason) => parcel.fate = Fate::Dropped(reason),
            }
            begun += 1;
        }
        begun
    }

    /// What becomes of a packet that was opened; those of which the policies are to be asked become guests.
    #[inline]
    pub(super) fn let_in(
        &mut self,
        outlet: &mut dyn Outlet,
        ticket: &Ticket,
        parcel: &mut Parcel<'_>,
        guests: &mut Guests,
        tally: &mut Tally,
    ) -> Result<Fate, DropReason> {
        let sequence = ticket.sequence;
        let Some(slot) = self.slots.get_mut(ticket.tunnel) else { return Err(DropReason::SaUnusable) };
        let found = look(slot, parcel, self.config.clamp_mss)?;
        let Some(tunnel) = &mut slot.tunnel else { return Err(DropReason::SaUnusable) };
        let place = found.place();
        let (start, len) = (place.start as u16, place.len() as u16);
        let inner = parcel.room.get_mut(place).unwrap_or_default();
        if let Inside::Other(_, inside) = &found
            && self.config.clamp_mss
            && is_syn(inner, inside)
        {
            let mtu = tunnel.mtu_of(outlet, slot.spec.outer.destination, inner);
            clamp(inner, inside, mtu);
        }
        // None that nobody holds a lease for: whoever takes over would let it in again.
        if !tunnel.inbound.admit(sequence, &mut self.leases) {
            let counters = self.counters.of(slot.counters);
            // All of a burst wait for one commit: what came twice in it need not wait twice.
            if tunnel.to_admit.iter().any(|waiting| waiting.sequence == sequence) {
                return Err(DropReason::EspReplayed);
            }
            let Some(packet) = self.spares.keep(inner) else {
                add(&counters.wait_full, 1);
                return Err(DropReason::SaPending);
            };
            add(&counters.waited, 1);
            tunnel.to_admit.push_back(Opened { sequence, from: None, packet });
            return Ok(Fate::Taken);
        }
        tunnel.let_in(sequence, len.into())?;
        if let Some(child) = &mut slot.child {
            child.heard = true;
        }
        let counts = tally.of(slot.counters, &self.counters);
        counts.packets_in += 1;
        counts.bytes_in += u64::from(len);
        match found {
            Inside::Dummy => counts.dummies_in += 1,
            Inside::Plain(_, plain) => {
                show(&mut self.tap, outlet, slot.spec.inbound.spi, Way::OutOf, inner);
                guests.add(Guest { place: ticket.place, start, len }, (plain.src, plain.dst));
            }
            Inside::Other(place, _) => {
                show(&mut self.tap, outlet, slot.spec.inbound.spi, Way::OutOf, inner);
                self.send_on(outlet, parcel, place);
                return Ok(parcel.fate);
            }
        }
        Ok(Fate::Taken)
    }

    /// Has those sent on that the policies allow.
    pub(super) fn send_guests(&mut self, outlet: &mut dyn Outlet, guests: &Guests, parcels: &mut [Parcel<'_>]) {
        let hosts = &guests.hosts[..guests.count];
        let on = if hosts.is_empty() { 0 } else { outlet.lets_on_all(hosts) };
        for (guest, bit) in guests.all[..guests.count].iter().zip(0..) {
            let Some(parcel) = parcels.get_mut(usize::from(guest.place)) else { continue };
            let Guest { start, len, .. } = *guest;
            let from = usize::from(start);
            let inner = parcel.room.get_mut(from..from + usize::from(len)).unwrap_or_default();
            if on >> bit & 1 == 1 && inner.first_chunk_mut().is_some_and(wire::age_v4) {
                parcel.fate = Fate::Sent { start, len };
            } else {
                self.send_on(outlet, parcel, from..from + usize::from(len));
            }
        }
    }

    /// Has a packet that was let in sent on, whatever it is. It may be for the cluster itself.
    #[cold]
    fn send_on(&mut self, outlet: &mut dyn Outlet, parcel: &mut Parcel<'_>, place: Range<usize>) {
        let (start, len) = (place.start as u16, place.len() as u16);
        let inner = parcel.room.get_mut(place).unwrap_or_default();
        if summarise_l3(inner).is_ok_and(|summary| outlet.lets_on(&summary, inner)) {
            parcel.fate = Fate::Sent { start, len };
            return;
        }
        parcel.fate = Fate::Taken;
        let Some(slot) = self.slots.find(parcel.spi).and_then(|number| self.slots.get(number)) else { return };
        if !forward(outlet, slot.spec.unit(), inner) {
            add(&self.counters.of(slot.counters).not_sent, 1);
        }
    }
}

impl Guests {
    pub(super) fn new() -> Self {
        Self { all: [Guest { place: 0, start: 0, len: 0 }; BURST], hosts: [(0, 0); BURST], count: 0 }
    }

    #[inline]
    fn add(&mut self, guest: Guest, hosts: (u32, u32)) {
        let at = self.count % BURST;
        (self.all[at], self.hosts[at]) = (guest, hosts);
        self.count = at + 1;
    }
}

impl Inside {
    /// Where it lies in the buffer.
    fn place(&self) -> Range<usize> {
        match self {
            Self::Dummy => 0..0,
            Self::Plain(place, _) | Self::Other(place, _) => place.clone(),
        }
    }
}

/// What was in an opened packet. The place is one in the buffer.
#[inline]
fn look(slot: &Slot, parcel: &mut Parcel<'_>, clamps: bool) -> Result<Inside, DropReason> {
    let Some(tunnel) = slot.tunnel.as_deref() else { return Err(DropReason::SaUnusable) };
    let Form::Esp { decap, .. } = &tunnel.form else { return Err(DropReason::SaUnusable) };
    let start = usize::from(parcel.start);
    let packet = parcel.room.get_mut(start..start + usize::from(parcel.len)).unwrap_or_default();
    let tos = bytes::u8_at(packet, TOS_AT);
    if let Some(selectors) = &tunnel.plain
        && let Some((at, plain)) = plain_in(decap.carried_at(packet, ipv4::HEADER_LEN)?, packet, tos, clamps)
    {
        let allowed = selectors.allow_v4(plain.src, plain.dst);
        let place = start + at..start + at + usize::from(plain.len);
        return if allowed { Ok(Inside::Plain(place, plain)) } else { Err(DropReason::PolicyMismatch) };
    }
    let Some((place, summary)) = decap.unwrap_from(packet, ipv4::HEADER_LEN, tos)? else { return Ok(Inside::Dummy) };
    let allowed = match &tunnel.plain {
        Some(plain) => plain.allow(summary.family, summary.src, summary.dst),
        None => slot.spec.selectors.allow(&summary),
    };
    if !allowed {
        return Err(DropReason::PolicyMismatch);
    }
    Ok(Inside::Other(start + place.start..start + place.end, summary))
}

/// The packet in an opened one, and where it begins, if it is one of the plainest, with which nothing is to be done but to send it on.
#[inline]
fn plain_in(carried: esp::Carried, packet: &[u8], outer_tos: u8, clamps: bool) -> Option<(usize, PlainV4)> {
    if carried.next_header != proto::IPV4 {
        return None;
    }
    let inner = packet.get(carried.start..carried.start + carried.len)?;
    let plain = plain_v4(inner)?;
    let marked = ecn::combine(plain.tos, outer_tos) != Some(plain.tos & ecn::MASK);
    let odd = marked || clamps && is_syn_v4(inner);
    (!odd).then_some((carried.start, plain))
}
