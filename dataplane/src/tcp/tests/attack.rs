//! Blind attacks (RFC 5961, 5927), old duplicates (PAWS), and other nonsense.

use super::pair::Bench;
use super::segments::blank;
use super::world::MS;
use crate::tcp::*;
use crate::wire::tcp::{FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN};

#[test]
fn a_reset_counts_only_if_it_hits_the_next_octet() {
    let mut bench = Bench::established();
    for (seq, refused) in [(2, Refused::ForgedReset), (9000, Refused::ForgedReset), (0, Refused::OutOfWindow)] {
        let outcome = bench.hear(seq, 1, FLAG_RST, &[]);
        assert_eq!((outcome.refused(), bench.endpoint.state()), (Some(refused), State::Established), "{seq}");
    }
    let challenge = bench.said_one();
    assert_eq!((challenge.seq, challenge.ack, challenge.flags), (1, 1, FLAG_ACK));
    assert_eq!(bench.hear(50_000, 1, FLAG_RST, &[]).refused(), Some(Refused::OutOfWindow));
    assert_eq!(bench.said(), []);
    assert!(bench.hear(1, 0, FLAG_RST, &[]).reset());
}

#[test]
fn a_reset_that_answers_our_last_ack_counts_though_more_is_received() {
    let mut bench = Bench::established();
    bench.commits = false;
    bench.hear(1, 1, FLAG_ACK, b"not committed");
    assert!(bench.hear(1, 1, FLAG_RST, &[]).reset());
}

#[test]
fn a_syn_is_challenged_wherever_it_falls() {
    let mut bench = Bench::established();
    for seq in [0, 1, 500] {
        let outcome = bench.hear(seq, 1, FLAG_SYN, &[]);
        assert!(outcome.refused().is_some() && !outcome.closed(), "{seq}");
        assert_eq!((bench.said_one().flags, bench.endpoint.state()), (FLAG_ACK, State::Established));
    }
}

#[test]
fn data_with_an_impossible_ack_is_dropped() {
    let mut bench = Bench::established();
    bench.give(10);
    bench.said();
    for ack in [12, -10_001, 1 << 30] {
        let outcome = bench.hear(1, ack, FLAG_ACK, b"evil");
        assert_eq!((outcome.refused(), outcome.received()), (Some(Refused::BadAck), false), "{ack}");
    }
    assert_eq!(bench.said_one().flags, FLAG_ACK);
    assert!(bench.hear(1, -9_000, FLAG_ACK, b"late").received());
}

#[test]
fn challenges_are_limited() {
    let mut bench = Bench::established();
    let mut answers = 0;
    for _ in 0..100 {
        bench.hear(500, 1, FLAG_RST, &[]);
        answers += bench.said().len();
    }
    assert_eq!(answers, 10);
    bench.now_ns += 1000 * MS;
    bench.hear(500, 1, FLAG_RST, &[]);
    bench.said_one();
}

#[test]
fn data_out_of_window_is_not_taken_and_overlaps_are_trimmed() {
    let mut bench = Bench::established();
    assert_eq!(bench.hear(10_002, 1, FLAG_ACK, b"beyond").refused(), Some(Refused::OutOfWindow));
    assert_eq!(bench.said_one().ack, 1);
    bench.hear(1, 1, FLAG_ACK, b"abc");
    bench.hear(0, 1, FLAG_ACK, b"xabcdef");
    assert_eq!(bench.received(), b"abcdef");
    assert_eq!(bench.hear(1, 1, FLAG_ACK, b"zzzzzz").refused(), Some(Refused::OutOfWindow));
    // Across the right edge: what fits is taken.
    let outcome = bench.hear(7, 1, FLAG_ACK, &[9; 11_000]);
    assert!(outcome.received());
    assert_eq!(bench.rx.len(), 10_000);
}

#[test]
fn what_begins_before_the_syn_leaves_a_sound_record() {
    let mut bench = Bench::accepted(&Bench::plain(), Options::default());
    bench.said();
    assert!(bench.hear(-200, 1, FLAG_ACK, &[3; 300]).established());
    assert_eq!(bench.rx.len(), 99);
    bench.hear(-300, 1, FLAG_ACK, &[4; 500]);
    let essential = bench.endpoint.save_essential(0);
    assert_eq!(EssentialState::decode(&essential.encode()), Ok(essential));
}

#[test]
fn data_out_of_order_is_kept_reported_and_bounded() {
    let config = Config { sack: true, ..Bench::plain() };
    let options = Options { sack_permitted: true, mss: Some(1000), ..Options::default() };
    let mut bench = Bench::established_with(&config, options);
    for i in 1..=20 {
        bench.hear(1 + i * 20, 1, FLAG_ACK, b"island");
        assert_eq!(bench.said_one().ack, 1, "reported at once");
    }
    bench.hear(101, 1, FLAG_ACK, b"island");
    let said = bench.said_one();
    let newest = said.options.sack.as_slice()[0];
    assert_eq!(newest.0.since(super::pair::PEER_ISS), 101 + 20 - 20);
    assert_eq!(said.options.sack.as_slice().len(), 4);
    bench.hear(1, 1, FLAG_ACK, &[0; 20]);
    assert_eq!(bench.rx.len(), 26, "the gap is closed");
    assert_eq!(&bench.received()[20..], b"island");
}

