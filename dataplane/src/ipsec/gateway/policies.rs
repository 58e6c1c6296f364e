//! Which packets between hosts belong into a tunnel: RFC 4301's policy database.
//!
//! | entry | says | of |
//! | --- | --- | --- |
//! | tunnel | "protect" | configured SAs; IKE's, which come and go |
//! | guard | "discard" what no tunnel claims | networks that IKE is to protect: without a tunnel there, nothing goes in clear |
//! | rule | "bypass", "discard" | what the configuration says, before all tunnels, either way; the first that fits |
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
use crate::parse::{Family, Summary, address_number, flag};

/// A network: addresses of which so many leading bits are the same; all of their traffic, or some.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network {
    family: Family,
    bits: u128,
    len: u8,
    limits: Limits,
}

/// Which traffic of an address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// The protocol; 0: any.
    pub protocol: u8,
    /// The first port and the last, of packets that show them.
    pub ports: (u16, u16),
}

/// What becomes of traffic that no tunnel is asked about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rule {
    /// It is routed as it is.
    Bypass,
    /// It is dropped.
    Discard,
}

/// One end of a packet's way.
struct End {
    family: Family,
    address: u128,
    protocol: u8,
    /// None: it shows none, for its protocol has none, or it is a later fragment.
    port: Option<u16>,
}

/// A tunnel's traffic: from any of the local networks to any of the remote ones, and back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selectors {
    /// On our side.
    pub local: Vec<Network>,
    /// On the peer's.
    pub remote: Vec<Network>,
}

/// Selectors that are one IPv4 network on either side, as nearly all are: bits and mask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Plain {
    local: (u32, u32),
    remote: (u32, u32),
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
    rules: Vec<(Selectors, Rule)>,
    tunnels: Levels,
    guards: Levels,
    /// By inbound SPI: what each tunnel has.
    selectors: Table<u32, Selectors>,
    /// How many of all these mean only some of their hosts' traffic.
    limited: usize,
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
    remote: Limits,
    local: Network,
    spi: u32,
}

impl Limits {
    /// All of it.
    pub const NONE: Self = Self { protocol: 0, ports: Self::ANY };
    const ANY: (u16, u16) = (0, u16::MAX);
    /// Packets that show no port (RFC 4301 section 4.4.1.1).
    const OPAQUE: (u16, u16) = (u16::MAX, 0);

    fn allow(self, end: &End) -> bool {
        let (first, last) = self.ports;
        let has_port = match end.port {
            Some(port) => (first..=last).contains(&port),
            None => matches!(self.ports, Self::ANY | Self::OPAQUE),
        };
        (self.protocol == 0 || self.protocol == end.protocol) && has_port
    }

    /// How much they leave out.
    const fn rank(self) -> u8 {
        let (first, last) = self.ports;
        (self.protocol != 0) as u8 + (first != 0 || last != u16::MAX) as u8
    }
}

impl End {
    /// A packet's source and destination.
    fn both(packet: &Summary) -> (Self, Self) {
        let Summary { family, proto: protocol, src, dst, .. } = *packet;
        let port = |port| packet.has(flag::PORTS).then_some(port);
        let end = |address, port| Self { family, address, protocol, port };
        (end(src, port(packet.src_port)), end(dst, port(packet.dst_port)))
    }
}

impl Policy {
    /// Of two that want the same packet the one with more of this gets it.
    const fn rank(&self) -> (u8, u8) {
        (self.local.len, self.local.limits.rank() + self.remote.rank())
    }
}

impl Network {
    /// The network that an address is in; bits beyond `len` do not count, and `len` beyond the address's is all of it.
    pub fn new(address: IpAddr, len: u8) -> Self {
        let (family, number) = address_number(address);
        let len = len.min(width(family));
        Self { family, bits: number & mask(family, len), len, limits: Limits::NONE }
    }

