//! The other ends of a benchmark's tunnels: what they send is sealed while the clock stands still, each packet with a number and an IV
//! of its own, for a worker with a replay window takes none twice.

use dpdk::{Burst, Mempool};

use super::flows;
use super::tunnels::TunnelsPlan;
use crate::ipsec::crypto::builtin::BuiltIn;
use crate::ipsec::crypto::{Direction, Engine, Job, Numbers, Session};
use crate::ipsec::encap::{Draws, Encap, Mode};
use crate::ipsec::outer::Outer;
use crate::worker::BURST;

/// Ethernet header.
const LINK_LEN: usize = 14;

/// See the module.
pub(super) struct Peers {
    all: Vec<Peer>,
    /// Plain frames of the flows, turned round, and whose they are.
    frames: Vec<(Vec<u8>, usize)>,
    next: usize,
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
        (!all.is_empty()).then_some(Self { all, frames, next: 0 })
    }

    /// Fills the buffers that come next out of the pool, the last one first: so they come.
    pub(super) fn fill(&mut self, pool: Mempool) {
        let mut burst = Burst::<BURST>::new();
        pool.fill(&mut burst);
        for mbuf in burst.iter_mut().rev() {
            self.next = (self.next + 1) % self.frames.len().max(1);
            let Some((frame, peer)) = self.frames.get(self.next) else { return };
            let Some((link, inner)) = frame.split_at_checked(LINK_LEN) else { return };
            let Some(peer) = self.all.get_mut(*peer) else { return };
            let Some(layout) = peer.encap.room(inner) else { return };
            let len = LINK_LEN + layout.before + inner.len() + layout.after;
            let Some((head, packet)) = mbuf.append(len as u16).and_then(|room| room.split_at_mut_checked(LINK_LEN))
            else {
                return;
            };
            head.copy_from_slice(link);
            if let Some(place) = packet.get_mut(layout.before..layout.before + inner.len()) {
                place.copy_from_slice(inner);
            }
            peer.sequence += 1;
            let draws = Draws { sequence: peer.sequence, nonce: peer.sequence, id: 0 };
            let Some(esp) = peer.encap.build(packet, layout, draws).and_then(|at| packet.get_mut(at..)) else { return };
            peer.sealer.process(&mut [Job::new(esp, (peer.sequence >> u32::BITS) as u32)]);
        }
    }
}
