//! RFC 9293's MUSTs, by number; `CONFORMANCE.md` is the whole table, and names those that are tested elsewhere.

use super::pair::{Bench, OUR_ISS, PEER_ISS};
use super::segments::blank;
use super::world::{MS, flow};
use crate::tcp::*;
use crate::wire::tcp::{FLAG_ACK, FLAG_FIN, FLAG_PSH, FLAG_RST, FLAG_SYN};

#[test]
fn must_2_and_3_checksums_are_made_and_checked() {
    let repr =
        Repr { flow: flow(0), seq: Seq(1), ack: Seq(2), flags: FLAG_ACK, window: 3, options: Options::default() };
    let mut buffer = [0; 30];
    let len = repr.emit([b"odd", b""], &mut buffer).unwrap();
    assert!(Segment::parse(&buffer[..len], flow(0).local_ip, flow(0).remote_ip).is_ok());
    buffer[len - 1] ^= 1;
    let result = Segment::parse(&buffer[..len], flow(0).local_ip, flow(0).remote_ip);
    assert_eq!(result, Err(SegmentError::Checksum));
}

#[test]
fn must_1_windows_are_unsigned() {
    let config = Config { mss: 60_000, ..Bench::plain() };
    let mut bench = Bench::established_with(&config, Options { mss: Some(60_000), ..Options::default() });
    bench.hear_segment(&Segment { window: 0xffff, ..Bench::segment(1, 1, FLAG_ACK, &[]) });
    bench.give(0xffff);
    let mut sent = 0;
    while sent < 0xffff {
        let said: usize = bench.said().iter().map(|said| said.payload.len()).sum();
        assert!(said > 0, "{sent} bytes fill no window of 65535");
        sent += said;
        if sent < 0xffff {
            // The congestion window opens, and the peer's moves no further.
            let left = 0xffff - sent as u16;
            let ack = 1 + sent as i64;
            bench.hear_segment(&Segment { window: left, ..Bench::segment(1, ack, FLAG_ACK, &[]) });
        }
    }
    assert_eq!(sent, 0xffff);
}

#[test]
fn must_4_end_no_operation_and_segment_size() {
    assert_eq!(Options::parse(&[1, 1, 2, 4, 2, 0, 0, 2, 4, 9, 9]).mss, Some(512), "what follows the end is nothing");
    assert_eq!(Options::parse(&[0, 2, 4, 2, 0]), Options::default());
}

#[test]
fn must_5_6_7_and_64_options_anywhere_unknown_absurd_and_unaligned() {
    // An unknown one (30), then the segment size unaligned, then one whose length is zero.
    let options = Options::parse(&[30, 3, 9, 2, 4, 5, 0xb4, 77, 0, 2, 4, 0, 1]);
    assert_eq!(options.mss, Some(1460));
    assert_eq!(Options::parse(&[2]), Options::default());
    assert_eq!(Options::parse(&[2, 200, 1, 1]), Options::default());
    let mut bench = Bench::established();
    let odd = Options { mss: Some(1), window_scale: Some(14), ..Options::default() };
    let outcome = bench.hear_segment(&Segment { options: odd, ..Bench::segment(1, 1, FLAG_ACK, b"x") });
    assert!(outcome.received());
}

#[test]
fn must_8_initial_numbers_follow_a_clock() {
    let source = IsnSource::new([1; 16]);
    assert_eq!(source.isn(&flow(0), 1_000_000_000).since(source.isn(&flow(0), 0)), 250_000);
}

#[test]
fn must_9_initial_numbers_follow_a_secret() {
    let isn = |key, port| IsnSource::new([key; 16]).isn(&Flow { remote_port: port, ..flow(0) }, 0);
    assert_eq!(isn(1, 7), isn(1, 7));
    let numbers: std::collections::HashSet<Seq> =
        (0..100).flat_map(|n| [isn(n, 7), isn(1, 1000 + u16::from(n))]).collect();
    assert_eq!(numbers.len(), 200, "another key or another connection, another number");
}

