//! Every default and every bound of the configuration, with the sum that justifies it.
//!
//! `config/examples/reference.toml` states each default as a commented-out line; a test holds the two together.

use std::num::NonZeroU16;
use std::time::Duration;

use crate::schema::{Idle, IpsecEngine, Level, Limits, LogFormat, Port, Quorum, Replicas, Scheme};

/// The highest member number (the dataplane's `MEMBER_NUMBER_MAX`; the control crate asserts that they agree).
pub const MEMBER_ID_MAX: u8 = 32;

/// Names go into certificates, metrics and log lines: as long as a DNS label at most.
pub const NAME_LENGTH_MAX: usize = 63;

/// The filter that puts a session's control and data on one unit.
pub const SCHEME: Scheme = Scheme::Steered;
/// The patent's way: each side of a split serves the clients that it still reaches.
pub const QUORUM: Quorum = Quorum::None;
/// The patent's way: everyone holds everything.
pub const REPLICAS: Replicas = Replicas::All;

/// Keepalive period: with three losses a death is noticed after 30 ms, at 100 small datagrams a second and member.
pub const PERIOD: Duration = Duration::from_millis(10);
/// Below 1 ms the scheduler's own jitter would be most of a period; above 1 s detection is no longer sub-second.
pub const PERIOD_RANGE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));
/// Two losses in a row happen on any network; three are a sign.
pub const LOSSES_MIN: u8 = 3;
/// Fewer than 3 condemn by chance; n never exceeds 20 (DESIGN section 6).
pub const LOSSES_RANGE: (u8, u8) = (3, 20);
/// Beyond this, "sub-second everything" is lost: losses_min × period above it earns a warning.
pub const DETECTION_SENSIBLE_MAX: Duration = Duration::from_secs(3);
/// A week: 7 × 24 × 3600 s (the patent's intent; departure 2).
pub const FALSE_ALARM_INTERVAL: Duration = Duration::from_secs(604_800);
/// A minute to a hundred years.
pub const FALSE_ALARM_RANGE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_155_760_000));
/// DESIGN section 7.
pub const BALANCE_INTERVAL: Duration = Duration::from_secs(2);
/// Faster than 100 ms measures noise; slower than an hour is no balancing.
pub const BALANCE_RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));
/// Often enough to find a fault before a second one makes it matter, seldom enough to cost nothing.
pub const COMPARE_INTERVAL: Duration = Duration::from_secs(60);
/// Once a second is for tests; less than once a day is never.
pub const COMPARE_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));

/// Where a member keeps its incarnation and admitted certificates; the member's name is appended.
pub const STATE_DIR: &str = "/var/lib/phalanx";
/// Folder of the control sockets; `NAME.sock` in it.
pub const SOCKET_DIR: &str = "/run/phalanx";
/// A unix socket's path has 108 bytes in the kernel, the last one zero.
pub const SOCKET_PATH_MAX: usize = 107;
/// Metrics and health, for this machine only.
pub const LISTEN: &str = "127.0.0.1:9464";

/// Ethernet's.
pub const MTU: u16 = 1500;
/// RFC 791's smallest reassembly size, to the jumbo frames that NICs commonly take.
pub const MTU_RANGE: (u16, u16) = (576, 9600);
/// RFC 8200 section 5: IPv6 needs links of 1280 bytes.
pub const MTU_IPV6_MIN: u16 = 1280;
/// One; more only where RSS can use them.
pub const QUEUES: NonZeroU16 = NonZeroU16::MIN;
/// More queues than any machine here has cores.
pub const QUEUES_RANGE: (u16, u16) = (1, 64);
/// At most this many data ports.
pub const PORTS_MAX: usize = 16;
/// Metrics name each relay and each of its back ends: 64 × 64 = 4096 lines of a kind are what a scrape bears.
pub const RELAYS_MAX: usize = 64;
/// See [`RELAYS_MAX`].
pub const BACKENDS_MAX: usize = 64;
/// From here to 65535, a port number of a cluster address carries the unit of a connection that the cluster itself
/// opened (DESIGN section 3): 32,768 / 1024 units = 32 connections of a unit to each back end and from each address.
pub const OPENED_PORTS_MIN: u16 = 32_768;
/// Two endpoints and their record take about 1 KiB: 10 MiB a relay, here and on each backup, before any data.
pub const CONNECTIONS_MAX: u32 = 10_000;
/// Up to 1 GiB by the same sum.
pub const CONNECTIONS_MAX_RANGE: (u32, u32) = (1, 1_000_000);
/// TCP's largest window without scaling: 64 KiB a round trip are 524 Mbit/s at 1 ms and 26 Mbit/s at 20 ms.
pub const BUFFER_KBYTES: u32 = 64;
/// From two full segments, since every second one is acknowledged (RFC 9293 section 3.8.6.3): 2 × 1460 bytes fit in
/// 4 KiB. To 1 MiB: 84 Mbit/s at 100 ms.
pub const BUFFER_KBYTES_RANGE: (u32, u32) = (4, 1024);
/// An hour without a byte either way: longer than people and programs pause between two requests.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// A second, which already cuts slow clients off, to a week, which a forgotten login can rest.
pub const IDLE_TIMEOUT_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(604_800));
/// Three SYNs: at 0, 1 and 3 s (RFC 6298: one second, then doubled); the fourth would go at 7 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From one SYN to a server near by, to a minute, after which no client waits any more.
pub const CONNECT_TIMEOUT_RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// Off, as RFC 9293 section 3.8.4 has it: probes cost, and end connections that a broken network only interrupts.
pub const KEEPALIVE: Duration = Duration::ZERO;
/// To a week, as [`IDLE_TIMEOUT_RANGE`]; 0 is off.
pub const KEEPALIVE_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(604_800));
/// A back end that dies right after a check is out after 3 × 2 s + 1 s = 7 s; 64 back ends take 32 checks a second.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(2);
/// A tenth of a second to an hour: 64 back ends take 640 checks a second at the most.
pub const HEALTH_INTERVAL_RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));
/// As long as the first SYN waits for its answer (RFC 6298: 1 s).
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);
/// [`HEALTH_TIMEOUT`], or the whole of a shorter interval.
pub fn health_timeout(interval: Duration) -> Duration {
    HEALTH_TIMEOUT.min(interval)
}
/// From some round trips within one site to [`CONNECT_TIMEOUT_RANGE`]'s end.
pub const HEALTH_TIMEOUT_RANGE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));
/// As many as condemn a member: two losses in a row happen on any network.
pub const HEALTH_FALL: u8 = 3;
/// One success can be luck, as of a server that dies while it starts; two are 4 s of being there.
pub const HEALTH_RISE: u8 = 2;
/// More than 100 checks in a row are no check.
pub const HEALTH_COUNT_RANGE: (u8, u8) = (1, 100);

