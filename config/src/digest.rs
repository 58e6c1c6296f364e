//! What members compare at the join: a digest over what must be the same on all of them.
//!
//! The encoding is canonical: each field under a fixed name, with its length, in a fixed order, from the *parsed*
//! values. So comments, key order, defaults spelled out and the order of addresses do not matter, while the order of
//! ports does: members name each other's ports by number. Only `[cluster]` (less what merely tunes the master of the
//! day), the ports' shared side, the relays and all of `[ipsec]` but its engine go in; devices, unit addresses, cores and logs are each
//! member's own. A configuration without relays, SAs, connections and pools has the digest that it had before there were any.

use ring::digest::{Context, SHA256};

use crate::schema::{AddressPool, Config, IkeConnection, OuterHeader, OwnProof, PeersProof, Relay, Start, StaticSa};

/// Versions the encoding: a change of it must change all digests.
const ENCODING: &str = "phalanx-config-1";

impl Config {
    /// SHA-256 over the cluster-wide part of this configuration.
    pub fn digest(&self) -> [u8; 32] {
        let mut encoder = Encoder(Context::new(&SHA256));
        encoder.field("encoding", ENCODING);
        let cluster = &self.cluster;
        encoder.field("name", &cluster.name);
        encoder.field("number", cluster.number);
        encoder.field("config_version", cluster.config_version);
        encoder.field("mode", cluster.mode);
        encoder.field("scheme", cluster.scheme);
        encoder.field("quorum", cluster.quorum);
        encoder.field("period_ns", cluster.timing.period.as_nanos());
        encoder.field("losses_min", cluster.timing.losses_min);
        encoder.field("false_alarm_ns", cluster.timing.false_alarm_interval.as_nanos());
        encoder.field("replicas", cluster.replicas);
        encoder.field("mac", cluster.shared_mac().map_or_else(String::new, |mac| mac.to_string()));
        for port in &self.ports {
            encoder.field("port", &port.name);
            encoder.field("role", port.role);
            encoder.field("vlan", port.vlan.map_or(0, u16::from));
            let mut addresses = port.cluster_addresses.clone();
            addresses.sort();
            for address in addresses {
                encoder.field("address", address);
            }
        }
        for relay in &self.relays {
            encoder.relay(relay);
        }
        for sa in &self.static_sas {
            encoder.static_sa(sa);
        }
        if self.clamp_mss != crate::defaults::MSS_CLAMP {
            encoder.field("mss_clamp", self.clamp_mss);
        }
        for rule in &self.ipsec_rules {
            encoder.field("rule", if rule.discard { "discard" } else { "bypass" });
            rule.local_ts.iter().for_each(|network| encoder.field("local_ts", network));
            rule.remote_ts.iter().for_each(|network| encoder.field("remote_ts", network));
        }
        for connection in &self.ike_connections {
            encoder.connection(connection);
        }
        for pool in &self.pools {
            encoder.pool(pool);
        }
        let digest = encoder.0.finish();
        // SHA-256 has 32 bytes: the zip is whole.
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        bytes
    }
}

struct Encoder(Context);

impl Encoder {
    fn relay(&mut self, relay: &Relay) {
        self.field("relay", &relay.name);
        self.field("listen", relay.listen);
        for backend in &relay.backends {
            self.field("backend", backend);
        }
        self.field("connections_max", relay.connections_max);
        self.field("buffer_bytes", relay.buffer_bytes);
        self.field("idle_timeout_ns", relay.idle_timeout.as_nanos());
        self.field("connect_timeout_ns", relay.connect_timeout.as_nanos());
        if let Some(keepalive) = relay.keepalive {
            self.field("keepalive_ns", keepalive.as_nanos());
        }
        self.field("proxy_protocol", relay.proxy_protocol);
        if let Some(health) = &relay.health {
            self.field("health_interval_ns", health.interval.as_nanos());
            self.field("health_timeout_ns", health.timeout.as_nanos());
            self.field("health_fall", health.fall);
            self.field("health_rise", health.rise);
        }
    }

