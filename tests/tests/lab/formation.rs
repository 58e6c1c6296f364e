//! Members become a cluster, share the units, and carry traffic between hosts, in each delivery mode.

use std::time::Duration;

use phalanx_control::status::MemberRole;
use phalanx_tests::lab::capture::{Capture, mac_of, member_mac};
use phalanx_tests::lab::pcap::mac_text;
use phalanx_tests::lab::{Lab, Plan, clock, failure, stage};

const SHARED: [u8; 6] = [0x02, 0x50, 0x48, 0, 0, 1];
const GROUP: [u8; 6] = [0x03, 0x50, 0x48, 0, 0, 1];
/// Balancing goes in steps of two seconds.
const SHARED_WITHIN: Duration = Duration::from_secs(12);

/// Every member says the same, and has a fair share.
fn shares_are_fair(lab: &Lab) {
    let fair = || {
        let reports = lab.reports()?;
        let own: Vec<u16> = reports.iter().map(|report| report.units.own).collect();
        match own.iter().all(|units| (256..=427).contains(units)) && own.iter().sum::<u16>() == 1024 {
            true => Ok(()),
            false => Err(failure(format!("units are shared {own:?}"))),
        }
    };
    let (_, took) = clock::until(SHARED_WITHIN, Duration::from_millis(50), fair).unwrap();
    println!("{}: units shared fairly after {} ms", lab.plan.mode, took.as_millis());
    let master = lab.healthy().unwrap();
    for report in lab.reports().unwrap() {
        let expected = if report.member.id == master { MemberRole::Master } else { MemberRole::Member };
        assert_eq!(report.role, expected);
        assert_eq!(report.mode, lab.plan.mode);
        assert_eq!(report.members.iter().map(|member| u32::from(member.units)).sum::<u32>(), 1024);
        assert!(report.lease_ms > 0.0, "{} has no lease", report.member.name);
        assert!(report.ports.iter().all(|port| port.up), "{:?}", report.ports);
        assert_eq!(report.ports.len(), 2);
        assert!((report.detection_ms - 125.0).abs() < 51.0, "detection {} ms", report.detection_ms);
    }
}

/// Pings that must all be answered.
fn ping(lab: &Lab, host: &str, from: Option<&str>, to: &str) {
    let mut words = vec!["ping", "-n", "-q", "-c", "10", "-i", "0.02", "-W", "1"];
    words.extend(from.iter().flat_map(|from| ["-I", from]));
    words.push(to);
    let said = lab.run(host, &words).unwrap();
    assert!(said.contains(" 0% packet loss"), "{host} -> {to}: {said}");
    assert!(!said.contains("duplicates"), "{host} -> {to}: {said}");
}

/// Hosts reach one another through the cluster, and the cluster itself, by both families.
fn hosts_are_served(lab: &Lab) {
    for (host, to) in [
        ("client", "10.3.0.100"),
        ("client", "fd00:3::100"),
        ("server", "10.2.0.100"),
        ("server", "fd00:2::100"),
        ("client", "10.2.0.10"),
        ("client", "fd00:2::10"),
        ("server", "10.3.0.10"),
        ("server", "fd00:3::10"),
        ("client", "10.2.0.1"),
        ("client", "10.2.0.3"),
        ("client", "fd00:2::2"),
        ("server", "10.3.0.2"),
        ("server", "fd00:3::3"),
    ] {
        // The first packet may have to wait for an address to be resolved at each of two hops.
        let _ = lab.exec(host, &["ping", "-n", "-q", "-c", "1", "-W", "1", to]);
        ping(lab, host, None, to);
    }
    for n in 100..112 {
        ping(lab, "client", Some(&format!("10.2.0.{n}")), "10.3.0.100");
        ping(lab, "client", Some(&format!("fd00:2::{n}")), "fd00:3::100");
    }
}

