//! A cipher and an HMAC, several packets at a time, each under a key of its own, by the library that DPDK's driver `crypto_aesni_mb` is built
//! on (ipsec-mb). AES-CBC and the hashes go from block to block: what a processor can do at once is several packets. The driver, when
//! it works at once, takes packets of one key; a gateway with many tunnels has few of each.
//!
//! A [`Chains`] is one thread's. All that it is given is done when its call returns.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;

use crate::crypto::{Auth, Direction};
use crate::error::{Error, Result};
use crate::gcm::functions;

/// Packets that one call takes.
pub const PACKETS: usize = 32;
/// The cipher's block, and its IV.
pub const BLOCK_LEN: usize = 16;
/// The longest check value.
const TAG_MAX: usize = 32;
/// What is checked behind the packet's end.
const LAST_LEN: usize = 4;
const UNKNOWN: Error = Error::NotSupported { what: "AES-CBC with an HMAC" };

/// Keys of AES-CBC and of an HMAC, in one direction.
pub struct ChainKey {
    expanded: Box<dpdk_sys::shim_chain_key>,
}

// SAFETY: bytes, which nobody writes once they are there.
unsafe impl Send for ChainKey {}
// SAFETY: as above.
unsafe impl Sync for ChainKey {}

impl ChainKey {
    /// Expands a cipher's key of 16 or 32 bytes and an HMAC's. So many bytes of the check value count.
    ///
    /// # Errors
    /// Another length, or another check than an HMAC of the SHA family.
    pub fn new(cipher: &[u8], (auth, secret): (Auth, &[u8]), tag_len: usize, direction: Direction) -> Result<Self> {
        let bits = match auth {
            Auth::HmacSha1 => 160,
            Auth::HmacSha256 => 256,
            Auth::HmacSha384 => 384,
            Auth::HmacSha512 => 512,
            _ => return Err(UNKNOWN),
        };
        if !(LAST_LEN..=TAG_MAX).contains(&tag_len) {
            return Err(UNKNOWN);
        }
        let functions = functions().ok_or(UNKNOWN)?;
        // SAFETY: bytes and numbers, of which zeros are as good as any.
        let mut expanded = Box::new(unsafe { MaybeUninit::<dpdk_sys::shim_chain_key>::zeroed().assume_init() });
        // SAFETY: all places are as long as is said; the table is there for good, and only read.
        let done = unsafe {
            let (key, secret_at) = (cipher.as_ptr(), secret.as_ptr());
            let (table, to, seals) = (functions.as_ptr(), &raw mut *expanded, i32::from(direction == Direction::Seal));
            dpdk_sys::shim_chain_expand(table, to, seals, key, cipher.len(), bits, secret_at, secret.len(), tag_len)
        };
        if done == 0 { Ok(Self { expanded }) } else { Err(UNKNOWN) }
    }

    /// Which way they work.
    #[inline]
    pub const fn direction(&self) -> Direction {
        if self.expanded.seals == 0 { Direction::Open } else { Direction::Seal }
    }

    fn tag_len(&self) -> usize {
        self.expanded.tag_len as usize
    }

    /// Fetches what each packet needs of the keys into the cache.
    #[inline]
    pub fn prefetch(&self) {
        let lines = (&raw const *self.expanded).cast::<u8>();
        (0..size_of::<dpdk_sys::shim_chain_key>())
            .step_by(64)
            .for_each(|at| crate::mbuf::prefetch_line(lines.wrapping_add(at)));
    }
}

impl std::fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChainKey").field("direction", &self.direction()).finish_non_exhaustive()
    }
}

impl Drop for ChainKey {
    fn drop(&mut self) {
        let len = size_of::<dpdk_sys::shim_chain_key>();
        // SAFETY: owned, as long as its type, and only bytes and numbers.
        unsafe { libc::explicit_bzero((&raw mut *self.expanded).cast(), len) };
    }
}

/// One packet's work: what is checked, and behind it the check value.
#[derive(Debug)]
pub struct Work<'p> {
    /// Under which keys, and which way.
    pub key: &'p ChainKey,
    /// All of it.
    pub packet: &'p mut [u8],
    /// What the first block is chained to.
    pub iv: [u8; BLOCK_LEN],
    /// Where it is encrypted: whole blocks.
    pub hidden: Range<usize>,
    /// What is checked behind all that, though it is not in the packet.
    pub last: Option<[u8; LAST_LEN]>,
}

/// What a packet needs besides while it is worked on.
#[derive(Clone, Copy, Default)]
struct Place {
    iv: [u8; BLOCK_LEN],
    wanted: [u8; TAG_MAX],
    made: [u8; TAG_MAX],
}

/// The library's state: packets that are under way.
struct Manager(NonNull<c_void>);

