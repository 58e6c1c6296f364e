//! Where packets go: longest-prefix match over connected and static routes (DPDK's FIB), and a small cache of
//! destinations in front of it.
//!
//! The FIB answers with the number of a [`Hop`]: a port, and the gateway if there is one. The cache goes further: from
//! a destination straight to the twelve bytes that the frame's head becomes. Nothing in it lives longer than one epoch;
//! a new epoch begins when a route, a neighbour or a link changes, and several times a second anyway, so that neighbours
//! in use are asked after in time.

use std::net::IpAddr;

use dpdk::Eal;
use dpdk::fib::{Fib4, Fib6, FibConfig, Layout};

use crate::neighbour::NextHop;
use crate::parse::{Family, address_number};
use crate::port::{Interface, PortIndex, PortSpec, RouteSpec};

/// What the FIB answers when no route matches.
const NO_HOP: u64 = 0;

/// Where a route leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The port to leave by.
    pub port: PortIndex,
    /// The next router; none: the destination itself is on the link.
    pub via: Option<u128>,
}

impl Hop {
    /// The neighbour that a packet to `destination` is sent to.
    #[inline]
    pub fn neighbour(&self, family: Family, destination: u128) -> NextHop {
        NextHop { port: self.port.into(), family, address: self.via.unwrap_or(destination) }
    }
}

/// Why a set of routes was refused; the old set stays.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RouteError {
    /// There is no such port.
    #[error("route {to}: there is no port number {port}")]
    NoSuchPort {
        /// Its destinations.
        to: IpAddr,
        /// The port that it names.
        port: PortIndex,
    },
    /// The next hop is of another IP version than the destinations.
    #[error("route {to}: the next hop must be of the same IP version")]
    MixedFamilies {
        /// Its destinations.
        to: IpAddr,
    },
    /// The FIB refused.
    #[error("route {to}: {error}; raise limits.routes_max if there are many")]
    Fib {
        /// Its destinations.
        to: IpAddr,
        /// What DPDK says.
        error: dpdk::Error,
    },
}

/// One worker's routes.
pub struct Routes {
    fib4: Fib4,
    fib6: Fib6,
    /// By the FIB's answer; place 0 is never used.
    hops: Vec<Hop>,
    connected: Vec<RouteSpec>,
    installed: Vec<Interface>,
    ports: usize,
}

impl Routes {
    /// Connected routes alone. `name` tells the workers' tables apart.
    pub fn new(eal: &Eal, name: &str, routes_max: u32, layout: Layout, ports: &[PortSpec]) -> dpdk::Result<Self> {
        let config = |suffix: &str| FibConfig {
            name: format!("{name}{suffix}"),
            routes_max: routes_max.saturating_add(64),
            layout,
            default_hop: NO_HOP,
            socket: None,
        };
        Ok(Self {
            fib4: Fib4::create(eal, &config("v4"))?,
            fib6: Fib6::create(eal, &config("v6"))?,
            hops: Vec::new(),
            connected: connected(ports),
            installed: Vec::new(),
            ports: ports.len(),
        })
    }

    /// Replaces the static routes. On an error the table is left with what could be installed before it.
    pub fn replace(&mut self, routes: &[RouteSpec]) -> Result<(), RouteError> {
        for route in routes {
            self.check(route)?;
        }
        for prefix in std::mem::take(&mut self.installed) {
            self.remove(&prefix);
        }
        self.hops.truncate(0);
        self.hops.push(Hop { port: 0, via: None });
        let connected = self.connected.clone();
        connected.iter().chain(routes).try_for_each(|route| self.install(route))
    }

    fn check(&self, route: &RouteSpec) -> Result<(), RouteError> {
        let to = route.to.address;
        if usize::from(route.port) >= self.ports {
            return Err(RouteError::NoSuchPort { to, port: route.port });
        }
        match route.via {
            Some(via) if via.is_ipv4() != to.is_ipv4() => Err(RouteError::MixedFamilies { to }),
            _ => Ok(()),
        }
    }

