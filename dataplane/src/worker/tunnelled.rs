//! Ordinary packets of tunnels, a burst at a time.
//!
//! Where there are tunnels, the first look ([`super::fast`]) is followed by a second one: a packet between hosts that belongs into a
//! tunnel is of the unit in the tunnel's SPI, and so is one that comes out of it. Those of our units wait for one another like
//! all ordinary packets of ours, are put side by side by tunnel, and given to the app that has the tunnels in one call; what it
//! makes of them is sent. Whatever it leaves as it was takes the careful way, in its place.

use dpdk::{Burst, Mbuf};

use super::fast::{BURST, Look};
use super::packet::Packet;
use super::path::Path;
use super::{Owner, Worker};
use crate::app::{Fate, Parcel, Way};
use crate::filter::Scheme;
use crate::ipsec::gateway::Passing;
use crate::parse::Family;
use crate::port::PortIndex;
use crate::steer::code;
use crate::unit::Unit;
use crate::wire::bytes;

/// Ethernet header and IPv4 header: before them nothing of a tunnel's.
const L3_AT: u16 = 14;
const SPI_AT: usize = 34;

/// The tunnels that a burst's packets go through, by place in the look.
pub(super) struct Bound {
    /// Inbound SPI and way; none: through no tunnel.
    ways: [Option<(u32, Way)>; BURST],
}

impl Default for Bound {
    fn default() -> Self {
        Self { ways: [None; BURST] }
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
    /// Looks at a burst once more, for tunnels. Answers the code that all its packets have, if all are ordinary and go through none.
    #[inline]
    pub(super) fn look_for_tunnels(&mut self, burst: &Burst<BURST>) -> Option<u8> {
        let (Self { look, bound, path, steering, filter, .. }, mut any, mut all) = (self, 0, !0);
        let by_spi = filter.scheme() == Scheme::Steered;
        let mut tunnels = false;
        for (i, mbuf) in burst.iter().enumerate().take(BURST) {
            bound.ways[i] = None;
            let (source, destination) = look.hosts(i)?;
            let near = look.is_near(i, &path.addresses);
            let way = match () {
                () if look.is_odd(i) => None,
                () if near && by_spi && look.is_whole_esp(i) && path.is_for_cluster(source, destination) => {
                    let spi = bytes::u32_at(mbuf.data(), SPI_AT);
                    (spi > 255).then_some((spi, Way::OutOf))
                }
                () if near && path.addresses.have_either(source, destination) => None,
                () => match path.book.judge_v4(source, destination) {
                    Passing::Into(spi) if look.has_hops(i) => Some((spi, Way::Into)),
                    Passing::Clear => {
                        (any, all) = (any | look.codes[i], all & look.codes[i]);
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
            tunnels = true;
        }
        (!tunnels && any == all).then_some(any)
    }
}

impl Path {
    fn is_for_cluster(&self, source: u32, destination: u32) -> bool {
        let owner = self.addresses.find(Family::V4, destination.into()).map(|address| address.owner);
        owner == Some(Owner::Cluster) && self.addresses.find(Family::V4, source.into()).is_none()
    }

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
        put_side_by_side(burst, places, bound);
        let fates = self.offer_parcels(burst, places, look, bound);
        let mut delivered = 0;
        for ((mbuf, fate), place) in burst.drain().zip(fates).zip(&*places) {
            let place = usize::from(*place) % BURST;
            if fate == Fate::Untouched {
                self.process_packet(look.units[place], Packet { mbuf, port });
                continue;
            }
            self.load(look.units[place], look.frame_len(place));
            match fate {
                Fate::Sent { start, len } => {
                    delivered += 1;
                    self.send_parcel(mbuf, start, len);
                }
                Fate::Dropped(reason) => self.drop_packet(mbuf, reason),
                Fate::Taken | Fate::Untouched => delivered += 1,
            }
        }
        self.counters.delivered.add(delivered);
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
        let mut mbufs = burst.iter_mut().zip(places);
        let mut parcels: [Parcel<'_>; BURST] = std::array::from_fn(|_| match mbufs.next() {
            Some((mbuf, place)) => parcel(mbuf, usize::from(*place) % BURST, look, bound),
            None => Parcel::none(),
        });
        let mut apps = std::mem::take(&mut self.apps);
        if let Some(app) = apps.get_mut(self.tunnels_app) {
            app.handle_parcels(self, &mut parcels[..count]);
        }
        self.apps = apps;
        let mut fates = [Fate::Untouched; BURST];
        fates.iter_mut().zip(&parcels).for_each(|(fate, parcel)| *fate = parcel.fate);
        fates
    }

    /// Sends a packet of the cluster's that lies here in its buffer.
    #[inline]
    fn send_parcel(&mut self, mut mbuf: Mbuf, start: u16, len: u16) {
        if mbuf.set_data(start, len).is_some() {
            return self.send_packet(mbuf);
        }
        self.counters.originated.add(1);
        self.counters.originated_lost.add(1);
    }
}

/// Those of one tunnel and way come together, in order, where the first of them is.
fn put_side_by_side(burst: &mut Burst<BURST>, places: &mut [u8; BURST], bound: &Bound) {
    let count = burst.len();
    let way_of = |place: u8| bound.ways[usize::from(place) % BURST];
    if places[..count].windows(2).all(|pair| way_of(pair[0]) == way_of(pair[1])) {
        return;
    }
    let from = *places;
    let mut waiting: [Option<Mbuf>; BURST] = std::array::from_fn(|_| None);
    waiting.iter_mut().zip(burst.drain()).for_each(|(slot, mbuf)| *slot = Some(mbuf));
    for first in 0..count {
        for other in first..count {
            if way_of(from[other]) == way_of(from[first])
                && let Some(mbuf) = waiting[other].take()
            {
                places[burst.len()] = from[other];
                drop(burst.push(mbuf));
            }
        }
    }
}

fn parcel<'m>(mbuf: &'m mut Mbuf, place: usize, look: &Look, bound: &Bound) -> Parcel<'m> {
    let (_, len) = look.ttl_word(place);
    let (Some((spi, way)), Ok(len)) = (bound.ways[place], u16::try_from(len)) else { return Parcel::none() };
    let start = mbuf.headroom() + L3_AT;
    let in_one = mbuf.data_len() >= L3_AT.saturating_add(len);
    let room = if in_one { mbuf.whole_mut() } else { Default::default() };
    Parcel { room, start, len, spi, way, fate: Fate::Untouched }
}
