//! Routing: a packet of ours that is not for us finds its port, its next hop and its way out.
//!
//! Two ways. [`Path::forward_whole`] is the ordinary packets': one look into the cache of destinations, twelve bytes
//! written, the TTL and its checksum adjusted. [`Path::route`] does everything: it reports what cannot be forwarded
//! (RFC 1812 section 5.3, RFC 8200), cuts IPv4 packets that may be cut, asks for neighbours, and fills the cache.

use dpdk::{Burst, Mbuf};

use super::fast::{BURST, EACH, Look};
use super::packet::Packet;
use super::path::Path;
use super::routes::{Adjacency, Cache, Hop};
use super::transmit::Kind;
use crate::app::{Hindrance, Passed};
use crate::drop_reason::DropReason;
use crate::icmp_error::{self, Complaint};
use crate::neighbour::{Action, Sender};
use crate::parse::{Family, Summary, flag, summarise, summarise_l3};
use crate::port::PortIndex;
use crate::wire::ethernet::{EtherType, HEADER_LEN, Repr, TAGGED_HEADER_LEN};
use crate::wire::{self, MacAddr, VlanId, ipv6, proto};

/// The most fragments that a packet is cut into: 64 KiB over the least sensible MTU would be more, and is refused.
pub(super) const FRAGMENTS_MAX: usize = 64;

/// In the place of a cache's answer: needs care. (No adjacency has this number.)
const CARE: u32 = u16::MAX as u32;

/// What is known of a burst's ways, by place in the look.
struct Onward {
    /// The cache's answer; [`CARE`] for packets that must take the long way whatever the cache knows.
    found: [u32; BURST],
    /// TTL, protocol and checksum after this hop, as they lie in the frame.
    aged: [u32; BURST],
}

impl Onward {
    /// The ways of the look's first `count` packets, and whether they are one way.
    #[inline]
    fn of(look: &Look, count: usize, cache: &Cache) -> (Self, bool) {
        let mut onward = Self { found: [0; BURST], aged: [0; BURST] };
        cache.find(look.destinations().iter().zip(&mut onward.found).take(count));
        let together = dpdk::simd::widest(Prepare { look, count, mtu: cache.mtu(), onward: &mut onward });
        (onward, together)
    }
}

/// Works out what can be for a whole burst at once. Answers whether its first `count` packets go the same way.
struct Prepare<'a> {
    look: &'a Look,
    count: usize,
    mtu: u32,
    onward: &'a mut Onward,
}

impl dpdk::simd::Work for Prepare<'_> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Onward { found, aged } = self.onward;
        let mtu = self.mtu;
        for i in 0..BURST {
            let (word, ip_len) = self.look.ttl_word(i);
            let fits = (word & 0xff > 1) & (ip_len <= mtu);
            found[i] = if fits { found[i] } else { CARE };
            aged[i] = wire::aged_v4(word);
        }
        let (first, count) = (found[0], self.count as u32);
        let others = (0..).zip(&*found).map(|(i, found)| if i < count { found ^ first } else { 0 });
        others.fold(0, |all, other: u32| all | other) == 0
    }
}

impl Path {
    /// Forwards a burst of ordinary packets of ours (see [`super::fast`]), which are those of the look, place by place.
    /// Mostly all go to one next hop: then each frame is touched once more, and no choice is left to make.
    #[inline]
    pub(super) fn forward_whole(&mut self, burst: &mut Burst<BURST>, look: &Look, port: PortIndex) {
        let count = burst.len();
        let (onward, together) = Onward::of(look, count, &self.cache);
        let next = self.cache.adjacency(onward.found[0]).filter(|_| together).copied();
        let Some((next, path)) = next.and_then(|next| Some((next, self.ports.get_mut(usize::from(next.port))?))) else {
            return self.forward_known(burst, &EACH, look, onward, port);
        };
        let loads = &self.counters.loads;
        for ((mbuf, aged), unit) in burst.iter_mut().zip(&onward.aged).zip(&look.units) {
            // What is ordinary is longer than this.
            if let Some(head) = mbuf.data_mut().first_chunk_mut::<26>() {
                head[..12].copy_from_slice(&next.header);
                head[22..].copy_from_slice(&aged.to_le_bytes());
            }
            mbuf.set_tag(Kind::Forwarded as u32);
            loads.of(*unit).add(mbuf.pkt_len());
        }
        self.counters.forwarded.add(count as u64);
        path.tx.push_all(burst, look.bytes, self.lease_ok, &self.counters);
        self.sampled = Some(look.units[0]);
        if self.fresh.any {
            look.units.iter().take(count).for_each(|unit| self.note_first(*unit));
        }
    }

