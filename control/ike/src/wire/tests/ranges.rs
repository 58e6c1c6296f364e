//! Selectors as sets of traffic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::payloads::selector;
use crate::wire::Selector;
use crate::wire::limits::NETWORKS_MAX;

fn range(low: &str, high: &str) -> Selector {
    let addresses = (low.parse().unwrap(), high.parse().unwrap());
    Selector { protocol: 0, ports: Selector::ANY_PORTS, addresses }
}

/// As prefixes are written.
fn networks(low: &str, high: &str) -> Vec<String> {
    let networks = range(low, high).networks().expect("not too many");
    networks.into_iter().map(|(address, len)| format!("{address}/{len}")).collect()
}

/// A protocol, a port if it shows one, an address.
type Packet = (u8, Option<u16>, IpAddr);

fn has(selector: &Selector, (protocol, port, address): Packet) -> bool {
    let ports = match port {
        Some(port) => (selector.ports.0..=selector.ports.1).contains(&port),
        None => [Selector::ANY_PORTS, Selector::OPAQUE_PORTS].contains(&selector.ports),
    };
    let same_family = selector.addresses.0.is_ipv4() == address.is_ipv4();
    let addresses = same_family && (selector.addresses.0..=selector.addresses.1).contains(&address);
    ports && addresses && (selector.protocol == 0 || selector.protocol == protocol)
}

/// Packets at the edges of both, where two sets differ if they do.
fn packets(selectors: [Selector; 2]) -> Vec<Packet> {
    let ends = |it: &Selector| [it.addresses.0, it.addresses.1];
    let addresses =
        selectors.iter().flat_map(ends).flat_map(|end| [Some(end), beside(end, 1), beside(end, -1)]).flatten();
    let ports = selectors.iter().flat_map(|it| [it.ports.0, it.ports.1]);
    let ports = ports.flat_map(|port| [port.wrapping_sub(1), port, port.wrapping_add(1)]).map(Some).chain([None]);
    let ports: Vec<_> = ports.collect();
    let ported = |address| ports.iter().map(move |port| (*port, address));
    let protocols = |(port, address)| [6, 17, 50].map(|protocol| (protocol, port, address));
    addresses.flat_map(ported).flat_map(protocols).collect()
}

fn beside(address: IpAddr, step: i8) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(it) => Ipv4Addr::from_bits(it.to_bits().checked_add_signed(step.into())?).into(),
        IpAddr::V6(it) => Ipv6Addr::from_bits(it.to_bits().checked_add_signed(step.into())?).into(),
    })
}

proptest! {
    #[test]
    fn an_intersection_is_what_both_have(one in selector(), other in selector()) {
        let shared = one.intersection(&other);
        prop_assert_eq!(shared, other.intersection(&one));
        for packet in packets([one, other]) {
            let both = has(&one, packet) && has(&other, packet);
            prop_assert_eq!(shared.is_some_and(|it| has(&it, packet)), both, "{:?}", packet);
        }
        if let Some(shared) = shared {
            prop_assert!(one.contains(&shared) && other.contains(&shared));
        }
    }

    #[test]
    fn what_contains_another_has_all_of_it(one in selector(), other in selector()) {
        prop_assert!(one.contains(&one));
        let lacking = packets([one, other]).into_iter().find(|packet| has(&other, *packet) && !has(&one, *packet));
        prop_assert_eq!(one.contains(&other), lacking.is_none(), "{:?}", lacking);
    }

    #[test]
    fn networks_make_the_range(selector in selector()) {
        let networks = selector.networks().expect("62 at most");
        let mut next = Some(selector.addresses.0);
        let mut last = None;
        for (address, prefix_len) in networks {
            let network = Selector::of_network(address, prefix_len);
            prop_assert_eq!(Some(network.addresses.0), next, "each begins where the one before it ended");
            last = Some(network.addresses.1);
            next = beside(network.addresses.1, 1);
        }
        prop_assert_eq!(last, Some(selector.addresses.1));
    }

    #[test]
    fn a_network_is_itself(bits: u32, prefix_len in 0u8..=32) {
        let network = Selector::of_network(Ipv4Addr::from_bits(bits).into(), prefix_len);
        let address = Ipv4Addr::from_bits(bits & u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0));
        prop_assert_eq!(network.networks(), Some(vec![(address.into(), prefix_len)]));
    }
}

#[test]
fn networks_of_known_ranges() {
    assert_eq!(networks("10.1.0.0", "10.1.255.255"), ["10.1.0.0/16"]);
    assert_eq!(networks("192.0.2.7", "192.0.2.7"), ["192.0.2.7/32"]);
    assert_eq!(networks("0.0.0.0", "255.255.255.255"), ["0.0.0.0/0"]);
    assert_eq!(networks("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
    assert_eq!(networks("192.0.2.1", "192.0.2.6"), ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/31", "192.0.2.6/32"]);
    assert_eq!(networks("10.0.0.0", "10.0.2.255"), ["10.0.0.0/23", "10.0.2.0/24"]);
    assert_eq!(networks("2001:db8::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff"), ["2001:db8::/47"]);
    assert_eq!(networks("0.0.0.1", "255.255.255.254").len(), 62, "the most that IPv4 can need");
}

#[test]
fn too_many_networks_are_none() {
    // From ::1 to 2^63 - 1 and to 2^64: one network for each bit, and one more.
    assert_eq!(range("::1", "::7fff:ffff:ffff:ffff").networks().map(|it| it.len()), Some(63));
    assert_eq!(range("::1", "::ffff:ffff:ffff:ffff").networks().map(|it| it.len()), Some(NETWORKS_MAX));
    assert_eq!(range("::1", "0:0:0:1::").networks(), None);
    assert_eq!(range("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe").networks(), None);
}

#[test]
fn what_is_no_range_holds_nothing() {
    for bad in [range("10.0.0.2", "10.0.0.1"), range("10.0.0.2", "2001:db8::")] {
        assert_eq!(bad.networks(), None);
        assert!(!bad.contains(&bad) && !range("0.0.0.0", "255.255.255.255").contains(&bad));
    }
}

#[test]
fn a_prefix_that_is_too_long_is_a_host() {
    assert_eq!(Selector::of_network("10.0.0.1".parse().unwrap(), 200), range("10.0.0.1", "10.0.0.1"));
    assert_eq!(Selector::of_network("::1".parse().unwrap(), 129), range("::1", "::1"));
    assert_eq!(Selector::of_network("2001:db8::1".parse().unwrap(), 0), Selector::of_network("::".parse().unwrap(), 0));
}
