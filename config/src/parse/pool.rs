//! `[[ipsec.pool]]`: addresses for peers, which nobody else may have.

use ipnet::IpNet;

use super::ipsec::network;
use super::relay::unfit;
use super::together::overlap;
use super::{no_duplicates, port};
use crate::defaults;
use crate::problem::{Kind, Problems, Span};
use crate::read::{At, Reading, Section};
use crate::schema::{AddressPool, Member};

/// A pool that still knows where its values stand.
pub(super) struct Draft {
    pub(super) section: Span,
    pub(super) name: At<String>,
    network: At<IpNet>,
    shares: At<u8>,
}

/// Forgets the places, and puts the pools into an order that does not hang on the file's.
pub(super) fn finish(drafts: Vec<Draft>) -> Vec<AddressPool> {
    let pool =
        |draft: Draft| AddressPool { name: draft.name.value, network: draft.network.value, shares: draft.shares.value };
    let mut pools: Vec<AddressPool> = drafts.into_iter().map(pool).collect();
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    pools
}

/// All pools; none if any of them is wrong.
pub(super) fn pools(problems: &mut Problems<'_>, sections: Vec<Section<'_, '_>>) -> Option<Vec<Draft>> {
    let most = defaults::POOLS_MAX;
    if let Some(beyond) = sections.get(most) {
        let what = format!("there are more than {most} pools");
        problems.add(&beyond.span, Kind::OutOfRange, what, "use fewer: a pool can be as large as a network");
    }
    let count = sections.len();
    let drafts: Vec<Draft> = sections.into_iter().filter_map(|s| pool(problems, s)).collect();
    no_duplicates(
        problems,
        drafts.iter().map(|draft| &draft.name),
        |name| format!("there is another [[ipsec.pool]] named {name:?}"),
        "give each pool its own name",
    );
    for (index, draft) in drafts.iter().enumerate() {
        let earlier = drafts.iter().take(index).find(|other| overlap(&other.network.value, &draft.network.value));
        if let Some(other) = earlier {
            let (network, name) = (draft.network.value, &other.name.value);
            let what = format!("[[ipsec.pool]] `network`: {network} overlaps {} of {name:?}", other.network.value);
            let fix = "give each pool a network of its own: two peers would get one address";
            problems.add(&draft.network.span, Kind::Contradiction, what, fix);
        }
    }
    (drafts.len() == count).then_some(drafts)
}

/// Notes each pool that a port's hosts or the ports themselves have addresses of.
pub(super) fn beside_ports(problems: &mut Problems<'_>, drafts: &[Draft], ports: &[port::Draft]) {
    for At { value: pool, span } in drafts.iter().map(|draft| &draft.network) {
        let mut addresses = ports.iter().flat_map(|port| port.addresses().map(move |at| (port, at)));
        if let Some((port, at)) = addresses.find(|(_, at)| pool.contains(&at.value.addr())) {
            let (address, name) = (at.value.addr(), &port.name.value);
            let what = format!("[[ipsec.pool]] `network`: {pool} has {address} in it, an address of [[port]] {name:?}");
            problems.add(span, Kind::Contradiction, what, "choose a network that nothing else is on");
            continue;
        }
        let mut networks = ports.iter().flat_map(|port| port.networks().into_iter().map(move |at| (port, at.value)));
        if let Some((port, network)) = networks.find(|(_, network)| overlap(network, pool)) {
            let name = &port.name.value;
            let what = format!("[[ipsec.pool]] `network`: {pool} overlaps {network} of [[port]] {name:?}");
            let fix = "choose another: hosts there look for these addresses on their own link, not here";
            problems.warn(span, what, fix);
        }
    }
}

/// Notes each pool that has no share for this member.
pub(super) fn for_member(problems: &mut Problems<'_>, drafts: &[Draft], member: &Member) {
    for Draft { name: At { value: name, .. }, shares: At { value: shares, span }, .. } in drafts {
        if member.id.get() > *shares {
            let what =
                format!("[[ipsec.pool]] {name:?} has {shares} shares, and none of them for member {}", member.id);
            let fix = format!("set shares = {} or more, in all members' files", member.id);
            problems.add(span, Kind::Contradiction, what, fix);
        }
    }
}

fn pool(problems: &mut Problems<'_>, mut s: Section<'_, '_>) -> Option<Draft> {
    let name = s.required(problems, "name", "\"roadwarriors\"", |r| r.name());
    let network = s.required(problems, "network", "\"10.99.0.0/16\"", addresses);
    let shares = s.or(problems, "shares", defaults::POOL_SHARES, |r| r.number(1..=defaults::MEMBER_ID_MAX));
    let section = s.span.clone();
    s.finish(problems);
    let (network, shares) = (network?, shares?);
    let host_bits = u32::from(network.value.max_prefix_len() - network.value.prefix_len());
    let fewest = u128::from(shares.value);
    if 1_u128.checked_shl(host_bits).is_some_and(|count| count < fewest) {
        let what = format!("[[ipsec.pool]] `network`: {} has fewer addresses than {fewest} shares", network.value);
        problems.add(&network.span, Kind::Contradiction, what, "give a larger network, or fewer shares");
    }
    Some(Draft { section, name: name?, network, shares })
}

fn addresses(r: &mut Reading<'_, '_, '_>) -> Option<IpNet> {
    let network = network(r)?;
    match unfit(network.addr()) {
        Some(why) => r.refuse(format!("{} {why}", network.addr()), "give a network that hosts can have addresses of"),
        None => Some(network),
    }
}
