//! The half of a worker that acts on packets: routes them, answers them, passes them on, drops them, and counts each.
//!
//! The other half ([`super::Worker`]) polls and asks the steering engine; it calls in here with the verdict, and the
//! engine itself does (as its [`Sink`]) when it lets go of held packets. Every packet that comes in here leaves by one
//! of `transmit`, `drop`, `deliver`, or into the neighbour table's queue.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dpdk::{Burst, Mbuf, Mempool};

use super::addresses::{Addresses, Owner};
use super::commit_lag::CommitLag;
use super::errands::Errands;
use super::fast::Gate;
use super::fragment_ids::FragmentIds;
use super::holdings::Holdings;
use super::news::NewsRings;
use super::packet::Packet;
use super::recent::Recent;
use super::routes::{Cache, Routes};
use super::shared::{Shared, WorkerShared};
use super::transmit::{Kind, Transmitter};
use super::verify::Verifier;
use super::wholes::{Came, Wholes, is_put_together};
use crate::app::{App, Hindrance, Passed, Returned, UnitSet};
use crate::drop_reason::DropReason;
use crate::icmp_error::TokenBucket;
use crate::ipsec::gateway::{Book, Passing};
use crate::local::{self, Origin};
use crate::neighbour::{Action, Table};
use crate::parse::{Summary, summarise_trusted};
use crate::port::{Delivery, PortIndex};
use crate::steer::{Holders, MarkerPart, Sink, View};
use crate::unit::{MemberId, Unit};
use crate::wire::{EtherType, MacAddr};

/// The longest link header: Ethernet's with a VLAN.
const LINK_LEN_MAX: u32 = 18;

/// What a worker knows of a port.
pub(super) struct PortPath {
    pub(super) origin: Origin,
    pub(super) vlan: Option<u16>,
    pub(super) mtu: u16,
    pub(super) gate: Gate,
    pub(super) tx: Transmitter,
    pub(super) link_up: bool,
}

impl PortPath {
    /// Has a frame leave that goes to a member.
    #[inline]
    pub(super) fn pass_on(&mut self, mbuf: Mbuf, lease_ok: bool, counters: &WorkerShared) {
        if self.tx.is_full() {
            self.tx.flush(lease_ok, counters);
        }
        self.tx.push(mbuf, Kind::PassedOn);
        counters.passed_on.add(1);
    }
}

pub(super) struct Path {
    pub(super) me: MemberId,
    /// Which worker this is.
    pub(super) worker: usize,
    pub(super) now_ns: u64,
    pub(super) lease_ok: bool,
    pub(super) delivery: Delivery,
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<WorkerShared>,
    pub(super) pool: Mempool,
    /// Large buffers, for packets put together from fragments.
    pub(super) large: Mempool,
    pub(super) addresses: Addresses,
    pub(super) ports: Vec<PortPath>,
    /// Whether some port has fewer transmit queues than there are workers ([`super::lane`]).
    pub(super) shares_queues: bool,
    pub(super) routes: Routes,
    pub(super) cache: Cache,
    pub(super) neighbours: Table<Mbuf>,
    pub(super) news: NewsRings,
    /// What the neighbour table wants done; empty between two packets.
    pub(super) actions: Vec<Action<Mbuf>>,
    pub(super) reassembler: dpdk::reassembly::Reassembler,
    pub(super) fragment_ids: FragmentIds,
    /// Packets that were put together in this round, to be filtered once more.
    pub(super) wholes: Wholes,
    pub(super) errors: TokenBucket,
    pub(super) apps: Vec<Box<dyn App>>,
    /// Which packets between hosts are for an app, and which app that is.
    pub(super) book: Book,
    pub(super) tunnels_app: usize,
    /// Packets of the cluster's own that come out of tunnels or belong into one.
    pub(super) errands: Errands,
    /// What is held of the apps' sessions, and of others'.
    pub(super) holdings: Holdings,
    /// Packets to sessions that are other members'.
    pub(super) recent: Recent,
    /// How long commits take.
    pub(super) commit_lag: CommitLag,
    /// Compares what backups hold with what is here.
    pub(super) verifier: Verifier,
    pub(super) answers: bool,
    pub(super) peers: Vec<Option<Vec<[u8; 6]>>>,
    /// Whose units are, where members hold sessions.
    pub(super) holders: Option<Arc<Holders>>,
    /// Units that became ours with the last views and have not had a packet yet.
    pub(super) fresh: Fresh,
    /// The unit of the last packet that is this member's: it stands for its round (see [`Self::charge`]).
    pub(super) sampled: Option<Unit>,
    /// Which hardware addresses may be members': one bit for each of 64 hashes.
    pub(super) member_filter: u64,
}

