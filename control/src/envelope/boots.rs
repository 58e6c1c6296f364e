//! What a receiver remembers of each sender: its present boot, that boot's key, and which counters it has used.
//!
//! The table has one place for each member number, so its size is fixed whatever is sent. A boot enters it only after
//! a frame of it was opened *and* its signature checked.

use phalanx_dataplane::unit::{MEMBER_NUMBER_MAX, MemberId};

use super::keys::BootKey;
use super::wire::{Header, SALT_BYTES};

/// How far a counter may lag behind the newest one: paths of different length reorder copies.
const WINDOW_BITS: u64 = 64;
/// How many salts of replaced boots are remembered for each sender. They matter only where a vouched boot has a lower
/// incarnation than the one before it (a member that lost its disk).
const RETIRED_MAX: usize = 4;

/// Where a sender stands: which boot, and the next counter that it will use. Told to a peer over the mutually authenticated link,
/// it lets the peer refuse everything older ([`super::Opener::vouch`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The boot's salt.
    pub salt: [u8; SALT_BYTES],
    /// The boot's incarnation.
    pub incarnation: u64,
    /// The next counter.
    pub counter: u64,
}

/// A frame's place in the order of its sender's frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// Not seen yet.
    New,
    /// Accepted before: a copy that came by another path.
    Copy,
    /// Older than anything that is still accepted.
    Old,
}

/// The 64 newest counters of a boot, as a sliding bitmap.
#[derive(Clone, Copy, Default, Debug)]
struct Window {
    /// One above the highest accepted counter.
    next: u64,
    /// Bit i: counter `next - 1 - i` was accepted.
    seen: u64,
    /// Counters below this are refused.
    floor: u64,
}

impl Window {
    fn place(&self, counter: u64) -> Place {
        if counter < self.floor {
            return Place::Old;
        }
        match self.next.checked_sub(1).and_then(|newest| newest.checked_sub(counter)) {
            None => Place::New,
            Some(age) if age >= WINDOW_BITS => Place::Old,
            Some(age) if self.seen >> age & 1 == 1 => Place::Copy,
            Some(_) => Place::New,
        }
    }

    fn accept(&mut self, counter: u64) {
        match counter.checked_sub(self.next) {
            Some(ahead) => {
                let shift = ahead.saturating_add(1);
                self.seen = if shift >= WINDOW_BITS { 0 } else { self.seen << shift };
                self.seen |= 1;
                self.next = counter.saturating_add(1);
            }
            None => {
                let age = self.next - 1 - counter;
                if age < WINDOW_BITS {
                    self.seen |= 1 << age;
                }
            }
        }
    }
}

/// The present boot of one sender.
struct Boot {
    salt: [u8; SALT_BYTES],
    incarnation: u64,
    key: BootKey,
    window: Window,
}

/// What is remembered of one sender.
#[derive(Default)]
struct Sender {
    boot: Option<Boot>,
    retired: [Option<[u8; SALT_BYTES]>; RETIRED_MAX],
    retired_next: usize,
}

impl Sender {
    fn replace(&mut self, boot: Boot) {
        if let Some(old) = self.boot.replace(boot) {
            if let Some(place) = self.retired.get_mut(self.retired_next) {
                *place = Some(old.salt);
            }
            self.retired_next = (self.retired_next + 1) % RETIRED_MAX;
        }
    }
}

/// All senders.
pub(super) struct Boots(Vec<Sender>);

impl Boots {
    pub(super) fn new() -> Self {
        Self((0..MEMBER_NUMBER_MAX).map(|_| Sender::default()).collect())
    }

    fn sender(&self, member: MemberId) -> Option<&Sender> {
        self.0.get(member.index())
    }

    /// The key of the boot that `header` names, if that boot is the sender's present one.
    pub(super) fn key(&self, header: &Header) -> Option<&BootKey> {
        let boot = self.sender(header.sender)?.boot.as_ref()?;
        (boot.salt == header.salt).then_some(&boot.key)
    }

    /// What can be said of a frame from its header alone, without any cryptography.
    pub(super) fn place(&self, header: &Header) -> Place {
        let Some(sender) = self.sender(header.sender) else { return Place::Old };
        if sender.retired.contains(&Some(header.salt)) {
            return Place::Old;
        }
        match &sender.boot {
            Some(boot) if boot.salt == header.salt => boot.window.place(header.counter),
            _ => Place::New,
        }
    }

    /// Whether a frame that opened belongs to the present boot, or to one that may replace it.
    pub(super) fn incarnation_is_fresh(&self, header: &Header, incarnation: u64) -> bool {
        match self.sender(header.sender).and_then(|sender| sender.boot.as_ref()) {
            None => true,
            Some(boot) if boot.salt == header.salt => boot.incarnation == incarnation,
            Some(boot) => incarnation > boot.incarnation,
        }
    }

    /// Takes in a frame that was opened and whose signature was checked. `key` is given when it was derived for this frame.
    pub(super) fn accept(&mut self, header: &Header, incarnation: u64, key: Option<BootKey>) {
        let Some(sender) = self.0.get_mut(header.sender.index()) else { return };
        if let Some(key) = key {
            sender.replace(Boot { salt: header.salt, incarnation, key, window: Window::default() });
        }
        if let Some(boot) = &mut sender.boot {
            boot.window.accept(header.counter);
        }
    }

    /// Sets a sender's present boot to what it said over an authenticated connection.
    pub(super) fn vouch(&mut self, member: MemberId, position: Position, key: BootKey) {
        let Some(sender) = self.0.get_mut(member.index()) else { return };
        match &mut sender.boot {
            Some(boot) if boot.salt == position.salt => boot.window.floor = boot.window.floor.max(position.counter),
            _ => {
                let window = Window { floor: position.counter, ..Window::default() };
                sender.replace(Boot { salt: position.salt, incarnation: position.incarnation, key, window });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The bitmap answers as a plain list of accepted counters would.
        #[test]
        fn window_behaves_like_a_list(counters in proptest::collection::vec(0u64..300, 0..200)) {
            let mut window = Window::default();
            let mut list: Vec<u64> = Vec::new();
            for counter in counters {
                let newest = list.iter().max();
                let expected = match newest {
                    _ if list.contains(&counter) && newest.is_some_and(|n| n - counter < 64) => Place::Copy,
                    Some(n) if *n >= counter && n - counter >= 64 => Place::Old,
                    _ => Place::New,
                };
                prop_assert_eq!(window.place(counter), expected);
                if expected == Place::New {
                    window.accept(counter);
                    list.push(counter);
                }
            }
        }
    }

    #[test]
    fn the_last_counter_does_not_overflow() {
        let mut window = Window::default();
        window.accept(u64::MAX - 1);
        assert_eq!(window.place(u64::MAX - 1), Place::Copy);
        assert_eq!(window.place(0), Place::Old);
    }
}
