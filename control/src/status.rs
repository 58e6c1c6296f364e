//! What a member says about itself and the cluster: the JSON of `GET /status`, on HTTP and on the control socket.
//!
//! The runtime fills a [`Status`], `phalanx status`, `phalanx unit`, the lab and the demo read it. Fields are only
//! ever added: a reader takes what it knows and ignores the rest (each field has a default), so that a newer
//! `phalanx status` can ask an older member and the other way round.
//!
//! Lists of units are compact: consecutive units with the same owner and backups make one [`UnitRange`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole answer.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's configuration version.
    pub config_version: u64,
    /// Delivery mode: `forward`, `unicast`, `multicast`.
    pub mode: String,
    /// Filter scheme: `steered`, `classic`.
    pub scheme: String,
    /// The answering member.
    pub member: MemberName,
    /// What it is.
    pub role: MemberRole,
    /// The table's term.
    pub term: u64,
    /// The table's generation.
    pub generation: u64,
    /// The master's number, if one is known.
    pub master: Option<u8>,
    /// How the quorum stands.
    pub quorum: QuorumStatus,
    /// For how long this member may still process, in milliseconds; 0: its lease has lapsed, or it has none.
    pub lease_ms: f64,
    /// From a member's last sign to the verdict, at the present n, in milliseconds.
    pub detection_ms: f64,
    /// Seconds since this process started.
    pub uptime_s: f64,
    /// The members that have joined, this one too, by number.
    pub members: Vec<MemberStatus>,
    /// The assignment table.
    pub units: UnitsStatus,
    /// This member's workers.
    pub workers: Vec<WorkerStatus>,
    /// This member's data ports, in the configuration's order.
    pub ports: Vec<PortStatus>,
    /// Packets dropped since the start, by reason; reasons that never occurred may be absent.
    pub drops: BTreeMap<String, u64>,
    /// Packets kept now for units on their way.
    pub held: u64,
    /// Packets received, and what became of them, since the start. `received` is the sum of the others.
    pub counters: PacketTotals,
    /// How this member's part in replication stands; none: no app keeps sessions.
    pub replication: Option<ReplicationStatus>,
    /// The latest cluster events, oldest first.
    pub events: Vec<Event>,
}

/// How one member's part in replication stands.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicationStatus {
    /// Sessions of other members' that it holds.
    pub held_sessions: u64,
    /// Its units that backups do not hold yet, summed over backups.
    pub lacking_units: u64,
    /// Its updates that are not committed.
    pub uncommitted: u64,
    /// The longest that one of them waited lately, in milliseconds.
    pub commit_ms: f64,
    /// Units held in sync here whose digest turned out not to be their owner's, since the start.
    pub digest_mismatches: u64,
}

/// Who a member is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberName {
    /// Its number.
    pub id: u8,
    /// Its name.
    pub name: String,
}

/// The assignment table.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitsStatus {
    /// How many units there are.
    pub total: u16,
    /// How many have an owner.
    pub assigned: u16,
    /// How many the answering member owns.
    pub own: u16,
    /// All of them, in order.
    pub ranges: Vec<UnitRange>,
}

/// What a member is in the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberRole {
    /// Looks for a master.
    #[default]
    Starting,
    /// Found one and asks to join.
    Joining,
    /// Takes part.
    Member,
    /// Assigns units and judges.
    Master,
    /// Gives its units away and will leave.
    Draining,
    /// Was parted from the cluster, processes nothing and comes back.
    Exiled,
    /// Has left.
    Stopped,
}

impl MemberRole {
    /// The word in the JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Joining => "joining",
            Self::Member => "member",
            Self::Master => "master",
            Self::Draining => "draining",
            Self::Exiled => "exiled",
            Self::Stopped => "stopped",
        }
    }
}

/// How the quorum stands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QuorumStatus {
    /// `none` or `majority`.
    pub rule: String,
    /// Members of the last agreed membership.
    pub of: u8,
    /// How many of them this side hears, itself included.
    pub heard: u8,
    /// Whether this side may process.
    pub held: bool,
}

