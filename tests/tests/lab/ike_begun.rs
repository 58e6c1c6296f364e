//! IKEv2 begun by the cluster: Debian's strongSwan only answers.

use std::time::Duration;

use phalanx_tests::lab::capture::Capture;
use phalanx_tests::lab::charon::{Auth, Authority, Charon, Child, Connection, IkeSa, Party, Rekey};
use phalanx_tests::lab::{Lab, Outcome, Plan, clock, failure, stage};

use super::ike::{
    BRANCH, CLIENT, CLUSTER, Files, GUEST, SECRET, await_backups, look_at_the_wire, owner_of, route_inside,
};

/// The first attempt may come before the peer is there: the next ones are 2, 4, 8 and 16 s later.
const PATIENCE: Duration = Duration::from_secs(60);
/// Owners that are killed.
const KILLS: usize = 3;

/// What the members are told: of a peer there, and how names are proved.
fn config(peer: std::net::IpAddr, behind: &str, proofs: &str) -> String {
    format!(
        "[[ipsec.connection]]\nname = \"branch\"\nlocal = \"{CLUSTER}\"\nremote = [\"{peer}/32\"]\nlocal_id = \"gw.lab\"\n\
         remote_id = \"near.lab\"\nstart = \"always\"\n{proofs}\
         [[ipsec.connection.child]]\nname = \"net\"\nlocal_ts = [\"10.3.0.0/24\"]\nremote_ts = [\"{behind}\"]\n"
    )
}

/// The peer's side.
fn answering(at: std::net::IpAddr, behind: &str, ours: Auth, theirs: Auth) -> Connection {
    Connection {
        local_address: Some(at),
        remote_address: Some(CLUSTER),
        ..Connection::new(
            "branch",
            Party::new("near.lab", ours),
            Party::new("gw.lab", theirs),
            Child::tunnel("net", behind, "10.3.0.0/24"),
        )
    }
}

fn psk() -> Auth {
    Auth::Psk(SECRET.into())
}

/// The cluster has begun one that is not this one.
fn await_another(lab: &Lab, charon: &Charon, known: Option<[u64; 2]>) -> Outcome<IkeSa> {
    let found = clock::until(PATIENCE, Duration::from_millis(200), || {
        let sa = charon.sa(lab)?;
        sa.child()?;
        match sa.initiator || Some(sa.spis) == known {
            true => Err(failure(format!("it is not another of the cluster's: {sa:?}"))),
            false => Ok(sa),
        }
    });
    found.map(|(sa, _)| sa)
}

fn ping(lab: &Lab, from: &str, to: &str) {
    let said = lab.run(from, &["ping", "-n", "-q", "-c", "10", "-i", "0.05", "-W", "2", to]).unwrap();
    assert!(said.contains(" 0% packet loss"), "{said}");
}

fn both_ways(lab: &Lab, host: &str, behind: &str) {
    ping(lab, "server", behind);
    let server = stage::server(false).to_string();
    let said =
        lab.run(host, &["ping", "-n", "-q", "-c", "10", "-i", "0.05", "-W", "2", "-I", behind, &server]).unwrap();
    assert!(said.contains(" 0% packet loss"), "{said}");
}

/// A lab with one member, and a peer that answers on a host without a kernel of its own.
fn begun_in_a_namespace(config: String, connection: &Connection) -> (Lab, Charon, IkeSa) {
    let lab = Lab::up(Plan { members: 1, config: Some(config), ..Plan::new("forward", "none") }).unwrap();
    lab.await_healthy(Duration::from_secs(30)).unwrap();
    lab.run("client", &["ip", "address", "add", "10.60.1.1/32", "dev", "lo"]).unwrap();
    route_inside(&lab);
    let mut charon = Charon::in_namespace(&lab, "client").unwrap();
    charon.load(&lab, &[connection]).unwrap();
    let sa = await_another(&lab, &charon, None).unwrap();
    (lab, charon, sa)
}

