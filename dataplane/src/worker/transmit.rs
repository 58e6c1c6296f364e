//! The way out: a buffer per port, filled packet by packet, sent burst by burst.
//!
//! What may leave only under a valid lease (forwarded packets, packets passed on, answers in the cluster's name) waits
//! in `leased`; what this member says in its own name in `own`. The lease is looked at again right before sending,
//! against a fresh clock: a process that was stopped in between must not speak for units that are another's by now.
//!
//! Where the driver has a transmit queue for each worker, that is the way out; where it has fewer, some workers send for
//! others ([`super::lane`]). Whoever sends looks at the lease.

use dpdk::{Burst, Eal, Mbuf, TxQueue};

use super::lane::{Inlet, Lane, lane};
use super::link::Wake;
use super::shared::WorkerShared;
use crate::drop_reason::DropReason;

/// How many packets a port's buffer holds.
pub(super) const TX_BURST: usize = 64;

/// What a packet in the buffer is, so that one that cannot be sent is counted rightly. It travels as the mbuf's tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Kind {
    /// Routed.
    Forwarded = 0,
    /// Passed on to its owner.
    PassedOn = 1,
    /// Made here, to leave under the lease like what is routed.
    Originated = 2,
    /// Made here, in this member's own name.
    Own = 3,
}

/// Above this bit of the tag: which inlet a packet came out of, counted from one.
const INLET_SHIFT: u32 = 8;

/// How a worker's packets leave by a port.
enum Way {
    Queue(TxQueue),
    Lane(Lane),
}

/// One port's way out, for one worker.
pub(super) struct Transmitter {
    way: Way,
    /// What other workers want sent.
    inlets: Vec<Inlet>,
    leased: Burst<TX_BURST>,
    /// The bytes of what is in `leased`.
    leased_bytes: u64,
    own: Burst<TX_BURST>,
    port: usize,
}

impl Transmitter {
    /// A port's queues, of which there is at least one, dealt out to the workers that these wake up: one
    /// [`Transmitter`] for each.
    pub(super) fn deal(eal: &Eal, queues: Vec<TxQueue>, wakes: &[Wake], port: usize) -> dpdk::Result<Vec<Self>> {
        let mut all: Vec<Self> =
            queues.into_iter().take(wakes.len()).map(|queue| Self::new(Way::Queue(queue), port)).collect();
        let queues = all.len().max(1);
        for worker in all.len()..wakes.len() {
            let at = worker % queues;
            let (Some(owner), Some(wake)) = (all.get_mut(at), wakes.get(at)) else {
                return Err(dpdk::Error::NotSupported { what: "a port without a transmit queue" });
            };
            let (lane, inlet) = lane(eal, port, worker, wake.clone())?;
            owner.inlets.push(inlet);
            all.push(Self::new(Way::Lane(lane), port));
        }
        Ok(all)
    }

    fn new(way: Way, port: usize) -> Self {
        Self { way, inlets: Vec::new(), leased: Burst::new(), leased_bytes: 0, own: Burst::new(), port }
    }

    /// Whether other workers send through this one, or it through another.
    pub(super) fn is_shared(&self) -> bool {
        !self.inlets.is_empty() || matches!(self.way, Way::Lane(_))
    }

    /// Whether other workers want something sent.
    pub(super) fn is_asked(&self) -> bool {
        self.inlets.iter().any(Inlet::is_waiting)
    }

    /// Takes over what other workers want sent, and says how much that was. What leaves under the lease waits for the
    /// next [`Self::flush`] with all the rest.
    pub(super) fn serve(&mut self, lease_ok: bool, counters: &WorkerShared) -> usize {
        let mut count = 0;
        for at in 0..self.inlets.len() {
            let mut burst = Burst::<TX_BURST>::new();
            let Some(inlet) = self.inlets.get_mut(at) else { break };
            count += inlet.receive(&mut burst);
            for mut mbuf in burst.drain() {
                let own = mbuf.tag() == Kind::Own as u32;
                mbuf.set_tag(mbuf.tag() | (at as u32 + 1) << INLET_SHIFT);
                if own || self.leased.is_full() {
                    // A marker must not overtake what was passed on before it.
                    self.flush(lease_ok, counters);
                }
                if own {
                    self.send_own(mbuf, counters);
                } else {
                    self.leased_bytes += u64::from(mbuf.pkt_len());
                    let _ = self.leased.push(mbuf);
                }
            }
        }
        count
    }

    /// Takes back from the counters what another worker could not send for this one.
    pub(super) fn settle(&mut self, counters: &WorkerShared) {
        if let Way::Lane(lane) = &mut self.way {
            lane.settle(counters);
        }
    }

