//! The checkers that look at members rather than at packets: owners, progress, convergence.
//!
//! *One valid owner.* An owner is a member whose worker would process a packet of the unit now: mode and lease. Two of
//! them are a violation
//! - always under `majority`;
//! - always under one master, once both have settled with it: its clocks keep them apart, whatever the network does;
//! - under `none`, also under two masters that have heard each other without a gap for [`STEADY_PERIODS`]: only where
//!   masters cannot hear each other may both serve. The silence of one that died or was held up is no gap: the leases that
//!   it gave must have lapsed before its successor began.

use phalanx_control::cluster::{Quorum, Reign, Span};
use phalanx_dataplane::steer::Mode;
use phalanx_dataplane::unit::Unit;

use super::node::Node;
use super::world::{MS, World};

/// After so many periods of hearing each other, two masters know it.
const STEADY_PERIODS: u64 = 6;
/// A datagram that takes longer counts as lost for as long.
const LATE: u64 = MS;

/// From one member to another.
#[derive(Clone, Copy, Default)]
struct Heard {
    /// When the last datagram that arrived was sent. None: none has, in the present life of both.
    last: Option<u64>,
    /// When the first one after that was sent that the network lost, or delays.
    lost: Option<u64>,
    /// When the last one was sent that came after a gap.
    gap_end: u64,
}

impl Heard {
    /// Whether the network, and not the sender's silence, has kept the receiver waiting for longer than `gap`.
    fn has_gap(&self, now: u64, gap: u64) -> bool {
        self.lost.is_some_and(|lost| lost < now) && self.last.is_none_or(|last| now > last + gap)
    }
}

/// What the checkers remember.
pub struct Checks {
    members: usize,
    /// By sender and receiver.
    heard: Vec<Heard>,
    /// Longer than this without a datagram is a gap.
    gap: u64,
    steady: u64,
    owned: Vec<Option<usize>>,
}

impl Checks {
    pub(super) fn new(members: usize, units: usize, period: Span) -> Self {
        Self {
            members,
            heard: vec![Heard::default(); members * members],
            // Masters speak once a period.
            gap: 2 * period.0,
            steady: STEADY_PERIODS * period.0,
            owned: vec![None; units],
        }
    }

    /// A datagram is sent, and will arrive at this moment, if at all.
    pub(super) fn sent(&mut self, now: u64, from: usize, to: usize, arrives: Option<u64>) {
        if arrives.is_none_or(|then| then > now + LATE) {
            self.heard[from * self.members + to].lost.get_or_insert(now);
        }
    }

    /// A datagram that was sent at this moment was taken in.
    pub(super) fn heard(&mut self, sent_at: u64, from: usize, at: usize) {
        let gap = self.gap;
        let heard = &mut self.heard[from * self.members + at];
        if heard.last.is_some_and(|last| sent_at <= last) {
            return;
        }
        // Who was held up since before the other began has not been heard by it, though the network lost nothing.
        if heard.last.is_none() || heard.has_gap(sent_at, gap) {
            heard.gap_end = sent_at;
        }
        heard.last = Some(sent_at);
        heard.lost = heard.lost.filter(|lost| *lost > sent_at);
    }

    /// A process began: it has heard nobody, nobody has heard it.
    pub(super) fn reborn(&mut self, now: u64, at: usize) {
        for other in 0..self.members {
            self.heard[at * self.members + other] = Heard { gap_end: now, ..Heard::default() };
            self.heard[other * self.members + at] = Heard { gap_end: now, ..Heard::default() };
        }
    }

    /// Whether two members hear each other, both ways, and have for a while.
    fn steady(&self, now: u64, a: usize, b: usize) -> bool {
        [(a, b), (b, a)].iter().all(|(from, at)| {
            let heard = self.heard[from * self.members + at];
            heard.last.is_some() && !heard.has_gap(now, self.gap) && now > heard.gap_end + self.steady
        })
    }
}

