//! What the cluster itself has to do with tunnels: packets to its own addresses that come out of one, and packets of its own that
//! belong into one.
//!
//! The apps are away from the worker while one of them is called (`outlet`), and such a packet is for another one, or for the same
//! one again: so it waits until the call is over.
//!
//! What comes out of a tunnel is of the tunnel's unit, whatever its numbers say: so what an app begins with it is served where the
//! tunnel is, and the answers find it there. What belongs into a tunnel that another worker or member serves is not sent.

use std::collections::VecDeque;

use dpdk::{Burst, Mbuf};

use super::forward::FRAGMENTS_MAX;
use super::path::Path;
use crate::app::{Hindrance, Passed, Returned, Trouble};
use crate::icmp_error::Complaint;
use crate::ipsec::gateway::Passing;
use crate::local;
use crate::parse::{Summary, summarise_l3};
use crate::unit::Unit;

/// So many may wait: one call of an app sends a whole window of a connection at most.
const WAITING_MAX: usize = 512;

/// A packet that waits, without a link's header.
enum Errand {
    /// It has come out of a tunnel of this unit, to an address of the cluster's.
    Arrived(Unit, Mbuf),
    /// It is the cluster's own, and belongs into the tunnel with this inbound SPI.
    Leaving(u32, Mbuf),
}

/// See the module.
pub(super) struct Errands {
    waiting: VecDeque<Errand>,
    /// They are being done.
    busy: bool,
}

/// Where a packet of the cluster's own goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Clear,
    Into(u32),
    /// It must not go in clear, and its tunnel is not served here, if there is one.
    Nowhere,
}

impl Errands {
    /// None yet. All the memory that they take is allocated here.
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::with_capacity(WAITING_MAX), busy: false }
    }

    /// False: too many wait.
    fn add(&mut self, errand: Errand) -> bool {
        let has_room = self.waiting.len() < WAITING_MAX;
        if has_room {
            self.waiting.push_back(errand);
        }
        has_room
    }
}

impl Path {
    /// A packet to an address of the cluster's has come out of a tunnel. False: too many wait.
    pub(super) fn let_arrive(&mut self, unit: Unit, mbuf: Mbuf) -> bool {
        self.errands.add(Errand::Arrived(unit, mbuf))
    }

    /// A packet of the cluster's own belongs into a tunnel. False: too many wait.
    pub(super) fn let_leave(&mut self, spi: u32, mbuf: Mbuf) -> bool {
        self.errands.add(Errand::Leaving(spi, mbuf))
    }

    /// Where a packet of the cluster's own goes.
    pub(super) fn way_of(&self, summary: &Summary) -> Way {
        let policies = self.book.policies();
        if policies.is_empty() {
            return Way::Clear;
        }
        match policies.outward(summary) {
            Passing::Clear | Passing::Bare => Way::Clear,
            Passing::Into(spi) if self.holdings.owns(Unit::from_low_bits(spi)) => Way::Into(spi),
            Passing::Into(_) | Passing::Guarded => Way::Nowhere,
        }
    }

    /// Does what waits. To be called when an app's call is over.
    pub(super) fn run_errands(&mut self) {
        if std::mem::replace(&mut self.errands.busy, true) {
            return;
        }
        while let Some(errand) = self.errands.waiting.pop_front() {
            match errand {
                Errand::Arrived(unit, mbuf) => self.arrive(unit, mbuf),
                Errand::Leaving(spi, mbuf) => self.leave(spi, mbuf),
            }
        }
        self.errands.busy = false;
    }

    /// An app claims it, or it is an echo request, which the router itself answers; otherwise it is lost. A fragment is: the
    /// others may take another way.
    fn arrive(&mut self, unit: Unit, mut mbuf: Mbuf) {
        let Some(summary) = summarise_l3(mbuf.data()).ok().filter(|summary| !summary.is_fragment()) else {
            return self.lose_own();
        };
        let taken = match Returned::parse(&summary, summary.l4(mbuf.data())) {
            Some(returned) => self.give_back(unit, &returned),
            None => match self.offer(unit, &summary, mbuf.data()) {
                Ok(taken) => taken,
                Err(_) => return self.lose_own(),
            },
        };
        if taken {
            return;
        }
        if !local::echo_reply(&summary, mbuf.data_mut()) {
            return self.lose_own();
        }
        match self.way_of(&summary.turned()) {
            Way::Clear => self.originate(mbuf, 0, summary.family, summary.src),
            Way::Into(spi) => self.leave(spi, mbuf),
            Way::Nowhere => self.lose_own(),
        }
    }

    fn leave(&mut self, spi: u32, mut mbuf: Mbuf) {
        let Ok(summary) = summarise_l3(mbuf.data()) else { return self.lose_own() };
        match self.give_to_tunnel(spi, &summary, &mut mbuf) {
            Ok(Passed::Wrapped) => self.send_packet(mbuf),
            Ok(Passed::Taken) => {}
            Err(Hindrance::Complaint(Complaint::TooBig { mtu }, _)) => {
                self.tell_too_big(Unit::from_low_bits(spi), &summary, &mbuf, mtu);
                self.lose_own();
            }
            Err(Hindrance::Cut { mtu }) => self.leave_cut(spi, &summary, mbuf, mtu),
            Err(_) => self.lose_own(),
        }
    }

    /// Like hosts' packets: what goes into a tunnel whose own packets are never cut is cut before.
    fn leave_cut(&mut self, spi: u32, summary: &Summary, mut mbuf: Mbuf, mtu: u16) {
        let mut pieces = Burst::<FRAGMENTS_MAX>::new();
        if self.cut(&mut mbuf, (summary.family, 0), mtu, &mut pieces).is_err() {
            return self.lose_own();
        }
        pieces.drain().for_each(|piece| self.leave(spi, piece));
    }

    /// Who has sent it hears what a router on the way would tell.
    fn tell_too_big(&mut self, unit: Unit, summary: &Summary, mbuf: &Mbuf, mtu: u16) {
        let about = summary.turned();
        self.give_back(unit, &Returned { about, trouble: Trouble::TooBig { mtu }, quoted: summary.l4(mbuf.data()) });
    }

    /// A packet that did not come in by a port is no drop.
    pub(super) fn lose_own(&self) {
        self.counters.originated.add(1);
        self.counters.originated_lost.add(1);
    }
}
