//! Deaths under IPsec: strongSwan's tunnels to a cluster, packets flowing both ways, and one owner after the other killed, frozen or
//! cut off, the master among them, in calm, during handshakes and during rekeyings. No peer may have to shake hands again, no
//! tunnel may be lost, no sequence number or IV may come twice, no packet may be accepted twice.
//!
//!     cargo test --release -p phalanx-tests --test ipsec_kill -- --test-threads=1
//!
//! `IPSEC_KILLS` (3) says how often, `IPSEC_TUNNELS` (20) under how many tunnels, `IPSEC_SEED` which, `IPSEC_GUEST` (1) whether a guest
//! whose kernel does ESP is another peer. Reports and pictures are `target/ipsec-kill/MODE.json` and `.png`.
//!
//! | file | what |
//! | --- | --- |
//! | `peers` | the tunnels, and whether they are still the same |
//! | `guest` | the peer with its own kernel |
//! | `strike` | what is done to a member |
//! | `run` | one run: step after step |
//! | `report` | what was found, and what must be true of it |

#[path = "ipsec_kill/guest.rs"]
mod guest;
#[path = "ipsec_kill/peers.rs"]
mod peers;
#[path = "ipsec_kill/report.rs"]
mod report;
#[path = "ipsec_kill/run.rs"]
mod run;
#[path = "ipsec_kill/strike.rs"]
mod strike;

#[test]
fn forward() {
    run::through("forward");
}

#[test]
fn unicast() {
    run::through("unicast");
}

#[test]
fn multicast() {
    run::through("multicast");
}
