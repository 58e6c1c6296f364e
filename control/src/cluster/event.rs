//! Cluster events: one line each in the log, and the timeline that a failover leaves.

use std::fmt;

use phalanx_dataplane::unit::MemberId;

use super::message::{NakReason, Reign};
use super::table::Version;
use super::time::Span;

/// Why a member rejoins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RejoinReason {
    /// The master's list no longer names it.
    NotListed,
    /// The master said so.
    ExitRequest,
    /// Another master won the tie-break.
    TieLost,
    /// The process slept past its lease; others have taken over.
    Slept,
    /// The master's silence was not followed by a successor.
    MasterLost,
    /// The master yielded to another after a split.
    MasterYielded,
    /// This member's table is not the master's, though it has the same version.
    TableDiffers,
}

/// Something that happened to the cluster, as this member saw it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ClusterEvent {
    /// Looking for a master.
    Searching,
    /// No master answered: offering.
    Offering,
    /// This member is the master now.
    BecameMaster {
        /// Its reign.
        reign: Reign,
        /// How many members follow.
        members: usize,
        /// The dead predecessor and how long it had been silent, if this is a succession.
        succeeded: Option<(MemberId, Span)>,
    },
    /// This member follows a master.
    Following(Reign),
    /// This member was let in.
    Joined {
        /// By whom.
        reign: Reign,
        /// As which life.
        incarnation: u64,
    },
    /// This member was not let in.
    JoinRefused(NakReason),
    /// This master did not let a candidate in.
    RefusedJoin(MemberId, NakReason),
    /// A member came.
    MemberJoined(MemberId),
    /// A member went: it said so.
    MemberLeft(MemberId),
    /// A member is judged dead, after this much silence.
    MemberDead(MemberId, Span),
    /// A new table: version, and how many units changed owner.
    TablePublished(Version, usize),
    /// A new owner acknowledged units taken over: how long that took since the table was published.
    TakeoverAcknowledged(MemberId, usize, Span),
    /// A planned move was carried out.
    Moved {
        /// The old owner.
        from: MemberId,
        /// The new owner.
        to: MemberId,
        /// How many units.
        units: usize,
    },
    /// A planned move was given up.
    MoveAborted(u64),
    /// Units that killed two owners in a row.
    Quarantined(usize),
    /// Units went to heirs that do not hold their sessions in sync, for nobody does.
    HeirsNotInSync(usize),
    /// This member leaves though nobody else holds the sessions of so many units: nobody could be brought into sync in time.
    LeavesUnheld(usize),
    /// Leaving this cluster to rejoin.
    Rejoining(RejoinReason),
    /// This member's lease lapsed: it is silent.
    LeaseLapsed,
    /// The lease is valid again.
    LeaseRegained,
    /// A member's data ports: it is (not) fit to own units.
    Fitness(MemberId, bool),
    /// `majority`: this master lost (false) or regained (true) it.
    Quorate(bool),
    /// The adaptive n changed.
    LossesAllowed(u8),
    /// This master handed the role on.
    Abdicated(MemberId),
    /// This member is relieved of its units, to leave.
    Draining,
    /// This member left.
    Left,
}

impl fmt::Display for ClusterEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Searching => write!(f, "looking for a master"),
            Self::Offering => write!(f, "no master answers: offering to be it"),
            Self::BecameMaster { reign, members, succeeded: None } => {
                write!(f, "master of term {} with {members} members", reign.term)
            }
            Self::BecameMaster { reign, members, succeeded: Some((dead, silent)) } => write!(
                f,
                "master of term {} with {members} members: member {dead} was silent for {} ms",
                reign.term,
                silent.as_ms()
            ),
            Self::Following(reign) => write!(f, "following member {}, master of term {}", reign.master, reign.term),
            Self::Joined { reign, incarnation } => {
                write!(f, "joined member {}'s cluster, term {}, as incarnation {incarnation}", reign.master, reign.term)
            }
            Self::JoinRefused(reason) => write!(f, "not let in: {reason}"),
            Self::RefusedJoin(member, reason) => write!(f, "member {member} not let in: {reason}"),
            Self::MemberJoined(member) => write!(f, "member {member} came"),
            Self::MemberLeft(member) => write!(f, "member {member} left"),
            Self::MemberDead(member, silent) => {
                write!(f, "member {member} is dead: silent for {} ms", silent.as_ms())
            }
            Self::TablePublished(version, changed) => {
                write!(f, "table {}.{} published: {changed} units change owner", version.term, version.generation)
            }
            Self::TakeoverAcknowledged(member, units, span) => {
                write!(f, "member {member} took over {units} units within {} us", span.0 / 1000)
            }
            Self::Moved { from, to, units } => write!(f, "{units} units moved from member {from} to member {to}"),
            Self::MoveAborted(id) => write!(f, "move {id} given up"),
            Self::Quarantined(units) => write!(f, "{units} units killed two owners in a row: quarantined"),
            Self::HeirsNotInSync(units) => {
                write!(f, "{units} units went to heirs that do not hold their sessions: nobody else was in sync")
            }
            Self::LeavesUnheld(units) => {
                write!(
                    f,
                    "leaving though nobody else holds the sessions of {units} units: nobody came into sync in time"
                )
            }
            Self::Rejoining(reason) => write!(f, "rejoining: {reason}"),
            Self::LeaseLapsed => write!(f, "lease lapsed: silent until it is renewed"),
            Self::LeaseRegained => write!(f, "lease renewed: serving"),
            Self::Fitness(member, true) => write!(f, "member {member} is reached on all data ports"),
            Self::Fitness(member, false) => write!(f, "member {member} is not reached on some data port: relieving it"),
            Self::Quorate(true) => write!(f, "a majority follows: serving"),
            Self::Quorate(false) => write!(f, "no majority follows: leases are not renewed"),
            Self::LossesAllowed(n) => write!(f, "detection after {n} lost keepalives"),
            Self::Abdicated(member) => write!(f, "handed the role of master to member {member}"),
            Self::Draining => write!(f, "draining: all units move away"),
            Self::Left => write!(f, "left the cluster"),
        }
    }
}

impl fmt::Display for RejoinReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotListed => "the master's list does not name this member",
            Self::ExitRequest => "the master asked for it",
            Self::TieLost => "another master has more members or the lower address",
            Self::TableDiffers => "its table differs from the master's of the same version",
            Self::MasterYielded => "the master yielded to another one",
            Self::Slept => "this process slept past its lease",
            Self::MasterLost => "the master is gone and nobody followed",
        })
    }
}

impl fmt::Display for NakReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InProgress => "operation in progress",
            Self::CertificateUnknown => "certificate unknown",
            Self::CertificateRevoked => "certificate revoked",
            Self::ClusterName => "another cluster's name",
            Self::ConfigurationVersion => "another configuration version",
            Self::ProtocolVersion => "another protocol version",
            Self::AppRefusal => "refused by an app",
            Self::NotMaster => "not the master",
        })
    }
}
