//! Which packets between hosts belong into a tunnel: RFC 4301's policy database.
//!
//! | entry | says | of |
//! | --- | --- | --- |
//! | tunnel | "protect" | configured SAs; IKE's, which come and go |
//! | guard | "discard" what no tunnel claims | networks that IKE is to protect: without a tunnel there, nothing goes in clear |
//! | none | "bypass" | all else |
//!
//! Every worker of every member asks it of every packet that is merely forwarded, for the packet's unit is the tunnel's: so the
//! answer costs one look-up for each length that the remote networks have, the longest first, however many tunnels there
//! are.
//!
//! It is asked the other way round, too: a packet in clear that its tunnel should have brought is nobody's (RFC 4301
//! section 5.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::mix::Table;
use crate::parse::{Family, Summary, address_number};

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
    /// It goes into the tunnel with this inbound SPI, whose low ten bits are the unit.
    Into(u32),
    /// It came without the tunnel that should have brought it.
    Bare,
    /// It must not go in clear, and there is no tunnel.
    Guarded,
}

/// All tunnels' selectors, and the guards'.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policies {
    tunnels: Levels,
    guards: Levels,
    /// By inbound SPI: what each tunnel has.
    selectors: Table<u32, Selectors>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Levels {
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
    spi: u32,
}

impl Network {
    /// The network that an address is in; bits beyond `len` do not count, and `len` beyond the address's is all of it.
    pub fn new(address: IpAddr, len: u8) -> Self {
        let (family, number) = address_number(address);
        let len = len.min(width(family));
        Self { family, bits: number & mask(family, len), len }
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::from_bits(self.bits as u32).into(),
            Family::V6 => Ipv6Addr::from_bits(self.bits).into(),
        }
    }

    /// Whether it is one address.
    pub const fn is_host(&self) -> bool {
        self.len == width(self.family)
    }

    /// How many bits are the same.
    pub const fn prefix_len(&self) -> u8 {
        self.len
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

    /// All pairs of a remote and a local network of one family.
    fn pairs(&self) -> impl Iterator<Item = (Network, Network)> {
        self.remote.iter().flat_map(|remote| {
            let locals = self.local.iter().filter(|local| local.family == remote.family);
            locals.map(|local| (*remote, *local))
        })
    }
}

impl Policies {
    /// The policies of tunnels, each with its inbound SPI. Of equals the first comes first.
    pub fn new<'s>(tunnels: impl Iterator<Item = (&'s Selectors, u32)>) -> Self {
        let mut all = Self::default();
        for (selectors, spi) in tunnels.collect::<Vec<_>>().into_iter().rev() {
            all.insert(selectors, spi);
        }
        all
    }

    /// A tunnel comes. Of two that want the same packet the one with the longer networks gets it, the remote one first; of equals the
    /// newest. False: it is here already.
    pub fn insert(&mut self, selectors: &Selectors, spi: u32) -> bool {
        if self.selectors.contains_key(&spi) {
            return false;
        }
        selectors.pairs().for_each(|(remote, local)| self.tunnels.add(remote, Policy { local, spi }));
        self.selectors.insert(spi, selectors.clone());
        true
    }

    /// A tunnel goes. False: it was not here.
    pub fn remove(&mut self, spi: u32) -> bool {
        let Some(selectors) = self.selectors.remove(&spi) else { return false };
        selectors.pairs().for_each(|(remote, _)| self.tunnels.take_out(remote, spi));
        true
    }

    /// From now on such traffic goes through a tunnel or not at all, either way.
    pub fn guard(&mut self, selectors: &Selectors) {
        selectors.pairs().for_each(|(remote, local)| self.guards.add(remote, Policy { local, spi: 0 }));
    }

    /// Whether all packets are routed as they are.
    pub fn is_empty(&self) -> bool {
        self.tunnels.is_empty() && self.guards.is_empty()
    }

    /// What becomes of a packet between hosts.
    #[inline]
    pub fn judge(&self, summary: &Summary) -> Passing {
        let (family, source, destination) = (summary.family, summary.src, summary.dst);
        match self.tunnels.find(family, destination, source) {
            Some(policy) => Passing::Into(policy.spi),
            None if self.tunnels.find(family, source, destination).is_some() => Passing::Bare,
            None if self.guards.find(family, destination, source).is_some() => Passing::Guarded,
            None if self.guards.find(family, source, destination).is_some() => Passing::Guarded,
            None => Passing::Clear,
        }
    }

    /// What becomes of a packet of our own from one address to another.
    pub fn outward(&self, family: Family, source: u128, destination: u128) -> Passing {
        match self.tunnels.find(family, destination, source) {
            Some(policy) => Passing::Into(policy.spi),
            None if self.guards.find(family, destination, source).is_some() => Passing::Guarded,
            None => Passing::Clear,
        }
    }

    /// Whether a packet from one address to another must not go in clear.
    pub fn protect(&self, family: Family, source: u128, destination: u128) -> bool {
        self.outward(family, source, destination) != Passing::Clear
    }
}