    /// Forwards some of the look's packets: `places` says which.
    pub(super) fn forward_some(
        &mut self,
        burst: &mut Burst<BURST>,
        places: &[u8; BURST],
        look: &Look,
        port: PortIndex,
    ) {
        if burst.is_empty() {
            return;
        }
        let (onward, _) = Onward::of(look, BURST, &self.cache);
        self.forward_known(burst, places, look, onward, port);
    }

    /// Forwards those whose destinations the cache knows at once, the others, and what needs care, by the long way.
    fn forward_known(
        &mut self,
        burst: &mut Burst<BURST>,
        places: &[u8; BURST],
        look: &Look,
        onward: Onward,
        port: PortIndex,
    ) {
        let count = burst.len();
        let to = self.rewrite(burst, places, &onward);
        for place in places.iter().take(count).map(|p| usize::from(*p) % BURST) {
            if !matches!(onward.found[place], 0 | CARE) {
                self.load(look.units[place], look.frame_len(place));
            }
        }
        match to.and_then(|to| self.ports.get_mut(usize::from(to))) {
            Some(path) => {
                self.counters.forwarded.add(count as u64);
                let bytes = burst.iter().map(|mbuf| u64::from(mbuf.pkt_len())).sum();
                path.tx.push_all(burst, bytes, self.lease_ok, &self.counters);
            }
            None => self.part(burst, places, look, &onward, port),
        }
    }

    /// Makes of each frame that has a way what it is to be on its next link. Answers the port that all of them leave by;
    /// none if they part here.
    #[inline]
    fn rewrite(&self, burst: &mut Burst<BURST>, places: &[u8; BURST], onward: &Onward) -> Option<PortIndex> {
        let first = self.cache.adjacency(onward.found[usize::from(places[0]) % BURST]).map(|next| next.port);
        let mut together = true;
        for (mbuf, place) in burst.iter_mut().zip(places) {
            let place = usize::from(*place) % BURST;
            let next = self.cache.adjacency(onward.found[place]);
            match next.zip(mbuf.data_mut().first_chunk_mut::<26>()) {
                Some((next, head)) => {
                    head[..12].copy_from_slice(&next.header);
                    head[22..].copy_from_slice(&onward.aged[place].to_le_bytes());
                    mbuf.set_tag(Kind::Forwarded as u32);
                    together &= Some(next.port) == first;
                }
                None => together = false,
            }
        }
        if together { first } else { None }
    }

    /// Packets of one burst that do not all leave by one port: each goes its own way, in order.
    fn part(&mut self, burst: &mut Burst<BURST>, places: &[u8; BURST], look: &Look, onward: &Onward, port: PortIndex) {
        // What was found holds only until something is learned on the long way.
        let to = onward.found.map(|found| self.cache.adjacency(found).map(|next| next.port));
        for (mbuf, place) in burst.drain().zip(places) {
            let place = usize::from(*place) % BURST;
            let Some(to) = to[place] else {
                self.process_packet(look.units[place], Packet { mbuf, port });
                continue;
            };
            let Some(path) = self.ports.get_mut(usize::from(to)) else {
                self.drop_packet(mbuf, DropReason::NoRoute);
                continue;
            };
            if path.tx.is_full() {
                path.tx.flush(self.lease_ok, &self.counters);
            }
            path.tx.push(mbuf, Kind::Forwarded);
            self.counters.forwarded.add(1);
        }
    }

    /// Forwards any packet of ours that is not for us.
    pub(super) fn route(&mut self, mut mbuf: Mbuf, summary: &Summary) {
        if summary.is_link_local() || summary.is_to_group() {
            return self.drop_packet(mbuf, DropReason::NotForwardable);
        }
        if summary.ttl <= 1 {
            return self.complain(mbuf, summary, Complaint::TimeExceeded, DropReason::TtlExceeded);
        }
        let Some(hop) = self.routes.lookup(summary.family, summary.dst) else {
            return self.complain(mbuf, summary, Complaint::NoRoute, DropReason::NoRoute);
        };
        let Some((mtu, link_up)) = self.ports.get(usize::from(hop.port)).map(|p| (p.mtu, p.link_up)) else {
            return self.drop_packet(mbuf, DropReason::NoRoute);
        };
        if !link_up {
            return self.drop_packet(mbuf, DropReason::PortDown);
        }
        let too_long = summary.l3_len() > mtu;
        if too_long && summary.has(flag::DONT_FRAGMENT) {
            return self.complain(mbuf, summary, Complaint::TooBig { mtu }, DropReason::TooBig);
        }
        if !decrement(&mut mbuf, summary) {
            return self.drop_packet(mbuf, DropReason::Malformed);
        }
        if too_long {
            return self.fragment(mbuf, summary.l3_offset, Family::V4, summary.dst, hop, Kind::Forwarded);
        }
        self.dispatch(mbuf, summary.l3_offset, summary.family, summary.dst, hop, Kind::Forwarded);
    }

