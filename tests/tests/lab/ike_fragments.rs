//! A peer whose way takes little, and who cuts what it sends: IKE messages with certificates, and ESP in UDP, in IP fragments. Which member
//! puts a packet together its identification says, so all of them do; the IKE SA and its tunnel are one member's.
//!
//! Over IPv6, for IPv4's fragments never come to a member of the lab: DPDK's `af_packet` has the kernel put them together first.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use phalanx_tests::lab::capture::Capture;
use phalanx_tests::lab::charon::{Auth, Authority, Charon, Connection, Keys, Party};
use phalanx_tests::lab::pcap::Frame;
use phalanx_tests::lab::{Lab, Plan, stage};

use crate::ike::{self, Files, SECRET};

/// What the client's way takes: less than a certificate, and than what is pinged with.
const MTU: &str = "1280";
const PINGS: usize = 60;
const CLIENT: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0x100));
/// The fragment header.
const FRAGMENT: u8 = 44;

fn fragments_find_their_session(mode: &'static str) {
    let files = Files::new(&format!("fragments-{mode}"));
    let authority = Authority::with("the lab's authority", Keys::Rsa).unwrap();
    let (gateway, near) = (authority.issue("gw.lab").unwrap(), authority.issue("near.lab").unwrap());
    let ca = files.write("ca.pem", &gateway.issuer);
    let own = format!("ca = [{ca}]\n{}", files.certificate(&gateway));
    let config = ike::config().replace(&format!("psk = \"{SECRET}\"\n"), &own);
    let lab = Lab::up(Plan { config: Some(config), ..Plan::new(mode, "none") }).unwrap();
    lab.await_healthy(Duration::from_secs(30)).unwrap();
    lab.run("client", &["ip", "address", "add", "10.60.1.1/32", "dev", "lo"]).unwrap();
    let cluster = stage::cluster(true);
    let route = lab.run("client", &["ip", "-o", "route", "get", &cluster.to_string()]).unwrap();
    let port = route.split_whitespace().skip_while(|word| *word != "dev").nth(1).unwrap();
    lab.run("client", &["ip", "route", "add", &cluster.to_string(), "dev", port, "mtu", MTU]).unwrap();
    ike::route_inside(&lab);
    let capture = Capture::start(&lab, "client", port, "fragments", "ip6").unwrap();
    let mut charon = Charon::in_namespace(&lab, "client").unwrap();
    let connection = Connection {
        local: Party::new("near.lab", Auth::Certificate(near)),
        remote: Party::new("gw.lab", Auth::Certificate(gateway)),
        fragmentation: "no",
        remote_address: Some(cluster),
        ..ike::connection(CLIENT, "10.60.1.0/24")
    };
    charon.load(&lab, &[&connection]).unwrap();
    charon.initiate(&lab, "net").unwrap();
    let (count, server) = (PINGS.to_string(), stage::server(false).to_string());
    let ping = ["ping", "-q", "-c", &count, "-i", "0.05", "-W", "5", "-s", "1350", "-I", "10.60.1.1", &server];
    let said = lab.run("client", &ping).unwrap();
    assert!(said.contains(&format!("{PINGS} received")), "{said}");
    // What the client sent was in fragments, the handshake's last message and each ping.
    let cut = capture.finish().unwrap().iter().filter(|frame| is_first_fragment(frame)).count();
    assert!(cut > PINGS, "{cut} packets were cut");
    let put_together = |id: u8| lab.member(id).samples("phalanx_worker_reassembled_packets_total").unwrap()[0];
    let shares: Vec<f64> = (1..=3).map(put_together).collect();
    assert!(shares.iter().all(|share| *share > 0.0) && shares.iter().sum::<f64>() > PINGS as f64, "{shares:?}");
    lab.healthy().unwrap();
}

fn is_first_fragment(frame: &Frame) -> bool {
    let Some((FRAGMENT, CLIENT, _, [_, _, high, low, ..])) = frame.ip() else { return false };
    u16::from_be_bytes([*high, *low]) == 1
}

#[test]
fn forward_fragments_find_their_session() {
    fragments_find_their_session("forward");
}

#[test]
fn multicast_fragments_find_their_session() {
    fragments_find_their_session("multicast");
}
