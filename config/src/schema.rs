//! What a configuration says, once it has been found to be sound: a value of these types *is* valid.
//!
//! One struct a section of the file, under the section's name. Nothing here is a raw number or text whose meaning
//! the reader must still check: addresses carry their prefix, routes name the port that they leave by, times are
//! [`Duration`]s. The examples in `config/examples` describe each key for an operator.

mod ike;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU8, NonZeroU16};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::mac::MacAddr;
use crate::secret::Secret;

pub use ike::{AddressPool, ChildMode, IkeChild, IkeConnection, OwnProof, PeersProof, Start, TrafficRule, Unique};

/// How the LAN brings packets to members (DESIGN section 4; the patent's three methods).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeliveryMode {
    /// The master answers ARP/ND with its own address and passes packets on.
    Forward,
    /// One shared unicast address that no one sources: the switch floods it to all members.
    Unicast,
    /// One multicast address: the switch brings it to all members.
    Multicast,
}

/// Which filter turns packets into units (DESIGN section 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// Keyed hash, identifiers that carry their unit.
    Steered,
    /// The patent's function, bit for bit.
    Classic,
}

/// Which side of a split goes on (DESIGN section 6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Quorum {
    /// Each side serves the clients that it reaches.
    None,
    /// A minority of the last agreed membership falls silent.
    Majority,
}

/// How many members beside the owner hold a unit's state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Replicas {
    /// All of them (the patent's way).
    All,
    /// This many, or all if there are fewer.
    Count(NonZeroU8),
}

/// The times that detection and leases are derived from; the cluster core does the deriving.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Timing {
    /// From one keepalive to the next: 1 ms to 1 s.
    pub period: Duration,
    /// The least number of consecutive losses that condemn a member: 3 to 20. The adaptive n starts here.
    pub losses_min: u8,
    /// How rarely chance alone may condemn a living member.
    pub false_alarm_interval: Duration,
}

impl Timing {
    /// After how long a silence a successor notices a dead master, at `losses` tolerated losses: n periods.
    pub fn detection(&self, losses: u8) -> Duration {
        self.quarters(u32::from(losses) * 4)
    }

    /// After how long a member's lease lapses that no keepalive has renewed: n + 1¼ periods.
    pub fn lease(&self, losses: u8) -> Duration {
        self.quarters(u32::from(losses) * 4 + 5)
    }

    /// After how long a silence a master gives a member's units away: n + 1½ periods.
    pub fn reassignment(&self, losses: u8) -> Duration {
        self.quarters(u32::from(losses) * 4 + 6)
    }

    /// How long a master that no member answers may go on by itself: n - ¼ periods.
    pub fn self_lease(&self, losses: u8) -> Duration {
        self.quarters((u32::from(losses) * 4).saturating_sub(1))
    }

    fn quarters(&self, quarters: u32) -> Duration {
        self.period * quarters / 4
    }
}

/// `[cluster]`: what all members must agree on. Its digest is compared at the join.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// The cluster's name: 1 to 63 letters, digits, hyphens or underscores.
    pub name: String,
    /// The cluster's number: the last byte of the shared hardware addresses.
    pub number: NonZeroU8,
    /// The operator's number of this configuration.
    pub config_version: u64,
    /// How packets are delivered.
    pub mode: DeliveryMode,
    /// How packets become units.
    pub scheme: Scheme,
    /// Which side of a split goes on.
    pub quorum: Quorum,
    /// Keepalive times.
    pub timing: Timing,
    /// How many backups a unit has.
    pub replicas: Replicas,
    /// From one balancing by the master to the next. May differ between members, and a reload can change it, since
    /// only the master of the day uses it.
    pub balance_interval: Duration,
    /// How long it takes to compare every unit's sessions with what its backups hold. Members may differ here, too.
    pub compare_interval: Duration,
    /// The shared hardware address, if the operator chose one: see [`Cluster::shared_mac`].
    pub mac: Option<MacAddr>,
}

impl Cluster {
    /// The hardware address that stands for the cluster addresses; none under `forward`, where the master's own does.
    pub fn shared_mac(&self) -> Option<MacAddr> {
        let number = self.number.get();
        match self.mode {
            DeliveryMode::Forward => None,
            DeliveryMode::Unicast => Some(self.mac.unwrap_or(MacAddr([0x02, 0x50, 0x48, 0, 0, number]))),
            DeliveryMode::Multicast => Some(self.mac.unwrap_or(MacAddr([0x03, 0x50, 0x48, 0, 0, number]))),
        }
    }
}

