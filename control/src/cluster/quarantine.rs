//! A unit that kills two owners in a row is not passed on to kill a third (DESIGN section 7).
//!
//! Perhaps one of its packets is poison. Every member keeps this record, not just the master: the second owner to die
//! may have been the master, and then its successor must know that the unit was orphaned shortly before. A follower
//! tells a death from a planned move by the former owner's silence.
//!
//! A quarantined unit rests; then it is assigned again, to an owner on trial: one more death and it rests again. Units
//! that two members owned one after the other by chance share that fate, so the rest is short enough for their sessions
//! to outlast it.

use std::collections::BTreeMap;

use phalanx_dataplane::unit::Unit;

use super::table::{Owner, Table};
use super::time::{Span, Time};

/// An owner that is dead this soon after it was *noticed* that the owner before it died may have been killed; the time
/// that it takes to notice comes on top.
const SUSPICIOUS: Span = Span::from_ms(500);

/// Which units were orphaned lately, and which rest.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Quarantine {
    orphaned: BTreeMap<Unit, Time>,
    resting: BTreeMap<Unit, Time>,
}

impl Quarantine {
    /// The unit has another owner; `on_trial`: since the one before it died, or after the unit's rest.
    pub(super) fn owner_changed(&mut self, unit: Unit, now: Time, on_trial: bool) {
        if on_trial {
            self.orphaned.insert(unit, now);
        } else {
            self.orphaned.remove(&unit);
        }
    }

    /// The unit's owner was found dead after `detection`: did the unit now kill two in a row?
    pub(super) fn killed_two(&mut self, unit: Unit, now: Time, detection: Span) -> bool {
        let within = Span(SUSPICIOUS.0 + detection.0);
        self.orphaned.remove(&unit).is_some_and(|at| now.since(at) < within)
    }

    /// The table says so: its quarantined units rest from now on, if they do not yet.
    pub(super) fn rest(&mut self, table: &Table, until: Time) {
        let quarantined = table.iter().filter(|(_, entry)| entry.owner == Owner::Quarantined);
        for (unit, _) in quarantined {
            self.resting.entry(unit).or_insert(until);
        }
    }

    /// The units that have rested for long enough.
    pub(super) fn rested(&mut self, now: Time) -> Vec<Unit> {
        let (rested, resting) = std::mem::take(&mut self.resting).into_iter().partition(|(_, until)| *until <= now);
        self.resting = resting;
        BTreeMap::into_keys(rested).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DETECTION: Span = Span::from_ms(45);

    fn unit() -> Unit {
        Unit::from_low_bits(7)
    }

    fn at_ms(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    #[test]
    fn the_second_death_in_a_row_is_one_too_many() {
        let mut quarantine = Quarantine::default();
        assert!(!quarantine.killed_two(unit(), at_ms(0), DETECTION), "the first owner had it for long");
        quarantine.owner_changed(unit(), at_ms(0), true);
        assert!(quarantine.killed_two(unit(), at_ms(300), DETECTION));
    }

    #[test]
    fn an_owner_that_lives_on_clears_its_unit() {
        let mut quarantine = Quarantine::default();
        quarantine.owner_changed(unit(), at_ms(0), true);
        assert!(!quarantine.killed_two(unit(), at_ms(600), DETECTION), "it lived for long enough");
        quarantine.owner_changed(unit(), at_ms(600), true);
        quarantine.owner_changed(unit(), at_ms(700), false);
        assert!(!quarantine.killed_two(unit(), at_ms(800), DETECTION), "it was handed over alive");
    }

    #[test]
    fn after_its_rest_one_death_is_enough() {
        let mut quarantine = Quarantine::default();
        let mut table = Table::unassigned(8);
        table.set_owner(unit(), Owner::Quarantined);
        quarantine.rest(&table, at_ms(1000));
        quarantine.rest(&table, at_ms(2000));
        assert!(quarantine.rested(at_ms(999)).is_empty());
        assert_eq!(quarantine.rested(at_ms(1500)), [unit()]);
        assert!(quarantine.rested(at_ms(1500)).is_empty());
        quarantine.owner_changed(unit(), at_ms(1500), true);
        assert!(quarantine.killed_two(unit(), at_ms(1600), DETECTION));
    }
}
