//! What is asked: messages that come, and times.

use std::net::SocketAddr;

use super::association::{Association, WAITING_MAX};
use super::header::{For, Names, is_in_clear, names};
use super::{Flight, Ike, Name, SECOND_NS};
use crate::app::Outlet;
use crate::drop_reason::DropReason;
use crate::ipsec::gateway::Gateway;
use crate::ipsec::gateway::desk::{Asked, DRAWS, QUESTIONS_MAX, Question};
use crate::ipsec::gateway::record::{ike_key, ike_spi_of};
use crate::ipsec::nonce::Nonces;
use crate::tallies::add;
use crate::unit::Unit;

/// How long an answer may take: as long as all questions that a desk has room for, at 40 ms each. Sooner, what is merely late would be asked
/// twice, and the desk be fuller still.
const FLIGHT_MAX_NS: u64 = 10 * SECOND_NS;
/// Messages in clear that are looked at in a second.
const IN_CLEAR_MAX: u32 = 64;
/// When it is looked again, if there was no room for all questions.
const AGAIN_NS: u64 = SECOND_NS / 20;

impl Gateway {
    /// A message has come for a unit of ours.
    pub(super) fn hear(
        &mut self,
        outlet: &mut dyn Outlet,
        unit: Unit,
        (from, to): (SocketAddr, SocketAddr),
        message: &[u8],
    ) -> Result<(), DropReason> {
        let Some(ike) = &mut self.ike else { return Err(DropReason::NoApp) };
        let (spi, known) = match For::read(message).ok_or(DropReason::IkeMalformed)? {
            For::Spi(spi) if Unit::from_low_bits(spi as u32) != unit => return Err(DropReason::IkeNoSa),
            For::Spi(spi) if ike.wake(outlet, (unit, spi), self.digest_key) => (spi, true),
            For::Spi(spi) => return ike.note_lost(outlet, (unit, spi), (from, to), message),
            For::New(initiator) => {
                let names = names(ike.names, unit, from.ip(), initiator, outlet.cluster_clock_s());
                let known = names.iter().find_map(|names| ike.begun(outlet, unit, *names));
                match known.filter(|spi| ike.wake(outlet, (unit, *spi), self.digest_key)) {
                    Some(spi) => (spi, true),
                    None => (names[0].given_by(self.config.me, outlet.incarnation()), false),
                }
            }
        };
        if known && is_in_clear(message) && !ike.in_clear.lets_in(outlet.now_ns()) {
            return Err(DropReason::IkeInClear);
        }
        let nonces = self.ivs.of(outlet.incarnation()).ok_or(DropReason::SaUnusable)?;
        let busy = ike.all.get_mut(&(unit, spi)).filter(|association| association.ticket.is_some());
        let asked = || Asked::Message { from, to, bytes: message.to_vec() };
        if let Some(association) = busy {
            if association.waiting.len() >= WAITING_MAX {
                return Err(DropReason::IkeBusy);
            }
            association.waiting.push_back(asked());
            return Ok(());
        }
        if !ike.has_room() {
            return Err(DropReason::IkeBusy);
        }
        if !known {
            ike.put_in((unit, spi), Association::default());
        }
        if ike.ask(outlet, nonces, (unit, spi), asked()) {
            return Ok(());
        }
        ike.forget_if_none((unit, spi));
        Err(DropReason::SaUnusable)
    }

    /// Asks about those whose time has come.
    pub(super) fn ask_what_is_due(&mut self, outlet: &mut dyn Outlet) {
        let Some(ike) = &mut self.ike else { return };
        let now_ns = outlet.now_ns();
        if ike.look_at_ns.is_none_or(|at_ns| at_ns > now_ns) {
            return;
        }
        self.give_up(outlet);
        self.tell_lost(outlet);
        self.begin_keepers(outlet);
        let Some(ike) = &mut self.ike else { return };
        let room = QUESTIONS_MAX.saturating_sub(ike.flights.len());
        let due = ike.timers.range(..=(outlet.cluster_clock_s(), (LAST_UNIT, u64::MAX))).map(|(_, name)| *name);
        let idle = |name: &Name| ike.all.get(name).is_some_and(|association| association.ticket.is_none());
        let mut due: Vec<Name> = due.filter(idle).take(room + 1).collect();
        let all = due.len() <= room;
        due.truncate(room);
        if let Some(nonces) = self.ivs.of(outlet.incarnation()) {
            for name in due {
                if ike.has_room() && ike.ask(outlet, nonces, name, Asked::Timeout) {
                    add(&ike.counters.timeouts, 1);
                }
            }
        }
        let any = !ike.timers.is_empty() || !ike.flights.is_empty() || !ike.keepers.is_empty() || !ike.lost.is_empty();
        ike.look_at_ns = any.then(|| now_ns.saturating_add(if all { SECOND_NS } else { AGAIN_NS }));
    }
}

