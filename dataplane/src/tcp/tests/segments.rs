//! Segments and options: what is written can be read, and any bytes can be looked at.

use crate::tcp::options::OPTIONS_LEN_MAX;
use crate::tcp::*;
use crate::wire::tcp::{FLAG_ACK, FLAG_RST, FLAG_SYN};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv6Addr};

fn options() -> impl Strategy<Value = Options> {
    let blocks = prop::collection::vec((any::<u32>(), any::<u32>()), 0..5);
    let timestamps = prop::option::of((any::<u32>(), any::<u32>()));
    (prop::option::of(any::<u16>()), prop::option::of(0..15u8), any::<bool>(), timestamps, blocks).prop_map(
        |(mss, window_scale, sack_permitted, timestamps, blocks)| {
            let timestamps = timestamps.map(|(value, echo)| Timestamps { value, echo });
            let mut options = Options { mss, window_scale, sack_permitted, timestamps, ..Options::default() };
            for (left, right) in blocks {
                options.sack.push(Seq(left), Seq(right));
            }
            options
        },
    )
}

pub(super) fn flow6() -> Flow {
    let ip = |n| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n));
    Flow { local_ip: ip(1), local_port: 80, remote_ip: ip(2), remote_port: 40_000 }
}

proptest! {
    #[test]
    fn what_is_written_is_read(options in options(), seq: u32, ack: u32, window: u16, six: bool,
        payload in prop::collection::vec(any::<u8>(), 0..100), cut in 0..100usize) {
        let flow = if six { flow6() } else { super::world::flow(0) };
        let repr = Repr { flow, seq: Seq(seq), ack: Seq(ack), flags: FLAG_ACK, window, options };
        let (one, two) = payload.split_at(cut.min(payload.len()));
        let mut buffer = [0xaa; 200];
        let len = repr.emit([one, two], &mut buffer).unwrap();
        prop_assert!(options.buffer_len() <= OPTIONS_LEN_MAX && options.buffer_len() % 4 == 0);
        let segment = Segment::parse(&buffer[..len], flow.local_ip, flow.remote_ip).unwrap();
        prop_assert_eq!((segment.seq, segment.ack, segment.window), (Seq(seq), Seq(ack), window));
        prop_assert_eq!(segment.payload, &payload[..]);
        let mut expected = options;
        expected.sack.truncate(segment.options.sack.as_slice().len());
        prop_assert_eq!(segment.options.sack.as_slice(), expected.sack.as_slice());
        prop_assert_eq!((segment.options.mss, segment.options.window_scale), (options.mss, options.window_scale));
        prop_assert_eq!(segment.options.timestamps, options.timestamps);
        // One bit wrong anywhere, and it is no segment.
        buffer[cut % len] ^= 4;
        prop_assert!(Segment::parse(&buffer[..len], flow.local_ip, flow.remote_ip).is_err());
        prop_assert!(repr.emit([one, two], &mut buffer[..len - 1]).is_err());
    }

    #[test]
    fn any_bytes_can_be_looked_at(data in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = Segment::parse_verified(&data);
        let _ = Options::parse(&data);
    }

    #[test]
    fn positions_survive_the_wire(first: u32, near in 0..1i64 << 40, by in -0x7fff_ffffi64..0x7fff_ffff) {
        let first = Seq(first);
        prop_assert_eq!(first.at(near + by).pos(first, near), near + by);
    }
}

#[test]
fn sequence_numbers_wrap() {
    assert!(Seq(u32::MAX).is_before(Seq(0)) && !Seq(0).is_before(Seq(u32::MAX)));
    assert_eq!(Seq(u32::MAX).plus(2), Seq(1));
    assert_eq!(Seq(5).since(Seq(u32::MAX)), 6);
}

#[test]
fn three_sack_blocks_fit_beside_timestamps_and_four_without() {
    let mut options = Options::default();
    (0..6).for_each(|n| options.sack.push(Seq(n), Seq(n + 1)));
    assert_eq!(options.buffer_len(), 36);
    options.timestamps = Some(Timestamps::default());
    assert_eq!(options.buffer_len(), 40);
}

#[test]
fn a_stranger_is_refused_with_a_number_that_it_believes() {
    let flow = super::world::flow(0);
    let syn = Segment { seq: Seq(7), ack: Seq(0), flags: FLAG_SYN, payload: b"xy", ..blank() };
    let mut buffer = [0; 60];
    let len = refuse(&flow, &syn, &mut buffer).unwrap();
    let answer = Segment::parse(&buffer[..len], flow.local_ip, flow.remote_ip).unwrap();
    assert_eq!((answer.seq, answer.ack, answer.flags), (Seq(0), Seq(10), FLAG_RST | FLAG_ACK));
    let ack = Segment { seq: Seq(7), ack: Seq(99), flags: FLAG_ACK, ..blank() };
    let len = refuse(&flow, &ack, &mut buffer).unwrap();
    let answer = Segment::parse(&buffer[..len], flow.local_ip, flow.remote_ip).unwrap();
    assert_eq!((answer.seq, answer.flags), (Seq(99), FLAG_RST));
    assert_eq!(refuse(&flow, &Segment { flags: FLAG_RST, ..blank() }, &mut buffer), None);
}

pub(super) fn blank() -> Segment<'static> {
    Segment {
        source_port: 0,
        destination_port: 0,
        seq: Seq(0),
        ack: Seq(0),
        flags: 0,
        window: 0,
        options: Options::default(),
        payload: &[],
    }
}