impl World {
    /// One valid owner per unit.
    pub(super) fn check_owners(&mut self) -> Result<(), String> {
        for unit in Unit::all().take(self.common.units) {
            let mut first = None;
            for at in 0..self.nodes.len() {
                if !self.nodes[at].owns(self.now, unit) {
                    continue;
                }
                match first {
                    None => first = Some(at),
                    Some(other) => self.check_pair(unit, other, at)?,
                }
            }
            self.checks.owned[unit.index()] = first;
        }
        Ok(())
    }

    fn check_pair(&self, unit: Unit, a: usize, b: usize) -> Result<(), String> {
        let why = if self.common.quorum == Quorum::Majority {
            "under majority"
        } else if self.reign(a).is_some() && self.reign(a) == self.reign(b) {
            if !(self.has_settled(a) && self.has_settled(b)) {
                return Ok(());
            }
            "under one master"
        } else if self.know_each_other(a, b) {
            "though their masters hear each other"
        } else {
            return Ok(());
        };
        let (id_a, id_b) = (self.nodes[a].id, self.nodes[b].id);
        Err(format!("unit {unit} has two owners {why}: {id_a} ({:?}) and {id_b} ({:?})", self.reign(a), self.reign(b)))
    }

    pub(super) fn reign(&self, at: usize) -> Option<Reign> {
        self.nodes[at].process.as_ref().and_then(|process| process.core.reign())
    }

    /// Whether two members' masters hear each other.
    pub(super) fn know_each_other(&self, a: usize, b: usize) -> bool {
        let master = |at: usize| self.reign(at).map_or(at, |reign| reign.master.index());
        let (a, b) = (master(a), master(b));
        let (before_a, before_b) = (self.whom_it_succeeds(a), self.whom_it_succeeds(b));
        a == b
            || self.checks.steady(self.now, a, b)
                && (before_a == before_b || self.checks.steady(self.now, before_a, before_b))
    }

    /// Who led what a master leads, as long as it is new; later itself. What its predecessor could not hear it has yet to act on, though
    /// it may have heard it all the while.
    fn whom_it_succeeds(&self, master: usize) -> usize {
        let process = self.nodes[master].process.as_ref();
        let before = process.filter(|it| self.now <= it.reign.1 + self.checks.steady).and_then(|it| it.reign_before);
        before.map_or(master, |reign| reign.master.index())
    }

    /// Whether the member has followed its master for more than a period. One that comes over from another master after a
    /// healed split brings what it owned, and the new master has yet to say whose it is.
    pub(super) fn has_settled(&self, at: usize) -> bool {
        let since = self.nodes[at].process.as_ref().map_or(0, |process| process.reign.1);
        self.now > since + self.common.period.0
    }

    /// How many units nobody would process now.
    pub(super) fn unowned(&self) -> usize {
        let owned = |unit: &Unit| self.nodes.iter().any(|node| node.owns(self.now, *unit));
        Unit::all().take(self.common.units).filter(|unit| !owned(unit) && !self.is_quarantined(*unit)).count()
    }

    /// Whether the unit killed two owners in a row, as far as some member believes.
    fn is_quarantined(&self, unit: Unit) -> bool {
        let mode = |node: &Node| node.process.as_ref().is_some_and(|p| p.worker.mode(unit) == Mode::Quarantined);
        self.nodes.iter().any(mode)
    }

    /// While a member stays in the cluster, neither its term nor its table goes back.
    pub(super) fn check_progress(&mut self, at: usize) -> Result<(), String> {
        let node = &mut self.nodes[at];
        let Some(process) = &mut node.process else { return Ok(()) };
        if process.reign.0 != process.core.reign() {
            (process.reign_before, process.reign) = (process.reign.0, (process.core.reign(), self.now));
        }
        if process.core.reign().is_none() {
            process.version_seen = Default::default();
            return Ok(());
        }
        let version = process.core.version();
        if version < process.version_seen {
            return Err(format!("{} went back from table {:?} to {version:?}", node.id, process.version_seen));
        }
        process.version_seen = version;
        Ok(())
    }

