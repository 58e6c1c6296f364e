//! From the configuration to what the cluster core and the workers are told. Each of these types belongs to a crate that
//! knows nothing of configuration files; this is the one place where they meet.

use std::time::Duration;

use ipnet::IpNet;
use phalanx_config::{Config, DeliveryMode, Idle, IpsecEngine, Quorum, Relay, Replicas, Role, Route, Scheme};
use phalanx_dataplane::ipsec::crypto::choice::Choice;
use phalanx_dataplane::ipsec::gateway::{GatewayConfig, Rule, Selectors, TunnelSpec};
use phalanx_dataplane::relay::{Health, RelayConfig, RelaySpec};
use phalanx_dataplane::tcp::{CHUNK_LEN, Keepalive};
use phalanx_dataplane::unit::{MemberId, UNITS};
use phalanx_dataplane::worker::{self, DataplaneConfig, ProbationTimes, Wake};
use phalanx_dataplane::{filter, neighbour, port, steer};

use crate::cluster::{self, Contact, LOSSES_MAX, Settings, Span};

/// What the data path needs of the cluster's secret, and of chance.
pub(super) struct Secrets {
    /// The steered filter's key.
    pub(super) steered: [u8; 16],
    /// The relays'.
    pub(super) relay: [u8; 16],
    /// That of IKE's cookies.
    pub(super) ike: [u8; 16],
    /// That of IKE's tokens.
    pub(super) ike_token: [u8; 16],
    /// That of replication's digests.
    pub(super) replica: [u8; 16],
    /// This process's own.
    pub(super) seed: u64,
}

/// A span of the core's time.
pub(super) fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// This member's number. The configuration allows no others.
pub(super) fn member_id(config: &Config) -> Option<MemberId> {
    MemberId::new(config.member.id.get())
}

/// The roles of the ports, as members compare them: 1 outside, 2 inside.
pub(super) fn roles(config: &Config) -> Vec<u8> {
    let number = |role| match role {
        Role::Outside => 1,
        Role::Inside => 2,
    };
    config.ports.iter().map(|port| number(port.role)).collect()
}

/// What the cluster core is told; `incarnation` and `last_membership` come from the disk, `macs` from the ports.
pub(super) fn core(
    config: &Config,
    id: MemberId,
    macs: Vec<[u8; 6]>,
    incarnation: u64,
    last_membership: Vec<MemberId>,
) -> Settings {
    let cluster = &config.cluster;
    Settings {
        config_digest: config.digest(),
        roles: roles(config),
        period: span(cluster.timing.period),
        losses_min: cluster.timing.losses_min,
        false_alarm: span(cluster.timing.false_alarm_interval),
        quorum: match cluster.quorum {
            Quorum::None => cluster::Quorum::None,
            Quorum::Majority => cluster::Quorum::Majority,
        },
        delivery: match cluster.mode {
            DeliveryMode::Forward => cluster::Delivery::Forward,
            DeliveryMode::Unicast | DeliveryMode::Multicast => cluster::Delivery::Shared,
        },
        replicas: config.has_sessions().then_some(match cluster.replicas {
            Replicas::All => cluster::Replicas::All,
            Replicas::Count(count) => cluster::Replicas::Count(count.get()),
        }),
        balance_interval: span(cluster.balance_interval),
        units: UNITS,
        last_membership,
        incarnation,
        ..Settings::new(id, Contact { address: config.link.address, macs })
    }
}