    /// Sends an IP packet of this member's making, which starts `l3_offset` bytes into the buffer, where the routes say.
    pub(super) fn originate(&mut self, mbuf: Mbuf, l3_offset: u16, family: Family, destination: u128) {
        self.counters.originated.add(1);
        let hop = self.routes.lookup(family, destination);
        let mtu = hop.and_then(|hop| self.ports.get(usize::from(hop.port))).map(|p| p.mtu);
        let (Some(hop), Some(mtu)) = (hop, mtu) else {
            return self.counters.originated_lost.add(1);
        };
        if mbuf.pkt_len() <= u32::from(mtu) + u32::from(l3_offset) {
            self.dispatch(mbuf, l3_offset, family, destination, hop, Kind::Originated);
        } else {
            self.fragment(mbuf, l3_offset, family, destination, hop, Kind::Originated);
        }
    }

    /// Sends a packet in pieces that its link takes. IPv6: a packet of this member's own making, for routers don't cut any.
    fn fragment(&mut self, mut mbuf: Mbuf, l3_offset: u16, family: Family, destination: u128, hop: Hop, kind: Kind) {
        let mut fragments = Burst::<FRAGMENTS_MAX>::new();
        let link = self.ports.get(usize::from(hop.port)).map_or(0, |p| p.mtu);
        let mtu = match family {
            Family::V4 => link,
            // Nobody here keeps what a path turned out to admit, so the pieces are such as every path does.
            Family::V6 => link.min(ipv6::MTU_MIN as u16),
        };
        if self.cut(&mut mbuf, (family, l3_offset), mtu, &mut fragments).is_err() {
            return match kind {
                Kind::Originated => self.counters.originated_lost.add(1),
                _ => self.drop_packet(mbuf, DropReason::FragmentFailed),
            };
        }
        if kind != Kind::Originated {
            self.counters.fragmented.add(fragments.len().saturating_sub(1) as u64);
        }
        for fragment in fragments.drain() {
            self.dispatch(fragment, l3_offset, family, destination, hop, kind);
        }
    }

    /// Cuts a packet, which starts `l3_offset` bytes into the buffer, into fragments of no more than this, or than fits a buffer of ours.
    pub(super) fn cut<const N: usize>(
        &mut self,
        mbuf: &mut Mbuf,
        (family, l3_offset): (Family, u16),
        mtu: u16,
        fragments: &mut Burst<N>,
    ) -> dpdk::Result<usize> {
        let mtu = mtu.min(self.pool.data_room().saturating_sub(dpdk::mempool::HEADROOM));
        match family {
            Family::V4 => dpdk::fragment::ipv4(mbuf, l3_offset as u8, mtu, self.pool, fragments),
            Family::V6 => {
                let id = self.fragment_ids.draw();
                dpdk::fragment::ipv6(mbuf, l3_offset as u8, mtu, id, self.pool, fragments)
            }
        }
    }

    /// Has a packet go through a tunnel in pieces: the tunnel's own are not cut, and it does not take this one as it is.
    pub(super) fn pass_cut(&mut self, mut mbuf: Mbuf, summary: &Summary, spi: u32, mtu: u16) {
        let mut pieces = Burst::<FRAGMENTS_MAX>::new();
        if self.cut(&mut mbuf, (summary.family, summary.l3_offset), mtu, &mut pieces).is_err() {
            return self.drop_packet(mbuf, DropReason::FragmentFailed);
        }
        self.counters.fragmented.add(pieces.len().saturating_sub(1) as u64);
        for mut piece in pieces.drain() {
            let Some(its) = piece.adj(summary.l3_offset).and_then(|()| summarise_l3(piece.data()).ok()) else {
                self.drop_packet(piece, DropReason::FragmentFailed);
                continue;
            };
            match self.give_to_tunnel(spi, &its, &mut piece) {
                Ok(passed) => {
                    self.counters.delivered.add(1);
                    if passed == Passed::Wrapped {
                        self.send_packet(piece);
                    }
                }
                Err(Hindrance::Drop(reason)) => self.drop_packet(piece, reason),
                Err(_) => self.drop_packet(piece, DropReason::FragmentFailed),
            }
        }
    }

