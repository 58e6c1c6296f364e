//! What can happen, and the order in which it does.

use std::rc::Rc;

use phalanx_control::cluster::Path;
use phalanx_dataplane::steer::{Notice, Order, Source};
use phalanx_dataplane::unit::MemberId;

use super::super::faults::Deed;
use super::super::node::{Datagram, Packet};
use super::super::sessions::DeskEvent;

/// Something that happens. Members are given by place, processes by place and life.
#[derive(Debug)]
pub enum Event {
    /// A copy of a cluster datagram arrives.
    Datagram(usize, Path, Datagram),
    /// A message over mutual TLS arrives.
    Reliable(usize, Datagram),
    /// A data frame arrives at a port (1 or 2).
    Frame(usize, usize, Source, Packet),
    /// A marker arrives at a port.
    Marker(usize, usize, MemberId, u64),
    /// An order reaches the worker.
    Obey(usize, u32, Rc<Order>),
    /// A notice reaches the core.
    Tell(usize, u32, Notice),
    /// The apps' verdict.
    Verdict(usize, u32, MemberId),
    /// The core's timer.
    Timer(usize, u32),
    /// The worker's timer.
    WorkerTimer(usize, u32),
    /// Something for the apps' half of a worker, or its link.
    Desk(usize, u32, DeskEvent),
    /// The worker's load report.
    Loads(usize, u32),
    /// A host sends a packet.
    Inject,
    /// An ARP announcement or answer reaches the host of this port.
    Arp(usize, usize),
    /// The hosts look up the cluster address again.
    Ask,
    /// Owners write to their sessions.
    Replicate,
    /// Something is done to the cluster.
    Deed(Deed),
    /// The schedule goes on.
    Schedule,
    /// A line's next conversation begins.
    Begin(usize),
    /// An end of a conversation acts.
    Act(usize, usize),
    /// Somebody asks for a ticket.
    Ask4Ticket(usize),
    /// A peer's turn.
    Peer(usize),
    /// A host's frame reaches the LAN late.
    Lan(Packet),
    /// A frame reaches a host.
    ToHost(u32),
    /// A link between two members that was cut is tried again.
    Stalled(usize, usize),
    /// The sessions are looked at.
    LookAtSessions,
}

pub(super) struct Due {
    pub(super) at: u64,
    pub(super) number: u64,
    /// Boxed: the queue moves its entries about a lot.
    pub(super) event: Box<Event>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