/// What the workers are told, but for [`gateway`].
pub(super) fn dataplane(config: &Config, me: MemberId, secrets: &Secrets, epoch_s: u64) -> DataplaneConfig {
    let limits = &config.limits;
    let hold_ns = span(limits.hold_time).0;
    let defaults = steer::Limits::default();
    DataplaneConfig {
        me,
        delivery: delivery(config),
        scheme: match config.cluster.scheme {
            Scheme::Steered => filter::Scheme::Steered,
            Scheme::Classic => filter::Scheme::Classic,
        },
        key: secrets.steered,
        ports: config.ports.iter().map(port_spec).collect(),
        routes: routes(&config.routes),
        workers: config.workers.count(),
        idle: match config.workers.idle {
            Idle::Spin => worker::Idle::Spin,
            Idle::Interrupt => worker::Idle::Interrupt,
            Idle::Sleep => worker::Idle::Sleep,
        },
        mbufs: limits.mbufs,
        large_tables: !config.workers.cores.is_empty(),
        routes_max: limits.routes_max,
        steering: steer::Limits {
            held_max: limits.hold_packets_max as usize,
            held_per_unit_max: (limits.hold_packets_max as usize / 8).max(1),
            hold_ns,
            hold_own_ns: hold_ns / 3,
            ..defaults
        },
        // Twice, for n adapts.
        recent_ns: 2 * span(config.cluster.timing.reassignment(config.cluster.timing.losses_min)).0,
        neighbours: neighbour::Limits {
            entries_max: limits.neighbours_max as usize,
            // So that all packets that wait are never more than the limit, each queue being full.
            incomplete_max: (limits.neighbour_pending_max / limits.neighbour_queue_max.max(1)).max(1) as usize,
            queue_max: limits.neighbour_queue_max as usize,
            own_max: limits.neighbour_pending_max as usize,
            ..neighbour::Limits::default()
        },
        reassembly_max: limits.reassembly_max,
        probation: probation(config),
        replica_key: secrets.replica,
        verify_ns: span(config.cluster.compare_interval).0,
        relay: relay(config, secrets),
        gateway: None,
        epoch_s,
        seed: secrets.seed,
    }
}

/// Connections in the making, of all workers, before SYN cookies stand for them.
const HALF_OPEN_MAX: usize = 1024;

fn relay(config: &Config, secrets: &Secrets) -> Option<RelayConfig> {
    let workers = config.workers.count();
    let spec = |relay: &Relay| RelaySpec {
        name: relay.name.clone(),
        listen: relay.listen,
        backends: relay.backends.clone(),
        connections_max: (relay.connections_max as usize).div_ceil(workers),
        buffer_bytes: relay.buffer_bytes,
        idle_ns: span(relay.idle_timeout).0,
        connect_ns: span(relay.connect_timeout).0,
        keepalive: relay.keepalive.map(|idle| Keepalive::after(span(idle).0)),
        health: relay.health.map(|health| Health {
            interval_ns: span(health.interval).0,
            timeout_ns: span(health.timeout).0,
            fall: health.fall,
            rise: health.rise,
        }),
        proxy_protocol: relay.proxy_protocol,
    };
    (!config.relays.is_empty()).then(|| RelayConfig {
        relays: config.relays.iter().map(spec).collect(),
        chunks: usize::try_from(config.limits.relay_buffer_bytes).unwrap_or(usize::MAX) / CHUNK_LEN / workers,
        half_open_max: HALF_OPEN_MAX.div_ceil(workers),
        key: secrets.relay,
        replica_key: secrets.replica,
        seed: secrets.seed,
    })
}

/// What the workers are told of the tunnels; none: there are none. `ike`: what must not go in clear, who sees to it that there are tunnels,
/// and what wakes the session thread.
pub(super) fn gateway(
    (engine, clamp_mss): (IpsecEngine, bool),
    (tunnels, rules): (Vec<TunnelSpec>, Vec<(Selectors, Rule)>),
    ike: Option<(Vec<Selectors>, Vec<u64>, Wake)>,
    me: MemberId,
    secrets: &Secrets,
) -> Option<GatewayConfig> {
    let engine = match engine {
        IpsecEngine::Auto => Choice::Auto,
        IpsecEngine::BuiltIn => Choice::BuiltIn,
        IpsecEngine::IpsecMb => Choice::Devices,
    };
    let any = !tunnels.is_empty() || ike.is_some() || !rules.is_empty();
    let (guards, keepers, ike) =
        ike.map_or((Vec::new(), Vec::new(), None), |(guards, keepers, wake)| (guards, keepers, Some(wake)));
    any.then(|| GatewayConfig {
        engine,
        guards,
        keepers,
        rules,
        clamp_mss,
        ike,
        ..GatewayConfig::new(me, tunnels, secrets.replica)
    })
}

