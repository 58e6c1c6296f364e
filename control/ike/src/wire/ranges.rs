//! Selectors as sets of traffic: what is in one, what two share, which networks one is made of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Selector;
use super::limits::NETWORKS_MAX;

impl Selector {
    /// All ports, and packets that show none.
    pub const ANY_PORTS: (u16, u16) = (0, u16::MAX);
    /// Packets that show no port: fragments other than the first.
    pub const OPAQUE_PORTS: (u16, u16) = (u16::MAX, 0);

    /// All traffic of the network that the address is in.
    pub fn of_network(address: IpAddr, prefix_len: u8) -> Self {
        let family = Family::of(address);
        let hosts = hosts_mask(family.bits().saturating_sub(prefix_len.into()));
        let low = family.number(address) & !hosts;
        let addresses = (family.address(low), family.address(low | hosts));
        Self { protocol: 0, ports: Self::ANY_PORTS, addresses }
    }

    /// All of the other's traffic is in this one.
    pub fn contains(&self, other: &Self) -> bool {
        self.intersection(other).as_ref() == Some(other)
    }

    /// The traffic that is in both; `None`: there is none.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let protocol = match (self.protocol, other.protocol) {
            (0, only) | (only, 0) => only,
            (one, another) => (one == another).then_some(one)?,
        };
        let (family, low, high) = self.range()?;
        let (other_family, other_low, other_high) = other.range()?;
        let (low, high) = shared((low, high), (other_low, other_high))?;
        let addresses = (family == other_family).then(|| (family.address(low), family.address(high)))?;
        Some(Self { protocol, ports: shared_ports(self.ports, other.ports)?, addresses })
    }

    /// The networks, as address and prefix length, that make exactly its range; `None`: they would be too many
    /// ([`NETWORKS_MAX`]), or it is no range.
    pub fn networks(&self) -> Option<Vec<(IpAddr, u8)>> {
        let (family, mut low, high) = self.range()?;
        let mut networks = Vec::new();
        while networks.len() < NETWORKS_MAX {
            // The largest network that begins here and does not reach beyond the end.
            let aligned = low.trailing_zeros().min(family.bits());
            let fitting = (high - low).checked_add(1).map_or(u128::BITS, u128::ilog2);
            let host_bits = aligned.min(fitting);
            networks.push((family.address(low), u8::try_from(family.bits() - host_bits).ok()?));
            let last = low | hosts_mask(host_bits);
            if last == high {
                return Some(networks);
            }
            low = last + 1;
        }
        None
    }

    /// Its addresses as numbers, if they are a range.
    fn range(&self) -> Option<(Family, u128, u128)> {
        let family = Family::of(self.addresses.0);
        let (low, high) = (family.number(self.addresses.0), family.number(self.addresses.1));
        (family == Family::of(self.addresses.1) && low <= high).then_some((family, low, high))
    }
}

fn shared<N: Ord>(one: (N, N), other: (N, N)) -> Option<(N, N)> {
    let (low, high) = (one.0.max(other.0), one.1.min(other.1));
    (low <= high).then_some((low, high))
}

fn shared_ports(one: (u16, u16), other: (u16, u16)) -> Option<(u16, u16)> {
    match (one, other) {
        (Selector::ANY_PORTS, ports) | (ports, Selector::ANY_PORTS) => Some(ports),
        (Selector::OPAQUE_PORTS, Selector::OPAQUE_PORTS) => Some(one),
        _ => shared(one, other),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    const fn bits(self) -> u32 {
        match self {
            Self::V4 => u32::BITS,
            Self::V6 => u128::BITS,
        }
    }

    const fn number(self, address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => address.to_bits() as u128,
            IpAddr::V6(address) => address.to_bits(),
        }
    }

    const fn address(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
            Self::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
        }
    }
}

/// So many low bits.
const fn hosts_mask(bits: u32) -> u128 {
    match 1u128.checked_shl(bits) {
        Some(above) => above - 1,
        None => u128::MAX,
    }
}
