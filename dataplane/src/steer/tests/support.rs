//! One engine with a diary of what it let out.

use crate::drop_reason::DropReason;
use crate::steer::{Limits, Mode, Notice, Order, ReleaseTo, Sink, Source, Steering, Verdict, View};
use crate::unit::{MemberId, UNITS, Unit};

pub(super) const MS: u64 = 1_000_000;

pub(super) fn member(number: u8) -> MemberId {
    MemberId::new(number).expect("a member number")
}

pub(super) fn unit() -> Unit {
    Unit::from_low_bits(7)
}

#[derive(Default, Debug)]
pub(super) struct Diary {
    pub(super) processed: Vec<u64>,
    pub(super) passed_on: Vec<(MemberId, u64)>,
    pub(super) dropped: Vec<(u64, DropReason)>,
    pub(super) markers: Vec<(MemberId, u64)>,
}

impl Sink<u64> for Diary {
    fn process(&mut self, _: Unit, packet: u64) {
        self.processed.push(packet);
    }

    fn pass_on(&mut self, _: Unit, packet: u64, to: MemberId) {
        self.passed_on.push((to, packet));
    }

    fn drop(&mut self, packet: u64, reason: DropReason) {
        self.dropped.push((packet, reason));
    }

    fn marker(&mut self, to: MemberId, token: u64) {
        self.markers.push((to, token));
    }
}

/// A member's worker: the engine, its diary, its clock.
pub(super) struct Station {
    pub(super) engine: Steering<u64>,
    pub(super) diary: Diary,
    pub(super) now_ns: u64,
    pub(super) received: u64,
    version: u64,
}

impl Station {
    pub(super) fn new(number: u8) -> Self {
        Self::with_limits(number, Limits::default())
    }

    pub(super) fn with_limits(number: u8, limits: Limits) -> Self {
        let engine = Steering::new(member(number), limits);
        Self { engine, diary: Diary::default(), now_ns: 0, received: 0, version: 0 }
    }

    pub(super) fn receive(&mut self, source: Source, packet: u64) {
        self.received += 1;
        let verdict = self.engine.steer(self.now_ns, true, unit(), source, || packet as u32, packet);
        self.write_down(verdict, source);
    }

    fn write_down(&mut self, verdict: Verdict<u64>, source: Source) {
        let me = self.engine.me;
        match verdict {
            Verdict::Process(packet) => self.diary.processed.push(packet),
            Verdict::PassOn(packet, to) => self.diary.passed_on.push((to, packet)),
            Verdict::Drop(packet, reason) => self.diary.dropped.push((packet, reason)),
            Verdict::Held => {}
            Verdict::Copy { packet, from, to, digest } => {
                self.received += 1; // the copy
                if from == me {
                    self.diary.processed.push(packet);
                } else {
                    self.diary.passed_on.push((from, packet));
                }
                if to == me {
                    let verdict = self.engine.keep(self.now_ns, unit(), source, digest, packet);
                    self.write_down(verdict, source);
                } else {
                    self.diary.passed_on.push((to, packet));
                }
            }
        }
    }

    /// Orders a mode for the unit; returns the unit's log, if one ended.
    pub(super) fn set(&mut self, mode: Mode) -> Option<Option<Vec<u32>>> {
        self.version += 1;
        let mut modes = vec![Mode::Drop; UNITS];
        modes[unit().index()] = mode;
        let view = View { version: self.version, modes, answers: false, peers: Vec::new(), holders: None, heir: None };
        self.obey(&Order::View(view));
        while let Some(notice) = self.engine.poll_notice() {
            if let Notice::Applied { version, mut logs } = notice {
                assert_eq!(version, self.version);
                return logs.pop().map(|(_, log)| log);
            }
        }
        panic!("a view is always answered");
    }

    pub(super) fn release(&mut self, to: ReleaseTo, except: Vec<u32>) {
        self.obey(&Order::Release { unit: unit(), to, except });
    }

    fn obey(&mut self, order: &Order) {
        self.engine.obey(self.now_ns, true, order, &mut self.diary);
    }

    pub(super) fn wait(&mut self, ns: u64) {
        self.now_ns += ns;
        self.engine.poll_deadlines(self.now_ns, true, &mut self.diary);
    }

    /// Every packet ended somewhere.
    pub(super) fn assert_balance(&self) {
        let out = self.diary.processed.len() + self.diary.passed_on.len() + self.diary.dropped.len();
        assert_eq!(self.received as usize, out + self.engine.held(), "{:?}", self.diary);
    }
}