/// One member, as the answering member sees it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberStatus {
    /// Its number.
    pub id: u8,
    /// Its name.
    pub name: String,
    /// What it is.
    pub state: MemberRole,
    /// How many units it owns.
    pub units: u16,
    /// Packets that it processed as an owner; none: only it knows.
    pub packets: Option<u64>,
    /// Its measured load: the busiest worker's share of its time, 0 to 1; none: only it knows.
    pub load: Option<f64>,
    /// Keepalives lost, smoothed, in thousandths; none: not known here (only a master judges, and only the others).
    pub loss_permille: Option<f64>,
    /// How many losses in a row condemn it.
    pub n: u8,
    /// Its address on the cluster link.
    pub address: String,
    /// Whether all its data ports work.
    pub ports_ok: bool,
    /// Milliseconds since it was last heard; 0 for the answering member.
    pub heard_ms: f64,
}

/// Consecutive units with the same owner and backups.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitRange {
    /// The first unit.
    pub first: u16,
    /// The last unit, the same as the first for a single one.
    pub last: u16,
    /// The owner's number; none: unassigned.
    pub owner: Option<u8>,
    /// The backups' numbers, in the order in which they would take over.
    pub backups: Vec<u8>,
    /// `assigned`, `moving`, `held` or `quarantined`.
    pub state: String,
}

/// One worker.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerStatus {
    /// Its place in `workers.cores`.
    pub index: u16,
    /// Its core; none: the scheduler's choice.
    pub core: Option<u16>,
    /// Packets received since the start.
    pub packets: u64,
    /// The share of its time that packets took, 0 to 1, over the last second.
    pub busy: f64,
    /// Packets kept now.
    pub held: u64,
    /// The longest pause between two polls since the start, in microseconds.
    pub poll_gap_max_us: f64,
    /// How long rounds of its loop took that found packets; none: there was none yet.
    pub poll: Option<Quantiles>,
    /// From the poll that found a packet to its transmission; none: no packet yet.
    pub latency: Option<Quantiles>,
}

/// How times are spread since the start, in microseconds, each within an eighth.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Quantiles {
    /// How many were measured.
    pub count: u64,
    /// Half of them were no longer.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1000.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

/// One data port.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PortStatus {
    /// Its name.
    pub name: String,
    /// `outside` or `inside`.
    pub role: String,
    /// Its hardware address.
    pub mac: String,
    /// Whether its link is up.
    pub up: bool,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets that the device dropped before we saw them.
    pub rx_missed: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

/// What became of all packets received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PacketTotals {
    /// Received.
    pub received: u64,
    /// Routed on.
    pub forwarded: u64,
    /// Passed on to their owner.
    pub relayed: u64,
    /// Taken by this member itself (ARP, ICMP, cluster frames, ...).
    pub delivered: u64,
    /// Dropped, all reasons together.
    pub dropped: u64,
    /// Kept now.
    pub held: u64,
}

/// One cluster event.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Milliseconds since this process started.
    pub t_ms: f64,
    /// What sort, in one word with underscores: `takeover`, `member_lost`, `joined`, ...
    pub kind: String,
    /// The log line.
    pub what: String,
}

impl Status {
    /// A member's name, or its number if it is unknown.
    pub fn name_of(&self, id: u8) -> String {
        let known = self.members.iter().find(|member| member.id == id);
        known.map_or_else(|| format!("#{id}"), |member| member.name.clone())
    }
}

impl UnitsStatus {
    /// The owner and backups of a unit: the range that it is in.
    pub fn find(&self, unit: u16) -> Option<&UnitRange> {
        self.ranges.iter().find(|range| (range.first..=range.last).contains(&unit))
    }

    /// Appends the next unit of the table (called in order of units), extending the last range if it can, and counts
    /// it; `own` is the answering member's number.
    pub fn push(&mut self, unit: u16, owner: Option<u8>, backups: &[u8], state: &str, own: u8) {
        self.total += 1;
        self.assigned += u16::from(owner.is_some());
        self.own += u16::from(owner == Some(own));
        if let Some(last) = self.ranges.last_mut()
            && last.last.checked_add(1) == Some(unit)
            && (last.owner, last.backups.as_slice(), last.state.as_str()) == (owner, backups, state)
        {
            last.last = unit;
            return;
        }
        self.ranges.push(UnitRange {
            first: unit,
            last: unit,
            owner,
            backups: backups.to_vec(),
            state: state.to_owned(),
        });
    }
}