#[test]
fn must_10_both_may_open_at_once() {
    let mut bench = Bench::connecting(&Bench::plain());
    assert_eq!(bench.said_one().flags, FLAG_SYN);
    let syn = Segment { seq: PEER_ISS, flags: FLAG_SYN, window: 99, ..blank() };
    assert!(bench.hear_segment(&syn).initial_changed());
    assert_eq!(bench.endpoint.state(), State::SynReceived);
    assert_eq!(bench.said(), [], "the new Initial record is not committed");
    bench.confirm();
    let answer = bench.said_one();
    assert_eq!((answer.seq, answer.ack, answer.flags), (0, 1, FLAG_SYN | FLAG_ACK));
    assert!(bench.hear(0, 1, FLAG_SYN | FLAG_ACK, &[]).established());
    assert_eq!(bench.said_one().flags, FLAG_ACK);
}

#[test]
fn must_11_a_reset_in_syn_received_ends_this_attempt_only() {
    // Passive: its owner, which still listens, hears that this one is over; nothing was established.
    let mut bench = Bench::accepted(&Bench::plain(), Options::default());
    bench.said();
    let outcome = bench.hear(1, 1, FLAG_RST, &[]);
    assert!(outcome.closed() && outcome.reset() && !outcome.established());
    assert_eq!(bench.said(), []);
    // Active, both having opened: the one who opened hears that it was refused.
    let mut bench = Bench::connecting(&Bench::plain());
    bench.said();
    bench.hear_segment(&Segment { seq: PEER_ISS, flags: FLAG_SYN, window: 99, ..blank() });
    bench.confirm();
    bench.said();
    assert!(bench.hear(1, 1, FLAG_RST | FLAG_ACK, &[]).reset());
    assert!(bench.endpoint.is_done());
}

#[test]
fn must_12_a_reset_is_told_from_an_end() {
    let outcome = Bench::established().hear(1, 1, FLAG_RST, b"and this is why");
    assert!(outcome.reset() && outcome.closed() && !outcome.fin_received());
    let outcome = Bench::established().hear(1, 1, FLAG_FIN | FLAG_ACK, &[]);
    assert!(outcome.fin_received() && !outcome.closed() && !outcome.reset());
}

#[test]
fn must_13_time_wait_lasts() {
    let mut bench = Bench::established();
    bench.finish();
    assert_eq!(bench.said_one().flags, FLAG_ACK | FLAG_FIN);
    assert_eq!(bench.endpoint.state(), State::FinWait1);
    assert!(bench.hear(1, 2, FLAG_ACK, &[]).fin_acknowledged());
    assert_eq!(bench.endpoint.state(), State::FinWait2);
    bench.hear(1, 2, FLAG_ACK | FLAG_FIN, &[]);
    assert_eq!(bench.said_one().ack, 2);
    bench.now_ns += 1000 * MS;
    // The peer's FIN again: it is acknowledged again, and the wait begins anew.
    bench.hear(1, 2, FLAG_ACK | FLAG_FIN, &[]);
    assert_eq!(bench.said_one().ack, 2);
    assert_eq!(bench.wait_for(Timer::TimeWait), Config::default().time_wait_ns);
    assert!(bench.endpoint.is_done());
}

#[test]
fn must_14_15_16_and_65_segment_sizes() {
    let mut bench = Bench::accepted(&Bench::plain(), Options { mss: Some(700), ..Options::default() });
    assert_eq!(bench.said_one().options.mss, Some(1460));
    bench.hear(1, 1, FLAG_ACK, &[]);
    bench.give(1000);
    let said = bench.said();
    assert_eq!(said.iter().map(|said| said.payload.len()).collect::<Vec<_>>(), [700, 300]);
    assert!(said.iter().all(|said| said.options.mss.is_none()), "only a SYN names a size");
    let mut bench = Bench::established_with(&Bench::plain(), Options::default());
    bench.give(1000);
    assert_eq!(bench.said()[0].payload.len(), 536, "the default");
    let six = Flow { local_ip: "fd00::1".parse().unwrap(), remote_ip: "fd00::2".parse().unwrap(), ..flow(0) };
    assert_eq!(six.default_mss(), 1220);
    // Timestamps take their room from the payload.
    let timestamps = Some(Timestamps { value: 1, echo: 0 });
    let options = Options { mss: Some(700), timestamps, ..Options::default() };
    let config = Config { timestamps: true, ..Bench::plain() };
    let mut bench = Bench::accepted(&config, options);
    bench.said();
    let ack = Options { timestamps, ..Options::default() };
    bench.hear_segment(&Segment { options: ack, ..Bench::segment(1, 1, FLAG_ACK, &[]) });
    bench.give(1000);
    assert_eq!(bench.said()[0].payload.len(), 688);
}