    /// Writes the Ethernet header and sends the packet, or lets it wait for the next hop's hardware address.
    fn dispatch(&mut self, mut mbuf: Mbuf, l3_offset: u16, family: Family, destination: u128, hop: Hop, kind: Kind) {
        mbuf.set_tag(kind as u32);
        if self.write_link(&mut mbuf, l3_offset, family, hop.port).is_none() {
            return self.lose(mbuf, DropReason::NoBuffers);
        }
        let neighbour = hop.neighbour(family, destination);
        let actions = &mut self.actions;
        match self.neighbours.resolve(neighbour, self.now_ns, &mut |action| actions.push(action)) {
            Some(mac) => {
                self.remember(family, destination, hop.port, mac);
                self.send_to(mbuf, mac, hop.port, kind);
            }
            None => {
                let actions = &mut self.actions;
                let sender = if kind == Kind::Originated { Sender::Own } else { Sender::Host };
                let waits =
                    self.neighbours.enqueue(neighbour, mbuf, sender, self.now_ns, &mut |action| actions.push(action));
                match waits {
                    Ok(()) if kind == Kind::Forwarded => self.counters.waiting.add(1),
                    Ok(()) => {}
                    Err((mbuf, _)) => self.lose(mbuf, DropReason::NeighbourPending),
                }
            }
        }
        self.act();
    }

    /// Drops a packet on its way out, which is a drop only if it came in.
    fn lose(&mut self, mbuf: Mbuf, reason: DropReason) {
        if mbuf.tag() == Kind::Originated as u32 {
            self.counters.originated_lost.add(1);
        } else {
            self.drop_packet(mbuf, reason);
        }
    }

    /// Puts the egress port's header before the IP packet, all but the destination.
    fn write_link(&self, mbuf: &mut Mbuf, l3_offset: u16, family: Family, port: PortIndex) -> Option<()> {
        let path = self.ports.get(usize::from(port))?;
        let wanted = if path.vlan.is_some() { TAGGED_HEADER_LEN } else { HEADER_LEN } as u16;
        if l3_offset > wanted {
            mbuf.adj(l3_offset - wanted)?;
        } else if l3_offset < wanted {
            mbuf.prepend(wanted - l3_offset)?;
        }
        let ethertype = if family == Family::V4 { EtherType::IPV4 } else { EtherType::IPV6 };
        let vlan = path.vlan.and_then(VlanId::new);
        let header = Repr { destination: MacAddr::ZERO, source: path.origin.mac, vlan, ethertype };
        header.emit(mbuf.data_mut()).ok().map(drop)
    }

    fn remember(&mut self, family: Family, destination: u128, port: PortIndex, mac: MacAddr) {
        let Some(path) = self.ports.get(usize::from(port)) else { return };
        if family == Family::V4 && path.vlan.is_none() {
            let mut header = [0; 12];
            header[..6].copy_from_slice(&mac.0);
            header[6..].copy_from_slice(&path.origin.mac.0);
            let adjacency = Adjacency { header, mtu: path.mtu, port };
            self.cache.put(destination as u32, adjacency);
        }
    }

    fn send_to(&mut self, mut mbuf: Mbuf, mac: MacAddr, port: PortIndex, kind: Kind) {
        let Some(path) = self.ports.get_mut(usize::from(port)) else {
            return self.lose(mbuf, DropReason::NoRoute);
        };
        if let Some(place) = mbuf.data_mut().first_chunk_mut::<6>() {
            *place = mac.0;
        }
        if path.tx.is_full() {
            path.tx.flush(self.lease_ok, &self.counters);
        }
        path.tx.push(mbuf, kind);
        if kind == Kind::Forwarded {
            self.counters.forwarded.add(1);
        }
    }

    /// What was asked while nobody may have heard us is asked once more.
    pub(super) fn ask_neighbours_again(&mut self) {
        let actions = &mut self.actions;
        self.neighbours.ask_again(self.now_ns, &mut |action| actions.push(action));
        self.act();
    }

