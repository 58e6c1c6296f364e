//! Several packets at once: those of a burst that go through one tunnel are sealed, or opened, by one call of its engine, where
//! they lie.
//!
//! Here is only what is done to nearly all packets. Where one needs more (a number that is not leased, a sleeping tunnel that does
//! not wake up, AH, transport mode, a SYN whose MSS is too large, a sender that is to be told of a smaller MTU), it is left as it is with all that follow in its tunnel, and comes
//! again by itself (`outbound`, `inbound`). A packet that was opened cannot be left: with it everything is done that `inbound` does.

use std::ops::Range;

use dpdk::prefetch::{prefetch, prefetch_first};

use super::Gateway;
use super::clamp::{clamp, is_syn, is_syn_v4};
use super::form::Form;
use super::inbound::forward;
use super::slots::Slot;
use super::tally::Tally;
use super::tap::show;
use super::tunnel::{HOT, Opened, Tunnel};
use crate::app::{Fate, Outlet, Parcel, Way};
use crate::drop_reason::DropReason;
use crate::ipsec::crypto::{Job, Numbers, Session};
use crate::ipsec::encap::{Draws, Encap};
use crate::ipsec::esp::{self, Layout};
use crate::parse::Summary;
use crate::tallies::add;
use crate::wire::{bytes, ipv4};

/// Packets of one tunnel that are looked at together; more are left for later.
const BURST: usize = 32;
/// Many fewer.
const FEW: usize = 4;
/// Tunnels that are fetched at once.
const AHEAD: usize = 8;
/// What the longest header of a link takes.
const LINK_ROOM: usize = 18;
const TOS_AT: usize = 1;
const FRAGMENT_AT: usize = 6;
const SOURCE_AT: usize = 12;
const DESTINATION_AT: usize = 16;

/// A packet that is to be sealed: where, and what is different in it.
struct Planned {
    /// What it will be, in the buffer.
    place: Range<usize>,
    layout: Layout,
}

