//! The records' codecs: golden bytes, what is refused, and what a newer member may append.

use super::pair::Bench;
use super::segments::flow6;
use super::world::flow;
use crate::tcp::*;
use proptest::prelude::*;

fn initial() -> InitialState {
    InitialState {
        flow: flow(0),
        iss: Seq(0x0102_0304),
        irs: Seq(0x0506_0708),
        tx_base: 9,
        rx_base: 10,
        peer_mss: 1460,
        snd_scale: 7,
        rcv_scale: 2,
        window_scaling: true,
        timestamps: true,
        sack: false,
    }
}

fn essential() -> EssentialState {
    EssentialState {
        state: State::CloseWait,
        snd_una: 1000,
        snd_wnd: 65_535,
        wl1: 11,
        wl2: 12,
        rcv_nxt: 13,
        right_edge: 14,
        ts_recent: 15,
        tsval: 16,
    }
}

/// Version 1 of the Initial record. A change of these bytes is a change of the format: write a new version.
const INITIAL_V1: &str = "0106000000000000000000000000c0000201000000000000000000000000c000020203e903ea\
    010203040506070800000000000000090000000000000 00a05b40702";
const ESSENTIAL_V1: &str = "010500000000000003e80000ffff000000000000000b000000000000000c000000000000000d\
    000000000000000e0000000f00000010";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn version_1_is_what_it_was() {
    assert_eq!(initial().encode().to_vec(), unhex(INITIAL_V1));
    assert_eq!(essential().encode().to_vec(), unhex(ESSENTIAL_V1));
    assert_eq!(InitialState::decode(&unhex(INITIAL_V1)), Ok(initial()));
    assert_eq!(EssentialState::decode(&unhex(ESSENTIAL_V1)), Ok(essential()));
    let six = InitialState { flow: flow6(), ..initial() };
    assert_eq!(InitialState::decode(&six.encode()), Ok(six));
}

#[test]
fn fields_of_a_newer_member_are_skipped_and_less_is_refused() {
    let mut longer = initial().encode().to_vec();
    longer.extend([1, 2, 3]);
    assert_eq!(InitialState::decode(&longer), Ok(initial()));
    let mut longer = essential().encode().to_vec();
    longer.push(0xff);
    assert_eq!(EssentialState::decode(&longer), Ok(essential()));
    for len in 0..InitialState::ENCODED_LEN {
        assert_eq!(InitialState::decode(&initial().encode()[..len]), Err(RecordError::Truncated), "{len}");
    }
    for len in 0..EssentialState::ENCODED_LEN {
        assert_eq!(EssentialState::decode(&essential().encode()[..len]), Err(RecordError::Truncated), "{len}");
    }
}

#[test]
fn impossible_values_are_refused() {
    let with = |at: usize, byte: u8| {
        let mut bytes = initial().encode();
        bytes[at] = byte;
        InitialState::decode(&bytes)
    };
    assert_eq!(with(0, 2), Err(RecordError::Version(2)));
    assert_eq!(with(2, 1), Err(RecordError::Value), "no IPv4 address is that long");
    assert_eq!(with(64, 15), Err(RecordError::Value), "window scale");
    let mut bytes = essential().encode();
    bytes[1] = 10;
    assert_eq!(EssentialState::decode(&bytes), Err(RecordError::Value));
    bytes[1] = 2;
    bytes[2] = 0x80;
    assert_eq!(EssentialState::decode(&bytes), Err(RecordError::Value), "a negative position");
}

#[test]
fn records_that_contradict_the_streams_are_refused() {
    let mut bench = Bench::established();
    bench.give(10);
    let (initial, mut essential) = bench.endpoint.save(bench.now_ns);
    essential.snd_una = 12;
    let saved = Saved { initial, essential, age_ns: 0 };
    let Bench { rx, tx, pool, .. } = &mut bench;
    let result = Endpoint::restore(&Bench::plain(), &saved, rx, tx, pool, 0);
    assert_eq!(result.err(), Some(RecordError::Mismatch));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_and_what_is_read_is_restored_or_refused(
        one in prop::collection::vec(any::<u8>(), 0..80), two in prop::collection::vec(any::<u8>(), 0..80),
        start in 0..1000u64, age_ns: u64, now_ns: u64,
    ) {
        let (mut one, mut two) = (one, two);
        // Most bytes are not a version.
        one.iter_mut().take(1).chain(two.iter_mut().take(1)).for_each(|version| *version = 1);
        let initial = InitialState::decode(&one);
        let essential = EssentialState::decode(&two);
        if let (Ok(initial), Ok(essential)) = (initial, essential) {
            prop_assert_eq!(InitialState::decode(&initial.encode()), Ok(initial));
            let (mut rx, mut tx, mut pool) = (Stream::new(start, 9), Stream::new(start, 9), ChunkPool::new(4));
            let saved = Saved { initial, essential, age_ns };
            if let Ok(mut endpoint) = Endpoint::restore(&Config::default(), &saved, &mut rx, &mut tx, &mut pool, now_ns) {
                endpoint.confirm(1);
                let mut buffer = [0; 1500];
                let _ = endpoint.poll_transmit(now_ns, &rx, &tx, &pool, &mut buffer);
            }
        }
    }
}
