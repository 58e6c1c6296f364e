//! Peers that speak of an IKE SA that is not here (RFC 6290): they are told that it is lost, with the token that they were given for that.
//!
//! Whoever sees the token can end the SA that it is for. So it is said only if no member has that SA, and none can have it any more:
//!
//! 1. The SPI's unit is ours, and was all the time from the message to the answer; neither is there a record of it in our store.
//! 2. Nobody else believed that the unit was his when the message came. That is known later only (a split shows when keepalives
//!    have failed to come): so the message waits until [`Outlet::sole_up_to_ns`] has passed it.
//! 3. What we did to it is what our heir knows, too: the answer waits for the backups as every other one does.
//! 4. No IKE SA can come about under that SPI: what was chosen a short while ago, for who begins or for new keys, is told nothing of.
//!
//! A member that slept owns nothing when it wakes, and says nothing without a lease. What is in doubt is not answered: the peer asks again
//! for minutes, and in the end finds out by itself. What waits is a header each, and no more of them than are answered in a second.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::header::{HEADER_LEN, head_of_request, may_come_about};
use super::{Act, Flight, Ike, Name, Promise, SECOND_NS};
use crate::app::Outlet;
use crate::drop_reason::DropReason;
use crate::ipsec::gateway::Gateway;
use crate::ipsec::gateway::desk::{Answer, Asked, Question};
use crate::tallies::add;

/// So many wait at once, and so many are answered in a second.
const WAITING_MAX: usize = 256;
/// So long each waits.
const HELD_NS: u64 = SECOND_NS;
/// So long it waits for certainty.
const DOUBT_MAX_NS: u64 = 5 * SECOND_NS;

/// A request under an IKE SA that was not here.
pub(super) struct Heard {
    at_ns: u64,
    name: Name,
    from: SocketAddr,
    to: SocketAddr,
    head: [u8; HEADER_LEN],
}

/// See the module. The oldest first.
pub(super) struct Lost(VecDeque<Heard>);

impl Lost {
    pub(super) fn new() -> Self {
        Self(VecDeque::with_capacity(WAITING_MAX))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps those that this says.
    pub(super) fn retain(&mut self, keeps: impl Fn(Name) -> bool) {
        self.0.retain(|heard| keeps(heard.name));
    }
}

impl Ike {
    /// A message has come for an IKE SA of a unit of ours that is not here.
    pub(super) fn note_lost(
        &mut self,
        outlet: &dyn Outlet,
        name: Name,
        (from, to): (SocketAddr, SocketAddr),
        message: &[u8],
    ) -> Result<(), DropReason> {
        let head = head_of_request(message).ok_or(DropReason::IkeNoSa)?;
        if self.lost.0.len() >= WAITING_MAX || outlet.sole_up_to_ns() == 0 {
            add(&self.counters.lost_untold, 1);
            return Err(DropReason::IkeNoSa);
        }
        let at_ns = outlet.now_ns();
        self.lost.0.push_back(Heard { at_ns, name, from, to, head });
        self.be_attentive(at_ns);
        Ok(())
    }

    /// The next that has waited long enough, if it is certain by now. Those that never will be are let go of.
    fn next_lost(&mut self, outlet: &dyn Outlet) -> Option<Heard> {
        let (now_ns, sole_up_to_ns) = (outlet.now_ns(), outlet.sole_up_to_ns());
        loop {
            let waited_ns = now_ns.saturating_sub(self.lost.0.front()?.at_ns);
            if waited_ns < HELD_NS {
                return None;
            }
            let heard = self.lost.0.pop_front()?;
            let is_given = may_come_about(heard.name.1, outlet.cluster_clock_s());
            if heard.at_ns <= sole_up_to_ns && !is_given {
                return Some(heard);
            }
            if !is_given && waited_ns < DOUBT_MAX_NS && sole_up_to_ns > 0 {
                self.lost.0.push_front(heard);
                return None;
            }
            add(&self.counters.lost_untold, 1);
        }
    }

    fn ask_how_to_tell(&mut self, outlet: &dyn Outlet, heard: Heard) -> bool {
        let Heard { name, from, to, head, .. } = heard;
        self.tickets += 1;
        let (ticket, now_s) = (self.tickets, outlet.cluster_clock_s());
        let asked = Asked::Lost { from, to, head };
        let (unit, spi) = name;
        // Nothing is sealed, so no IVs are taken.
        if !self.has_room() || !self.desk.ask(Question { ticket, unit, spi, record: None, now_s, asked, draw: [0; 8] })
        {
            return false;
        }
        self.flights.insert(ticket, Flight { name, since_ns: outlet.now_ns(), lost: true, again: None });
        add(&self.counters.questions, 1);
        true
    }
}

impl Gateway {
    /// Has those told that have waited long enough.
    pub(super) fn tell_lost(&mut self, outlet: &mut dyn Outlet) {
        let Some(ike) = &mut self.ike else { return };
        while let Some(heard) = ike.next_lost(outlet) {
            let is_lost = outlet.owns(heard.name.0) && !ike.wake(outlet, heard.name, self.digest_key);
            if !is_lost || !ike.ask_how_to_tell(outlet, heard) {
                add(&ike.counters.lost_untold, 1);
            }
        }
    }

    /// Takes what is to be said to such a peer. It comes back if it is another answer.
    pub(super) fn obey_lost(&mut self, outlet: &mut dyn Outlet, answer: Answer) -> Option<Answer> {
        let Some(ike) = &mut self.ike else { return Some(answer) };
        let flight = ike.flights.get(&answer.ticket).filter(|flight| flight.lost);
        let Some(name) = flight.map(|flight| flight.name) else { return Some(answer) };
        ike.flights.remove(&answer.ticket);
        add(&ike.counters.answers, 1);
        if answer.send.is_empty() || ike.wake(outlet, name, self.digest_key) {
            add(&ike.counters.lost_untold, 1);
            return None;
        }
        let (at, act) = (outlet.outbox().head(), Act::Send(answer.send));
        ike.promises.push_back(Promise { at, unit: name.0, act });
        add(&ike.counters.lost_told, 1);
        self.settle(outlet);
        None
    }
}
