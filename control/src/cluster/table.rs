//! The assignment table (patent Figure 5, item 515): who owns each unit, and who takes over.
//!
//! Decided by the master, known to all, ordered by [`Version`]. An entry names the owner and the *first* backup; the
//! further backups follow from it by a rule ([`Table::backups`]), so that the table stays two bytes a unit.

use std::collections::BTreeMap;

use phalanx_dataplane::replica::MemberSet;
use phalanx_dataplane::unit::{MemberId, Unit};

/// Orders all tables: the term of the master that made it (or a later one that it has heard of), then its generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Version {
    /// The master's term.
    pub term: u64,
    /// Rises with each change of the table, through all terms.
    pub generation: u64,
}

/// Who owns a unit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Owner {
    /// Nobody yet: assigned as the next packet arrives.
    #[default]
    Unassigned,
    /// This member.
    Member(MemberId),
    /// Nobody, on purpose: it killed two owners in a row.
    Quarantined,
}

/// One unit's line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Entry {
    /// Who owns it.
    pub owner: Owner,
    /// Who takes over first.
    pub backup: Option<MemberId>,
}

/// The whole table.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Table {
    /// Which one this is.
    pub version: Version,
    entries: Vec<Entry>,
}

impl Table {
    /// A table of `units` unassigned units.
    pub fn unassigned(units: usize) -> Self {
        Self { version: Version::default(), entries: vec![Entry::default(); units] }
    }

    /// A table put together from what a master sent.
    pub fn from_entries(version: Version, entries: Vec<Entry>) -> Self {
        Self { version, entries }
    }

    /// All lines, by unit number.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All units with their lines.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, &Entry)> {
        Unit::all().zip(&self.entries)
    }

    /// Who owns the unit.
    pub fn owner(&self, unit: Unit) -> Owner {
        self.entries.get(unit.index()).map_or(Owner::Unassigned, |entry| entry.owner)
    }

    /// Whether the member owns the unit.
    pub fn owns(&self, member: MemberId, unit: Unit) -> bool {
        self.owner(unit) == Owner::Member(member)
    }

    /// The units that a member owns.
    pub fn units_of(&self, member: MemberId) -> impl Iterator<Item = Unit> {
        self.iter().filter(move |(_, entry)| entry.owner == Owner::Member(member)).map(|(unit, _)| unit)
    }

    /// Gives the unit to an owner.
    pub fn set_owner(&mut self, unit: Unit, owner: Owner) {
        if let Some(entry) = self.entries.get_mut(unit.index()) {
            entry.owner = owner;
        }
    }

    /// The unit's backups in the order in which they take over: the first as the table says, the others by number,
    /// starting behind it.
    pub fn backups(&self, unit: Unit, members: &[MemberId]) -> Vec<MemberId> {
        let Some(entry) = self.entries.get(unit.index()) else { return Vec::new() };
        let mut others: Vec<_> =
            members.iter().copied().filter(|member| entry.owner != Owner::Member(*member)).collect();
        others.sort_unstable();
        if let Some(first) = entry.backup.and_then(|backup| others.iter().position(|member| *member == backup)) {
            others.rotate_left(first);
        }
        others
    }

    /// Chooses first backups where they hold sessions: for each owner as evenly as it goes, among those whom `may` names (all
    /// others, where it names nobody), and the ones that are backups already stay as long as they have no more than their share.
    pub fn keep_backups(&mut self, members: &[MemberId], may: impl Fn(Unit) -> MemberSet) {
        let mut sorted = members.to_vec();
        sorted.sort_unstable();
        let mut counts: BTreeMap<(MemberId, MemberId), usize> = BTreeMap::new();
        let mut owned: BTreeMap<MemberId, usize> = BTreeMap::new();
        for entry in &self.entries {
            if let Owner::Member(owner) = entry.owner {
                *owned.entry(owner).or_default() += 1;
            }
        }
        let share = |owner: MemberId| owned.get(&owner).copied().unwrap_or(0).div_ceil(sorted.len().max(2) - 1);
        let mut open = Vec::new();
        for (unit, entry) in Unit::all().zip(&mut self.entries) {
            let Owner::Member(owner) = entry.owner else {
                entry.backup = None;
                continue;
            };
            let others = sorted.iter().copied().filter(|member| *member != owner);
            let named: Vec<MemberId> = others.clone().filter(|member| may(unit).contains(*member)).collect();
            let those = if named.is_empty() { others.collect() } else { named };
            let stays = entry.backup.filter(|backup| {
                let count = counts.get(&(owner, *backup)).copied().unwrap_or(0);
                those.contains(backup) && count < share(owner)
            });
            entry.backup = stays;
            match stays {
                Some(backup) => *counts.entry((owner, backup)).or_default() += 1,
                None => open.push((unit, owner, those)),
            }
        }
        for (unit, owner, those) in open {
            let count = |backup: &MemberId| counts.get(&(owner, *backup)).copied().unwrap_or(0);
            let backup = those.into_iter().min_by_key(count);
            if let Some(backup) = backup {
                *counts.entry((owner, backup)).or_default() += 1;
            }
            if let Some(entry) = self.entries.get_mut(unit.index()) {
                entry.backup = backup;
            }
        }
    }

    /// Chooses first backups anew: for each owner, its units' backups are spread evenly over the other members.
    pub fn choose_backups(&mut self, members: &[MemberId]) {
        let mut sorted = members.to_vec();
        sorted.sort_unstable();
        let mut next = vec![0_usize; phalanx_dataplane::unit::MEMBER_NUMBER_MAX as usize + 1];
        for entry in &mut self.entries {
            let Owner::Member(owner) = entry.owner else {
                entry.backup = None;
                continue;
            };
            let others: Vec<_> = sorted.iter().copied().filter(|member| *member != owner).collect();
            let turn = &mut next[owner.number() as usize];
            entry.backup = others.get(*turn % others.len().max(1)).copied();
            *turn += 1;
        }
    }

    /// A digest of the table's content, for the master's keepalive: FNV-1a, guards against slips, not against enemies.
    pub fn digest(&self) -> u64 {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        self.entries.iter().fold(0xcbf2_9ce4_8422_2325, |hash, entry| {
            let [owner, backup] = entry.to_bytes();
            fold(fold(hash, owner), backup)
        })
    }
}