/// `[member]`: who this member is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// This member's name: 1 to 63 letters, digits, hyphens or underscores.
    pub name: String,
    /// This member's number, 1 to [`crate::defaults::MEMBER_ID_MAX`]; must match its certificate.
    pub id: NonZeroU8,
    /// Certificate and key bundle; relative paths are already taken from the configuration file's folder.
    pub identity: PathBuf,
    /// Where the member keeps what must survive a restart.
    pub state_dir: PathBuf,
}

/// `[link]`: the cluster link, a kernel interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The interface's name.
    pub interface: String,
    /// This member's own address and port on it (UDP, QUIC).
    pub address: SocketAddr,
    /// The multicast group and port of beacons and keepalives; of the same family as `address`.
    pub group: SocketAddr,
}

/// Which side of the gateway a port is on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Towards the internet.
    Outside,
    /// Towards the servers.
    Inside,
}

/// `[[port]]`: one data port. Ports are numbered by their order in the file, the same on all members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// The port's name, the same on all members.
    pub name: String,
    /// A PCI address or a DPDK vdev string.
    pub device: String,
    /// Which side it is on.
    pub role: Role,
    /// The 802.1Q tag of all its frames, 1 to 4094; none: untagged.
    pub vlan: Option<NonZeroU16>,
    /// The largest IP packet, in bytes, without the Ethernet header.
    pub mtu: u16,
    /// The shared addresses, with host bits and prefix; the same on all members.
    pub cluster_addresses: Vec<IpNet>,
    /// This member's own addresses, with host bits and prefix.
    pub unit_addresses: Vec<IpNet>,
    /// Receive queues (and as many transmit queues).
    pub queues: NonZeroU16,
}

impl Port {
    /// The networks that this port is on, without repeats, host bits cleared.
    pub fn networks(&self) -> Vec<IpNet> {
        let mut networks: Vec<IpNet> =
            self.cluster_addresses.iter().chain(&self.unit_addresses).map(IpNet::trunc).collect();
        networks.sort();
        networks.dedup();
        networks
    }
}

/// `[[route]]`: one static route. Connected networks are not listed here: see [`Port::networks`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The destinations, host bits cleared.
    pub to: IpNet,
    /// The next hop; none: the destinations are on the port's own link.
    pub via: Option<IpAddr>,
    /// The port that it leaves by, as an index into [`Config::ports`].
    pub port: usize,
}

/// How a relay finds out which of its back ends are there: by opening a connection to each, time and again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HealthCheck {
    /// From one check of a back end to the next.
    pub interval: Duration,
    /// How long a check may take before it has failed: at most `interval`.
    pub timeout: Duration,
    /// So many failures in a row take a back end out.
    pub fall: u8,
    /// So many successes in a row bring it back.
    pub rise: u8,
}

/// `[[relay]]`: TCP connections that end at the cluster and go on to a server. The same on all members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relay {
    /// The relay's name, in logs and metrics.
    pub name: String,
    /// The cluster address and the port number, below [`crate::defaults::OPENED_PORTS_MIN`], that clients connect to.
    pub listen: SocketAddr,
    /// The servers, at least one, in ascending order: so a back end's index means the same on all members.
    pub backends: Vec<SocketAddr>,
    /// The most connections of clients that one member serves at a time.
    pub connections_max: u32,
    /// The most bytes that each direction of a connection keeps.
    pub buffer_bytes: u32,
    /// After how long without a byte either way a connection is given up.
    pub idle_timeout: Duration,
    /// How long a back end may take to accept a connection.
    pub connect_timeout: Duration,
    /// After how much silence a client or a back end is asked whether it is still there; none (`keepalive_s = 0`): never.
    pub keepalive: Option<Duration>,
    /// Whether the back end is first told the client's address, in the header of PROXY protocol version 2.
    pub proxy_protocol: bool,
    /// How back ends are checked; none (`health_check = false`): all count as being there.
    pub health: Option<HealthCheck>,
}

/// What does IPsec's cryptography.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IpsecEngine {
    /// The fastest that there is.
    Auto,
    /// What is built in, and needs nothing.
    BuiltIn,
    /// DPDK's crypto devices on ipsec-mb, for all that they know.
    IpsecMb,
}

/// What protects a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IpsecProtocol {
    /// RFC 4303.
    Esp,
    /// RFC 4302.
    Ah,
}

impl fmt::Display for IpsecProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Esp => "esp",
            Self::Ah => "ah",
        })
    }
}

