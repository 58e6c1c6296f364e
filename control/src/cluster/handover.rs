//! Planned moves: a unit goes from an owner that lives to another, and not one packet is lost, doubled or overtaken.
//!
//! | step | who says it | effect |
//! | --- | --- | --- |
//! | Prepare | master to old owner | once the new owner holds the sessions, it logs a digest of each packet that it processes |
//! | Prepared | old owner to master | |
//! | Prepare | master to new owner | it keeps what it sees |
//! | Prepared | new owner to master | under `forward` the master now sends packets to both |
//! | Stop | master to old owner | it stops, and keeps what it sees from now on |
//! | Log | old owner to new owner | what was logged |
//! | `LogHeld` | new owner to master | the master commits: a table that names the new owner |
//! | table | master to all | the new owner processes what it kept, without what the log names, and owns the unit |
//!
//! Logging starts before keeping, so what the new owner keeps was either logged by the old owner or not processed by it.
//! Any newer table ends a move: if its units still belong to the old owner, that resumes with what it kept since it stopped, and
//! the new owner throws away what it kept; if not, it is the other way round. So a move is given up by publishing a table, whoever
//! dies at any step leaves no trace of it, and no packet is lost by it: what is processed is what the owner by the table kept.
//!
//! (A master that is the old owner itself, under `forward`, is the only one who sees packets after it has stopped: it keeps them,
//! and passes them on when the new owner has the unit.)
//!
//! Workers keep packets for 300 ms. So a move is given up well before that if whoever has stopped does not say so: its log may
//! have a long way to the new owner, after the link between the two was down.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_dataplane::steer::ReleaseTo;
use phalanx_dataplane::unit::{MemberId, Unit};

use super::core::{Core, Role};
use super::event::ClusterEvent;
use super::lead::Lead;
use super::message::{LOG_DIGESTS_MAX, Message, MoveStep, Reign};
use super::output::To;
use super::settings::Settings;
use super::table::{Owner, Table};
use super::time::{Span, Time};

/// Digests of processed packets by unit; `None`: more than could be noted.
type Log = Vec<(Unit, Option<Vec<u32>>)>;

/// A move that has not come about by then is given up.
const MOVE_WAIT: Span = Span::from_ms(1000);
/// So is one whose old owner was told to stop: less than `steer::Limits::hold_ns` by all that it takes until it goes on.
const STOP_WAIT: Span = Span::from_ms(150);
/// How long its new owner may take before that to come to hold the sessions.
const SYNC_WAIT: Span = Span::from_ms(10_000);

