//! Who holds what: what snapshots ask, and how a unit comes into sync.

use super::super::members::MemberSet;
use super::super::peer::{Peer, Standing};
use super::super::record::{Change, Position, Update};
use super::Outbox;
use crate::app::UnitSet;
use crate::unit::{MemberId, Unit};

impl Outbox {
    /// Whether a unit's updates go to this backup.
    pub fn is_live(&self, member: MemberId, unit: Unit) -> bool {
        self.units.get(unit.index()).is_some_and(|it| it.live.contains(member))
    }

    /// Whether this backup has acknowledged all of the log up to a position that concerns it.
    pub fn has_reached(&self, member: MemberId, position: Position) -> bool {
        let peer = self.peers.get(member.index());
        peer.is_some_and(|peer| peer.standing == Standing::Connected && peer.reached(self.head) >= position)
    }

    /// Who is to hold a unit of ours.
    pub fn backups(&self, unit: Unit) -> MemberSet {
        self.units.get(unit.index()).map_or(MemberSet::EMPTY, |it| it.wanted)
    }

    /// The backups that get a unit's updates: those that hold it, and those that are being brought into sync.
    pub fn followers(&self, unit: Unit) -> MemberSet {
        self.units.get(unit.index()).map_or(MemberSet::EMPTY, |it| it.live)
    }

    /// Whether this backup holds the unit: it takes over without loss.
    pub fn is_synced(&self, member: MemberId, unit: Unit) -> bool {
        let caught_up = self.peers.get(member.index()).is_some_and(|peer| peer.caught_up);
        caught_up && self.units.get(unit.index()).is_some_and(|it| it.synced.contains(member))
    }

    /// The backups that hold the unit: any of them takes over without loss.
    pub fn in_sync(&self, unit: Unit) -> MemberSet {
        let synced = self.units.get(unit.index()).map_or(MemberSet::EMPTY, |it| it.synced);
        synced.iter().filter(|member| self.is_synced(*member, unit)).collect()
    }

    /// The units whose [`Self::in_sync`] may have changed since this was asked last.
    pub fn take_changed(&mut self) -> UnitSet {
        std::mem::replace(&mut self.changed, UnitSet::EMPTY)
    }

    /// Whether, since this was asked last, somebody fell out of sync who is still a backup. Nothing is committed from then on
    /// until [`Self::release`] says that the cluster knows.
    pub fn take_shrunk(&mut self) -> bool {
        std::mem::take(&mut self.shrunk)
    }

    /// Whether commits wait for the cluster to know who is in sync no longer.
    pub const fn is_held_back(&self) -> bool {
        self.held_back
    }

    /// The cluster knows all that was in sync and is not: nobody of those will take over while others are left.
    pub fn release(&mut self) {
        self.held_back = false;
    }

    /// Whether commits wait for this backup.
    pub fn is_waited_for(&self, member: MemberId) -> bool {
        self.peers.get(member.index()).is_some_and(|peer| peer.waited)
    }

    /// What this backup has acknowledged.
    pub fn acked(&self, member: MemberId) -> Position {
        self.peers.get(member.index()).map_or(Position(0), |peer| peer.acked)
    }

    /// Connected backups that lack a unit, and have room on the way for a snapshot.
    pub(in crate::replica) fn lacking(&self) -> MemberSet {
        let window = self.limits.snapshot_window_bytes as u64;
        // While our table is known to be old, what we would tell might be refused again.
        let current = self.fence.is_none();
        self.members(|peer| {
            let lacks = peer.standing == Standing::Connected && peer.live < peer.wanted;
            current && lacks && peer.lag_bytes() < window
        })
    }

    pub(in crate::replica) fn has_window(&self, member: MemberId) -> bool {
        let window = self.limits.snapshot_window_bytes as u64;
        let open = |peer: &Peer| peer.standing == Standing::Connected && peer.lag_bytes() < window;
        self.peers.get(member.index()).is_some_and(open)
    }

    /// Whether the member is this unit's backup and has to be brought into sync; with `true` by a snapshot.
    pub(in crate::replica) fn lacks(&self, member: MemberId, unit: Unit) -> Option<bool> {
        let it = self.units.get(unit.index())?;
        (it.wanted.contains(member) && !it.live.contains(member)).then(|| it.differ.contains(member))
    }

    /// From here on the member gets the unit's updates, behind a check: it is in sync if it does not object.
    pub(in crate::replica) fn check(&mut self, member: MemberId, unit: Unit, digest: u64) {
        self.enliven(member, unit);
        self.confirm(member, unit, Change::UnitCheck { digest });
    }

    /// From here on the member gets the unit's updates, and its sessions one after the other.
    pub(in crate::replica) fn begin(&mut self, member: MemberId, unit: Unit) {
        self.enliven(member, unit);
        self.append_to(MemberSet::of(member), &Update::of_unit(unit, Change::UnitBegin));
    }

    /// The member has got all of the unit's sessions.
    pub(in crate::replica) fn complete(&mut self, member: MemberId, unit: Unit, digest: u64) {
        if let Some(targets) = self.units.get_mut(unit.index()) {
            targets.differ.remove(member);
        }
        self.confirm(member, unit, Change::UnitComplete { digest });
    }

    /// Asks the backups that have confirmed the unit whether they still have the same state. Who has not, will say so.
    pub(in crate::replica) fn verify(&mut self, unit: Unit, digest: u64) {
        let to = self.units.get(unit.index()).map_or(MemberSet::EMPTY, |it| it.synced);
        self.append_to(to, &Update::of_unit(unit, Change::UnitCheck { digest }));
    }

    fn enliven(&mut self, member: MemberId, unit: Unit) {
        if let (Some(targets), Some(peer)) = (self.units.get_mut(unit.index()), self.peers.get_mut(member.index()))
            && !targets.live.contains(member)
        {
            targets.live.insert(member);
            peer.live += 1;
        }
    }

    fn confirm(&mut self, member: MemberId, unit: Unit, change: Change<'_>) {
        let position = self.append_to(MemberSet::of(member), &Update::of_unit(unit, change));
        if let Some(peer) = self.peers.get_mut(member.index()) {
            peer.confirming.push_back((unit, position));
        }
    }
}
