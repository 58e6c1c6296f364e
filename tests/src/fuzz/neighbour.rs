//! The neighbour table under a script of packets, answers and time: bounded, and every packet that waits comes out
//! once.

use phalanx_dataplane::neighbour::{Action, Evidence, Limits, NextHop, Sender, Table};
use phalanx_dataplane::wire::MacAddr;

use super::cursor::Cursor;

const LIMITS: Limits = Limits {
    entries_max: 12,
    incomplete_max: 6,
    queue_max: 3,
    own_max: 2,
    request_interval_ns: 1_000,
    tries_max: 3,
    reachable_ns: 20_000,
};

/// Packets by number: whether each came out again.
#[derive(Default)]
struct Books {
    out: Vec<bool>,
    requests: usize,
}

impl Books {
    fn take(&mut self, action: Action<usize>) {
        match action {
            Action::SendRequest { .. } => self.requests += 1,
            Action::Deliver { packet, mac, .. } => {
                assert!(mac.is_host(), "{mac}");
                self.came_out(packet);
            }
            Action::Unreachable { packet, .. } => self.came_out(packet),
        }
    }

    fn came_out(&mut self, packet: usize) {
        assert!(!std::mem::replace(&mut self.out[packet], true), "packet {packet} came out twice");
    }
}

/// See the module.
pub(super) fn target(data: &[u8]) {
    let mut script = Cursor(data);
    let mut table = Table::new(LIMITS, 1);
    let mut books = Books::default();
    let mut now_ns = 0;
    let mut steps = 0;
    while !script.is_empty() {
        steps += 1;
        step(&mut script, &mut table, &mut books, &mut now_ns);
        assert!(table.len() <= LIMITS.entries_max);
        assert!(table.waiting() <= LIMITS.incomplete_max * LIMITS.queue_max + LIMITS.own_max);
        assert_eq!(books.out.iter().filter(|out| !**out).count(), table.waiting());
    }
    // A step asks at most once, but for time, which may be up for every neighbour.
    assert!(books.requests <= steps * LIMITS.entries_max * 2);
    finish(&mut table, &mut books, now_ns);
}

fn step(script: &mut Cursor<'_>, table: &mut Table<usize>, books: &mut Books, now_ns: &mut u64) {
    let operation = script.u8();
    let hop = NextHop::new(u16::from(operation >> 7), script.ip());
    let now = *now_ns;
    match operation & 7 {
        0..=2 => {
            let packet = books.out.len();
            books.out.push(false);
            match table.resolve(hop, now, &mut |action| books.take(action)) {
                Some(mac) => {
                    assert!(mac.is_host());
                    books.came_out(packet);
                }
                None => {
                    let sender = if operation & 7 == 2 { Sender::Own } else { Sender::Host };
                    let waits = table.enqueue(hop, packet, sender, now, &mut |action| books.take(action));
                    if let Err((packet, _)) = waits {
                        books.came_out(packet);
                    }
                }
            }
        }
        3 | 4 => {
            const EVIDENCE: [Evidence; 4] =
                [Evidence::Reply, Evidence::WeakReply, Evidence::RequestForUs, Evidence::Gratuitous];
            let evidence = EVIDENCE[usize::from(operation >> 3 & 3)];
            let mac = MacAddr([script.u8(), 0, 0, 0, 0, script.u8() & 3]);
            table.handle_learned(hop, mac, evidence, now, &mut |action| books.take(action));
        }
        5 => table.forget_port(hop.port, &mut |action| books.take(action)),
        _ => {
            *now_ns += u64::from(script.u16());
            table.poll(*now_ns, &mut |action| books.take(action));
        }
    }
}

/// Left alone, the table comes to rest: nobody waits for ever.
fn finish(table: &mut Table<usize>, books: &mut Books, mut now_ns: u64) {
    for _ in 0..100 {
        let Some(due_ns) = table.poll_timeout() else { break };
        now_ns = now_ns.max(due_ns);
        table.poll(now_ns, &mut |action| books.take(action));
    }
    assert_eq!((table.poll_timeout(), table.waiting()), (None, 0));
    assert!(books.out.iter().all(|out| *out));
}
