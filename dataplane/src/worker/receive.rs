//! Figure 9 for one burst, and for one packet that needs care.
//!
//! own unit address → local services · neither ours nor routable → counted drop · else the filter names the unit, the
//! steering engine says what becomes of it. The whole burst is looked at first ([`super::fast`]); only what is not
//! ordinary comes through [`Worker::receive_one`].

use dpdk::mbuf::ChecksumStatus;
use dpdk::{Burst, Mbuf};

use super::addresses::Owner;
use super::cluster::{self, Content};
use super::fast::{BURST, EACH};
use super::packet::{Packet, digest};
use super::wholes::Came;
use super::{Worker, handover};
use crate::drop_reason::DropReason;
use crate::ipsec::gateway::Passing;
use crate::parse::{Family, ParseDrop, Summary, summarise, summarise_trusted};
use crate::port::PortIndex;
use crate::steer::{Source, Verdict, code};
use crate::unit::{MemberId, Unit};
use crate::wire::{EtherType, MacAddr, arp, bytes, icmpv6, proto};

impl Worker {
    /// Handles a burst that came in by a port; the burst is empty afterwards.
    #[inline]
    pub(super) fn handle(&mut self, burst: &mut Burst<BURST>, port: PortIndex, careful: bool) {
        let Some(gate) = self.path.ports.get(usize::from(port)).map(|p| p.gate) else {
            return self.path.drop_burst(burst, DropReason::Malformed);
        };
        let tunnels = !self.path.book.policies().is_empty();
        let seen = if tunnels {
            // Which unit a packet is of, its addresses alone do not say.
            self.look.see(burst, &gate, &self.filter);
            self.look_for_tunnels(burst)
        } else {
            self.look.at(burst, &gate, &self.path.addresses, &self.filter, self.steering.codes())
        };
        let fast = self.path.lease_ok && !careful;
        if seen == Some(code::DROP) && !careful {
            return self.path.drop_burst(burst, DropReason::NotOwner);
        }
        if seen == Some(code::MINE) && fast && self.workers == 1 {
            return self.path.forward_whole(burst, &self.look, port);
        }
        if tunnels && self.bound.whole && fast && self.workers == 1 {
            return self.path.pass_tunnels(burst, &mut EACH.clone(), &self.look, &self.bound, port);
        }
        if tunnels { self.sort::<true>(burst, port, careful) } else { self.sort::<false>(burst, port, careful) }
    }

    /// Handles a burst of several kinds. Packets of ours wait for one another, but not past one that takes the careful
    /// way: it might be of the same flow.
    fn sort<const TUNNELS: bool>(&mut self, burst: &mut Burst<BURST>, port: PortIndex, careful: bool) {
        let fast = self.path.lease_ok && !careful;
        let mut not_ours = Burst::<BURST>::new();
        let mut ours = Burst::<BURST>::new();
        let mut places = [0; BURST];
        let mut bound = Burst::<BURST>::new();
        let mut bound_places = [0; BURST];
        for (i, mbuf) in burst.drain().enumerate() {
            match self.look.codes[i] {
                code::DROP if !careful => drop(not_ours.push(mbuf)),
                code::MINE if TUNNELS && fast && self.bound.has(i) && self.serves(self.look.units[i]) => {
                    bound_places[bound.len()] = i as u8;
                    drop(bound.push(mbuf));
                }
                code::MINE if fast && self.serves(self.look.units[i]) => {
                    places[ours.len()] = i as u8;
                    drop(ours.push(mbuf));
                }
                // By the worker that the unit is for, and no other: that one may still hold earlier packets of the unit.
                relay
                    if fast
                        && relay & code::RELAY != 0
                        && self.serves(self.look.units[i])
                        && self.path.is_from_host(mbuf.data()) =>
                {
                    self.pass_on_fast(relay, Packet { mbuf, port });
                }
                _ => {
                    self.path.forward_some(&mut ours, &places, &self.look, port);
                    self.path.pass_tunnels(&mut bound, &mut bound_places, &self.look, &self.bound, port);
                    self.receive_one(mbuf, port, careful);
                }
            }
        }
        self.path.forward_some(&mut ours, &places, &self.look, port);
        self.path.pass_tunnels(&mut bound, &mut bound_places, &self.look, &self.bound, port);
        self.path.drop_burst(&mut not_ours, DropReason::NotOwner);
    }

    /// Whether this worker is the one that a unit is for.
    #[inline]
    fn serves(&self, unit: Unit) -> bool {
        self.workers == 1 || handover::worker_of(unit, self.workers) == self.index
    }

    /// Passes an ordinary packet on to the member that its unit's code names.
    #[inline]
    fn pass_on_fast(&mut self, relay: u8, packet: Packet) {
        match MemberId::new(relay & !code::RELAY) {
            Some(to) => self.path.pass_on_packet(packet, to),
            None => self.path.drop_packet(packet.mbuf, DropReason::NoPeer),
        }
    }

