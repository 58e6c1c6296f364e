//! Ordinary packets of tunnels, a burst at a time.
//!
//! Where there are tunnels, the first look ([`super::fast`]) is followed by a second one: a packet between hosts that belongs into a
//! tunnel is of the unit in the tunnel's SPI, and so is one that comes out of it. Those of our units wait for one another like
//! all ordinary packets of ours, are put side by side by tunnel if that is of use, and given to the app that has the tunnels in one
//! call; what it makes of them is sent. Whatever it leaves as it was takes the careful way, in its place.

use dpdk::{Burst, Mbuf};

use super::Worker;
use super::fast::{BURST, Look};
use super::packet::Packet;
use super::path::Path;
use super::routes::Adjacency;
use super::shared::Loads;
use super::transmit::Kind;
use crate::app::{Fate, Parcel, Way};
use crate::filter::Scheme;
use crate::ipsec::gateway::Passing;
use crate::port::PortIndex;
use crate::steer::code;
use crate::unit::Unit;
use crate::wire::{EtherType, bytes, ipv4};

/// Ethernet header and IPv4 header: before them nothing of a tunnel's.
const L3_AT: u16 = 14;
const SPI_AT: usize = 34;
/// In an IPv4 packet.
const DESTINATION_AT: usize = 16;

/// The tunnels that a burst's packets go through, by place in the look.
pub(super) struct Bound {
    /// Inbound SPI and way; none: through no tunnel.
    ways: [Option<(u32, Way)>; BURST],
    /// Whether all go through tunnels of ours.
    pub(super) whole: bool,
}

impl Default for Bound {
    fn default() -> Self {
        Self { ways: [None; BURST], whole: false }
    }
}

impl Bound {
    /// Whether a packet goes through a tunnel.
    #[inline]
    pub(super) fn has(&self, place: usize) -> bool {
        self.ways.get(place).is_some_and(Option::is_some)
    }
}

impl Worker {
    /// Says what to do with a burst that was looked at, where there are tunnels. Answers the code that all its packets have, if all are
    /// ordinary and go through none.
    #[inline]
    pub(super) fn look_for_tunnels(&mut self, burst: &Burst<BURST>) -> Option<u8> {
        let (Self { look, bound, path, steering, filter, .. }, mut any, mut all) = (self, 0, !0);
        let by_spi = filter.scheme() == Scheme::Steered;
        let (mut tunnels, mut whole) = (false, true);
        let mut is_for_cluster = path.addresses.asking_for_cluster();
        bound.whole = false;
        for (i, mbuf) in burst.iter().enumerate().take(BURST) {
            bound.ways[i] = None;
            let (source, destination) = look.hosts(i)?;
            let near = look.is_near(i, &path.addresses);
            let way = match () {
                () if look.is_odd(i) => None,
                () if near && by_spi && look.is_whole_esp(i) && is_for_cluster(source, destination) => {
                    let spi = bytes::u32_at(mbuf.data(), SPI_AT);
                    (spi > 255).then_some((spi, Way::OutOf))
                }
                () if near && path.addresses.have_either(source, destination) => None,
                () => match path.book.judge_v4(source, destination) {
                    Some(Passing::Into(spi)) if look.has_hops(i) => Some((spi, Way::Into)),
                    Some(Passing::Clear) => {
                        let code = steering.codes()[look.units[i].index()];
                        look.codes[i] = code;
                        (any, all, whole) = (any | code, all & code, false);
                        continue;
                    }
                    _ => None,
                },
            };
            look.codes[i] = code::SLOW;
            if let Some((spi, way)) = way {
                let unit = Unit::from_low_bits(spi);
                let code = steering.codes()[unit.index()];
                // What is others' and comes to the cluster itself is remembered for a while, the careful way.
                if way == Way::Into || code == code::MINE {
                    (look.units[i], look.codes[i], bound.ways[i]) = (unit, code, Some((spi, way)));
                }
            }
            whole &= look.codes[i] == code::MINE;
            tunnels = true;
        }
        bound.whole = whole;
        (!tunnels && any == all).then_some(any)
    }
}

