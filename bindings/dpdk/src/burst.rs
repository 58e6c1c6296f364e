//! A fixed array of owned mbufs: the unit of work of the packet path. Receive fills it, transmit takes from its front,
//! whatever is left when it's dropped goes back to its pool in one call. Nothing is allocated and nothing is initialised
//! that isn't used.

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

use crate::mbuf::Mbuf;
use crate::mempool::pointers;

/// Up to `N` owned mbufs; derefs to a slice of them.
pub struct Burst<const N: usize> {
    /// The first `len` are initialised.
    mbufs: [MaybeUninit<Mbuf>; N],
    len: usize,
}

impl<const N: usize> Burst<N> {
    /// An empty burst.
    #[inline]
    pub const fn new() -> Self {
        assert!(N <= u16::MAX as usize, "drivers count a burst with 16 bits");
        Self { mbufs: [const { MaybeUninit::uninit() }; N], len: 0 }
    }

    /// How many more mbufs fit.
    #[inline]
    pub fn room(&self) -> usize {
        N - self.len
    }

    /// Whether no mbuf fits any more.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len == N
    }

    /// Adds an mbuf at the end, or gives it back if the burst is full.
    #[inline]
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        match self.mbufs.get_mut(self.len) {
            Some(slot) => {
                slot.write(mbuf);
                self.len += 1;
                Ok(())
            }
            None => Err(mbuf),
        }
    }

    /// Moves mbufs from the front of `other` to the end of this burst, in order, as many as fit; says how many.
    #[inline]
    pub fn append<const M: usize>(&mut self, other: &mut Burst<M>) -> usize {
        let count = self.room().min(other.len);
        // SAFETY: `other` has as many initialised mbufs, and this burst as much room; `other` forgets them below.
        unsafe {
            std::ptr::copy_nonoverlapping(other.mbufs.as_ptr(), self.mbufs.as_mut_ptr().add(self.len), count);
            other.shrink_front(count);
        }
        self.len += count;
        count
    }

    /// Takes the last mbuf.
    #[inline]
    pub fn pop(&mut self) -> Option<Mbuf> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: it was within `len`, and is no longer.
        Some(unsafe { self.mbufs.get_unchecked(self.len).assume_init_read() })
    }

    /// Takes the mbuf at `index`; the last one moves into its place.
    #[inline]
    pub fn swap_remove(&mut self, index: usize) -> Option<Mbuf> {
        if index >= self.len {
            return None;
        }
        let last = self.len - 1;
        self.swap(index, last);
        self.pop()
    }

    /// Takes all mbufs, in order. Those that the iterator did not hand out are freed with it.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_, N> {
        let end = std::mem::take(&mut self.len);
        Drain { burst: self, next: 0, end }
    }

    /// Frees all mbufs, in bulk; says how many.
    #[inline]
    pub fn clear(&mut self) -> usize {
        let count = std::mem::take(&mut self.len);
        self.free(0, count);
        count
    }

    /// Frees the mbufs `start..end`, which the caller has taken out of `len`.
    #[inline]
    fn free(&mut self, start: usize, end: usize) {
        if start < end {
            let mbufs = &mut self.mbufs[start..end];
            // SAFETY: they are initialised (all callers), owned, and beyond `len` from now on.
            unsafe { dpdk_sys::shim_pktmbuf_free_burst(pointers(mbufs), mbufs.len() as u32) }
        }
    }

    /// The uninitialised rest, for C to fill; [`Self::grow`] comes next.
    #[inline]
    pub(crate) fn spare(&mut self) -> &mut [MaybeUninit<Mbuf>] {
        // SAFETY: `len` is at most `N` (`push`, `grow`).
        unsafe { self.mbufs.get_unchecked_mut(self.len..) }
    }

    /// Counts `count` more mbufs as present.
    ///
    /// # Safety
    /// The first `count` elements of [`Self::spare`] hold owned mbufs.
    #[inline]
    pub(crate) unsafe fn grow(&mut self, count: usize) {
        debug_assert!(count <= self.room());
        self.len += count;
    }

    /// The mbufs from the front on, for C to take some; [`Self::shrink_front`] comes next.
    #[inline]
    pub(crate) fn as_pointers(&mut self) -> *mut *mut dpdk_sys::rte_mbuf {
        pointers(&mut self.mbufs)
    }

    /// Forgets the first `count` mbufs and moves the others to the front.
    ///
    /// # Safety
    /// `count` is at most the length, and somebody else owns those mbufs now.
    #[inline]
    pub(crate) unsafe fn shrink_front(&mut self, count: usize) {
        debug_assert!(count <= self.len);
        self.len -= count;
        if self.len > 0 {
            self.mbufs.copy_within_front(count, self.len);
        }
    }
}

/// Moving elements that `MaybeUninit` hides from `copy_within`, which wants `Copy`.
trait CopyWithinFront {
    fn copy_within_front(&mut self, from: usize, count: usize);
}

impl<const N: usize> CopyWithinFront for [MaybeUninit<Mbuf>; N] {
    #[inline]
    fn copy_within_front(&mut self, from: usize, count: usize) {
        assert!(from + count <= N);
        let start = self.as_mut_ptr();
        // SAFETY: both ranges lie in the array; `copy` allows them to overlap; ownership is the caller's business.
        unsafe { std::ptr::copy(start.add(from), start, count) }
    }
}

impl<const N: usize> Default for Burst<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Drop for Burst<N> {
    #[inline]
    fn drop(&mut self) {
        self.clear();
    }
}

impl<const N: usize> Deref for Burst<N> {
    type Target = [Mbuf];

    #[inline]
    fn deref(&self) -> &[Mbuf] {
        // SAFETY: the first `len` elements are initialised.
        unsafe { std::slice::from_raw_parts(self.mbufs.as_ptr().cast(), self.len) }
    }
}

impl<const N: usize> DerefMut for Burst<N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Mbuf] {
        // SAFETY: the first `len` elements are initialised.
        unsafe { std::slice::from_raw_parts_mut(self.mbufs.as_mut_ptr().cast(), self.len) }
    }
}

impl<const N: usize> std::fmt::Debug for Burst<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Burst({} of {N})", self.len)
    }
}

/// The mbufs of a burst, taken one by one, in order.
#[derive(Debug)]
pub struct Drain<'a, const N: usize> {
    burst: &'a mut Burst<N>,
    next: usize,
    end: usize,
}

impl<const N: usize> Drain<'_, N> {
    /// The mbufs not yet taken, to look ahead (for prefetching).
    #[inline]
    pub fn rest(&self) -> &[Mbuf] {
        // SAFETY: `next..end` are initialised and not yet handed out.
        unsafe { std::slice::from_raw_parts(self.burst.mbufs.as_ptr().add(self.next).cast(), self.end - self.next) }
    }
}

impl<const N: usize> Iterator for Drain<'_, N> {
    type Item = Mbuf;

    #[inline]
    fn next(&mut self) -> Option<Mbuf> {
        if self.next == self.end {
            return None;
        }
        let index = self.next;
        self.next += 1;
        // SAFETY: `index` was within `next..end`: initialised and handed out once.
        Some(unsafe { self.burst.mbufs.get_unchecked(index).assume_init_read() })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl<const N: usize> ExactSizeIterator for Drain<'_, N> {}

impl<const N: usize> Drop for Drain<'_, N> {
    #[inline]
    fn drop(&mut self) {
        self.burst.free(self.next, self.end);
    }
}
