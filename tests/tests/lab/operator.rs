//! What an operator does with peers that are connected: sees them, looks into their tunnels, rekeys and ends them.

use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::Duration;

use phalanx_control::status::SessionStatus;
use phalanx_tests::lab::charon::{Charon, IkeSa};
use phalanx_tests::lab::{Lab, Outcome, Plan, clock, failure, stage};

use crate::ike::{CLIENT, config, connection, route_inside};

/// Behind the client.
const BRANCH: &str = "10.60.1.1";
const PINGS: usize = 20;
const SOON: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// `phalanx`, asked of the lab's first member.
fn phalanx(lab: &Lab, words: &[&str]) -> Command {
    let mut command = Command::new(stage::phalanx());
    command.args(words).arg("--socket").arg(lab.member(1).socket());
    command
}

fn said(lab: &Lab, words: &[&str]) -> Output {
    phalanx(lab, words).output().unwrap()
}

fn sessions(lab: &Lab) -> Outcome<Vec<SessionStatus>> {
    let done = said(lab, &["sessions", "--json"]);
    serde_json::from_slice(&done.stdout).map_err(|error| failure(format!("{error}: {done:?}")))
}

fn ping(lab: &Lab) {
    let to = stage::server(false).to_string();
    let count = PINGS.to_string();
    let done = lab.run("client", &["ping", "-n", "-q", "-c", &count, "-i", "0.02", "-W", "2", "-I", BRANCH, &to]);
    assert!(done.unwrap().contains(" 0% packet loss"));
}

/// Begins to look, and waits until it does.
fn look(lab: &Lab, spi: &str, count: usize, file: &Path) -> Child {
    let (count, path) = (count.to_string(), file.display().to_string());
    let words = ["capture", "--decrypt", "--spi", spi, "--count", &count, "--write", &path];
    let child = phalanx(lab, &words).spawn().unwrap();
    clock::until(SOON, LOOK, || match file.metadata().is_ok_and(|file| file.len() > 0) {
        true => Ok(()),
        false => Err(failure("the capture does not begin")),
    })
    .unwrap();
    child
}

/// How many lines of a capture say this.
fn seen(file: &Path, what: &str) -> usize {
    let read = Command::new("tcpdump").args(["-n", "-r"]).arg(file).output().unwrap();
    String::from_utf8_lossy(&read.stdout).lines().filter(|line| line.contains(what)).count()
}

#[test]
fn an_operator_sees_peers_looks_into_their_tunnels_rekeys_and_ends_them() {
    let lab = Lab::up(Plan { members: 1, config: Some(config()), ..Plan::new("forward", "none") }).unwrap();
    lab.await_healthy(Duration::from_secs(30)).unwrap();
    lab.run("client", &["ip", "address", "add", &format!("{BRANCH}/32"), "dev", "lo"]).unwrap();
    route_inside(&lab);
    let mut charon = Charon::in_namespace(&lab, "client").unwrap();
    charon.load(&lab, &[&connection(CLIENT, "10.60.1.0/24")]).unwrap();
    charon.initiate(&lab, "net").unwrap();

    let known = sessions(&lab).unwrap();
    let [one] = &known[..] else { panic!("{known:?}") };
    let peer = charon.sa(&lab).unwrap();
    assert_eq!((one.peer.as_str(), one.spi.as_str()), ("near.lab", format!("{:016x}", peer.spis[1]).as_str()));
    let tunnel = one.children.first().expect("a child").spi_in.clone();
    let shown = said(&lab, &["sessions", "show", &one.spi]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&tunnel), "{shown:?}");

    sees_what_passes(&lab, &tunnel);
    rekeys(&lab, &charon, &one.spi);
    ends(&lab, &charon);
}

/// Both ways, in clear, whole; and only one looks at a time.
fn sees_what_passes(lab: &Lab, tunnel: &str) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inside.pcapng");
    let _ = std::fs::remove_file(&file);
    let mut looking = look(lab, tunnel, 2 * PINGS, &file);
    let other = said(lab, &["capture", "--decrypt", "--write", "-"]);
    assert!(!other.status.success() && String::from_utf8_lossy(&other.stderr).contains("only one can"), "{other:?}");
    ping(lab);
    assert!(looking.wait().unwrap().success());
    let server = stage::server(false);
    assert_eq!(seen(&file, &format!("{BRANCH} > {server}: ICMP echo request")), PINGS);
    assert_eq!(seen(&file, &format!("{server} > {BRANCH}: ICMP echo reply")), PINGS);
    // Who has gone is noticed by the next second.
    let other = file.with_extension("other.pcapng");
    let done = clock::until(SOON, LOOK, || {
        let _ = std::fs::remove_file(&other);
        let mut looking = look(lab, tunnel, 1, &other);
        ping(lab);
        looking.wait().map_err(failure)?.success().then_some(()).ok_or_else(|| failure("somebody still looks"))
    });
    done.unwrap();
}

/// The peer has other keys afterwards.
fn rekeys(lab: &Lab, charon: &Charon, spi: &str) {
    let keys = |sa: &IkeSa| sa.child().map(|child| (sa.spis, child.spi_in, child.spi_out));
    let before = keys(&charon.sa(lab).unwrap()).unwrap();
    let done = said(lab, &["sessions", "rekey", spi]);
    assert!(done.status.success(), "{done:?}");
    let rekeyed = clock::until(SOON, LOOK, || match keys(&charon.sa(lab)?)? {
        now if now == before => Err(failure("the old keys are in use")),
        _ => Ok(()),
    });
    rekeyed.unwrap();
    ping(lab);
}

/// Nobody knows of it afterwards.
fn ends(lab: &Lab, charon: &Charon) {
    let spi = clock::until(SOON, LOOK, || match &sessions(lab)?[..] {
        [one] => Ok(one.spi.clone()),
        more => Err(failure(format!("{more:?}"))),
    });
    let spi = spi.unwrap().0;
    let done = said(lab, &["sessions", "terminate", &spi]);
    assert!(done.status.success(), "{done:?}");
    let gone = clock::until(SOON, LOOK, || match (&charon.sas(lab)?[..], &sessions(lab)?[..]) {
        ([], []) => Ok(()),
        left => Err(failure(format!("{left:?}"))),
    });
    gone.unwrap();
    let done = said(lab, &["sessions", "terminate", &spi]);
    assert_eq!(done.status.code(), Some(1), "{done:?}");
}