/// What `GET /unit` on the control socket asks: a flow, in the words of `phalanx unit`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitQuestion {
    /// The protocol's name or number.
    pub proto: String,
    /// The source, with its port if it has one.
    pub src: String,
    /// The destination, likewise.
    pub dst: String,
    /// Whether the flow passes through the cluster, rather than to it.
    pub forwarding: bool,
}

impl UnitQuestion {
    /// The question as the path of a request (RFC 3986 section 3.4).
    pub fn path(&self) -> String {
        let Self { proto, src, dst, forwarding } = self;
        format!("/unit?proto={}&src={}&dst={}&forwarding={forwarding}", escape(proto), escape(src), escape(dst))
    }
}

/// All but the characters that mean nothing in a URI (RFC 3986 section 2.3).
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// The answer to `GET /unit`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitAnswer {
    /// The flow's unit, by the cluster's scheme and key.
    pub unit: u16,
    /// The scheme: `steered`, `classic`.
    pub scheme: String,
    /// Who owns the unit; none: nobody.
    pub owner: Option<MemberName>,
    /// Who would take over, in that order.
    pub backups: Vec<MemberName>,
}

/// The answer to `GET /sessions`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionsAnswer {
    /// The IKE SAs that the answering member serves.
    pub sessions: Vec<SessionStatus>,
}

/// An IKE SA.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionStatus {
    /// The cluster's SPI, hexadecimal; its low ten bits are the unit.
    pub spi: String,
    /// The connection's name; empty before the peer has proved its own.
    pub connection: String,
    /// The peer's name, once it has proved it.
    pub peer: String,
    /// Where it speaks from.
    pub remote: String,
    /// Addresses that it was given.
    pub addresses: Vec<String>,
    /// `opening`, `asking` (for a password), `established`, `succeeded` (another with new keys is in its place), `closed`.
    pub state: String,
    /// How old it is.
    pub age_s: u64,
    /// How long ago the peer was last heard.
    pub silent_s: u64,
    /// Whether ESP goes in UDP.
    pub udp: bool,
    /// Its child SAs.
    pub children: Vec<ChildStatus>,
}

/// A child SA: one of each direction.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChildStatus {
    /// The configuration's name for it.
    pub name: String,
    /// The cluster's SPI, hexadecimal.
    pub spi_in: String,
    /// The peer's.
    pub spi_out: String,
    /// The algorithms.
    pub esp: String,
    /// Whether sequence numbers have 64 bits.
    pub esn: bool,
    /// Whether packets keep their own headers: transport mode.
    pub transport: bool,
    /// How old it is.
    pub age_s: u64,
    /// Networks on our side.
    pub local_ts: Vec<String>,
    /// Networks on the peer's.
    pub remote_ts: Vec<String>,
}

/// The answer to `POST /drain`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DrainAnswer {
    /// Whether the member has begun (or had already begun) to drain.
    pub accepted: bool,
    /// Why not, or how many units are still here.
    pub what: String,
    /// Units that it still owns.
    pub units: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_compact_counted_and_found_again() {
        let mut units = UnitsStatus::default();
        for unit in 0..1024 {
            let owner = if unit < 512 { 1 } else { 2 };
            units.push(unit, (unit > 0).then_some(owner), &[3 - owner, 3], "assigned", 2);
        }
        assert_eq!((units.ranges.len(), units.total, units.assigned, units.own), (3, 1024, 1023, 512));
        assert_eq!(units.find(0).unwrap().owner, None);
        assert_eq!(units.find(511).unwrap().owner, Some(1));
        assert_eq!(units.find(512).unwrap().backups, [1, 3]);
        assert_eq!(units.find(1024), None);
    }

    #[test]
    fn older_and_newer_answers_are_read() {
        let status: Status =
            serde_json::from_str(r#"{"member":{"name":"m1"},"role":"master","colour":"red"}"#).unwrap();
        assert_eq!((status.member.name.as_str(), status.role), ("m1", MemberRole::Master));
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    }
}
