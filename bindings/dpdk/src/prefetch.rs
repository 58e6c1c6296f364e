//! Telling the processor what will be read soon.

use crate::mbuf::prefetch_line;

/// Bytes of a cache line.
const LINE: usize = 64;
/// Lines of one thing that are worth fetching ahead.
const LINES_MAX: usize = 12;

/// Fetches what holds this into the cache, line by line.
#[inline(always)]
pub fn prefetch<T: ?Sized>(it: &T) {
    prefetch_first(it, LINES_MAX * LINE);
}

/// Fetches what holds the first `len` bytes of this.
#[inline(always)]
pub fn prefetch_first<T: ?Sized>(it: &T, len: usize) {
    let first = (&raw const *it).cast::<u8>();
    let lines = size_of_val(it).min(len).div_ceil(LINE);
    (0..lines).for_each(|line| prefetch_line(first.wrapping_add(line * LINE)));
}
