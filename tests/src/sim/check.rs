//! The checkers that look at members rather than at packets: owners, progress, convergence.
//!
//! *One valid owner.* An owner is a member whose worker would process a packet of the unit now: mode and lease. Two of
//! them are a violation
//! - always under `majority`;
//! - always under one master, once both have settled with it: its clocks keep them apart, whatever the network does;
//! - always if one of them follows a master that is not running: its lease must have lapsed before anyone else began;
//! - under `none`, also when the two have heard each other without a gap for [`STEADY_PERIODS`]: only members that cannot
//!   hear each other may both believe that they are alone.

use phalanx_control::cluster::{Quorum, Span};
use phalanx_dataplane::steer::Mode;
use phalanx_dataplane::unit::Unit;

use super::node::Node;
use super::world::World;

/// After so many periods of hearing each other, two members that both were master know it.
const STEADY_PERIODS: u64 = 6;

/// What the checkers remember.
pub struct Checks {
    members: usize,
    /// By sender and receiver: when it was heard last, and when the last gap ended.
    heard: Vec<(u64, u64)>,
    period: u64,
    owned: Vec<Option<usize>>,
}

impl Checks {
    pub(super) fn new(members: usize, units: usize) -> Self {
        Self { members, heard: vec![(0, 0); members * members], period: 0, owned: vec![None; units] }
    }

    /// A datagram was taken in.
    pub(super) fn heard(&mut self, now: u64, from: usize, at: usize, period: Span) {
        self.period = period.0;
        let (last, gap_end) = &mut self.heard[from * self.members + at];
        if now - *last > period.0 * 5 / 2 {
            *gap_end = now;
        }
        *last = now;
    }

    /// A process began: it has heard nobody, nobody has heard it.
    pub(super) fn reborn(&mut self, now: u64, at: usize) {
        for other in 0..self.members {
            self.heard[at * self.members + other] = (0, now);
            self.heard[other * self.members + at] = (0, now);
        }
    }

    /// Whether two members have heard each other for a while, both ways.
    pub(super) fn steady(&self, now: u64, a: usize, b: usize) -> bool {
        [(a, b), (b, a)].iter().all(|(from, at)| {
            let (last, gap_end) = self.heard[from * self.members + at];
            now - last <= self.period * 5 / 2 && now - gap_end > STEADY_PERIODS * self.period
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
        let reign = |at: usize| self.nodes[at].process.as_ref().and_then(|process| process.core.reign());
        let masterless = |at: usize| {
            let master = reign(at).map(|reign| reign.master.index());
            master.is_some_and(|master| master != at && self.nodes[master].process.is_none())
        };
        let why = if self.common.quorum == Quorum::Majority {
            "under majority"
        } else if reign(a).is_some() && reign(a) == reign(b) && self.has_settled(a) && self.has_settled(b) {
            "under one master"
        } else if masterless(a) || masterless(b) {
            "though the master of one is gone"
        } else if self.checks.steady(self.now, a, b) {
            "though they hear each other"
        } else {
            return Ok(());
        };
        let (id_a, id_b) = (self.nodes[a].id, self.nodes[b].id);
        Err(format!("unit {unit} has two owners {why}: {id_a} ({:?}) and {id_b} ({:?})", reign(a), reign(b)))
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
            process.reign = (process.core.reign(), self.now);
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
