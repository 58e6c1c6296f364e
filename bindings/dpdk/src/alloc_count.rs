//! Counts heap allocations per thread, and their bytes: how benchmarks prove that the packet path makes none, and what a tunnel
//! takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, counting. A program installs it by
/// `#[global_allocator] static ALLOCATOR: CountingAlloc = CountingAlloc;`
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAlloc;

/// How many allocations (and growths of allocations) the calling thread has made; always 0 without [`CountingAlloc`].
#[inline]
pub fn thread_allocations() -> u64 {
    COUNT.try_with(Cell::get).unwrap_or(0)
}

/// How many bytes the calling thread has asked for and not given back; less than nothing, if it gave back what others had asked
/// for. Always 0 without [`CountingAlloc`].
#[inline]
pub fn thread_bytes() -> i64 {
    BYTES.try_with(Cell::get).unwrap_or(0)
}

#[inline]
fn count() {
    // The cell has no destructor and no lazy part, so that counting itself cannot allocate.
    let _ = COUNT.try_with(|cell| cell.set(cell.get().wrapping_add(1)));
}

#[inline]
fn count_bytes(asked: usize, given_back: usize) {
    let _ = BYTES.try_with(|cell| cell.set(cell.get().wrapping_add(asked as i64).wrapping_sub(given_back as i64)));
}

// SAFETY: everything is the system allocator's own work.
unsafe impl GlobalAlloc for CountingAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        count_bytes(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        count_bytes(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        count_bytes(size, layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count_bytes(0, layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: CountingAlloc = CountingAlloc;

    #[test]
    fn allocations_are_counted_on_their_own_thread() {
        let before = thread_allocations();
        let boxed = std::hint::black_box(Box::new(7_u64));
        assert_eq!(thread_allocations(), before + 1);
        let other = std::thread::spawn(|| (0..100).for_each(|n| drop(std::hint::black_box(Box::new(n)))));
        let here = thread_allocations();
        other.join().unwrap();
        assert!(thread_allocations() < here + 50, "the other thread's are not ours");
        drop(boxed);
    }

    #[test]
    fn bytes_are_those_that_were_not_given_back() {
        let before = thread_bytes();
        let mut bytes = std::hint::black_box(Vec::<u8>::with_capacity(1000));
        assert_eq!(thread_bytes(), before + 1000);
        bytes.reserve_exact(3000);
        assert_eq!(thread_bytes(), before + 3000);
        drop(std::hint::black_box(bytes));
        assert_eq!(thread_bytes(), before);
    }
}
