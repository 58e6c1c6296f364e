//! From worker to worker: a packet whose unit another worker of this member serves goes there through a ring.
//!
//! One ring for each ordered pair, so each has one sender and one receiver. A packet is handed over at most once: its
//! receiver is the one that its unit names. Order within a unit is kept as far as the ports kept it.

use dpdk::ring::{Receiver, Sender};
use dpdk::{Burst, Eal};

use super::fast::BURST;
use super::packet::Packet;
use super::shared::WorkerShared;
use crate::drop_reason::DropReason;
use crate::unit::Unit;

/// Packets that a ring holds.
const RING_LEN: u32 = 1023;

/// The worker that serves a unit. Mixed first: masters deal units out in turn, so a member's own are often every other
/// one, or every third.
#[inline]
pub fn worker_of(unit: Unit, workers: usize) -> usize {
    let mixed = u32::from(unit.number()).wrapping_mul(0x9e37_79b1);
    ((u64::from(mixed) * workers as u64) >> 32) as usize
}

/// What wakes another worker.
type Wake = std::sync::Arc<dyn Fn() + Send + Sync>;

struct Outlet {
    sender: Sender,
    waiting: Burst<BURST>,
    wake: Wake,
}

/// One worker's ends of all rings.
#[derive(Default)]
pub(super) struct Handover {
    /// By worker; none for the worker itself.
    outlets: Vec<Option<Outlet>>,
    inlets: Vec<Receiver>,
}

impl Handover {
    /// The rings between workers that these wake up; one [`Handover`] for each.
    pub(super) fn mesh(eal: &Eal, wakes: &[Wake]) -> dpdk::Result<Vec<Self>> {
        let mut all: Vec<Self> = wakes.iter().map(|_| Self::default()).collect();
        for from in 0..wakes.len() {
            for (to, wake) in wakes.iter().enumerate() {
                let outlet = if from == to {
                    None
                } else {
                    let (sender, receiver) =
                        dpdk::ring::channel(eal, &format!("handover{from}to{to}"), RING_LEN, None)?;
                    all[to].inlets.push(receiver);
                    Some(Outlet { sender, waiting: Burst::new(), wake: wake.clone() })
                };
                all[from].outlets.push(outlet);
            }
        }
        Ok(all)
    }

    /// Gives a packet to another worker; the port travels as the mbuf's tag.
    pub(super) fn give(&mut self, worker: usize, packet: Packet, counters: &WorkerShared) {
        let Packet { mut mbuf, port } = packet;
        let Some(Some(outlet)) = self.outlets.get_mut(worker) else {
            return counters.drops.add(DropReason::HandoverFull, 1);
        };
        mbuf.set_tag(port.into());
        if outlet.waiting.is_full() {
            outlet.flush(counters);
        }
        let _ = outlet.waiting.push(mbuf);
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self, counters: &WorkerShared) {
        for outlet in self.outlets.iter_mut().flatten() {
            if !outlet.waiting.is_empty() {
                outlet.flush(counters);
            }
        }
    }

    /// How many rings come in.
    pub(super) fn inlets(&self) -> usize {
        self.inlets.len()
    }

    /// Whether a packet waits in a ring.
    pub(super) fn is_waiting(&self) -> bool {
        self.inlets.iter().any(|r| !r.is_empty())
    }

    /// Takes packets from one ring.
    pub(super) fn take(&mut self, inlet: usize, burst: &mut Burst<BURST>, counters: &WorkerShared) -> usize {
        let Some(receiver) = self.inlets.get_mut(inlet) else { return 0 };
        let count = receiver.receive(burst);
        counters.handed_over.add((count as u64).wrapping_neg());
        count
    }
}

impl Outlet {
    fn flush(&mut self, counters: &WorkerShared) {
        let sent = self.sender.send(&mut self.waiting) as u64;
        counters.handed_over.add(sent);
        let lost = self.waiting.clear() as u64;
        counters.drops.add(DropReason::HandoverFull, lost);
        if sent > 0 {
            (self.wake)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_whatever_a_member_is_dealt() {
        for (workers, members) in (1..=8).flat_map(|workers| (1..=8).map(move |members| (workers, members))) {
            for member in 0..members {
                let dealt = || Unit::all().filter(|unit| unit.index() % members == member);
                let fair = dealt().count() / workers;
                for worker in 0..workers {
                    let share = dealt().filter(|unit| worker_of(*unit, workers) == worker).count();
                    assert!(
                        share.abs_diff(fair) <= fair / 4 + 2,
                        "{share} for {worker} of {workers}, {member} of {members}"
                    );
                }
            }
        }
    }
}
