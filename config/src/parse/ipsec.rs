//! `[ipsec]`, and `[[ipsec.sa]]`: pairs of SAs that are keyed by hand (`ike` and `pool` have the other sections within it). Whether a
//! transform is known and its keys fit it is for those to say who know transforms.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use toml::de::{DeTable, DeValue};

use super::{beside, ike, no_duplicates, pool, port, repeated, rules};
use crate::defaults;
use crate::problem::{Kind, Problems, Span};
use crate::read::{At, Reading, Section};
use crate::schema::{Cluster, DontFragment, IpsecEngine, IpsecProtocol, OuterHeader, Scheme, StaticSa, TrafficRule};
use crate::secret::{NotHex, Secret};

/// A pair that still knows where its addresses stand.
pub(super) struct Draft {
    section: Span,
    name: At<String>,
    local: At<IpAddr>,
    spi_in: At<u32>,
    sa: StaticSa,
}

/// `[ipsec]` and all sections within it.
pub(super) struct Drafts {
    pub(super) engine: IpsecEngine,
    pub(super) clamp_mss: bool,
    pub(super) users: Option<PathBuf>,
    pub(super) sas: Vec<Draft>,
    pub(super) connections: Vec<ike::Draft>,
    pub(super) pools: Vec<pool::Draft>,
    pub(super) rules: Vec<TrafficRule>,
}

impl Drafts {
    /// Notes what keeps tunnels from working with these ports.
    pub(super) fn beside_ports(&self, problems: &mut Problems<'_>, ports: &[port::Draft]) {
        self.sas.iter().for_each(|sa| cluster_address(problems, "[[ipsec.sa]]", &sa.local, ports));
        ike::beside_ports(problems, &self.connections, ports);
        pool::beside_ports(problems, &self.pools, ports);
    }

    /// Notes what keeps tunnels from working in this cluster.
    pub(super) fn in_cluster(&self, problems: &mut Problems<'_>, cluster: &Cluster) {
        if let (Some(first), Scheme::Classic) = (self.sas.first(), cluster.scheme) {
            problems.add(
                &first.section,
                Kind::Contradiction,
                "[[ipsec.sa]] cannot work with scheme = \"classic\", which does not look at SPIs",
                "set scheme = \"steered\" in [cluster], or remove every [[ipsec.sa]]",
            );
        }
        ike::in_cluster(problems, &self.connections, cluster);
    }
}

/// `[ipsec]` and all sections within it; none if anything of it is wrong.
pub(super) fn ipsec(problems: &mut Problems<'_>, tree: &DeTable<'_>, file: &Path) -> Option<Drafts> {
    let Some((_, value)) = tree.iter().find(|(name, _)| name.get_ref() == "ipsec") else {
        return Some(Drafts {
            engine: defaults::IPSEC_ENGINE,
            clamp_mss: defaults::MSS_CLAMP,
            users: None,
            sas: Vec::new(),
            connections: Vec::new(),
            pools: Vec::new(),
            rules: Vec::new(),
        });
    };
    let DeValue::Table(table) = value.get_ref() else {
        problems.add(&value.span(), Kind::WrongType, "`ipsec` is not a section", "begin with a line `[[ipsec.sa]]`");
        return None;
    };
    let mut s = Section::new("[ipsec]", table, value.span());
    let engine = s.or(problems, "engine", defaults::IPSEC_ENGINE, |r| r.word(IpsecEngine::WORDS));
    let clamp_mss = s.or(problems, "mss_clamp", defaults::MSS_CLAMP, |r| r.flag());
    let users = s.optional(problems, "users", |r| r.filled());
    // What these sections hold is looked at below.
    ["sa", "connection", "pool", "bypass", "discard"].into_iter().for_each(|key| s.has_sections(key));
    s.finish(problems);
    let sas = static_sas(problems, table);
    let sections = repeated(problems, table, "connection", "[[ipsec.connection]]");
    let connections = ike::connections(problems, sections, file);
    let sections = repeated(problems, table, "pool", "[[ipsec.pool]]");
    let pools = pool::pools(problems, sections);
    let rules = rules::rules(problems, table);
    // With a wrong pool, every connection that names it would be reported too.
    if let (Some(connections), Some(pools)) = (&connections, &pools) {
        ike::with_pools(problems, connections, pools);
    }
    if let (Some(connections), Some(users)) = (&connections, &users) {
        ike::with_users(problems, connections, users.as_ref().map(|users| &users.span));
    }
    Some(Drafts {
        engine: engine?.value,
        clamp_mss: clamp_mss?.value,
        users: users?.map(|users| beside(file, &users.value)),
        sas: sas?,
        connections: connections?,
        pools: pools?,
        rules: rules?,
    })
}

