//! Sharing transmit queues, for drivers that have fewer of them than there are workers.
//!
//! The first workers own a queue each. Every other one has a *lane*: a ring to a worker with a queue, which sends in its
//! own next round what it finds there. Each worker without a queue has its own lane on each port, so each ring has one
//! sender and one receiver; nothing locks and nothing is allocated, and order is kept from end to end.
//!
//! A packet in a lane was counted by the worker that routed it. If the one at the queue cannot send it after all, that
//! one counts the drop and says so in [`Unsent`]; the first then takes it back from what it forwarded. So each counter
//! keeps its one writer.

use std::sync::Arc;

use dpdk::ring::{self, Receiver, Sender};
use dpdk::{Burst, Eal};

use super::counter::Counter;
use super::link::Wake;
use super::shared::WorkerShared;
use super::transmit::{Kind, TX_BURST};

/// Packets that a lane holds: a few bursts of each round of the worker at its end.
const LANE_LEN: u32 = 511;

/// What came out of a lane and could not be sent. Written by the worker at the queue.
#[derive(Debug, Default)]
struct Unsent {
    forwarded: Counter,
    passed_on: Counter,
}

/// The end of the worker that has no queue.
pub(super) struct Lane {
    sender: Sender,
    wake: Wake,
    unsent: Arc<Unsent>,
    settled: (u64, u64),
}

/// The end of the worker that has one.
pub(super) struct Inlet {
    receiver: Receiver,
    unsent: Arc<Unsent>,
}

/// A lane of this port and worker to the one that `wake` wakes.
pub(super) fn lane(eal: &Eal, port: usize, worker: usize, wake: Wake) -> dpdk::Result<(Lane, Inlet)> {
    let (sender, receiver) = ring::channel(eal, &format!("lane{port}from{worker}"), LANE_LEN, None)?;
    let unsent = Arc::new(Unsent::default());
    Ok((Lane { sender, wake, unsent: unsent.clone(), settled: (0, 0) }, Inlet { receiver, unsent }))
}

impl Lane {
    /// Puts in what fits; the rest stays in the burst.
    pub(super) fn send(&mut self, burst: &mut Burst<TX_BURST>) {
        if self.sender.send(burst) > 0 {
            (self.wake)();
        }
    }

    /// Takes back from the counters what the other end could not send.
    pub(super) fn settle(&mut self, counters: &WorkerShared) {
        let unsent = (self.unsent.forwarded.get(), self.unsent.passed_on.get());
        if unsent != self.settled {
            counters.forwarded.add(self.settled.0.wrapping_sub(unsent.0));
            counters.passed_on.add(self.settled.1.wrapping_sub(unsent.1));
            self.settled = unsent;
        }
    }
}

impl Inlet {
    pub(super) fn is_waiting(&self) -> bool {
        !self.receiver.is_empty()
    }

    pub(super) fn receive(&mut self, burst: &mut Burst<TX_BURST>) -> usize {
        self.receiver.receive(burst)
    }

    /// Notes that a packet of this kind from this lane was dropped.
    pub(super) fn give_up(&self, kind: u32) {
        if kind == Kind::Forwarded as u32 {
            self.unsent.forwarded.add(1);
        } else {
            self.unsent.passed_on.add(1);
        }
    }
}
