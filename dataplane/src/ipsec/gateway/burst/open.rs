//! From the peer: looked at before they are opened, and let in after that. Those with which nothing is to be done but to send them on are
//! guests: the policies are asked about all of them at once.

use std::ops::Range;

use super::{BURST, Batch, DESTINATION_AT, Run, Ticket};
use crate::app::{Fate, Outlet, Parcel, Way};
use crate::drop_reason::DropReason;
use crate::ipsec::crypto::Job;
use crate::ipsec::decap::Decap;
use crate::ipsec::ecn;
use crate::ipsec::esp;
use crate::ipsec::gateway::Gateway;
use crate::ipsec::gateway::clamp::{clamp, is_syn, is_syn_v4};
use crate::ipsec::gateway::form::Form;
use crate::ipsec::gateway::inbound::forward;
use crate::ipsec::gateway::spec::TunnelSpec;
use crate::ipsec::gateway::tally::{Counts, Tally};
use crate::ipsec::gateway::tap::{Tap, show};
use crate::ipsec::gateway::tunnel::{Opened, Tunnel};
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

impl Gateway {
    /// Looks at packets of a tunnel, the first of which is the burst's `first`, and refuses those that cannot be opened; answers how many.
    #[inline(never)]
    pub(super) fn begin_opening<'p>(
        &mut self,
        number: usize,
        (first, parcels): (u8, &'p mut [Parcel<'_>]),
        batch: &mut Batch<'p, '_>,
    ) -> usize {
        let Some(tunnel) = self.slots.tunnel(number) else { return 0 };
        let Form::Esp { decap, .. } = &tunnel.form else { return 0 };
        if !tunnel.form.is_hop() {
            return 0;
        }
        let mut begun = 0;
        for (parcel, place) in parcels.iter_mut().zip(first..) {
            let packet = parcel.packet();
            if Some(bytes::u32_at(packet, DESTINATION_AT)) != tunnel.source {
                break;
            }
            let Some((_, low)) = packet.get(ipv4::HEADER_LEN..).and_then(esp::header) else { break };
            let esp_len = packet.len() - ipv4::HEADER_LEN;
            let number = tunnel.whole(low).filter(|number| tunnel.window.check(*number).is_ok());
            let start = usize::from(parcel.start) + ipv4::HEADER_LEN;
            match number {
                Some(sequence) if decap.shape().check(esp_len).is_ok() => {
                    let esp = parcel.room.get_mut(start..start + esp_len).unwrap_or_default();
                    batch.add(Job::new(esp, (sequence >> u32::BITS) as u32), Ticket { sequence, place });
                }
                Some(_) => parcel.fate = Fate::Dropped(DropReason::EspMalformed),
                // It is opened all the same, for what it shows.
                None if tunnel.may_be_behind() => break,
                None => parcel.fate = Fate::Dropped(DropReason::EspReplayed),
            }
            begun += 1;
        }
        begun
    }

    /// What becomes of a tunnel's packets that were to be opened; those of which the policies are to be asked become guests.
    pub(super) fn end_opening(
        &mut self,
        outlet: &mut dyn Outlet,
        (run, tickets, done): (&Run, &[Ticket], u32),
        parcels: &mut [Parcel<'_>],
        guests: &mut Guests,
        tally: &mut Tally,
    ) {
        let mut at = 0;
        while at < tickets.len() {
            at += self.let_plain_in(outlet, run.tunnel, (&tickets[at..], done >> at), parcels, guests, tally);
            let Some(ticket) = tickets.get(at) else { break };
            if let Some(parcel) = parcels.get_mut(usize::from(ticket.place)) {
                let fate = match done >> at & 1 == 1 {
                    true => self.let_in(outlet, (run.tunnel, ticket), parcel, tally),
                    false => Err(DropReason::EspBadIcv),
                };
                parcel.fate = fate.unwrap_or_else(Fate::Dropped);
            }
            at += 1;
        }
    }

    /// Lets packets in that were opened, and makes guests of them, as long as they are the plainest; answers how many those were.
    #[inline(never)]
    fn let_plain_in(
        &mut self,
        outlet: &dyn Outlet,
        number: usize,
        (tickets, done): (&[Ticket], u32),
        parcels: &mut [Parcel<'_>],
        guests: &mut Guests,
        tally: &mut Tally,
    ) -> usize {
        let Some(slot) = self.slots.get_mut(number) else { return 0 };
        let Some(tunnel) = slot.tunnel.as_deref_mut() else { return 0 };
        let (Form::Esp { decap, .. }, Some(selectors)) = (&tunnel.form, &tunnel.plain) else { return 0 };
        let is_shown = self.tap.as_ref().is_some_and(Tap::is_wanted);
        let (mut count, mut bytes, mut highest) = (0, 0, 0);
        for (ticket, at) in tickets.iter().zip(0_u32..) {
            let Some(parcel) = parcels.get_mut(usize::from(ticket.place)).filter(|_| done >> at & 1 == 1) else {
                break;
            };
            let Some((guest, hosts)) = look(decap, parcel, ticket.place, self.config.clamp_mss) else { break };
            // None that nobody holds a lease for: whoever takes over would let it in again.
            let may_come = selectors.allow_v4(hosts.0, hosts.1) && tunnel.inbound.admits(ticket.sequence);
            if !may_come || tunnel.window.accept(ticket.sequence).is_err() {
                break;
            }
            if is_shown {
                show(&mut self.tap, outlet, slot.spec.inbound.spi, Way::OutOf, guest.packet(parcel));
            }
            guests.add(guest, hosts);
            (count, bytes, highest) = (count + 1, bytes + u64::from(guest.len), ticket.sequence.max(highest));
        }
        if count > 0 {
            tunnel.inbound.admit_many(count, highest, &mut self.leases);
            tunnel.carried.received = tunnel.carried.received.saturating_add(bytes);
            if let Some(child) = &mut slot.child {
                child.heard = true;
            }
            let counts = Counts { packets_in: count, bytes_in: bytes, ..Counts::default() };
            tally.add(slot.counters, counts, &self.counters);
        }
        count as usize
    }

    /// What becomes of a packet that was opened, whatever it is.
    #[cold]
    fn let_in(
        &mut self,
        outlet: &mut dyn Outlet,
        (number, ticket): (usize, &Ticket),
        parcel: &mut Parcel<'_>,
        tally: &mut Tally,
    ) -> Result<Fate, DropReason> {
        let sequence = ticket.sequence;
        let Some(slot) = self.slots.get_mut(number) else { return Err(DropReason::SaUnusable) };
        let Some(tunnel) = &mut slot.tunnel else { return Err(DropReason::SaUnusable) };
        let found = unwrap(&slot.spec, tunnel, parcel)?;
        let place = found.as_ref().map_or(0..0, |(place, _)| place.clone());
        let inner = parcel.room.get_mut(place.clone()).unwrap_or_default();
        if let Some((_, inside)) = &found
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
        tunnel.let_in(sequence, inner.len())?;
        if let Some(child) = &mut slot.child {
            child.heard = true;
        }
        let (bytes_in, dummies_in) = (inner.len() as u64, found.is_none().into());
        let counts = Counts { packets_in: 1, bytes_in, dummies_in, ..Counts::default() };
        tally.add(slot.counters, counts, &self.counters);
        if found.is_none() {
            return Ok(Fate::Taken);
        }
        show(&mut self.tap, outlet, slot.spec.inbound.spi, Way::OutOf, inner);
        self.send_on(outlet, parcel, place);
        Ok(parcel.fate)
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

impl Guest {
    fn packet<'p>(&self, parcel: &'p Parcel<'_>) -> &'p [u8] {
        let start = usize::from(self.start);
        parcel.room.get(start..start + usize::from(self.len)).unwrap_or_default()
    }
}

/// The packet in an opened one, with source and destination, if it is one of the plainest.
#[inline]
fn look(decap: &Decap, parcel: &Parcel<'_>, place: u8, clamps: bool) -> Option<(Guest, (u32, u32))> {
    let packet = parcel.packet();
    let carried = decap.carried_at(packet, ipv4::HEADER_LEN).ok()?;
    let (at, plain) = plain_in(carried, packet, bytes::u8_at(packet, TOS_AT), clamps)?;
    Some((Guest { place, start: parcel.start + at as u16, len: plain.len }, (plain.src, plain.dst)))
}

/// What was in an opened packet, and where that lies in the buffer. None: nothing, it is a dummy.
fn unwrap(
    spec: &TunnelSpec,
    tunnel: &Tunnel,
    parcel: &mut Parcel<'_>,
) -> Result<Option<(Range<usize>, Summary)>, DropReason> {
    let Form::Esp { decap, .. } = &tunnel.form else { return Err(DropReason::SaUnusable) };
    let start = usize::from(parcel.start);
    let packet = parcel.room.get_mut(start..start + usize::from(parcel.len)).unwrap_or_default();
    let tos = bytes::u8_at(packet, TOS_AT);
    let Some((place, summary)) = decap.unwrap_from(packet, ipv4::HEADER_LEN, tos)? else { return Ok(None) };
    let allowed = match &tunnel.plain {
        Some(plain) => plain.allow(summary.family, summary.src, summary.dst),
        None => spec.selectors.allow(&summary),
    };
    if !allowed {
        return Err(DropReason::PolicyMismatch);
    }
    Ok(Some((start + place.start..start + place.end, summary)))
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
