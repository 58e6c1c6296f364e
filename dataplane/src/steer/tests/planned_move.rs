//! A unit moves from A to B while packets flow: in every delivery mode each is processed once, and in order; also if the move is given
//! up at any step.

use super::support::*;
use crate::steer::{Mode, ReleaseTo, Source};
use proptest::prelude::*;

/// When each step of the move happens, as counts of packets that have flowed by then.
#[derive(Clone, Copy, Debug)]
struct Times {
    logged: u64,
    holding: u64,
    stopped: u64,
    released: u64,
    end: u64,
    /// It is not released: A goes on.
    given_up: bool,
}

fn times() -> impl Strategy<Value = Times> {
    (prop::array::uniform5(0..20u64), any::<bool>()).prop_map(|(gaps, given_up)| {
        let mut at = 0;
        let [logged, holding, stopped, released, end] = gaps.map(|gap| {
            at += gap;
            at
        });
        Times { logged, holding, stopped, released, end, given_up }
    })
}

fn assert_once_in_order(a: &Station, b: &Station, end: u64) {
    a.assert_balance();
    b.assert_balance();
    assert!(a.diary.processed.is_sorted() && b.diary.processed.is_sorted());
    let all: Vec<_> = a.diary.processed.iter().chain(&b.diary.processed).copied().collect();
    assert_eq!(all, (0..end).collect::<Vec<_>>(), "A then B, each packet once");
}

/// The table that ends the move: B has the unit now, or A goes on with what it kept since it stopped. In which order they hear of it
/// does not matter.
fn decide(a: &mut Station, b: &mut Station, given_up: bool, log: Vec<u32>) {
    if given_up {
        b.release(ReleaseTo::Nowhere, Vec::new());
        a.set(Mode::Mine);
        b.set(Mode::Drop);
    } else {
        b.release(ReleaseTo::Here, log);
        b.set(Mode::Mine);
        a.release(ReleaseTo::Nowhere, Vec::new());
        a.set(Mode::Drop);
    }
}

proptest! {
    /// Both see every packet.
    #[test]
    fn unicast(t in times(), late in 0..4usize) {
        let (mut a, mut b) = (Station::new(1), Station::new(2));
        a.set(Mode::Mine);
        let mut log = Vec::new();
        // B's copies may still be in its receive queue when an order is obeyed.
        let mut on_the_way = std::collections::VecDeque::new();
        for packet in 0..=t.end {
            if packet == t.logged {
                a.set(Mode::MineLogged);
            }
            if packet == t.holding {
                // A's logging was acknowledged before B was told to hold.
                on_the_way.drain(..).for_each(|p| b.receive(Source::Direct, p));
                b.set(Mode::Hold);
            }
            if packet == t.stopped {
                log = a.set(Mode::Hold).flatten().unwrap_or_default();
            }
            if packet == t.released {
                decide(&mut a, &mut b, t.given_up, log.clone());
            }
            if packet < t.end {
                a.receive(Source::Direct, packet);
                on_the_way.push_back(packet);
                while on_the_way.len() > late {
                    let p = on_the_way.pop_front().expect("not empty");
                    b.receive(Source::Direct, p);
                }
            }
        }
        on_the_way.drain(..).for_each(|p| b.receive(Source::Direct, p));
        assert_once_in_order(&a, &b, t.end);
    }

    /// The master (neither A nor B) sees every packet and sends it to both.
    #[test]
    fn forward(t in times(), late in 0..4usize) {
        let (a_id, b_id) = (member(1), member(2));
        let (mut m, mut a, mut b) = (Station::new(3), Station::new(1), Station::new(2));
        m.set(Mode::Relay(a_id));
        a.set(Mode::Mine);
        let mut log = Vec::new();
        let mut on_the_way = std::collections::VecDeque::new();
        for packet in 0..=t.end {
            if packet == t.logged {
                a.set(Mode::MineLogged);
            }
            if packet == t.holding {
                b.set(Mode::Hold);
                m.set(Mode::RelayBoth { from: a_id, to: b_id });
            }
            if packet == t.stopped {
                log = a.set(Mode::Hold).flatten().unwrap_or_default();
            }
            if packet == t.released {
                decide(&mut a, &mut b, t.given_up, log.clone());
                m.set(Mode::Relay(if t.given_up { a_id } else { b_id }));
            }
            if packet < t.end {
                m.receive(Source::Direct, packet);
            }
            for (to, p) in m.diary.passed_on.split_off(0) {
                m.received -= 1;
                if to == a_id {
                    a.receive(Source::Member(member(3)), p);
                } else {
                    on_the_way.push_back(p);
                }
            }
            while on_the_way.len() > late {
                let p = on_the_way.pop_front().expect("not empty");
                b.receive(Source::Member(member(3)), p);
            }
        }
        on_the_way.drain(..).for_each(|p| b.receive(Source::Member(member(3)), p));
        assert_once_in_order(&a, &b, t.end);
    }

    /// The master itself is A.
    #[test]
    fn forward_from_the_master(t in times()) {
        let b_id = member(2);
        let (mut a, mut b) = (Station::new(1), Station::new(2));
        a.set(Mode::Mine);
        let mut log = Vec::new();
        for packet in 0..=t.end {
            if packet == t.holding {
                b.set(Mode::Hold);
                a.set(Mode::RelayBoth { from: member(1), to: b_id });
            }
            if packet == t.stopped {
                log = a.set(Mode::Hold).flatten().unwrap_or_default();
            }
            if packet == t.released && t.given_up {
                b.release(ReleaseTo::Nowhere, Vec::new());
                b.set(Mode::Drop);
                a.set(Mode::Mine);
            } else if packet == t.released {
                b.release(ReleaseTo::Here, log.clone());
                b.set(Mode::Mine);
                // What it kept, it passes on.
                a.set(Mode::Relay(b_id));
            }
            if packet < t.end {
                a.receive(Source::Direct, packet);
            }
            for (_, p) in a.diary.passed_on.split_off(0) {
                a.received -= 1;
                b.receive(Source::Member(member(1)), p);
            }
        }
        assert_once_in_order(&a, &b, t.end);
    }

    /// The master itself is B: it keeps copies of what it passes on to A.
    #[test]
    fn forward_to_the_master(t in times()) {
        let a_id = member(1);
        let (mut a, mut b) = (Station::new(1), Station::new(2));
        a.set(Mode::Mine);
        b.set(Mode::Relay(a_id));
        let mut log = Vec::new();
        for packet in 0..=t.end {
            if packet == t.logged {
                a.set(Mode::MineLogged);
            }
            if packet == t.holding {
                b.set(Mode::RelayBoth { from: a_id, to: member(2) });
            }
            if packet == t.stopped {
                log = a.set(Mode::Hold).flatten().unwrap_or_default();
            }
            if packet == t.released && t.given_up {
                b.release(ReleaseTo::Nowhere, Vec::new());
                a.set(Mode::Mine);
                b.set(Mode::Relay(a_id));
            } else if packet == t.released {
                decide(&mut a, &mut b, false, log.clone());
            }
            if packet < t.end {
                b.receive(Source::Direct, packet);
            }
            for (_, p) in b.diary.passed_on.split_off(0) {
                b.received -= 1;
                a.receive(Source::Member(member(2)), p);
            }
        }
        assert_once_in_order(&a, &b, t.end);
    }
}
