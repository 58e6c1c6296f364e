//! Sessions that go to sleep in the store, and wake up from it.
//!
//! A unit that leaves puts its sessions into this member's own store, as a backup would have them; a unit that comes finds
//! them there, written by whoever owned it before. A takeover itself touches none of them, so it costs the same however
//! many there are: a session wakes up when a packet for it comes in, and the rest a few a round, those with something on
//! their way first.
//!
//! | a packet for a unit with sleepers | what is done |
//! | --- | --- |
//! | from a client | its session is found by its key, and wakes up |
//! | from a back end | its session is searched for among the unit's; if none is it, the whole unit wakes up, lest strangers have it searched again and again |
//! | a new client's | nobody wakes up; the new connection to a back end takes no sleeper's port |

use super::Relay;
use super::ledger::{APP, session_key};
use super::restore::{flow_inside, put};
use crate::app::{Outlet, UnitSet};
use crate::filter::steered::{OPENED_PORTS_MIN, PORTS_PER_UNIT, port_of};
use crate::replica::{SessionKey, Store};
use crate::tcp::Flow;
use crate::unit::Unit;

/// Sessions that wake up in one round, for no packet's sake: 3 us each, packets wait for as long.
const SESSIONS_A_ROUND: usize = 16;

/// The units of ours with sessions in the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asleep {
    units: UnitSet,
    /// Those among them that may have sleepers with something on their way.
    busy: UnitSet,
}

impl Asleep {
    /// None.
    pub(super) const NONE: Self = Self { units: UnitSet::EMPTY, busy: UnitSet::EMPTY };

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// A unit came to us.
    pub(super) fn add(&mut self, unit: Unit) {
        self.units.insert(unit);
        self.busy.insert(unit);
    }

    fn forget(&mut self, unit: Unit) {
        self.units.remove(unit);
        self.busy.remove(unit);
    }

    /// Whose turn it is.
    fn next(&mut self, outlet: &mut dyn Outlet) -> Option<(Unit, SessionKey)> {
        let store = outlet.store();
        while let Some(unit) = self.busy.first() {
            if let Some(key) = store.next_busy(unit)
                && store.get(unit, key).is_some_and(|record| record.app == APP)
            {
                return Some((unit, key));
            }
            self.busy.remove(unit);
        }
        while let Some(unit) = self.units.first() {
            if let Some(key) = first_of_ours(store, unit) {
                return Some((unit, key));
            }
            self.units.remove(unit);
        }
        None
    }
}

impl Relay {
    /// A unit has left us: what backups have of its sessions is what we keep of them.
    pub(super) fn put_to_sleep(&mut self, outlet: &mut dyn Outlet, unit: Unit) {
        self.asleep.forget(unit);
        while let Some(slot) = self.table.next_of(unit, 0) {
            if let Some(session) = self.table.get(slot) {
                let store = outlet.store();
                put(session, &self.pool, &mut |update| {
                    // What it has no room for is lost here, and counted there.
                    let _ = store.keep(update);
                });
            }
            self.release(slot);
        }
    }

    /// Wakes up the session that a packet is for, if it sleeps.
    pub(super) fn wake_for(&mut self, outlet: &mut dyn Outlet, unit: Unit, flow: &Flow) {
        if !self.asleep.units.contains(unit) || self.table.find(flow).is_some() {
            return;
        }
        if flow.local_port < OPENED_PORTS_MIN {
            return self.wake(outlet, unit, session_key(flow));
        }
        match sleeper_with(outlet, unit, flow) {
            Some(key) => self.wake(outlet, unit, key),
            None => self.wake_unit(outlet, unit),
        }
    }

    /// Wakes a few sessions up.
    pub(super) fn wake_some(&mut self, outlet: &mut dyn Outlet) {
        for _ in 0..SESSIONS_A_ROUND {
            let Some((unit, key)) = self.asleep.next(outlet) else { return };
            self.wake(outlet, unit, key);
        }
    }

    fn wake_unit(&mut self, outlet: &mut dyn Outlet, unit: Unit) {
        while let Some(key) = first_of_ours(outlet.store(), unit) {
            self.wake(outlet, unit, key);
        }
        self.asleep.forget(unit);
    }

    fn wake(&mut self, outlet: &mut dyn Outlet, unit: Unit, key: SessionKey) {
        if let Some(record) = outlet.store().take(unit, key) {
            self.restore(outlet, unit, key, &record);
        }
    }

    /// The ports towards a back end that sleeping sessions of a unit have, a bit for each that carries the unit.
    pub(super) fn sleepers_ports(&self, outlet: &mut dyn Outlet, unit: Unit, like: &Flow) -> u32 {
        const _: () = assert!(PORTS_PER_UNIT as u32 <= u32::BITS);
        if !self.asleep.units.contains(unit) {
            return 0;
        }
        let flows = outlet.store().sessions(unit).filter_map(|(_, record)| flow_inside(record));
        let same = flows.filter(|flow| Flow { local_port: like.local_port, ..*flow } == *like);
        let number = |flow: Flow| (0..PORTS_PER_UNIT).find(|number| port_of(unit, *number) == flow.local_port);
        same.filter_map(number).fold(0, |ports, number| ports | 1 << number)
    }
}

/// A unit's first sleeper that is a relay's. Another app's stay where they are.
fn first_of_ours(store: &Store, unit: Unit) -> Option<SessionKey> {
    store.sessions(unit).find(|(_, record)| record.app == APP).map(|(key, _)| key)
}

/// The sleeping session that has this connection to a back end.
fn sleeper_with(outlet: &mut dyn Outlet, unit: Unit, flow: &Flow) -> Option<SessionKey> {
    let mut sessions = outlet.store().sessions(unit);
    sessions.find(|(_, record)| flow_inside(record) == Some(*flow)).map(|(key, _)| key)
}
