//! What an operator may want to know of the core, as a plain value: read, copied, and shown elsewhere.
//!
//! The core itself never looks at this, and nothing here allows a change.

use std::net::SocketAddr;

use phalanx_dataplane::steer::Mode;
use phalanx_dataplane::unit::MemberId;

use super::core::{Core, Member, Role};
use super::message::Reign;
use super::settings::Contact;
use super::table::Table;
use super::time::{Span, Time};

/// What the core is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Standing {
    /// Looks for a master, or offers to be it.
    Searching,
    /// Asks to be let in.
    Joining,
    /// Follows a master.
    Following,
    /// Is the master.
    Leading,
    /// Has left.
    Left,
}

/// A member of the cluster, as the core sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Who, and which life.
    pub member: Member,
    /// When it was last heard; none: never, or it is this member.
    pub heard_at: Option<Time>,
    /// Where it is reached.
    pub contact: Option<Contact>,
    /// Its smoothed loss of keepalives, if this member judges it.
    pub loss_permille: u32,
    /// Whether it may own units, as far as this member judges that.
    pub fit: bool,
    /// Whether it asked to be relieved.
    pub draining: bool,
}

/// The core at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// This member.
    pub id: MemberId,
    /// What it is.
    pub standing: Standing,
    /// Whom it follows.
    pub reign: Option<Reign>,
    /// The last life that it had in a cluster.
    pub incarnation: u64,
    /// The members, in order of succession.
    pub members: Vec<Seen>,
    /// The assignment table.
    pub table: Table,
    /// What the workers were told of each unit.
    pub modes: Vec<Mode>,
    /// Until when this member may process units.
    pub lease_until: Option<Time>,
    /// The adaptive n.
    pub losses: u8,
    /// From a master's last word to the verdict, at that n.
    pub detection: Span,
    /// Whether leases are renewed (`majority`: a majority follows).
    pub quorate: bool,
    /// How many members the last agreed membership had.
    pub quorum_of: usize,
    /// How many of them are heard, this one included.
    pub quorum_heard: usize,
    /// Units that this member, as the master, gave to heirs that do not hold their sessions.
    pub heirs_not_in_sync: u64,
    /// Whether this member gives its units away, to leave.
    pub draining: bool,
    /// Whether this member may only be cut off rather than alone.
    pub probation: bool,
}

impl Core {
    /// What there is to tell at this moment.
    pub fn snapshot(&self, now: Time) -> Snapshot {
        let losses = match &self.role {
            Role::Follow(follow) => follow.losses(),
            Role::Lead(lead) => lead.losses_high(),
            Role::Search(_) | Role::Left => self.settings.losses_min,
        };
        let detection = self.settings.watch(losses);
        let basis = match &self.role {
            Role::Lead(lead) => lead.basis.agreed().to_vec(),
            _ => self.member_ids(),
        };
        let heard = |id: &&MemberId| **id == self.id() || self.heard_within(now, **id, detection);
        Snapshot {
            id: self.id(),
            standing: self.standing(),
            reign: self.reign(),
            incarnation: self.incarnation,
            members: self.members.iter().map(|member| self.seen(*member)).collect(),
            table: self.table.clone(),
            modes: self.modes().to_vec(),
            lease_until: self.lease_until,
            losses,
            detection,
            quorate: match &self.role {
                Role::Lead(lead) => lead.quorate,
                Role::Follow(_) => self.lease_is_valid(now),
                Role::Search(_) | Role::Left => false,
            },
            quorum_of: basis.len(),
            quorum_heard: basis.iter().filter(heard).count(),
            heirs_not_in_sync: self.heirs_not_in_sync,
            draining: self.draining,
            probation: self.probation,
        }
    }

    /// What this member is.
    pub fn standing(&self) -> Standing {
        match &self.role {
            Role::Search(search) if search.is_joining() => Standing::Joining,
            Role::Search(_) => Standing::Searching,
            Role::Follow(_) => Standing::Following,
            Role::Lead(_) => Standing::Leading,
            Role::Left => Standing::Left,
        }
    }

    /// Where a member is reached, if it ever said so.
    pub fn contact(&self, member: MemberId) -> Option<&Contact> {
        self.peers.get(&member)?.contact.as_ref()
    }

    /// Where the cluster's other members are reached.
    pub fn others(&self) -> impl Iterator<Item = (MemberId, SocketAddr)> {
        let others = self.members.iter().filter(|member| member.id != self.id());
        others.filter_map(|member| Some((member.id, self.contact(member.id)?.address)))
    }

    /// When each member that is not this one was last heard.
    pub fn heard_at(&self, member: MemberId) -> Option<Time> {
        self.peers.get(&member).map(|peer| peer.heard_at)
    }

    fn heard_within(&self, now: Time, member: MemberId, span: Span) -> bool {
        self.heard_at(member).is_some_and(|at| now.since(at) < span)
    }

    fn seen(&self, member: Member) -> Seen {
        let follower = match &self.role {
            Role::Lead(lead) => lead.followers.get(&member.id),
            _ => None,
        };
        let unfit = matches!(&self.role, Role::Lead(lead) if lead.unfit.contains(&member.id));
        let me = member.id == self.id();
        Seen {
            member,
            heard_at: self.heard_at(member.id).filter(|_| !me),
            contact: if me { Some(self.settings.contact.clone()) } else { self.contact(member.id).cloned() },
            loss_permille: follower.map_or(0, |follower| follower.loss.permille()),
            fit: !unfit,
            draining: if me { self.draining } else { follower.is_some_and(|follower| follower.draining) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Settings;

    #[test]
    fn a_lonely_member_searches_and_then_leads_itself() {
        let id = MemberId::new(3).unwrap();
        let contact = Contact { address: "10.9.0.3:7400".parse().unwrap(), macs: vec![] };
        let mut core = Core::new(Settings::new(id, contact), Time(1));
        assert_eq!(core.snapshot(Time(1)).standing, Standing::Searching);
        let mut now = Time(1);
        while core.standing() == Standing::Searching {
            now = core.poll_timeout().unwrap().0.max(now);
            core.handle_timeout(now);
        }
        let snapshot = core.snapshot(now);
        assert_eq!((snapshot.standing, snapshot.members.len()), (Standing::Leading, 1));
        assert_eq!((snapshot.quorum_of, snapshot.quorum_heard, snapshot.quorate), (1, 1, true));
        assert_eq!(snapshot.table.units_of(id).count(), 1024);
    }
}
