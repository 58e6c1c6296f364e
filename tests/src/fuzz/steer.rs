//! The steering engine under any sequence of packets, orders and deadlines, also ones that no sane core would give:
//! every packet ends exactly once, or is held, within the limits.

use phalanx_dataplane::drop_reason::DropReason;
use phalanx_dataplane::steer::{Limits, Mode, Notice, Order, ReleaseTo, Sink, Source, Steering, Verdict, View};
use phalanx_dataplane::unit::{MemberId, UNITS, Unit};

use super::cursor::{Cursor, member};

const LIMITS: Limits = Limits {
    held_max: 24,
    held_per_unit_max: 10,
    hold_ns: 300,
    hold_own_ns: 100,
    grace_ns: 50,
    digests_max: 40,
    digests_per_unit_max: 12,
};
/// Units that the script uses.
const USED: u32 = 4;
const MEMBERS: u8 = 3;

/// Packets by number: whether each came to its end.
#[derive(Default)]
struct Books {
    ended: Vec<bool>,
    /// Packets processed or passed on while no lease was valid.
    lease_ok: bool,
}

impl Books {
    fn begin(&mut self) -> usize {
        self.ended.push(false);
        self.ended.len() - 1
    }

    fn end(&mut self, packet: usize) {
        assert!(!std::mem::replace(&mut self.ended[packet], true), "packet {packet} ended twice");
    }
}

impl Sink<usize> for Books {
    fn process(&mut self, _: Unit, packet: usize) {
        assert!(self.lease_ok, "processed without a lease");
        self.end(packet);
    }

    fn pass_on(&mut self, _: Unit, packet: usize, _: MemberId) {
        assert!(self.lease_ok, "passed on without a lease");
        self.end(packet);
    }

    fn drop(&mut self, packet: usize, _: DropReason) {
        self.end(packet);
    }

    fn marker(&mut self, _: MemberId, _: u64) {}
}

/// See the module.
pub(super) fn target(data: &[u8]) {
    let mut script = Cursor(data);
    let mut engine = Steering::new(member(1), LIMITS);
    let mut books = Books { lease_ok: true, ..Books::default() };
    let mut now_ns = 0;
    while !script.is_empty() {
        let operation = script.u8();
        books.lease_ok = operation & 0x80 == 0;
        match operation & 7 {
            0..=2 => packet(&mut script, &mut engine, &mut books, now_ns),
            3 | 4 => view(&mut script, &mut engine, &mut books, now_ns),
            5 => release(&mut script, &mut engine, &mut books, now_ns),
            6 => now_ns += u64::from(script.u8()),
            _ => engine.obey(now_ns, books.lease_ok, &Order::Marker { to: member(2), token: 1 }, &mut books),
        }
        let lease_ok = books.lease_ok;
        engine.poll_deadlines(now_ns, lease_ok, &mut books);
        assert!(engine.poll_timeout().is_none_or(|at_ns| at_ns > now_ns), "a deadline that is not met");
        assert!(engine.held() <= LIMITS.held_max);
        assert_eq!(books.ended.iter().filter(|ended| !**ended).count(), engine.held());
    }
    finish(&mut engine, &mut books, now_ns);
}

fn unit(script: &mut Cursor<'_>) -> Unit {
    Unit::from_low_bits(u32::from(script.u8()) % USED)
}

fn packet(script: &mut Cursor<'_>, engine: &mut Steering<usize>, books: &mut Books, now_ns: u64) {
    let unit = unit(script);
    let choice = script.u8();
    let source = if choice & 1 == 0 { Source::Direct } else { Source::Member(member(1 + (choice >> 1) % MEMBERS)) };
    // Few digests, so that copies meet.
    let digest = u32::from(choice >> 4);
    let packet = books.begin();
    match engine.steer(now_ns, books.lease_ok, unit, source, || digest, packet) {
        Verdict::Process(packet) => books.process(unit, packet),
        Verdict::PassOn(packet, to) => books.pass_on(unit, packet, to),
        Verdict::Drop(packet, _) => books.end(packet),
        Verdict::Held => {}
        Verdict::Copy { packet, to, digest, .. } => {
            books.end(packet);
            if to == member(1) {
                let copy = books.begin();
                if let Verdict::Drop(copy, _) = engine.keep(now_ns, unit, source, digest, copy) {
                    books.end(copy);
                }
            }
        }
    }
}

fn view(script: &mut Cursor<'_>, engine: &mut Steering<usize>, books: &mut Books, now_ns: u64) {
    let mut modes = vec![Mode::Drop; UNITS];
    for unit in 0..USED {
        modes[unit as usize] = mode(script);
    }
    let view =
        View { version: engine.version() + 1, modes, answers: false, peers: Vec::new(), holders: None, heir: None };
    engine.obey(now_ns, books.lease_ok, &Order::View(view), books);
    let mut applied = 0;
    while let Some(notice) = engine.poll_notice() {
        if let Notice::Applied { version, logs } = notice {
            applied += 1;
            assert_eq!(version, engine.version());
            assert!(logs.iter().flat_map(|(_, log)| log).all(|log| log.len() <= LIMITS.digests_per_unit_max));
        }
    }
    assert_eq!(applied, 1, "a view is answered once");
}

fn mode(script: &mut Cursor<'_>) -> Mode {
    let choice = script.u8();
    let (a, b) = (member(1 + (choice >> 4) % MEMBERS), member(1 + (choice >> 6) % MEMBERS));
    match choice & 15 {
        0 => Mode::Drop,
        1..=3 => Mode::Mine,
        4 | 5 => Mode::MineLogged,
        6..=8 => Mode::Hold,
        9 | 10 => Mode::HoldOwn,
        11 => Mode::Relay(a),
        12 | 13 => Mode::RelayBoth { from: a, to: b },
        14 => Mode::Unassigned,
        _ => Mode::Quarantined,
    }
}

fn release(script: &mut Cursor<'_>, engine: &mut Steering<usize>, books: &mut Books, now_ns: u64) {
    let unit = unit(script);
    let to = match script.u8() % 5 {
        0 => ReleaseTo::Nowhere,
        1 | 2 => ReleaseTo::Here,
        other => ReleaseTo::Member(member(other - 2)),
    };
    let count = usize::from(script.u8() % 16);
    let except = script.take(count).iter().map(|digest| u32::from(digest & 15)).collect();
    engine.obey(now_ns, books.lease_ok, &Order::Release { unit, to, except }, books);
}

/// Left alone, the engine lets go of everything by its deadlines alone.
fn finish(engine: &mut Steering<usize>, books: &mut Books, mut now_ns: u64) {
    for _ in 0..200 {
        let Some(at_ns) = engine.poll_timeout() else { break };
        now_ns = now_ns.max(at_ns);
        let lease_ok = books.lease_ok;
        engine.poll_deadlines(now_ns, lease_ok, books);
    }
    assert_eq!((engine.poll_timeout(), engine.held()), (None, 0));
    assert!(books.ended.iter().all(|ended| *ended));
}
