//! IKEv2: Debian's strongSwan connects to the cluster, and never notices that members die.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use phalanx_tests::lab::capture::Capture;
use phalanx_tests::lab::charon::{
    Auth, Authority, Charon, Child, Connection, IkeSa, Leaf, Party, Rekey, connect_and_check,
};
use phalanx_tests::lab::ike_interop::{Stage, judge, some};
use phalanx_tests::lab::pcap::Frame;
use phalanx_tests::lab::traffic::{Load, Server, Traffic};
use phalanx_tests::lab::{Lab, Plan, clock, failure, stage};

pub(crate) const CLUSTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 10));
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 100));
pub(crate) const GUEST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 164));
/// Behind the guest.
pub(crate) const BRANCH: &str = "10.60.2.1";
pub(crate) const SECRET: &str = "a secret of the lab's hosts";
const PINGS: u32 = 20;
/// Owners that are killed.
const KILLS: usize = 4;

/// What the members are told.
pub(crate) fn config() -> String {
    format!(
        "[[ipsec.connection]]\nname = \"branch\"\nlocal_id = \"gw.lab\"\npsk = \"{SECRET}\"\n\
         [[ipsec.connection.child]]\nname = \"net\"\nlocal_ts = [\"10.3.0.0/24\"]\nremote_ts = [\"10.60.0.0/16\"]\n"
    )
}

fn psk(id: &str) -> Party {
    Party::new(id, Auth::Psk(SECRET.into()))
}

/// From the branch's side.
pub(crate) fn connection(from: IpAddr, behind: &str) -> Connection {
    Connection {
        local_address: Some(from),
        remote_address: Some(CLUSTER),
        ..Connection::new("branch", psk("near.lab"), psk("gw.lab"), Child::tunnel("net", behind, "10.3.0.0/24"))
    }
}

/// The inside knows the way to the branches.
pub(crate) fn route_inside(lab: &Lab) {
    lab.run("server", &["ip", "route", "add", "10.60.0.0/16", "via", "10.3.0.10"]).unwrap();
}

#[test]
fn a_client_with_a_shared_key_reaches_the_inside() {
    let lab = Lab::up(Plan { members: 1, config: Some(config()), ..Plan::new("forward", "none") }).unwrap();
    lab.await_healthy(Duration::from_secs(30)).unwrap();
    lab.run("client", &["ip", "address", "add", "10.60.1.1/32", "dev", "lo"]).unwrap();
    route_inside(&lab);
    let mut charon = Charon::in_namespace(&lab, "client").unwrap();
    let connection = connection(CLIENT, "10.60.1.0/24");
    let child = connect_and_check(&lab, &mut charon, &connection, stage::server(false), PINGS).unwrap();
    assert_eq!(child.remote_ts, ["10.3.0.0/24"]);
}

/// Files of the gateway's, which only their owner can read.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Writes one, and says where it is as the configuration does.
    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        let _ = std::fs::remove_file(&path);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
        std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
        format!("{path:?}")
    }

    /// The gateway's certificate and key, and what says so.
    pub(crate) fn certificate(&self, leaf: &Leaf) -> String {
        let (certificate, key) = (self.write("gw.pem", &leaf.certificate), self.write("gw-key.pem", &leaf.key));
        format!("certificate = {certificate}\nprivate_key = {key}\n")
    }
}

#[test]
fn a_user_with_a_password_gets_an_address() {
    let (files, authority) = (Files::new("users"), Authority::new("the lab's authority").unwrap());
    let gateway = authority.issue("gw.lab").unwrap();
    let users = files.write("users", "# the lab's users\nbob:another\nalice:pass: word\n");
    let config = format!(
        "[ipsec]\nusers = {users}\n\
         [[ipsec.connection]]\nname = \"people\"\nlocal_id = \"gw.lab\"\neap = \"mschapv2\"\npools = [\"people\"]\n{}\
         [[ipsec.connection.child]]\nname = \"net\"\nlocal_ts = [\"10.3.0.0/24\"]\n\
         [[ipsec.pool]]\nname = \"people\"\nnetwork = \"10.99.0.0/24\"\n",
        files.certificate(&gateway)
    );
    let lab = Lab::up(Plan { members: 1, config: Some(config), ..Plan::new("forward", "none") }).unwrap();
    lab.await_healthy(Duration::from_secs(30)).unwrap();
    lab.run("server", &["ip", "route", "add", "10.99.0.0/24", "via", "10.3.0.10"]).unwrap();
    let mut charon = Charon::in_namespace(&lab, "client").unwrap();
    let user = |password: &str| Connection {
        local_address: Some(CLIENT),
        remote_address: Some(CLUSTER),
        virtual_ips: vec![Ipv4Addr::UNSPECIFIED.into()],
        ..Connection::new(
            "people",
            Party::new("alice", Auth::Password(password.into())),
            Party::new("gw.lab", Auth::Certificate(gateway.clone())),
            Child::tunnel("net", "dynamic", "10.3.0.0/24"),
        )
    };
    charon.load(&lab, &[&user("another")]).unwrap();
    assert!(charon.initiate(&lab, "net").is_err(), "bob's password is not alice's");
    let child = connect_and_check(&lab, &mut charon, &user("pass: word"), stage::server(false), PINGS).unwrap();
    assert!(matches!(&child.local_ts[..], [own] if own.starts_with("10.99.0.")), "{child:?}");
    assert_eq!(child.remote_ts, ["10.3.0.0/24"]);
}

