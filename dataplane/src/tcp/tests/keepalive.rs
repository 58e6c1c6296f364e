//! Keepalive (RFC 9293 section 3.8.4), by Figure 7's inactivity time.

use super::pair::Bench;
use super::world::MS;
use crate::tcp::*;
use crate::wire::tcp::{FLAG_ACK, FLAG_RST};

const KEEPALIVE: Keepalive = Keepalive { idle_ns: 600_000 * MS, interval_ns: 75_000 * MS, probes_max: 3 };

fn bench() -> Bench {
    let config = Config { keepalive: Some(KEEPALIVE), ..Bench::plain() };
    Bench::established_with(&config, Options { mss: Some(1000), ..Options::default() })
}

/// Waits, timer by timer, until it says something; how long that was.
fn silence(bench: &mut Bench) -> u64 {
    let began_ns = bench.now_ns;
    loop {
        bench.wait_for(Timer::Keepalive);
        let said = bench.said();
        if let [probe] = said.as_slice() {
            assert_eq!((probe.seq, probe.payload.len(), probe.flags), (probe.seq.min(0), 0, FLAG_ACK), "an old number");
            return bench.now_ns - began_ns;
        }
        assert_eq!(said, []);
    }
}

#[test]
fn must_24_25_27_and_28_keepalives_are_asked_for_and_late_by_default() {
    assert_eq!(Config::default().keepalive, None);
    assert_eq!(Bench::established().endpoint.poll_timeout(), None);
    assert_eq!(Keepalive::default().idle_ns, 2 * 3_600_000 * MS);
    assert_eq!(Keepalive::after(9 * MS), Keepalive { idle_ns: 9 * MS, interval_ns: 9 * MS, probes_max: 9 });
    assert_eq!(silence(&mut bench()), KEEPALIVE.idle_ns);
}

#[test]
fn must_26_probes_go_only_to_the_silent_and_only_if_nothing_is_on_its_way() {
    let mut bench = bench();
    // Something is heard after five minutes, and after ten: the probe comes ten minutes after that.
    for _ in 0..2 {
        bench.now_ns += 300_000 * MS;
        while bench.endpoint.poll_timeout().is_some_and(|(at_ns, _)| at_ns <= bench.now_ns) {
            bench.endpoint.handle_timeout(bench.now_ns);
        }
        bench.hear(1, 1, FLAG_ACK, &[]);
        assert_eq!(bench.said(), []);
    }
    assert_eq!(silence(&mut bench), KEEPALIVE.idle_ns);
    bench.hear(1, 1, FLAG_ACK, &[]);
    // What is on its way is sent again, and no probe.
    bench.give(10);
    let began_ns = bench.now_ns;
    while bench.now_ns < began_ns + KEEPALIVE.idle_ns + 60_000 * MS {
        assert!(bench.said().iter().all(|said| said.payload.len() == 10));
        let (at_ns, _) = bench.endpoint.poll_timeout().unwrap();
        bench.now_ns = at_ns;
        bench.endpoint.handle_timeout(at_ns);
    }
    assert_eq!(bench.endpoint.state(), State::Established);
}

#[test]
fn must_29_one_answer_is_enough_and_only_the_last_silence_counts() {
    let mut bench = bench();
    silence(&mut bench);
    assert_eq!(silence(&mut bench), KEEPALIVE.interval_ns);
    // One answer, and it begins anew.
    bench.hear(1, 1, FLAG_ACK, &[]);
    assert_eq!(silence(&mut bench), KEEPALIVE.idle_ns);
    for _ in 1..KEEPALIVE.probes_max {
        assert_eq!(silence(&mut bench), KEEPALIVE.interval_ns);
    }
    assert_eq!(bench.endpoint.state(), State::Established);
    bench.wait_for(Timer::Keepalive);
    assert_eq!(bench.endpoint.state(), State::Closed);
    assert_eq!(bench.said_one().flags & FLAG_RST, FLAG_RST);
}

#[test]
fn a_successor_watches_from_its_takeover_on() {
    let mut bench = bench();
    bench.now_ns += 500_000 * MS;
    let (initial, essential) = bench.endpoint.save(bench.now_ns);
    let saved = Saved { initial, essential, age_ns: 0 };
    let config = Config { keepalive: Some(KEEPALIVE), ..Bench::plain() };
    bench.endpoint =
        Endpoint::restore(&config, &saved, &mut bench.rx, &mut bench.tx, &mut bench.pool, bench.now_ns).unwrap();
    bench.confirm();
    bench.said();
    assert_eq!(silence(&mut bench), KEEPALIVE.idle_ns);
}
