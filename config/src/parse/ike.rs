//! `[[ipsec.connection]]` and its children, by themselves and beside ports, pools and `[cluster]`. What an identity or a proposal means is
//! for those to say who know IKE.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use super::ipsec::outer_header;
use super::ipsec::{cluster_address, life, network};
use super::port::{self, family};
use super::relay::unfit;
use super::{no_duplicates, pool, proof, repeated, start};
use crate::defaults;
use crate::problem::{Kind, Problems, Span};
use crate::read::{At, Reading, Section};
use crate::schema::{ChildMode, Cluster, IkeChild, IkeConnection, PeersProof, Replicas, Scheme, Start, Unique};
use crate::traffic::TrafficNet;

pub(super) const CONNECTION: &str = "[[ipsec.connection]]";
const CHILD: &str = "[[ipsec.connection.child]]";
/// For keys that may be absent: an empty list could mean everything or nothing.
pub(super) const SOME_OR_ABSENT: &str = "give at least one, or leave the key out";

/// A connection that still knows where its values stand.
pub(super) struct Draft {
    section: Span,
    name: At<String>,
    local: Option<At<IpAddr>>,
    remote: At<Vec<IpNet>>,
    pools: Vec<At<String>>,
    /// Where it says that peers are asked for a password.
    asks: Option<Span>,
    connection: IkeConnection,
}

/// Forgets the places. The order stays the file's: of connections that suit a peer, the first is taken.
pub(super) fn finish(drafts: Vec<Draft>) -> Vec<IkeConnection> {
    drafts.into_iter().map(|draft| draft.connection).collect()
}

/// All connections; none if any of them is wrong.
pub(super) fn connections(
    problems: &mut Problems<'_>,
    sections: Vec<Section<'_, '_>>,
    file: &Path,
) -> Option<Vec<Draft>> {
    let most = defaults::IKE_CONNECTIONS_MAX;
    if let Some(beyond) = sections.get(most) {
        let what = format!("there are more than {most} connections");
        problems.add(&beyond.span, Kind::OutOfRange, what, "use fewer: one connection can serve many peers");
    }
    let count = sections.len();
    let drafts: Vec<Draft> = sections.into_iter().filter_map(|s| connection(problems, s, file)).collect();
    no_duplicates(
        problems,
        drafts.iter().map(|draft| &draft.name),
        |name| format!("there is another {CONNECTION} named {name:?}"),
        "give each connection its own name",
    );
    (drafts.len() == count).then_some(drafts)
}

/// Notes what keeps the connections from working in this cluster.
pub(super) fn in_cluster(problems: &mut Problems<'_>, drafts: &[Draft], cluster: &Cluster) {
    let Some(first) = drafts.first() else { return };
    if cluster.scheme == Scheme::Classic {
        problems.add(
            &first.section,
            Kind::Contradiction,
            format!("{CONNECTION} cannot work with scheme = \"classic\", which does not look at SPIs"),
            format!("set scheme = \"steered\" in [cluster], or remove every {CONNECTION}"),
        );
    }
    if let Replicas::Count(count) = cluster.replicas {
        problems.add(
            &first.section,
            Kind::Contradiction,
            format!(
                "{CONNECTION} cannot work with replicas = {count}: every member must know every tunnel to steer into it"
            ),
            format!("set replicas = \"all\" in [cluster], or remove every {CONNECTION}"),
        );
    }
}

/// Notes what keeps the connections from working with these ports.
pub(super) fn beside_ports(problems: &mut Problems<'_>, drafts: &[Draft], ports: &[port::Draft]) {
    for draft in drafts {
        if let Some(local) = &draft.local {
            cluster_address(problems, CONNECTION, local, ports);
            continue;
        }
        let mut addresses = ports.iter().flat_map(|port| &port.cluster_addresses).map(|at| at.value.addr());
        if !addresses.any(|address| may_reach(&draft.remote.value, address)) {
            problems.add(
                &draft.remote.span,
                Kind::Contradiction,
                format!("{CONNECTION} `remote`: no [[port]] has a cluster address that these peers can reach"),
                "add one of their family to the [[port]] that they come by, or correct the networks",
            );
        }
    }
}