const QUARANTINED: u8 = 0xff;

impl Entry {
    /// The line as two bytes: owner (0 nobody, 255 quarantined), backup (0 none).
    pub fn to_bytes(self) -> [u8; 2] {
        let owner = match self.owner {
            Owner::Unassigned => 0,
            Owner::Member(member) => member.number(),
            Owner::Quarantined => QUARANTINED,
        };
        [owner, self.backup.map_or(0, MemberId::number)]
    }

    /// The line that two bytes say, if they say one.
    pub fn from_bytes(bytes: [u8; 2]) -> Option<Self> {
        let owner = match bytes[0] {
            0 => Owner::Unassigned,
            QUARANTINED => Owner::Quarantined,
            number => Owner::Member(MemberId::new(number)?),
        };
        let backup = if bytes[1] == 0 { None } else { Some(MemberId::new(bytes[1])?) };
        Some(Self { owner, backup })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u8) -> MemberId {
        MemberId::new(number).unwrap()
    }

    #[test]
    fn backups_are_spread_over_the_others_and_never_the_owner() {
        let members = [member(1), member(2), member(3)];
        let mut table = Table::unassigned(1024);
        for unit in Unit::all() {
            table.set_owner(unit, Owner::Member(member(1)));
        }
        table.choose_backups(&members);
        for other in [member(2), member(3)] {
            assert_eq!(table.entries().iter().filter(|entry| entry.backup == Some(other)).count(), 512);
        }
        let unit = Unit::all().find(|unit| table.entries()[unit.index()].backup == Some(member(3))).unwrap();
        assert_eq!(table.backups(unit, &members), [member(3), member(2)]);
    }

    #[test]
    fn entries_survive_the_wire_and_garbage_is_refused() {
        for bytes in (0..=u16::MAX).map(u16::to_be_bytes) {
            match Entry::from_bytes(bytes) {
                Some(entry) => assert_eq!(entry.to_bytes(), bytes),
                None => assert!((33..255).contains(&bytes[0]) || bytes[1] > 32),
            }
        }
    }
}
