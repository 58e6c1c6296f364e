//! Every state and edge of the table above, then a long random walk against a naive model.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const SECOND: u64 = 1_000_000_000;

/// Three requests, a second apart.
fn limits() -> Limits {
    Limits { request_interval_ns: SECOND, tries_max: 3, ..Limits::default() }
}
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 10]);

fn hop(n: u32) -> NextHop {
    NextHop::new(0, IpAddr::V4((0x0a02_0000 + n).into()))
}

fn table(limits: Limits) -> Table<u32> {
    Table::new(limits, 42)
}

/// What a call puts into its sink.
fn during<R>(call: impl FnOnce(&mut dyn FnMut(Action<u32>)) -> R) -> (R, Vec<Action<u32>>) {
    let mut actions = Vec::new();
    let result = call(&mut |action| actions.push(action));
    (result, actions)
}

fn request(n: u32, unicast_to: Option<MacAddr>) -> Action<u32> {
    Action::SendRequest { hop: hop(n), unicast_to }
}

fn known(n: u32, now_ns: u64) -> Table<u32> {
    let mut table = table(limits());
    table.enqueue(hop(n), 0, Sender::Host, now_ns, &mut |_| {}).unwrap();
    table.handle_learned(hop(n), MAC, Evidence::Reply, now_ns, &mut |_| {});
    table
}

#[test]
fn packets_wait_for_the_answer_in_order() {
    let mut table = table(limits());
    assert_eq!(table.resolve(hop(1), 0, &mut |_| {}), None);
    let (result, actions) = during(|mut sink| table.enqueue(hop(1), 10, Sender::Host, 0, &mut sink));
    assert_eq!((result, actions), (Ok(()), vec![request(1, None)]));
    let (_, actions) = during(|mut sink| table.enqueue(hop(1), 11, Sender::Host, 1, &mut sink));
    assert_eq!(actions, vec![]);
    let (learned, actions) = during(|mut sink| table.handle_learned(hop(1), MAC, Evidence::Reply, 2, &mut sink));
    let deliver = |packet| Action::Deliver { packet, hop: hop(1), mac: MAC };
    assert_eq!((learned, actions), (Learned::New, vec![deliver(10), deliver(11)]));
    assert_eq!(table.resolve(hop(1), 3, &mut |_| {}), Some(MAC));
    let (_, actions) = during(|mut sink| table.enqueue(hop(1), 12, Sender::Host, 4, &mut sink));
    assert_eq!(actions, vec![deliver(12)]);
}

#[test]
fn three_requests_then_unreachable() {
    let mut table = table(limits());
    table.enqueue(hop(1), 10, Sender::Host, 0, &mut |_| {}).unwrap();
    for try_number in 1..=2 {
        let due = try_number * SECOND;
        assert_eq!(table.poll_timeout(), Some(due));
        assert_eq!(during(|mut sink| table.poll(due - 1, &mut sink)).1, vec![]);
        assert_eq!(during(|mut sink| table.poll(due, &mut sink)).1, vec![request(1, None)]);
    }
    let (_, actions) = during(|mut sink| table.poll(3 * SECOND, &mut sink));
    assert_eq!(actions, vec![Action::Unreachable { packet: 10, hop: hop(1) }]);
    assert_eq!((table.len(), table.poll_timeout()), (0, None));
}

/// Whoever was cut off asks anew, and gives nobody up for what was asked in vain.
#[test]
fn what_was_asked_in_vain_is_asked_again() {
    let mut table = table(limits());
    table.enqueue(hop(1), 10, Sender::Own, 0, &mut |_| {}).unwrap();
    table.handle_learned(hop(2), MAC, Evidence::Gratuitous, 0, &mut |_| {});
    table.poll(SECOND, &mut |_| {});
    table.poll(2 * SECOND, &mut |_| {});
    let back = 2 * SECOND + SECOND / 2;
    assert_eq!(during(|mut sink| table.ask_again(back, &mut sink)).1, vec![request(1, None)]);
    // The verdict that was due by then is none.
    assert_eq!(during(|mut sink| table.poll(3 * SECOND, &mut sink)).1, vec![]);
    assert_eq!(during(|mut sink| table.poll(back + SECOND, &mut sink)).1, vec![request(1, None)]);
    let learned = during(|mut sink| table.handle_learned(hop(1), MAC, Evidence::Reply, back + 2, &mut sink));
    assert_eq!(learned, (Learned::New, vec![Action::Deliver { packet: 10, hop: hop(1), mac: MAC }]));
    assert_eq!(during(|mut sink| table.ask_again(back + 3, &mut sink)).1, vec![]);
}