/// Notes pools that are not there, or that nobody uses.
pub(super) fn with_pools(problems: &mut Problems<'_>, drafts: &[Draft], pools: &[pool::Draft]) {
    let known = || pools.iter().map(|pool| pool.name.value.as_str());
    for At { value: name, span } in drafts.iter().flat_map(|draft| &draft.pools) {
        if !known().any(|pool| pool == name) {
            let what = format!("{CONNECTION} `pools`: there is no [[ipsec.pool]] named {name:?}");
            let fix = match crate::suggest::nearest(name, known()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "add it, or name one that is there".to_owned(),
            };
            problems.add(span, Kind::Contradiction, what, fix);
        }
    }
    for pool in pools {
        let name = &pool.name.value;
        if !drafts.iter().flat_map(|draft| &draft.pools).any(|used| used.value == *name) {
            let what = format!("no {CONNECTION} uses [[ipsec.pool]] {name:?}");
            problems.warn(&pool.section, what, "name it in the `pools` of one, or remove it");
        }
    }
}

/// Notes a file of users that is missing, or that nobody uses.
pub(super) fn with_users(problems: &mut Problems<'_>, drafts: &[Draft], users: Option<&Span>) {
    match (drafts.iter().find_map(|draft| draft.asks.as_ref()), users) {
        (Some(asks), None) => problems.add(
            asks,
            Kind::MissingKey,
            format!("{CONNECTION} `eap` asks users for their passwords, and [ipsec] has no `users`"),
            "add a line such as `users = \"users\"` below [ipsec], before any section within it",
        ),
        (None, Some(users)) => {
            let what = format!("no {CONNECTION} asks the [ipsec] `users` for their passwords");
            problems.warn(users, what, "add `eap = \"mschapv2\"` to one, or remove `users`");
        }
        _ => {}
    }
}

/// Whether packets go from any of these networks, or from anywhere if there are none, to this address.
fn may_reach(remote: &[IpNet], address: IpAddr) -> bool {
    remote.is_empty() || remote.iter().any(|network| network.addr().is_ipv4() == address.is_ipv4())
}

fn connection(problems: &mut Problems<'_>, mut s: Section<'_, '_>, file: &Path) -> Option<Draft> {
    let absent = || At { value: Vec::new(), span: 0..0 };
    let name = s.required(problems, "name", "\"road\"", |r| r.name());
    let local = s.optional(problems, "local", |r| r.parsed::<IpAddr>("an address", "198.51.100.1"));
    let remote = s.or(problems, "remote", Vec::new(), |r| networks(r, SOME_OR_ABSENT));
    let local_id = s.required(problems, "local_id", "\"gw.example.org\"", identity);
    let remote_id = s.optional(problems, "remote_id", identity);
    let proofs = proof::proofs(problems, &mut s, file);
    let proposals = s.or(problems, "proposals", Vec::new(), |r| proposals(r, "[\"aes256gcm16-prfsha384-ecp384\"]"));
    let pools = s.optional(problems, "pools", |r| r.list("[\"roadwarriors\"]", |r| r.name()));
    let dns = s.optional(problems, "dns", name_servers);
    let reauth_time =
        s.or(problems, "reauth_time_s", Duration::ZERO, |r| r.seconds_or_none(defaults::REAUTH_TIME_RANGE));
    let start = s.or(problems, "start", Start::Never, |r| r.word(Start::WORDS));
    let unique = s.or(problems, "unique", Unique::No, |r| r.word(Unique::WORDS));
    let dpd_delay =
        s.or(problems, "dpd_delay_s", defaults::DPD_DELAY, |r| r.seconds_or_none(defaults::DPD_DELAY_RANGE));
    let rekey_time = s.or(problems, "rekey_time_s", defaults::IKE_REKEY_TIME, rekey_time);
    let section = s.span.clone();
    s.has_sections("child");
    let children = children(problems, &s);
    s.finish(problems);
    let (name, local, remote) = (name?, local?, remote?);
    let (pools, dns, children) = (pools?.unwrap_or_else(absent), dns?, children?);
    if let Some(local) = &local
        && !may_reach(&remote.value, local.value)
    {
        let (family, address) = (family(local.value), local.value);
        let what = format!("{CONNECTION} `remote`: no peer from these networks can reach {address}");
        problems.add(&remote.span, Kind::Contradiction, what, format!("give an {family} network, or another `local`"));
    }
    let (proofs, remote_id) = (proofs?, remote_id?);
    if let (Some(id), PeersProof::Password) = (&remote_id, &proofs.peers) {
        let what = format!("{CONNECTION} `remote_id` keeps nobody out: a name said before the password is unproved");
        problems.warn(&id.span, what, "remove it: who may come, `users` says");
    }
    let start = start?;
    if start.value == Start::Always {
        start::can_begin(problems, &start.span, (&remote, local.is_some()), (&proofs.peers, &pools), &children);
    }
    given_addresses(problems, &pools, dns.as_ref().map(|dns| &dns.span), &children);
    let connection = IkeConnection {
        name: name.value.clone(),
        local: local.as_ref().map(|local| local.value),
        remote: remote.value.clone(),
        local_id: local_id?.value,
        remote_id: remote_id.map(|id| id.value),
        own_proof: proofs.own,
        peers_proof: proofs.peers,
        proposals: proposals?.value,
        pools: pools.value.iter().map(|pool| pool.value.clone()).collect(),
        dns: dns.map(|dns| dns.value).unwrap_or_default(),
        reauth_time: reauth_time?.value,
        start: start.value,
        unique: unique?.value,
        dpd_delay: dpd_delay?.value,
        rekey_time: rekey_time?.value,
        children,
    };
    Some(Draft { section, name, local, remote, pools: pools.value, asks: proofs.asks, connection })
}