    /// Whether packets wait to be sent under the lease.
    pub(super) fn is_waiting(&self) -> bool {
        !self.leased.is_empty()
    }

    /// Whether the buffer must be flushed before the next packet.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.leased.is_full()
    }

    /// Adds a packet that may leave under the lease only. The buffer has room: see [`Self::is_full`].
    #[inline]
    pub(super) fn push(&mut self, mut mbuf: Mbuf, kind: Kind) {
        mbuf.set_tag(kind as u32);
        self.leased_bytes += u64::from(mbuf.pkt_len());
        // Callers flush a full buffer first; if one did not, the packet returns to its pool here.
        let _ = self.leased.push(mbuf);
    }

    /// Adds packets of `bytes` in all that may leave under the lease only and whose tag is their [`Kind`], sending what
    /// is there already if they would not fit.
    #[inline]
    pub(super) fn push_all<const N: usize>(
        &mut self,
        burst: &mut Burst<N>,
        bytes: u64,
        lease_ok: bool,
        counters: &WorkerShared,
    ) {
        const { assert!(N <= TX_BURST) };
        if self.leased.room() < burst.len() {
            self.flush(lease_ok, counters);
        }
        self.leased_bytes += bytes;
        self.leased.append(burst);
    }

    /// Adds a packet that this member sends in its own name, and sends it.
    pub(super) fn push_own(&mut self, mut mbuf: Mbuf, counters: &WorkerShared) {
        mbuf.set_tag(Kind::Own as u32);
        self.send_own(mbuf, counters);
    }

    fn send_own(&mut self, mbuf: Mbuf, counters: &WorkerShared) {
        let bytes = mbuf.pkt_len().into();
        let _ = self.own.push(mbuf);
        if let Some(reason) = self.way.send(&mut self.own, bytes, self.port, counters) {
            give_up(&mut self.own, reason, &self.inlets, counters);
        }
    }

    /// Sends everything that waits, or drops it when the lease has lapsed.
    #[inline]
    pub(super) fn flush(&mut self, lease_ok: bool, counters: &WorkerShared) {
        if self.leased.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.leased_bytes);
        let refused = match lease_ok {
            true => self.way.send(&mut self.leased, bytes, self.port, counters),
            false => Some(DropReason::NoLease),
        };
        if let Some(reason) = refused {
            give_up(&mut self.leased, reason, &self.inlets, counters);
        }
    }
}

impl Way {
    /// Sends a burst of `bytes` in all; why the rest of it cannot be sent, if there is one. The bytes are passed in
    /// because whoever filled the burst had the lengths at hand.
    fn send(
        &mut self,
        burst: &mut Burst<TX_BURST>,
        bytes: u64,
        port: usize,
        counters: &WorkerShared,
    ) -> Option<DropReason> {
        let queue = match self {
            Self::Queue(queue) => queue,
            Self::Lane(lane) => {
                // Whoever sends it counts it as sent.
                lane.send(burst);
                return (!burst.is_empty()).then_some(DropReason::HandoverFull);
            }
        };
        let mut sent = queue.send(burst) as u64;
        if !burst.is_empty() {
            // One more try: a ring that was being emptied has room by now; more would only delay the others.
            sent += queue.send(burst) as u64;
        }
        let unsent: u64 = burst.iter().map(|m| u64::from(m.pkt_len())).sum();
        if let Some(counters) = counters.ports.get(port) {
            counters.tx_packets.add(sent);
            counters.tx_bytes.add(bytes - unsent);
        }
        (!burst.is_empty()).then_some(DropReason::TxFull)
    }
}

/// Drops what cannot leave; each packet was counted as sent when it came into the buffer, here or by the worker at the
/// other end of an inlet.
#[cold]
fn give_up(burst: &mut Burst<TX_BURST>, reason: DropReason, inlets: &[Inlet], counters: &WorkerShared) {
    for mbuf in burst.iter() {
        let (kind, inlet) = (mbuf.tag() & ((1 << INLET_SHIFT) - 1), mbuf.tag() >> INLET_SHIFT);
        if kind == Kind::Originated as u32 || kind == Kind::Own as u32 {
            counters.originated_lost.add(1);
            continue;
        }
        let minus_one = u64::MAX;
        match inlet.checked_sub(1).and_then(|at| inlets.get(at as usize)) {
            Some(inlet) => inlet.give_up(kind),
            None if kind == Kind::Forwarded as u32 => counters.forwarded.add(minus_one),
            None => counters.passed_on.add(minus_one),
        }
        counters.drops.add(reason, 1);
    }
    burst.clear();
}
