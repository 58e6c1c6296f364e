//! Pools of mbufs. A process makes its pools once, at its start, and they live until its end: so a handle can be `Copy`,
//! and an mbuf needs no reference count on its pool.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use crate::burst::Burst;
use crate::eal::Eal;
use crate::error::{self, Error, Result};
use crate::mbuf::Mbuf;

/// The bytes kept free before a packet's data, for headers to be prepended.
pub const HEADROOM: u16 = dpdk_sys::SYS_MBUF_HEADROOM as u16;

/// The data room that takes any ordinary Ethernet frame: headroom, and 2048 bytes.
pub const DATA_ROOM: u16 = HEADROOM + 2048;

/// A pool's size and place.
#[derive(Clone, Debug)]
pub struct MempoolConfig {
    /// Its name, unique in the process, at most 25 bytes.
    pub name: String,
    /// How many mbufs; best 2^n - 1.
    pub mbufs: u32,
    /// How many of them a registered thread may keep for itself: at most 512, and two thirds of `mbufs`.
    pub cache: u32,
    /// The bytes of each buffer, headroom included.
    pub data_room: u16,
    /// The NUMA socket, or any.
    pub socket: Option<u32>,
}

impl MempoolConfig {
    /// A pool of ordinary frames, with a cache of 256 mbufs a thread where the pool is large enough for it.
    pub fn new(name: impl Into<String>, mbufs: u32) -> Self {
        Self { name: name.into(), mbufs, cache: 256.min(mbufs / 4), data_room: DATA_ROOM, socket: None }
    }

    /// Refuses what DPDK would refuse only with a puzzling number.
    pub fn check(&self) -> Result<()> {
        let fits = self.name.len() <= 25 && self.cache <= 512 && u64::from(self.cache) * 3 <= u64::from(self.mbufs) * 2;
        if fits && self.data_room >= HEADROOM { Ok(()) } else { Err(Error::Invalid { what: "mempool configuration" }) }
    }
}

/// A pool of mbufs; lives as long as the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mempool(NonNull<dpdk_sys::rte_mempool>);

// SAFETY: pools are made for concurrent use by all threads, registered or not.
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Makes a pool.
    pub fn create(_eal: &Eal, config: &MempoolConfig) -> Result<Self> {
        const WHAT: &str = "rte_pktmbuf_pool_create";
        config.check()?;
        let name = error::c_string(WHAT, &config.name)?;
        let socket = socket_id(config.socket);
        // SAFETY: a C string, which DPDK copies, and plain numbers, which it checks.
        let pool = unsafe {
            dpdk_sys::rte_pktmbuf_pool_create(name.as_ptr(), config.mbufs, config.cache, 0, config.data_room, socket)
        };
        NonNull::new(pool).map(Self).ok_or_else(|| error::last(WHAT))
    }

    /// An empty mbuf with full headroom, unless the pool is used up.
    #[inline]
    pub fn alloc(self) -> Option<Mbuf> {
        // SAFETY: the pool is valid.
        NonNull::new(unsafe { dpdk_sys::shim_pktmbuf_alloc(self.as_ptr()) }).map(|mbuf| {
            // SAFETY: a fresh mbuf, owned by nobody else.
            unsafe { Mbuf::from_raw(mbuf) }
        })
    }

    /// An mbuf with a copy of `bytes`, unless the pool is used up or the bytes don't fit one buffer.
    pub fn alloc_from(self, bytes: &[u8]) -> Option<Mbuf> {
        let mut mbuf = self.alloc()?;
        mbuf.append(u16::try_from(bytes.len()).ok()?)?.copy_from_slice(bytes);
        Some(mbuf)
    }

    /// Fills `burst` up with empty mbufs: with all that it has room for, or, if the pool cannot give as many, none.
    #[inline]
    pub fn fill<const N: usize>(self, burst: &mut Burst<N>) -> usize {
        let spare = burst.spare();
        let count = spare.len();
        // SAFETY: `spare` has room for `count` pointers.
        let answer = unsafe { dpdk_sys::shim_pktmbuf_alloc_bulk(self.as_ptr(), pointers(spare), count as u32) };
        if answer != 0 {
            return 0;
        }
        // SAFETY: the call wrote all of `spare`.
        unsafe { burst.grow(count) };
        count
    }

    /// How many mbufs are free, those in threads' caches included. Slow: for checks, not for the packet path.
    pub fn available(self) -> u32 {
        // SAFETY: the pool is valid.
        unsafe { dpdk_sys::rte_mempool_avail_count(self.as_ptr()) }
    }

    /// How many mbufs are in use, including those waiting in receive queues. Slow, as above.
    pub fn in_use(self) -> u32 {
        // SAFETY: the pool is valid.
        unsafe { dpdk_sys::rte_mempool_in_use_count(self.as_ptr()) }
    }

    /// The bytes of each buffer, headroom included.
    pub fn data_room(self) -> u16 {
        // SAFETY: the pool is valid, and made by `rte_pktmbuf_pool_create`.
        unsafe { dpdk_sys::shim_pktmbuf_data_room_size(self.as_ptr()) }
    }

    #[inline]
    pub(crate) fn as_ptr(self) -> *mut dpdk_sys::rte_mempool {
        self.0.as_ptr()
    }
}

/// A NUMA socket as DPDK wants it: -1 is any.
pub(crate) fn socket_id(socket: Option<u32>) -> i32 {
    socket.and_then(|socket| i32::try_from(socket).ok()).unwrap_or(-1)
}

/// An array of owned mbufs as the array of pointers that it is (`Mbuf` is transparent over one).
#[inline]
pub(crate) fn pointers(mbufs: &mut [MaybeUninit<Mbuf>]) -> *mut *mut dpdk_sys::rte_mbuf {
    mbufs.as_mut_ptr().cast()
}
