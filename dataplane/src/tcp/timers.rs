//! The table of timers: when each goes off next.

/// Why an endpoint wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Timer {
    /// What was sent is not acknowledged (RFC 6298).
    Retransmit,
    /// The peer's window is shut: it is probed (RFC 9293 section 3.8.6.1).
    Persist,
    /// An acknowledgement has waited long enough.
    DelayedAck,
    /// Nothing was heard for long.
    Keepalive,
    /// TIME-WAIT ends.
    TimeWait,
    /// The connection is given up.
    UserTimeout,
}

impl Timer {
    /// Every timer, in the order in which those due together are handled.
    pub const ALL: [Self; 6] =
        [Self::Retransmit, Self::Persist, Self::DelayedAck, Self::Keepalive, Self::TimeWait, Self::UserTimeout];
}

const OFF: u64 = u64::MAX;

/// When each timer goes off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timers([u64; Timer::ALL.len()]);

impl Timers {
    pub(super) const fn new() -> Self {
        Self([OFF; Timer::ALL.len()])
    }

    pub(super) fn set(&mut self, timer: Timer, at_ns: u64) {
        self.0[timer as usize] = at_ns;
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        self.0[timer as usize] = OFF;
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.0[timer as usize] != OFF
    }

    /// Whether the timer is due; it is off then.
    pub(super) fn take_due(&mut self, timer: Timer, now_ns: u64) -> bool {
        let due = self.is_set(timer) && self.0[timer as usize] <= now_ns;
        if due {
            self.clear(timer);
        }
        due
    }

    pub(super) fn next(&self) -> Option<(u64, Timer)> {
        let set = Timer::ALL.into_iter().filter(|timer| self.is_set(*timer));
        set.map(|timer| (self.0[timer as usize], timer)).min_by_key(|(at_ns, _)| *at_ns)
    }
}