impl Path {
    /// Has packets of ours go through their tunnels: `places` says which of the look's they are.
    pub(super) fn pass_tunnels(
        &mut self,
        burst: &mut Burst<BURST>,
        places: &mut [u8; BURST],
        look: &Look,
        bound: &Bound,
        port: PortIndex,
    ) {
        if burst.is_empty() {
            return;
        }
        if self.apps.get(self.tunnels_app).is_some_and(|app| app.wants_side_by_side()) {
            put_side_by_side(burst, places, bound);
        }
        let fates = self.offer_parcels(burst, places, look, bound);
        if self.send_whole(burst, &fates, places, look) {
            return;
        }
        let mut delivered = 0;
        let mut ready = Burst::<BURST>::new();
        for ((mut mbuf, fate), place) in burst.drain().zip(fates).zip(&*places) {
            let place = usize::from(*place) % BURST;
            if fate == Fate::Untouched {
                self.send_parcels(&mut ready);
                self.process_packet(look.units[place], Packet { mbuf, port });
                continue;
            }
            self.load(look.units[place], look.frame_len(place));
            match fate {
                Fate::Sent { start, len } => {
                    delivered += 1;
                    match mbuf.set_data(start, len) {
                        Some(()) => drop(ready.push(mbuf)),
                        None => self.lose_own(),
                    }
                }
                Fate::Dropped(reason) => self.drop_packet(mbuf, reason),
                Fate::Taken | Fate::Untouched => delivered += 1,
            }
        }
        self.send_parcels(&mut ready);
        self.counters.delivered.add(delivered);
    }

    /// Sends a burst of packets that were all sealed or opened, if all go to one next hop, as they mostly do. False: nothing is done.
    fn send_whole(
        &mut self,
        burst: &mut Burst<BURST>,
        fates: &[Fate; BURST],
        places: &[u8; BURST],
        look: &Look,
    ) -> bool {
        let count = burst.len();
        let (mut destinations, mut plain, mut longest) = ([0; BURST], true, 0);
        for ((mbuf, fate), destination) in burst.iter().zip(fates).zip(&mut destinations) {
            let Fate::Sent { start, len } = *fate else { return false };
            let packet = mbuf.whole().get(usize::from(start)..usize::from(start) + usize::from(len));
            let header = packet.and_then(<[u8]>::first_chunk::<{ ipv4::HEADER_LEN }>);
            let Some(header) = header.filter(|_| start >= L3_AT && mbuf.is_contiguous()) else { return false };
            (plain, longest) = (plain & (header[0] >> 4 == 4), longest.max(len));
            *destination = bytes::u32_at(header, DESTINATION_AT);
        }
        let Some(next) = self.one_way(&destinations[..count]).filter(|_| plain) else { return false };
        let Some(path) = self.ports.get_mut(usize::from(next.port)).filter(|path| path.link_up) else { return false };
        if longest > next.mtu {
            return false;
        }
        let (mut sum, mut load) = (0, Load::new(&self.counters.loads, look.units[usize::from(places[0]) % BURST]));
        for ((mbuf, fate), place) in burst.iter_mut().zip(fates).zip(places) {
            let Fate::Sent { start, len } = *fate else { continue };
            if mbuf.set_data(start.saturating_sub(L3_AT), len.saturating_add(L3_AT)).is_some() {
                write_link_header(mbuf, &next);
            }
            sum += u64::from(mbuf.data_len());
            let place = usize::from(*place) % BURST;
            load.add(look.units[place], look.frame_len(place));
        }
        load.tell();
        self.counters.originated.add(count as u64);
        self.counters.delivered.add(count as u64);
        path.tx.push_all(burst, sum, self.lease_ok, &self.counters);
        self.sampled = Some(look.units[usize::from(places[0]) % BURST]);
        if self.fresh.any {
            places.iter().take(count).for_each(|place| self.note_first(look.units[usize::from(*place) % BURST]));
        }
        true
    }

