//! What a router owes its neighbours: TTL exceeded by the owner alone, too-big messages, fragments put together.
//!
//! These labs run on AF_XDP sockets, which the workers look at by sleeping a little. DPDK's packet-socket driver asks the
//! kernel to put IPv4 fragments together (PACKET_FANOUT_FLAG_DEFRAG) before a member sees them, and cuts off what is then
//! longer than its slots: no fragment would ever arrive.

use phalanx_tests::lab::capture::{Capture, member_mac};
use phalanx_tests::lab::{Lab, Plan, stage};

/// The inside takes 1400 bytes.
const SMALL_INSIDE: &str = r#"
[workers]
idle = "sleep"
realtime = 0
[[port]]
name = "outside0"
device = "net_af_xdp0,iface=o,force_copy=1"
[[port]]
name = "inside0"
device = "net_af_xdp1,iface=i,force_copy=1"
mtu = 1400
"#;

/// What a command said, both streams; it may fail.
fn said(lab: &Lab, host: &str, argv: &[&str]) -> String {
    let done = lab.exec(host, argv).unwrap();
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

/// A packet that dies here is answered once, by the unit's owner and nobody else.
fn only_the_owner_reports_expiry(lab: &Lab) {
    for v6 in [false, true] {
        for (owner, source) in lab.flow_of_each_owner(v6).unwrap() {
            let address = source;
            let (source, server) = (source.to_string(), stage::server(v6).to_string());
            let filter = if v6 { "icmp6 and ip6[40] == 3" } else { "icmp[0] == 11" };
            let capture = Capture::start(lab, "client", "e0", &format!("ttl-{v6}-{owner}"), filter).unwrap();
            let heard = said(lab, "client", &["ping", "-n", "-c", "1", "-W", "1", "-t", "1", "-I", &source, &server]);
            assert!(heard.contains("exceeded") || heard.contains("Hop limit"), "{source}: {heard}");
            let senders: Vec<_> = capture.finish().unwrap().iter().map(|frame| frame.from()).collect();
            // The balance may have moved the unit since it was asked for.
            let owners = [owner, lab.owner(address, stage::server(v6)).unwrap()].map(|id| member_mac(id, "outside"));
            assert!(matches!(&senders[..], [one] if owners.contains(one)), "{source} is m{owner}'s: {senders:?}");
        }
    }
}

/// The inside takes 1400 bytes: bigger packets that must stay whole are reported, others are cut.
fn too_big_is_reported(lab: &Lab) {
    let v4 =
        said(lab, "client", &["ping", "-n", "-c", "3", "-i", "0.1", "-W", "1", "-M", "do", "-s", "1440", "10.3.0.100"]);
    assert!(v4.contains("mtu = 1400") || v4.contains("mtu=1400"), "{v4}");
    let v6 = said(
        lab,
        "client",
        &["ping", "-n", "-c", "3", "-i", "0.1", "-W", "1", "-M", "do", "-s", "1440", "fd00:3::100"],
    );
    assert!(v6.contains("mtu=1400") || v6.contains("mtu: 1400") || v6.contains("mtu = 1400"), "{v6}");
    let cut = ["ping", "-n", "-q", "-c", "3", "-i", "0.1", "-W", "1", "-M", "dont", "-s", "1440", "10.3.0.100"];
    let cut = said(lab, "client", &cut);
    assert!(cut.contains(" 0% packet loss"), "fragments were lost: {cut}");
}

/// Fragments to the cluster's own address meet at one member, which answers for the whole packet; forwarded ones meet their
/// owner.
fn fragments_arrive(lab: &Lab) {
    for (host, to) in
        [("client", "10.2.0.10"), ("server", "10.3.0.10"), ("client", "10.3.0.101"), ("client", "fd00:3::101")]
    {
        // Next hops are found, and the way's MTU where only the sender may cut.
        for size in ["100", "8000"] {
            let _ = lab.exec(host, &["ping", "-n", "-q", "-c", "1", "-W", "1", "-s", size, to]);
        }
        for size in ["3000", "8000"] {
            let heard = said(lab, host, &["ping", "-n", "-q", "-c", "5", "-i", "0.05", "-W", "1", "-s", size, to]);
            assert!(heard.contains(" 0% packet loss"), "{host} -> {to}, {size} bytes: {heard}");
        }
    }
}

/// How many packets members have put together from fragments.
fn reassembled(lab: &Lab) -> f64 {
    lab.members.iter().flat_map(|member| member.samples("phalanx_worker_reassembled_packets_total{").unwrap()).sum()
}

/// IPv6 fragments meet at one member and become a packet again (each exactly once: nobody else keeps parts of it). The
/// echo's answer would be longer than the link takes; a router sends no such IPv6 packet.
fn ipv6_fragments_meet(lab: &Lab) {
    let before = reassembled(lab);
    said(lab, "client", &["ping", "-n", "-q", "-c", "5", "-i", "0.05", "-W", "1", "-s", "8000", "fd00:2::10"]);
    assert_eq!(reassembled(lab) - before, 5.0);
}

fn router_duties(mode: &'static str) {
    let plan = Plan { config: Some(SMALL_INSIDE.to_owned()), ..Plan::new(mode, "none") };
    let lab = Lab::up(plan).unwrap();
    // Everyone's next hops are known from here on.
    for source in 100..124 {
        let _ = lab.exec(
            "client",
            &["ping", "-n", "-q", "-c", "1", "-W", "1", "-I", &format!("10.2.0.{source}"), "10.3.0.100"],
        );
    }
    only_the_owner_reports_expiry(&lab);
    too_big_is_reported(&lab);
    fragments_arrive(&lab);
    ipv6_fragments_meet(&lab);
}

#[test]
fn forward_router_duties() {
    router_duties("forward");
}

#[test]
fn unicast_router_duties() {
    router_duties("unicast");
}