#[test]
fn must_18_what_was_sent_twice_is_not_timed() {
    let mut bench = Bench::established();
    bench.give(10);
    bench.said();
    let before_ns = bench.wait_for(Timer::Retransmit);
    assert_eq!(bench.said_one().payload.len(), 10);
    bench.now_ns += 5000 * MS;
    bench.hear(1, 11, FLAG_ACK, &[]);
    bench.give(10);
    bench.said();
    assert_eq!(bench.wait_for(Timer::Retransmit), before_ns, "those 5 s were no round trip");
}

#[test]
fn must_19_timeouts_double_and_the_window_starts_small() {
    let mut bench = Bench::established();
    bench.give(20_000);
    assert_eq!(bench.said().len(), 10, "the initial window, and all of the peer's");
    let first_ns = bench.wait_for(Timer::Retransmit);
    assert_eq!(bench.said().len(), 1);
    assert_eq!(bench.wait_for(Timer::Retransmit), 2 * first_ns);
    assert_eq!(bench.said().len(), 1);
    assert_eq!(bench.wait_for(Timer::Retransmit), 4 * first_ns);
}

#[test]
fn must_19_a_lost_syn_makes_the_beginning_slow() {
    let mut bench = Bench::accepted(&Bench::plain(), Options { mss: Some(1000), ..Options::default() });
    bench.said();
    assert_eq!(bench.wait_for(Timer::Retransmit), 1000 * MS);
    bench.said();
    bench.hear(1, 1, FLAG_ACK, &[]);
    bench.give(5000);
    assert_eq!(bench.said().len(), 1);
    assert_eq!(bench.wait_for(Timer::Retransmit), 3000 * MS, "RFC 6298 rule 5.7");
}

/// The peer answered the first one; its answers were lost, and each tells the first one's time again.
#[test]
fn a_lost_syn_measures_no_round_trip() {
    let config = Config { timestamps: true, ..Bench::plain() };
    let stamped = |echo| {
        let timestamps = Some(Timestamps { value: 1, echo });
        Options { mss: Some(1000), timestamps, ..Options::default() }
    };
    let mut bench = Bench::accepted(&config, stamped(0));
    let first = bench.said_one().options.timestamps.unwrap().value;
    for _ in 0..3 {
        bench.wait_for(Timer::Retransmit);
        bench.said();
    }
    bench.hear_segment(&Segment { options: stamped(first), ..Bench::segment(1, 1, FLAG_ACK, &[]) });
    bench.give(5000);
    assert_eq!(bench.said().len(), 1);
    assert_eq!(bench.wait_for(Timer::Retransmit), 3000 * MS, "not seven seconds and their variance");
}

#[test]
fn must_20_and_21_what_nobody_acknowledges_ends_the_connection_when_its_owner_says() {
    let config = Config { user_timeout_ns: 100_000 * MS, ..Bench::plain() };
    let mut bench = Bench::established_with(&config, Options { mss: Some(1000), ..Options::default() });
    bench.give(10);
    let began_ns = bench.now_ns;
    let mut tries = 0;
    let outcome = loop {
        tries += bench.said().len();
        let (at_ns, _) = bench.endpoint.poll_timeout().unwrap();
        bench.now_ns = at_ns;
        let outcome = bench.endpoint.handle_timeout(at_ns);
        if outcome.closed() {
            break outcome;
        }
    };
    assert!(outcome.timed_out() && !outcome.reset());
    assert_eq!(bench.now_ns - began_ns, 100_000 * MS);
    assert!(tries >= 6, "{tries}");
    assert_eq!(bench.said_one().flags & FLAG_RST, FLAG_RST);
}

