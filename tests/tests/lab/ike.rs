//! IKEv2: Debian's strongSwan connects to the cluster.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use phalanx_tests::lab::charon::{Auth, Charon, Child, Connection, Party, connect_and_check};
use phalanx_tests::lab::{Lab, Plan, stage};

const CLUSTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 10));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 100));
const SECRET: &str = "a secret of the lab's hosts";
const PINGS: u32 = 20;

/// What the members are told.
fn config() -> String {
    format!(
        "[[ipsec.connection]]\nname = \"branch\"\nlocal_id = \"gw.lab\"\npsk = \"{SECRET}\"\n\
         [[ipsec.connection.child]]\nname = \"net\"\nlocal_ts = [\"10.3.0.0/24\"]\nremote_ts = [\"10.60.0.0/16\"]\n"
    )
}

fn psk(id: &str) -> Party {
    Party::new(id, Auth::Psk(SECRET.into()))
}

#[test]
fn a_client_with_a_shared_key_reaches_the_inside() {
    let lab = Lab::up(Plan { members: 1, config: Some(config()), ..Plan::new("forward", "none") }).unwrap();
    lab.await_healthy(Duration::from_secs(30)).unwrap();
    lab.run("client", &["ip", "address", "add", "10.60.1.1/32", "dev", "lo"]).unwrap();
    lab.run("server", &["ip", "route", "add", "10.60.0.0/16", "via", "10.3.0.10"]).unwrap();
    let mut charon = Charon::in_namespace(&lab, "client").unwrap();
    let connection = Connection {
        local_address: Some(CLIENT),
        remote_address: Some(CLUSTER),
        ..Connection::new("branch", psk("near.lab"), psk("gw.lab"), Child::tunnel("net", "10.60.1.0/24", "10.3.0.0/24"))
    };
    let child = connect_and_check(&lab, &mut charon, &connection, stage::server(false), PINGS).unwrap();
    assert_eq!(child.remote_ts, ["10.3.0.0/24"]);
}
