//! IKE SAs in a worker: values that it keeps, replicates, and has somebody else compute with (`desk`).
//!
//! ```text
//!   message ─▶ our SPI ─▶ its IKE SA, awake or asleep ─▶ question ─▶ ┌──────┐
//!   what was due ───────────────▲                                    │ desk │
//!   peer ◀─ messages ◀─ committed ◀─ records, tunnels ◀─── answer ◀─ └──────┘
//! ```
//! *Names*: an IKE SA is named by our SPI, whose low ten bits are its unit. One that begins has none yet: it is a keyed hash of whence
//! the message came and the peer's SPI, so that the same message, sent again, finds the same IKE SA, at a new owner too; and of who gives
//! it, so that two owners on two sides of a split do not give one name to two IKE SAs.
//!
//! *One question at a time*: while one about an IKE SA is out, what else comes for it waits, a little of it. If no answer comes in time, it is
//! asked once more, and an answer to what was asked first is nobody's.
//!
//! *Output commit*: what an answer changes is in the log before anything of it is sent, in one piece, so that no backup has
//! half of it; and it is sent when the backups hold it.
//!
//! *Sleep*: each IKE SA has a time at which it is due, so those of a unit that comes wake up by themselves, a few a round, or at a
//! message.
//!
//! Files: `header` (what is read of a message), `datagram` (UDP, in and out), `association` (an IKE SA), `questions`, `answers`,
//! `wishes` (what operators want), `lost` (what peers hear of IKE SAs that are no more).

mod answers;
mod association;
mod datagram;
mod header;
mod lost;
mod questions;
mod wishes;

pub(super) use datagram::is_port_of;
pub use header::may_come_about;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use self::association::Association;
use self::lost::Lost;
use self::questions::InClear;
use super::counters::IkeCounters;
use super::desk::{Asked, Datagram, WorkerDesk};
use super::record::ike_key;
use super::{Gateway, is_ike};
use crate::app::{Outlet, UnitSet};
use crate::filter::hash;
use crate::replica::{Change, DigestKey, Position, SessionKey, Update};
use crate::tallies::add;
use crate::unit::Unit;

/// IKE SAs that wake up in one round, for no message's sake.
const WOKEN_A_ROUND: usize = 16;
const SECOND_NS: u64 = 1_000_000_000;

/// An IKE SA's place: its unit and our SPI.
type Name = (Unit, u64);

/// What is done when the backups hold what it follows from.
struct Promise {
    at: Position,
    unit: Unit,
    act: Act,
}

enum Act {
    Send(Vec<Datagram>),
    /// A tunnel's traffic goes into it.
    Protect(u32),
}

/// A question that is out.
struct Flight {
    name: Name,
    since_ns: u64,
    /// It is about one that is no more.
    lost: bool,
    /// What is asked once more if no answer comes. One that begins has a peer that repeats itself, if it is still wanted.
    again: Option<Asked>,
}

/// What a worker has of IKE.
pub(super) struct Ike {
    desk: WorkerDesk,
    pub(super) counters: Arc<IkeCounters>,
    /// There are always to be these.
    keepers: Vec<u64>,
    /// Makes names for those that begin.
    names: hash::Key,
    all: BTreeMap<Name, Association>,
    /// When which is due, on the cluster's clock.
    timers: BTreeSet<(u64, Name)>,
    flights: HashMap<u64, Flight>,
    tickets: u64,
    promises: VecDeque<Promise>,
    /// Peers that are to hear that theirs is no more.
    lost: Lost,
    in_clear: InClear,
    /// Units that may have more of them in the store.
    asleep: UnitSet,
    look_at_ns: Option<u64>,
    /// The next that is to be shown.
    showing: Option<Bound<Name>>,
    /// Names packets that may be fragmented.
    id: u16,
    /// How many tunnels others were told of.
    tunnels_told: u64,
}

impl Ike {
    /// `key` makes the names of those that begin; `keepers` there are always to be.
    pub(super) fn new(desk: WorkerDesk, counters: Arc<IkeCounters>, (key, keepers): ([u8; 16], Vec<u64>)) -> Self {
        Self {
            look_at_ns: (!keepers.is_empty()).then_some(0),
            keepers,
            desk,
            counters,
            names: hash::Key::new(key),
            all: BTreeMap::new(),
            timers: BTreeSet::new(),
            flights: HashMap::new(),
            tickets: 0,
            promises: VecDeque::new(),
            lost: Lost::new(),
            in_clear: InClear::default(),
            asleep: UnitSet::EMPTY,
            showing: None,
            id: 0,
            tunnels_told: 0,
        }
    }

    fn of_unit(&self, unit: Unit, from: u64) -> impl Iterator<Item = (u64, &Association)> {
        self.all.range((unit, from)..=(unit, u64::MAX)).map(|((_, spi), it)| (*spi, it))
    }

    /// Its share of the unit's digest.
    pub(super) fn digest(&self, unit: Unit, key: DigestKey) -> u64 {
        let written = self.of_unit(unit, 0).filter_map(|(_, it)| it.written.as_ref());
        written.map(|written| written.digest(key)).fold(0, u64::wrapping_add)
    }