    /// Does what the neighbour table wants done.
    pub(super) fn act(&mut self) {
        if self.actions.is_empty() {
            return;
        }
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::SendRequest { hop, unicast_to } => self.ask(hop, unicast_to),
                Action::Deliver { packet, hop, mac } => self.stop_waiting(packet, hop.port as PortIndex, Some(mac)),
                Action::Unreachable { packet, hop } => self.stop_waiting(packet, hop.port as PortIndex, None),
            }
        }
        if self.actions.is_empty() {
            self.actions = actions;
        } else {
            // A packet that could not be delivered was complained of, and the complaint's own next hop must be asked for.
            self.act();
        }
    }

    fn stop_waiting(&mut self, mbuf: Mbuf, port: PortIndex, mac: Option<MacAddr>) {
        let originated = mbuf.tag() == Kind::Originated as u32;
        let kind = if originated { Kind::Originated } else { Kind::Forwarded };
        if !originated {
            self.counters.waiting.add(u64::MAX);
        }
        match mac {
            Some(mac) => self.send_to(mbuf, mac, port, kind),
            None if originated => self.counters.originated_lost.add(1),
            None => {
                let vlan = self.ports.get(usize::from(port)).and_then(|p| p.vlan);
                match summarise(mbuf.data(), vlan) {
                    Ok(summary) => {
                        self.complain(mbuf, &summary, Complaint::HostUnreachable, DropReason::NeighbourFailed);
                    }
                    Err(_) => self.drop_packet(mbuf, DropReason::NeighbourFailed),
                }
            }
        }
    }

    /// Drops a packet and tells its sender why, if that is called for and not too often.
    pub(super) fn complain(&mut self, mbuf: Mbuf, summary: &Summary, complaint: Complaint, reason: DropReason) {
        if self.lease_ok && self.errors.allow(self.now_ns) {
            self.send_error(&mbuf, summary, complaint);
        }
        self.drop_packet(mbuf, reason);
    }

    fn send_error(&mut self, mbuf: &Mbuf, summary: &Summary, complaint: Complaint) {
        let Some(back) = self.routes.lookup(summary.family, summary.src) else { return };
        let Some(from) = self.addresses.reporting(back.port, summary.family) else { return };
        let proto = if summary.family == Family::V4 { proto::ICMP } else { proto::ICMPV6 };
        // What goes to a tunnel's peer must not go there in clear.
        if self.is_protected(&Summary::of_addresses(from, summary.src_ip(), proto)) {
            return;
        }
        let frame = mbuf.data();
        let destination = MacAddr(frame.first_chunk().copied().unwrap_or_default());
        let link_group = destination.is_group() && Some(destination.0) != self.delivery.shared_mac();
        let room = icmp_error::LEN_MAX_V6.max(icmp_error::LEN_MAX_V4) as u16;
        let Some(mut error) = self.pool.alloc() else { return };
        let packet = summary.l3(frame);
        let len = error
            .append(room)
            .and_then(|out| icmp_error::build(complaint, summary, packet, from, link_group, out).ok());
        if let Some(len) = len
            && error.trim(room.saturating_sub(len as u16)).is_some()
        {
            self.originate(error, 0, summary.family, summary.src);
        }
    }
}

/// Takes one off the TTL or hop limit. False: there was none left to take.
fn decrement(mbuf: &mut Mbuf, summary: &Summary) -> bool {
    mbuf.data_mut().get_mut(usize::from(summary.l3_offset)..).is_some_and(wire::age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ipv4;
    use proptest::prelude::*;

    proptest! {
        /// Ageing a word is what the header's own view does.
        #[test]
        fn a_word_ages_as_a_header_does(ttl in 2u8.., protocol: u8, id: u16, source: u32) {
            let repr = ipv4::Repr {
                tos: 0,
                id,
                fragment: 0,
                ttl,
                protocol,
                source: source.into(),
                destination: 7.into(),
                payload_len: 0,
            };
            let mut header = [0; 20];
            repr.emit(&mut header).expect("room");
            let aged = wire::aged_v4(u32::from_le_bytes([header[8], header[9], header[10], header[11]]));
            let mut packet = ipv4::Packet::new_header_checked(&mut header[..]).expect("sound");
            prop_assert!(packet.decrement_ttl());
            prop_assert_eq!(aged.to_le_bytes(), [header[8], header[9], header[10], header[11]]);
        }
    }
}
