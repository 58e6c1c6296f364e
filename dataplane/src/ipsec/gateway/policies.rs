//! Which packets between hosts belong into a tunnel: RFC 4301's policy database, as far as it says "protect".
//!
//! Every worker of every member asks it of every packet that is merely forwarded, for the packet's unit is the tunnel's: so the
//! answer costs one look-up for each length that the remote networks have, the longest first, however many tunnels there
//! are. What no tunnel claims is routed in clear.
//!
//! It is asked the other way round, too: a packet in clear that its tunnel should have brought is nobody's (RFC 4301
//! section 5.2).

use std::net::IpAddr;

use super::mix::Table;
use crate::parse::{Family, Summary, address_number};
use crate::unit::Unit;

/// A network: addresses of which so many leading bits are the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network {
    family: Family,
    bits: u128,
    len: u8,
}

/// A tunnel's traffic: from any of the local networks to any of the remote ones, and back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selectors {
    /// On our side.
    pub local: Vec<Network>,
    /// On the peer's.
    pub remote: Vec<Network>,
}

/// What becomes of a packet between hosts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Passing {
    /// It is routed as it is.
    Clear,
    /// It goes into this tunnel, whose unit this is.
    Into(usize, Unit),
    /// It came without the tunnel that should have brought it.
    Bare,
}

/// All tunnels' selectors.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policies {
    v4: Vec<Level>,
    v6: Vec<Level>,
}

/// The remote networks of one length.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Level {
    len: u8,
    networks: Table<u128, Vec<Policy>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Policy {
    local: Network,
    tunnel: usize,
    unit: Unit,
}

impl Network {
    /// The network that an address is in; bits beyond `len` do not count, and `len` beyond the address's is all of it.
    pub fn new(address: IpAddr, len: u8) -> Self {
        let (family, number) = address_number(address);
        let len = len.min(width(family));
        Self { family, bits: number & mask(family, len), len }
    }

    /// Whether an address is in it.
    #[inline]
    pub fn contains(&self, family: Family, address: u128) -> bool {
        family == self.family && address & mask(family, self.len) == self.bits
    }
}

const fn width(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

/// The leading bits of an address, as it stands in a number.
#[inline]
fn mask(family: Family, len: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(width(family)));
    all & !all.checked_shr(u32::from(len)).unwrap_or(0)
}

impl Selectors {
    /// Whether they allow a packet that came out of the tunnel.
    pub fn allow(&self, family: Family, source: u128, destination: u128) -> bool {
        self.remote.iter().any(|network| network.contains(family, source))
            && self.local.iter().any(|network| network.contains(family, destination))
    }
}