/// A port that heard nothing for as long as it takes to condemn a member may itself be cut off; a member that took over
/// alone then listens for as long again before it serves there: if another master lives, that is enough to hear it.
fn probation(config: &Config) -> ProbationTimes {
    let timing = &config.cluster.timing;
    let detection = span(timing.detection(timing.losses_min.max(1))).0;
    let longest = span(timing.detection(LOSSES_MAX)).0;
    ProbationTimes { quiet_ns: detection, probation_ns: (2 * detection).min(longest) }
}

fn delivery(config: &Config) -> port::Delivery {
    let shared = config.cluster.shared_mac().map(|mac| mac.0);
    match (config.cluster.mode, shared) {
        (DeliveryMode::Unicast, Some(mac)) => port::Delivery::Unicast(mac),
        (DeliveryMode::Multicast, Some(mac)) => port::Delivery::Multicast(mac),
        _ => port::Delivery::Forward,
    }
}

/// The name of the device that a device string makes: what comes before its arguments.
pub(super) fn device_name(device: &str) -> &str {
    device.split(',').next().unwrap_or(device)
}

fn port_spec(from: &phalanx_config::Port) -> port::PortSpec {
    port::PortSpec {
        name: from.name.clone(),
        device: device_name(&from.device).to_owned(),
        role: match from.role {
            Role::Outside => port::Role::Outside,
            Role::Inside => port::Role::Inside,
        },
        vlan: from.vlan.map(Into::into),
        mtu: from.mtu,
        queues: from.queues.get(),
        cluster_addresses: from.cluster_addresses.iter().map(interface).collect(),
        unit_addresses: from.unit_addresses.iter().map(interface).collect(),
    }
}

/// Static routes, for the workers.
pub(super) fn routes(from: &[Route]) -> Vec<port::RouteSpec> {
    let spec = |route: &Route| port::RouteSpec {
        to: interface(&route.to),
        via: route.via,
        // The configuration allows fewer ports than that.
        port: u8::try_from(route.port).unwrap_or(u8::MAX),
    };
    from.iter().map(spec).collect()
}

