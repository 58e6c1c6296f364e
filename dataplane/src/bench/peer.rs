//! The other ends of a benchmark's tunnels: what they send is sealed while the clock stands still, each packet with a number and an IV
//! of its own, for a worker with a replay window takes none twice.
//!
//! Thousands of packets are sealed at a time, and copied into buffers a burst at a time: a worker whose caches and branch predictors
//! had seen nothing but other people's cryptography before each burst would not be the one that works without a pause.

use dpdk::{Burst, Mempool};

use super::flows;
use super::tunnels::TunnelsPlan;
use crate::ipsec::crypto::builtin::BuiltIn;
use crate::ipsec::crypto::{Direction, Engine, Job, Numbers, Session};
use crate::ipsec::encap::{Draws, Encap, Mode, Name};
use crate::ipsec::outer::Outer;
use crate::worker::BURST;

/// Ethernet header.
const LINK_LEN: usize = 14;
/// Packets that are sealed at a time.
const AHEAD: usize = 128 * BURST;

/// See the module.
pub(super) struct Peers {
    all: Vec<Peer>,
    /// Plain frames of the flows, turned round, and whose they are.
    frames: Vec<(Vec<u8>, usize)>,
    next: usize,
    /// Sealed frames that nobody has had, the next one last.
    ready: Vec<Vec<u8>>,
    /// Their buffers, once they are used.
    spent: Vec<Vec<u8>>,
}

struct Peer {
    encap: Encap,
    sealer: Box<dyn Session>,
    sequence: u64,
}

impl Peers {
    /// Those of these tunnels, who send the flows' answers. None: the plan has no tunnels.
    pub(super) fn new(plan: TunnelsPlan, cluster: [u8; 4], frames: &[Vec<u8>]) -> Option<Self> {
        let peer = |tunnel: crate::ipsec::gateway::TunnelSpec| {
            let outer = Outer { source: tunnel.outer.destination, destination: tunnel.outer.source, ..tunnel.outer };
            let transform = plan.transform;
            let sealer = BuiltIn.session(transform, &tunnel.inbound.keys, Numbers::Extended, Direction::Seal).ok()?;
            Some(Peer { encap: Encap::new(tunnel.inbound.spi, Mode::Tunnel(outer), transform), sealer, sequence: 0 })
        };
        let all: Vec<Peer> = plan.tunnels(cluster).filter_map(peer).collect();
        let frames = frames.iter().filter_map(|frame| Some((flows::turned(frame)?, plan.tunnel_of(frame)?))).collect();
        let spent = vec![Vec::new(); AHEAD];
        (!all.is_empty()).then_some(Self { all, frames, next: 0, ready: Vec::with_capacity(AHEAD), spent })
    }

    /// Fills the buffers that come next out of the pool, the last one first: so they come.
    pub(super) fn fill(&mut self, pool: Mempool) {
        if self.ready.is_empty() {
            self.seal_ahead();
        }
        let mut burst = Burst::<BURST>::new();
        pool.fill(&mut burst);
        for mbuf in burst.iter_mut().rev() {
            let Some(frame) = self.ready.pop() else { return };
            if let Some(room) = mbuf.append(frame.len() as u16) {
                room.copy_from_slice(&frame);
            }
            self.spent.push(frame);
        }
    }

    fn seal_ahead(&mut self) {
        while let Some(mut buffer) = self.spent.pop() {
            if self.seal(&mut buffer).is_none() {
                return;
            }
            self.ready.push(buffer);
        }
        // In the order in which they were numbered.
        self.ready.reverse();
    }

    /// Makes the next flow's sealed frame.
    fn seal(&mut self, frame: &mut Vec<u8>) -> Option<()> {
        self.next = (self.next + 1) % self.frames.len().max(1);
        let (plain, peer) = self.frames.get(self.next)?;
        let (link, inner) = plain.split_at_checked(LINK_LEN)?;
        let peer = self.all.get_mut(*peer)?;
        let layout = peer.encap.room(inner)?;
        frame.clear();
        frame.extend_from_slice(link);
        frame.resize(LINK_LEN + layout.before, 0);
        frame.extend_from_slice(inner);
        frame.resize(frame.len() + layout.after, 0);
        let packet = frame.get_mut(LINK_LEN..)?;
        peer.sequence += 1;
        let draws = Draws { sequence: peer.sequence, nonce: peer.sequence, name: Name::default() };
        let at = peer.encap.build(packet, layout, draws)?;
        peer.sealer.process(&mut [Job::new(packet.get_mut(at..)?, (peer.sequence >> u32::BITS) as u32)]);
        Some(())
    }
}
