//! The steering engine: one worker's obedience to the cluster core, packet by packet.
//!
//! Two tables say the same thing. `codes` has one byte per unit, 1 KiB that stays in the first-level cache: a burst is
//! sorted by looking up bytes, and the two common answers ("not ours", "ours") need nothing else. `units` has the
//! whole truth per unit: mode, held packets, logs. It is touched only by units that are on the move.
//!
//! *Never twice.* Two logs per unit serve that. `log` notes what was processed while a log was ordered, for another
//! member to read (planned move) or for the end of [`Mode::HoldOwn`]. `seen` names packets whose copies may still
//! come: what a previous owner processed (`except` of a release), what the master had passed on, what was released
//! here before the master's late copy. It is forgotten after a grace time.
//!
//! *Never out of order.* A unit's packets wait in one queue; whoever ends the waiting empties the queue first.

use std::collections::VecDeque;

use super::digests::{Copies, DigestLog, DigestPool};
use super::hold::{Held, HeldQueue, HoldPool};
use super::{Limits, MarkerPart, Mode, Notice, Source, Verdict};
use crate::drop_reason::DropReason;
use crate::unit::{MemberId, UNITS, Unit};

/// The one-byte summary of a unit's mode, for sorting whole bursts by table look-up.
pub mod code {
    /// Not ours: drop.
    pub const DROP: u8 = 0;
    /// Ours, nothing to watch for.
    pub const MINE: u8 = 1;
    /// Anything else: ask [`super::Steering::steer`].
    pub const SLOW: u8 = 2;
    /// Set in the code of a unit that is passed on; the low bits are the owner's member number.
    pub const RELAY: u8 = 0x80;
}

/// What the engine keeps for one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct UnitState {
    /// As the view says.
    pub(super) ordered: Mode,
    /// As it is: `HoldOwn` turns into `Mine` by itself, at the release or at the deadline.
    pub(super) mode: Mode,
    pub(super) held: HeldQueue,
    pub(super) log: DigestLog,
    pub(super) seen: DigestLog,
    /// When the next thing happens by itself: `HoldOwn` ends, or `seen` is forgotten.
    pub(super) timer_ns: Option<u64>,
    told_unassigned: bool,
}

/// One worker's steering state. `P` is the packet: an mbuf in production, a number in the simulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steering<P> {
    pub(super) me: MemberId,
    pub(super) limits: Limits,
    pub(super) codes: Box<[u8; UNITS]>,
    pub(super) units: Box<[UnitState]>,
    pub(super) pool: HoldPool<P>,
    pub(super) digests: DigestPool,
    /// Units with a `timer_ns`; at most `UNITS`.
    pub(super) timed: Vec<Unit>,
    pub(super) next_timer_ns: u64,
    pub(super) version: u64,
    pub(super) notices: VecDeque<Notice>,
}

impl<P> Steering<P> {
    /// An engine under the empty view (version 0): everything is dropped.
    pub fn new(me: MemberId, limits: Limits) -> Self {
        Self {
            me,
            limits,
            codes: Box::new([code::DROP; UNITS]),
            units: vec![UnitState::default(); UNITS].into_boxed_slice(),
            pool: HoldPool::new(limits.held_max),
            digests: DigestPool::new(limits.digests_max, limits.digests_per_unit_max),
            timed: Vec::with_capacity(UNITS),
            next_timer_ns: u64::MAX,
            version: 0,
            // At most one `Unassigned` per unit between two views; the views' own notices are drained between bursts.
            notices: VecDeque::with_capacity(UNITS + 16),
        }
    }

    /// The one-byte codes of all units ([`code`]), by unit number.
    #[inline]
    pub fn codes(&self) -> &[u8; UNITS] {
        &self.codes
    }

    /// The version of the view in force.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The mode that a unit is in now.
    pub fn mode(&self, unit: Unit) -> Mode {
        self.units[unit.index()].mode
    }

    /// How many packets are held.
    pub fn held(&self) -> usize {
        self.pool.len()
    }

    /// How many packets of a unit are held.
    pub fn held_of(&self, unit: Unit) -> usize {
        self.units[unit.index()].held.len()
    }

    /// The next notice for the cluster core. Drain between bursts; what is not drained is kept.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Notes that a member's marker arrived, or a part of it. Whatever was passed on before it has been steered already.
    pub fn marker_arrived(&mut self, from: MemberId, token: u64, part: MarkerPart) {
        self.notices.push_back(Notice::Marker { from, token, part });
    }

    /// What becomes of a packet of `unit`. `digest` names the packet's content as it came from the wire and is asked
    /// for only where copies of it may exist.
    #[inline]
    pub fn steer(
        &mut self,
        now_ns: u64,
        lease_ok: bool,
        unit: Unit,
        source: Source,
        digest: impl FnOnce() -> u32,
        packet: P,
    ) -> Verdict<P> {
        match (self.codes[unit.index()], source) {
            (code::DROP, Source::Direct) => Verdict::Drop(packet, DropReason::NotOwner),
            (code::DROP, Source::Member(_)) => Verdict::Drop(packet, DropReason::StaleRelay),
            _ if !lease_ok => Verdict::Drop(packet, DropReason::NoLease),
            (code::MINE, _) => Verdict::Process(packet),
            _ => self.steer_slowly(now_ns, unit, source, digest, packet),
        }
    }

