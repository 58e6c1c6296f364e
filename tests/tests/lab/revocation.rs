//! A member whose certificate is revoked while it runs: the others, told so by SIGHUP, shut it out. It may have been told
//! nothing, and still has to be silent soon, for others now answer for its units.

use std::net::{IpAddr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use phalanx_tests::lab::capture::{Capture, member_mac};
use phalanx_tests::lab::pcap::Frame;
use phalanx_tests::lab::process::signal;
use phalanx_tests::lab::scenario::SLACK_MS;
use phalanx_tests::lab::traffic::{Load, Server, Traffic};
use phalanx_tests::lab::{Lab, Outcome, Plan, clock, failure, stage};

/// From the revocation on, a member that was told nothing may speak for the cluster for at most so long.
const SILENT_WITHIN_US: u64 = 1_000_000;

/// Whether a frame says that the cluster's outside address is at its sender: an ARP packet with it as the sender's, or a
/// neighbour advertisement (ICMPv6 type 136, RFC 4861 section 4.4) for it.
fn claims(frame: &Frame) -> bool {
    if frame.ethertype() == 0x0806 {
        return frame.bytes.get(28..32) == Some(&[10, 2, 0, 10]);
    }
    let address = Ipv6Addr::from([0xfd00, 2, 0, 0, 0, 0, 0, 0x10]).octets();
    frame.ip().is_some_and(|(protocol, .., message)| {
        protocol == 58 && message.first() == Some(&136) && message.get(8..24) == Some(&address[..])
    })
}

/// Its process is gone, or it says itself that it owns nothing.
fn owns_nothing(lab: &Lab, id: u8) -> Outcome<()> {
    if lab.process(id)?["process"] == "exited" {
        return Ok(());
    }
    let report = lab.member(id).status()?;
    match report.units.own {
        0 => Ok(()),
        own => Err(failure(format!("m{id}, revoked, is {} and owns {own} units", report.role.as_str()))),
    }
}

fn start_traffic(lab: &Lab) -> Traffic {
    let load = Load {
        host: "client".into(),
        server: stage::server(false),
        sources: (100..124).map(|n| IpAddr::from([10, 2, 0, n])).collect(),
        pings_per_s: 25,
        udp_per_s: 50,
        connections_per_s: 50,
        download_kbytes_per_s: 0,
        streams: 0,
    };
    Traffic::start(lab, &load, "revocation").unwrap()
}

/// Revokes, and tells everyone but the revoked.
fn revoke(lab: &Lab, id: u8) {
    let member = lab.member(id);
    let mut command = Command::new(stage::phalanx());
    let done = command.args(["ca", "revoke"]).arg(lab.dir().join("ca")).arg(member.name()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for other in lab.members.iter().filter(|other| other.id != id) {
        signal(lab.pid(other.id).unwrap(), "HUP").unwrap();
    }
}

fn is_shut_out(of_the_master: bool) {
    let mut lab = Lab::up(Plan::new("forward", "none")).unwrap();
    let _server = Server::start(&lab, "server").unwrap();
    let mut traffic = start_traffic(&lab);
    let master = lab.healthy().unwrap();
    let id = (1..=3).find(|id| (*id == master) == of_the_master).unwrap();
    let mac = member_mac(id, "outside");
    let filter = format!("ether src {}", phalanx_tests::lab::pcap::mac_text(mac));
    let capture = Capture::start(&lab, "switch", "outside", "revoked", &filter).unwrap();
    traffic.mark("revoked").unwrap();
    revoke(&lab, id);
    let revoked_us = clock::wall_us();
    lab.forget(id);
    let shut_out = lab.await_healthy(Duration::from_secs(5)).unwrap();
    clock::until(Duration::from_secs(2), Duration::from_millis(20), || owns_nothing(&lab, id)).unwrap();
    clock::last(Duration::from_secs(3));
    lab.healthy().unwrap();
    owns_nothing(&lab, id).unwrap();
    let frames = capture.finish().unwrap();
    let report = traffic.finish().unwrap();
    let blackout_ms = report.blackout_ms("revoked").unwrap();
    println!("m{id} revoked: shut out after {} ms, interrupted for {blackout_ms:.0} ms", shut_out.as_millis());
    assert!(frames.iter().any(|frame| frame.at_us < revoked_us), "the capture saw nothing of m{id} before");
    let late = |frame: &&Frame| frame.at_us > revoked_us + SILENT_WITHIN_US;
    assert_eq!(
        frames.iter().filter(late).filter(|frame| claims(frame)).count(),
        0,
        "m{id} still speaks for the cluster"
    );
    assert_eq!(frames.iter().filter(late).filter(|frame| frame.probe().is_some()).count(), 0, "m{id} still forwards");
    assert_eq!((report.tcp_failed(), report.duplicates()), (0, 0));
    assert!(blackout_ms <= lab.timing.detection_ms() + SLACK_MS, "interrupted for {blackout_ms:.0} ms");
}

#[test]
fn a_revoked_member_is_shut_out() {
    is_shut_out(false);
}

#[test]
fn a_revoked_master_is_shut_out() {
    is_shut_out(true);
}
