//! Which addresses are this cluster's: a question asked of every packet, so a filter of 4096 bits answers "none"
//! for nearly all of them; only the rest is looked up.

use std::net::IpAddr;

use crate::parse::{Family, Summary, address_number};
use crate::port::{Interface, PortIndex, PortSpec};

/// Whose an address is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// This member's alone.
    Unit,
    /// The cluster's: all members share it.
    Cluster,
    /// Everyone's on that network: its broadcast address (or, of old, its first address).
    Everyone,
}

/// One of our addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    family: Family,
    number: u128,
    /// Whose it is.
    pub owner: Owner,
    /// The port whose network it is on.
    pub port: PortIndex,
}

/// All addresses of all ports.
#[derive(Clone, Debug)]
pub struct Addresses {
    marks: Box<[u8; MARKS]>,
    all: Vec<Address>,
    /// The IPv4 addresses once more, for packets whose addresses are ours as a rule: those of tunnels.
    v4: Vec<(u32, Owner)>,
    ports: Vec<PortSpec>,
}

/// 2 KiB, one byte each: with a few dozen addresses, one packet in a hundred is looked up in vain.
const MARKS: usize = 2048;

/// Where an IPv4 address, or an IPv6 address folded to 32 bits, has its mark.
#[inline(always)]
pub(super) fn filter_place(folded: u32) -> u32 {
    folded.wrapping_mul(0x9e37_79b1) >> 21
}

#[inline]
fn fold(number: u128) -> u32 {
    number as u32 ^ (number >> 32) as u32 ^ (number >> 64) as u32 ^ (number >> 96) as u32
}

impl Addresses {
    /// The addresses of these ports; a port's index is its place.
    pub fn new(ports: &[PortSpec]) -> Self {
        let mut addresses =
            Self { marks: Box::new([0; MARKS]), all: Vec::new(), v4: Vec::new(), ports: ports.to_vec() };
        for (port, spec) in ports.iter().enumerate() {
            let port = port as PortIndex;
            spec.cluster_addresses.iter().for_each(|i| addresses.add(i, Owner::Cluster, port));
            spec.unit_addresses.iter().for_each(|i| addresses.add(i, Owner::Unit, port));
        }
        addresses
    }

    fn add(&mut self, interface: &Interface, owner: Owner, port: PortIndex) {
        let (family, number) = address_number(interface.address);
        self.insert(Address { family, number, owner, port });
        // A network of four addresses or more has a broadcast address and an all-zeroes address (RFC 1812 5.3.5).
        if family == Family::V4 && interface.prefix_len <= 30 {
            let network = interface.network();
            let broadcast = network | (u128::from(u32::MAX) >> interface.prefix_len.min(32));
            for number in [network, broadcast] {
                self.insert(Address { family, number, owner: Owner::Everyone, port });
            }
        }
    }

    fn insert(&mut self, address: Address) {
        self.marks[filter_place(fold(address.number)) as usize % MARKS] = 1;
        if !self.all.iter().any(|a| a.family == address.family && a.number == address.number) {
            self.all.push(address);
            if address.family == Family::V4 {
                self.v4.push((address.number as u32, address.owner));
            }
        }
    }

    /// Whether an address might be one of ours; "no" is certain.
    #[inline]
    pub fn may_be_ours(&self, number: u128) -> bool {
        self.filter_at(filter_place(fold(number))) != 0
    }

    /// The mark at a [`filter_place`]: zero if no address of ours has it.
    #[inline(always)]
    pub(super) fn filter_at(&self, place: u32) -> u8 {
        self.marks[place as usize % MARKS]
    }

    /// Our address with this number, if it is one.
    pub fn find(&self, family: Family, number: u128) -> Option<&Address> {
        if !self.may_be_ours(number) {
            return None;
        }
        self.all.iter().find(|a| a.family == family && a.number == number)
    }

    /// Whose an IPv4 address is, if it is one of ours.
    #[inline]
    pub(super) fn owner_v4(&self, number: u32) -> Option<Owner> {
        if self.filter_at(filter_place(number)) == 0 {
            return None;
        }
        self.v4.iter().find(|(ours, _)| *ours == number).map(|(_, owner)| *owner)
    }

    /// Whether one of two IPv4 addresses might be ours; "no" is certain.
    #[inline]
    pub(super) fn are_near(&self, src: u32, dst: u32) -> bool {
        self.filter_at(filter_place(src)) | self.filter_at(filter_place(dst)) != 0
    }