impl Levels {
    const fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    const fn of(&mut self, family: Family) -> &mut Vec<Level> {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    fn add(&mut self, remote: Network, policy: Policy) {
        let levels = self.of(remote.family);
        let at = levels.partition_point(|level| level.len > remote.len);
        if levels.get(at).is_none_or(|level| level.len != remote.len) {
            levels.insert(at, Level { len: remote.len, networks: Table::default() });
        }
        let policies = levels[at].networks.entry(remote.bits).or_default();
        let at = policies.partition_point(|known| known.local.len > policy.local.len);
        policies.insert(at, policy);
    }

    fn take_out(&mut self, remote: Network, spi: u32) {
        let levels = self.of(remote.family);
        let Some(at) = levels.iter().position(|level| level.len == remote.len) else { return };
        let networks = &mut levels[at].networks;
        if let Some(policies) = networks.get_mut(&remote.bits) {
            policies.retain(|policy| policy.spi != spi);
            if policies.is_empty() {
                networks.remove(&remote.bits);
            }
        }
        if networks.is_empty() {
            levels.remove(at);
        }
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

    #[test]
    fn the_longest_networks_win_and_the_way_back_must_not_be_bare() {
        let tunnels = [
            selectors(&["10.3.0.0/16"], &["0.0.0.0/0"]),
            selectors(&["10.3.0.0/16", "10.4.0.0/16"], &["10.9.0.0/16"]),
            selectors(&["10.3.7.0/24"], &["10.9.0.0/16", "2001:db8::/32"]),
            selectors(&["::/0"], &["2001:db8:5::/48"]),
        ];
        let policies = Policies::new(tunnels.iter().zip([1, 2, 3, 4]));
        for (source, destination, expected) in [
            ("10.3.0.1", "10.9.0.1", Passing::Into(2)),
            ("10.3.7.1", "10.9.0.1", Passing::Into(3)),
            ("10.3.7.1", "10.8.0.1", Passing::Into(1)),
            ("10.4.0.1", "10.9.255.255", Passing::Into(2)),
            ("10.4.0.1", "10.8.0.1", Passing::Clear),
            ("10.9.0.1", "10.4.0.1", Passing::Bare),
            ("10.8.0.1", "10.3.0.1", Passing::Bare),
            ("2001:db9::1", "2001:db8:5::1", Passing::Into(4)),
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
    fn the_newest_of_equals_is_asked_and_the_older_one_is_still_there() {
        let it = selectors(&["10.3.0.0/16"], &["10.9.0.0/16"]);
        let mut policies = Policies::new([(&it, 1), (&it, 2)].into_iter());
        let judged = |policies: &Policies| policies.judge(&packet("10.3.0.1", "10.9.0.1"));
        assert_eq!(judged(&policies), Passing::Into(1), "of those that were there from the beginning the first");
        policies.insert(&it, 3);
        assert_eq!(judged(&policies), Passing::Into(3));
        policies.remove(3);
        policies.remove(1);
        assert_eq!(judged(&policies), Passing::Into(2));
    }

    #[test]
    fn what_is_guarded_goes_through_a_tunnel_or_not_at_all() {
        let mut policies = Policies::default();
        policies.guard(&selectors(&["10.3.0.0/16"], &["10.9.0.0/16", "2001:db8::/32"]));
        assert!(!policies.is_empty());
        let (there, back) = (packet("10.3.0.1", "10.9.0.1"), packet("10.9.0.1", "10.3.0.1"));
        assert_eq!((policies.judge(&there), policies.judge(&back)), (Passing::Guarded, Passing::Guarded));
        assert_eq!(policies.judge(&packet("10.4.0.1", "10.9.0.1")), Passing::Clear);
        assert!(policies.protect(there.family, there.src, there.dst));
        assert!(!policies.protect(back.family, back.src, back.dst));
        // A tunnel may have the shorter networks: it comes first all the same.
        policies.insert(&selectors(&["0.0.0.0/0"], &["10.0.0.0/8"]), 5);
        assert_eq!(policies.judge(&there), Passing::Into(5));
        policies.remove(5);
        assert_eq!(policies.judge(&there), Passing::Guarded);
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
            let policies = Policies::new(all.iter().zip(0..));
            let inner = Summary::of_addresses(address(source), address(destination), 6);
            let wanting = |selectors: &&Selectors| selectors.allow(inner.family, inner.dst, inner.src);
            let best = all.iter().filter(wanting).map(|it| (it.remote[0].len, it.local[0].len)).max();
            let found = match policies.judge(&inner) {
                Passing::Into(tunnel) => Some((all[tunnel as usize].remote[0].len, all[tunnel as usize].local[0].len)),
                Passing::Bare | Passing::Clear | Passing::Guarded => None,
            };
            prop_assert_eq!(found, best);
            // What comes and goes leaves no trace.
            let mut changing = policies.clone();
            for (selectors, spi) in all.iter().zip(100..) {
                assert!(changing.insert(selectors, spi) && !changing.insert(selectors, spi));
            }
            (100..100 + all.len() as u32).for_each(|spi| assert!(changing.remove(spi) && !changing.remove(spi)));
            prop_assert_eq!(&changing, &policies);
            (0..all.len() as u32).for_each(|spi| assert!(changing.remove(spi)));
            prop_assert!(changing.is_empty());
        }
    }
}
