//! From the configuration's words to what the machine is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use phalanx_config::{AddressPool, ChildMode, Config, IkeConnection, IpNet, PeersProof, Start, TrafficNet, Unique};
use phalanx_dataplane::ipsec::gateway::{Network, Selectors};
use phalanx_ike::config::{ChildConfig, Connection, DontFragment, Life, OuterHeader};
use phalanx_ike::crypto::Secret;
use phalanx_ike::machine::Machine;
use phalanx_ike::pool::{Book, Pool};
use phalanx_ike::proposal::ProposalError;
use phalanx_ike::state::Path;
use phalanx_ike::wire::{Identity, Selector};

use super::error::{IkeError, Why};
use super::{proofs, users};
use crate::tunnels::parts;

/// RFC 8247's, the fastest first.
const USUAL_IKE: &[&str] = &[
    "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha256-prfsha384-prfsha512-x25519-ecp256-ecp384-ecp521-modp3072-modp2048",
    "aes256-aes128-sha256-sha384-sha512-x25519-ecp256-ecp384-ecp521-modp3072-modp2048",
];
/// RFC 8221's; a peer that wants a key exchange for each child gets one.
const USUAL_ESP: &[&str] = &[
    "aes256gcm16-aes128gcm16-chacha20poly1305-x25519-ecp256-ecp384-ecp521-modp3072-modp2048",
    "aes256gcm16-aes128gcm16-chacha20poly1305",
    "aes256-aes128-sha256-sha384-sha512-x25519-ecp256-ecp384-ecp521-modp3072-modp2048",
    "aes256-aes128-sha256-sha384-sha512",
];

/// All that IKE needs of a configuration.
#[derive(Debug)]
pub(crate) struct Ike {
    /// For the machine.
    pub(crate) config: phalanx_ike::config::Config,
    /// The addresses that this member gives out.
    pub(crate) book: Book,
    /// Traffic that never goes in clear.
    pub(crate) guards: Vec<Selectors>,
    /// Keepers that there are to be, by name.
    pub(crate) keepers: Vec<u64>,
}

/// What a configuration and the files that it names say of IKE. None: it has no connections. `cookie_key`, `token_key`: the members'
/// common ones.
///
/// # Errors
/// The first connection that makes no sense, or the first file.
pub(crate) fn ike(config: &Config, cookie_key: &[u8], token_key: &[u8]) -> Result<Option<Ike>, IkeError> {
    if config.ike_connections.is_empty() {
        return Ok(None);
    }
    let connections: Result<Vec<_>, _> = config.ike_connections.iter().map(connection).collect();
    let pools = config.pools.iter().map(|it| pool(it, config.member.id.get())).collect();
    let asks = config.ike_connections.iter().any(|it| it.peers_proof == PeersProof::Password);
    let users = config.ike_users.as_deref().filter(|_| asks).map(users::load).transpose()?;
    let told = phalanx_ike::config::Config {
        connections: connections?,
        cookie_key: Secret::from(cookie_key),
        token_key: Secret::from(token_key),
        users: Arc::new(users.unwrap_or_default()),
    };
    let machine = Machine::new(&told);
    Ok(Some(Ike {
        keepers: machine.kept().map(|connection| machine.keeper_of(connection)).collect(),
        config: told,
        book: Book::new(pools),
        guards: config.ike_connections.iter().flat_map(|it| guards(it, config)).collect(),
    }))
}

fn connection(it: &IkeConnection) -> Result<Connection, IkeError> {
    let at = |key: String| move |why: Why| IkeError::Connection { name: it.name.clone(), key, why };
    let proposals = parsed(&it.proposals, USUAL_IKE).map_err(at("proposals".to_owned()))?;
    let children = it.children.iter().map(|child| {
        let proposals = parsed(&child.esp, USUAL_ESP).map_err(at(format!("child {:?} esp", child.name)))?;
        Ok(ChildConfig {
            name: child.name.clone(),
            transport: child.mode == ChildMode::Transport,
            local: traffic(&child.local_ts),
            remote: traffic(&child.remote_ts),
            proposals,
            rekey_s: child.rekey_time.as_secs(),
            life: Life { packets: child.life_packets, bytes: child.life_bytes },
            outer: outer(child.outer),
        })
    });
    let children = children.collect::<Result<_, IkeError>>()?;
    let at_file = |(key, why): (&str, Why)| at(key.to_owned())(why);
    Ok(Connection {
        name: it.name.clone(),
        local_address: it.local,
        remote_addresses: selectors(&it.remote),
        proposals,
        local_id: Identity::of_text(&it.local_id),
        remote_id: it.remote_id.as_deref().map(Identity::of_text),
        own_proof: proofs::own(it).map_err(at_file)?,
        peers_proof: proofs::peers(it).map_err(at_file)?,
        pools: it.pools.clone(),
        dns: it.dns.clone(),
        reauth_s: it.reauth_time.as_secs(),
        start: begun(it),
        unique: match it.unique {
            Unique::No => phalanx_ike::config::Unique::IfSaid,
            Unique::Never => phalanx_ike::config::Unique::Never,
            Unique::Replace => phalanx_ike::config::Unique::Always,
        },
        children,
        dpd_delay_s: it.dpd_delay.as_secs(),
        rekey_s: it.rekey_time.as_secs(),
    })
}