#[test]
fn must_22_and_23_a_syn_is_tried_for_three_minutes() {
    let mut bench = Bench::connecting(&Bench::plain());
    let began_ns = bench.now_ns;
    let mut tries = 0;
    while bench.endpoint.state() == State::SynSent {
        tries += bench.said().len();
        let (at_ns, _) = bench.endpoint.poll_timeout().unwrap();
        bench.now_ns = at_ns;
        bench.endpoint.handle_timeout(at_ns);
    }
    assert!(bench.now_ns - began_ns >= 180_000 * MS && tries >= 6, "{tries}");
}

#[test]
fn must_30_and_31_urgent_bytes_are_bytes() {
    const FLAG_URG: u8 = 0x20;
    let mut bench = Bench::established();
    assert!(bench.hear(1, 1, FLAG_ACK | FLAG_URG, b"so urgent").received());
    assert!(bench.hear(10, 1, FLAG_ACK | FLAG_URG, &[7; 3000]).received());
    assert_eq!((&bench.received()[..9], bench.rx.len()), (&b"so urgent"[..], 3009));
    assert_eq!(bench.said_one().ack, 3010);
}

#[test]
fn must_34_a_window_that_shrinks_is_borne() {
    let mut bench = Bench::established();
    bench.give(8000);
    assert_eq!(bench.said().len(), 8);
    bench.hear_segment(&Segment { window: 500, ..Bench::segment(1, 1001, FLAG_ACK, &[]) });
    bench.give(2000);
    assert_eq!(bench.said(), []);
    bench.wait_for(Timer::Retransmit);
    assert_eq!(bench.said_one().payload.len(), 500, "no further than the window is now");
    bench.hear(1, 8001, FLAG_ACK, &[]);
    assert_eq!(bench.said().iter().map(|said| said.payload.len()).sum::<usize>(), 2000);
}

/// A connection whose own window is shut: nobody takes what has come.
fn shut() -> Bench {
    let mut bench = Bench::established();
    for i in 0..10 {
        bench.hear(1 + i * 1000, 1, FLAG_ACK, &[7; 1000]);
    }
    assert_eq!(bench.said_one().window, 0);
    bench
}

#[test]
fn must_35_a_probe_of_our_shut_window_is_answered_and_waits() {
    let mut bench = shut();
    for _ in 0..3 {
        bench.hear(10_001, 1, FLAG_ACK, b"p");
        let answer = bench.said_one();
        assert_eq!((answer.ack, answer.window, answer.flags), (10_001, 0, FLAG_ACK));
    }
    bench.rx.trim_to(&mut bench.pool, 5000);
    assert_eq!(bench.said_one().window, 5000);
    assert!(bench.hear(10_001, 1, FLAG_ACK, b"p").received());
}

#[test]
fn must_66_resets_and_acks_count_though_our_window_is_shut() {
    let mut bench = shut();
    bench.give(10);
    bench.said();
    assert!(bench.hear(10_001, 11, FLAG_ACK, &[]).acknowledged());
    assert!(bench.hear(10_001, 11, FLAG_RST, &[]).reset());
}

#[test]
fn must_36_and_37_a_shut_window_is_probed_for_ever() {
    let mut bench = Bench::established();
    bench.hear_segment(&Segment { window: 0, ..Bench::segment(1, 1, FLAG_ACK, &[]) });
    bench.give(100);
    assert_eq!(bench.said(), []);
    let mut waits = Vec::new();
    for _ in 0..100 {
        waits.push(bench.wait_for(Timer::Persist) / MS);
        let probe = bench.said_one();
        assert_eq!((probe.seq, probe.payload.len()), (1, 1), "one octet of new data");
        bench.hear_segment(&Segment { window: 0, ..Bench::segment(1, 1, FLAG_ACK, &[]) });
    }
    assert_eq!(waits[..3], [waits[0], 2 * waits[0], 4 * waits[0]]);
    assert_eq!((waits[99], bench.endpoint.state()), (60_000, State::Established));
    assert!(bench.hear(1, 1, FLAG_ACK, &[]).window_opened());
    assert_eq!(bench.said_one().payload.len(), 100);
}