impl Policies {
    /// The policies of tunnels, each with its unit, in the order of their numbers. Of two that want the same packet the one with
    /// the longer networks gets it, the remote one first; of equals the first.
    pub fn new<'s>(tunnels: impl Iterator<Item = (&'s Selectors, Unit)>) -> Self {
        let mut all = Self::default();
        for (tunnel, (selectors, unit)) in tunnels.enumerate() {
            for remote in &selectors.remote {
                let locals = selectors.local.iter().filter(|local| local.family == remote.family);
                locals.for_each(|local| all.add(*remote, Policy { local: *local, tunnel, unit }));
            }
        }
        all
    }

    fn add(&mut self, remote: Network, policy: Policy) {
        let levels = match remote.family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        let at = levels.partition_point(|level| level.len > remote.len);
        if levels.get(at).is_none_or(|level| level.len != remote.len) {
            levels.insert(at, Level { len: remote.len, networks: Table::default() });
        }
        let policies = levels[at].networks.entry(remote.bits).or_default();
        let at = policies.partition_point(|known| known.local.len >= policy.local.len);
        policies.insert(at, policy);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// What becomes of a packet between hosts.
    #[inline]
    pub fn judge(&self, summary: &Summary) -> Passing {
        let (family, source, destination) = (summary.family, summary.src, summary.dst);
        match self.find(family, destination, source) {
            Some(policy) => Passing::Into(policy.tunnel, policy.unit),
            None if self.find(family, source, destination).is_some() => Passing::Bare,
            None => Passing::Clear,
        }
    }

    /// Whether a packet from one address to another belongs into a tunnel.
    pub fn protect(&self, family: Family, source: u128, destination: u128) -> bool {
        self.find(family, destination, source).is_some()
    }

    #[inline]
    fn find(&self, family: Family, remote: u128, local: u128) -> Option<&Policy> {
        let levels = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        levels.iter().find_map(|level| {
            let policies = level.networks.get(&(remote & mask(family, level.len)))?;
            policies.iter().find(|policy| policy.local.contains(family, local))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network(text: &str) -> Network {
        let (address, len) = text.split_once('/').unwrap();
        Network::new(address.parse().unwrap(), len.parse().unwrap())
    }

    fn selectors(local: &[&str], remote: &[&str]) -> Selectors {
        let networks = |texts: &[&str]| texts.iter().map(|text| network(text)).collect();
        Selectors { local: networks(local), remote: networks(remote) }
    }

    fn packet(source: &str, destination: &str) -> Summary {
        Summary::of_addresses(source.parse().unwrap(), destination.parse().unwrap(), 17)
    }

    fn unit(number: u32) -> Unit {
        Unit::from_low_bits(number)
    }

    #[test]
    fn the_longest_networks_win_and_the_way_back_must_not_be_bare() {
        let tunnels = [
            selectors(&["10.3.0.0/16"], &["0.0.0.0/0"]),
            selectors(&["10.3.0.0/16", "10.4.0.0/16"], &["10.9.0.0/16"]),
            selectors(&["10.3.7.0/24"], &["10.9.0.0/16", "2001:db8::/32"]),
            selectors(&["::/0"], &["2001:db8:5::/48"]),
        ];
        let policies = Policies::new(tunnels.iter().zip([1, 2, 3, 4].map(unit)));
        for (source, destination, expected) in [
            ("10.3.0.1", "10.9.0.1", Passing::Into(1, unit(2))),
            ("10.3.7.1", "10.9.0.1", Passing::Into(2, unit(3))),
            ("10.3.7.1", "10.8.0.1", Passing::Into(0, unit(1))),
            ("10.4.0.1", "10.9.255.255", Passing::Into(1, unit(2))),
            ("10.4.0.1", "10.8.0.1", Passing::Clear),
            ("10.9.0.1", "10.4.0.1", Passing::Bare),
            ("10.8.0.1", "10.3.0.1", Passing::Bare),
            ("2001:db9::1", "2001:db8:5::1", Passing::Into(3, unit(4))),
            ("2001:db8:5::1", "fd00::1", Passing::Bare),
            // Tunnel 2 has an IPv6 network on one side only.
            ("2001:db9::1", "2001:db8:6::1", Passing::Clear),
        ] {
            assert_eq!(policies.judge(&packet(source, destination)), expected, "{source} -> {destination}");
        }
        assert!(Policies::default().is_empty() && !policies.is_empty());
        assert_eq!(Policies::default().judge(&packet("10.3.0.1", "10.9.0.1")), Passing::Clear);
    }

    #[test]
    fn what_comes_out_is_what_may_come_out() {
        let selectors = selectors(&["10.3.0.0/16"], &["10.9.0.0/24", "10.9.2.0/24"]);
        for (source, destination, allowed) in [
            ("10.9.0.1", "10.3.0.1", true),
            ("10.9.2.1", "10.3.255.1", true),
            ("10.9.1.1", "10.3.0.1", false),
            ("10.9.0.1", "10.4.0.1", false),
            ("10.3.0.1", "10.9.0.1", false),
            ("::a09:1", "::a03:1", false),
        ] {
            let inner = packet(source, destination);
            assert_eq!(selectors.allow(inner.family, inner.src, inner.dst), allowed, "{source} -> {destination}");
        }
    }

    proptest! {
        /// The look-ups find what trying all tunnels finds.
        #[test]
        fn it_is_what_a_list_would_say(
            tunnels in prop::collection::vec((0_u32..8, 24_u8..=32, 0_u32..8, 24_u8..=32), 1..12),
            source in 0_u32..8, destination in 0_u32..8,
        ) {
            let address = |low: u32| IpAddr::from((0x0a00_0000 + low * 37).to_be_bytes());
            let all: Vec<Selectors> = tunnels.iter().map(|(local, local_len, remote, remote_len)| Selectors {
                local: vec![Network::new(address(*local), *local_len)],
                remote: vec![Network::new(address(*remote), *remote_len)],
            }).collect();
            let policies = Policies::new(all.iter().map(|selectors| (selectors, unit(5))));
            let inner = Summary::of_addresses(address(source), address(destination), 6);
            let wanting = |selectors: &&Selectors| selectors.allow(inner.family, inner.dst, inner.src);
            let best = all.iter().filter(wanting).map(|it| (it.remote[0].len, it.local[0].len)).max();
            let found = match policies.judge(&inner) {
                Passing::Into(tunnel, _) => Some((all[tunnel].remote[0].len, all[tunnel].local[0].len)),
                Passing::Bare | Passing::Clear => None,
            };
            prop_assert_eq!(found, best);
        }
    }
}