    /// Whether one of two IPv4 addresses is ours. For the few packets that the filter of marks lets through: a burst
    /// with a packet that only looks like ours would have to be taken apart.
    #[cold]
    pub(super) fn have_either(&self, src: u32, dst: u32) -> bool {
        [src, dst].into_iter().any(|number| self.owner_v4(number).is_some())
    }

    /// Whether packets with this source and destination are for the cluster, and come from somebody else. Mostly all are to one address.
    pub(super) fn asking_for_cluster(&self) -> impl FnMut(u32, u32) -> bool {
        let mut last = (0, false);
        move |source, destination| {
            if last.0 != destination {
                last = (destination, self.owner_v4(destination) == Some(Owner::Cluster));
            }
            last.1 && self.owner_v4(source).is_none()
        }
    }

    /// Our address that a packet is for.
    pub fn destination_of(&self, summary: &Summary) -> Option<&Address> {
        self.find(summary.family, summary.dst)
    }

    /// This port's description.
    pub fn port(&self, port: PortIndex) -> Option<&PortSpec> {
        self.ports.get(usize::from(port))
    }

    /// Our own address from which a neighbour on this port's link is asked: one of its network, else any.
    pub fn asking(&self, port: PortIndex, target: IpAddr) -> Option<IpAddr> {
        let unit = &self.port(port)?.unit_addresses;
        let same = unit.iter().filter(|i| i.address.is_ipv4() == target.is_ipv4());
        let on_link = same.clone().find(|i| i.contains(target));
        on_link.or_else(|| same.clone().next()).map(|i| i.address)
    }

    /// The address from which errors are reported to hosts on this port's side: the one that they know as their router.
    pub fn reporting(&self, port: PortIndex, family: Family) -> Option<IpAddr> {
        let spec = self.port(port)?;
        let mut all = spec.cluster_addresses.iter().chain(&spec.unit_addresses);
        all.find(|i| i.address.is_ipv4() == (family == Family::V4)).map(|i| i.address)
    }

    /// Whether an address is on this port's own network.
    pub fn on_link(&self, port: PortIndex, address: IpAddr) -> bool {
        let link_local = matches!(address, IpAddr::V6(a) if a.is_unicast_link_local());
        let Some(spec) = self.port(port) else { return false };
        link_local || spec.unit_addresses.iter().chain(&spec.cluster_addresses).any(|i| i.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Role;

    pub(crate) fn interface(text: &str, prefix_len: u8) -> Interface {
        Interface { address: text.parse().expect("an address"), prefix_len }
    }

    #[test]
    fn finds_addresses_and_broadcasts_and_nothing_else() {
        let port = PortSpec {
            name: "outside0".into(),
            device: "net_null0".into(),
            role: Role::Outside,
            vlan: None,
            mtu: 1500,
            queues: 1,
            cluster_addresses: vec![interface("10.2.0.10", 24), interface("fd00:2::10", 64)],
            unit_addresses: vec![interface("10.2.0.1", 24), interface("fd00:2::1", 64)],
        };
        let addresses = Addresses::new(&[port]);
        let owner = |text: &str| {
            let (family, number) = address_number(text.parse().expect("an address"));
            addresses.find(family, number).map(|a| a.owner)
        };
        assert_eq!(owner("10.2.0.10"), Some(Owner::Cluster));
        assert_eq!(owner("10.2.0.1"), Some(Owner::Unit));
        assert_eq!(owner("10.2.0.255"), Some(Owner::Everyone));
        assert_eq!(owner("10.2.0.0"), Some(Owner::Everyone));
        assert_eq!(owner("fd00:2::1"), Some(Owner::Unit));
        assert_eq!(owner("10.2.0.2"), None);
        let asking = |text: &str| addresses.asking(0, text.parse().expect("an address"));
        assert_eq!(asking("10.2.0.99"), "10.2.0.1".parse().ok());
        assert_eq!(asking("fd00:2::99"), "fd00:2::1".parse().ok());
        assert_eq!(addresses.reporting(0, Family::V4), "10.2.0.10".parse().ok());
        assert!(addresses.on_link(0, "10.2.0.77".parse().expect("an address")));
        assert!(!addresses.on_link(0, "10.3.0.77".parse().expect("an address")));
    }
}