#[test]
fn a_stale_neighbour_is_used_and_probed() {
    let mut table = known(1, 0);
    let late = 31 * SECOND;
    let (mac, actions) = during(|mut sink| table.resolve(hop(1), late, &mut sink));
    assert_eq!((mac, actions), (Some(MAC), vec![request(1, Some(MAC))]));
    // Only one probe is under way.
    assert_eq!(during(|mut sink| table.resolve(hop(1), late + 1, &mut sink)), (Some(MAC), vec![]));
    // An answer ends it: its timer does nothing.
    table.handle_learned(hop(1), MAC, Evidence::Reply, late + 2, &mut |_| {});
    assert_eq!(during(|mut sink| table.poll(late + 2 * SECOND, &mut sink)).1, vec![]);
    // Without one the entry goes.
    let later = late + 60 * SECOND;
    assert!(table.resolve(hop(1), later, &mut |_| {}).is_some());
    for second in 1..=2 {
        let (_, actions) = during(|mut sink| table.poll(later + second * SECOND, &mut sink));
        assert_eq!(actions, vec![request(1, Some(MAC))]);
    }
    table.poll(later + 3 * SECOND, &mut |_| {});
    assert_eq!(table.resolve(hop(1), later + 3 * SECOND, &mut |_| {}), None);
}

#[test]
fn strangers_are_not_believed() {
    let mut table = known(1, 0);
    let mut learn = |n, mac, evidence| table.handle_learned(hop(n), mac, evidence, 1, &mut |_| {});
    assert_eq!(learn(2, MAC, Evidence::Reply), Learned::Ignored);
    assert_eq!(learn(2, MAC, Evidence::Gratuitous), Learned::Ignored);
    assert_eq!(learn(1, MacAddr::BROADCAST, Evidence::Reply), Learned::Ignored);
    assert_eq!(learn(1, MacAddr([3, 0x50, 0x48, 0, 0, 1]), Evidence::Reply), Learned::Ignored);
    assert_eq!(learn(1, MacAddr::ZERO, Evidence::Gratuitous), Learned::Ignored);
    assert_eq!(learn(2, MAC, Evidence::RequestForUs), Learned::New);
    assert_eq!(learn(1, MAC, Evidence::Gratuitous), Learned::Confirmed);
    assert_eq!(learn(1, MAC, Evidence::WeakReply), Learned::Confirmed);
    assert_eq!(learn(1, OTHER, Evidence::WeakReply), Learned::Ignored);
    assert_eq!(learn(1, OTHER, Evidence::Gratuitous), Learned::Moved);
    // A neighbour that moved unasked is used at once, and asked.
    let (mac, actions) = during(|mut sink| table.resolve(hop(1), 2, &mut sink));
    assert_eq!((mac, actions), (Some(OTHER), vec![request(1, Some(OTHER))]));
}