fn outer(it: phalanx_config::OuterHeader) -> OuterHeader {
    let dont_fragment = match it.dont_fragment {
        phalanx_config::DontFragment::Copy => DontFragment::Copy,
        phalanx_config::DontFragment::Set => DontFragment::Set,
        phalanx_config::DontFragment::Clear => DontFragment::Clear,
    };
    OuterHeader { dont_fragment, dscp: it.dscp }
}

/// Between which addresses we begin; none: the peer does.
fn begun(it: &IkeConnection) -> Option<Path> {
    const PORT: u16 = 500;
    let (Start::Always, Some(ours), [theirs]) = (it.start, it.local, &it.remote[..]) else { return None };
    Some(Path { ours: SocketAddr::new(ours, PORT), theirs: SocketAddr::new(theirs.addr(), PORT) })
}

/// What the file says, or else the usual.
fn parsed<T: FromStr<Err = ProposalError>>(texts: &[String], usual: &[&str]) -> Result<Vec<T>, Why> {
    let parsed: Result<_, _> = match texts {
        [] => usual.iter().map(|text| text.parse()).collect(),
        texts => texts.iter().map(|text| text.parse()).collect(),
    };
    parsed.map_err(Why::Proposal)
}

fn selectors(networks: &[IpNet]) -> Vec<Selector> {
    networks.iter().map(|network| Selector::of_network(network.addr(), network.prefix_len())).collect()
}

fn traffic(list: &[TrafficNet]) -> Vec<Selector> {
    let selector = |it: &TrafficNet| {
        let network = Selector::of_network(it.network.addr(), it.network.prefix_len());
        Selector { protocol: it.protocol, ports: it.ports, ..network }
    };
    list.iter().map(selector).collect()
}

fn pool(it: &AddressPool, member: u8) -> Pool {
    let share = u32::from(member.saturating_sub(1));
    Pool::new(it.name.clone(), it.network.addr(), it.network.prefix_len(), share, it.shares.into())
}

/// What must not go in clear: from and to the networks of a connection's peers. Whoever is given no address from a pool speaks from an
/// address that nobody knows before, unless `remote` says from where: what is to go in transport mode is known then, too.
fn guards(it: &IkeConnection, config: &Config) -> Vec<Selectors> {
    let everywhere = [(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0), (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0)];
    let networks = |list: &[IpNet]| list.iter().map(|it| Network::new(it.addr(), it.prefix_len())).collect();
    let mut guards: Vec<Selectors> = it
        .children
        .iter()
        .filter(|child| !child.remote_ts.is_empty())
        .map(|child| Selectors { local: parts(&child.local_ts), remote: parts(&child.remote_ts) })
        .collect();
    if !it.remote.is_empty() && it.children.iter().any(|child| child.mode == ChildMode::Transport) {
        guards.push(Selectors { local: own_addresses(it, config), remote: networks(&it.remote) });
    }
    let theirs = config.pools.iter().filter(|pool| it.pools.contains(&pool.name)).map(|pool| pool.network);
    guards.extend(theirs.map(|network| Selectors {
        local: everywhere.map(|(address, len)| Network::new(address, len)).into(),
        remote: networks(&[network]),
    }));
    guards
}

/// The cluster's addresses that a connection's peers may speak to.
fn own_addresses(it: &IkeConnection, config: &Config) -> Vec<Network> {
    let all = config.ports.iter().flat_map(|port| &port.cluster_addresses).map(|address| address.addr());
    it.local
        .map_or_else(|| all.collect(), |local| vec![local])
        .into_iter()
        .map(|ip| Network::new(ip, u8::MAX))
        .collect()
}