impl Manager {
    fn new() -> Result<Self> {
        // SAFETY: it allocates.
        let manager = NonNull::new(unsafe { dpdk_sys::shim_imb_manager() });
        manager.map(Self).ok_or(Error::NoMemory { what: "ipsec-mb" })
    }

    /// What is done next of all that is under way. None: nothing is.
    fn flush(&self) -> Option<Done> {
        // SAFETY: the manager is there, and what is under way is there until it is done.
        Done::of(unsafe { dpdk_sys::shim_chain_flush(self.0.as_ptr()) })
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // SAFETY: nothing is under way, and nobody has it any more.
        unsafe { dpdk_sys::shim_imb_free(self.0.as_ptr()) };
    }
}

// SAFETY: one thread at a time has it, and it knows nothing of threads.
unsafe impl Send for Manager {}

/// A packet that is done with, by its number, and whether it was worked on.
struct Done {
    number: u32,
    whether: bool,
}

impl Done {
    fn of(answer: i64) -> Option<Self> {
        let answer = u64::try_from(answer).ok()?;
        Some(Self { number: answer as u32, whether: answer >> u32::BITS == 0 })
    }

    fn bit(&self) -> u32 {
        u32::from(self.whether) << (self.number % u32::BITS)
    }
}

/// Nothing stays under way, whatever happens: packets and keys are borrowed.
struct UnderWay<'m>(&'m Manager);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        while self.0.flush().is_some() {}
    }
}

/// See the module.
pub struct Chains {
    manager: Manager,
    places: Box<[Place; PACKETS]>,
}

impl Chains {
    /// Nothing is under way.
    ///
    /// # Errors
    /// There is too little memory.
    pub fn new() -> Result<Self> {
        Ok(Self { manager: Manager::new()?, places: Box::new([Place::default(); PACKETS]) })
    }

    /// Works on up to [`PACKETS`] packets, with gaps between them. Answers which were done, a bit each: those to be opened had the right
    /// check value. What is no packet is left as it is, and not done.
    pub fn process<'p>(&mut self, works: impl Iterator<Item = Option<Work<'p>>>) -> u32 {
        let (mut done, mut opens) = (0, 0);
        let under_way = UnderWay(&self.manager);
        for ((number, place), work) in (0..).zip(self.places.iter_mut()).zip(works) {
            let Some(work) = work else { continue };
            opens |= u32::from(work.key.direction() == Direction::Open) << number;
            let Some(job) = place.prepare(number, work) else { continue };
            // SAFETY: all places are as long as is said, and stay until nothing is under way: packet and keys are borrowed for longer than
            // this call, and `under_way` sees to it that nothing outlasts it.
            let answer = unsafe { dpdk_sys::shim_chain_submit(under_way.0.0.as_ptr(), &raw const job) };
            done |= Done::of(answer).map_or(0, |it| it.bit());
        }
        while let Some(it) = under_way.0.flush() {
            done |= it.bit();
        }
        drop(under_way);
        let to_compare = self.places.iter().zip(0..).filter(|(_, number)| (done & opens) >> number & 1 == 1);
        let wrong = to_compare.map(|(place, number)| u32::from(!place.is_right()) << number);
        done & !wrong.fold(0, |all, one| all | one)
    }
}

impl Place {
    /// None: it is no packet.
    fn prepare(&mut self, number: u64, work: Work<'_>) -> Option<dpdk_sys::shim_chain_job> {
        let Work { key, packet, iv, hidden, last } = work;
        let end = packet.len().checked_sub(key.tag_len())?;
        if hidden.is_empty() || hidden.end > end || !hidden.len().is_multiple_of(BLOCK_LEN) {
            return None;
        }
        let opens = key.direction() == Direction::Open;
        self.iv = iv;
        if opens {
            (self.wanted, self.made) = ([0; TAG_MAX], [0; TAG_MAX]);
            self.wanted.get_mut(..key.tag_len())?.copy_from_slice(packet.get(end..)?);
        }
        if let Some(last) = last {
            packet.get_mut(end..end + LAST_LEN)?.copy_from_slice(&last);
        }
        let tag = if opens { self.made.as_mut_ptr() } else { packet.get_mut(end..)?.as_mut_ptr() };
        Some(dpdk_sys::shim_chain_job {
            key: &raw const *key.expanded,
            packet: packet.as_mut_ptr(),
            iv: self.iv.as_ptr(),
            tag,
            hidden_at: hidden.start,
            hidden_len: hidden.len(),
            checked_len: end + last.map_or(0, |last| last.len()),
            number,
        })
    }

    /// Without a branch on how much of it is right.
    fn is_right(&self) -> bool {
        let pairs = self.wanted.iter().zip(&self.made);
        std::hint::black_box(pairs.fold(0, |differ, (one, other)| differ | one ^ other)) == 0
    }
}

impl std::fmt::Debug for Chains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chains").finish_non_exhaustive()
    }
}
