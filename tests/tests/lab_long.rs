//! The partition suites in the delivery modes that CI leaves out. Needs root.
//!
//!     cargo test --release -p phalanx-tests --test lab_long -- --test-threads=1

#[path = "lab/plans.rs"]
mod plans;

use phalanx_tests::lab::traffic::Server;
use phalanx_tests::lab::{Lab, Plan, scenario};

fn play(mode: &'static str, quorum: &'static str) {
    let mut lab = Lab::up(Plan::new(mode, quorum)).unwrap();
    let _server = Server::start(&lab, "server").unwrap();
    scenario::run_all(&mut lab, &plans::everything(quorum));
}

#[test]
fn unicast_none() {
    play("unicast", "none");
}

#[test]
fn unicast_majority() {
    play("unicast", "majority");
}

#[test]
fn multicast_none() {
    play("multicast", "none");
}

#[test]
fn multicast_majority() {
    play("multicast", "majority");
}
