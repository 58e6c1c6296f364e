//! Forced dual ownership: a member that was stopped wakes up, and its worker does not notice that its lease has lapsed, as if its clock
//! had stood still with it. It goes on as the old owner beside the new one until its cluster thread wakes up, too.
//!
//! Nothing is forgiven for that: what two owners send and let in together must hold before the same checkers as what one does. What
//! keeps them apart then is not the lease on the units, but what is committed: both use numbers below limits that the backups hold,
//! and backups that know a newer table acknowledge nothing to an old owner.

use phalanx_dataplane::unit::Unit;

use super::super::super::faults::Deed;
use super::super::super::world::{Event, MS, World};
use super::super::Sessions;

/// In a thousand: stopped members whose workers wake up like this.
const BLIND: u64 = 500;

impl World {
    /// A stopped member goes on. Whether its worker does not look at its lease for a while; its cluster thread sleeps on for as long.
    pub(in crate::sim) fn wakes_blind(&mut self, at: usize) -> bool {
        let spoken = self.sessions.as_ref().is_some_and(|sessions| sessions.ipsec.is_some());
        if !spoken || self.nodes[at].process.is_none() || !self.rng.permille(BLIND) {
            return false;
        }
        let (id, life) = (self.nodes[at].id, self.nodes[at].life);
        self.nodes[at].stalled = 1;
        if let Some(process) = &mut self.nodes[at].process {
            process.blind = true;
        }
        self.note(|| format!("== {id} does not notice that it was stopped"));
        let then = self.now + self.rng.between(20 * MS, 400 * MS);
        self.at(then, Event::Deed(Deed::Unstall(at, life)));
        true
    }

    /// Its cluster thread goes on: it sees.
    pub(in crate::sim) fn sees_again(&mut self, at: usize) {
        if let Some(process) = &mut self.nodes[at].process {
            process.blind = false;
        }
    }

    /// Whether this member's worker acts without a lease.
    pub(in crate::sim) fn usurps(&self, at: usize) -> bool {
        let local = self.nodes[at].clock.local(self.now);
        self.nodes[at].process.as_ref().is_some_and(|process| process.usurps(local))
    }

    /// Whether it does so beside the unit's valid owner.
    fn is_second(&self, at: usize, unit: Unit) -> bool {
        self.usurps(at) && (0..self.nodes.len()).any(|other| other != at && self.nodes[other].owns(self.now, unit))
    }

    /// This member has sent a packet to a unit's peer.
    pub(super) fn count_sent(&self, sessions: &mut Sessions, at: usize, unit: Unit) {
        sessions.report.dual_sent += u64::from(self.is_second(at, unit));
    }

    /// This member has let a unit's word in.
    pub(super) fn count_let_in(&self, sessions: &mut Sessions, at: usize, unit: Unit) {
        sessions.report.dual_let_in += u64::from(self.is_second(at, unit));
    }

    /// A blind member's cluster thread wakes up: with how many units of peers' has it been the second owner?
    pub(in crate::sim) fn count_second(&mut self, at: usize) {
        let Some(process) = self.nodes[at].process.as_ref().filter(|process| process.blind) else { return };
        let me = self.nodes[at].id;
        let shared = Unit::all().take(self.common.units).filter(|unit| {
            super::super::super::node::is_owners(process.worker.mode(*unit), me) && self.is_second(at, *unit)
        });
        let units: Vec<Unit> = shared.collect();
        let Some(sessions) = &mut self.sessions else { return };
        let alive = units.iter().filter(|unit| sessions.is_alive_in(**unit)).count() as u64;
        sessions.report.dual_units += alive;
        sessions.report.blind += 1;
    }
}