    /// Some of its traffic.
    #[must_use]
    pub const fn only(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Which traffic of it.
    pub const fn limits(&self) -> Limits {
        self.limits
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

    /// Whether a packet may have one end in each of both.
    fn meets(&self, other: &Self) -> bool {
        let (one, another) = (self.limits.protocol, other.limits.protocol);
        self.family == other.family && (one == 0 || another == 0 || one == another)
    }

    /// Whether a packet's end is in it.
    #[inline]
    fn contains(&self, end: &End) -> bool {
        end.family == self.family && end.address & mask(end.family, self.len) == self.bits && self.limits.allow(end)
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
    pub fn allow(&self, packet: &Summary) -> bool {
        let (source, destination) = End::both(packet);
        self.remote.iter().any(|network| network.contains(&source))
            && self.local.iter().any(|network| network.contains(&destination))
    }

    /// The same in few bytes, if they are the plainest.
    pub(super) fn plain(&self) -> Option<Plain> {
        let v4 = |network: &Network| {
            (network.family == Family::V4 && network.limits == Limits::NONE)
                .then(|| (network.bits as u32, mask(Family::V4, network.len) as u32))
        };
        let ([local], [remote]) = (&self.local[..], &self.remote[..]) else { return None };
        Some(Plain { local: v4(local)?, remote: v4(remote)? })
    }

    fn are_limited(&self) -> bool {
        self.local.iter().chain(&self.remote).any(|network| network.limits != Limits::NONE)
    }

    /// All pairs of a remote and a local network between which a packet may go.
    fn pairs(&self) -> impl Iterator<Item = (Network, Network)> {
        self.remote.iter().flat_map(|remote| {
            let locals = self.local.iter().filter(|local| local.meets(remote));
            locals.map(|local| (*remote, *local))
        })
    }
}

impl Plain {
    /// As [`Selectors::allow`].
    #[inline]
    pub(super) fn allow(&self, family: Family, source: u128, destination: u128) -> bool {
        family == Family::V4 && self.allow_v4(source as u32, destination as u32)
    }

    /// The same of IPv4 hosts.
    #[inline]
    pub(super) const fn allow_v4(&self, source: u32, destination: u32) -> bool {
        source & self.remote.1 == self.remote.0 && destination & self.local.1 == self.local.0
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
        selectors.pairs().for_each(|(remote, local)| self.tunnels.add(remote, local, spi));
        self.limited += usize::from(selectors.are_limited());
        self.selectors.insert(spi, selectors.clone());
        true
    }

    /// A tunnel goes. False: it was not here.
    pub fn remove(&mut self, spi: u32) -> bool {
        let Some(selectors) = self.selectors.remove(&spi) else { return false };
        selectors.pairs().for_each(|(remote, _)| self.tunnels.take_out(remote, spi));
        self.limited -= usize::from(selectors.are_limited());
        true
    }

    /// From now on such traffic goes through a tunnel or not at all, either way.
    pub fn guard(&mut self, selectors: &Selectors) {
        selectors.pairs().for_each(|(remote, local)| self.guards.add(remote, local, 0));
        self.limited += usize::from(selectors.are_limited());
    }

    /// From now on this becomes of such traffic, either way, unless a rule before says otherwise. Each is tried for each packet: so they
    /// are few.
    pub fn rule(&mut self, selectors: Selectors, rule: Rule) {
        self.limited += usize::from(selectors.are_limited());
        self.rules.push((selectors, rule));
    }

    /// Whether nothing counts but between whom a packet goes.
    #[inline]
    pub const fn need_only_hosts(&self) -> bool {
        self.limited == 0
    }

    /// Whether all packets are routed as they are.
    pub fn is_empty(&self) -> bool {
        self.tunnels.is_empty() && self.guards.is_empty() && self.rules.is_empty()
    }

    /// What the rules say of a packet, whichever way it goes.
    #[inline]
    fn ruled(&self, summary: &Summary) -> Option<Passing> {
        let fits = |selectors: &Selectors| selectors.allow(summary) || selectors.allow(&summary.turned());
        self.rules.iter().find(|(selectors, _)| fits(selectors)).map(|(_, rule)| match rule {
            Rule::Bypass => Passing::Clear,
            Rule::Discard => Passing::Guarded,
        })
    }

    /// What becomes of a packet between hosts.
    #[inline]
    pub fn judge(&self, summary: &Summary) -> Passing {
        if let Some(ruled) = self.ruled(summary) {
            return ruled;
        }
        let (source, destination) = End::both(summary);
        match self.tunnels.find(&destination, &source) {
            Some(policy) => Passing::Into(policy.spi),
            None if self.tunnels.find(&source, &destination).is_some() => Passing::Bare,
            None if self.guards.find(&destination, &source).is_some() => Passing::Guarded,
            None if self.guards.find(&source, &destination).is_some() => Passing::Guarded,
            None => Passing::Clear,
        }
    }

    /// What becomes of a packet of our own.
    pub fn outward(&self, summary: &Summary) -> Passing {
        if let Some(ruled) = self.ruled(summary) {
            return ruled;
        }
        let (source, destination) = End::both(summary);
        match self.tunnels.find(&destination, &source) {
            Some(policy) => Passing::Into(policy.spi),
            None if self.guards.find(&destination, &source).is_some() => Passing::Guarded,
            None => Passing::Clear,
        }
    }

    /// Whether a packet of our own must not go in clear.
    pub fn protect(&self, summary: &Summary) -> bool {
        self.outward(summary) != Passing::Clear
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

    fn add(&mut self, remote: Network, local: Network, spi: u32) {
        let policy = Policy { remote: remote.limits, local, spi };
        let levels = self.of(remote.family);
        let at = levels.partition_point(|level| level.len > remote.len);
        if levels.get(at).is_none_or(|level| level.len != remote.len) {
            levels.insert(at, Level { len: remote.len, networks: Table::default() });
        }
        let policies = levels[at].networks.entry(remote.bits).or_default();
        let at = policies.partition_point(|known| known.rank() > policy.rank());
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
    fn find(&self, remote: &End, local: &End) -> Option<&Policy> {
        let family = remote.family;
        let levels = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        levels.iter().find_map(|level| {
            let policies = level.networks.get(&(remote.address & mask(family, level.len)))?;
            policies.iter().find(|policy| policy.remote.allow(remote) && policy.local.contains(local))
        })
    }
}

#[cfg(test)]
mod tests;
