//! From the configuration's words to what the machine is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use phalanx_config::{AddressPool, Config, IkeChild, IkeConnection, IpNet};
use phalanx_dataplane::ipsec::gateway::{Network, Selectors};
use phalanx_ike::config::{ChildConfig, Connection};
use phalanx_ike::crypto::Secret;
use phalanx_ike::pool::{Book, Pool};
use phalanx_ike::proposal::UnknownProposal;
use phalanx_ike::wire::{Identity, Selector};

/// What is wrong with a connection.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("[[ipsec.connection]] {name:?}: {why}")]
pub struct ConnectionError {
    name: String,
    why: UnknownProposal,
}

/// All that IKE needs of a configuration.
#[derive(Debug)]
pub(crate) struct Ike {
    /// For the machine.
    pub(crate) config: phalanx_ike::config::Config,
    /// The addresses that this member gives out.
    pub(crate) book: Book,
    /// Traffic that never goes in clear.
    pub(crate) guards: Vec<Selectors>,
}

/// What a configuration says of IKE. None: it has no connections. `cookie_key`: the members' common one.
///
/// # Errors
/// The first connection that makes no sense.
pub(crate) fn ike(config: &Config, cookie_key: &[u8]) -> Result<Option<Ike>, ConnectionError> {
    if config.ike_connections.is_empty() {
        return Ok(None);
    }
    let connections: Result<Vec<_>, _> = config.ike_connections.iter().map(connection).collect();
    let pools = config.pools.iter().map(|it| pool(it, config.member.id)).collect();
    Ok(Some(Ike {
        config: phalanx_ike::config::Config { connections: connections?, cookie_key: Secret::from(cookie_key) },
        book: Book::new(pools),
        guards: config.ike_connections.iter().flat_map(|it| guards(it, &config.pools)).collect(),
    }))
}

fn connection(it: &IkeConnection) -> Result<Connection, ConnectionError> {
    let wrong = |why| ConnectionError { name: it.name.clone(), why };
    let proposals: Result<_, _> = it.proposals.iter().map(|text| text.parse()).collect();
    let children: Result<_, _> = it.children.iter().map(child).collect();
    Ok(Connection {
        name: it.name.clone(),
        local_address: it.local,
        remote_addresses: selectors(&it.remote),
        proposals: proposals.map_err(wrong)?,
        local_id: Identity::of_text(&it.local_id),
        remote_id: it.remote_id.as_deref().map(Identity::of_text),
        shared_key: Secret::from(it.psk.expose()),
        pools: it.pools.clone(),
        dns: it.dns.clone(),
        children: children.map_err(wrong)?,
        dpd_delay_s: it.dpd_delay.as_secs(),
    })
}

fn child(it: &IkeChild) -> Result<ChildConfig, UnknownProposal> {
    Ok(ChildConfig {
        name: it.name.clone(),
        local: selectors(&it.local_ts),
        remote: selectors(&it.remote_ts),
        proposals: it.esp.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
    })
}

fn selectors(networks: &[IpNet]) -> Vec<Selector> {
    networks.iter().map(|network| Selector::of_network(network.addr(), network.prefix_len())).collect()
}

fn pool(it: &AddressPool, member: u8) -> Pool {
    let share = u32::from(member.saturating_sub(1));
    Pool::new(it.name.clone(), it.network.addr(), it.network.prefix_len(), share, it.shares.into())
}

/// What must not go in clear: from and to the networks of a connection's peers. Whoever is given no address from a pool speaks from an
/// address that nobody knows before.
fn guards(it: &IkeConnection, pools: &[AddressPool]) -> Vec<Selectors> {
    let everywhere = [(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0), (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0)];
    let networks = |list: &[IpNet]| list.iter().map(|it| Network::new(it.addr(), it.prefix_len())).collect();
    let mut guards: Vec<Selectors> = it
        .children
        .iter()
        .filter(|child| !child.remote_ts.is_empty())
        .map(|child| Selectors { local: networks(&child.local_ts), remote: networks(&child.remote_ts) })
        .collect();
    let theirs = pools.iter().filter(|pool| it.pools.contains(&pool.name)).map(|pool| pool.network);
    guards.extend(theirs.map(|network| Selectors {
        local: everywhere.map(|(address, len)| Network::new(address, len)).into(),
        remote: networks(&[network]),
    }));
    guards
}
