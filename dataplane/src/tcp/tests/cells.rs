//! Every state against every kind of segment (RFC 9293 section 3.10.7): where it leads, and why it was refused.

use super::pair::Bench;
use crate::tcp::*;
use crate::wire::tcp::{FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN};

/// A connection in this state; then the peer's next position, and what acknowledges all of ours.
fn in_state(state: State) -> (Bench, i64, i64) {
    let mut bench = match state {
        State::SynSent => Bench::connecting(&Bench::plain()),
        State::SynReceived => Bench::accepted(&Bench::plain(), Options::default()),
        _ => Bench::established(),
    };
    let (mut next, mut all) = (1, 1);
    let peer_ends = matches!(state, State::CloseWait | State::Closing | State::LastAck | State::TimeWait);
    let we_end = matches!(state, State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck | State::TimeWait);
    if peer_ends && state == State::LastAck || state == State::CloseWait {
        bench.hear(1, 1, FLAG_ACK | FLAG_FIN, &[]);
    }
    if we_end {
        bench.finish();
        all = 2;
    }
    bench.said();
    if matches!(state, State::FinWait2 | State::TimeWait) {
        bench.hear(1, 2, FLAG_ACK, &[]);
    }
    if matches!(state, State::Closing | State::TimeWait) {
        bench.hear(1, 1, FLAG_ACK | FLAG_FIN, &[]);
    }
    if peer_ends {
        next = 2;
    }
    if state == State::Closed {
        bench.endpoint.abort();
    }
    bench.said();
    assert_eq!(bench.endpoint.state(), state);
    (bench, next, all)
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Reset,
    ResetNear,
    Syn,
    NoAck,
    AckTooHigh,
    AckAll,
    Data,
    DataFar,
    Fin,
}

const KINDS: [Kind; 9] = [
    Kind::Reset,
    Kind::ResetNear,
    Kind::Syn,
    Kind::NoAck,
    Kind::AckTooHigh,
    Kind::AckAll,
    Kind::Data,
    Kind::DataFar,
    Kind::Fin,
];

fn hear(bench: &mut Bench, kind: Kind, next: i64, all: i64) -> Outcome {
    match kind {
        Kind::Reset => bench.hear(next, all, FLAG_RST | FLAG_ACK, &[]),
        Kind::ResetNear => bench.hear(next + 5, all, FLAG_RST | FLAG_ACK, &[]),
        Kind::Syn => bench.hear(next + 5, 0, FLAG_SYN, &[]),
        Kind::NoAck => bench.hear(next, 0, 0, b"x"),
        Kind::AckTooHigh => bench.hear(next, all + 1, FLAG_ACK, b"x"),
        Kind::AckAll => bench.hear(next, all, FLAG_ACK, &[]),
        Kind::Data => bench.hear(next, all, FLAG_ACK, b"data"),
        Kind::DataFar => bench.hear(next + 20_000, all, FLAG_ACK, b"data"),
        Kind::Fin => bench.hear(next, all, FLAG_ACK | FLAG_FIN, &[]),
    }
}

#[test]
fn every_state_meets_every_kind_of_segment() {
    use Refused as R;
    use State::*;
    type Cell = (State, Option<Refused>);
    let ok = |state| (state, None);
    let no = |state, why| (state, Some(why));
    // Before our FIN is acknowledged, between, and after it; columns as in KINDS.
    let usual = |state: State, acked: State, data: Cell, fin: Cell| -> [Cell; 9] {
        [
            ok(Closed),
            no(state, R::ForgedReset),
            no(state, R::StraySyn),
            no(state, R::NoAck),
            no(state, R::BadAck),
            ok(acked),
            data,
            no(state, R::OutOfWindow),
            fin,
        ]
    };
    let ended = |state: State, acked: State| {
        let after = if acked == Closed { ok(Closed) } else { no(acked, R::AfterFin) };
        usual(state, acked, after, after)
    };
    let table: [(State, [Cell; 9]); 10] = [
        (
            SynSent,
            [
                ok(Closed),
                ok(Closed),
                ok(SynReceived),
                no(SynSent, R::NoAck),
                no(SynSent, R::BadAck),
                no(SynSent, R::NoAck),
                no(SynSent, R::NoAck),
                no(SynSent, R::NoAck),
                no(SynSent, R::NoAck),
            ],
        ),
        (SynReceived, usual(SynReceived, Established, ok(Established), ok(CloseWait))),
        (Established, usual(Established, Established, ok(Established), ok(CloseWait))),
        (FinWait1, usual(FinWait1, FinWait2, ok(FinWait2), ok(TimeWait))),
        (FinWait2, usual(FinWait2, FinWait2, ok(FinWait2), ok(TimeWait))),
        (CloseWait, ended(CloseWait, CloseWait)),
        (Closing, ended(Closing, TimeWait)),
        (LastAck, ended(LastAck, Closed)),
        (TimeWait, ended(TimeWait, TimeWait)),
        (Closed, [no(Closed, R::Closed); 9]),
    ];
    for (state, row) in table {
        for (kind, expected) in KINDS.into_iter().zip(row) {
            let (mut bench, next, all) = in_state(state);
            let outcome = hear(&mut bench, kind, next, all);
            assert_eq!((bench.endpoint.state(), outcome.refused()), expected, "{state:?} {kind:?}");
            assert_eq!(outcome.closed(), state != Closed && expected.0 == Closed, "{state:?} {kind:?}");
            bench.said();
        }
    }
}