#[test]
fn we_begin_with_a_shared_key_and_begin_anew() {
    let connection = answering(CLIENT, "10.60.1.0/24", psk(), psk());
    let config = config(CLIENT, "10.60.1.0/24", &format!("psk = \"{SECRET}\"\n"));
    let (lab, charon, first) = begun_in_a_namespace(config, &connection);
    // This strongSwan makes us believe in a translator, so that it gets ESP in UDP.
    assert_eq!((first.remote.port(), first.child().unwrap().encapsulated), (4500, true), "{first:?}");
    both_ways(&lab, "client", "10.60.1.1");
    let rekeyed = charon.rekey(&lab, Rekey::Child("net")).unwrap();
    assert_eq!(rekeyed.spis, first.spis);
    let rekeyed = charon.rekey(&lab, Rekey::Ike("branch")).unwrap();
    assert_ne!(rekeyed.spis, first.spis);
    both_ways(&lab, "client", "10.60.1.1");
    // The peer ends it.
    charon.terminate(&lab, "branch").unwrap();
    let second = await_another(&lab, &charon, Some(rekeyed.spis)).unwrap();
    assert!(!second.spis.contains(&first.spis[0]), "nothing is used twice");
    both_ways(&lab, "client", "10.60.1.1");
}

#[test]
fn we_begin_with_a_certificate() {
    let (files, authority) = (Files::new("begun"), Authority::new("the lab's authority").unwrap());
    let (gateway, near) = (authority.issue("gw.lab").unwrap(), authority.issue("near.lab").unwrap());
    let ca = files.write("ca.pem", &gateway.issuer);
    let proofs = format!("ca = [{ca}]\n{}", files.certificate(&gateway));
    let connection = answering(CLIENT, "10.60.1.0/24", Auth::Certificate(near), Auth::Certificate(gateway));
    let (lab, _charon, _) = begun_in_a_namespace(config(CLIENT, "10.60.1.0/24", &proofs), &connection);
    both_ways(&lab, "client", "10.60.1.1");
}

fn kill_and_start(lab: &mut Lab, member: u8) {
    lab.act("kill", member).unwrap();
    clock::last(Duration::from_secs(1));
    bring_back(lab, member);
}

/// A member that was killed has what the others have.
fn bring_back(lab: &mut Lab, member: u8) {
    lab.act("start", member).unwrap();
    lab.await_healthy(Duration::from_secs(30)).unwrap();
    await_backups(lab);
}

/// One unit's owner after the other is killed: the peer shakes hands once, and what was begun goes on.
#[test]
fn what_we_began_outlives_its_owners() {
    let config = config(GUEST, "10.60.2.0/24", &format!("psk = \"{SECRET}\"\n"));
    let mut lab = Lab::up(Plan { config: Some(config), ..Plan::new("forward", "none") }).unwrap();
    lab.call(&["host", "add", "guest", "outside", "--uml"]).unwrap();
    lab.run("guest", &["ip", "address", "add", &format!("{BRANCH}/32"), "dev", "lo"]).unwrap();
    route_inside(&lab);
    lab.await_healthy(Duration::from_secs(30)).unwrap();
    let mut charon = Charon::in_guest(&lab, "guest").unwrap();
    // It knows nobody yet and refuses, and whoever has heard that dies.
    clock::last(Duration::from_secs(8));
    (1..=3).for_each(|member| kill_and_start(&mut lab, member));
    charon.load(&lab, &[&answering(GUEST, "10.60.2.0/24", psk(), psk())]).unwrap();
    let begun = await_another(&lab, &charon, None).unwrap();
    assert_eq!((begun.remote.port(), begun.child().unwrap().encapsulated), (500, false), "{begun:?}");
    let capture = Capture::start(&lab, "guest", "any", "begun", "ip").unwrap();
    for _ in 0..KILLS {
        both_ways(&lab, "guest", BRANCH);
        let victim = owner_of(&lab, begun.child().unwrap().spi_out);
        lab.act("kill", victim).unwrap();
        clock::last(Duration::from_secs(2));
        both_ways(&lab, "guest", BRANCH);
        bring_back(&mut lab, victim);
    }
    // No member thinks that it has to begin another one.
    clock::last(Duration::from_secs(12));
    let now = charon.sa(&lab).unwrap();
    assert_eq!((now.spis, now.child().unwrap().spi_in), (begun.spis, begun.child().unwrap().spi_in));
    let frames = capture.finish().unwrap();
    assert!(look_at_the_wire(&frames).packets > 20);
    charon.rekey(&lab, Rekey::Ike("branch")).unwrap();
    both_ways(&lab, "guest", BRANCH);
    // An owner dies, and the peer ends it at the same time: the heir begins anew.
    let known = charon.sa(&lab).unwrap();
    let victim = owner_of(&lab, known.child().unwrap().spi_out);
    lab.act("kill", victim).unwrap();
    clock::last(Duration::from_secs(2));
    charon.terminate(&lab, "branch").unwrap();
    await_another(&lab, &charon, Some(known.spis)).unwrap();
    both_ways(&lab, "guest", BRANCH);
}
