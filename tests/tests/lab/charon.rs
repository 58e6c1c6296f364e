//! The foreign IKEv2 peer of the cluster's tests, held against itself: one charon in a namespace and one in a guest, on
//! the outside network. That proves the harness: what it configures is negotiated, what it reads is what is on the wire.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use phalanx_tests::lab::capture::Capture;
use phalanx_tests::lab::charon::{Auth, Authority, Charon, Child, Connection, Party, Rekey, connect_and_check};
use phalanx_tests::lab::pcap::Frame;
use phalanx_tests::lab::{Lab, Plan, clock, failure};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 100));
const GUEST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 164));
/// Behind each.
const NEAR: &str = "10.60.1.0/24";
const FAR: &str = "10.60.2.0/24";
const NEAR_HOST: &str = "10.60.1.1";
const FAR_HOST: &str = "10.60.2.1";
const POOL: &str = "10.60.9.0/24";
const PINGS: u32 = 20;
const UDP: u8 = 17;

/// A charon in the client and one in a guest.
fn two(lab: &Lab) -> (Charon, Charon) {
    lab.call(&["host", "add", "guest", "outside", "--uml"]).unwrap();
    for (host, address) in [("client", NEAR_HOST), ("guest", FAR_HOST)] {
        lab.run(host, &["ip", "address", "add", &format!("{address}/32"), "dev", "lo"]).unwrap();
    }
    (Charon::in_namespace(lab, "client").unwrap(), Charon::in_guest(lab, "guest").unwrap())
}

/// From the other's side: parties, addresses and selectors change places.
fn mirrored(connection: &Connection) -> Connection {
    let mirror =
        |child: &Child| Child { local_ts: child.remote_ts.clone(), remote_ts: child.local_ts.clone(), ..child.clone() };
    Connection {
        local_address: connection.remote_address,
        remote_address: connection.local_address,
        local: connection.remote.clone(),
        remote: connection.local.clone(),
        children: connection.children.iter().map(mirror).collect(),
        ..connection.clone()
    }
}

/// What went between the two.
#[derive(Default, Debug)]
struct Seen {
    ike: usize,
    esp: usize,
}

/// Nothing but IKE and ESP inside UDP, and these have no packet of the tunnel in clear.
fn look_at_the_wire(frames: &[Frame]) -> Seen {
    let mut seen = Seen::default();
    for frame in frames {
        let Some((protocol, from, to, payload)) = frame.ip() else { continue };
        assert!(
            [from, to].iter().all(|end| [CLIENT, GUEST].contains(end)),
            "{from} -> {to} went over the wire in clear"
        );
        assert_eq!(protocol, UDP, "{from} -> {to}");
        let port = u16::from_be_bytes([payload[2], payload[3]]);
        match (port, &payload[8..]) {
            (500, _) | (4500, [0, 0, 0, 0, ..]) => seen.ike += 1,
            // A keepalive for whoever translates addresses.
            (4500, [0xff]) => {}
            (4500, [_, _, _, _, ..]) => seen.esp += 1,
            _ => panic!("{from} -> {to} port {port}: {payload:02x?}"),
        }
    }
    seen
}

fn psk(id: &str) -> Party {
    Party::new(id, Auth::Psk("a secret of the lab".into()))
}

fn ping(lab: &Lab) {
    let said = lab.run("client", &["ping", "-n", "-q", "-c", "5", "-i", "0.02", "-W", "2", FAR_HOST]).unwrap();
    assert!(said.contains(" 0% packet loss"), "{said}");
}

fn until_gone(lab: &Lab, charon: &Charon) {
    clock::until(Duration::from_secs(5), Duration::from_millis(50), || match charon.sas(lab)?.as_slice() {
        [] => Ok(()),
        left => Err(failure(format!("{} still has {left:?}", charon.host()))),
    })
    .unwrap();
}

