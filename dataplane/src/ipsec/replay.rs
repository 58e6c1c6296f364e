//! Which of a peer's packets have come already (RFC 4303 section 3.4.3 and appendix A2).
//!
//! The numbers that came last stand in a ring of words, one bit each (RFC 6479): moving on clears whole words and shifts
//! nothing. The ring has room for more than the window, so that a word is only cleared when nothing in it counts any more.
//!
//! ```text
//!      floor            next - size              next
//!  ───────┴── refused ──────┴── by their bits ─────┴── new ──▶
//! ```
//! A number is looked at twice: [`Window::check`] before the work of decrypting, [`Window::accept`] when the packet has proved
//! that its number is true. What came twice in one burst passes the first and fails the second.
//!
//! A new owner knows below which number its predecessor may have accepted packets ([`crate::replica::lease`]), but not which:
//! [`Window::beginning_at`] refuses them all.

use super::Refused;

/// The smallest window, and what each is a multiple of.
pub const SIZE_MIN: u16 = 64;
/// The largest window.
pub const SIZE_MAX: u16 = 4096;

/// More than any lease goes ahead, and less than what tells one number from another.
const BEHIND: u64 = 1 << 31;

const WORD: u64 = u64::BITS as u64;

/// What has come of one SA.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    size: u64,
    /// No number below has a chance.
    floor: u64,
    /// The highest number accepted, and one.
    next: u64,
    /// A ring, a power of two long.
    words: Box<[u64]>,
}

impl Window {
    /// The window of a new SA, for so many numbers: rounded up to 64, within [`SIZE_MIN`] and [`SIZE_MAX`].
    pub fn new(size: u16) -> Self {
        // Number 0 is never sent (section 3.3.3).
        Self::beginning_at(size, 1)
    }

    /// The window of an owner that cannot know which numbers below `first` have come.
    pub fn beginning_at(size: u16, first: u64) -> Self {
        let words = usize::from(size.clamp(SIZE_MIN, SIZE_MAX)).div_ceil(WORD as usize);
        let first = first.max(1);
        Self {
            size: words as u64 * WORD,
            floor: first,
            next: first,
            words: vec![0; (words + 1).next_power_of_two()].into(),
        }
    }

    /// How many numbers below [`Self::next`] may still come.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The first number that is higher than all that have come.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Whether nothing has been accepted since it began.
    pub const fn is_untouched(&self) -> bool {
        self.next == self.floor
    }

    /// The whole number of which a packet shows the low half: the one that fits the window (appendix A2.2). None: there is
    /// none, for it would be below zero.
    pub fn whole(&self, low: u32) -> Option<u64> {
        // Before the first one is in, the peer may be as far behind as an old owner's lease was ahead.
        let back = if self.is_untouched() { BEHIND } else { self.size };
        let bottom = self.next.saturating_sub(back);
        let high = bottom >> u32::BITS;
        // The window's lower end decides: the number is the first one from there on that ends like this.
        let candidate = high << u32::BITS | u64::from(low);
        let number = if candidate >= bottom { Some(candidate) } else { candidate.checked_add(1 << u32::BITS) };
        number.filter(|number| *number > 0)
    }

    /// Whether a packet with this number might be new.
    ///
    /// # Errors
    /// [`Refused::TooOld`], [`Refused::Replayed`].
    #[inline]
    pub fn check(&self, number: u64) -> Result<(), Refused> {
        if number >= self.next {
            // No sender ever comes to the last one.
            return if number < u64::MAX { Ok(()) } else { Err(Refused::TooOld) };
        }
        if number < self.floor || self.next - number > self.size {
            return Err(Refused::TooOld);
        }
        if self.words[self.place(number)] & bit(number) != 0 { Err(Refused::Replayed) } else { Ok(()) }
    }

    /// Takes in a packet whose number is proved.
    ///
    /// # Errors
    /// As [`Self::check`]: another one with this number came in between.
    #[inline]
    pub fn accept(&mut self, number: u64) -> Result<(), Refused> {
        self.check(number)?;
        if number >= self.next {
            self.advance(number);
        }
        let place = self.place(number);
        self.words[place] |= bit(number);
        Ok(())
    }

    /// Makes a number the highest: the words that come anew into the ring are of nobody yet.
    fn advance(&mut self, number: u64) {
        let (from, to) = ((self.next - 1) / WORD, number / WORD);
        let fresh = (to - from).min(self.words.len() as u64);
        for word in 0..fresh {
            let place = self.place((to - word) * WORD);
            self.words[place] = 0;
        }
        self.next = number + 1;
    }