#[test]
fn a_scan_fills_only_its_share() {
    let limits = Limits { entries_max: 8, incomplete_max: 2, queue_max: 2, own_max: 2, ..limits() };
    let mut table = table(limits);
    assert_eq!(table.handle_learned(hop(100), MAC, Evidence::RequestForUs, 0, &mut |_| {}), Learned::New);
    for n in 0..2 {
        table.enqueue(hop(n), n, Sender::Host, 0, &mut |_| {}).unwrap();
    }
    assert_eq!(table.enqueue(hop(2), 7, Sender::Host, 0, &mut |_| {}), Err((7, Refusal::TableFull)));
    table.enqueue(hop(1), 8, Sender::Host, 0, &mut |_| {}).unwrap();
    assert_eq!(table.enqueue(hop(1), 9, Sender::Host, 0, &mut |_| {}), Err((9, Refusal::QueueFull)));
    // The member's own packets find room yet, for whichever of them, but not for ever.
    table.enqueue(hop(1), 10, Sender::Own, 0, &mut |_| {}).unwrap();
    table.enqueue(hop(1), 11, Sender::Own, 0, &mut |_| {}).unwrap();
    assert_eq!(table.enqueue(hop(0), 12, Sender::Host, 0, &mut |_| {}), Ok(()));
    assert_eq!(table.enqueue(hop(1), 13, Sender::Own, 0, &mut |_| {}), Err((13, Refusal::QueueFull)));
    assert_eq!((table.len(), table.waiting()), (3, 6));
    // A port that goes down gives everything back.
    let (_, actions) = during(|mut sink| table.forget_port(0, &mut sink));
    assert_eq!((actions.len(), table.len(), table.waiting()), (6, 0, 0));
    table.enqueue(hop(2), 7, Sender::Host, 0, &mut |_| {}).unwrap();
}

#[test]
fn the_longest_idle_gives_way() {
    let limits = Limits { entries_max: 4, incomplete_max: 2, ..limits() };
    let mut table = table(limits);
    for n in 0..4 {
        assert_eq!(table.handle_learned(hop(n), MAC, Evidence::RequestForUs, 10, &mut |_| {}), Learned::New);
    }
    // A stranger finds no room.
    assert_eq!(table.handle_learned(hop(9), MAC, Evidence::RequestForUs, 11, &mut |_| {}), Learned::Ignored);
    for n in [0, 1, 3] {
        assert!(table.resolve(hop(n), 20, &mut |_| {}).is_some());
    }
    table.enqueue(hop(5), 1, Sender::Host, 21, &mut |_| {}).unwrap();
    assert_eq!(table.len(), 4);
    assert_eq!(table.resolve(hop(2), 22, &mut |_| {}), None);
    assert!(table.resolve(hop(3), 22, &mut |_| {}).is_some());
}

proptest! {
    /// Whatever happens: nothing is lost or doubled, bounds hold, and who is found is who was learned.
    #[test]
    fn packets_are_conserved(steps in proptest::collection::vec((0u8..6, 0u32..24), 1..300)) {
        let limits = Limits { entries_max: 12, incomplete_max: 5, queue_max: 3, ..limits() };
        let mut table = table(limits);
        let mut macs: HashMap<NextHop, MacAddr> = HashMap::new();
        let (mut now, mut given, mut back) = (0u64, 0usize, 0usize);
        for (what, n) in steps {
            now += u64::from(n) * 100_000_000;
            let mac = MacAddr([2, 0, 0, 0, now as u8, n as u8]);
            let mut count = |action: Action<u32>| match action {
                Action::Deliver { .. } | Action::Unreachable { .. } => back += 1,
                Action::SendRequest { .. } => {}
            };
            match what {
                0 | 1 => {
                    given += 1;
                    if table.enqueue(hop(n), n, Sender::Host, now, &mut count).is_err() {
                        back += 1;
                    }
                }
                2 => table.poll(now, &mut count),
                3 => {
                    if let Some(found) = table.resolve(hop(n), now, &mut count) {
                        prop_assert_eq!(macs.get(&hop(n)), Some(&found));
                    }
                }
                _ => {
                    let evidence = if what == 4 { Evidence::Reply } else { Evidence::RequestForUs };
                    if table.handle_learned(hop(n), mac, evidence, now, &mut count) != Learned::Ignored {
                        macs.insert(hop(n), mac);
                        prop_assert_eq!(table.resolve(hop(n), now, &mut |_| {}), Some(mac));
                    }
                }
            }
            prop_assert!(table.len() <= 12 && table.timers.len() <= 24);
            prop_assert_eq!(given, back + table.waiting());
            let incomplete = table.entries.iter().filter(|e| matches!(e.state, State::Incomplete { .. })).count();
            prop_assert_eq!(incomplete, table.incomplete);
        }
    }
}
