//! Cuts, losses and pauses (Done when 3 of the foundation): no packet is processed by two members, a lost cluster link
//! alone interrupts nothing, a minority under `majority` is silent, everything heals within a second.

use std::time::Duration;

use phalanx_tests::lab::capture::{Answers, Capture, mac_of};
use phalanx_tests::lab::scenario::{self, HEAL};
use phalanx_tests::lab::traffic::{Load, Server, Traffic};
use phalanx_tests::lab::{Lab, Plan, clock};

use crate::plans;

fn lab(mode: &'static str, quorum: &'static str) -> (Lab, Server) {
    let lab = Lab::up(Plan::new(mode, quorum)).unwrap();
    let server = Server::start(&lab, "server").unwrap();
    (lab, server)
}

#[test]
fn forward_none_one_port_cut() {
    let (mut lab, _server) = lab("forward", "none");
    scenario::run_all(&mut lab, &plans::ports());
}

#[test]
fn forward_none_whole_member_cut() {
    let (mut lab, _server) = lab("forward", "none");
    scenario::run_all(&mut lab, &plans::members());
}

/// Loss comes first. Whoever rejoins after a pause must ask for its neighbours anew, once a second as RFC 1122 section 2.3.2.1 wants it:
/// under loss that takes seconds, which says nothing about the cluster.
#[test]
fn forward_none_loss_and_pauses() {
    let (mut lab, _server) = lab("forward", "none");
    scenario::run_all(&mut lab, &[plans::loss(), plans::pauses()].concat());
}

#[test]
fn forward_majority_one_port_cut() {
    let (mut lab, _server) = lab("forward", "majority");
    scenario::run_all(&mut lab, &plans::ports());
}

#[test]
fn forward_majority_whole_member_cut() {
    let (mut lab, _server) = lab("forward", "majority");
    scenario::run_all(&mut lab, &[plans::members(), plans::isolation()].concat());
}

#[test]
fn forward_majority_loss_and_pauses() {
    let (mut lab, _server) = lab("forward", "majority");
    scenario::run_all(&mut lab, &[plans::loss(), plans::pauses()].concat());
}

#[test]
fn unicast_cut_and_paused() {
    for quorum in ["none", "majority"] {
        let (mut lab, _server) = lab("unicast", quorum);
        let mut plan = [&plans::members()[..2], &plans::pauses()[..1], &plans::pauses()[3..]].concat();
        if quorum == "majority" {
            plan.extend(plans::isolation());
        }
        scenario::run_all(&mut lab, &plan);
    }
}

/// Both LANs and the cluster link are torn in two, with hosts on either side. Under `none` each side serves its own
/// hosts; when the LANs are whole again, so is the cluster, and no host ever got an answer twice.
#[test]
fn each_side_of_a_split_serves_its_hosts() {
    let (mut lab, _server) = lab("forward", "none");
    lab.call(&["host", "add", "client2", "outside", "--addresses", "4"]).unwrap();
    lab.call(&["host", "add", "server2", "inside", "--addresses", "4"]).unwrap();
    let _server2 = Server::start(&lab, "server2").unwrap();
    let load = |host: &str, server: &str| Load {
        host: host.to_owned(),
        server: server.parse().unwrap(),
        sources: Vec::new(),
        pings_per_s: 100,
        udp_per_s: 100,
        connections_per_s: 0,
        download_kbytes_per_s: 0,
        streams: 0,
    };
    let pairs = [("client", "10.3.0.100"), ("client2", "10.3.0.164")];
    let mut runs = pairs.map(|(client, server)| {
        let capture = Capture::of_probes(&lab, client, &format!("split-{client}")).unwrap();
        (client, capture, Traffic::start(&lab, &load(client, server), client).unwrap())
    });
    let master = lab.healthy().unwrap();
    let lone = lab.member(master).name();
    let others: Vec<String> = (1..=3).filter(|id| *id != master).map(|id| lab.member(id).name()).collect();
    runs.iter_mut().for_each(|(_, _, traffic)| traffic.mark("cut").unwrap());
    lab.split(&[&lone, "client2", "server2"], &[&others[0], &others[1], "client", "server"]).unwrap();
    clock::last(Duration::from_secs(3));
    let sides: Vec<_> = lab.reports().unwrap().iter().map(|report| report.members.len()).collect();
    runs.iter_mut().for_each(|(_, _, traffic)| traffic.mark("heal").unwrap());
    lab.unsplit().unwrap();
    let healed = lab.await_healthy(Duration::from_secs(15));
    clock::last(Duration::from_millis(1500));
    lab.keep_logs();
    for (client, capture, traffic) in runs {
        let report = traffic.finish().unwrap();
        let answers = Answers::of(&capture.finish().unwrap(), mac_of(&lab, client, "e0").unwrap());
        println!(
            "forward none: split, {client}: interrupted {:?} ms at the cut, {:?} ms at the heal; {} of {} lost",
            report.blackout_ms("cut"),
            report.blackout_ms("heal"),
            report.lost(),
            report.sent()
        );
        assert_eq!(answers.repeated(), Vec::<String>::new(), "{client}");
        assert_eq!(report.duplicates(), 0, "{client}");
        assert!(report.blackout_ms("cut").unwrap() < 1000.0, "{client} was not served during the split");
        assert!(report.blackout_ms("heal").unwrap() < 1500.0, "{client} was not served after the split");
    }
    println!("forward none: split: healed within {:?}", healed.as_ref().ok());
    assert_eq!(sides.iter().sum::<usize>(), 1 + 2 + 2, "members per side, as each sees it: {sides:?}");
    assert!(healed.unwrap() <= HEAL);
}