fn static_sas(problems: &mut Problems<'_>, table: &DeTable<'_>) -> Option<Vec<Draft>> {
    let sections = repeated(problems, table, "sa", "[[ipsec.sa]]");
    let most = defaults::STATIC_SAS_MAX;
    if let Some(beyond) = sections.get(most) {
        let what = format!("there are more than {most} static SAs");
        problems.add(&beyond.span, Kind::OutOfRange, what, "use fewer");
    }
    let count = sections.len();
    let drafts: Vec<Draft> = sections.into_iter().filter_map(|s| pair(problems, s)).collect();
    no_duplicates(
        problems,
        drafts.iter().map(|draft| &draft.name),
        |name| format!("there is another [[ipsec.sa]] named {name:?}"),
        "give each its own name",
    );
    no_duplicates(
        problems,
        drafts.iter().map(|draft| &draft.spi_in),
        |spi| format!("there is another [[ipsec.sa]] with spi_in = {spi:#x}"),
        "choose another: the cluster tells tunnels apart by it",
    );
    (drafts.len() == count).then_some(drafts)
}

/// A peer finds every member at a cluster address, at any other one no other member.
pub(super) fn cluster_address(problems: &mut Problems<'_>, section: &str, local: &At<IpAddr>, ports: &[port::Draft]) {
    let mut addresses = ports.iter().flat_map(|port| &port.cluster_addresses);
    if !addresses.any(|address| address.value.addr() == local.value) {
        let what = format!("{section} `local`: {} is not a cluster address of any [[port]]", local.value);
        problems.add(&local.span, Kind::Contradiction, what, "give the cluster address that the peer sends to");
    }
}

/// Forgets the places, and puts the tunnels into an order that does not hang on the file's.
pub(super) fn finish(drafts: Vec<Draft>) -> Vec<StaticSa> {
    let mut sas: Vec<StaticSa> = drafts.into_iter().map(|draft| draft.sa).collect();
    sas.sort_by_key(|sa| sa.spi_in);
    sas
}