/// Linux numbers cores below this (CONFIG_NR_CPUS of common kernels).
pub const CORE_MAX: u16 = 1023;
/// SCHED_FIFO's highest priority.
pub const REALTIME_MAX: u8 = 99;

/// Dedicated cores spin; a worker that shares its core must not.
pub const fn idle(dedicated_cores: bool) -> Idle {
    if dedicated_cores { Idle::Spin } else { Idle::Interrupt }
}

/// One clear line per cluster event, for people.
pub const LOG_FORMAT: LogFormat = LogFormat::Human;
/// See [`LOG_FORMAT`].
pub const LOG_LEVEL: Level = Level::Info;

/// Descriptors of one receive queue: 1024 × 64-byte frames are 0.5 ms at 2 Mpps, the longest pause of a tuned worker.
pub const RX_DESCRIPTORS: u32 = 1024;
/// Descriptors of one transmit queue.
pub const TX_DESCRIPTORS: u32 = 1024;
/// Buffers that a worker's own cache and bursts may hold back: a cache of 256 (at most 1.5 times that) and bursts of 32.
pub const WORKER_CACHE: u32 = 512;
/// Fragments that one datagram under reassembly may keep (ip_frag's RTE_LIBRTE_IP_FRAG_MAX_FRAG).
pub const FRAGMENTS_MAX: u32 = 8;

/// A unit is held from the verdict to the new owner's acknowledgement: about one round trip on the link, 1 ms. A
/// member that owned a third of 1 Mpps leaves 333 packets of that millisecond; 4096 allow 12 ms of it.
pub const HOLD_PACKETS_MAX: u32 = 4096;
/// A hundred round trips: who has not acknowledged by then is dead too.
pub const HOLD_TIME: Duration = Duration::from_millis(200);
/// Four /22 networks full of hosts; 4096 × about 64 bytes = 256 KiB a worker.
pub const NEIGHBOURS_MAX: u32 = 4096;
/// RFC 1122 section 2.3.2.2 asks for at least one; a TCP window's start is 10 segments.
pub const NEIGHBOUR_QUEUE_MAX: u32 = 16;
/// 64 neighbours' full queues: a scan of an empty network can take no more.
pub const NEIGHBOUR_PENDING_MAX: u32 = 1024;
/// With [`FRAGMENTS_MAX`] fragments each, 4096 buffers at the worst.
pub const REASSEMBLY_MAX: u32 = 512;
/// A gateway's static routes, with room; full tables of the internet need a routing daemon, not a file.
pub const ROUTES_MAX: u32 = 16_384;

/// 256 MiB / (2 × 64 KiB) = 2048 connections with both directions full at once. They are those of all members whose
/// state is held here: of three members with replicas = "all", each has a third. A connection at rest keeps no bytes.
pub const RELAY_BUFFER_MBYTES: u32 = 256;
/// A mebibyte to 64 GiB.
pub const RELAY_BUFFER_MBYTES_RANGE: (u32, u32) = (1, 65_536);

/// The packet buffers that a configuration can need at its worst: every ring full, every bound reached at once.
pub fn mbufs(ports: &[Port], workers: usize, limits: &Limits) -> u32 {
    let workers = u32::try_from(workers).unwrap_or(u32::MAX);
    let per_worker = WORKER_CACHE
        .saturating_add(limits.hold_packets_max)
        // Others' packets, and as many of the member's own.
        .saturating_add(limits.neighbour_pending_max.saturating_mul(2))
        .saturating_add(limits.reassembly_max.saturating_mul(FRAGMENTS_MAX));
    mbufs_of_rings(ports, workers).saturating_add(workers.saturating_mul(per_worker))
}