    fn install(&mut self, route: &RouteSpec) -> Result<(), RouteError> {
        let hop = Hop { port: route.port, via: route.via.map(|via| address_number(via).1) };
        let number = match self.hops.iter().skip(1).position(|h| *h == hop) {
            Some(at) => at + 1,
            None => {
                self.hops.push(hop);
                self.hops.len() - 1
            }
        } as u64;
        let (network, depth) = (route.to.network(), route.to.prefix_len);
        let added = match route.to.address {
            IpAddr::V4(_) => self.fib4.add(network as u32, depth, number),
            IpAddr::V6(_) => self.fib6.add(&network.to_be_bytes(), depth, number),
        };
        added.map_err(|error| RouteError::Fib { to: route.to.address, error })?;
        self.installed.push(route.to);
        Ok(())
    }

    fn remove(&mut self, prefix: &Interface) {
        let (network, depth) = (prefix.network(), prefix.prefix_len);
        // A prefix that was listed twice is gone at the second attempt: nothing is wrong.
        let _ = match prefix.address {
            IpAddr::V4(_) => self.fib4.delete(network as u32, depth),
            IpAddr::V6(_) => self.fib6.delete(&network.to_be_bytes(), depth),
        };
    }

    /// The hop towards a destination.
    #[inline]
    pub fn lookup(&self, family: Family, destination: u128) -> Option<Hop> {
        let mut answer = [NO_HOP];
        match family {
            Family::V4 => self.fib4.lookup(&[destination as u32], &mut answer),
            Family::V6 => self.fib6.lookup(&[destination.to_be_bytes()], &mut answer),
        }
        match answer {
            [NO_HOP] => None,
            [number] => self.hops.get(number as usize).copied(),
        }
    }
}

/// The networks that the ports are on.
fn connected(ports: &[PortSpec]) -> Vec<RouteSpec> {
    let mut routes: Vec<RouteSpec> = Vec::new();
    for (port, spec) in ports.iter().enumerate() {
        for to in spec.unit_addresses.iter().chain(&spec.cluster_addresses) {
            let known = routes.iter().any(|r| r.to.prefix_len == to.prefix_len && r.to.contains(to.address));
            if !known {
                routes.push(RouteSpec { to: *to, via: None, port: port as PortIndex });
            }
        }
    }
    routes
}

/// How a frame to some neighbour begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Adjacency {
    /// The neighbour's address, then the port's own.
    pub(super) header: [u8; 12],
    /// The port's MTU.
    pub(super) mtu: u16,
    /// The port to leave by.
    pub(super) port: PortIndex,
}

/// Entries of a set of the cache, side by side.
const WAYS: usize = 8;
/// Entries of the cache: 128 KiB, which a second-level cache holds.
const ENTRIES: usize = 2048 * WAYS;
/// Neighbours that the cache tells apart.
const ADJACENCIES_MAX: usize = 4096;

/// The cache of destinations (IPv4).
pub(super) struct Cache {
    /// Destination, epoch, and the adjacency's number from 1 on, in 32, 16 and 16 bits. One array of plain numbers, its
    /// size known to the compiler: no look-up needs a check of its bounds.
    entries: Box<[u64; ENTRIES]>,
    adjacencies: Vec<Adjacency>,
    mtu: u16,
    epoch: u16,
    /// Whose turn it is to give way in a full set.
    turn: usize,
}

impl Default for Cache {
    fn default() -> Self {
        let adjacencies = Vec::with_capacity(ADJACENCIES_MAX);
        Self { entries: Box::new([0; ENTRIES]), adjacencies, mtu: u16::MAX, epoch: 1, turn: 0 }
    }
}

impl Cache {
    /// A destination's first choice among the entries; the second is the one beside it, the others are in its set.
    #[inline(always)]
    fn place(destination: u32) -> usize {
        (destination.wrapping_mul(0x9e37_79b1) >> 18) as usize % ENTRIES
    }

    #[inline(always)]
    fn key(&self, destination: u32) -> u64 {
        u64::from(destination) << 16 | u64::from(self.epoch)
    }

