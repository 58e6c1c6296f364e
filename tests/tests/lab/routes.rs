//! Routes that change while packets flow (SIGHUP): a new one routes at once, a removed one ends in an ICMP message.

use std::time::Duration;

use phalanx_tests::lab::{Lab, Outcome, Plan, clock, failure};

use crate::operation::{await_log, reload};

/// Networks behind the server that no port is connected to.
const ROUTES: &str = "\n[[route]]\nto = \"10.77.0.0/24\"\nvia = \"10.3.0.100\"\n\n[[route]]\nto = \"fd00:77::/64\"\nvia = \"fd00:3::100\"\n";
const FAR: [&str; 2] = ["10.77.0.1", "fd00:77::1"];

/// What the client hears of an address: both streams.
fn ping(lab: &Lab, to: &str) -> Outcome<String> {
    let done = lab.exec("client", &["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", to])?;
    Ok(format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)))
}

/// Waits until the client hears one of these words of every far address; errors in between are no matter, for each
/// member's workers take a change over by themselves.
fn await_word(lab: &Lab, words: &[&str]) {
    for to in FAR {
        let look = || match ping(lab, to)? {
            said if words.iter().any(|word| said.contains(word)) => Ok(()),
            said => Err(failure(format!("{to}: {said}"))),
        };
        clock::until(Duration::from_secs(6), Duration::from_millis(50), look).unwrap();
    }
}

/// ICMP's word (type 3 code 0, RFC 792; ICMPv6 type 1 code 0, RFC 4443) as ping prints it.
const REFUSALS: [&str; 2] = ["Destination Net Unreachable", "Destination unreachable: No route"];

fn on_every_member(lab: &Lab, change: impl Fn(&str) -> String) {
    for id in 1..=3 {
        let from = reload(lab, id, &change);
        let line = await_log(lab, id, from, &["reloaded"]).unwrap();
        assert!(line.contains("routes: Some"), "{line}");
    }
}

fn routes_change_live(mode: &'static str) {
    let lab = Lab::up(Plan::new(mode, "none")).unwrap();
    for (family, to, via) in [("-4", "10.77.0.0/24", "10.2.0.10"), ("-6", "fd00:77::/64", "fd00:2::10")] {
        lab.run("client", &["ip", family, "route", "add", to, "via", via]).unwrap();
    }
    lab.run("server", &["ip", "addr", "add", "10.77.0.1/32", "dev", "lo"]).unwrap();
    lab.run("server", &["ip", "addr", "add", "fd00:77::1/128", "dev", "lo", "nodad"]).unwrap();
    let pids = [1, 2, 3].map(|id| lab.pid(id).unwrap());
    await_word(&lab, &REFUSALS);
    on_every_member(&lab, |text| format!("{text}{ROUTES}"));
    await_word(&lab, &[" 0% packet loss"]);
    on_every_member(&lab, |text| text.replacen(ROUTES, "", 1));
    await_word(&lab, &REFUSALS);
    lab.healthy().unwrap();
    assert_eq!([1, 2, 3].map(|id| lab.pid(id).unwrap()), pids, "a reload is no restart");
}

#[test]
fn forward_routes_change_live() {
    routes_change_live("forward");
}

#[test]
fn unicast_routes_change_live() {
    routes_change_live("unicast");
}
