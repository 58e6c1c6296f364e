//! Deaths under terminated TCP: many long connections through a relay, bytes flowing both ways, among them those of `curl`, `nc` and
//! `ssh`, and one owner after the other killed with `kill -9`, every third the master. No connection may be reset, no byte lost,
//! doubled or out of place. How long each connection had to wait around each death goes into a report, and into a picture.
//!
//!     cargo test --release -p phalanx-tests --test relay_kill -- --test-threads=1
//!
//! `MODE`: nothing but deaths. `MODE_changes`: deaths in turn with members that drain, leave, freeze or lose their cables, drawn from
//! a seed. `RELAY_KILLS` (100) and `RELAY_STREAMS` (1000) say how much of it, `RELAY_SEED` which; reports and pictures are
//! `target/relay-kill/MODE.json` and `.png`.

#[path = "relay_kill/report.rs"]
mod report;
#[path = "relay_kill/run.rs"]
mod run;

use run::Course;

#[test]
fn forward() {
    run::through("forward", Course::Deaths);
}

#[test]
fn unicast() {
    run::through("unicast", Course::Deaths);
}

#[test]
fn multicast() {
    run::through("multicast", Course::Deaths);
}

#[test]
fn forward_changes() {
    run::through("forward", Course::Changes);
}

#[test]
fn unicast_changes() {
    run::through("unicast", Course::Changes);
}

#[test]
fn multicast_changes() {
    run::through("multicast", Course::Changes);
}