    /// What is known of destinations in this epoch, for [`Self::adjacency`]: 0 is nothing. Many misses of the processor's
    /// cache overlap. Plain instructions: they are faster than gathering ones.
    #[inline]
    pub(super) fn find<'a>(&self, destinations: impl Iterator<Item = (&'a u32, &'a mut u32)>) {
        for (destination, found) in destinations {
            let key = self.key(*destination) << 16;
            let place = Self::place(*destination);
            // What differs from the key in the lowest 16 bits alone is the entry looked for, and they are the answer.
            let best = (self.entries[place] ^ key).min(self.entries[(place ^ 1) % ENTRIES] ^ key);
            *found = if best >> 16 == 0 { best as u32 } else { self.search(*destination) };
        }
    }

    /// Looks through all of a destination's set.
    #[cold]
    fn search(&self, destination: u32) -> u32 {
        let key = self.key(destination);
        let first = Self::place(destination);
        let mut set = (0..WAYS).map(|n| self.entries[(first ^ n) % ENTRIES]);
        set.find(|entry| entry >> 16 == key).map_or(0, |entry| entry as u32 & 0xffff)
    }

    /// The least MTU of all ports that the cache leads to.
    #[inline(always)]
    pub(super) fn mtu(&self) -> u32 {
        self.mtu.into()
    }

    /// What was found.
    #[inline]
    pub(super) fn adjacency(&self, found: u32) -> Option<&Adjacency> {
        self.adjacencies.get((found as usize).wrapping_sub(1))
    }

    /// What is known of one destination.
    pub(super) fn get(&self, destination: u32) -> Option<&Adjacency> {
        let mut found = 0;
        self.find(std::iter::once((&destination, &mut found)));
        self.adjacency(found)
    }

    /// Notes a destination for the rest of the epoch.
    pub(super) fn put(&mut self, destination: u32, adjacency: Adjacency) {
        let known = self.adjacencies.iter().rposition(|a| *a == adjacency);
        let number = match known {
            Some(number) => number,
            None if self.adjacencies.len() < ADJACENCIES_MAX => {
                self.adjacencies.push(adjacency);
                self.mtu = self.mtu.min(adjacency.mtu);
                self.adjacencies.len() - 1
            }
            None => return,
        };
        let entry = self.key(destination) << 16 | (number + 1) as u64;
        let epoch = self.epoch;
        self.turn = self.turn.wrapping_add(1);
        let first = Self::place(destination);
        let is_free = |place: &usize| (self.entries[*place] >> 16) as u16 != epoch;
        let mut set = (0..WAYS).map(|n| (first ^ n) % ENTRIES);
        let place = set.find(is_free).unwrap_or((first ^ (self.turn % WAYS)) % ENTRIES);
        self.entries[place] = entry;
    }

    /// Begins a new epoch: everything is looked up anew.
    pub(super) fn forget(&mut self) {
        self.adjacencies.clear();
        self.mtu = u16::MAX;
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            // After 2^16 epochs an entry of the first would look fresh.
            self.entries.fill(0);
            self.epoch = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adjacency(port: PortIndex) -> Adjacency {
        Adjacency { header: [port; 12], mtu: 1500, port }
    }

    #[test]
    fn the_cache_forgets_with_each_epoch() {
        let mut cache = Cache::default();
        cache.put(7, adjacency(2));
        assert_eq!(cache.get(7), Some(&adjacency(2)));
        assert_eq!(cache.get(8), None);
        cache.forget();
        assert_eq!(cache.get(7), None);
        cache.epoch = u16::MAX;
        cache.forget();
        assert_eq!((cache.epoch, cache.get(0)), (1, None));
    }

    #[test]
    fn many_destinations_fit_and_none_is_mixed_up() {
        let mut cache = Cache::default();
        let destinations = (0..8192u32).map(|n| 0xc612_0000 + n * 7);
        destinations.clone().for_each(|d| cache.put(d, adjacency((d % 3) as u8)));
        let found = destinations.clone().filter(|d| cache.get(*d).is_some()).count();
        assert!(found > 7500, "{found}");
        assert!(destinations.clone().all(|d| cache.get(d).is_none_or(|a| u32::from(a.port) == d % 3)));
        assert_eq!(cache.adjacencies.len(), 3);
    }
}