/// The hardware address that a host has learned for the cluster's address.
fn learned(lab: &Lab, host: &str, address: &str) -> String {
    let table = lab.run(host, &["ip", "neigh", "show", address]).unwrap();
    let mut words = table.split_whitespace().skip_while(|word| *word != "lladdr");
    words.nth(1).unwrap_or_else(|| panic!("{host} has not resolved {address}: '{table}'")).to_owned()
}

fn forms_and_serves(mode: &'static str) {
    let lab = Lab::up(Plan::new(mode, "none")).unwrap();
    let capture = Capture::start(&lab, "client", "e0", "formation", "").unwrap();
    shares_are_fair(&lab);
    hosts_are_served(&lab);
    let master = lab.healthy().unwrap();
    for (host, side, address) in [
        ("client", "outside", "10.2.0.10"),
        ("client", "outside", "fd00:2::10"),
        ("server", "inside", "10.3.0.10"),
        ("server", "inside", "fd00:3::10"),
    ] {
        let expected = match mode {
            "forward" => member_mac(master, side),
            "unicast" => SHARED,
            _ => GROUP,
        };
        assert_eq!(learned(&lab, host, address), mac_text(expected), "{host}: {address}");
    }
    let unit_mac = mac_text(member_mac(2, "outside"));
    assert_eq!(learned(&lab, "client", "fd00:2::2"), unit_mac);
    traffic_was_shared(&lab);
    let frames = capture.finish().unwrap();
    assert!(frames.len() > 100, "the capture has only {} frames", frames.len());
    let own = mac_of(&lab, "client", "e0").unwrap();
    for frame in frames.iter().filter(|frame| frame.from() != own) {
        assert!(![SHARED, GROUP].contains(&frame.from()), "a frame came from a shared address");
    }
    next_hops_are_asked_for_in_the_members_own_name(&frames);
}

/// ARP requests of members carry their own unit address: a cluster address with a member's MAC would be learned.
fn next_hops_are_asked_for_in_the_members_own_name(frames: &[phalanx_tests::lab::pcap::Frame]) {
    let requests =
        frames.iter().filter(|frame| frame.ethertype() == 0x0806 && frame.bytes.get(20..22) == Some(&[0, 1]));
    for request in requests.filter(|request| request.from().starts_with(&[2, 0, 0, 0, 1])) {
        let (sender, target) = (request.bytes.get(28..32), request.bytes.get(38..42));
        if sender != target {
            assert_eq!(sender, Some(&[10, 2, 0, request.from()[5]][..]), "an ARP request spoke for someone else");
        }
    }
}

/// Twelve addresses pinged: each member must have processed some.
fn traffic_was_shared(lab: &Lab) {
    let reports = lab.reports().unwrap();
    let shares = reports.iter().map(|report| {
        let me = report.members.iter().find(|member| member.id == report.member.id);
        (me.and_then(|me| me.packets).unwrap_or(0), report.units.own)
    });
    let shares: Vec<(u64, u16)> = shares.collect();
    println!("{}: packets and units of each member: {shares:?}", lab.plan.mode);
    assert!(shares.iter().all(|(packets, _)| *packets > 20), "some member processed hardly any packet: {shares:?}");
}

#[test]
fn forward_forms_and_serves() {
    forms_and_serves("forward");
}

#[test]
fn unicast_forms_and_serves() {
    forms_and_serves("unicast");
}

#[test]
fn multicast_forms_and_serves() {
    forms_and_serves("multicast");
}

/// The flows' owners are found for both families, each member owning some.
#[test]
fn every_member_owns_flows() {
    let lab = Lab::up(Plan::new("forward", "none")).unwrap();
    shares_are_fair(&lab);
    for v6 in [false, true] {
        let flows = lab.flow_of_each_owner(v6).unwrap();
        assert_eq!(flows.len(), 3, "{flows:?}");
        for source in flows.values() {
            ping(&lab, "client", Some(&source.to_string()), &stage::server(v6).to_string());
        }
        for source in flows.into_values() {
            let server = stage::server(v6);
            let units = (lab.unit(source, server).unwrap(), lab.unit(server, source).unwrap());
            assert_eq!(units.0, units.1, "both directions must meet");
        }
    }
}
