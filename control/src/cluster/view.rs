//! From what the core knows to what each worker does with each unit: the one place where Figure 9's branches are
//! decided. See `phalanx_dataplane::steer` for what the modes mean.

use std::sync::Arc;

use phalanx_dataplane::replica::TableVersion;
use phalanx_dataplane::steer::{Holders, Mode, Order, ReleaseTo, View};
use phalanx_dataplane::unit::{MEMBER_NUMBER_MAX, MemberId, Unit};

use super::core::{Core, Role};
use super::follow::Follow;
use super::handover::{Part, Side};
use super::lead::Lead;
use super::output::Output;
use super::settings::{Delivery, Replicas};
use super::table::{Owner, Table, Version};
use super::time::Time;

/// The view that the workers were told of last, and the one that they obey.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Views {
    told: View,
    applied: u64,
    /// Who is to hold what by the table alone, and among which members that was worked out.
    plain: Option<(Vec<MemberId>, Arc<Holders>)>,
}

impl Views {
    pub(super) fn new(units: usize) -> Self {
        let told = View {
            version: 0,
            modes: vec![Mode::Drop; units],
            answers: false,
            peers: no_peers(),
            holders: None,
            heir: None,
        };
        Self { told, applied: 0, plain: None }
    }

    /// The version of the view that the workers obey.
    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    pub(super) fn told(&self) -> &View {
        &self.told
    }
}

fn no_peers() -> Vec<Option<Vec<[u8; 6]>>> {
    vec![None; usize::from(MEMBER_NUMBER_MAX)]
}

impl Core {
    /// Tells the workers what changed, if anything did. Returns the version of the view that they then were told of.
    pub(super) fn refresh_view(&mut self) -> u64 {
        let units = Unit::all().take(self.settings.units);
        let mut view = View {
            version: self.views.told.version,
            modes: units.map(|unit| self.mode_of(unit)).collect(),
            answers: matches!(self.role, Role::Lead(_)),
            peers: no_peers(),
            holders: self.settings.replicas.map(|replicas| self.holders(replicas)),
            heir: self.side.as_ref().filter(|side| side.part.has_stopped()).map(Side::other),
        };
        for member in &self.members {
            if let Some(peer) = self.peers.get(&member.id) {
                view.peers[member.id.index()] = peer.contact.as_ref().map(|contact| contact.macs.clone());
            }
        }
        if view != self.views.told {
            self.throw_away_twice_kept(&view);
            view.version += 1;
            self.views.told = view.clone();
            self.outputs.push_back(Output::Order(Order::View(view)));
        }
        self.views.told.version
    }

    /// A master that forwards has both sides of a move keep what comes. If it dies, and the one that the unit was to go to is the next
    /// master, that one passes on to the old owner from now on, but nothing of what it kept: the old owner has all of it.
    fn throw_away_twice_kept(&mut self, next: &View) {
        let modes = self.views.told.modes.iter().zip(&next.modes);
        let passed_on = |(told, next): (&Mode, &Mode)| *told == Mode::Hold && matches!(next, Mode::Relay(_));
        let kept = |unit: &Unit| matches!(self.part_in(*unit), Some(Part::To { .. }));
        let units = Unit::all().zip(modes).filter(|(_, modes)| passed_on(*modes)).map(|(unit, _)| unit);
        for unit in units.filter(kept).collect::<Vec<_>>() {
            self.release(unit, ReleaseTo::Nowhere, Vec::new());
        }
    }

    /// Who is to hold which unit's sessions: its owner, and as many backups as there are to be. By the table's rule; it is
    /// worked out once for each table and membership.
    fn holders(&mut self, replicas: Replicas) -> Arc<Holders> {
        let ids = self.member_ids();
        let version = TableVersion { term: self.table.version.term, generation: self.table.version.generation };
        let plain = match self.views.plain.take() {
            Some((members, plain)) if members == ids && plain.version == version => plain,
            _ => Arc::new(plain_holders(&self.table, version, replicas, &ids)),
        };
        self.views.plain = Some((ids, Arc::clone(&plain)));
        match replicas {
            Replicas::All => plain,
            Replicas::Count(_) => self.with_those_who_stay(plain),
        }
    }

    /// Besides, units of ours are held by whoever is to take them over, and by those who held them before until those who are
    /// to hold them do, and everyone knows.
    fn with_those_who_stay(&self, plain: Arc<Holders>) -> Arc<Holders> {
        let me = self.id();
        let before = self.views.told.holders.as_deref();
        let mut more = None;
        for unit in self.table.units_of(me) {
            let Some(wanted) = plain.backups.get(unit.index()).copied() else { continue };
            let mut backups = wanted;
            if let Some(to) = self.goes_to(unit) {
                backups.insert(to);
            }
            let was = before.and_then(|before| before.backups.get(unit.index())).copied().unwrap_or_default();
            let was = was.without(wanted);
            if !was.is_empty() && !self.known_to_hold(wanted, unit) {
                let stay = was.iter().filter(|id| self.is_member(*id) && self.holds_ours(*id, unit));
                backups = backups.union(stay.collect());
            }
            if backups != wanted {
                let more = more.get_or_insert_with(|| Holders::clone(&plain));
                more.backups[unit.index()] = backups;
            }
        }
        more.map_or(plain, Arc::new)
    }

