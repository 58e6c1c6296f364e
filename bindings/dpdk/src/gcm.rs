//! AES-GCM a packet at a time, by the library that DPDK's driver `crypto_aesni_gcm` is built on (ipsec-mb). The driver, which knows
//! packets in pieces, makes three calls for each; here it is one, and nothing around it.
//!
//! The library is asked once which of its variants this processor runs best; after that its manager is only read.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::crypto::Direction;
use crate::error::{Error, Result};

/// Salt and IV.
pub const NONCE_LEN: usize = 12;
/// The check value.
pub const TAG_LEN: usize = 16;

type Function = unsafe extern "C" fn(
    *const dpdk_sys::gcm_key_data,
    *mut dpdk_sys::gcm_context_data,
    *mut u8,
    *const u8,
    u64,
    *const u8,
    *const u8,
    u64,
    *mut u8,
    u64,
);

const LINE_LEN: usize = 16;

/// What the library loads at once, and so is to be stored at once: a load out of two stores waits until both have left the
/// processor's queue, and with it everything behind it.
#[repr(C, align(16))]
struct Line([u8; LINE_LEN]);

impl Line {
    #[inline(always)]
    const fn empty() -> Self {
        Self([0; LINE_LEN])
    }

    /// Lowest byte first.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn put(&mut self, number: u128) {
        use std::arch::x86_64::{__m128i, _mm_set_epi64x};
        // SAFETY: this instruction is part of x86-64, and the place is as long and as aligned as what is stored. Volatile: the compiler
        // would rather have two stores than bring the halves together.
        unsafe {
            let number = _mm_set_epi64x((number >> 64) as i64, number as i64);
            (&raw mut self.0).cast::<__m128i>().write_volatile(number);
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    fn put(&mut self, number: u128) {
        self.0 = number.to_le_bytes();
    }
}

/// The library reads the key with aligned loads.
#[repr(C, align(64))]
struct Expanded(dpdk_sys::gcm_key_data);

/// A key in one direction.
pub struct GcmKey {
    expanded: Box<Expanded>,
    function: Function,
    direction: Direction,
}

/// The library's table of functions, with a place for packets under way that nobody uses.
pub(crate) struct Functions(NonNull<c_void>);

impl Functions {
    pub(crate) const fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }
}

// SAFETY: it is only read once it is in its place.
unsafe impl Send for Functions {}
// SAFETY: as above.
unsafe impl Sync for Functions {}

pub(crate) fn functions() -> Option<&'static Functions> {
    static FUNCTIONS: OnceLock<Option<Functions>> = OnceLock::new();
    // SAFETY: it allocates, and what it answers is there for good.
    let start = || NonNull::new(unsafe { dpdk_sys::shim_imb_manager() }).map(Functions);
    FUNCTIONS.get_or_init(start).as_ref()
}

impl GcmKey {
    /// Expands a key of 16 or 32 bytes.
    ///
    /// # Errors
    /// Another length, or the processor has no instructions for AES.
    pub fn new(key: &[u8], direction: Direction) -> Result<Self> {
        const UNKNOWN: Error = Error::NotSupported { what: "AES-GCM at once" };
        let table = functions().ok_or(UNKNOWN)?;
        let seal = i32::from(direction == Direction::Seal);
        // SAFETY: the table is there for good, and only read.
        let functions = unsafe {
            let expand = dpdk_sys::shim_gcm_expand(table.as_ptr(), key.len());
            expand.zip(dpdk_sys::shim_gcm_work(table.as_ptr(), key.len(), seal))
        };
        let (expand, function) = functions.ok_or(UNKNOWN)?;
        // SAFETY: bytes, of which zeros are as good as any.
        let mut expanded = Box::new(Expanded(unsafe { MaybeUninit::zeroed().assume_init() }));
        // SAFETY: the key is as long as the function reads, and the other place is the structure that it writes.
        unsafe { expand(key.as_ptr().cast(), &mut expanded.0) };
        Ok(Self { expanded, function, direction })
    }

    /// Encrypts a packet in place and writes its check value; or decrypts it and compares. False: it had another check value.
    /// Nonce and what is checked besides are numbers of as many bytes, the lowest one first; of the latter `aad_len` bytes count.
    #[inline]
    pub fn process(
        &self,
        nonce: u128,
        (aad, aad_len): (u128, usize),
        data: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> bool {
        let (mut nonce_line, mut aad_line) = (Line::empty(), Line::empty());
        nonce_line.put(nonce);
        aad_line.put(aad);
        let mut right = [0; TAG_LEN];
        let opens = self.direction == Direction::Open;
        let written = if opens { right.as_mut_ptr() } else { tag.as_mut_ptr() };
        let mut context = MaybeUninit::uninit();
        let (place, len) = (data.as_mut_ptr(), data.len() as u64);
        // SAFETY: all places are as long as is said; source and destination may be one; the context is the function's to write.
        unsafe {
            let key = &raw const self.expanded.0;
            let (nonce, checked) = (nonce_line.0.as_ptr(), aad_line.0.as_ptr());
            let (context, checked_len) = (context.as_mut_ptr(), aad_len.min(LINE_LEN) as u64);
            (self.function)(key, context, place, place, len, nonce, checked, checked_len, written, TAG_LEN as u64);
        }
        // Without a branch on how much of it is right.
        !opens || u128::from_ne_bytes(right) ^ u128::from_ne_bytes(*tag) == 0
    }

    /// Fetches what each packet needs of the key into the cache: the round keys. (Which powers of the hash key it takes depends on its
    /// length.)
    #[inline]
    pub fn prefetch(&self) {
        let lines = (&raw const *self.expanded).cast::<u8>();
        [0, 64, 128].into_iter().for_each(|at| crate::mbuf::prefetch_line(lines.wrapping_add(at)));
    }
}

impl std::fmt::Debug for GcmKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GcmKey").field("direction", &self.direction).finish_non_exhaustive()
    }
}

impl Drop for GcmKey {
    fn drop(&mut self) {
        let len = size_of::<Expanded>();
        // SAFETY: owned, as long as its type, and only bytes.
        unsafe { libc::explicit_bzero((&raw mut *self.expanded).cast(), len) };
    }
}