/// Whether addresses that peers are given are of use to them.
fn given_addresses(
    problems: &mut Problems<'_>,
    pools: &At<Vec<At<String>>>,
    dns: Option<&Span>,
    children: &[IkeChild],
) {
    no_duplicates(
        problems,
        &pools.value,
        |name| format!("{CONNECTION} `pools` names {name:?} twice"),
        "name each pool once",
    );
    match (pools.value.is_empty(), dns) {
        (true, Some(dns)) => problems.warn(
            dns,
            format!(
                "{CONNECTION} `dns` is told to peers with their address, and there are no `pools` to give one from"
            ),
            "add `pools`, or remove `dns`",
        ),
        (false, _)
            if children.iter().all(|child| !child.remote_ts.is_empty() || child.mode == ChildMode::Transport) =>
        {
            problems.warn(
                &pools.span,
                format!(
                    "{CONNECTION} `pools`: no child carries the addresses that peers are given: each names `remote_ts`"
                ),
                "remove `remote_ts` from the child that is meant for them, or remove `pools`",
            )
        }
        _ => {}
    }
}

/// All children of a connection; none if any of them is wrong.
fn children(problems: &mut Problems<'_>, connection: &Section<'_, '_>) -> Option<Vec<IkeChild>> {
    let sections = repeated(problems, connection.table()?, "child", CHILD);
    let most = defaults::IKE_CHILDREN_MAX;
    if sections.is_empty() {
        let fix = format!("add a line `{CHILD}` below it, and what traffic it carries");
        problems.add(&connection.span, Kind::MissingKey, format!("{CONNECTION} has no {CHILD}"), fix);
        return None;
    }
    if let Some(beyond) = sections.get(most) {
        let what = format!("{CONNECTION} has more than {most} children");
        problems.add(&beyond.span, Kind::OutOfRange, what, "use fewer: one child can carry several networks' traffic");
    }
    let count = sections.len();
    let children: Vec<(At<String>, IkeChild)> = sections.into_iter().filter_map(|s| child(problems, s)).collect();
    no_duplicates(
        problems,
        children.iter().map(|(name, _)| name),
        |name| format!("the connection has another {CHILD} named {name:?}"),
        "give each child of a connection its own name",
    );
    (children.len() == count).then(|| children.into_iter().map(|(_, child)| child).collect())
}

fn child(problems: &mut Problems<'_>, mut s: Section<'_, '_>) -> Option<(At<String>, IkeChild)> {
    let name = s.required(problems, "name", "\"lan\"", |r| r.name());
    let mode = s.or(problems, "mode", ChildMode::Tunnel, |r| r.word(ChildMode::WORDS));
    let is = |wanted| mode.as_ref().is_some_and(|mode| mode.value == wanted);
    let local_ts = match is(ChildMode::Tunnel) {
        true => s.required(problems, "local_ts", "[\"10.3.0.0/24\"]", |r| traffic(r, "give at least one")),
        false => s.or(problems, "local_ts", Vec::new(), |r| traffic(r, SOME_OR_ABSENT)),
    };
    let remote_ts = s.or(problems, "remote_ts", Vec::new(), |r| traffic(r, SOME_OR_ABSENT));
    let esp = s.or(problems, "esp", Vec::new(), |r| proposals(r, "[\"aes256gcm16\"]"));
    let rekey_time = s.or(problems, "rekey_time_s", defaults::CHILD_REKEY_TIME, rekey_time);
    let life = life(problems, &mut s);
    let outer = outer_header(problems, &mut s);
    s.finish(problems);
    let (name, local_ts, remote_ts) = (name?, local_ts?, remote_ts?);
    if is(ChildMode::Transport) {
        own_ends_only(problems, [("local_ts", &local_ts), ("remote_ts", &remote_ts)]);
    }
    let local_ts = local_ts.value;
    let theirs: Vec<IpNet> = remote_ts.value.iter().map(|it| it.network).collect();
    if is(ChildMode::Tunnel) && !local_ts.iter().any(|it| may_reach(&theirs, it.addr())) {
        let what = format!("{CHILD} `remote_ts`: no packet goes between these networks and those of `local_ts`");
        problems.add(&remote_ts.span, Kind::Contradiction, what, "give both sides networks of one family");
    }
    let (life_packets, life_bytes) = life?;
    let child = IkeChild {
        name: name.value.clone(),
        mode: mode?.value,
        local_ts,
        remote_ts: remote_ts.value,
        esp: esp?.value,
        rekey_time: rekey_time?.value,
        life_packets,
        life_bytes,
        outer: outer?,
    };
    Some((name, child))
}

