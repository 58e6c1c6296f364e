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
    assert!(policies.protect(&there) && !policies.protect(&back));
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
        assert_eq!(selectors.allow(&inner), allowed, "{source} -> {destination}");
    }
}

fn with_ports(source: &str, destination: &str, protocol: u8, ports: (u16, u16)) -> Summary {
    let mut packet = Summary::of_addresses(source.parse().unwrap(), destination.parse().unwrap(), protocol);
    (packet.src_port, packet.dst_port) = ports;
    packet.flags |= flag::PORTS;
    packet
}

#[test]
fn ports_and_protocols_are_held_to_both_ways() {
    let web = Limits { protocol: 6, ports: (80, 81) };
    let only = Selectors { local: vec![network("10.3.0.0/16").only(web)], remote: vec![network("10.9.0.0/16")] };
    let whole = selectors(&["10.3.0.0/16"], &["10.9.0.0/16"]);
    let mut policies = Policies::new([(&whole, 1), (&only, 2)].into_iter());
    assert!(!policies.need_only_hosts());
    for (protocol, port, expected) in [(6, 80, 2), (6, 81, 2), (6, 79, 1), (6, 82, 1), (17, 80, 1)] {
        let answer = with_ports("10.3.0.1", "10.9.0.1", protocol, (port, 4000));
        assert_eq!(policies.judge(&answer), Passing::Into(expected), "{protocol}, {port}");
        assert_eq!(only.allow(&answer.turned()), expected == 2);
    }
    policies.remove(2);
    assert!(policies.need_only_hosts());
    policies.insert(&only, 2);
    // A later fragment shows no port; the wrong end has it.
    let bare = packet("10.3.0.1", "10.9.0.1");
    assert_eq!((policies.judge(&bare), only.allow(&bare.turned())), (Passing::Into(1), false));
    assert!(!only.allow(&with_ports("10.9.0.1", "10.3.0.1", 6, (80, 4000))));
    let alone = Policies::new([(&only, 2)].into_iter());
    assert_eq!(alone.judge(&bare), Passing::Clear);
    assert_eq!(alone.judge(&with_ports("10.9.0.1", "10.3.0.1", 6, (4000, 80))), Passing::Bare);
    assert_eq!(alone.judge(&with_ports("10.9.0.1", "10.3.0.1", 6, (4000, 22))), Passing::Clear);
    // Those that show no port, and a protocol that has none.
    let opaque = network("10.3.0.0/16").only(Limits { protocol: 0, ports: (u16::MAX, 0) });
    let opaque = Selectors { local: vec![opaque], ..whole.clone() };
    assert!(opaque.allow(&bare.turned()) && !opaque.allow(&with_ports("10.9.0.1", "10.3.0.1", 6, (1, 2))));
}

#[test]
fn rules_come_before_tunnels_in_their_order() {
    let mut policies = Policies::new([(&selectors(&["10.3.0.0/16"], &["0.0.0.0/0"]), 1)].into_iter());
    let ssh = Selectors {
        local: vec![network("10.3.0.5/32").only(Limits { protocol: 6, ports: (22, 22) })],
        remote: vec![network("10.9.0.0/16")],
    };
    policies.rule(ssh, Rule::Bypass);
    policies.rule(selectors(&["10.3.0.0/24"], &["10.9.0.0/16"]), Rule::Discard);
    let (to, from) = ("10.3.0.5", "10.9.0.1");
    let ssh = with_ports(from, to, 6, (4000, 22));
    let web = with_ports(from, to, 6, (4000, 80));
    assert_eq!((policies.judge(&ssh), policies.judge(&ssh.turned())), (Passing::Clear, Passing::Clear));
    assert_eq!((policies.judge(&web), policies.judge(&web.turned())), (Passing::Guarded, Passing::Guarded));
    assert!(policies.protect(&web.turned()) && !policies.protect(&ssh.turned()));
    assert_eq!(policies.judge(&packet("10.3.1.5", "10.9.0.1")), Passing::Into(1));
    let mut alone = Policies::default();
    alone.rule(selectors(&["10.3.0.0/24"], &["10.9.0.0/16"]), Rule::Discard);
    assert!(!alone.is_empty());
    assert_eq!(alone.judge(&web), Passing::Guarded);
}

#[test]
fn protocols_that_no_packet_has_at_both_ends_make_no_policy() {
    let limited = |text: &str, protocol| network(text).only(Limits { protocol, ..Limits::NONE });
    let remote = vec![limited("10.9.0.0/16", 6), limited("10.8.0.0/16", 17)];
    let policies = Policies::new([(&Selectors { local: vec![limited("10.3.0.0/16", 17)], remote }, 7)].into_iter());
    assert_eq!(policies.judge(&packet("10.3.0.1", "10.9.0.1")), Passing::Clear);
    assert_eq!(policies.judge(&packet("10.3.0.1", "10.8.0.1")), Passing::Into(7), "it is of protocol 17");
}

proptest! {
    #[test]
    fn plain_selectors_allow_what_they_allow_at_length(
        bits: [u32; 2], lens in [0_u8..=32, 0_u8..=32], near in [0_u8..=32, 0_u8..=32], far: [u32; 2], v6: bool,
    ) {
        let network = |at: usize| Network::new(bits[at].to_be_bytes().into(), lens[at]);
        let selectors = Selectors { local: vec![network(0)], remote: vec![network(1)] };
        let plain = selectors.plain().unwrap();
        // Addresses that have some leading bits of the networks'.
        let address = |at: usize| {
            let same = u32::MAX.checked_shl(32 - u32::from(near[at])).unwrap_or(0);
            u128::from(bits[at] & same | far[at] & !same)
        };
        let (source, destination) = (address(1), address(0));
        let family = if v6 { Family::V6 } else { Family::V4 };
        let address = |number: u128| match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
        };
        let packet = Summary::of_addresses(address(source), address(destination), 6);
        prop_assert_eq!(plain.allow(family, source, destination), selectors.allow(&packet));
    }
}

#[test]
fn what_is_not_plain_is_looked_at_at_length() {
    assert!(selectors(&["10.3.0.0/16"], &["10.9.0.0/24"]).plain().is_some());
    assert_eq!(selectors(&["10.3.0.0/16"], &["10.9.0.0/24", "10.9.2.0/24"]).plain(), None);
    assert_eq!(selectors(&["::/0"], &["::/0"]).plain(), None);
    assert_eq!(Selectors::default().plain(), None);
    let web = network("10.3.0.0/16").only(Limits { protocol: 6, ..Limits::NONE });
    assert_eq!(Selectors { local: vec![web], remote: vec![network("10.9.0.0/24")] }.plain(), None);
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
        let wanting = |selectors: &&Selectors| selectors.allow(&inner.turned());
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