    pub(super) fn handle_applied(&mut self, now: Time, version: u64, logs: Vec<(Unit, Option<Vec<u32>>)>) {
        self.views.applied = self.views.applied.max(version);
        self.side_applied(now, logs);
        match self.role {
            Role::Follow(_) => self.table_applied(now),
            Role::Lead(_) => {
                self.move_applied(now);
                self.announce_timeout(now);
            }
            Role::Search(_) | Role::Left => {}
        }
    }

    fn mode_of(&self, unit: Unit) -> Mode {
        match &self.role {
            Role::Search(_) | Role::Left => Mode::Drop,
            Role::Follow(follow) => self.follower_mode(follow, unit),
            Role::Lead(lead) => self.master_mode(lead, unit),
        }
    }

    fn follower_mode(&self, follow: &Follow, unit: Unit) -> Mode {
        match self.table.owner(unit) {
            Owner::Quarantined => Mode::Quarantined,
            Owner::Member(owner) if owner == self.id() => match self.part_in(unit) {
                Some(part) => owner_mode(part),
                None if follow.holds_own(unit) => Mode::HoldOwn,
                None => Mode::Mine,
            },
            _ if matches!(self.part_in(unit), Some(Part::To { .. })) => Mode::Hold,
            Owner::Member(owner) if self.linger_until.is_some() && self.forwards() => Mode::Relay(owner),
            Owner::Member(_) | Owner::Unassigned => Mode::Drop,
        }
    }

    fn master_mode(&self, lead: &Lead, unit: Unit) -> Mode {
        if self.forwards()
            && let Some((from, to)) = lead.doubled(unit)
        {
            let stopped = matches!(self.part_in(unit), Some(part) if from == self.id() && part.has_stopped());
            return if stopped { STOPPED } else { Mode::RelayBoth { from, to } };
        }
        match self.table.owner(unit) {
            Owner::Quarantined => Mode::Quarantined,
            Owner::Unassigned => Mode::Unassigned,
            Owner::Member(owner) if owner == self.id() => self.part_in(unit).map_or(Mode::Mine, owner_mode),
            Owner::Member(owner) if lead.pending(unit) || !self.is_member(owner) => Mode::Hold,
            Owner::Member(owner) if self.forwards() => Mode::Relay(owner),
            Owner::Member(_) if matches!(self.part_in(unit), Some(Part::To { .. })) => Mode::Hold,
            Owner::Member(_) => Mode::Drop,
        }
    }

    pub(super) fn forwards(&self) -> bool {
        self.settings.delivery == Delivery::Forward
    }

    fn part_in(&self, unit: Unit) -> Option<&Part> {
        self.side.as_ref().filter(|side| side.units.contains(&unit)).map(|side| &side.part)
    }

    /// The modes that the workers were told of, for checkers and status.
    pub fn modes(&self) -> &[Mode] {
        &self.views.told().modes
    }

    /// The newest table that this member holds.
    pub fn version(&self) -> Version {
        self.table.version
    }

    /// Where the members' data ports are, as the workers were told.
    pub fn reaches(&self, member: MemberId) -> bool {
        self.views.told().peers.get(member.index()).is_some_and(Option::is_some)
    }
}

fn plain_holders(table: &Table, version: TableVersion, replicas: Replicas, members: &[MemberId]) -> Holders {
    let wanted = match replicas {
        Replicas::All => members.len(),
        Replicas::Count(count) => count.into(),
    };
    let mut holders = Holders { version, owners: Vec::new(), backups: Vec::new() };
    for (unit, entry) in table.iter() {
        holders.owners.push(if let Owner::Member(owner) = entry.owner { Some(owner) } else { None });
        holders.backups.push(table.backups(unit, members).into_iter().take(wanted).collect());
    }
    holders
}

/// An owner that has stopped for a move keeps what comes: if the move is given up, it goes on with that. If not, it throws it away,
/// or, where nobody else sees it, passes it on.
const STOPPED: Mode = Mode::Hold;

/// What an owner does with a unit that is on its way elsewhere.
fn owner_mode(part: &Part) -> Mode {
    match part {
        Part::From { .. } if part.has_stopped() => STOPPED,
        // Logs are short: they begin when the new owner can follow at once.
        Part::From { .. } if part.is_syncing() => Mode::Mine,
        Part::From { .. } => Mode::MineLogged,
        Part::To { .. } => Mode::Mine,
    }
}