#[test]
fn must_38_the_sender_fills_no_silly_window() {
    let mut bench = Bench::established();
    bench.give(3000);
    bench.said();
    bench.give(3000);
    bench.said();
    bench.hear_segment(&Segment { window: 10, ..Bench::segment(1, 6001, FLAG_ACK, &[]) });
    bench.give(3000);
    assert_eq!(bench.said(), []);
    bench.wait_for(Timer::Persist);
    assert_eq!(bench.said_one().payload.len(), 10, "sooner or later it is used");
}

#[test]
fn must_39_the_receiver_offers_no_silly_window() {
    let mut bench = shut();
    bench.rx.trim_to(&mut bench.pool, 100);
    assert_eq!(bench.said(), []);
    bench.rx.trim_to(&mut bench.pool, 1459);
    assert_eq!(bench.said(), []);
    bench.rx.trim_to(&mut bench.pool, 1460);
    assert_eq!(bench.said_one().window, 1460);
}

#[test]
fn must_40_58_and_59_acks_wait_a_little_and_come_together() {
    let mut bench = Bench::established();
    bench.hear(1, 1, FLAG_ACK, b"one");
    assert_eq!(bench.said(), []);
    assert_eq!(bench.wait_for(Timer::DelayedAck), 40 * MS);
    assert_eq!(bench.said_one().ack, 4);
    bench.hear(4, 1, FLAG_ACK, b"two");
    bench.hear(7, 1, FLAG_ACK, b"three");
    bench.hear(12, 1, FLAG_ACK, b"four");
    assert_eq!(bench.said_one().ack, 16, "every second one is due, and all that is here is acknowledged together");
    bench.hear(16, 1, FLAG_ACK, b"five");
    bench.give(5);
    let reply = bench.said_one();
    assert_eq!(
        (reply.ack, reply.payload.len(), reply.flags),
        (20, 5, FLAG_ACK | FLAG_PSH),
        "with data, if there is any"
    );
}

#[test]
fn must_60_and_61_the_last_segment_pushes() {
    let mut bench = Bench::established();
    bench.give(2500);
    let pushes: Vec<bool> = bench.said().iter().map(|said| said.flags & FLAG_PSH != 0).collect();
    assert_eq!(pushes, [false, false, true]);
}

#[test]
fn must_68_and_69_options_have_lengths_and_fill_their_words() {
    let options = Options {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 1, echo: 2 }),
        ..Options::default()
    };
    let mut buffer = [0xee; 40];
    let len = options.emit(&mut buffer);
    assert_eq!((len % 4, buffer[len]), (0, 0xee), "no padding is needed behind them");
    let mut rest = &buffer[..len];
    while let [kind, after @ ..] = rest {
        // No-operation stands in front of what would not fill a word; every other kind names its length.
        rest = if *kind == 1 { after } else { &rest[usize::from(after[0])..] };
        assert!([1, 2, 3, 4, 8].contains(kind), "{kind}");
    }
    assert_eq!(Options::parse(&buffer[..len]), options);
}

#[test]
fn nothing_is_said_before_it_is_committed() {
    let mut bench = Bench::established();
    bench.commits = false;
    bench.hear(1, 1, FLAG_ACK, b"one");
    bench.hear(4, 1, FLAG_ACK | FLAG_FIN, b"two");
    assert_eq!(bench.said(), []);
    bench.rx.commit_to(3);
    assert_eq!(bench.said_one().ack, 4);
    bench.finish();
    assert_eq!(bench.said(), [], "our FIN would promise an end that only we know");
    bench.rx.commit_to(7);
    let fin = bench.said_one();
    assert_eq!((fin.ack, fin.flags, bench.endpoint.state()), (8, FLAG_ACK | FLAG_FIN, State::LastAck));
    bench.tx = Stream::new(0, 100);
    let mut bench = Bench::established();
    bench.tx.append(&mut bench.pool, b"abcdef");
    assert_eq!(bench.said(), []);
    bench.tx.commit_to(2);
    assert_eq!(bench.said_one().payload, [b'a', b'b']);
}