    fn steer_slowly(
        &mut self,
        now_ns: u64,
        unit: Unit,
        source: Source,
        digest: impl FnOnce() -> u32,
        packet: P,
    ) -> Verdict<P> {
        match (self.units[unit.index()].mode, source) {
            (Mode::Drop, _) => Verdict::Drop(packet, DropReason::NotOwner),
            (Mode::Quarantined, _) => Verdict::Drop(packet, DropReason::Quarantined),
            (Mode::Mine | Mode::MineLogged, _) | (Mode::HoldOwn, Source::Member(_)) => {
                if self.process_once(unit, source, digest()) {
                    Verdict::Process(packet)
                } else {
                    Verdict::Drop(packet, DropReason::Duplicate)
                }
            }
            (Mode::Hold, _) | (Mode::HoldOwn, Source::Direct) => self.keep(now_ns, unit, source, digest(), packet),
            (Mode::Unassigned, _) => {
                self.tell_unassigned(unit);
                self.keep(now_ns, unit, source, digest(), packet)
            }
            (Mode::RelayBoth { from, to }, source) if from == self.me => {
                let digest = digest();
                if self.process_once(unit, source, digest) {
                    Verdict::Copy { packet, from, to, digest }
                } else {
                    Verdict::Drop(packet, DropReason::Duplicate)
                }
            }
            (Mode::Relay(_) | Mode::RelayBoth { .. }, Source::Member(_)) => {
                Verdict::Drop(packet, DropReason::RelayedTwice)
            }
            (Mode::Relay(to), Source::Direct) => Verdict::PassOn(packet, to),
            (Mode::RelayBoth { from, to }, Source::Direct) => Verdict::Copy { packet, from, to, digest: digest() },
        }
    }

    /// Whether this packet of a unit of ours is still to be processed; notes it in the unit's log if one is kept.
    pub(super) fn process_once(&mut self, unit: Unit, source: Source, digest: u32) -> bool {
        if self.take_seen(unit, source, digest) {
            return false;
        }
        let state = &mut self.units[unit.index()];
        match state.mode {
            Mode::MineLogged | Mode::RelayBoth { .. } => self.digests.push(&mut state.log, digest, Copies::Any),
            Mode::HoldOwn => self.digests.push(&mut state.log, digest, Copies::Direct),
            _ => {}
        }
        true
    }

    /// Whether a copy of this packet was processed before; each note answers for one copy.
    pub(super) fn take_seen(&mut self, unit: Unit, source: Source, digest: u32) -> bool {
        let own = match source {
            Source::Direct => Copies::Direct,
            Source::Member(_) => Copies::PassedOn,
        };
        let seen = &mut self.units[unit.index()].seen;
        !seen.is_empty() && self.digests.take(seen, digest, |copies| copies == Copies::Any || copies == own)
    }

    /// Keeps a packet in the unit's hold queue. The shell calls this for the copy of a [`Verdict::Copy`] whose `to`
    /// is this member; everything else is kept by [`Self::steer`] itself.
    pub fn keep(&mut self, now_ns: u64, unit: Unit, source: Source, digest: u32, packet: P) -> Verdict<P> {
        let queue = &mut self.units[unit.index()].held;
        if queue.len() >= self.limits.held_per_unit_max {
            return Verdict::Drop(packet, DropReason::HoldFull);
        }
        let deadline_ns = now_ns.saturating_add(self.limits.hold_ns);
        match self.pool.push(queue, Held { packet, unit, source, digest, deadline_ns }) {
            Ok(()) => Verdict::Held,
            Err(held) => Verdict::Drop(held.packet, DropReason::HoldFull),
        }
    }

    fn tell_unassigned(&mut self, unit: Unit) {
        let state = &mut self.units[unit.index()];
        if !state.told_unassigned {
            state.told_unassigned = true;
            self.notices.push_back(Notice::Unassigned(unit));
        }
    }

    /// A new view begins: each unassigned unit may be reported once more.
    pub(super) fn forget_told(&mut self) {
        for state in &mut self.units {
            state.told_unassigned = false;
        }
    }

    /// Brings a unit's code in line with its state.
    pub(super) fn recode(&mut self, unit: Unit) {
        let state = &self.units[unit.index()];
        self.codes[unit.index()] = match state.mode {
            Mode::Drop => code::DROP,
            Mode::Mine if state.seen.is_empty() => code::MINE,
            Mode::Relay(to) => code::RELAY | to.number(),
            _ => code::SLOW,
        };
    }
}
