//! Whose majority counts (`quorum = "majority"`).
//!
//! Deaths do not change that: otherwise each side of a split could bury the other and count a majority of who is left.
//! Members that leave of their own accord are counted no longer, since they agreed; members that join are agreed on
//! first, as in Raft's joint consensus: until majorities of the agreed list *and* of the one with the newcomers have
//! acknowledged a keepalive that names them, a majority of both is needed. Each list has a version, agreed on or not: a
//! member never follows a new master that knows only older ones than itself.

use phalanx_dataplane::unit::MemberId;

use super::table::Version;
use super::time::Time;

/// The list that is agreed on, and who is to be added to it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Basis {
    agreed: Vec<MemberId>,
    joining: Vec<MemberId>,
    /// Of the newest list.
    version: Version,
    /// The sequence number of this master's first keepalive that names those who join; none: another master's.
    told_by: Option<u64>,
}

impl Basis {
    /// For a founder: everyone that it knows of.
    pub(super) fn new(agreed: Vec<MemberId>) -> Self {
        Self { agreed, ..Self::default() }
    }

    /// As a master tells it.
    pub(super) fn told(version: Version, agreed: Vec<MemberId>, joining: Vec<MemberId>) -> Self {
        Self { agreed, joining, version, told_by: None }
    }

    pub(super) fn agreed(&self) -> &[MemberId] {
        &self.agreed
    }

    pub(super) fn joining(&self) -> &[MemberId] {
        &self.joining
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// A member joins, in this term, told from the keepalive with number `seq` on.
    pub(super) fn join(&mut self, member: MemberId, term: u64, seq: u64) {
        if !self.agreed.contains(&member) && !self.joining.contains(&member) {
            self.joining.push(member);
            self.renew(term, seq);
        }
    }

    /// A new master makes the list that it has from the old one its own.
    pub(super) fn renew(&mut self, term: u64, seq: u64) {
        self.version = Version { term, generation: self.version.generation.saturating_add(1) };
        self.told_by = Some(seq);
    }

    /// A member has left of its own accord, and so agreed to it; or it was never agreed on, and is gone.
    pub(super) fn leave(&mut self, member: MemberId) {
        self.agreed.retain(|id| *id != member);
        self.joining.retain(|id| *id != member);
    }

    /// The same without those among `gone` that were never agreed on.
    pub(super) fn without(&self, gone: &[MemberId]) -> Self {
        let mut basis = self.clone();
        basis.joining.retain(|id| !gone.contains(id));
        basis
    }

    /// Whether those for whom `counts` holds are a majority.
    pub(super) fn is_majority(&self, counts: impl Fn(MemberId) -> bool) -> bool {
        let of = |list: &[MemberId]| 2 * list.iter().filter(|id| counts(**id)).count() > list.len();
        of(&self.agreed) && of(&self.next())
    }

    /// The latest moment up to which a majority was heard, given when each member was heard last.
    pub(super) fn heard_by_majority(&self, heard: impl Fn(MemberId) -> Option<Time>) -> Option<Time> {
        let of = |list: &[MemberId]| {
            let mut times: Vec<Time> = list.iter().filter_map(|id| heard(*id)).collect();
            times.sort_unstable_by(|a, b| b.cmp(a));
            times.get(list.len() / 2).copied()
        };
        of(&self.agreed).min(of(&self.next()))
    }

    /// Takes in up to which keepalive each member has acknowledged. Whether the next list is agreed on now.
    pub(super) fn acknowledge(&mut self, acknowledged: impl Fn(MemberId) -> u64) -> bool {
        let Some(seq) = self.told_by else { return false };
        if self.joining.is_empty() || !self.is_majority(|id| acknowledged(id) >= seq) {
            return false;
        }
        self.agreed = self.next();
        self.joining.clear();
        true
    }

    fn next(&self) -> Vec<MemberId> {
        self.agreed.iter().chain(&self.joining).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u8]) -> Vec<MemberId> {
        numbers.iter().map(|number| MemberId::new(*number).unwrap()).collect()
    }

    fn of(numbers: &[u8]) -> impl Fn(MemberId) -> bool {
        move |id| numbers.contains(&id.number())
    }

    #[test]
    fn two_sides_never_both_have_a_majority_while_members_join() {
        // Of three, the master lets two more in; the other two have not heard of it yet.
        let unaware = Basis::new(ids(&[1, 2, 3]));
        let mut growing = unaware.clone();
        growing.join(ids(&[4])[0], 1, 7);
        growing.join(ids(&[5])[0], 1, 7);
        assert!(unaware.is_majority(of(&[2, 3])));
        assert!(!growing.is_majority(of(&[1, 4, 5])));
        assert!(growing.is_majority(of(&[1, 2, 4])));
    }

    #[test]
    fn newcomers_count_once_majorities_of_both_lists_know_them() {
        let mut basis = Basis::new(ids(&[1, 2]));
        basis.join(ids(&[3])[0], 1, 7);
        let told = |numbers: &'static [u8]| move |id: MemberId| if numbers.contains(&id.number()) { 7 } else { 6 };
        assert!(!basis.acknowledge(told(&[1, 3])), "a majority of the new list only");
        assert!(basis.acknowledge(told(&[1, 2])));
        assert_eq!(basis.agreed(), ids(&[1, 2, 3]));
        assert!(basis.is_majority(of(&[1, 3])));
    }

    #[test]
    fn a_list_from_another_master_is_not_agreed_on_before_it_is_ones_own() {
        let mut basis = Basis::told(Version { term: 1, generation: 4 }, ids(&[1, 2]), ids(&[3]));
        assert!(!basis.acknowledge(|_| 9));
        basis.renew(2, 9);
        assert!(basis.version() > Version { term: 1, generation: 4 });
        assert!(basis.acknowledge(|_| 9));
    }

    #[test]
    fn the_lease_counts_from_what_a_majority_of_each_list_confirmed() {
        let mut basis = Basis::new(ids(&[1, 2, 3]));
        let heard = |id: MemberId| [Some(Time(90)), Some(Time(50)), None, None, None][id.index()];
        assert_eq!(basis.heard_by_majority(heard), Some(Time(50)));
        basis.join(ids(&[4])[0], 1, 1);
        basis.join(ids(&[5])[0], 1, 1);
        assert_eq!(basis.heard_by_majority(heard), None);
        basis.leave(ids(&[3])[0]);
        assert_eq!(basis.without(&ids(&[4, 5])).heard_by_majority(heard), Some(Time(50)));
    }
}
