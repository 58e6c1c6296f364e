//! The checkers of sessions.
//!
//! *Who must know.* Whatever reaches a host shows what its owner had committed; so at that moment the owner and its backups
//! in sync hold all of it (`Sessions::holders`, by unit). A unit may go to one of these, and everything goes on. If it goes to
//! another, because all of these are dead, or (`SessionReport::bad_heirs`) because the master chose so or a split has healed in
//! favour of those whom no host could reach, its sessions are lost by right: they are *excused* and counted.

use phalanx_dataplane::app::UnitSet;
use phalanx_dataplane::replica::{DigestKey, Store, StoreLimits};
use phalanx_dataplane::unit::{MemberId, Unit};
use phalanx_dataplane::wire::proto;

use super::super::world::{MS, World};
use super::desk::REPLICA_KEY;
use super::lan::Frame;
use super::twin::{picture, picture_of_store};
use super::{Sessions, ticket};

/// What a connection that nothing disturbs may take to go on.
pub(super) const PATIENCE: u64 = 4000 * MS;
/// How often that is looked at.
pub(super) const LOOK: u64 = 50 * MS;

/// Processes, by place and life.
pub(super) type Holders = Vec<(usize, u32)>;

/// Where those are who hold what is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lost {
    /// Dead.
    Dead,
    /// Stopped, cut off, or on the other side of a split: the heir's master cannot choose them.
    Away,
    /// One at least follows the heir's master, and was not chosen.
    Unchosen,
}

impl World {
    /// A packet of this member's is seen outside.
    pub(super) fn shown(&mut self, sessions: &mut Sessions, at: usize, frame: &Frame) -> Result<(), String> {
        let unit = sessions.unit_of_answer(frame);
        self.shown_of(sessions, at, unit);
        if frame.proto == proto::UDP { ticket::check_number(sessions, frame) } else { Ok(()) }
    }

    /// What a member shows is of this unit. A second owner that others have followed shows nothing that they do not hold: what it had
    /// committed.
    pub(super) fn shown_of(&mut self, sessions: &mut Sessions, at: usize, unit: Unit) {
        let last = sessions.holders[unit.index()].first();
        if self.usurps(at) && last.is_some_and(|last| *last != (at, self.nodes[at].life)) {
            return;
        }
        self.check_heir(sessions, at, unit);
        let Some(desk) = self.nodes[at].process.as_ref().and_then(|process| process.desk.as_ref()) else { return };
        let holders: Holders = desk.holders(unit, self.nodes[at].life).collect();
        if sessions.holders[unit.index()] != holders {
            let id = self.nodes[at].id;
            self.note(|| format!("{id} shows what unit {unit} holds, {holders:?} hold it"));
            sessions.holders[unit.index()] = holders;
        }
    }

    /// Backups that have come into sync since with an owner who holds what was shown hold it, too.
    pub(super) fn note_in_sync(&self, sessions: &mut Sessions, at: usize) {
        let life = self.nodes[at].life;
        let Some(desk) = self.nodes[at].process.as_ref().and_then(|process| process.desk.as_ref()) else { return };
        for (unit, holders) in Unit::all().zip(&mut sessions.holders).filter(|(_, it)| it.first() == Some(&(at, life)))
        {
            desk.holders(unit, life).for_each(|one| {
                if !holders.contains(&one) {
                    holders.push(one);
                }
            });
        }
    }

    /// Units are this member's from now on.
    pub(super) fn check_heirs(&mut self, sessions: &mut Sessions, at: usize, gained: &UnitSet) {
        for unit in gained.iter() {
            sessions.report.takeovers += u64::from(sessions.is_alive_in(unit));
            self.check_heir(sessions, at, unit);
        }
    }

    /// A unit comes from the one to whom the table gave it: from one who never held what was shown (it was cut off, and all have
    /// come back under its old table), its heirs have what it has.
    pub(super) fn check_predecessor(
        &mut self,
        sessions: &mut Sessions,
        at: usize,
        unit: Unit,
        owner: Option<MemberId>,
    ) {
        let holders = &sessions.holders[unit.index()];
        let Some(owner) = owner.filter(|_| !holders.is_empty()) else { return };
        if !holders.iter().any(|(at, _)| *at == owner.index()) {
            let lost = self.lost(at, holders);
            self.note(|| format!("unit {unit} was {owner}'s, who did not hold it ({lost:?}): {holders:?}"));
            self.excuse(sessions, unit, lost);
        }
    }

    /// A member acts for a unit: it holds all that was shown, or the unit's sessions are lost. (Where a split heals, the one
    /// whose side wins need not be the one whom the hosts have talked to.)
    pub(super) fn check_heir(&mut self, sessions: &mut Sessions, at: usize, unit: Unit) {
        let (id, life) = (self.nodes[at].id, self.nodes[at].life);
        let holders = &sessions.holders[unit.index()];
        if holders.is_empty() || holders.contains(&(at, life)) || self.usurps(at) {
            return;
        }
        let lost = self.lost(at, holders);
        self.note(|| format!("unit {unit} goes to {id}, who does not hold it ({lost:?}): {holders:?}"));
        self.excuse(sessions, unit, lost);
    }

