//! What a running member can take over from a changed file (SIGHUP), and why it refuses the rest.
//!
//! A reload is all or nothing: one refused key refuses the file, so that what runs is always one whole file.

use std::fmt;
use std::time::Duration;

use crate::schema::{Config, IkeConnection, Level, LogFormat, OwnProof, PeersProof, Relay, Route};

/// What changes while running; each field is there only if it differs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LiveChanges {
    /// The new static routes, all of them.
    pub routes: Option<Vec<Route>>,
    /// The new level.
    pub log_level: Option<Level>,
    /// The new format.
    pub log_format: Option<LogFormat>,
    /// The new time between two balancings.
    pub balance_interval: Option<Duration>,
}

impl LiveChanges {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A key that cannot change while running.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Refusal {
    /// The key as `section.key`.
    pub key: String,
    /// Why it cannot change, and what to do instead.
    pub why: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot change while running: {}", self.key, self.why)
    }
}

const ALL_MEMBERS: &str =
    "all members must agree on it; raise config_version in all files, then restart the members one after another";
const IDENTITY: &str = "the cluster knows this member by it; drain and restart this member";
const LINK: &str = "the connections to the other members use it; drain and restart this member";
const PORT: &str = "it is set up once, with the port; drain and restart this member";
const THREAD: &str = "threads are started once; drain and restart this member";
const FILES: &str = "files are read once, at the start; drain and restart this member";
const MANAGEMENT: &str = "it is opened once; drain and restart this member";
const MEMORY: &str = "its memory is set aside at the start; drain and restart this member";

/// Compares the running configuration with a new one.
///
/// # Errors
/// Every key that differs and cannot change live.
pub fn reload_diff(old: &Config, new: &Config) -> Result<LiveChanges, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let mut fixed = |key: &str, same: bool, why: &'static str| {
        if !same {
            refusals.push(Refusal { key: key.to_owned(), why });
        }
    };
    let (c, d) = (&old.cluster, &new.cluster);
    fixed("cluster.name", c.name == d.name, ALL_MEMBERS);
    fixed("cluster.number", c.number == d.number, ALL_MEMBERS);
    fixed("cluster.config_version", c.config_version == d.config_version, ALL_MEMBERS);
    fixed("cluster.mode", c.mode == d.mode, ALL_MEMBERS);
    fixed("cluster.scheme", c.scheme == d.scheme, ALL_MEMBERS);
    fixed("cluster.quorum", c.quorum == d.quorum, ALL_MEMBERS);
    fixed("cluster.period_ms", c.timing.period == d.timing.period, ALL_MEMBERS);
    fixed("cluster.losses_min", c.timing.losses_min == d.timing.losses_min, ALL_MEMBERS);
    let same = c.timing.false_alarm_interval == d.timing.false_alarm_interval;
    fixed("cluster.false_alarm_interval_s", same, ALL_MEMBERS);
    fixed("cluster.replicas", c.replicas == d.replicas, ALL_MEMBERS);
    fixed("cluster.compare_interval_s", c.compare_interval == d.compare_interval, THREAD);
    fixed("cluster.mac", c.mac == d.mac, ALL_MEMBERS);
    let (c, d) = (&old.member, &new.member);
    fixed("member.name", c.name == d.name, IDENTITY);
    fixed("member.id", c.id == d.id, IDENTITY);
    fixed("member.identity", c.identity == d.identity, IDENTITY);
    fixed("member.state_dir", c.state_dir == d.state_dir, IDENTITY);
    let (c, d) = (&old.link, &new.link);
    fixed("link.interface", c.interface == d.interface, LINK);
    fixed("link.address", c.address == d.address, LINK);
    fixed("link.group", c.group == d.group, LINK);
    ports(old, new, &mut fixed);
    relays(old, new, &mut fixed);
    fixed("ipsec.mss_clamp", old.clamp_mss == new.clamp_mss, ALL_MEMBERS);
    fixed("ipsec.engine", old.ipsec_engine == new.ipsec_engine, THREAD);
    fixed("ipsec.users", old.ike_users == new.ike_users, FILES);
    static_sas(old, new, &mut fixed);
    connections(old, new, &mut fixed);
    pools(old, new, &mut fixed);
    let (c, d) = (&old.workers, &new.workers);
    fixed("workers.cores", c.cores == d.cores, THREAD);
    fixed("workers.idle", c.idle == d.idle, THREAD);
    fixed("workers.realtime", c.realtime == d.realtime, THREAD);
    fixed("cluster_thread.core", old.cluster_thread.core == new.cluster_thread.core, THREAD);
    fixed("cluster_thread.realtime", old.cluster_thread.realtime == new.cluster_thread.realtime, THREAD);
    fixed("eal.args", old.eal == new.eal, "DPDK reads them once; drain and restart this member");
    fixed("management.listen", old.management.listen == new.management.listen, MANAGEMENT);
    fixed("management.socket", old.management.socket == new.management.socket, MANAGEMENT);
    limits(old, new, &mut fixed);
    if refusals.is_empty() { Ok(live(old, new)) } else { Err(refusals) }
}