    fn offer_parcels(
        &mut self,
        burst: &mut Burst<BURST>,
        places: &[u8; BURST],
        look: &Look,
        bound: &Bound,
    ) -> [Fate; BURST] {
        let count = burst.len();
        let mut last = None;
        for place in places.iter().take(count) {
            let unit = look.units[usize::from(*place) % BURST];
            if last.replace(unit) != Some(unit) {
                self.has_come(unit);
            }
        }
        let mut parcels = [const { Parcel::none() }; BURST];
        for ((parcel, mbuf), place) in parcels.iter_mut().zip(burst.iter_mut()).zip(places) {
            fill(parcel, mbuf, usize::from(*place) % BURST, look, bound);
        }
        let mut apps = std::mem::take(&mut self.apps);
        if let Some(app) = apps.get_mut(self.tunnels_app) {
            app.handle_parcels(self, &mut parcels[..count]);
        }
        self.apps = apps;
        let fates = std::array::from_fn(|at| parcels[at].fate);
        self.run_errands();
        fates
    }

    /// The next hop of all these destinations, of no more than a burst, if they have one and it is known.
    #[inline]
    fn one_way(&self, destinations: &[u32]) -> Option<Adjacency> {
        let (first, mut found) = (*destinations.first()?, [0; BURST]);
        if destinations.iter().all(|it| *it == first) {
            return self.cache.get(first).copied();
        }
        self.cache.find(destinations.iter().zip(&mut found));
        let together = found.iter().take(destinations.len()).all(|way| *way == found[0]);
        self.cache.adjacency(found[0]).filter(|_| together).copied()
    }

    /// Sends IP packets of the cluster's. Mostly all go to one next hop.
    fn send_parcels(&mut self, ready: &mut Burst<BURST>) {
        if ready.is_empty() {
            return;
        }
        let (mut destinations, mut plain) = ([0; BURST], true);
        for (mbuf, destination) in ready.iter().zip(&mut destinations) {
            let packet = mbuf.data();
            plain &= bytes::u8_at(packet, 0) >> 4 == 4;
            *destination = bytes::u32_at(packet, DESTINATION_AT);
        }
        let next = self.one_way(&destinations[..ready.len()]).filter(|_| plain);
        let sent = next.is_some_and(|next| self.send_together(ready, &next));
        if !sent {
            ready.drain().for_each(|mbuf| self.send_packet(mbuf));
        }
    }

    /// Sends IPv4 packets of the cluster's to one next hop. False, and nothing is done: one of them is too long, or has no room.
    fn send_together(&mut self, ready: &mut Burst<BURST>, next: &Adjacency) -> bool {
        let Some(path) = self.ports.get_mut(usize::from(next.port)).filter(|path| path.link_up) else { return false };
        let fits = |mbuf: &Mbuf| mbuf.data_len() <= next.mtu && mbuf.headroom() >= L3_AT && mbuf.is_contiguous();
        if !ready.iter().all(fits) {
            return false;
        }
        let mut sum = 0;
        for mbuf in ready.iter_mut() {
            if mbuf.prepend(L3_AT).is_some() {
                write_link_header(mbuf, next);
            }
            sum += u64::from(mbuf.data_len());
        }
        self.counters.originated.add(ready.len() as u64);
        path.tx.push_all(ready, sum, self.lease_ok, &self.counters);
        true
    }
}

/// What packets are counted for their units, kept until another unit's turn comes, and at last to be told.
struct Load<'c> {
    loads: &'c Loads,
    unit: Unit,
    packets: u64,
    bytes: u64,
}

impl<'c> Load<'c> {
    fn new(loads: &'c Loads, unit: Unit) -> Self {
        Self { loads, unit, packets: 0, bytes: 0 }
    }

    #[inline]
    fn add(&mut self, unit: Unit, bytes: u32) {
        if unit != self.unit {
            self.tell();
            (self.unit, self.packets, self.bytes) = (unit, 0, 0);
        }
        (self.packets, self.bytes) = (self.packets + 1, self.bytes + u64::from(bytes));
    }

    #[inline]
    fn tell(&self) {
        self.loads.of(self.unit).add_many(self.packets, self.bytes);
    }
}

/// Writes the first bytes of a frame that we have made.
#[inline]
fn write_link_header(mbuf: &mut Mbuf, next: &Adjacency) {
    if let Some(head) = mbuf.data_mut().first_chunk_mut::<{ L3_AT as usize }>() {
        head[..12].copy_from_slice(&next.header);
        head[12..].copy_from_slice(&EtherType::IPV4.0.to_be_bytes());
    }
    mbuf.set_tag(Kind::Originated as u32);
}

