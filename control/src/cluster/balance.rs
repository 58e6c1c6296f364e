//! Patent Figure 8D: measured load decides who owns what, every two seconds.
//!
//! The patent's test (move if `K - 1 >= J - 1`) is always true and would move units for ever (departure 1). A unit moves
//! only if the higher of the two loads strictly falls by it, and by enough to be more than noise. Members that leave, or
//! that the LAN does not reach, are relieved of everything first.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_dataplane::unit::{MemberId, Unit};

use super::core::{Core, PORTS_MAX, Role};
use super::event::ClusterEvent;
use super::handover::PlannedMove;
use super::lead::Follower;
use super::message::{LOADS_MAX, Loads, MOVE_UNITS_MAX, Message};
use super::output::To;
use super::table::Owner;
use super::time::{Span, Time};

/// What each unit costs, as far as the master knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Loading {
    /// By unit: the load, and when it was told.
    loads: Vec<(u32, Time)>,
    /// What is older is no longer true: an owner tells of idle units once, and that may have been lost.
    lasts: Span,
    pub(super) balance_at: Time,
}

/// What each unit weighs in the balance.
pub(super) struct Weights(Vec<u64>);

impl Loading {
    pub(super) fn new(units: usize, now: Time, interval: Span) -> Self {
        Self { loads: vec![(0, now); units], lasts: Span(2 * interval.0), balance_at: now + interval }
    }

    fn note(&mut self, unit: Unit, load: u32, now: Time) {
        if let Some(known) = self.loads.get_mut(unit.index()) {
            *known = (load, now);
        }
    }

    /// What a unit weighs: its load, and as much as an average one for being there. So idle units are spread too, and
    /// a newcomer gets a fair share of the units, not just the few that are busy at the moment.
    pub(super) fn weights(&self, now: Time) -> Weights {
        let valid = |(load, at): &(u32, Time)| if now.since(*at) < self.lasts { u64::from(*load) } else { 0 };
        let total: u64 = self.loads.iter().map(valid).sum();
        let base = 1 + total / self.loads.len().max(1) as u64;
        Weights(self.loads.iter().map(|load| valid(load) + base).collect())
    }
}

impl Weights {
    pub(super) fn of(&self, unit: Unit) -> u64 {
        self.0.get(unit.index()).copied().unwrap_or(0)
    }

    pub(super) fn of_all(&self, units: impl Iterator<Item = Unit>) -> u64 {
        units.map(|unit| self.of(unit)).sum()
    }
}

/// Moves that bring owners closer together, best first; every one strictly lowers the larger of the two loads.
fn balance(owned: &mut BTreeMap<MemberId, Vec<Unit>>, weights: &Weights) -> Vec<(MemberId, MemberId, Unit)> {
    let weight = |unit: &Unit| weights.of(*unit);
    let mut sums: BTreeMap<MemberId, u64> =
        owned.iter().map(|(id, units)| (*id, weights.of_all(units.iter().copied()))).collect();
    let mut moves = Vec::new();
    let total: u64 = sums.values().sum();
    let noise = total / sums.len().max(1) as u64 / 20;
    while moves.len() < weights.0.len() {
        let Some((most, high)) = sums.iter().max_by_key(|(_, sum)| **sum).map(|(id, sum)| (*id, *sum)) else { break };
        let Some((least, low)) = sums.iter().min_by_key(|(_, sum)| **sum).map(|(id, sum)| (*id, *sum)) else { break };
        let gap = high - low;
        if gap <= noise.max(1) {
            break;
        }
        // Half the gap is ideal; anything below the gap lowers the maximum.
        let units = owned.get(&most).map(Vec::as_slice).unwrap_or_default();
        let best = units.iter().enumerate().filter(|(_, unit)| weight(unit) < gap);
        let Some((place, unit)) = best.min_by_key(|(_, unit)| weight(unit).abs_diff(gap / 2)).map(|(i, u)| (i, *u))
        else {
            break;
        };
        if let Some(units) = owned.get_mut(&most) {
            units.swap_remove(place);
        }
        owned.entry(least).or_default().push(unit);
        *sums.entry(most).or_default() -= weight(&unit);
        *sums.entry(least).or_default() += weight(&unit);
        moves.push((most, least, unit));
    }
    moves
}

