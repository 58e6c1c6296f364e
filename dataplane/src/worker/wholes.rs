//! Packets to the cluster that came in fragments (DESIGN section 3).
//!
//! Their addresses, protocol and identification say which member puts them together. Only the whole packet shows whose it is (an ESP
//! packet's SPI stands in its first fragment alone), so it is filtered once more, and this may well name another member. That one
//! gets it in *pieces*: fragments of it that a port takes with four bytes more, as frames of the cluster's own (kind 4), so that whoever
//! receives them knows that they are to be put together here, whatever the filter would say of them. No packet is passed on
//! for ever: its pieces say how often it was, and twice is the most (an owner that has just given the unit away passes it on once
//! more).
//!
//! What the router itself answers (an echo) needs no state: it is answered where it was put together.

use dpdk::{Burst, Mbuf, Mempool};

use super::fast::BURST;
use super::packet::Packet;
use super::path::Path;
use super::{Worker, cluster, handover};
use crate::drop_reason::DropReason;
use crate::parse::{Family, Summary, summarise, summarise_trusted};
use crate::port::PortIndex;
use crate::steer::{Source, code};
use crate::unit::MemberId;
use crate::wire::{EtherType, MacAddr, ipv4};

/// How often a packet is passed on.
const HOPS_MAX: u8 = 2;
/// Fragments that a packet is put together from, and cut into: what DPDK's library takes.
const PIECES_MAX: usize = 8;

/// How a fragment came, or a packet that was put together: it travels as the mbuf's tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Came {
    pub(super) port: PortIndex,
    /// Who passed it on in pieces.
    pub(super) from: Option<MemberId>,
    /// How often it was passed on.
    pub(super) hops: u8,
}

impl Came {
    /// From a host, or as frames always come.
    pub(super) const fn directly(port: PortIndex) -> Self {
        Self { port, from: None, hops: 0 }
    }

    pub(super) fn tag(self) -> u32 {
        let from = self.from.map_or(0, MemberId::number);
        u32::from_le_bytes([self.port, from, self.hops, 0])
    }

    pub(super) fn of(tag: u32) -> Self {
        let [port, from, hops, _] = tag.to_le_bytes();
        Self { port, from: MemberId::new(from), hops }
    }
}

impl Worker {
    /// Filters the packets that were put together since the last time.
    pub(super) fn steer_wholes(&mut self) {
        while let Some(mbuf) = self.path.wholes.pop() {
            self.steer_whole(mbuf);
        }
    }

    fn steer_whole(&mut self, mbuf: Mbuf) {
        let Came { port, from, hops } = Came::of(mbuf.tag());
        let vlan = self.path.ports.get(usize::from(port)).and_then(|path| path.vlan);
        let summary = match summarise(mbuf.data(), vlan) {
            Ok(summary) if !summary.is_fragment() => summary,
            _ => return self.path.drop_packet(mbuf, DropReason::Malformed),
        };
        if !self.path.apps.iter().any(|app| app.claims(&summary)) {
            return self.path.answer_echo(mbuf, &summary, port);
        }
        let unit = self.filter.unit(&summary, true, summary.l4(mbuf.data()));
        let packet = Packet { mbuf, port };
        if self.steering.codes()[unit.index()] == code::DROP {
            // Nobody else has seen it whole, whatever the mode of delivery.
            let owner = self.path.holders.as_ref().and_then(|holders| *holders.owners.get(unit.index())?);
            return match owner.filter(|owner| *owner != self.me && hops < HOPS_MAX) {
                Some(owner) => self.path.pass_on_packet(packet, owner),
                None => self.path.drop_packet(packet.mbuf, DropReason::NotOwner),
            };
        }
        let worker = handover::worker_of(unit, self.workers);
        if worker == self.index {
            self.steer(unit, from.map_or(Source::Direct, Source::Member), &summary, packet);
        } else {
            self.handover.give(worker, packet, &self.path.counters);
        }
    }

    /// Takes a piece of a packet that a member passed on. `offset`: where its content begins. Gives it back if it is none.
    pub(super) fn receive_piece(&mut self, mut mbuf: Mbuf, offset: u16, came: Came) -> Result<(), Mbuf> {
        let vlan = self.path.ports.get(usize::from(came.port)).and_then(|path| path.vlan);
        let Some(summary) = unwrap(&mut mbuf, offset).and_then(|()| summarise(mbuf.data(), vlan).ok()) else {
            return Err(mbuf);
        };
        let to_cluster = self.path.is_to_cluster(&summary);
        if !summary.is_fragment() || !to_cluster || came.from.is_none() {
            return Err(mbuf);
        }
        self.path.reassemble(mbuf, &summary, came);
        Ok(())
    }
}

