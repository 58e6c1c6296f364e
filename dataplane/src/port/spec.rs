//! What a port is to be: plain values, so that this crate needs to know nothing of configuration files.

use std::net::IpAddr;

/// A port's number: its place in the configuration, the same on all members.
pub type PortIndex = u8;

/// How many data ports a member may have at most: they fit into one mask.
pub const PORTS_MAX: usize = 16;

/// Which side of the gateway a port is on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Towards the internet.
    Outside,
    /// Towards the servers.
    Inside,
}

/// An address with the length of its network's prefix: `10.2.0.1/24`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Interface {
    /// The address, host bits and all.
    pub address: IpAddr,
    /// How many leading bits name the network.
    pub prefix_len: u8,
}

impl Interface {
    /// The network as a number: the address without its host bits, aligned to the low end as `Summary` has addresses.
    pub fn network(&self) -> u128 {
        let (bits, number) = match self.address {
            IpAddr::V4(a) => (32, u128::from(u32::from(a))),
            IpAddr::V6(a) => (128, u128::from(a)),
        };
        let host_bits = bits - u32::from(self.prefix_len).min(bits);
        number.checked_shr(host_bits).unwrap_or(0).checked_shl(host_bits).unwrap_or(0)
    }

    /// Whether `other` is on the same network.
    pub fn contains(&self, other: IpAddr) -> bool {
        let same_family = self.address.is_ipv4() == other.is_ipv4();
        same_family && self.network() == Self { address: other, prefix_len: self.prefix_len }.network()
    }
}

/// One data port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortSpec {
    /// The port's name in logs and metrics.
    pub name: String,
    /// A PCI address, or the name of a DPDK device (the part of the vdev string before the first comma) that the EAL
    /// has been started with.
    pub device: String,
    /// Which side it is on.
    pub role: Role,
    /// The 802.1Q tag of all its frames; none: untagged.
    pub vlan: Option<u16>,
    /// The largest IP packet, without the Ethernet header.
    pub mtu: u16,
    /// Receive queues wanted; the device may have fewer.
    pub queues: u16,
    /// The addresses that all members share.
    pub cluster_addresses: Vec<Interface>,
    /// This member's own addresses.
    pub unit_addresses: Vec<Interface>,
}

/// One static route. Connected networks follow from the ports' addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RouteSpec {
    /// The destinations.
    pub to: Interface,
    /// The next hop; none: the destinations are on the port's own link.
    pub via: Option<IpAddr>,
    /// The port that it leaves by.
    pub port: PortIndex,
}

/// How the LAN brings packets for the cluster addresses to the members (DESIGN section 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Delivery {
    /// The master answers ARP and ND with its own hardware address and passes packets on.
    Forward,
    /// All members listen to this shared unicast address, which nobody ever sources.
    Unicast([u8; 6]),
    /// All members listen to this multicast address.
    Multicast([u8; 6]),
}

impl Delivery {
    /// The hardware address that stands for the cluster addresses, if one does.
    pub const fn shared_mac(self) -> Option<[u8; 6]> {
        match self {
            Self::Forward => None,
            Self::Unicast(mac) | Self::Multicast(mac) => Some(mac),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_end_where_their_prefix_says() {
        let on = |text: &str, len| Interface { address: text.parse().expect("an address"), prefix_len: len };
        let is = |i: Interface, text: &str| i.contains(text.parse().expect("an address"));
        assert!(is(on("10.2.0.1", 24), "10.2.0.255") && !is(on("10.2.0.1", 24), "10.2.1.0"));
        assert!(is(on("10.2.0.1", 0), "1.1.1.1") && !is(on("10.2.0.1", 0), "::1"));
        assert!(is(on("fd00:2::1", 64), "fd00:2::2") && !is(on("fd00:2::1", 64), "fd00:3::2"));
        assert!(is(on("fd00::1", 128), "fd00::1") && !is(on("fd00::1", 128), "fd00::2"));
        assert!(is(on("::1", 0), "fd00::2"));
    }
}