fn pair(problems: &mut Problems<'_>, mut s: Section<'_, '_>) -> Option<Draft> {
    let spi = |r: &mut Reading<'_, '_, '_>| r.number(defaults::SPI_MIN..=u32::MAX);
    let address = |r: &mut Reading<'_, '_, '_>| r.parsed::<IpAddr>("an address", "192.0.2.9");
    let name = s.required(problems, "name", "\"branch\"", |r| r.name());
    let local = s.required(problems, "local", "\"198.51.100.1\"", address);
    let remote = s.required(problems, "remote", "\"192.0.2.9\"", address);
    let local_ts = s.required(problems, "local_ts", "[\"10.3.0.0/24\"]", networks);
    let remote_ts = s.required(problems, "remote_ts", "[\"10.9.0.0/24\"]", networks);
    let esp = s.optional(problems, "esp", |r| r.filled());
    let ah = s.optional(problems, "ah", |r| r.filled());
    let spi_in = s.required(problems, "spi_in", "0x1001", spi);
    let spi_out = s.required(problems, "spi_out", "0x2001", spi);
    let keys = ["encryption_key_in", "integrity_key_in", "encryption_key_out", "integrity_key_out"]
        .map(|name| s.or(problems, name, Secret::default(), secret));
    let esn = s.or(problems, "esn", false, |r| r.flag());
    let (least, most) = defaults::REPLAY_WINDOW_RANGE;
    let replay_window = s.or(problems, "replay_window", defaults::REPLAY_WINDOW, |r| r.number(least..=most));
    let life = life(problems, &mut s);
    let outer = outer_header(problems, &mut s);
    let section = s.span.clone();
    s.finish(problems);
    let (name, local, remote, spi_in) = (name?, local?, remote?, spi_in?);
    if local.value.is_ipv4() != remote.value.is_ipv4() {
        let what = format!("[[ipsec.sa]] `remote`: {} and {} cannot reach each other", remote.value, local.value);
        problems.add(&remote.span, Kind::Contradiction, what, "give two addresses of one family");
        return None;
    }
    let (protocol, transform) = match (esp?, ah?) {
        (Some(esp), None) => (IpsecProtocol::Esp, esp.value),
        (None, Some(ah)) => (IpsecProtocol::Ah, ah.value),
        (None, None) => {
            let what = "[[ipsec.sa]] has neither `esp` nor `ah`";
            problems.add(&section, Kind::MissingKey, what, "add a line such as `esp = \"aes128gcm16\"`");
            return None;
        }
        (Some(_), Some(ah)) => {
            let what = "[[ipsec.sa]] has both `esp` and `ah`";
            problems.add(&ah.span, Kind::Contradiction, what, "remove one: ESP checks, too");
            return None;
        }
    };
    let [encryption_key_in, integrity_key_in, encryption_key_out, integrity_key_out] = keys;
    let (life_packets, life_bytes) = life?;
    let values = |list: Vec<At<IpNet>>| list.into_iter().map(|at| at.value).collect();
    let sa = StaticSa {
        name: name.value.clone(),
        local: local.value,
        remote: remote.value,
        local_ts: values(local_ts?.value),
        remote_ts: values(remote_ts?.value),
        protocol,
        transform,
        spi_in: spi_in.value,
        spi_out: spi_out?.value,
        encryption_key_in: encryption_key_in?.value,
        integrity_key_in: integrity_key_in?.value,
        encryption_key_out: encryption_key_out?.value,
        integrity_key_out: integrity_key_out?.value,
        esn: esn?.value,
        replay_window: replay_window?.value,
        life_packets,
        life_bytes,
        outer: outer?,
    };
    Some(Draft { section, name, local, spi_in, sa })
}

/// How many packets, and how many bytes, one pair of keys may carry each way.
pub(super) fn life(problems: &mut Problems<'_>, s: &mut Section<'_, '_>) -> Option<(u64, u64)> {
    let packets = s.or(problems, "life_packets", 0, |r| r.number_or_none(defaults::LIFE_PACKETS_RANGE));
    let bytes = s.or(problems, "life_bytes", 0, |r| r.number_or_none(defaults::LIFE_BYTES_RANGE));
    Some((packets?.value, bytes?.value))
}

/// What a tunnel's own headers say.
pub(super) fn outer_header(problems: &mut Problems<'_>, s: &mut Section<'_, '_>) -> Option<OuterHeader> {
    let usual = OuterHeader::USUAL;
    let dont_fragment = s.or(problems, "dont_fragment", usual.dont_fragment, |r| r.word(DontFragment::WORDS));
    let dscp = s.optional(problems, "dscp", |r| r.number(0..=defaults::DSCP_MAX));
    Some(OuterHeader { dont_fragment: dont_fragment?.value, dscp: dscp?.map(|dscp| dscp.value) })
}

/// A key; what is wrong with it is told without showing it.
pub(super) fn secret(r: &mut Reading<'_, '_, '_>) -> Option<Secret> {
    let text = r.text()?;
    match text.parse() {
        Ok(secret) => Some(secret),
        Err(NotHex) => {
            r.refuse("it is no row of pairs of hexadecimal digits", "write it like `ip xfrm`: \"0x0011...\"")
        }
    }
}

fn networks(r: &mut Reading<'_, '_, '_>) -> Option<Vec<At<IpNet>>> {
    let networks = r.list("[\"10.3.0.0/24\"]", network)?;
    if networks.is_empty() {
        return r.wrong(Kind::MissingKey, "it is empty", "give at least one network");
    }
    Some(networks)
}

/// A network without host bits.
pub(super) fn network(r: &mut Reading<'_, '_, '_>) -> Option<IpNet> {
    let network = r.parsed::<IpNet>("a network", "10.3.0.0/24")?;
    if network.trunc() != network {
        return r.refuse(format!("{network} has host bits"), format!("write \"{}\"", network.trunc()));
    }
    Some(network)
}