/// Watches for the first packet of units that were just taken over.
pub(super) struct Fresh {
    units: UnitSet,
    pub(super) any: bool,
}

impl Fresh {
    pub(super) const NONE: Self = Self { units: UnitSet::EMPTY, any: false };

    pub(super) fn add(&mut self, unit: Unit) {
        self.units.insert(unit);
        self.any = true;
    }

    fn take(&mut self, unit: Unit) -> bool {
        let was = self.units.contains(unit);
        self.units.remove(unit);
        was
    }
}

/// A hardware address's bit in the filter of members.
fn member_bit(mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    let number = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    1 << (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

impl Path {
    /// Whether a frame is certainly not from a member.
    #[inline]
    pub(super) fn is_from_host(&self, frame: &[u8]) -> bool {
        let from: Option<[u8; 6]> = crate::wire::bytes::array(frame, 6);
        from.is_some_and(|mac| self.member_filter & member_bit(mac) == 0)
    }

    fn has_link(&self, port: usize) -> bool {
        self.ports.get(port).is_some_and(|path| path.link_up)
    }

    /// The member whose port has this hardware address.
    pub(super) fn member_at(&self, mac: MacAddr, port: PortIndex) -> Option<MemberId> {
        let is_there =
            |macs: &Option<Vec<[u8; 6]>>| macs.as_ref().is_some_and(|macs| macs.get(usize::from(port)) == Some(&mac.0));
        let index = self.peers.iter().position(is_there)?;
        MemberId::new(u8::try_from(index + 1).ok()?)
    }

    /// Takes over what a view says beside the modes.
    pub(super) fn set_view(&mut self, view: &View) {
        self.answers = view.answers;
        let macs = view.peers.iter().flatten().flatten();
        self.member_filter = macs.fold(0, |filter, mac| filter | member_bit(*mac));
        self.peers.clone_from(&view.peers);
        self.holders.clone_from(&view.holders);
    }

    pub(super) fn drop_packet(&mut self, mbuf: Mbuf, reason: DropReason) {
        self.counters.drops.add(reason, 1);
        drop(mbuf);
    }

    /// Notes what a packet of ours costs.
    #[inline]
    pub(super) fn load(&mut self, unit: Unit, bytes: u32) {
        self.counters.loads.of(unit).add(bytes);
        self.sampled = Some(unit);
        if self.fresh.any {
            self.note_first(unit);
        }
    }

    /// Charges a round's cycles to the unit of one of its packets. Over many rounds each unit is charged its share,
    /// at a fraction of the cost of charging every packet.
    #[inline]
    pub(super) fn charge(&mut self, cycles: u64) {
        if let Some(unit) = self.sampled.take() {
            self.counters.loads.cycles(unit).add(cycles);
        }
    }

    #[cold]
    pub(super) fn note_first(&mut self, unit: Unit) {
        if self.fresh.take(unit) {
            let now_ns = self.now_ns;
            let first = self.shared.first_packet_ns.compare_exchange(0, now_ns, Relaxed, Relaxed);
            self.fresh.any = first.is_err() && !self.fresh.units.is_empty();
        }
    }

    /// Processes a packet of a unit of ours.
    pub(super) fn process_packet(&mut self, unit: Unit, packet: Packet) {
        self.load(unit, packet.mbuf.pkt_len());
        let Packet { mbuf, port } = packet;
        let vlan = self.ports.get(usize::from(port)).and_then(|p| p.vlan);
        // It was parsed, and its checksum found right, before it was steered; parsing it again is simpler than carrying
        // the summary along.
        let Ok(summary) = summarise_trusted(mbuf.data(), vlan) else {
            return self.drop_packet(mbuf, DropReason::Malformed);
        };
        match self.addresses.destination_of(&summary).map(|a| a.owner) {
            Some(Owner::Cluster) if summary.is_fragment() => self.reassemble(mbuf, &summary, Came::directly(port)),
            Some(Owner::Cluster) => self.deliver_to_cluster(unit, mbuf, &summary, port),
            Some(Owner::Unit) => self.deliver_to_unit(mbuf, &summary, port),
            Some(Owner::Everyone) => self.drop_packet(mbuf, DropReason::NotForwardable),
            None => self.pass(mbuf, &summary),
        }
    }

    /// A packet between hosts, of a unit of ours: into a tunnel, or on its way.
    fn pass(&mut self, mut mbuf: Mbuf, summary: &Summary) {
        match self.judge(summary) {
            Passing::Clear => self.route(mbuf, summary),
            Passing::Bare => self.drop_packet(mbuf, DropReason::PolicyMismatch),
            Passing::Guarded => self.drop_packet(mbuf, DropReason::Unprotected),
            Passing::Into(spi) => match self.give_to_tunnel(spi, summary, &mut mbuf) {
                Ok(Passed::Taken) => self.counters.delivered.add(1),
                Ok(Passed::Wrapped) => {
                    self.counters.delivered.add(1);
                    self.send_packet(mbuf);
                }
                Err(Hindrance::Drop(reason)) => self.drop_packet(mbuf, reason),
                Err(Hindrance::Complaint(complaint, reason)) => self.complain(mbuf, summary, complaint, reason),
                Err(Hindrance::Cut { mtu }) => self.pass_cut(mbuf, summary, spi, mtu),
            },
        }
    }

    /// Whether a packet is to an address of the cluster's.
    pub(super) fn is_to_cluster(&self, summary: &Summary) -> bool {
        self.addresses.destination_of(summary).is_some_and(|address| address.owner == Owner::Cluster)
    }

    /// What becomes of a packet between hosts.
    #[inline]
    pub(super) fn judge(&mut self, summary: &Summary) -> Passing {
        if self.book.policies().is_empty() { Passing::Clear } else { self.book.judge(summary) }
    }

    /// A packet to a cluster address, of a unit of ours: an app claims it, or is told that one of its own came back, or the
    /// router itself answers an echo.
    fn deliver_to_cluster(&mut self, unit: Unit, mbuf: Mbuf, summary: &Summary, port: PortIndex) {
        if let Some(returned) = Returned::parse(summary, summary.l4(mbuf.data())) {
            return match self.give_back(unit, &returned) {
                true => self.counters.delivered.add(1),
                false => self.drop_packet(mbuf, DropReason::NoApp),
            };
        }
        // What should have come through a tunnel is nobody's (RFC 4301 section 5.2), but for what makes the tunnels.
        if self.is_bare(summary) {
            return self.drop_packet(mbuf, DropReason::PolicyMismatch);
        }
        match self.offer(unit, summary, mbuf.data()) {
            Ok(true) => return self.counters.delivered.add(1),
            Ok(false) => {}
            Err(reason) => return self.drop_packet(mbuf, reason),
        }
        self.answer_echo(mbuf, summary, port);
    }

    /// Whether a packet to a cluster address should have come through a tunnel.
    fn is_bare(&self, summary: &Summary) -> bool {
        self.is_protected(&summary.turned()) && !self.apps.get(self.tunnels_app).is_some_and(|app| app.claims(summary))
    }

    /// What the router itself does with a packet to a cluster address.
    pub(super) fn answer_echo(&mut self, mut mbuf: Mbuf, summary: &Summary, port: PortIndex) {
        let Some(origin) = self.ports.get(usize::from(port)).map(|p| p.origin) else {
            return self.drop_packet(mbuf, DropReason::Malformed);
        };
        // What goes to a tunnel's peer must not go there in clear.
        if self.is_protected(&summary.turned()) {
            return self.drop_packet(mbuf, DropReason::PolicyMismatch);
        }
        if !local::echo_reply_in_place(&origin, summary, mbuf.data_mut()) {
            return self.drop_packet(mbuf, DropReason::NoApp);
        }
        self.counters.delivered.add(1);
        // Not simply back to where the frame came from: that may be the member that passed it on.
        self.originate(mbuf, summary.l3_offset, summary.family, summary.src);
    }

    /// A packet to this member's own address.
    pub(super) fn deliver_to_unit(&mut self, mut mbuf: Mbuf, summary: &Summary, port: PortIndex) {
        let Some(path) = self.ports.get_mut(usize::from(port)) else {
            return self.drop_packet(mbuf, DropReason::Malformed);
        };
        if local::echo_reply_in_place(&path.origin, summary, mbuf.data_mut()) {
            self.counters.delivered.add(1);
            self.counters.originated.add(1);
            path.tx.push_own(mbuf, &self.counters);
        } else {
            self.drop_packet(mbuf, DropReason::NoService);
        }
    }

    /// Lets go of fragments whose packets did not become whole in time.
    pub(super) fn expire_fragments(&mut self) {
        self.reassembler.expire(dpdk::clock::cycles());
        self.count_lost_fragments(DropReason::ReassemblyExpired);
    }

    /// Lets go of all fragments.
    pub(super) fn discard_fragments(&mut self, reason: DropReason) {
        self.reassembler.expire(u64::MAX);
        self.count_lost_fragments(reason);
    }

    /// Fragments that were given up wait no longer. `over`: why those went whose time was over.
    pub(super) fn count_lost_fragments(&mut self, over: DropReason) {
        let lost = self.reassembler.take_losses();
        if lost.total() == 0 {
            return;
        }
        self.counters.waiting.add(u64::from(lost.total()).wrapping_neg());
        self.counters.drops.add(over, lost.expired.into());
        self.counters.drops.add(DropReason::ReassemblyFull, lost.full.into());
        self.counters.drops.add(DropReason::ReassemblyFailed, lost.failed.into());
    }

    /// Passes a packet on to a member: the frame as it is, but for the two hardware addresses; in pieces, if it was put together and is
    /// longer than frames are.
    pub(super) fn pass_on_packet(&mut self, packet: Packet, to: MemberId) {
        let Packet { mut mbuf, port } = packet;
        let mac = self.peers.get(to.index()).and_then(|macs| macs.as_ref()?.get(usize::from(port)).copied());
        let (Some(mac), Some(path)) = (mac, self.ports.get_mut(usize::from(port))) else {
            return self.drop_packet(mbuf, DropReason::NoPeer);
        };
        if mbuf.pkt_len() > u32::from(path.mtu) + LINK_LEN_MAX && is_put_together(&mbuf, self.pool) {
            return self.pass_on_in_pieces(Packet { mbuf, port }, MacAddr(mac));
        }
        if let Some(head) = mbuf.data_mut().first_chunk_mut::<12>() {
            head[..6].copy_from_slice(&mac);
            head[6..].copy_from_slice(&path.origin.mac.0);
        }
        path.pass_on(mbuf, self.lease_ok, &self.counters);
    }

    /// Sends a frame in this member's own name, lease or not. `write` fills the frame and answers its length.
    pub(super) fn say<E>(&mut self, port: PortIndex, write: impl FnOnce(&Origin, &mut [u8]) -> Result<usize, E>) {
        const ROOM: u16 = 1600;
        let Some(path) = self.ports.get_mut(usize::from(port)) else { return };
        self.counters.originated.add(1);
        let frame = self.pool.alloc().and_then(|mut mbuf| {
            let room = mbuf.append(mbuf.tailroom().min(ROOM))?;
            let len = write(&path.origin, room).ok()?;
            let excess = mbuf.data_len().checked_sub(u16::try_from(len).ok()?)?;
            mbuf.trim(excess)?;
            Some(mbuf)
        });
        match frame {
            Some(mbuf) => path.tx.push_own(mbuf, &self.counters),
            None => self.counters.originated_lost.add(1),
        }
    }

    /// Sends a cluster frame on one port.
    pub(super) fn say_to_members(&mut self, port: PortIndex, destination: MacAddr, payload: &[u8]) {
        self.say(port, |origin, buffer| {
            let (source, vlan) = (origin.mac, origin.vlan);
            let header = crate::wire::ethernet::Repr { destination, source, vlan, ethertype: EtherType::CLUSTER };
            let at = header.emit(buffer).map_err(drop)?;
            let end = at + payload.len();
            buffer.get_mut(at..end).ok_or(())?.copy_from_slice(payload);
            Ok::<usize, ()>(end)
        });
    }

    /// Sends what waits on every port. The lease is looked at once more, on a clock that the caller has just read.
    pub(super) fn flush(&mut self, lease_ok: bool) {
        for port in &mut self.ports {
            port.tx.flush(lease_ok, &self.counters);
        }
    }

    pub(super) fn is_sending(&self) -> bool {
        self.ports.iter().any(|p| p.tx.is_waiting())
    }

    /// Whether another worker wants something sent through this one.
    pub(super) fn is_asked_to_send(&self) -> bool {
        self.shares_queues && self.ports.iter().any(|p| p.tx.is_asked())
    }

    /// Takes over what other workers want sent; says how many packets that was.
    pub(super) fn send_for_others(&mut self, lease_ok: bool) -> usize {
        self.ports.iter_mut().map(|p| p.tx.serve(lease_ok, &self.counters)).sum()
    }

    /// Takes back from the counters what other workers could not send for this one.
    pub(super) fn settle(&mut self) {
        for port in &mut self.ports {
            port.tx.settle(&self.counters);
        }
    }

    /// Frees a burst, all for one reason.
    pub(super) fn drop_burst<const N: usize>(&mut self, burst: &mut Burst<N>, reason: DropReason) {
        let count = burst.clear() as u64;
        self.counters.drops.add(reason, count);
    }
}

impl Sink<Packet> for Path {
    fn process(&mut self, unit: Unit, packet: Packet) {
        self.process_packet(unit, packet);
    }

    fn pass_on(&mut self, _: Unit, packet: Packet, to: MemberId) {
        self.pass_on_packet(packet, to);
    }

    fn drop(&mut self, packet: Packet, reason: DropReason) {
        self.drop_packet(packet.mbuf, reason);
    }

    fn marker(&mut self, to: MemberId, token: u64) {
        let Some(Some(macs)) = self.peers.get(to.index()).cloned() else { return };
        // A port without a link carried nothing, and would keep the receiver waiting for its part.
        let up: Vec<_> = macs.into_iter().enumerate().filter(|(port, _)| self.has_link(*port)).collect();
        let of = up.len() * self.shared.workers.len();
        for (rank, (port, mac)) in up.iter().enumerate() {
            let index = self.worker * up.len() + rank;
            let part = u16::try_from(index).ok().zip(u16::try_from(of).ok());
            let Some(part) = part.and_then(|(index, of)| MarkerPart::new(index, of)) else { return };
            if let Some(path) = self.ports.get_mut(*port) {
                // Whatever was passed on goes first.
                path.tx.flush(self.lease_ok, &self.counters);
            }
            let marker = super::cluster::marker(token, self.me, part);
            self.say_to_members(*port as PortIndex, MacAddr(*mac), &marker);
        }
    }
}