impl Path {
    /// Takes a fragment of a packet to the cluster.
    pub(super) fn reassemble(&mut self, mut mbuf: Mbuf, summary: &Summary, came: Came) {
        use dpdk::reassembly::Outcome;
        mbuf.set_tag(came.tag());
        let (now, l2_len) = (dpdk::clock::cycles(), summary.l3_offset as u8);
        let outcome = match summary.family {
            Family::V4 => self.reassembler.ipv4(mbuf, l2_len, now),
            Family::V6 => self.reassembler.ipv6(mbuf, l2_len, now),
        };
        match outcome {
            Outcome::Refused(mbuf) => return self.drop_packet(mbuf, DropReason::Malformed),
            Outcome::Taken => self.counters.waiting.add(1),
            Outcome::Whole { packet: chain, fragments } => {
                // This one has not waited.
                self.counters.waiting.add(u64::from(fragments).wrapping_sub(1).wrapping_neg());
                self.counters.delivered.add(fragments.into());
                self.counters.reassembled.add(1);
                self.keep_whole(chain);
            }
        }
        self.count_lost_fragments(DropReason::ReassemblyExpired);
    }

    /// Keeps a packet that was put together until the round filters it.
    fn keep_whole(&mut self, chain: Mbuf) {
        let kept = match chain.copy(self.large).filter(Mbuf::is_contiguous) {
            Some(mut whole) => {
                whole.set_tag(chain.tag());
                self.wholes.push(whole).is_ok()
            }
            None => false,
        };
        if !kept {
            self.drop_packet(chain, DropReason::NoBuffers);
        }
    }

    /// Passes a packet on that no frame takes.
    pub(super) fn pass_on_in_pieces(&mut self, packet: Packet, to: MacAddr) {
        let Packet { mut mbuf, port } = packet;
        let hops = Came::of(mbuf.tag()).hops.saturating_add(1);
        let Some(path) = self.ports.get(usize::from(port)) else {
            return self.drop_packet(mbuf, DropReason::Malformed);
        };
        let (from, vlan, mtu) = (path.origin.mac, path.vlan, path.mtu);
        let Ok(summary) = summarise_trusted(mbuf.data(), vlan) else {
            return self.drop_packet(mbuf, DropReason::Malformed);
        };
        // It did come in fragments, whatever it says. (Each one's checksum is made anew.)
        let packet = mbuf.data_mut().get_mut(summary.l3_offset.into()..).unwrap_or_default();
        if let Ok(mut header) = ipv4::Packet::new_header_checked(packet) {
            header.set_fragment_word(header.fragment_word() & !ipv4::DONT_FRAGMENT);
        }
        let mut pieces = Burst::<PIECES_MAX>::new();
        let mtu = mtu.saturating_sub(cluster::PIECE_LEN as u16);
        if self.cut(&mut mbuf, (summary.family, summary.l3_offset), mtu, &mut pieces).is_err() {
            return self.drop_packet(mbuf, DropReason::FragmentFailed);
        }
        self.counters.fragmented.add(pieces.len().saturating_sub(1) as u64);
        let head = cluster::piece(self.me, hops);
        for mut piece in pieces.drain() {
            if wrap(&mut piece, summary.l3_offset, (to, from), head).is_none() {
                self.drop_packet(piece, DropReason::FragmentFailed);
                continue;
            }
            let Some(path) = self.ports.get_mut(usize::from(port)) else { continue };
            path.pass_on(piece, self.lease_ok, &self.counters);
        }
    }
}

/// Whether a packet was put together here: only those lie in buffers that are larger than the pool's that frames come in. (Frames may be
/// longer than a port's MTU: some hosts do not know it.)
pub(super) fn is_put_together(mbuf: &Mbuf, frames: Mempool) -> bool {
    mbuf.whole().len() > usize::from(frames.data_room())
}

/// Makes a fragment a frame of the cluster's: `head` goes between link header and packet. None: there is no room for it.
fn wrap(mbuf: &mut Mbuf, l2_len: u16, (to, from): (MacAddr, MacAddr), head: [u8; cluster::PIECE_LEN]) -> Option<()> {
    let l2_len = usize::from(l2_len);
    let frame =
        mbuf.prepend(head.len() as u16).map(|_| ()).and_then(|()| mbuf.data_mut().get_mut(..l2_len + head.len()))?;
    frame.copy_within(head.len().., 0);
    frame.get_mut(..6)?.copy_from_slice(&to.0);
    frame.get_mut(6..12)?.copy_from_slice(&from.0);
    let (link, place) = frame.split_at_mut_checked(l2_len)?;
    link.last_chunk_mut::<2>()?.copy_from_slice(&EtherType::CLUSTER.0.to_be_bytes());
    place.copy_from_slice(&head);
    Some(())
}

/// Makes a frame of the cluster's the fragment that it was. None: it is none.
fn unwrap(mbuf: &mut Mbuf, offset: u16) -> Option<()> {
    let (at, len) = (usize::from(offset), cluster::PIECE_LEN);
    let ethertype = match mbuf.data().get(at + len)? >> 4 {
        4 => EtherType::IPV4,
        6 => EtherType::IPV6,
        _ => return None,
    };
    let frame = mbuf.data_mut().get_mut(..at + len)?;
    frame.copy_within(..at, len);
    frame.last_chunk_mut::<2>()?.copy_from_slice(&ethertype.0.to_be_bytes());
    mbuf.adj(len as u16)
}

/// As many packets as one burst can complete.
pub(super) type Wholes = Burst<BURST>;
