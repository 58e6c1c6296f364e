//! SYN cookies.

use super::segments::blank;
use super::world::flow;
use crate::tcp::*;
use crate::wire::tcp::{FLAG_ACK, FLAG_SYN};

const CLOCK_S: u64 = 1_000_000;

fn syn(options: Options) -> Segment<'static> {
    Segment { seq: Seq(77), flags: FLAG_SYN, window: 5000, options, ..blank() }
}

/// The SYN-ACK's number and options.
fn answer(jar: &CookieJar, options: Options) -> (Seq, Options) {
    let mut buffer = [0; 100];
    let len = jar.answer(&Config::default(), &flow(0), &syn(options), CLOCK_S, 5_000_000_000, &mut buffer).unwrap();
    let segment = Segment::parse(&buffer[..len], flow(0).local_ip, flow(0).remote_ip).unwrap();
    assert_eq!((segment.ack, segment.flags), (Seq(78), FLAG_SYN | FLAG_ACK));
    (segment.seq, segment.options)
}

fn ack(cookie: Seq, timestamps: Option<Timestamps>) -> Segment<'static> {
    let options = Options { timestamps, ..Options::default() };
    Segment { seq: Seq(78), ack: cookie.plus(1), flags: FLAG_ACK, window: 100, options, ..blank() }
}

#[test]
fn a_cookie_brings_back_what_was_agreed_on() {
    let jar = CookieJar::new([7; 16]);
    let asked = Options {
        mss: Some(1400),
        window_scale: Some(9),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 5, echo: 0 }),
        ..Options::default()
    };
    let (cookie, offered) = answer(&jar, asked);
    let echo = offered.timestamps.unwrap().value;
    let ack = ack(cookie, Some(Timestamps { value: 6, echo }));
    let accepted = jar.check(&flow(0), &ack, CLOCK_S + 60).expect("a sound cookie");
    let mut endpoint = Endpoint::from_cookie(&Config::default(), flow(0), &ack, &accepted, 5_000_000_000);
    assert_eq!(endpoint.state(), State::Established);
    let (initial, essential) = endpoint.save(5_000_000_000);
    assert_eq!((initial.iss, initial.irs, initial.peer_mss), (cookie, Seq(77), 1400));
    assert_eq!((initial.snd_scale, initial.sack, initial.timestamps), (9, true, true));
    assert_eq!(essential.snd_wnd, 100 << 9);
    assert!(essential.tsval.wrapping_sub(echo) as i32 > 0, "our clock goes on from the cookie's");
    // Nothing before the record is committed.
    let (rx, mut tx, mut pool) = (Stream::new(0, 1000), Stream::new(0, 1000), ChunkPool::new(4));
    tx.append(&mut pool, b"hello");
    tx.commit_to(5);
    let mut buffer = [0; 1500];
    assert_eq!(endpoint.poll_transmit(5_000_000_000, &rx, &tx, &pool, &mut buffer), None);
    endpoint.confirm(1);
    assert!(endpoint.poll_transmit(5_000_000_000, &rx, &tx, &pool, &mut buffer).is_some());
}

#[test]
fn a_peer_without_timestamps_gets_neither_scale_nor_sack() {
    let jar = CookieJar::new([7; 16]);
    let asked = Options { mss: Some(9000), window_scale: Some(9), sack_permitted: true, ..Options::default() };
    let (cookie, offered) = answer(&jar, asked);
    assert_eq!((offered.window_scale, offered.sack_permitted, offered.timestamps), (None, false, None));
    let ack = ack(cookie, None);
    let accepted = jar.check(&flow(0), &ack, CLOCK_S).unwrap();
    let endpoint = Endpoint::from_cookie(&Config::default(), flow(0), &ack, &accepted, 0);
    let initial = endpoint.save_initial();
    assert_eq!((initial.peer_mss, initial.snd_scale, initial.rcv_scale, initial.sack), (8960, 0, 0, false));
}

#[test]
fn forged_and_stale_cookies_are_refused() {
    let jar = CookieJar::new([7; 16]);
    let (cookie, _) = answer(&jar, Options::default());
    assert!(jar.check(&flow(0), &ack(cookie, None), CLOCK_S).is_some());
    assert!(jar.check(&flow(0), &ack(cookie, None), CLOCK_S + 200).is_none(), "too old");
    assert!(jar.check(&flow(1), &ack(cookie, None), CLOCK_S).is_none(), "another connection");
    assert!(jar.check(&flow(0), &ack(cookie.plus(1), None), CLOCK_S).is_none());
    assert!(CookieJar::new([8; 16]).check(&flow(0), &ack(cookie, None), CLOCK_S).is_none(), "another key");
    let other = Segment { seq: Seq(79), ..ack(cookie, None) };
    assert!(jar.check(&flow(0), &other, CLOCK_S).is_none(), "another peer number");
    let guesses = (0..10_000u32).filter(|n| jar.check(&flow(0), &ack(Seq(n * 429_497), None), CLOCK_S).is_some());
    assert!(guesses.count() <= 1);
}

#[test]
fn only_a_plain_syn_gets_a_cookie() {
    let mut buffer = [0; 100];
    for flags in [FLAG_ACK, FLAG_SYN | FLAG_ACK, 0] {
        let segment = Segment { flags, ..syn(Options::default()) };
        let jar = CookieJar::new([7; 16]);
        assert_eq!(jar.answer(&Config::default(), &flow(0), &segment, CLOCK_S, 0, &mut buffer), None);
    }
}

#[test]
fn initial_numbers_differ_by_connection_and_by_time() {
    let source = IsnSource::new([3; 16]);
    assert_ne!(source.isn(&flow(0), 0), source.isn(&flow(1), 0));
    assert_eq!(source.isn(&flow(0), 4_000_000).since(source.isn(&flow(0), 0)), 1000);
    assert_ne!(source.isn(&flow(0), 0), IsnSource::new([4; 16]).isn(&flow(0), 0));
    assert!(!format!("{source:?} {:?}", CookieJar::new([3; 16])).contains('3'));
}