impl Core {
    /// What this member's own units cost: kept if it is the master, told to the master otherwise.
    pub(super) fn take_own_loads(&mut self, now: Time, loads: &[(Unit, u32)]) {
        match &mut self.role {
            Role::Lead(lead) => {
                for (unit, load) in loads {
                    lead.loading.note(*unit, *load, now);
                }
            }
            Role::Follow(follow) => {
                let reign = follow.reign;
                for loads in loads.chunks(LOADS_MAX) {
                    let loads = Loads { reign, loads: loads.to_vec() };
                    self.send(To::Member(reign.master), Message::Loads(loads));
                }
            }
            Role::Search(_) | Role::Left => {}
        }
    }

    pub(super) fn take_loads(&mut self, now: Time, from: MemberId, loads: &Loads) {
        let Role::Lead(lead) = &mut self.role else { return };
        if loads.reign == lead.reign {
            for (unit, load) in &loads.loads {
                if self.table.owns(from, *unit) {
                    lead.loading.note(*unit, *load, now);
                }
            }
        }
    }

    pub(super) fn balance_timeout(&mut self, now: Time) {
        let Role::Lead(lead) = &mut self.role else { return };
        if now < lead.loading.balance_at {
            return;
        }
        lead.loading.balance_at = now + self.settings.balance_interval;
        lead.loading.lasts = Span(2 * self.settings.balance_interval.0);
        self.plan_moves(now);
    }

    /// Whether the member may own units: it stays, and the LAN reaches it on every data port.
    pub(super) fn may_own(&self, id: MemberId) -> bool {
        let Role::Lead(lead) = &self.role else { return false };
        let leaves = if id == self.id() { self.draining } else { lead.followers.get(&id).is_none_or(|f| f.draining) };
        // Nobody serves before it has heard this master.
        let serves = id == self.id() || lead.gathering() || lead.followers.get(&id).is_some_and(Follower::hears_us);
        !leaves && serves && !lead.unfit.contains(&id)
    }

    /// Plans anew which units move where: away from members that may not own, then for balance.
    pub(super) fn plan_moves(&mut self, now: Time) {
        let Role::Lead(lead) = &self.role else { return };
        if lead.gathering() {
            return;
        }
        let fit: BTreeSet<MemberId> = self.member_ids().into_iter().filter(|id| self.may_own(*id)).collect();
        if fit.is_empty() {
            return;
        }
        let weights = lead.loading.weights(now);
        let mut owned: BTreeMap<MemberId, Vec<Unit>> = fit.iter().map(|id| (*id, Vec::new())).collect();
        let mut moves: Vec<(MemberId, MemberId, Unit)> = Vec::new();
        let mut stranded = Vec::new();
        for (unit, entry) in self.table.iter() {
            match entry.owner {
                Owner::Member(owner) if fit.contains(&owner) => owned.entry(owner).or_default().push(unit),
                Owner::Member(owner) => stranded.push((owner, unit)),
                Owner::Unassigned | Owner::Quarantined => {}
            }
        }
        let fit_ids: Vec<MemberId> = fit.iter().copied().collect();
        for (owner, unit) in stranded {
            let load = |id: &MemberId| (weights.of_all(owned[id].iter().copied()), *id);
            let Some(heir) = self.holders_among(unit, &fit_ids).into_iter().min_by_key(load) else { break };
            owned.entry(heir).or_default().push(unit);
            moves.push((owner, heir, unit));
        }
        if moves.is_empty() {
            moves = balance(&mut owned, &weights);
        }
        let Role::Lead(lead) = &mut self.role else { return };
        lead.plan = batches(moves).into();
        self.start_move(now);
    }