    /// Tells the first of a unit's that is not before `from`; answers which one that was.
    pub(super) fn put_next(&self, unit: Unit, from: u64, put: &mut dyn FnMut(&Update<'_>)) -> Option<SessionKey> {
        let mut written = self.of_unit(unit, from).filter_map(|(spi, it)| Some((spi, it.written.as_ref()?)));
        let (spi, written) = written.next()?;
        written.put(put);
        Some(ike_key(spi))
    }

    /// Units come and go. What was promised for those that go is not done: the peer asks again, whoever has its unit.
    pub(super) fn hand_over(&mut self, outlet: &mut dyn Outlet, gained: &UnitSet, lost: &UnitSet) {
        self.promises.retain(|promise| !lost.contains(promise.unit));
        self.lost.retain(|(unit, _)| !lost.contains(unit));
        self.flights.retain(|_, flight| !flight.lost || !lost.contains(flight.name.0));
        for unit in lost.iter() {
            self.asleep.remove(unit);
            let spis: Vec<u64> = self.of_unit(unit, 0).map(|(spi, _)| spi).collect();
            for spi in spis {
                let Some(association) = self.take_out((unit, spi)) else { continue };
                if let Some(written) = &association.written {
                    let store = outlet.store();
                    written.put(&mut |update| {
                        // What it has no room for is lost here, and counted there.
                        let _ = store.keep(update);
                    });
                }
            }
        }
        gained.iter().for_each(|unit| self.asleep.insert(unit));
    }

    /// When it is next to be attended to.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let at_once = self.desk.has_orders() || !self.asleep.is_empty() || self.showing.is_some();
        if at_once { Some(0) } else { self.look_at_ns }
    }

    /// One more is awake.
    fn put_in(&mut self, name: Name, association: Association) {
        if let Some(at_s) = association.timeout_s {
            self.timers.insert((at_s, name));
        }
        self.all.insert(name, association);
        add(&self.counters.sas, 1);
    }

    /// One is awake no more, and what was asked about it is nobody's any more.
    fn take_out(&mut self, name: Name) -> Option<Association> {
        let association = self.all.remove(&name)?;
        if let Some(at_s) = association.timeout_s {
            self.timers.remove(&(at_s, name));
        }
        if let Some(ticket) = association.ticket {
            self.flights.remove(&ticket);
        }
        self.counters.sas.fetch_sub(1, Relaxed);
        Some(association)
    }

    /// Wakes one up, if it sleeps. Answers whether it is there.
    fn wake(&mut self, outlet: &mut dyn Outlet, name: Name, key: DigestKey) -> bool {
        if self.all.contains_key(&name) {
            return true;
        }
        let (unit, session) = (name.0, ike_key(name.1));
        if !outlet.store().get(unit, session).is_some_and(|record| is_ike(record.app, session)) {
            return false;
        }
        let Some(record) = outlet.store().take(unit, session) else { return false };
        match Association::restore(unit, session, record, key) {
            Some(association) => {
                add(&self.counters.restored, 1);
                self.put_in(name, association);
                self.be_attentive(outlet.now_ns());
                true
            }
            None => {
                add(&self.counters.not_restored, 1);
                outlet.outbox().append(&Update::new(unit, session, super::IKE_APP, Change::Remove));
                false
            }
        }
    }

    /// Wakes a few up.
    fn wake_some(&mut self, outlet: &mut dyn Outlet, key: DigestKey) {
        for _ in 0..WOKEN_A_ROUND {
            let Some(unit) = self.asleep.first() else { return };
            let next = outlet.store().next_session(unit, ike_key(0));
            match next.map(|(session, record)| (session, record.app)) {
                Some((session, app)) if is_ike(app, session) => {
                    let spi = super::ike_spi_of(session).unwrap_or_default();
                    self.wake(outlet, (unit, spi), key);
                }
                _ => self.asleep.remove(unit),
            }
        }
    }

    /// There is something to be looked at within a second.
    fn be_attentive(&mut self, now_ns: u64) {
        self.look_at_ns.get_or_insert(now_ns.saturating_add(SECOND_NS));
    }
}

impl Gateway {
    /// Does what is due of IKE.
    pub(super) fn attend(&mut self, outlet: &mut dyn Outlet) {
        let Some(ike) = &mut self.ike else { return };
        ike.wake_some(outlet, self.digest_key);
        self.obey_orders(outlet);
        self.show_some(outlet);
        self.ask_what_is_due(outlet);
    }

    /// Does what the backups hold enough for by now.
    pub(super) fn keep_promises(&mut self, outlet: &mut dyn Outlet) {
        let Some(ike) = &mut self.ike else { return };
        while let Some(promise) = ike.promises.pop_front() {
            if promise.at > outlet.outbox().committed() {
                return ike.promises.push_front(promise);
            }
            match promise.act {
                Act::Send(datagrams) => datagrams.iter().for_each(|datagram| ike.send(outlet, datagram)),
                Act::Protect(spi) => {
                    // It may be gone by now.
                    if let Some(slot) = self.slots.find(spi).and_then(|number| self.slots.get(number)) {
                        outlet.protect(&slot.spec.selectors, spi);
                        slot.spec.contact.into_iter().for_each(|contact| outlet.announce(contact));
                    }
                }
            }
        }
    }

    /// Lets others see how many tunnels of IKE's there are here.
    pub(super) fn count_children(&mut self) {
        let Some(ike) = &mut self.ike else { return };
        let now = self.slots.children() as u64;
        add(&ike.counters.tunnels, now.wrapping_sub(std::mem::replace(&mut ike.tunnels_told, now)));
    }
}