    #[inline]
    fn place(&self, number: u64) -> usize {
        (number / WORD) as usize & (self.words.len() - 1)
    }
}

#[inline]
const fn bit(number: u64) -> u64 {
    1 << (number % WORD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn what_came_comes_no_more() {
        let mut window = Window::new(64);
        assert_eq!(window.accept(0), Err(Refused::TooOld));
        assert_eq!(window.accept(1), Ok(()));
        assert_eq!(window.accept(1), Err(Refused::Replayed));
        assert_eq!(window.accept(64), Ok(()));
        assert_eq!(window.accept(2), Ok(()), "it came late, but it fits");
        assert_eq!(window.accept(67), Ok(()));
        assert_eq!(window.accept(3), Err(Refused::TooOld));
        assert_eq!(window.accept(u64::MAX - 1), Ok(()), "whatever the leap");
        assert_eq!(window.accept(67), Err(Refused::TooOld));
        assert_eq!(window.accept(u64::MAX), Err(Refused::TooOld));
    }

    #[test]
    fn an_heir_refuses_what_its_predecessor_may_have_taken() {
        let mut window = Window::beginning_at(128, 1000);
        for number in [1, 998, 999] {
            assert_eq!(window.accept(number), Err(Refused::TooOld));
        }
        assert_eq!(
            (window.accept(1001), window.accept(1000), window.accept(1000)),
            (Ok(()), Ok(()), Err(Refused::Replayed))
        );
    }

    #[test]
    fn the_high_half_follows_the_window() {
        let mut window = Window::new(64);
        assert_eq!(
            (window.whole(0), window.whole(1), window.whole(u32::MAX)),
            (None, Some(1), Some(u64::from(u32::MAX)))
        );
        window.accept(0xffff_fff0).unwrap();
        assert_eq!(window.whole(0xffff_fff1), Some(0xffff_fff1));
        assert_eq!(window.whole(5), Some(0x1_0000_0005), "past the end of the low half");
        window.accept(0x1_0000_0005).unwrap();
        assert_eq!(window.whole(0xffff_ffff), Some(0xffff_ffff), "late, from before the end");
        assert_eq!(window.whole(0xffff_0000), Some(0x1_ffff_0000), "too old, so it can only be ahead");
    }

    proptest! {
        /// Beside a set that forgets nothing.
        #[test]
        fn like_a_set(size in 1..=5000u16, first in 0..200u64, steps in prop::collection::vec((-5000..5000i64, 0..3u8), 1..400)) {
            let mut window = Window::beginning_at(size, first);
            let size = u64::from(size.clamp(64, 4096).next_multiple_of(64));
            let (mut seen, mut top) = (HashSet::new(), first.max(1) - 1);
            for (step, kind) in steps {
                let step = if kind == 0 { step } else { step % 100 };
                let number = top.saturating_add_signed(step);
                let expected = if number < first.max(1) || number + size <= top {
                    Err(Refused::TooOld)
                } else if seen.contains(&number) {
                    Err(Refused::Replayed)
                } else {
                    Ok(())
                };
                prop_assert_eq!(window.check(number), expected);
                prop_assert_eq!(window.accept(number), expected);
                if expected.is_ok() {
                    seen.insert(number);
                    top = top.max(number);
                    prop_assert_eq!(window.next(), top + 1);
                    prop_assert_eq!(window.whole(number as u32), Some(number));
                }
            }
        }

        /// Appendix A2.2, case by case, as the RFC writes it.
        #[test]
        fn like_the_appendix(top in 0..(5u64 << 32), low: u32, near: bool, step in -200..200i32) {
            let low = if near { (top as u32).wrapping_add_signed(step) } else { low };
            let window = Window { next: top + 1, ..Window::new(64) };
            let (th, tl, w) = ((top >> 32) as u32, top as u32, 64);
            let bottom = tl.wrapping_sub(w - 1);
            let high = if tl >= w - 1 {
                if low >= bottom { Some(th) } else { th.checked_add(1) }
            } else if low >= bottom {
                th.checked_sub(1)
            } else {
                Some(th)
            };
            let number = high.map(|high| u64::from(high) << 32 | u64::from(low)).filter(|n| *n > 0);
            // Below zero there is nothing: the appendix leaves that open, we take the number as it stands.
            let below_zero = th == 0 && tl < w - 1 && low >= bottom;
            prop_assert_eq!(window.whole(low), if below_zero { Some(u64::from(low)) } else { number });
        }
    }
}