    /// Handles one packet, with every check. `probation`: only the members' own frames count, and neighbours' answers
    /// to our own questions: each comes a second after the one before, so waiting for the next would never end.
    pub(super) fn receive_one(&mut self, mbuf: Mbuf, port: PortIndex, probation: bool) {
        let Some(path) = self.path.ports.get(usize::from(port)) else {
            return self.path.drop_packet(mbuf, DropReason::Malformed);
        };
        let (own, vlan) = (path.origin.mac, path.vlan);
        let frame = mbuf.data();
        let to = MacAddr(bytes::array(frame, 0).unwrap_or_default());
        let from = MacAddr(bytes::array(frame, 6).unwrap_or_default());
        let for_us = to == own || to.is_group() || Some(to.0) == self.path.delivery.shared_mac();
        if from == own || !for_us {
            let reason = if from == own { DropReason::OwnEcho } else { DropReason::OtherMac };
            return self.path.drop_packet(mbuf, reason);
        }
        // A header that the card has found right is not summed up again.
        let checked = mbuf.ip_checksum() == ChecksumStatus::Good;
        let parsed = if checked { summarise_trusted(frame, vlan) } else { summarise(frame, vlan) };
        match parsed {
            Err(ParseDrop::NotIp { ethertype: EtherType::CLUSTER, offset }) => {
                self.receive_cluster(mbuf, offset, port, from);
            }
            parsed if probation && !(to == own && is_neighbours_answer(&parsed, frame)) => {
                self.path.drop_packet(mbuf, DropReason::Probation);
            }
            Err(ParseDrop::NotIp { ethertype: EtherType::ARP, offset }) => self.path.receive_arp(mbuf, offset, port),
            Err(refused) => self.path.drop_packet(mbuf, reason_of(refused)),
            Ok(summary) => self.receive_ip(mbuf, &summary, port, from, to),
        }
    }

    fn receive_ip(&mut self, mbuf: Mbuf, summary: &Summary, port: PortIndex, from: MacAddr, to: MacAddr) {
        let owner = self.path.addresses.destination_of(summary).map(|a| a.owner);
        let mbuf = match self.path.receive_discovery_of(mbuf, summary, port) {
            Some(mbuf) => mbuf,
            None => return,
        };
        let to_cluster = match owner {
            Some(Owner::Unit) => return self.path.deliver_to_unit(mbuf, summary, port),
            Some(Owner::Everyone) => return self.path.drop_packet(mbuf, DropReason::NotForwardable),
            Some(Owner::Cluster) => true,
            None => false,
        };
        let shared = Some(to.0) == self.path.delivery.shared_mac();
        if !to_cluster && (summary.is_to_group() || summary.is_link_local() || (to.is_group() && !shared)) {
            return self.path.drop_packet(mbuf, DropReason::NotForwardable);
        }
        if self.path.addresses.find(summary.family, summary.src).is_some() || summary.src == 0 {
            return self.path.drop_packet(mbuf, DropReason::BadSource);
        }
        let passing = if to_cluster { Passing::Clear } else { self.path.judge(summary) };
        let unit = match passing {
            Passing::Into(spi) => Unit::from_low_bits(spi),
            Passing::Clear | Passing::Bare | Passing::Guarded => {
                self.filter.unit(summary, to_cluster, summary.l4(mbuf.data()))
            }
        };
        let source = self.path.member_at(from, port).map_or(Source::Direct, Source::Member);
        let worker = handover::worker_of(unit, self.workers);
        let code = self.steering.codes()[unit.index()];
        let others = code == code::DROP || code & code::RELAY != 0;
        if worker == self.index {
            if others && to_cluster && source == Source::Direct {
                self.path.remember_packet(unit, summary, port, mbuf.data());
            }
            self.steer(unit, source, summary, Packet { mbuf, port });
        } else {
            if !others {
                // Or a worker that receives for all would charge all of that to units of its own: the heaviest by far, and
                // the first to be moved, so that whoever is given work would be given it for one worker alone.
                self.path.sampled = Some(unit);
            }
            self.handover.give(worker, Packet { mbuf, port }, &self.path.counters);
        }
    }