/// `[[ipsec.sa]]`: a tunnel whose two SAs are keyed by hand. The same on all members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaticSa {
    /// The tunnel's name, in logs and metrics.
    pub name: String,
    /// The cluster address that the peer sends to.
    pub local: IpAddr,
    /// The peer.
    pub remote: IpAddr,
    /// The networks on our side whose traffic the tunnel carries.
    pub local_ts: Vec<IpNet>,
    /// Those on the peer's side.
    pub remote_ts: Vec<IpNet>,
    /// Whether packets are hidden (`esp`), or checked with the header around them (`ah`).
    pub protocol: IpsecProtocol,
    /// The transform of both directions, `esp = "…"` or `ah = "…"`; its keys' lengths are not looked at here.
    pub transform: String,
    /// What the peer's packets are called; its low ten bits are the tunnel's work unit.
    pub spi_in: u32,
    /// What ours are called.
    pub spi_out: u32,
    /// The key that the peer encrypts with, its salt at the end if there is one.
    pub encryption_key_in: Secret,
    /// The key that the peer's packets are checked with; empty for combined modes.
    pub integrity_key_in: Secret,
    /// The key that we encrypt with.
    pub encryption_key_out: Secret,
    /// The key that our packets are checked with.
    pub integrity_key_out: Secret,
    /// Whether sequence numbers have 64 bits.
    pub esn: bool,
    /// How many of the peer's last numbers are remembered.
    pub replay_window: u16,
    /// So many packets the keys may carry each way: nothing goes through it then, for nobody gives it new ones; zero: any number.
    pub life_packets: u64,
    /// So many bytes; zero: any number.
    pub life_bytes: u64,
    /// What the tunnel's own headers say.
    pub outer: OuterHeader,
}

/// What the headers around a tunnel's packets say (RFC 4301 section 5.1.2). Nothing in transport mode, where there are none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OuterHeader {
    /// Whether routers on the way may cut them.
    pub dont_fragment: DontFragment,
    /// Their DSCP; none: as inside.
    pub dscp: Option<u8>,
}

/// "Don't fragment", of IPv4 (RFC 4301 section 8.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DontFragment {
    /// As inside.
    Copy,
    /// Never: what may be cut is cut before it goes in.
    Set,
    /// Always.
    Clear,
}

impl OuterHeader {
    /// Unless the file says otherwise.
    pub const USUAL: Self = Self { dont_fragment: DontFragment::Copy, dscp: None };
}

impl StaticSa {
    /// All keys, each with its name in the file.
    pub fn keys(&self) -> [(&'static str, &Secret); 4] {
        [
            ("encryption_key_in", &self.encryption_key_in),
            ("integrity_key_in", &self.integrity_key_in),
            ("encryption_key_out", &self.encryption_key_out),
            ("integrity_key_out", &self.integrity_key_out),
        ]
    }
}

impl Config {
    /// Whether anything here has sessions, which other members then hold.
    pub fn has_sessions(&self) -> bool {
        !self.relays.is_empty() || !self.static_sas.is_empty() || !self.ike_connections.is_empty()
    }
}

/// What a worker does when no packets come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Idle {
    /// Polls on.
    Spin,
    /// Sleeps until the port's descriptor says that there is something.
    Interrupt,
    /// Sleeps for a short, fixed time.
    Sleep,
}

/// `[workers]`: the threads of the packet path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workers {
    /// One pinned worker a core; empty: a single worker that the scheduler places.
    pub cores: Vec<u16>,
    /// What they do when no packets come.
    pub idle: Idle,
    /// SCHED_FIFO priority, 1 to 99; 0: the ordinary scheduler.
    pub realtime: u8,
}

impl Workers {
    /// How many workers run.
    pub fn count(&self) -> usize {
        self.cores.len().max(1)
    }
}

/// `[cluster_thread]`: the thread that keeps the cluster together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterThread {
    /// The core that it is pinned to; none: the scheduler places it.
    pub core: Option<u16>,
    /// SCHED_FIFO priority, 1 to 99; 0: the ordinary scheduler.
    pub realtime: u8,
}

/// `[eal]`: passed to DPDK.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Eal {
    /// Extra arguments, without the program's name.
    pub args: Vec<String>,
}

/// `[management]`: where this member is asked and told things.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Management {
    /// HTTP `/metrics`, `/health`, `/status`; none (`listen = "off"`): the unix socket only.
    pub listen: Option<SocketAddr>,
    /// The unix socket of `phalanx status`, `drain` and `unit`.
    pub socket: PathBuf,
}

/// The shape of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// Only what needs a person.
    Error,
    /// And what may soon.
    Warn,
    /// And one line per cluster event.
    Info,
    /// And the reasons for decisions.
    Debug,
    /// And everything.
    Trace,
}