    /// Where those are who hold what this heir does not.
    fn lost(&self, heir: usize, holders: &Holders) -> Lost {
        let lives = |(at, life): &&(usize, u32)| self.nodes[*at].life == *life && self.nodes[*at].process.is_some();
        let is_there = |(at, _): &(usize, u32)| self.nodes[*at].is_well() && self.reign(*at) == self.reign(heir);
        match holders.iter().find(lives) {
            None => Lost::Dead,
            Some(_) if holders.iter().filter(lives).any(is_there) => Lost::Unchosen,
            Some(_) => Lost::Away,
        }
    }

    /// All has healed: what the owners do not hold is lost, even where nobody says a word about it.
    pub(in crate::sim) fn check_what_owners_hold(&mut self) {
        let done = self.with_sessions(|world, sessions| {
            for unit in Unit::all().take(world.common.units) {
                let owner = (0..world.nodes.len()).find(|at| world.nodes[*at].owns(world.now, unit));
                owner.into_iter().for_each(|at| world.check_heir(sessions, at, unit));
            }
            Ok(())
        });
        debug_assert_eq!(done, Ok(()));
    }

    fn excuse(&mut self, sessions: &mut Sessions, unit: Unit, lost: Lost) {
        sessions.holders[unit.index()].clear();
        let mut count = 0;
        let mut free = Vec::new();
        for conversation in sessions.conversations.iter_mut().filter(|it| it.unit == unit && !it.excused) {
            conversation.excused = true;
            // What a lost connection's hosts do is their own affair.
            conversation.hosts = [None, None];
            if !conversation.is_over {
                count += 1;
                free.push(conversation.line);
            }
        }
        for asker in sessions.askers.iter_mut().filter(|it| it.unit == unit) {
            count += 1;
            asker.last = None;
        }
        count += sessions.ipsec.as_mut().map_or(0, |ipsec| ipsec.excuse(unit));
        sessions.report.excused += count;
        sessions.report.bad_heirs += if lost == Lost::Dead { 0 } else { count };
        sessions.report.unchosen += if lost == Lost::Unchosen { count } else { 0 };
        for line in free {
            self.next_conversation(line);
        }
    }

    /// Nothing stands still for long once everything has healed.
    pub(super) fn check_sessions(&mut self, sessions: &mut Sessions) -> Result<(), String> {
        let Some(healed_at) = self.schedule.calm_since() else { return Ok(()) };
        for conversation in sessions.conversations.iter().filter(|it| !it.is_over && !it.excused) {
            let since = conversation.progress_at.max(healed_at);
            // Whoever sends again doubles its pauses for as long as nothing comes through; and that may be lost four times.
            let silent = healed_at.saturating_sub(conversation.progress_at);
            let patience = if sessions.stretch.loses() { 5 * PATIENCE + 16 * silent } else { PATIENCE + 3 * silent };
            if self.now > since + patience {
                let (shown, unit) = (conversation.show(), conversation.unit);
                return Err(format!(
                    "no progress for {} ms, {} ms after all healed, unit {unit}: {shown}",
                    (self.now - conversation.progress_at) / MS,
                    (self.now - healed_at) / MS
                ));
            }
        }
        self.check_peers(sessions, healed_at)?;
        ticket::check_askers(sessions, self.now, healed_at)
    }

    /// At rest, every backup in sync has what the owner has.
    pub(in crate::sim) fn check_copies(&mut self) -> Result<(), String> {
        for unit in Unit::all().take(self.common.units) {
            let Some(owner) = (0..self.nodes.len()).find(|at| self.nodes[*at].owns(self.now, unit)) else { continue };
            let Some(desk) = self.desk(owner) else {
                continue;
            };
            let digest = desk.with_sources(|source| source.digest(unit));
            let quiet = desk.holdings.outbox.head() == desk.holdings.outbox.committed();
            let holders: Vec<_> = desk.in_sync(unit).skip(1).collect();
            for member in holders.into_iter().filter(|_| quiet) {
                let desk = self.nodes[member.index()].process.as_ref().and_then(|process| process.desk.as_ref());
                if let Some(held) = desk.map(|desk| desk.holdings.store.digest(unit)).filter(|held| *held != digest) {
                    let mut scratch = Store::new(DigestKey::new(REPLICA_KEY), StoreLimits::default());
                    let theirs = self.desk(member.index()).map(|desk| picture_of_store(&desk.holdings.store, unit));
                    let ours = self.desk(owner).map(|desk| picture(desk, unit, &mut scratch));
                    return Err(format!(
                        "{member} holds unit {unit} otherwise than its owner: {held:x}, not {digest:x}; {theirs:?}, not {ours:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Sessions {
    /// Whether something of a unit is under way.
    pub(super) fn is_alive_in(&self, unit: Unit) -> bool {
        self.conversations.iter().any(|it| it.unit == unit && !it.is_over && !it.excused)
            || self.ipsec.as_ref().is_some_and(|ipsec| ipsec.is_alive_in(unit))
    }
}