    /// Asks the steering engine about a packet, and does what it says.
    pub(super) fn steer(&mut self, unit: Unit, source: Source, summary: &Summary, packet: Packet) {
        let (now_ns, lease_ok) = (self.path.now_ns, self.path.lease_ok);
        // Only units on the move ask for the digest; it must be taken while the frame is still ours to read.
        let wanted = self.steering.codes()[unit.index()] == code::SLOW;
        let digest = if wanted { digest(summary.l3(packet.mbuf.data())) } else { 0 };
        match self.steering.steer(now_ns, lease_ok, unit, source, || digest, packet) {
            Verdict::Process(packet) => self.path.process_packet(unit, packet),
            Verdict::PassOn(packet, to) => self.path.pass_on_packet(packet, to),
            Verdict::Drop(packet, reason) => self.path.drop_packet(packet.mbuf, reason),
            Verdict::Held => {}
            Verdict::Copy { packet, from, to, digest } => {
                if let Some(mbuf) = packet.mbuf.copy(self.path.pool) {
                    self.path.counters.copied.add(1);
                    let copy = Packet { mbuf, port: packet.port };
                    if to != self.me {
                        self.path.pass_on_packet(copy, to);
                    } else if let Verdict::Drop(copy, reason) = self.steering.keep(now_ns, unit, source, digest, copy) {
                        self.path.drop_packet(copy.mbuf, reason);
                    }
                }
                if from == self.me {
                    self.path.process_packet(unit, packet);
                } else {
                    self.path.pass_on_packet(packet, from);
                }
            }
        }
    }

    fn receive_cluster(&mut self, mbuf: Mbuf, offset: u16, port: PortIndex, from: MacAddr) {
        let payload = mbuf.data().get(usize::from(offset)..).unwrap_or(&[]);
        let now_ns = self.path.now_ns;
        let refused = match cluster::read(payload) {
            None => Some(DropReason::ClusterMalformed),
            // Hosts' packets, as many as there are. Only from where that member's port is.
            Some(Content::Piece { from: member, hops }) => {
                let from = Some(member).filter(|member| self.path.member_at(from, port) == Some(*member));
                return match self.receive_piece(mbuf, offset, Came { port, from, hops }) {
                    Ok(()) => {}
                    Err(mbuf) => self.path.drop_packet(mbuf, DropReason::ClusterMalformed),
                };
            }
            Some(_) if !self.cluster_frames.allow(now_ns) => Some(DropReason::ClusterRateLimited),
            Some(Content::Marker { from: member, token, part }) => {
                // Only from where that member's port is: the token itself is the core's to judge.
                let known = self.path.member_at(from, port) == Some(member);
                if known {
                    self.steering.marker_arrived(member, token, part);
                }
                (!known).then_some(DropReason::ClusterMalformed)
            }
            Some(Content::Up(payload)) => {
                let taken = self.link.hand_up(now_ns, port, from.0, payload);
                (!taken).then_some(DropReason::ClusterRingFull)
            }
        };
        match refused {
            Some(reason) => self.path.drop_packet(mbuf, reason),
            None => self.path.counters.delivered.add(1),
        }
    }
}

impl super::path::Path {
    /// Neighbor Discovery is each member's own business, whatever the unit; all else comes back.
    fn receive_discovery_of(&mut self, mbuf: Mbuf, summary: &Summary, port: PortIndex) -> Option<Mbuf> {
        if summary.family == Family::V6 && summary.proto == proto::ICMPV6 && is_for_a_link(summary, mbuf.data()) {
            self.receive_discovery(mbuf, summary, port)
        } else {
            Some(mbuf)
        }
    }
}

/// ND messages have a hop limit of 255, which no router has touched; forwarded packets that merely look like ND are
/// nobody's.
fn is_for_a_link(summary: &Summary, frame: &[u8]) -> bool {
    let kind = bytes::u8_at(summary.l4(frame), 0);
    (icmpv6::ROUTER_SOLICITATION..=icmpv6::REDIRECT).contains(&kind)
}

fn reason_of(refused: ParseDrop) -> DropReason {
    match refused {
        ParseDrop::NotIp { .. } => DropReason::UnknownProtocol,
        ParseDrop::WrongVlan => DropReason::OtherVlan,
        ParseDrop::IpChecksum => DropReason::BadChecksum,
        ParseDrop::Martian => DropReason::BadSource,
        ParseDrop::FrameTruncated
        | ParseDrop::IpTruncated
        | ParseDrop::IpVersion
        | ParseDrop::IpLength
        | ParseDrop::ExtensionHeaders
        | ParseDrop::FragmentPastEnd => DropReason::Malformed,
    }
}

/// Whether a frame tells a hardware address that somebody asked for.
fn is_neighbours_answer(parsed: &Result<Summary, ParseDrop>, frame: &[u8]) -> bool {
    match parsed {
        Err(ParseDrop::NotIp { ethertype: EtherType::ARP, offset }) => {
            let told = arp::Repr::parse(frame.get(usize::from(*offset)..).unwrap_or_default());
            told.is_ok_and(|told| told.operation == arp::Operation::Reply)
        }
        Ok(summary) => {
            summary.proto == proto::ICMPV6 && summary.l4(frame).first() == Some(&icmpv6::NEIGHBOR_ADVERTISEMENT)
        }
        Err(_) => false,
    }
}