    /// Why the cluster is not whole and at rest, if it is not.
    pub(super) fn unrest(&self) -> Option<String> {
        self.disorder().or_else(|| self.lacking()).or_else(|| self.fenced())
    }

    /// Who commits nothing until it has a table that its cluster may never make.
    fn fenced(&self) -> Option<String> {
        let fence = |node: &Node| node.process.as_ref()?.desk.as_ref()?.holdings.outbox.fence();
        let (id, fence) = self.nodes.iter().find_map(|node| Some((node.id, fence(node)?)))?;
        Some(format!("{id} commits nothing before table {}.{}", fence.term, fence.generation))
    }

    /// Whose units are not held by all who should.
    fn lacking(&self) -> Option<String> {
        let lacking = |node: &Node| Some(node.process.as_ref()?.desk.as_ref()?.holdings.lacking());
        let node = self.nodes.iter().find(|node| lacking(node).is_some_and(|count| count > 0))?;
        let desk = node.process.as_ref().and_then(|process| process.desk.as_ref());
        let lacking = desk.map(|desk| desk.lacking()).unwrap_or_default();
        Some(format!("backups lack sessions of {}: {lacking}", node.id))
    }

    /// What of the membership or the units is not as it should be.
    fn disorder(&self) -> Option<String> {
        let mut leader = None;
        for node in &self.nodes {
            let Some(process) = &node.process else { continue };
            let Some(reign) = process.core.reign() else { return Some(format!("{} is in no cluster", node.id)) };
            if *leader.get_or_insert(reign) != reign {
                return Some(format!("{} follows {reign:?}, others {leader:?}", node.id));
            }
        }
        let Some(leader) = leader else { return Some("nobody lives".into()) };
        let master = leader.master.index();
        let Some(process) = &self.nodes[master].process else { return Some("the master is dead".into()) };
        for unit in Unit::all().take(self.common.units) {
            let owners: Vec<_> = self.nodes.iter().filter(|node| node.owns(self.now, unit)).map(|n| n.id).collect();
            if owners.len() != 1 && !self.is_quarantined(unit) {
                let modes = self.nodes.iter().map(|n| n.process.as_ref().map(|p| p.worker.mode(unit)));
                return Some(format!("unit {unit} is owned by {owners:?}: {:?}", modes.collect::<Vec<_>>()));
            }
            let mode = process.worker.mode(unit);
            if matches!(mode, Mode::Hold | Mode::Unassigned) && owners.first() == Some(&leader.master) {
                return Some(format!("the master still has unit {unit} in {mode:?}"));
            }
        }
        if !self.delivers_to_all() && self.traffic.arp[1..].iter().any(|member| *member != Some(master)) {
            return Some(format!("hosts send to {:?}, not to the master", self.traffic.arp));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_know_each_other_a_while_after_they_first_heard() {
        let period = 10 * MS;
        let mut checks = Checks::new(2, 1, Span(period));
        checks.reborn(100 * MS, 1);
        let talk = |checks: &mut Checks, from: usize, at_ms: u64| checks.heard(at_ms * MS, from, 1 - from);
        (101..500).for_each(|at_ms| talk(&mut checks, 1, at_ms));
        assert!(!checks.steady(500 * MS, 0, 1), "one was held up all the time");
        for at_ms in 500..600 {
            talk(&mut checks, 0, at_ms);
            talk(&mut checks, 1, at_ms);
            assert_eq!(checks.steady(at_ms * MS, 0, 1), at_ms > 500 + 10 * STEADY_PERIODS, "{at_ms} ms");
        }
        // Silence alone is no gap; what the network loses is.
        assert!(checks.steady(900 * MS, 0, 1));
        checks.sent(900 * MS, 0, 1, None);
        assert!(!checks.steady(901 * MS, 0, 1));
    }
}