fn interface(net: &IpNet) -> port::Interface {
    port::Interface { address: net.addr(), prefix_len: net.prefix_len() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A configuration with an outside and an inside port.
    pub(crate) fn example(mode: &str) -> Config {
        Config::from_str(&example_text(mode), "m2.toml").unwrap()
    }

    fn secrets() -> Secrets {
        Secrets { steered: [9; 16], relay: [8; 16], ike: [6; 16], ike_token: [4; 16], replica: [7; 16], seed: 5 }
    }

    /// Its file.
    pub(crate) fn example_text(mode: &str) -> String {
        format!(
            r#"
            [cluster]
            name = "edge"
            number = 7
            config_version = 1
            mode = "{mode}"
            quorum = "majority"
            period_ms = 10
            [member]
            name = "m2"
            id = 2
            identity = "m2.pem"
            [link]
            interface = "c"
            address = "10.9.0.2:7400"
            group = "239.80.72.1:7400"
            [[port]]
            name = "outside0"
            device = "net_af_packet0,iface=o"
            role = "outside"
            vlan = 100
            cluster_addresses = ["10.2.0.10/24"]
            unit_addresses = ["10.2.0.2/24", "fd00:2::2/64"]
            [[port]]
            name = "inside0"
            device = "0000:01:00.0"
            role = "inside"
            unit_addresses = ["10.3.0.2/24"]
            [[route]]
            to = "0.0.0.0/0"
            via = "10.2.0.254"
            [[ipsec.sa]]
            name = "branch"
            local = "10.2.0.10"
            remote = "10.2.0.9"
            local_ts = ["10.3.0.0/24"]
            remote_ts = ["10.9.0.0/24"]
            ah = "sha256"
            spi_in = 0x1001
            spi_out = 0x2001
            [[relay]]
            name = "web"
            listen = "10.2.0.10:8080"
            backend = ["10.3.0.9:80", "10.3.0.8:80"]
            connections_max = 500
            buffer_kbytes = 32
            [limits]
            relay_buffer_mbytes = 8
            hold_packets_max = 800
            hold_ms = 300
            "#
        )
    }

    #[test]
    fn the_relays_are_told_what_the_file_says() {
        let config = example("forward");
        let relay = dataplane(&config, member_id(&config).unwrap(), &secrets(), 0).relay.expect("a relay");
        assert_eq!((relay.chunks, relay.key, relay.half_open_max), (2048, [8; 16], 1024));
        let web = &relay.relays[0];
        assert_eq!((web.name.as_str(), web.listen), ("web", "10.2.0.10:8080".parse().unwrap()));
        assert_eq!(web.backends, ["10.3.0.8:80", "10.3.0.9:80"].map(|at| at.parse().unwrap()));
        assert_eq!((web.connections_max, web.buffer_bytes, web.connect_ns), (500, 32 << 10, 5_000_000_000));
    }

    #[test]
    fn the_core_is_told_what_the_file_says() {
        let config = example("unicast");
        let id = member_id(&config).unwrap();
        let core = core(&config, id, vec![[2; 6], [4; 6]], 17, vec![id]);
        assert_eq!((core.id.number(), core.incarnation, core.last_membership.as_slice()), (2, 17, &[id][..]));
        assert_eq!(core.contact.address, "10.9.0.2:7400".parse().unwrap());
        assert_eq!(core.contact.macs, [[2; 6], [4; 6]]);
        assert_eq!((core.quorum, core.delivery), (cluster::Quorum::Majority, cluster::Delivery::Shared));
        assert_eq!((core.period, core.losses_min), (Span::from_ms(10), 3));
        assert_eq!(core.roles, [1, 2]);
        assert_eq!(core.config_digest, config.digest());
        // The core derives the same times from the period as the configuration promises to the operator.
        let timing = &config.cluster.timing;
        for n in 3..=LOSSES_MAX {
            assert_eq!(core.watch(n), span(timing.detection(n)));
            assert_eq!(core.lease(n), span(timing.lease(n)));
            assert_eq!(core.give_away(n), span(timing.reassignment(n)));
            assert_eq!(core.self_lease(n), span(timing.self_lease(n)));
        }
    }

    #[test]
    fn the_workers_are_told_what_the_file_says() {
        let config = example("multicast");
        let told = dataplane(&config, member_id(&config).unwrap(), &secrets(), 77);
        assert_eq!(told.delivery, port::Delivery::Multicast([3, 0x50, 0x48, 0, 0, 7]));
        assert_eq!((told.workers, told.key, told.seed), (1, [9; 16], 5));
        let outside = &told.ports[0];
        assert_eq!(
            (outside.device.as_str(), outside.vlan, outside.role),
            ("net_af_packet0", Some(100), port::Role::Outside)
        );
        assert_eq!(outside.unit_addresses[1].prefix_len, 64);
        assert_eq!(told.ports[1].device, "0000:01:00.0");
        assert_eq!((told.routes[0].port, told.routes[0].to.prefix_len), (0, 0));
        assert_eq!((told.steering.held_max, told.steering.held_per_unit_max), (800, 100));
        assert_eq!((told.steering.hold_ns, told.steering.hold_own_ns), (300_000_000, 100_000_000));
        assert_eq!(dataplane(&example("forward"), told.me, &secrets(), 0).delivery, port::Delivery::Forward);
        assert!(told.probation.quiet_ns > 0 && told.probation.probation_ns > told.probation.quiet_ns);
    }
}
