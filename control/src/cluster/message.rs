//! What members say to one another.
//!
//! Every message is authenticated before the core sees it (control's `envelope` and `link`): the sender's number is
//! certain, its content is what the sender sent, and it is neither a copy nor a replay. It may still be late, lost, out
//! of order, or sent by a member that means harm; the core decides by [`Reign`] and sequence number what counts.
//!
//! All but the join travel as single sealed datagrams over every path at once (cluster link and data ports), and no
//! exchange needs the one before it to have arrived: what was not acknowledged is said again.

use phalanx_dataplane::app::UnitSet;
use phalanx_dataplane::unit::{MemberId, Unit};

use super::settings::Contact;
use super::table::{Entry, Version};

/// One master's rule: a term and who claimed it. Higher terms are newer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Reign {
    /// The term's number.
    pub term: u64,
    /// The master of that term.
    pub master: MemberId,
}

/// A message and the way it has to go.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// Signed and with the sender's certificate: readable for members that do not know the sender yet.
    Beacon(Beacon),
    /// Patent Figure 8C.
    MasterKeepalive(MasterKeepalive),
    /// Patent Figure 8H.
    MemberKeepalive(MemberKeepalive),
    /// A part of the table: from the master to all, or from a member to a new master that asked.
    TableChunk(TableChunk),
    /// A new master asks for a table newer than its own.
    TableRequest(Reign),
    /// What the sender's units cost lately.
    Loads(Loads),
    /// Who is in sync with the sender.
    InSync(InSync),
    /// The sender has that report.
    InSyncKnown(InSyncKnown),
    /// A step of a planned move.
    Move(Reign, MoveStep),
    /// Patent Figures 6 and 8A: relinquish the role, or do not take it.
    OtherMasterExists(Reign),
    /// Patent Figure 8B: you are not in my cluster; leave and rejoin.
    ExitRequest(Reign),
    /// The sender has stopped all work and leaves.
    Exit(Reign),
    /// The master gives the role to the named member now.
    Abdicate(Reign, MemberId),
    /// Over mutual TLS: let me in.
    JoinRequest(JoinRequest),
    /// Over mutual TLS: the answer.
    JoinAnswer(JoinAnswer),
}

/// What a beacon is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BeaconKind {
    /// Looking for a master.
    Seek,
    /// Offering to become master (patent Figure 6, 615).
    Offer,
    /// Introducing a member to members that lack its certificate.
    Member,
    /// The same for the master.
    Master,
}

/// Who is there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Beacon {
    /// What it is for.
    pub kind: BeaconKind,
    /// The highest term that the sender knows, and its master.
    pub term: u64,
    /// Where the sender is reached.
    pub contact: Contact,
}

/// A member in the master's list. The list's order is the order of succession, the master first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Listed {
    /// The member.
    pub id: MemberId,
    /// Which life of it.
    pub incarnation: u64,
    /// The sequence number of its last keepalive that the master heard: renews its lease.
    pub echo: u64,
}

/// Patent Figure 8C: sent by the master once a period.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MasterKeepalive {
    /// Whose rule.
    pub reign: Reign,
    /// Rises by one with each.
    pub seq: u64,
    /// The table in force.
    pub version: Version,
    /// The table's digest.
    pub digest: u64,
    /// The adaptive n.
    pub losses: u8,
    /// Whether leases are renewed by this (`majority` only: a majority follows).
    pub quorate: bool,
    /// To whom this master is handing its role, for as long as it tries.
    pub abdicating: Option<MemberId>,
    /// All members, in order of succession.
    pub members: Vec<Listed>,
    /// The membership that is agreed on: whose majority counts (`majority` only).
    pub agreed: Vec<MemberId>,
    /// Who is to be added to it.
    pub joining: Vec<MemberId>,
    /// The version of the list with them: who knows only older ones is not followed.
    pub list: Version,
    /// On which of its data ports the master hears whom.
    pub hears: Vec<(MemberId, u8)>,
    /// Where the master is reached.
    pub contact: Contact,
}

/// Patent Figure 8H: sent by every other member once a period, in answer to the master's if that comes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MemberKeepalive {
    /// Whom the sender follows.
    pub reign: Reign,
    /// Rises by one with each.
    pub seq: u64,
    /// The master's last sequence number that the sender heard.
    pub heard: u64,
    /// The table that is in force at the sender's workers.
    pub applied: Version,
    /// The newest table that the sender has received whole.
    pub holds: Version,
    /// Whether the sender asks to be relieved of all units, to leave.
    pub draining: bool,
    /// On which of its data ports (bit by port) the sender hears whom.
    pub hears: Vec<(MemberId, u8)>,
    /// Where the sender is reached.
    pub contact: Contact,
}