#[test]
fn a_client_with_a_certificate_reaches_the_inside() {
    let (files, authority) = (Files::new("certificates"), Authority::new("the lab's authority").unwrap());
    let (gateway, near) = (authority.issue("gw.lab").unwrap(), authority.issue("near.lab").unwrap());
    let ca = files.write("ca.pem", &gateway.issuer);
    let own = format!("ca = [{ca}]\n{}", files.certificate(&gateway));
    let config = config().replace(&format!("psk = \"{SECRET}\"\n"), &own);
    let lab = Lab::up(Plan { members: 1, config: Some(config), ..Plan::new("forward", "none") }).unwrap();
    lab.await_healthy(Duration::from_secs(30)).unwrap();
    lab.run("client", &["ip", "address", "add", "10.60.1.1/32", "dev", "lo"]).unwrap();
    route_inside(&lab);
    let mut charon = Charon::in_namespace(&lab, "client").unwrap();
    let with = |leaf: Leaf| Connection {
        local: Party::new("near.lab", Auth::Certificate(leaf)),
        remote: Party::new("gw.lab", Auth::Certificate(gateway.clone())),
        ..connection(CLIENT, "10.60.1.0/24")
    };
    let stranger = Authority::new("another authority").unwrap().issue("near.lab").unwrap();
    charon.load(&lab, &[&with(stranger)]).unwrap();
    assert!(charon.initiate(&lab, "net").is_err(), "anybody can issue certificates");
    let child = connect_and_check(&lab, &mut charon, &with(near), stage::server(false), PINGS).unwrap();
    assert_eq!(child.remote_ts, ["10.3.0.0/24"]);
}

/// What the others leave out; the suite `interop` plays all cases there are.
#[test]
fn strongswan_and_we_understand_one_another() {
    let mut stage = Stage::up(1).unwrap();
    let rows: Vec<_> = some().iter().map(|case| stage.play(case)).collect();
    assert_eq!(judge(&rows), Vec::<String>::new());
}

/// Who owns the unit of an SPI of ours.
pub(crate) fn owner_of(lab: &Lab, spi: u32) -> u8 {
    let status = lab.reports().unwrap().into_iter().next().expect("a member that answers");
    let unit = u16::try_from(spi % 1024).unwrap();
    let range = status.units.ranges.into_iter().find(|range| (range.first..=range.last).contains(&unit));
    range.and_then(|range| range.owner).expect("an owner")
}

/// A backup has all again.
pub(crate) fn await_backups(lab: &Lab) {
    clock::until(Duration::from_secs(30), Duration::from_millis(200), || {
        match lab.total("phalanx_replica_lacking_units{")? {
            0.0 => Ok(()),
            lacking => Err(failure(format!("backups lack {lacking} units"))),
        }
    })
    .unwrap();
}

/// What the wire shows of the cluster.
pub(crate) struct Sent {
    pub(crate) packets: usize,
    /// The longest times without a packet, longest first.
    pauses_ms: Vec<f64>,
}

/// What the cluster sent: no number and no IV twice for an SPI, and nothing in clear.
pub(crate) fn look_at_the_wire(frames: &[Frame]) -> Sent {
    const ESP: u8 = 50;
    let branch: IpAddr = BRANCH.parse().unwrap();
    let (mut numbers, mut ivs, mut times) = (HashSet::new(), HashSet::new(), Vec::new());
    for frame in frames {
        let Some((protocol, from, to, payload)) = frame.ip() else { continue };
        assert!(from != branch && to != branch, "{from} -> {to} went over the wire in clear");
        if (protocol, from) == (ESP, CLUSTER) {
            let (spi, number, iv) = (&payload[..4], &payload[4..8], &payload[8..16]);
            assert!(numbers.insert((spi.to_vec(), number.to_vec())), "number {number:?} came twice");
            assert!(ivs.insert((spi.to_vec(), iv.to_vec())), "an IV came twice");
            times.push(frame.at_us);
        }
    }
    let mut pauses_ms: Vec<f64> = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]) as f64 / 1e3).collect();
    pauses_ms.sort_by(|a, b| b.total_cmp(a));
    Sent { packets: numbers.len(), pauses_ms }
}