/// What this member does in a move.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Side {
    reign: Reign,
    id: u64,
    pub(super) units: BTreeSet<Unit>,
    other: MemberId,
    pub(super) part: Part,
    /// The view that must be in force before this step is done.
    awaiting: Option<u64>,
    acted_at: Time,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Part {
    From { stage: FromStage, log: Log },
    To { parts: BTreeMap<u16, Log>, complete: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum FromStage {
    /// The new owner does not hold the units' sessions yet.
    Syncing,
    Logging,
    Stopping,
    Stopped,
    /// The new owner has the log.
    Told,
}

impl Part {
    pub(super) fn is_syncing(&self) -> bool {
        matches!(self, Self::From { stage: FromStage::Syncing, .. })
    }

    pub(super) fn has_stopped(&self) -> bool {
        matches!(self, Self::From { stage, .. } if !matches!(stage, FromStage::Syncing | FromStage::Logging))
    }
}

impl Side {
    /// The other party.
    pub(super) fn other(&self) -> MemberId {
        self.other
    }

    pub(super) fn deadline(&self, settings: &Settings) -> Option<(Time, &'static str)> {
        matches!(self.part, Part::From { stage: FromStage::Stopped, .. })
            .then(|| (self.acted_at + settings.retry(), "log unanswered"))
    }
}

/// The master's side of a move.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct ActiveMove {
    pub(super) id: u64,
    pub(super) from: MemberId,
    pub(super) to: MemberId,
    pub(super) units: BTreeSet<Unit>,
    stage: MoveStage,
    acted_at: Time,
    since: Time,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum MoveStage {
    Logging,
    Holding,
    /// Under `forward`: until this view is in force at our own workers.
    Doubling(u64),
    Stopping,
}

impl ActiveMove {
    pub(super) fn new(id: u64, from: MemberId, to: MemberId, units: BTreeSet<Unit>, now: Time) -> Self {
        Self { id, from, to, units, stage: MoveStage::Logging, acted_at: now, since: now }
    }

    pub(super) fn doubles(&self) -> bool {
        matches!(self.stage, MoveStage::Doubling(_) | MoveStage::Stopping)
    }

    pub(super) fn deadline(&self, settings: &Settings) -> Time {
        (self.acted_at + settings.retry()).min(self.since + self.wait(settings))
    }

    fn wait(&self, settings: &Settings) -> Span {
        match self.stage {
            MoveStage::Logging if settings.replicas.is_some() => SYNC_WAIT,
            MoveStage::Logging | MoveStage::Holding | MoveStage::Doubling(_) => MOVE_WAIT,
            MoveStage::Stopping => STOP_WAIT,
        }
    }

    /// The old owner is told to stop.
    fn stop(&mut self, now: Time) {
        (self.stage, self.since) = (MoveStage::Stopping, now);
    }
}

impl Core {
    pub(super) fn handle_move(&mut self, now: Time, from: MemberId, reign: Reign, step: MoveStep) {
        if self.reign() != Some(reign) {
            return;
        }
        let from_master = from == reign.master;
        match step {
            MoveStep::Prepare { id, base, from, to, units } if from_master && base == self.table.version => {
                self.prepare(now, reign, id, from, to, units);
            }
            MoveStep::Stop(id) if from_master => self.stop_logging(now, id),
            MoveStep::Log { id, part, parts, digests } => self.take_log(from, id, part, parts, digests),
            MoveStep::Prepared(id) => self.move_prepared(now, from, id),
            MoveStep::LogHeld(id) => {
                self.log_is_held(from, id);
                self.move_committed(now, from, id);
            }
            MoveStep::Prepare { .. } | MoveStep::Stop(_) => {}
        }
    }

    fn side_of(&mut self, id: u64) -> Option<&mut Side> {
        let reign = self.reign();
        self.side.as_mut().filter(|side| side.id == id && Some(side.reign) == reign)
    }

    fn prepare(&mut self, now: Time, reign: Reign, id: u64, from: MemberId, to: MemberId, units: Vec<Unit>) {
        let me = self.id();
        if self.side_of(id).is_none() {
            let owned = units.iter().all(|unit| self.table.owns(from, *unit));
            let (other, part) = match () {
                () if !owned => return,
                () if me == from => (to, Part::From { stage: self.first_stage(), log: Log::new() }),
                () if me == to => (from, Part::To { parts: BTreeMap::new(), complete: false }),
                () => return,
            };
            let units = units.into_iter().collect();
            self.side = Some(Side { reign, id, units, other, part, awaiting: None, acted_at: now });
            let view = self.refresh_view();
            let side = self.side.as_mut().expect("was just set");
            side.awaiting = (!side.part.is_syncing()).then_some(view);
            self.begin_logging(now);
        }
        self.side_applied(now, Vec::new());
        if let Some(side) = self.side_of(id)
            && side.awaiting.is_none()
            && !side.part.has_stopped()
            && !side.part.is_syncing()
        {
            self.tell_prepared(now, id);
        }
    }

    /// A unit with sessions goes to nobody who does not hold them.
    fn first_stage(&self) -> FromStage {
        if self.settings.replicas.is_some() { FromStage::Syncing } else { FromStage::Logging }
    }

    /// Begins the move if all that it waited for was that the new owner holds what it is to take over.
    pub(super) fn begin_logging(&mut self, now: Time) {
        let Some(side) = self.side.as_ref().filter(|side| side.part.is_syncing()) else { return };
        if !side.units.iter().all(|unit| self.holds_ours(side.other, *unit)) {
            return;
        }
        if let Some(Part::From { stage, .. }) = self.side.as_mut().map(|side| &mut side.part) {
            *stage = FromStage::Logging;
        }
        let view = self.refresh_view();
        if let Some(side) = &mut self.side {
            side.awaiting = Some(view);
        }
        self.side_applied(now, Vec::new());
    }

    /// To whom a unit of ours is on its way: it has to hold its sessions first.
    pub(super) fn goes_to(&self, unit: Unit) -> Option<MemberId> {
        let side = self.side.as_ref().filter(|side| matches!(side.part, Part::From { .. }))?;
        side.units.contains(&unit).then_some(side.other)
    }

    /// Prepared; but who may not serve yet (it has just joined) takes nothing over, and is asked again.
    fn tell_prepared(&mut self, now: Time, id: u64) {
        let takes = self.side.as_ref().is_some_and(|side| matches!(side.part, Part::To { .. }));
        if !takes || self.lease_is_valid(now) {
            self.tell_master(MoveStep::Prepared(id));
        }
    }

    fn tell_master(&mut self, step: MoveStep) {
        if let Some(reign) = self.reign() {
            self.send(To::Member(reign.master), Message::Move(reign, step));
        }
    }

    fn stop_logging(&mut self, now: Time, id: u64) {
        let Some(side) = self.side_of(id) else { return };
        let Part::From { stage, .. } = &mut side.part else { return };
        if *stage != FromStage::Logging {
            return;
        }
        *stage = FromStage::Stopping;
        let view = self.refresh_view();
        if let Some(side) = &mut self.side {
            side.awaiting = Some(view);
        }
        self.side_applied(now, Vec::new());
    }

    /// The workers obey a view: the step that waited for it is done.
    pub(super) fn side_applied(&mut self, now: Time, logs: Log) {
        let applied = self.views.applied();
        let Some(side) = &mut self.side else { return };
        if let Part::From { stage: FromStage::Stopping, log } = &mut side.part {
            log.extend(logs.into_iter().filter(|(unit, _)| side.units.contains(unit)));
        }
        if side.awaiting.take_if(|view| *view <= applied).is_none() {
            return;
        }
        let id = side.id;
        match &mut side.part {
            Part::From { stage: FromStage::Stopping, .. } => self.stopped(now),
            Part::From { .. } | Part::To { .. } => self.tell_prepared(now, id),
        }
    }

    /// This member has stopped. If the new owner has fallen out of sync meanwhile, it serves on, and notes on, until it is told again
    /// to stop, or the master gives the move up.
    fn stopped(&mut self, now: Time) {
        let holds = |side: &Side| side.units.iter().all(|unit| self.holds_ours(side.other, *unit));
        let held = self.settings.replicas.is_none() || self.side.as_ref().is_some_and(holds);
        if let Some(Part::From { stage, .. }) = self.side.as_mut().map(|side| &mut side.part) {
            *stage = if held { FromStage::Stopped } else { FromStage::Logging };
        }
        if held {
            self.send_log(now);
        } else {
            self.refresh_view();
        }
    }

    pub(super) fn side_timeout(&mut self, now: Time) {
        let due = self.side.as_ref().and_then(|side| side.deadline(&self.settings));
        if due.is_some_and(|(at, _)| at <= now) {
            self.send_log(now);
        }
    }

    fn send_log(&mut self, now: Time) {
        let Some(side) = &mut self.side else { return };
        side.acted_at = now;
        let (reign, id, other) = (side.reign, side.id, side.other);
        let Part::From { log, .. } = &side.part else { return };
        let parts = split_log(log);
        let count = parts.len() as u16;
        for (part, digests) in parts.into_iter().enumerate() {
            let step = MoveStep::Log { id, part: part as u16, parts: count, digests };
            self.send(To::Member(other), Message::Move(reign, step));
        }
    }

    fn take_log(&mut self, from: MemberId, id: u64, part: u16, of: u16, digests: Log) {
        let Some(side) = self.side_of(id) else { return };
        if from != side.other || part >= of {
            return;
        }
        let Part::To { parts, complete } = &mut side.part else { return };
        parts.insert(part, digests);
        *complete = parts.len() == usize::from(of);
        if *complete {
            let (reign, other) = (side.reign, side.other);
            self.send(To::Member(other), Message::Move(reign, MoveStep::LogHeld(id)));
            if other != reign.master {
                self.tell_master(MoveStep::LogHeld(id));
            }
        }
    }

    fn log_is_held(&mut self, from: MemberId, id: u64) {
        if let Some(side) = self.side_of(id)
            && side.other == from
            && let Part::From { stage: stage @ FromStage::Stopped, .. } = &mut side.part
        {
            *stage = FromStage::Told;
        }
    }

    /// Whether the packets that this member kept for its move are its to process, if a new table names it as the owner.
    /// Where every member sees every packet, only the commit says so: a unit that came here otherwise (the old owner died
    /// meanwhile) has its packets held by the master, too.
    pub(super) fn move_brings(&self, reign: Reign, committed: u64) -> bool {
        let is_it = |side: &Side| side.reign == reign && side.id == committed;
        self.forwards() || self.side.as_ref().is_some_and(is_it)
    }

    /// A new table is coming into force: the move under way ends with it, one way or the other.
    pub(super) fn end_side(&mut self, table: &Table, brings: bool) {
        let Some(side) = self.side.take() else { return };
        let (parts, complete) = match side.part {
            Part::To { parts, complete } => (parts, complete),
            Part::From { .. } => return self.end_stop(table, &side),
        };
        let mut log: BTreeMap<Unit, Option<Vec<u32>>> = BTreeMap::new();
        for (unit, digests) in parts.into_values().flatten() {
            let known = log.entry(unit).or_insert_with(|| Some(Vec::new()));
            match (known.as_mut(), digests) {
                (Some(known), Some(digests)) => known.extend(digests),
                _ => *known = None,
            }
        }
        for unit in side.units {
            let digests = log.remove(&unit).unwrap_or_else(|| Some(Vec::new()));
            match digests {
                Some(except) if brings && complete && table.owns(self.id(), unit) => {
                    self.release(unit, ReleaseTo::Here, except)
                }
                _ => self.release(unit, ReleaseTo::Nowhere, Vec::new()),
            }
        }
    }

    /// What was kept since this member stopped is not its to process, where the unit is another's now; and whoever has it saw it
    /// itself, but for what came to a master that forwards.
    fn end_stop(&mut self, table: &Table, side: &Side) {
        let me = self.id();
        let passes_on = self.forwards() && side.reign.master == me;
        if !side.part.has_stopped() || passes_on {
            return;
        }
        for unit in side.units.iter().filter(|unit| !table.owns(me, **unit)) {
            self.release(*unit, ReleaseTo::Nowhere, Vec::new());
        }
    }

    // ---- the master's side -------------------------------------------------------------------------------------

    /// Starts the next planned move, if none is under way.
    pub(super) fn start_move(&mut self, now: Time) {
        while let Role::Lead(lead) = &mut self.role
            && lead.active.is_none()
            && !lead.gathering()
            && let Some(plan) = lead.plan.pop_front()
        {
            let units = self.movable(&plan);
            if units.is_empty() || !self.is_member(plan.to) {
                continue;
            }
            let Role::Lead(lead) = &mut self.role else { return };
            lead.moves += 1;
            lead.active = Some(ActiveMove::new(lead.moves, plan.from, plan.to, units, now));
            return self.say_move(now);
        }
    }

    fn movable(&self, plan: &PlannedMove) -> BTreeSet<Unit> {
        let pending = |unit: Unit| matches!(&self.role, Role::Lead(lead) if lead.pending(unit));
        let may = |unit: &Unit| self.table.owns(plan.from, *unit) && !pending(*unit) && self.may_move(*unit, plan.to);
        plan.units.iter().copied().filter(may).collect()
    }

    /// Says (again) what the move under way waits for.
    fn say_move(&mut self, now: Time) {
        let base = self.table.version;
        let Role::Lead(lead) = &mut self.role else { return };
        let reign = lead.reign;
        let Some(active) = &mut lead.active else { return };
        active.acted_at = now;
        let units = active.units.iter().copied().collect();
        let prepare = MoveStep::Prepare { id: active.id, base, from: active.from, to: active.to, units };
        let (receiver, step) = match active.stage {
            MoveStage::Logging => (active.from, prepare),
            MoveStage::Holding => (active.to, prepare),
            MoveStage::Doubling(_) => return,
            MoveStage::Stopping => (active.from, MoveStep::Stop(active.id)),
        };
        self.send(To::Member(receiver), Message::Move(reign, step));
    }

    fn move_prepared(&mut self, now: Time, from: MemberId, id: u64) {
        let forwards = self.forwards();
        let two_owners = self.settings.two_owners();
        let Role::Lead(lead) = &mut self.role else { return };
        let Some(active) = lead.active.as_mut().filter(|active| active.id == id) else { return };
        match active.stage {
            MoveStage::Logging if from == active.from => {
                active.stage = MoveStage::Holding;
                if self.settings.replicas.is_some() {
                    active.since = now;
                }
            }
            MoveStage::Holding if from == active.to && two_owners => return self.commit_move(now),
            MoveStage::Holding if from == active.to && forwards => {
                active.stage = MoveStage::Doubling(u64::MAX);
                let view = self.refresh_view();
                if let Role::Lead(lead) = &mut self.role
                    && let Some(active) = &mut lead.active
                {
                    active.stage = MoveStage::Doubling(view);
                }
                return self.move_applied(now);
            }
            MoveStage::Holding if from == active.to => active.stop(now),
            _ => return,
        }
        self.say_move(now);
    }

    /// Our own workers obey a view: packets go to both now, so the old owner may stop.
    pub(super) fn move_applied(&mut self, now: Time) {
        let applied = self.views.applied();
        let Role::Lead(lead) = &mut self.role else { return };
        if let Some(active) = &mut lead.active
            && matches!(active.stage, MoveStage::Doubling(view) if view <= applied)
        {
            active.stop(now);
            self.say_move(now);
        }
    }

    fn move_committed(&mut self, now: Time, from: MemberId, id: u64) {
        let Role::Lead(lead) = &self.role else { return };
        let held = |active: &ActiveMove| active.id == id && active.to == from && active.stage == MoveStage::Stopping;
        if lead.active.as_ref().is_some_and(held) {
            self.commit_move(now);
        }
    }

    fn commit_move(&mut self, now: Time) {
        let Role::Lead(lead) = &mut self.role else { return };
        let Some(active) = lead.active.take() else { return };
        let mut table = self.table.clone();
        for unit in &active.units {
            table.set_owner(*unit, Owner::Member(active.to));
        }
        lead.committed = active.id;
        let (from, to, units) = (active.from, active.to, active.units.len());
        self.publish_move(now, table, &active.units);
        self.event(ClusterEvent::Moved { from, to, units });
        self.start_move(now);
    }

    pub(super) fn move_timeout(&mut self, now: Time) {
        let Role::Lead(lead) = &self.role else { return };
        let Some(active) = &lead.active else { return };
        if now >= active.since + active.wait(&self.settings) {
            let table = self.table.clone();
            self.publish(now, table);
        } else if now >= active.acted_at + self.settings.retry() {
            self.say_move(now);
        }
    }
}

/// Cuts a log to datagrams. An empty log is one empty part: it says that nothing was processed.
fn split_log(log: &Log) -> Vec<Log> {
    let mut parts = vec![Log::new()];
    let mut room = LOG_DIGESTS_MAX;
    let mut put = |entry: (Unit, Option<Vec<u32>>), cost: usize| {
        if cost > room {
            parts.push(Log::new());
            room = LOG_DIGESTS_MAX;
        }
        room -= cost;
        parts.last_mut().expect("there is always a part").push(entry);
    };
    for (unit, digests) in log {
        match digests {
            // An empty log of a unit says nothing that its absence does not say.
            Some(digests) => {
                for piece in digests.chunks(LOG_DIGESTS_MAX - 1) {
                    put((*unit, Some(piece.to_vec())), piece.len() + 1);
                }
            }
            None => put((*unit, None), 1),
        }
    }
    parts
}

impl Lead {
    /// Under `forward`: the two members that packets of this unit go to at the moment.
    pub(super) fn doubled(&self, unit: Unit) -> Option<(MemberId, MemberId)> {
        let active = self.active.as_ref()?;
        (active.doubles() && active.units.contains(&unit)).then_some((active.from, active.to))
    }
}

/// A move that is planned but has not begun.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct PlannedMove {
    pub(super) from: MemberId,
    pub(super) to: MemberId,
    pub(super) units: Vec<Unit>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_any_size_is_cut_to_datagrams_and_loses_nothing() {
        let unit = |number| Unit::new(number).unwrap();
        let log: Log = vec![
            (unit(1), Some((0..450).collect())),
            (unit(2), Some(Vec::new())),
            (unit(3), None),
            (unit(4), Some(vec![7; 180])),
        ];
        let parts = split_log(&log);
        for part in &parts {
            let cost: usize = part.iter().map(|(_, digests)| 1 + digests.as_ref().map_or(0, Vec::len)).sum();
            assert!(cost <= LOG_DIGESTS_MAX);
        }
        let of_unit_1: Vec<u32> =
            parts.iter().flatten().filter(|(u, _)| *u == unit(1)).flat_map(|(_, d)| d.clone().unwrap()).collect();
        assert_eq!(of_unit_1, (0..450).collect::<Vec<_>>());
        assert_eq!(split_log(&Log::new()), [Log::new()]);
    }
}
