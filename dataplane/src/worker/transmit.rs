//! The way out: a buffer per port, filled packet by packet, sent burst by burst.
//!
//! What may leave only under a valid lease (forwarded packets, packets passed on, answers in the cluster's name) waits
//! in `leased`; what this member says in its own name in `own`. The lease is looked at again right before sending,
//! against a fresh clock: a process that was stopped in between must not speak for units that are another's by now.

use dpdk::{Burst, Mbuf, TxQueue};

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
    /// Made here.
    Originated = 2,
}

/// One port's way out, for one worker.
pub(super) struct Transmitter {
    queue: TxQueue,
    leased: Burst<TX_BURST>,
    /// The bytes of what is in `leased`.
    leased_bytes: u64,
    own: Burst<TX_BURST>,
    port: usize,
}

impl Transmitter {
    pub(super) fn new(queue: TxQueue, port: usize) -> Self {
        Self { queue, leased: Burst::new(), leased_bytes: 0, own: Burst::new(), port }
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
        mbuf.set_tag(Kind::Originated as u32);
        let bytes = mbuf.pkt_len().into();
        let _ = self.own.push(mbuf);
        send(&mut self.queue, &mut self.own, bytes, self.port, counters);
    }

    /// Sends everything that waits, or drops it when the lease has lapsed.
    #[inline]
    pub(super) fn flush(&mut self, lease_ok: bool, counters: &WorkerShared) {
        if self.leased.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.leased_bytes);
        if lease_ok {
            send(&mut self.queue, &mut self.leased, bytes, self.port, counters);
        } else {
            give_up(&mut self.leased, DropReason::NoLease, counters);
        }
    }
}

/// Sends a burst of `bytes` in all. They are passed in because whoever filled the burst had the lengths at hand.
fn send(queue: &mut TxQueue, burst: &mut Burst<TX_BURST>, bytes: u64, port: usize, counters: &WorkerShared) {
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
    if !burst.is_empty() {
        give_up(burst, DropReason::TxFull, counters);
    }
}

/// Drops what cannot leave; each packet was counted as sent when it came into the buffer.
#[cold]
fn give_up(burst: &mut Burst<TX_BURST>, reason: DropReason, counters: &WorkerShared) {
    for mbuf in burst.iter() {
        let minus_one = u64::MAX;
        match mbuf.tag() {
            tag if tag == Kind::Forwarded as u32 => counters.forwarded.add(minus_one),
            tag if tag == Kind::PassedOn as u32 => counters.passed_on.add(minus_one),
            _ => {
                counters.originated_lost.add(1);
                continue;
            }
        }
        counters.drops.add(reason, 1);
    }
    burst.clear();
}