fn ports(old: &Config, new: &Config, fixed: &mut impl FnMut(&str, bool, &'static str)) {
    let names = |config: &Config| config.ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
    if names(old) != names(new) {
        // Ports are compared by their place only if they are the same ports.
        return fixed("[[port]]", false, "ports are set up once; drain and restart this member");
    }
    for (c, d) in old.ports.iter().zip(&new.ports) {
        let mut key = |key: &str, same, why| fixed(&format!("port {:?} {key}", c.name), same, why);
        key("device", c.device == d.device, PORT);
        key("role", c.role == d.role, ALL_MEMBERS);
        key("vlan", c.vlan == d.vlan, ALL_MEMBERS);
        key("mtu", c.mtu == d.mtu, PORT);
        key("cluster_addresses", c.cluster_addresses == d.cluster_addresses, ALL_MEMBERS);
        key("unit_addresses", c.unit_addresses == d.unit_addresses, PORT);
        key("queues", c.queues == d.queues, PORT);
    }
}

fn relays(old: &Config, new: &Config, fixed: &mut impl FnMut(&str, bool, &'static str)) {
    // By name: a relay that listens elsewhere has another place in the list.
    let by_name = |config: &Config| {
        let mut relays = config.relays.clone();
        relays.sort_by(|a, b| a.name.cmp(&b.name));
        relays
    };
    let (old, new) = (by_name(old), by_name(new));
    let names = |relays: &[Relay]| relays.iter().map(|relay| relay.name.clone()).collect::<Vec<_>>();
    if names(&old) != names(&new) {
        return fixed("[[relay]]", false, ALL_MEMBERS);
    }
    for (c, d) in old.iter().zip(&new) {
        let mut key = |key: &str, same| fixed(&format!("relay {:?} {key}", c.name), same, ALL_MEMBERS);
        key("listen", c.listen == d.listen);
        key("backend", c.backends == d.backends);
        key("connections_max", c.connections_max == d.connections_max);
        key("buffer_kbytes", c.buffer_bytes == d.buffer_bytes);
        key("idle_timeout_s", c.idle_timeout == d.idle_timeout);
        key("connect_timeout_ms", c.connect_timeout == d.connect_timeout);
        key("keepalive_s", c.keepalive == d.keepalive);
        key("proxy_protocol", c.proxy_protocol == d.proxy_protocol);
        key("health_check", c.health.is_some() == d.health.is_some());
        if let (Some(c), Some(d)) = (c.health, d.health) {
            key("health_interval_ms", c.interval == d.interval);
            key("health_timeout_ms", c.timeout == d.timeout);
            key("health_fall", c.fall == d.fall);
            key("health_rise", c.rise == d.rise);
        }
    }
}

fn static_sas(old: &Config, new: &Config, fixed: &mut impl FnMut(&str, bool, &'static str)) {
    fixed("[[ipsec.bypass]] and [[ipsec.discard]]", old.ipsec_rules == new.ipsec_rules, ALL_MEMBERS);
    let by_name = |config: &Config| {
        let mut sas = config.static_sas.clone();
        sas.sort_by(|a, b| a.name.cmp(&b.name));
        sas
    };
    let (old, new) = (by_name(old), by_name(new));
    if !old.iter().map(|sa| &sa.name).eq(new.iter().map(|sa| &sa.name)) {
        return fixed("[[ipsec.sa]]", false, ALL_MEMBERS);
    }
    for (c, d) in old.iter().zip(&new) {
        let mut key = |key: &str, same| fixed(&format!("sa {:?} {key}", c.name), same, ALL_MEMBERS);
        key("local", c.local == d.local);
        key("remote", c.remote == d.remote);
        key("local_ts", c.local_ts == d.local_ts);
        key("remote_ts", c.remote_ts == d.remote_ts);
        key(&c.protocol.to_string(), (c.protocol, &c.transform) == (d.protocol, &d.transform));
        key("spi_in", c.spi_in == d.spi_in);
        key("spi_out", c.spi_out == d.spi_out);
        for ((name, a), (_, b)) in c.keys().into_iter().zip(d.keys()) {
            key(name, a == b);
        }
        key("esn", c.esn == d.esn);
        key("replay_window", c.replay_window == d.replay_window);
        key("life_packets", c.life_packets == d.life_packets);
        key("life_bytes", c.life_bytes == d.life_bytes);
        key("dont_fragment", c.outer.dont_fragment == d.outer.dont_fragment);
        key("dscp", c.outer.dscp == d.outer.dscp);
    }
}

fn connections(old: &Config, new: &Config, fixed: &mut impl FnMut(&str, bool, &'static str)) {
    let (old, new) = (&old.ike_connections, &new.ike_connections);
    // Their order counts, too.
    if !old.iter().map(|connection| &connection.name).eq(new.iter().map(|connection| &connection.name)) {
        return fixed("[[ipsec.connection]]", false, ALL_MEMBERS);
    }
    for (c, d) in old.iter().zip(new) {
        let mut key = |key: &str, same| fixed(&format!("connection {:?} {key}", c.name), same, ALL_MEMBERS);
        key("local", c.local == d.local);
        key("remote", c.remote == d.remote);
        key("local_id", c.local_id == d.local_id);
        key("remote_id", c.remote_id == d.remote_id);
        key("psk", c.psk() == d.psk());
        key("proposals", c.proposals == d.proposals);
        key("pools", c.pools == d.pools);
        key("dns", c.dns == d.dns);
        key("reauth_time_s", c.reauth_time == d.reauth_time);
        key("start", c.start == d.start);
        key("unique", c.unique == d.unique);
        key("dpd_delay_s", c.dpd_delay == d.dpd_delay);
        key("rekey_time_s", c.rekey_time == d.rekey_time);
        children(c, d, &mut key);
        proof_files(c, d, fixed);
    }
}

/// Members must agree on how names are proved, not on where the files are.
fn proof_files(old: &IkeConnection, new: &IkeConnection, fixed: &mut impl FnMut(&str, bool, &'static str)) {
    let mut key = |key: &str, same, agreed| {
        fixed(&format!("connection {:?} {key}", old.name), same, if agreed { FILES } else { ALL_MEMBERS });
    };
    let own = |it: &IkeConnection| match &it.own_proof {
        OwnProof::Certificate { certificate, private_key } => Some((certificate.clone(), private_key.clone())),
        OwnProof::SharedKey(_) => None,
    };
    match (own(old), own(new)) {
        (Some(c), Some(d)) => {
            key("certificate", c.0 == d.0, true);
            key("private_key", c.1 == d.1, true);
        }
        (c, d) => key("certificate", c == d, false),
    }
    let peers = |it: &IkeConnection| match &it.peers_proof {
        PeersProof::Certificate { ca, crl } => Some((ca.clone(), crl.clone())),
        PeersProof::SharedKey(_) | PeersProof::Password => None,
    };
    match (peers(old), peers(new)) {
        (Some(c), Some(d)) => {
            key("ca", c.0 == d.0, true);
            key("crl", c.1 == d.1, true);
        }
        (c, d) => key("ca", c == d, false),
    }
    let asks = |it: &IkeConnection| it.peers_proof == PeersProof::Password;
    key("eap", asks(old) == asks(new), false);
}

fn children(old: &IkeConnection, new: &IkeConnection, fixed: &mut impl FnMut(&str, bool)) {
    let (old, new) = (&old.children, &new.children);
    if !old.iter().map(|child| &child.name).eq(new.iter().map(|child| &child.name)) {
        return fixed("child", false);
    }
    for (c, d) in old.iter().zip(new) {
        let mut key = |key: &str, same| fixed(&format!("child {:?} {key}", c.name), same);
        key("mode", c.mode == d.mode);
        key("local_ts", c.local_ts == d.local_ts);
        key("remote_ts", c.remote_ts == d.remote_ts);
        key("esp", c.esp == d.esp);
        key("rekey_time_s", c.rekey_time == d.rekey_time);
        key("life_packets", c.life_packets == d.life_packets);
        key("life_bytes", c.life_bytes == d.life_bytes);
        key("dont_fragment", c.outer.dont_fragment == d.outer.dont_fragment);
        key("dscp", c.outer.dscp == d.outer.dscp);
    }
}

fn pools(old: &Config, new: &Config, fixed: &mut impl FnMut(&str, bool, &'static str)) {
    let (old, new) = (&old.pools, &new.pools);
    if !old.iter().map(|pool| &pool.name).eq(new.iter().map(|pool| &pool.name)) {
        return fixed("[[ipsec.pool]]", false, ALL_MEMBERS);
    }
    for (c, d) in old.iter().zip(new) {
        let mut key = |key: &str, same| fixed(&format!("pool {:?} {key}", c.name), same, ALL_MEMBERS);
        key("network", c.network == d.network);
        key("shares", c.shares == d.shares);
    }
}

fn limits(old: &Config, new: &Config, fixed: &mut impl FnMut(&str, bool, &'static str)) {
    let (c, d) = (&old.limits, &new.limits);
    fixed("limits.mbufs", c.mbufs == d.mbufs, MEMORY);
    fixed("limits.hold_packets_max", c.hold_packets_max == d.hold_packets_max, MEMORY);
    fixed("limits.hold_ms", c.hold_time == d.hold_time, THREAD);
    fixed("limits.neighbours_max", c.neighbours_max == d.neighbours_max, MEMORY);
    fixed("limits.neighbour_queue_max", c.neighbour_queue_max == d.neighbour_queue_max, MEMORY);
    fixed("limits.neighbour_pending_max", c.neighbour_pending_max == d.neighbour_pending_max, MEMORY);
    fixed("limits.reassembly_max", c.reassembly_max == d.reassembly_max, MEMORY);
    fixed("limits.routes_max", c.routes_max == d.routes_max, MEMORY);
    fixed("limits.relay_buffer_mbytes", c.relay_buffer_bytes == d.relay_buffer_bytes, MEMORY);
}

fn live(old: &Config, new: &Config) -> LiveChanges {
    fn changed<T: PartialEq + Clone>(old: &T, new: &T) -> Option<T> {
        (old != new).then(|| new.clone())
    }
    LiveChanges {
        routes: changed(&old.routes, &new.routes),
        log_level: changed(&old.log.level, &new.log.level),
        log_format: changed(&old.log.format, &new.log.format),
        balance_interval: changed(&old.cluster.balance_interval, &new.cluster.balance_interval),
    }
}