#[test]
fn a_syn_is_answered_once_its_record_is_committed() {
    let syn = Segment { seq: PEER_ISS, flags: FLAG_SYN, window: 1, ..blank() };
    let endpoint = Endpoint::listen_accept(&Bench::plain(), &syn, flow(0), OUR_ISS, 0);
    let mut bench = Bench::of(&Bench::plain(), endpoint);
    assert_eq!(bench.said(), []);
    bench.endpoint.confirm(77);
    assert_eq!(bench.said(), [], "another version");
    bench.confirm();
    assert_eq!(bench.said_one().flags, FLAG_SYN | FLAG_ACK);
    // The SYN again: so is the answer.
    bench.hear_segment(&syn);
    assert_eq!(bench.said_one().flags, FLAG_SYN | FLAG_ACK);
}

#[test]
fn a_restored_endpoint_says_where_it_is_and_sends_again() {
    let mut bench = Bench::established();
    bench.hear(1, 1, FLAG_ACK, b"got it");
    bench.give(2500);
    assert_eq!(bench.said().len(), 3);
    bench.restore(0);
    let said = bench.said();
    assert_eq!(
        said.iter().map(|said| (said.seq, said.ack, said.payload.len())).collect::<Vec<_>>(),
        [(1, 7, 1000), (1001, 7, 1000), (2001, 7, 500)]
    );
    // What the predecessor sent may be acknowledged before anything is sent again, but no more than that.
    bench.restore(0);
    assert!(bench.hear(7, 2501, FLAG_ACK, &[]).acknowledged());
    assert_eq!(bench.tx.start(), 2500);
    assert_eq!(bench.hear(7, 2502, FLAG_ACK, &[]).refused(), Some(Refused::BadAck));
}

#[test]
fn timestamps_go_on_after_a_takeover_and_measure_nothing_across_it() {
    let config = Config { timestamps: true, ..Bench::plain() };
    let at = |value, echo| Options { timestamps: Some(Timestamps { value, echo }), ..Options::default() };
    let mut bench = Bench::accepted(&config, at(100, 0));
    let first = bench.said_one().options.timestamps.unwrap();
    assert_eq!(first.echo, 100);
    bench.hear_segment(&Segment { options: at(101, first.value), ..Bench::segment(1, 1, FLAG_ACK, &[]) });
    bench.give(10);
    let before = bench.said_one().options.timestamps.unwrap();
    // The record is 7 s old, and the successor's clock is elsewhere.
    let (initial, essential) = bench.endpoint.save(bench.now_ns);
    bench.now_ns = 3 * MS;
    let saved = Saved { initial, essential, age_ns: 7000 * MS };
    let Bench { rx, tx, pool, .. } = &mut bench;
    bench.endpoint = Endpoint::restore(&config, &saved, rx, tx, pool, 3 * MS).unwrap();
    bench.confirm();
    let after = bench.said_one().options.timestamps.unwrap();
    assert_eq!(after.value.wrapping_sub(before.value), 8000);
    bench.now_ns += 9000 * MS;
    bench.hear_segment(&Segment { options: at(102, before.value), ..Bench::segment(1, 11, FLAG_ACK, &[]) });
    bench.give(10);
    bench.said();
    assert!(bench.wait_for(Timer::Retransmit) <= 1000 * MS * 40);
}

#[test]
fn a_connection_may_begin_in_the_middle_of_its_streams() {
    let syn = Segment { seq: PEER_ISS, flags: FLAG_SYN, window: 10_000, ..blank() };
    let endpoint = Endpoint::listen_accept(&Bench::plain(), &syn, flow(0), OUR_ISS, 0).with_bases(28, 5);
    let mut bench = Bench::of(&Bench::plain(), endpoint);
    // Somebody has put a header in front of the peer's bytes, and others have passed before ours.
    bench.rx.append(&mut bench.pool, &[1; 28]);
    bench.rx.commit_to(28);
    bench.tx = Stream::new(5, 1000);
    bench.confirm();
    assert_eq!(bench.said_one().ack, 1);
    bench.hear(1, 1, FLAG_ACK, b"hello");
    bench.give(3);
    let said = bench.said_one();
    assert_eq!((said.seq, said.ack, said.payload.len()), (1, 6, 3));
    assert_eq!((&bench.received()[28..], bench.rx.end()), (&b"hello"[..], 33));
    bench.restore(0);
    assert!(bench.hear(6, 4, FLAG_ACK, b"!").acknowledged());
    assert_eq!((bench.tx.start(), bench.rx.end()), (8, 34));
}