impl Level {
    /// The level's name, as tracing's filters take it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// `[log]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// The shape of log lines.
    pub format: LogFormat,
    /// How much is logged.
    pub level: Level,
}

/// `[limits]`: the bounds of everything that traffic can fill. [`crate::defaults`] has the sums.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Packet buffers of the process.
    pub mbufs: u32,
    /// Packets that one worker keeps for units on their way.
    pub hold_packets_max: u32,
    /// How long a packet is kept before it is dropped after all.
    pub hold_time: Duration,
    /// Neighbours (ARP, ND) of one worker.
    pub neighbours_max: u32,
    /// Packets that wait for one neighbour's hardware address.
    pub neighbour_queue_max: u32,
    /// Packets that wait for neighbours, all together, in one worker.
    pub neighbour_pending_max: u32,
    /// Datagrams under reassembly in one worker.
    pub reassembly_max: u32,
    /// Static routes.
    pub routes_max: u32,
    /// Bytes that all relayed connections of the process keep: its own, and those held for other members.
    pub relay_buffer_bytes: u64,
}

/// A sound configuration of one member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[member]`
    pub member: Member,
    /// `[link]`
    pub link: Link,
    /// `[[port]]`, in the file's order.
    pub ports: Vec<Port>,
    /// `[[route]]`, in the file's order.
    pub routes: Vec<Route>,
    /// `[[relay]]`, in the order of `listen`, whatever the file's: so a relay's index means the same on all members.
    pub relays: Vec<Relay>,
    /// What does IPsec's cryptography here.
    pub ipsec_engine: IpsecEngine,
    /// Whether TCP through tunnels is told to send no larger segments than fit. The same on all members.
    pub clamp_mss: bool,
    /// `[[ipsec.sa]]`, in the order of `spi_in`, whatever the file's: so a tunnel's index means the same on all members.
    pub static_sas: Vec<StaticSa>,
    /// `[ipsec] users`: the file that says who has which password; there if any connection asks for one. Each member's own.
    pub ike_users: Option<PathBuf>,
    /// `[[ipsec.connection]]`, in the file's order: of those that suit a peer, the first is taken.
    pub ike_connections: Vec<IkeConnection>,
    /// `[[ipsec.bypass]]`, then `[[ipsec.discard]]`, in the file's order: of those that fit a packet, the first is taken.
    pub ipsec_rules: Vec<TrafficRule>,
    /// `[[ipsec.pool]]`, in the order of their names.
    pub pools: Vec<AddressPool>,
    /// `[workers]`
    pub workers: Workers,
    /// `[cluster_thread]`
    pub cluster_thread: ClusterThread,
    /// `[eal]`
    pub eal: Eal,
    /// `[management]`
    pub management: Management,
    /// `[log]`
    pub log: Log,
    /// `[limits]`
    pub limits: Limits,
    /// What is allowed but probably not meant; for the log and for `phalanx check`.
    pub warnings: Vec<crate::Problem>,
}

macro_rules! words {
    ($type:ty { $($word:literal => $value:path),+ $(,)? }) => {
        impl $type {
            /// The words that the configuration has for this, and what they mean.
            pub const WORDS: &[(&'static str, Self)] = &[$(($word, $value)),+];
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($value => $word),+ })
            }
        }
    };
}

words!(DeliveryMode { "forward" => Self::Forward, "unicast" => Self::Unicast, "multicast" => Self::Multicast });
words!(Scheme { "steered" => Self::Steered, "classic" => Self::Classic });
words!(Quorum { "none" => Self::None, "majority" => Self::Majority });
words!(Role { "outside" => Self::Outside, "inside" => Self::Inside });
words!(IpsecEngine { "auto" => Self::Auto, "built_in" => Self::BuiltIn, "ipsec_mb" => Self::IpsecMb });
words!(DontFragment { "copy" => Self::Copy, "set" => Self::Set, "clear" => Self::Clear });
words!(ChildMode { "tunnel" => Self::Tunnel, "transport" => Self::Transport });
words!(Start { "never" => Self::Never, "always" => Self::Always });
words!(Unique { "no" => Self::No, "never" => Self::Never, "replace" => Self::Replace });
words!(Idle { "spin" => Self::Spin, "interrupt" => Self::Interrupt, "sleep" => Self::Sleep });
words!(LogFormat { "human" => Self::Human, "json" => Self::Json });
words!(Level {
    "error" => Self::Error,
    "warn" => Self::Warn,
    "info" => Self::Info,
    "debug" => Self::Debug,
    "trace" => Self::Trace,
});

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Count(count) => count.fmt(f),
        }
    }
}
