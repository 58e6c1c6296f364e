//! A frame's summary and unit: offsets lie within the frame, both readers agree, both directions of a forwarded flow
//! meet in one unit, and the burst form says the same as the single one.

use phalanx_dataplane::filter::{Filter, Scheme};
use phalanx_dataplane::parse::{Family, Summary, summarise, summarise_l3, summarise_trusted};
use phalanx_dataplane::unit::{UNITS, Unit};
use phalanx_dataplane::wire::proto;

/// See the module. The first byte picks the port's VLAN.
pub(super) fn target(data: &[u8]) {
    let Some((&choice, frame)) = data.split_first() else { return };
    let vlan = (choice & 1 == 1).then_some(100);
    if let Ok(summary) = summarise(frame, vlan) {
        assert_eq!(summarise_trusted(frame, vlan), Ok(summary));
        check(&summary, frame);
        let bare = summarise_l3(summary.l3(frame)).expect("the IP packet of a sound frame is sound");
        let moved = Summary {
            l3_offset: bare.l3_offset + summary.l3_offset,
            l4_offset: bare.l4_offset + summary.l3_offset,
            l3_end: bare.l3_end + summary.l3_offset,
            ..bare
        };
        assert_eq!(moved, summary);
    } else if let Ok(summary) = summarise_trusted(frame, vlan) {
        check(&summary, frame);
    }
    if let Ok(summary) = summarise_l3(frame) {
        check(&summary, frame);
    }
}

fn check(summary: &Summary, frame: &[u8]) {
    assert!(summary.l3_offset <= summary.l4_offset && summary.l4_offset <= summary.l3_end, "{summary:?}");
    assert!(usize::from(summary.l3_end) <= frame.len(), "{summary:?}");
    for scheme in [Scheme::Classic, Scheme::Steered] {
        let filter = Filter::new(scheme, [7; 16]);
        let payload = summary.l4(frame);
        let forwarded = filter.unit(summary, false, payload);
        assert!(forwarded.index() < UNITS);
        assert!(filter.unit(summary, true, payload).index() < UNITS);
        assert_eq!(filter.unit_of_frame(summary, false, frame), forwarded);
        // An ICMP error belongs to the flow that it quotes, so its own addresses say nothing.
        if !matches!(summary.proto, proto::ICMP | proto::ICMPV6) {
            assert_eq!(filter.unit(&turned(summary), false, payload), forwarded, "{scheme:?} {summary:?}");
            if summary.family == Family::V4 {
                let mut units = [Unit::from_low_bits(0); 1];
                filter.units4(&[summary.src as u32], &[summary.dst as u32], &mut units);
                assert_eq!(units, [forwarded]);
            }
        }
    }
}

/// The same packet on its way back.
fn turned(summary: &Summary) -> Summary {
    Summary { src: summary.dst, dst: summary.src, src_port: summary.dst_port, dst_port: summary.src_port, ..*summary }
}