/// The packet buffers that the ports' rings alone take: below this, no port can start. A port has its receive queues
/// and one transmit queue a worker.
pub fn mbufs_of_rings(ports: &[Port], workers: u32) -> u32 {
    ports.iter().fold(0, |sum: u32, port| {
        sum.saturating_add(u32::from(port.queues.get()) * RX_DESCRIPTORS)
            .saturating_add(workers.saturating_mul(TX_DESCRIPTORS))
    })
}

/// The bounds that the file may give for each number of `[limits]`: at least one of each, at most what memory bears.
pub const LIMIT_RANGE: (u32, u32) = (1, 16_777_216);
/// How long a packet may be held: shorter than a round trip is useless, longer than TCP's first retransmission too.
pub const HOLD_TIME_RANGE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(5));

/// Below five minutes a peer hardly has time to come again before it is ended; to a year. 0 is never.
pub const REAUTH_TIME_RANGE: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(31_536_000));
/// What does IPsec's cryptography.
pub const IPSEC_ENGINE: IpsecEngine = IpsecEngine::Auto;
/// Many networks swallow what says that a packet is too big.
pub const MSS_CLAMP: bool = true;
/// SPIs below are reserved (RFC 4303 section 2.1).
pub const SPI_MIN: u32 = 256;
/// Static SAs at most: they are for benchmarks and tests.
pub const STATIC_SAS_MAX: usize = 4096;
/// How many of the peer's last numbers are remembered.
pub const REPLAY_WINDOW: u16 = 1024;
/// The least and the most of them.
pub const REPLAY_WINDOW_RANGE: (u16, u16) = (64, 4096);
/// The greatest DSCP: six bits (RFC 2474 section 3).
pub const DSCP_MAX: u8 = 63;
/// Every first message of a peer is held against each connection: 256 comparisons of networks are some microseconds.
pub const IKE_CONNECTIONS_MAX: usize = 256;
/// Of a connection that we begin: with those that stand beside older ones while they get new keys, an IKE SA has 16.
pub const IKE_CHILDREN_BEGUN_MAX: usize = 8;
/// Each has SAs of its own with every peer: 64 are 128 SAs a peer. One child can carry [`IKE_NETWORKS_MAX`] networks.
pub const IKE_CHILDREN_MAX: usize = 64;
/// Networks in one list: a traffic selector of IPv6 has 40 bytes (RFC 7296 section 3.13.1), so both sides' take 5 KiB.
pub const IKE_NETWORKS_MAX: usize = 64;
/// Rules for traffic that no tunnel is asked about: each is tried for each packet.
pub const TRAFFIC_RULES_MAX: usize = 32;
/// Proposals in one list: they all go in one message, and 16 of about 50 bytes are 800, which no path takes apart.
pub const IKE_PROPOSALS_MAX: usize = 16;
/// Name servers that a peer is told; resolvers ask three.
pub const IKE_DNS_MAX: usize = 8;
/// A host's name has at most 253 letters, an address of mail 254.
pub const IDENTITY_LENGTH_MAX: usize = 255;
/// 20 letters and digits without a pattern have 119 bits; fewer characters earn a warning.
pub const PSK_CHARACTERS_SENSIBLE_MIN: usize = 20;
/// 128 bits; fewer bytes earn a warning.
pub const PSK_BYTES_SENSIBLE_MIN: usize = 16;
/// A peer that went without a word is noticed within a minute or two, and a peer at rest costs a packet in 30 s.
pub const DPD_DELAY: Duration = Duration::from_secs(30);
/// To a day; 0 is never.
pub const DPD_DELAY_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));
/// Four hours: what one IKE SA's keys protect is little.
pub const IKE_REKEY_TIME: Duration = Duration::from_secs(14_400);
/// An hour of traffic at most is under one child's keys.
pub const CHILD_REKEY_TIME: Duration = Duration::from_secs(3600);
/// Below a minute public-key work would be all that is done; to a week. 0 is never.
pub const REKEY_TIME_RANGE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(604_800));
/// A lease of sequence numbers is a sixteenth of that, and each is a record for the backups; up to what nobody carries. 0 is any number.
pub const LIFE_PACKETS_RANGE: (u64, u64) = (1000, 1_000_000_000_000_000);
/// Packets of the largest size that may come late, the replay window's, must be few in it. 0 is any number.
pub const LIFE_BYTES_RANGE: (u64, u64) = (200_000_000, 1_000_000_000_000_000);
/// Files with authorities, or with revocation lists, in one list; each may hold any number.
pub const IKE_FILES_MAX: usize = 64;
/// Each is a network of its own, and each is held against every other one: 64 × 64 / 2 comparisons.
pub const POOLS_MAX: usize = 64;
/// Four members, with a quarter of the pool each; more members need more shares, and all files the same number.
pub const POOL_SHARES: u8 = 4;