/// Those of one tunnel and way come together, in order, where the first of them is.
fn put_side_by_side(burst: &mut Burst<BURST>, places: &mut [u8; BURST], bound: &Bound) {
    let count = burst.len();
    let way_of = |place: u8| bound.ways[usize::from(place) % BURST];
    if places[..count].windows(2).all(|pair| way_of(pair[0]) == way_of(pair[1])) {
        return;
    }
    let from = *places;
    let order = order_of(count, |at| bound.ways[usize::from(from[at]) % BURST]);
    let mut waiting: [Option<Mbuf>; BURST] = std::array::from_fn(|_| None);
    waiting.iter_mut().zip(burst.drain()).for_each(|(slot, mbuf)| *slot = Some(mbuf));
    for at in order.into_iter().take(count).map(|at| usize::from(at) % BURST) {
        if let Some(mbuf) = waiting[at].take() {
            places[burst.len()] = from[at];
            drop(burst.push(mbuf));
        }
    }
}

/// In which order packets come: those of one way side by side, in order, where the first of them is.
fn order_of(count: usize, way_of: impl Fn(usize) -> Option<(u32, Way)>) -> [u8; BURST] {
    const NONE: u8 = BURST as u8;
    const PLACES: usize = 2 * BURST;
    // By hash: the first packet of a way. By packet: the last one of its way (kept with the first), and the next one.
    let mut firsts = [NONE; PLACES];
    let (mut last, mut next, mut leads) = ([NONE; BURST], [NONE; BURST], [false; BURST]);
    for (at, leads) in leads.iter_mut().enumerate().take(count) {
        let way = way_of(at);
        let key = way.map_or(0, |(spi, way)| spi << 1 | u32::from(way == Way::Into));
        let mut place = (key.wrapping_mul(0x9e37_79b1) >> 26) as usize % PLACES;
        while firsts[place] != NONE && way_of(usize::from(firsts[place])) != way {
            place = (place + 1) % PLACES;
        }
        match firsts[place] {
            NONE => (firsts[place], *leads) = (at as u8, true),
            first => {
                next[usize::from(last[usize::from(first) % BURST]) % BURST] = at as u8;
            }
        }
        last[usize::from(firsts[place]) % BURST] = at as u8;
    }
    let (mut order, mut done) = ([0; BURST], 0);
    for lead in (0..NONE).zip(leads).filter(|(_, leads)| *leads).map(|(at, _)| at) {
        let mut at = lead;
        while at != NONE {
            order[done % BURST] = at;
            (done, at) = (done + 1, next[usize::from(at) % BURST]);
        }
    }
    order
}

/// Says where a packet lies and which way it goes. One that goes none, or is not all in one buffer, stays nobody's.
#[inline]
fn fill<'m>(parcel: &mut Parcel<'m>, mbuf: &'m mut Mbuf, place: usize, look: &Look, bound: &Bound) {
    let (_, len) = look.ttl_word(place);
    let (Some((spi, way)), Ok(len)) = (bound.ways[place], u16::try_from(len)) else { return };
    if mbuf.data_len() < L3_AT.saturating_add(len) {
        return;
    }
    (parcel.start, parcel.len) = (mbuf.headroom() + L3_AT, len);
    (parcel.spi, parcel.way, parcel.room) = (spi, way, mbuf.whole_mut());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The order is what looking for each way's packets one after another would find.
        #[test]
        fn packets_of_one_way_come_side_by_side(
            ways in prop::collection::vec((0..40_u32, any::<bool>()), 0..=BURST), far in 0..31_u32,
        ) {
            let way_of = |at: usize| {
                let (number, into) = ways[at];
                Some((number << far | number, if into { Way::Into } else { Way::OutOf }))
            };
            let mut expected: Vec<usize> = Vec::new();
            for first in 0..ways.len() {
                let same = (first..ways.len()).filter(|other| way_of(*other) == way_of(first));
                let new: Vec<usize> = same.filter(|at| !expected.contains(at)).collect();
                expected.extend(new);
            }
            let order = order_of(ways.len(), way_of);
            let order: Vec<usize> = order.iter().take(ways.len()).map(|at| usize::from(*at)).collect();
            prop_assert_eq!(order, expected);
        }
    }
}