    /// A member is fit if on every data port some other member and it hear each other; a port on which nobody hears
    /// anybody says nothing about members.
    pub(super) fn judge_fitness(&mut self, now: Time) {
        let me = self.id();
        let Role::Lead(lead) = &self.role else { return };
        let silence = self.settings.give_away(lead.losses_high());
        let ids = self.member_ids();
        let mine = self.hears(now, silence);
        let hears = |who: MemberId, whom: MemberId| -> u8 {
            let list = if who == me { Some(&mine) } else { lead.followers.get(&who).map(|f| &f.hears) };
            list.and_then(|list| list.iter().find(|(id, _)| *id == whom)).map_or(0, |(_, bits)| *bits)
        };
        let reach = |who: MemberId| {
            ids.iter()
                .filter(|other| **other != who)
                .fold(0_u8, |bits, other| bits | (hears(who, *other) & hears(*other, who)))
        };
        let reached: BTreeMap<MemberId, u8> = ids.iter().map(|id| (*id, reach(*id))).collect();
        let ports = self.settings.contact.macs.len().min(PORTS_MAX);
        let in_use = reached.values().fold(0_u8, |all, bits| all | bits) & ((1_u16 << ports) - 1) as u8;
        let unfit: BTreeSet<MemberId> = reached
            .iter()
            .filter(|(id, bits)| *bits & in_use != in_use && self.settled(now, **id))
            .map(|(id, _)| *id)
            .collect();
        let Role::Lead(lead) = &mut self.role else { return };
        let before = std::mem::replace(&mut lead.unfit, unfit.clone());
        if before == unfit {
            return;
        }
        for id in before.symmetric_difference(&unfit) {
            self.event(ClusterEvent::Fitness(*id, !unfit.contains(id)));
        }
        self.plan_moves(now);
    }
}

/// Groups moves by source and target, cut to what one datagram carries.
fn batches(moves: Vec<(MemberId, MemberId, Unit)>) -> Vec<PlannedMove> {
    let mut grouped: BTreeMap<(MemberId, MemberId), Vec<Unit>> = BTreeMap::new();
    for (from, to, unit) in moves {
        grouped.entry((from, to)).or_default().push(unit);
    }
    let cut = |((from, to), units): ((MemberId, MemberId), Vec<Unit>)| {
        units.chunks(MOVE_UNITS_MAX).map(|units| PlannedMove { from, to, units: units.to_vec() }).collect::<Vec<_>>()
    };
    grouped.into_iter().flat_map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u8) -> MemberId {
        MemberId::new(number).unwrap()
    }

    fn sums(owned: &BTreeMap<MemberId, Vec<Unit>>, weights: &Weights) -> Vec<u64> {
        owned.values().map(|units| weights.of_all(units.iter().copied())).collect()
    }

    #[test]
    fn an_idle_newcomer_gets_its_share_and_then_nothing_moves() {
        let weights = Weights(vec![1; 1024]);
        let mut owned: BTreeMap<_, Vec<Unit>> =
            [(member(1), Unit::all().collect()), (member(2), vec![]), (member(3), vec![])].into();
        assert!(!balance(&mut owned, &weights).is_empty());
        let sums = sums(&owned, &weights);
        assert!(sums.iter().all(|sum| (320..=365).contains(sum)), "{sums:?}");
        assert!(balance(&mut owned, &weights).is_empty(), "a balanced table stays as it is");
    }

    #[test]
    fn a_load_that_nobody_confirms_is_forgotten() {
        let (unit, other) = (Unit::from_low_bits(3), Unit::from_low_bits(4));
        let mut loading = Loading::new(16, Time(0), Span::from_ms(2000));
        loading.note(unit, 160, Time(0));
        let weights = loading.weights(Time(3_999_000_000));
        assert_eq!((weights.of(unit), weights.of(other)), (171, 11));
        assert_eq!(loading.weights(Time(4_000_000_000)).of(unit), 1);
    }

    #[test]
    fn one_heavy_unit_is_not_passed_around() {
        // Departure 1: moving the only heavy unit would not lower the maximum.
        let mut weights = Weights(vec![1; 16]);
        weights.0[0] = 1000;
        let mut owned: BTreeMap<_, Vec<Unit>> =
            [(member(1), vec![Unit::new(0).unwrap()]), (member(2), Unit::all().skip(1).take(15).collect())].into();
        assert!(balance(&mut owned, &weights).is_empty());
    }
}