/// How many table lines travel in one chunk.
pub const CHUNK_ENTRIES: usize = 256;

/// A part of a table.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TableChunk {
    /// Under whose rule it is sent.
    pub reign: Reign,
    /// Which table.
    pub version: Version,
    /// Number of this chunk; it starts at unit `chunk * CHUNK_ENTRIES`.
    pub chunk: u8,
    /// The last planned move that was committed under this reign; 0: none.
    pub moved: u64,
    /// The lines.
    pub entries: Vec<Entry>,
}

/// How many units travel in one load report.
pub const LOADS_MAX: usize = 128;

/// What units cost lately.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Loads {
    /// Whose rule.
    pub reign: Reign,
    /// Unit and load, in units of work that all members measure alike.
    pub loads: Vec<(Unit, u32)>,
}

/// How many backups one part of a report names.
pub const IN_SYNC_HOLDERS_MAX: usize = 6;

/// Which backups hold which of the sender's units in sync with it: a part of all that there is to say.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InSync {
    /// Rises with each report of this life of the sender.
    pub number: u64,
    /// The table that the sender's workers obeyed.
    pub version: Version,
    /// Number of this part.
    pub part: u8,
    /// How many parts there are.
    pub parts: u8,
    /// Backups. Who is not named in any part holds nothing.
    pub holders: Vec<Holder>,
}

/// A backup, and what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Holder {
    /// Who.
    pub member: MemberId,
    /// Which life of it.
    pub incarnation: u64,
    /// The units.
    pub units: UnitSet,
}

/// From whoever may have to name the receiver's heirs: all parts of this report are here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InSyncKnown {
    /// Under whose rule.
    pub reign: Reign,
    /// Which report.
    pub number: u64,
}

/// How many units move at once.
pub const MOVE_UNITS_MAX: usize = 256;
/// How many packet digests travel in one datagram.
pub const LOG_DIGESTS_MAX: usize = 200;

/// The steps of a planned move of units, in their order. See `handover`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum MoveStep {
    /// Master to the old owner: log what you process of these. Then to the new owner: keep what you see of these.
    Prepare {
        /// Which move of this reign.
        id: u64,
        /// The table that it starts from: any newer table ends it.
        base: Version,
        /// The old owner.
        from: MemberId,
        /// The new owner.
        to: MemberId,
        /// The units.
        units: Vec<Unit>,
    },
    /// To the master: done, my workers obey.
    Prepared(u64),
    /// Master to the old owner: stop.
    Stop(u64),
    /// Old owner to the new one: stopped; these are the packets that I processed since `Prepare`.
    Log {
        /// Which move.
        id: u64,
        /// Number of this part.
        part: u16,
        /// How many parts there are.
        parts: u16,
        /// Digests by unit; `None`: too many to say, throw away what you kept.
        digests: Vec<(Unit, Option<Vec<u32>>)>,
    },
    /// New owner to the master (commit the move) and to the old owner (stop repeating).
    LogHeld(u64),
}

/// Let me in (patent Figure 6, 603).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct JoinRequest {
    /// The protocol that the candidate speaks.
    pub protocol: u16,
    /// The candidate's configuration.
    pub config_digest: [u8; 32],
    /// The candidate's port roles, for the `router` app.
    pub roles: Vec<u8>,
    /// The highest incarnation that the candidate had.
    pub incarnation: u64,
    /// Where the candidate is reached.
    pub contact: Contact,
    /// The highest term that the candidate knows; 0: one of an older version does not say.
    pub term: u64,
}

/// Why a candidate is not let in (now).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NakReason {
    /// Wait: the apps are being asked (patent Figure 8F, 877).
    InProgress,
    /// The candidate's certificate is unknown to the master.
    CertificateUnknown,
    /// The candidate's certificate was revoked.
    CertificateRevoked,
    /// Another cluster.
    ClusterName,
    /// Another configuration.
    ConfigurationVersion,
    /// Another protocol.
    ProtocolVersion,
    /// An app refused.
    AppRefusal,
    /// The receiver is not (or no longer) the master.
    NotMaster,
}

/// The master's answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum JoinAnswer {
    /// No, or not yet.
    Nak(NakReason),
    /// Welcome.
    Ack {
        /// Whose rule.
        reign: Reign,
        /// The candidate's incarnation from now on: kept on disk before use.
        incarnation: u64,
    },
}