/// In transport mode there are no networks behind the two ends.
fn own_ends_only(problems: &mut Problems<'_>, given: [(&str, &At<Vec<TrafficNet>>); 2]) {
    for (key, networks) in given.into_iter().filter(|(_, networks)| !networks.value.is_empty()) {
        let what =
            format!("{CHILD} `{key}`: in transport mode the traffic is between the two addresses that speak IKE");
        problems.add(&networks.span, Kind::Contradiction, what, "remove it, or remove `mode`");
    }
}

fn rekey_time(r: &mut Reading<'_, '_, '_>) -> Option<Duration> {
    r.seconds_or_none(defaults::REKEY_TIME_RANGE)
}

/// A name that IKE's sides are known by.
fn identity(r: &mut Reading<'_, '_, '_>) -> Option<String> {
    let text = r.filled()?;
    let most = defaults::IDENTITY_LENGTH_MAX;
    if text.len() > most || text.trim() != text || text.contains(char::is_control) {
        let fix =
            format!("use at most {most} letters, and no space around them: \"gw.example.org\", \"alice@example.org\"");
        return r.refuse(format!("{text:?} is not an identity"), fix);
    }
    Some(text)
}

fn proposals(r: &mut Reading<'_, '_, '_>, example: &str) -> Option<Vec<String>> {
    some(r, example, defaults::IKE_PROPOSALS_MAX, SOME_OR_ABSENT, |r| r.filled())
}

fn networks(r: &mut Reading<'_, '_, '_>, if_empty: &str) -> Option<Vec<IpNet>> {
    some(r, "[\"10.3.0.0/24\"]", defaults::IKE_NETWORKS_MAX, if_empty, network)
}

/// Networks, and which of their traffic.
pub(super) fn traffic(r: &mut Reading<'_, '_, '_>, if_empty: &str) -> Option<Vec<TrafficNet>> {
    some(r, "[\"10.3.0.0/24\"]", defaults::IKE_NETWORKS_MAX, if_empty, |r| {
        let it = r.parsed::<TrafficNet>("a network", "10.3.0.0/24")?;
        let whole = TrafficNet { network: it.network.trunc(), ..it };
        if whole != it {
            return r.refuse(format!("{} has host bits", it.network), format!("write \"{whole}\""));
        }
        Some(it)
    })
}

fn name_servers(r: &mut Reading<'_, '_, '_>) -> Option<Vec<IpAddr>> {
    some(r, "[\"10.3.0.53\"]", defaults::IKE_DNS_MAX, SOME_OR_ABSENT, |r| {
        let address = r.parsed::<IpAddr>("an address", "10.3.0.53")?;
        match unfit(address) {
            Some(why) => r.refuse(format!("{address} {why}"), "give the address of a name server"),
            None => Some(address),
        }
    })
}

/// A list that says something, and not too much.
pub(super) fn some<'a, T>(
    r: &mut Reading<'_, '_, 'a>,
    example: &str,
    most: usize,
    if_empty: &str,
    read: impl FnMut(&mut Reading<'_, '_, 'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let list = r.list(example, read)?;
    if list.is_empty() {
        return r.wrong(Kind::MissingKey, "it is empty", if_empty);
    }
    if list.len() > most {
        return r.wrong(Kind::OutOfRange, format!("it has {} entries", list.len()), format!("use at most {most}"));
    }
    Some(list.into_iter().map(|at| at.value).collect())
}