#[test]
fn a_fin_before_its_data_waits_for_it() {
    let mut bench = Bench::established();
    assert!(!bench.hear(4, 1, FLAG_ACK | FLAG_FIN, b"def").fin_received());
    let outcome = bench.hear(1, 1, FLAG_ACK, b"abc");
    assert!(outcome.fin_received() && bench.endpoint.state() == State::CloseWait);
    assert_eq!(bench.received(), b"abcdef");
    assert_eq!(bench.said_one().ack, 8);
    assert!(bench.hear(8, 1, FLAG_ACK, b"more").refused().is_some());
    assert_eq!(bench.received(), b"abcdef");
}

#[test]
fn old_timestamps_are_refused_until_they_say_nothing_any_more() {
    let at = |value| Options { timestamps: Some(Timestamps { value, echo: 0 }), ..Options::default() };
    let config = Config { timestamps: true, ..Bench::plain() };
    let mut bench = Bench::accepted(&config, at(1000));
    bench.said();
    bench.hear_segment(&Segment { options: at(1001), ..Bench::segment(1, 1, FLAG_ACK, b"a") });
    let old = Segment { options: at(999), ..Bench::segment(2, 1, FLAG_ACK, b"b") };
    assert_eq!(bench.hear_segment(&old).refused(), Some(Refused::OldTimestamp));
    let none = Bench::segment(2, 1, FLAG_ACK, b"b");
    assert_eq!(bench.hear_segment(&none).refused(), Some(Refused::NoTimestamp));
    assert!(bench.hear_segment(&Segment { options: at(1002), ..old }).received());
    bench.now_ns += 25 * 24 * 3_600_000 * MS;
    let much_later = Segment { options: at(5), ..Bench::segment(3, 1, FLAG_ACK, b"c") };
    assert!(bench.hear_segment(&much_later).received());
    assert_eq!(bench.received(), b"abc");
}

#[test]
fn a_segment_is_made_smaller_only_by_one_who_saw_it() {
    let mut bench = Bench::established();
    let quoted = |pos| super::pair::OUR_ISS.at(pos);
    assert!(!bench.endpoint.handle_too_big(quoted(1), 900), "nothing is in flight");
    bench.give(2000);
    assert_eq!(bench.said().len(), 2);
    assert!(!bench.endpoint.handle_too_big(quoted(2001), 900), "not in flight");
    assert!(!bench.endpoint.handle_too_big(quoted(1), 1500), "not smaller");
    assert!(bench.endpoint.handle_too_big(quoted(1001), 900));
    assert_eq!(bench.said().iter().map(|said| said.payload.len()).collect::<Vec<_>>(), [860, 860, 280]);
    assert!(bench.endpoint.handle_too_big(quoted(1), 10), "but never absurdly small");
    assert_eq!(bench.said()[0].payload.len(), 536);
}

#[test]
fn must_56_a_host_that_refuses_ends_only_what_is_not_open_yet() {
    let quoted = |pos| super::pair::OUR_ISS.at(pos);
    let mut bench = Bench::connecting(&Bench::plain());
    assert!(!bench.endpoint.handle_refused(quoted(0)), "nothing was sent yet");
    bench.said();
    assert!(!bench.endpoint.handle_refused(quoted(1)), "it quotes what was not sent");
    assert!(bench.endpoint.handle_refused(quoted(0)) && bench.endpoint.is_done());
    assert_eq!((bench.said(), bench.endpoint.poll_timeout()), (vec![], None));
    let mut bench = Bench::established();
    bench.give(10);
    bench.said();
    assert!(!bench.endpoint.handle_refused(quoted(1)));
    assert_eq!(bench.endpoint.state(), State::Established);
}

#[test]
fn a_syn_in_time_wait_may_begin_a_new_connection() {
    let mut bench = Bench::established();
    bench.finish();
    bench.said();
    bench.hear(1, 2, FLAG_ACK | FLAG_FIN, &[]);
    assert_eq!(bench.endpoint.state(), State::TimeWait);
    let syn = |pos| Segment { seq: super::pair::PEER_ISS.at(pos), flags: FLAG_SYN, ..blank() };
    assert!(bench.endpoint.yields_to(&syn(1000)) && !bench.endpoint.yields_to(&syn(1)));
}

#[test]
fn in_syn_sent_only_the_right_answer_counts() {
    let mut bench = Bench::connecting(&Bench::plain());
    bench.said();
    assert_eq!(bench.hear(0, 7, FLAG_ACK | FLAG_SYN, &[]).refused(), Some(Refused::BadAck));
    let reset = bench.said_one();
    assert_eq!((reset.seq, reset.flags), (7, FLAG_RST));
    assert!(!bench.hear(0, 7, FLAG_RST | FLAG_ACK, &[]).closed());
    assert!(!bench.hear(0, 0, FLAG_RST, &[]).closed());
    assert!(bench.hear(0, 1, FLAG_RST | FLAG_ACK, &[]).reset());
    let mut bench = Bench::connecting(&Bench::plain());
    bench.said();
    assert!(bench.hear(0, 1, FLAG_SYN | FLAG_ACK, &[]).established());
    assert_eq!(bench.said(), []);
    bench.confirm();
    assert_eq!(bench.said_one().ack, 1);
}

#[test]
fn an_abort_tells_the_peer() {
    let mut bench = Bench::established();
    bench.hear(1, 1, FLAG_ACK, b"abc");
    bench.endpoint.abort();
    assert!(!bench.endpoint.is_done());
    let reset = bench.said_one();
    assert_eq!((reset.seq, reset.flags), (1, FLAG_RST | FLAG_ACK));
    assert!(bench.endpoint.is_done());
    assert_eq!(bench.hear(4, 1, FLAG_ACK, b"d").refused(), Some(Refused::Closed));
}