fn load() -> Load {
    Load {
        host: "server".into(),
        server: BRANCH.parse().unwrap(),
        sources: vec![stage::server(false)],
        pings_per_s: 100,
        udp_per_s: 50,
        connections_per_s: 10,
        streams: 0,
        download_kbytes_per_s: 300,
    }
}

/// The same SAs as before: nobody has shaken hands again.
fn assert_same(before: &IkeSa, now: &IkeSa) {
    let child = |sa: &IkeSa| sa.child().map(|child| (child.spi_in, child.spi_out)).unwrap();
    assert_eq!((before.spis, child(before)), (now.spis, child(now)));
}

fn outlives_its_owners(mode: &'static str) {
    let mut lab = Lab::up(Plan { config: Some(config()), ..Plan::new(mode, "none") }).unwrap();
    lab.call(&["host", "add", "guest", "outside", "--uml"]).unwrap();
    lab.run("guest", &["ip", "address", "add", &format!("{BRANCH}/32"), "dev", "lo"]).unwrap();
    route_inside(&lab);
    lab.await_healthy(Duration::from_secs(30)).unwrap();
    let mut charon = Charon::in_guest(&lab, "guest").unwrap();
    charon.load(&lab, &[&connection(GUEST, "10.60.2.0/24")]).unwrap();
    charon.initiate(&lab, "net").unwrap();
    let begun = charon.sa(&lab).unwrap();
    let spi = begun.child().unwrap().spi_out;
    let capture = Capture::start(&lab, "guest", "any", "ike", "ip").unwrap();
    let _server = Server::start(&lab, "guest").unwrap();
    let traffic = Traffic::start(&lab, &load(), "ike").unwrap();
    clock::last(Duration::from_secs(2));
    for _ in 0..KILLS {
        let victim = owner_of(&lab, spi);
        lab.act("kill", victim).unwrap();
        clock::last(Duration::from_secs(2));
        lab.act("start", victim).unwrap();
        lab.await_healthy(Duration::from_secs(30)).unwrap();
        await_backups(&lab);
    }
    // Before the hosts fall silent: from then on a pause says nothing.
    let frames = capture.finish().unwrap();
    let report = traffic.finish().unwrap();
    assert_same(&begun, &charon.sa(&lab).unwrap());
    assert_eq!(report.tcp_failed(), 0, "{}", report.0["tcp"]["failures"]);
    assert!(report.downloaded().is_some_and(|bytes| bytes > 1_000_000), "{}", report.0["download"]);
    let Sent { packets, pauses_ms } = look_at_the_wire(&frames);
    assert!(packets > 1000, "the cluster sent {packets} packets");
    println!("{mode}: the cluster's longest pauses were {:.0?} ms", &pauses_ms[..KILLS]);
    assert!(pauses_ms[0] <= lab.timing.detection_ms() + 300.0, "the cluster sent nothing for {} ms", pauses_ms[0]);
    let judged = lab.run("guest", &["cat", "/proc/net/xfrm_stat"]).unwrap();
    for line in judged.lines() {
        let mut fields = line.split_whitespace();
        let (name, count) = (fields.next().unwrap_or(""), fields.next().unwrap_or("?"));
        assert_eq!(count, "0", "the guest's kernel counts {name}:\n{judged}");
    }
    // Whoever owns it now goes on in every other way, too.
    charon.rekey(&lab, Rekey::Child("net")).unwrap();
    charon.rekey(&lab, Rekey::Ike("branch")).unwrap();
    let said = lab.run("server", &["ping", "-n", "-q", "-c", "5", "-i", "0.05", "-W", "2", BRANCH]).unwrap();
    assert!(said.contains(" 0% packet loss"), "{said}");
    charon.terminate(&lab, "branch").unwrap();
}

#[test]
fn forward_outlives_its_owners() {
    outlives_its_owners("forward");
}

#[test]
fn multicast_outlives_its_owners() {
    outlives_its_owners("multicast");
}