    fn static_sa(&mut self, sa: &StaticSa) {
        self.field("sa", &sa.name);
        self.field("local", sa.local);
        self.field("remote", sa.remote);
        sa.local_ts.iter().for_each(|network| self.field("local_ts", network));
        sa.remote_ts.iter().for_each(|network| self.field("remote_ts", network));
        self.field(&sa.protocol.to_string(), &sa.transform);
        self.field("spi_in", sa.spi_in);
        self.field("spi_out", sa.spi_out);
        for (name, key) in sa.keys() {
            self.bytes(name, key.expose());
        }
        self.field("esn", sa.esn);
        self.field("replay_window", sa.replay_window);
        self.life(sa.life_packets, sa.life_bytes);
        self.outer(sa.outer);
    }

    /// Members that do not know of limits agree with those that have none.
    fn life(&mut self, packets: u64, bytes: u64) {
        for (name, limit) in [("life_packets", packets), ("life_bytes", bytes)] {
            if limit > 0 {
                self.field(name, limit);
            }
        }
    }

    /// Members that do not know of it agree with those that have the usual one.
    fn outer(&mut self, outer: OuterHeader) {
        if outer.dont_fragment != OuterHeader::USUAL.dont_fragment {
            self.field("dont_fragment", outer.dont_fragment);
        }
        if let Some(dscp) = outer.dscp {
            self.field("dscp", dscp);
        }
    }

    fn connection(&mut self, connection: &IkeConnection) {
        self.field("connection", &connection.name);
        connection.local.iter().for_each(|address| self.field("local", address));
        connection.remote.iter().for_each(|network| self.field("remote", network));
        self.field("local_id", &connection.local_id);
        connection.remote_id.iter().for_each(|id| self.field("remote_id", id));
        match &connection.own_proof {
            OwnProof::SharedKey(key) => self.bytes("own_psk", key.expose()),
            OwnProof::Certificate { .. } => self.field("own", "certificate"),
        }
        match &connection.peers_proof {
            PeersProof::SharedKey(key) => self.bytes("peers_psk", key.expose()),
            PeersProof::Certificate { .. } => self.field("peers", "certificate"),
            PeersProof::Password => self.field("peers", "password"),
        }
        connection.proposals.iter().for_each(|proposal| self.field("proposal", proposal));
        connection.pools.iter().for_each(|pool| self.field("from_pool", pool));
        connection.dns.iter().for_each(|server| self.field("dns", server));
        self.field("reauth_time_ns", connection.reauth_time.as_nanos());
        if connection.start != Start::Never {
            self.field("start", connection.start);
        }
        self.field("unique", connection.unique);
        self.field("dpd_delay_ns", connection.dpd_delay.as_nanos());
        self.field("rekey_time_ns", connection.rekey_time.as_nanos());
        for child in &connection.children {
            self.field("child", &child.name);
            self.field("mode", child.mode);
            child.local_ts.iter().for_each(|network| self.field("local_ts", network));
            child.remote_ts.iter().for_each(|network| self.field("remote_ts", network));
            child.esp.iter().for_each(|proposal| self.field("esp", proposal));
            self.field("rekey_time_ns", child.rekey_time.as_nanos());
            self.life(child.life_packets, child.life_bytes);
            self.outer(child.outer);
        }
    }

    fn pool(&mut self, pool: &AddressPool) {
        self.field("pool", &pool.name);
        self.field("network", pool.network);
        self.field("shares", pool.shares);
    }

    /// Lengths before both parts keep any two different lists of fields apart.
    fn field(&mut self, name: &str, value: impl ToString) {
        self.bytes(name, value.to_string().as_bytes());
    }

    fn bytes(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), value] {
            self.0.update(&(part.len() as u64).to_be_bytes());
            self.0.update(part);
        }
    }
}