/// Messages in clear to IKE SAs that are there: of those anybody may send any number, and at most one of them means something.
#[derive(Default)]
pub(super) struct InClear {
    second: u64,
    count: u32,
}

impl InClear {
    /// Whether one more is looked at.
    fn lets_in(&mut self, now_ns: u64) -> bool {
        let second = now_ns / SECOND_NS;
        if self.second != second {
            *self = Self { second, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= IN_CLEAR_MAX
    }
}

impl Gateway {
    /// Waits no longer for answers that take too long: whoever is waited for may have lost the question. It is asked once more, before all
    /// that waits: what a peer says when it ends an IKE SA must not overtake its grant of the next one. An answer to what was asked first is
    /// nobody's by then.
    fn give_up(&mut self, outlet: &mut dyn Outlet) {
        let Some(ike) = &mut self.ike else { return };
        let now_ns = outlet.now_ns();
        let late = |flight: &Flight| now_ns.saturating_sub(flight.since_ns) > FLIGHT_MAX_NS;
        let mut late: Vec<u64> = ike.flights.iter().filter(|(_, it)| late(it)).map(|(ticket, _)| *ticket).collect();
        late.sort_unstable();
        for ticket in late {
            let Some(Flight { name, again, .. }) = ike.flights.remove(&ticket) else { continue };
            add(&ike.counters.unanswered, 1);
            if let (Some(asked), Some(nonces)) = (again, self.ivs.of(outlet.incarnation()))
                && ike.put_question(outlet, nonces, name, (asked, None))
            {
                continue;
            }
            if let Some(association) = ike.all.get_mut(&name).filter(|it| it.ticket == Some(ticket)) {
                // What waited is asked again by the peer.
                association.ticket = None;
                association.waiting.clear();
            }
            ike.forget_if_none(name);
        }
    }

    /// Asks about those that there are to be in our units, and are not.
    fn begin_keepers(&mut self, outlet: &mut dyn Outlet) {
        let (Some(ike), Some(nonces)) = (&mut self.ike, self.ivs.of(outlet.incarnation())) else { return };
        for at in 0..ike.keepers.len() {
            let spi = ike.keepers[at];
            let name = (Unit::from_low_bits(spi as u32), spi);
            if !outlet.owns(name.0) || ike.wake(outlet, name, self.digest_key) || !ike.has_room() {
                continue;
            }
            ike.put_in(name, Association::default());
            if !ike.ask(outlet, nonces, name, Asked::Timeout) {
                ike.forget_if_none(name);
            }
        }
    }
}

/// The last there is.
const LAST_UNIT: Unit = Unit::from_low_bits(u32::MAX);

impl Ike {
    /// One that has begun under one of these names, awake or asleep.
    fn begun(&self, outlet: &mut dyn Outlet, unit: Unit, names: Names) -> Option<u64> {
        let (first, last) = names.all().into_inner();
        let awake = self.all.range((unit, first)..=(unit, last)).next();
        awake.map(|((_, spi), _)| *spi).or_else(|| {
            let (session, _) = outlet.store().next_session(unit, ike_key(first))?;
            ike_spi_of(session).filter(|spi| *spi <= last)
        })
    }

    pub(super) fn has_room(&self) -> bool {
        self.flights.len() < QUESTIONS_MAX && self.desk.has_room()
    }

    /// Asks about one that no question is out about. False: there is no room, or there are no IVs left.
    pub(super) fn ask(&mut self, outlet: &mut dyn Outlet, nonces: &mut Nonces, name: Name, asked: Asked) -> bool {
        let is_known = self.all.get(&name).is_some_and(|association| association.written.is_some());
        let again = is_known.then(|| asked.clone());
        self.put_question(outlet, nonces, name, (asked, again))
    }

    fn put_question(
        &mut self,
        outlet: &mut dyn Outlet,
        nonces: &mut Nonces,
        name: Name,
        (asked, again): (Asked, Option<Asked>),
    ) -> bool {
        let (unit, spi) = name;
        let (now_ns, now_s) = (outlet.now_ns(), outlet.cluster_clock_s());
        let Some(association) = self.all.get_mut(&name) else { return false };
        let Some(draw) = nonces.reserve(unit, DRAWS) else { return false };
        self.tickets += 1;
        let ticket = self.tickets;
        let record = association.record().map(<[u8]>::to_vec);
        let question = Question { ticket, unit, spi, record, now_s, asked, draw: draw.to_be_bytes() };
        if !self.desk.ask(question) {
            return false;
        }
        association.ticket = Some(ticket);
        self.flights.insert(ticket, Flight { name, since_ns: now_ns, lost: false, again });
        add(&self.counters.questions, 1);
        self.be_attentive(now_ns);
        true
    }

    /// One that never began leaves nothing behind.
    pub(super) fn forget_if_none(&mut self, name: Name) {
        if self.all.get(&name).is_some_and(|it| it.written.is_none() && it.ticket.is_none()) {
            self.take_out(name);
        }
    }
}