#[test]
fn namespace_and_guest_share_a_secret() {
    let lab = Lab::up(Plan { members: 1, ..Plan::new("forward", "none") }).unwrap();
    let (mut near, mut far) = two(&lab);
    let connection = Connection {
        local_address: Some(CLIENT),
        remote_address: Some(GUEST),
        ..Connection::new("branch", psk("near.lab"), psk("far.lab"), Child::tunnel("net", NEAR, FAR))
    };
    far.load(&lab, &[&mirrored(&connection)]).unwrap();
    near.load(&lab, &[&connection]).unwrap();
    let capture = Capture::start(&lab, "guest", "any", "charon", "ip").unwrap();

    near.initiate(&lab, "net").unwrap();
    let first = near.sa(&lab).unwrap();
    assert_eq!((first.name.as_str(), first.initiator, first.remote.ip()), ("branch", true, GUEST));
    assert_eq!((&first.said["encr-alg"], &first.said["dh-group"]), (&"AES_GCM_16".into(), &"CURVE_25519".into()));
    ping(&lab);
    let (here, there) = (near.sa(&lab).unwrap(), far.sa(&lab).unwrap());
    assert_eq!((here.spis, there.initiator), (there.spis, false));
    let (ours, theirs) = (here.child().unwrap(), there.child().unwrap());
    assert_eq!((ours.spi_in, ours.spi_out), (theirs.spi_out, theirs.spi_in));
    assert_eq!([ours.sent, ours.received, theirs.sent, theirs.received].map(|count| count.packets), [5; 4]);
    assert_eq!((&ours.local_ts[..], &theirs.local_ts[..]), (&[NEAR.to_owned()][..], &[FAR.to_owned()][..]));

    let rekeyed = near.rekey(&lab, Rekey::Child("net")).unwrap();
    assert_eq!(rekeyed.spis, here.spis, "the IKE SA is still the same");
    let child = rekeyed.child().unwrap();
    assert_eq!((child.received.packets, &child.said["dh-group"]), (0, &"CURVE_25519".into()));
    ping(&lab);

    let spis = (child.spi_in, child.spi_out);
    let rekeyed = near.rekey(&lab, Rekey::Ike("branch")).unwrap();
    let child = rekeyed.child().unwrap();
    assert_eq!((child.spi_in, child.spi_out), spis, "its child has moved to the new IKE SA");
    ping(&lab);
    let counters = near.counters(&lab).unwrap();
    assert_eq!((counters["ike-rekey-init"], counters["child-rekey"]), (1, 1));

    near.terminate(&lab, "branch").unwrap();
    until_gone(&lab, &near);
    until_gone(&lab, &far);
    let seen = look_at_the_wire(&capture.finish().unwrap());
    // 15 pings and their answers; 2 + 2 messages for the beginning, 3 rekeyings and deletions, the end.
    assert!(seen.esp >= 30 && seen.ike >= 12, "{seen:?}");
}

#[test]
fn a_user_with_a_password_gets_an_address() {
    let lab = Lab::up(Plan { members: 1, ..Plan::new("forward", "none") }).unwrap();
    let (mut near, mut far) = two(&lab);
    let gateway =
        Party::new("gateway.lab", Auth::Certificate(Authority::new("the lab").unwrap().issue("gateway.lab").unwrap()));
    let user = Party::new("carol", Auth::Password("Carol's own".into()));
    let road = Connection {
        remote_address: Some(GUEST),
        virtual_ips: vec![Ipv4Addr::UNSPECIFIED.into()],
        ..Connection::new("road", user.clone(), gateway.clone(), Child::tunnel("net", "dynamic", FAR))
    };
    let served = Connection { virtual_ips: Vec::new(), pool: Some(POOL.into()), ..mirrored(&road) };
    far.load(&lab, &[&served]).unwrap();
    let capture = Capture::start(&lab, "guest", "any", "charon", "ip").unwrap();
    let child = connect_and_check(&lab, &mut near, &road, FAR_HOST.parse().unwrap(), PINGS).unwrap();
    assert_eq!((&child.local_ts[..], &child.remote_ts[..]), (&["10.60.9.1/32".to_owned()][..], &[FAR.to_owned()][..]));
    until_gone(&lab, &far);

    // Who has another authority's word, or not the password, gets no further.
    let stranger = Authority::new("the lab").unwrap().issue("gateway.lab").unwrap();
    let misled = Connection { remote: Party::new("gateway.lab", Auth::Certificate(stranger)), ..road.clone() };
    let mistaken = Connection { local: Party::new("carol", Auth::Password("a guess".into())), ..road };
    for (connection, said) in [(misled, "no trusted"), (mistaken, "EAP-MS-CHAPv2")] {
        near.load(&lab, &[&connection]).unwrap();
        let problem = near.initiate(&lab, "net").unwrap_err();
        assert!(problem.0.contains(said), "{problem}");
    }
    let seen = look_at_the_wire(&capture.finish().unwrap());
    assert!(seen.esp >= 2 * PINGS as usize, "{seen:?}");
}