impl Gateway {
    /// Takes in packets of tunnels of ours, those of one tunnel and way side by side.
    pub(super) fn take_parcels(&mut self, outlet: &mut dyn Outlet, parcels: &mut [Parcel<'_>]) {
        let mut tally = Tally::default();
        let (mut rest, mut ahead) = (parcels, 0);
        while let Some((spi, way)) = rest.first().map(|parcel| (parcel.spi, parcel.way)) {
            if ahead == 0 {
                ahead = self.fetch(rest);
            }
            ahead -= 1;
            let len = rest.iter().take_while(|parcel| (parcel.spi, parcel.way) == (spi, way)).count();
            let (run, others) = rest.split_at_mut(len);
            self.take_run(outlet, (spi, way), run, &mut tally);
            rest = others;
        }
        tally.add_to(&self.counters);
        self.settle(outlet);
    }

    /// Takes in packets of one tunnel and way.
    fn take_run(&mut self, outlet: &mut dyn Outlet, (spi, way): (u32, Way), run: &mut [Parcel<'_>], tally: &mut Tally) {
        // Room for a whole burst costs as much to make as all else that is done for one packet.
        match (way, run.len()) {
            (Way::Into, 1) => self.seal_run::<1>(outlet, spi, run, tally),
            (Way::Into, 2..=FEW) => self.seal_run::<FEW>(outlet, spi, run, tally),
            (Way::Into, _) => self.seal_run::<BURST>(outlet, spi, run, tally),
            (Way::OutOf, 1) => self.open_run::<1>(outlet, spi, run, tally),
            (Way::OutOf, 2..=FEW) => self.open_run::<FEW>(outlet, spi, run, tally),
            (Way::OutOf, _) => self.open_run::<BURST>(outlet, spi, run, tally),
        }
    }

    /// Fetches what is known of the next packets' tunnels into the cache: of many tunnels it is elsewhere as a rule, and lies behind one
    /// pointer after another. So all tunnels' first steps come before the first one's second.
    /// Answers how many tunnels it looked at: no more than the nearest cache holds.
    fn fetch(&self, parcels: &[Parcel<'_>]) -> usize {
        let mut numbers = [(usize::MAX, Way::Into); AHEAD];
        let mut count = 0;
        let runs = parcels.chunk_by(|one, other| (one.spi, one.way) == (other.spi, other.way)).filter_map(<[_]>::first);
        for (place, parcel) in numbers.iter_mut().zip(runs) {
            count += 1;
            if let Some(number) = self.slots.find(parcel.spi) {
                self.slots.prefetch(number);
                *place = (number, parcel.way);
            }
        }
        if count == 1 {
            return count;
        }
        let tunnels = || {
            let slots = numbers.iter().filter_map(|(number, way)| Some((self.slots.get(*number)?, way)));
            slots.filter_map(|(slot, way)| Some((slot.tunnel.as_deref()?, *way, slot.counters)))
        };
        tunnels().for_each(|(tunnel, _, counters)| {
            prefetch_first(tunnel, HOT);
            prefetch(self.counters.of(counters));
        });
        tunnels().for_each(|(tunnel, way, _)| prefetch(session_of(tunnel, way)));
        tunnels().for_each(|(tunnel, way, _)| session_of(tunnel, way).prefetch());
        count
    }

    /// Seals up to `N` packets of a tunnel.
    fn seal_run<const N: usize>(
        &mut self,
        outlet: &mut dyn Outlet,
        spi: u32,
        run: &mut [Parcel<'_>],
        tally: &mut Tally,
    ) {
        let Some(number) = self.way_of(outlet, spi) else { return };
        if self.wake(outlet, number).is_err() {
            return;
        }
        let (Some(nonces), Some(slot)) = (self.ivs.of(outlet.incarnation()), self.slots.get_mut(number)) else {
            return;
        };
        let Some(tunnel) = slot.tunnel.as_deref_mut().filter(|tunnel| tunnel.to_seal.is_empty()) else { return };
        let Form::Esp { encap, .. } = &tunnel.form else { return };
        if !tunnel.form.is_hop() {
            return;
        }
        let clamps = self.config.clamp_mss;
        let mtu = || outlet.mtu_towards(slot.spec.outer.destination).map_or(usize::MAX, |mtu| encap.mtu(mtu.into(), 0));
        let mtu = if run.iter().any(must_be_whole) { mtu() } else { usize::MAX };
        let mut jobs: [Job<'_>; N] = std::array::from_fn(|_| Job::new(&mut [], 0));
        let (mut count, mut bytes) = (0, 0);
        for (parcel, job) in run.iter_mut().zip(&mut jobs) {
            let Some(planned) = plan(encap, parcel, mtu) else { break };
            if clamps && is_syn_v4(parcel.packet()) {
                break;
            }
            let Some(sequence) = tunnel.outbound.take(&mut self.leases) else { break };
            if tunnel.numbers == Numbers::Short && sequence > u64::from(u32::MAX) {
                break;
            }
            let Some(nonce) = nonces.take(&mut tunnel.draw) else { break };
            tunnel.id = tunnel.id.wrapping_add(1);
            show(&mut self.tap, outlet, slot.spec.inbound.spi, Way::Into, parcel.packet());
            count += 1;
            bytes += u64::from(parcel.len);
            parcel.fate = Fate::Taken;
            let (start, len) = (planned.place.start as u16, planned.place.len() as u16);
            if let Some(esp) = write(encap, parcel.room, planned, Draws { sequence, nonce, id: tunnel.id }) {
                parcel.fate = Fate::Sent { start, len };
                *job = Job::new(esp, (sequence >> u32::BITS) as u32);
            }
        }
        if count == 0 {
            return;
        }
        tunnel.sealer.process(&mut jobs[..count]);
        let done = done_of(&jobs);
        let mut lost = 0;
        for (parcel, place) in run.iter_mut().zip(0..count) {
            let done = done >> place & 1 == 1;
            match parcel.fate {
                Fate::Sent { start, len } if done => {
                    let start = usize::from(start);
                    encap.finish(parcel.room.get_mut(start..start + usize::from(len)).unwrap_or_default());
                }
                _ => {
                    parcel.fate = Fate::Taken;
                    (lost, bytes) = (lost + 1, bytes - u64::from(parcel.len));
                }
            }
        }
        tunnel.carried.sent += bytes;
        let counts = tally.of(slot.counters, &self.counters);
        counts.packets_out += count as u64 - lost;
        counts.bytes_out += bytes;
        counts.not_sent += lost;
        self.renew(outlet, number, None);
    }

    /// Opens up to `N` packets of a tunnel.
    fn open_run<const N: usize>(
        &mut self,
        outlet: &mut dyn Outlet,
        spi: u32,
        run: &mut [Parcel<'_>],
        tally: &mut Tally,
    ) {
        let Some(number) = self.find(outlet, spi) else { return };
        if self.wake(outlet, number).is_err() {
            return;
        }
        let Some(slot) = self.slots.get_mut(number) else { return };
        let Some(tunnel) = slot.tunnel.as_deref_mut() else { return };
        let Form::Esp { decap, .. } = &tunnel.form else { return };
        if !tunnel.form.is_hop() {
            return;
        }
        let mut jobs: [Job<'_>; N] = std::array::from_fn(|_| Job::new(&mut [], 0));
        let mut sequences = [0; N];
        let mut places = [0_u8; N];
        let mut count = 0;
        for (place, parcel) in run.iter_mut().enumerate().take(N) {
            let packet = parcel.packet();
            if Some(bytes::u32_at(packet, DESTINATION_AT)) != tunnel.source {
                break;
            }
            let Some((_, low)) = packet.get(ipv4::HEADER_LEN..).and_then(esp::header) else { break };
            let esp_len = packet.len() - ipv4::HEADER_LEN;
            let sequence = tunnel.whole(low).ok_or(DropReason::EspReplayed);
            let sequence = sequence.and_then(|number| tunnel.window.check(number).map(|()| number).map_err(Into::into));
            let sequence = sequence.and_then(|number| Ok(decap.shape().check(esp_len).map(|()| number)?));
            match sequence {
                Ok(sequence) => {
                    let start = usize::from(parcel.start) + ipv4::HEADER_LEN;
                    let esp = parcel.room.get_mut(start..start + esp_len).unwrap_or_default();
                    jobs[count] = Job::new(esp, (sequence >> u32::BITS) as u32);
                    (sequences[count], places[count]) = (sequence, place as u8);
                    count += 1;
                }
                Err(reason) => parcel.fate = Fate::Dropped(reason),
            }
        }
        if count == 0 {
            return;
        }
        tunnel.opener.process(&mut jobs[..count]);
        let done = done_of(&jobs);
        tell_hosts(outlet, tunnel, run);
        for (job, (place, sequence)) in places.into_iter().zip(sequences).enumerate().take(count) {
            let Some(parcel) = run.get_mut(usize::from(place)) else { break };
            parcel.fate = if done >> job & 1 == 1 {
                self.let_in(outlet, number, sequence, parcel, tally).unwrap_or_else(Fate::Dropped)
            } else {
                Fate::Dropped(DropReason::EspBadIcv)
            };
        }
        self.renew(outlet, number, None);
    }

    /// What becomes of a packet that was opened.
    #[inline]
    fn let_in(
        &mut self,
        outlet: &mut dyn Outlet,
        number: usize,
        sequence: u64,
        parcel: &mut Parcel<'_>,
        tally: &mut Tally,
    ) -> Result<Fate, DropReason> {
        let Some(slot) = self.slots.get_mut(number) else { return Err(DropReason::SaUnusable) };
        let found = look(slot, parcel)?;
        let Some(tunnel) = &mut slot.tunnel else { return Err(DropReason::SaUnusable) };
        let counters = self.counters.of(slot.counters);
        let place = found.as_ref().map_or(0..0, |(place, _)| place.clone());
        let (start, len) = (place.start as u16, place.len() as u16);
        let inner = parcel.room.get_mut(place).unwrap_or_default();
        if let Some((_, inside)) = found.as_ref().filter(|(_, inside)| self.config.clamp_mss && is_syn(inner, inside)) {
            let mtu = tunnel.form.mtu_towards(outlet, slot.spec.outer.destination, inner);
            clamp(inner, inside, mtu);
        }
        // None that nobody holds a lease for: whoever takes over would let it in again.
        if !tunnel.inbound.admit(sequence, &mut self.leases) {
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
        tunnel.window.accept(sequence)?;
        if let Some(child) = &mut slot.child {
            child.heard = true;
        }
        let counts = tally.of(slot.counters, &self.counters);
        counts.packets_in += 1;
        let Some((_, summary)) = found else {
            counts.dummies_in += 1;
            return Ok(Fate::Taken);
        };
        show(&mut self.tap, outlet, slot.spec.inbound.spi, Way::OutOf, inner);
        tunnel.carried.received += u64::from(len);
        counts.bytes_in += u64::from(len);
        if outlet.lets_on(&summary, inner) {
            return Ok(Fate::Sent { start, len });
        }
        // It may be for the cluster itself.
        counts.not_sent += u64::from(!forward(outlet, slot.spec.unit(), inner));
        Ok(Fate::Taken)
    }
}

/// What works on a tunnel's packets that go this way.
fn session_of(tunnel: &Tunnel, way: Way) -> &dyn Session {
    match way {
        Way::Into => &*tunnel.sealer,
        Way::OutOf => &*tunnel.opener,
    }
}

/// Tells which hosts the packets that were opened are of, as far as that is where it is in ordinary ones. They may yet be none.
fn tell_hosts(outlet: &dyn Outlet, tunnel: &Tunnel, run: &[Parcel<'_>]) {
    let Form::Esp { decap, .. } = &tunnel.form else { return };
    let at = ipv4::HEADER_LEN + decap.shape().body_at();
    for packet in run.iter().map(Parcel::packet) {
        outlet.will_ask(bytes::u32_at(packet, at + SOURCE_AT), bytes::u32_at(packet, at + DESTINATION_AT));
    }
}

/// Which jobs were done, a bit each.
#[inline]
fn done_of(jobs: &[Job<'_>]) -> u32 {
    jobs.iter().zip(0..).fold(0, |done, (job, place)| done | u32::from(job.done) << place)
}

/// Whether a packet must not be fragmented.
#[inline]
fn must_be_whole(parcel: &Parcel<'_>) -> bool {
    bytes::u16_at(parcel.packet(), FRAGMENT_AT) & ipv4::DONT_FRAGMENT != 0
}

/// Where a packet will lie when it is sealed. None: it must be looked at more closely.
#[inline]
fn plan(encap: &Encap, parcel: &Parcel<'_>, mtu: usize) -> Option<Planned> {
    let packet = parcel.packet();
    if packet.len() > mtu && must_be_whole(parcel) {
        return None;
    }
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

/// What was in an opened packet; none in a dummy. The place is one in the buffer.
#[inline]
fn look(slot: &Slot, parcel: &mut Parcel<'_>) -> Result<Option<(Range<usize>, Summary)>, DropReason> {
    let Some(tunnel) = slot.tunnel.as_deref() else { return Err(DropReason::SaUnusable) };
    let Form::Esp { decap, .. } = &tunnel.form else { return Err(DropReason::SaUnusable) };
    let start = usize::from(parcel.start);
    let packet = parcel.room.get_mut(start..start + usize::from(parcel.len)).unwrap_or_default();
    let tos = bytes::u8_at(packet, TOS_AT);
    let Some((place, summary)) = decap.unwrap_from(packet, ipv4::HEADER_LEN, tos)? else { return Ok(None) };
    let Summary { family, src, dst, .. } = summary;
    let allowed = match &tunnel.plain {
        Some(plain) => plain.allow(family, src, dst),
        None => slot.spec.selectors.allow(&summary),
    };
    if !allowed {
        return Err(DropReason::PolicyMismatch);
    }
    Ok(Some((start + place.start..start + place.end, summary)))
}
