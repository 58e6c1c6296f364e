//! Longest-prefix match by DPDK's FIB library, in bulk, for IPv4 and IPv6.
//!
//! Two layouts. `Direct` (DIR24-8, or a trie for IPv6): one or two memory reads a lookup, and 32 MiB at once for its first
//! level. `Tree`: no memory to speak of and a walk per lookup, for labs and small tables.
//!
//! A table is changed through `&mut` and looked up through `&`: build a new one and swap it in, or keep one per worker.

use std::ptr::NonNull;

use crate::eal::Eal;
use crate::error::{self, Error, Result};
use crate::mempool::socket_id;

/// The largest next hop (15 bits: the layouts keep two bytes an entry).
pub const NEXT_HOP_MAX: u64 = 0x7fff;

/// How a table keeps its routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A binary tree: small and slow.
    Tree,
    /// Flat arrays: 32 MiB, plus 512 bytes for each of these second-level groups (a group serves the routes longer than
    /// /24 below one /24; IPv6 needs one for each further byte of such prefixes).
    Direct {
        /// How many groups there is room for.
        groups: u32,
    },
}

/// A table's size and place.
#[derive(Clone, Debug)]
pub struct FibConfig {
    /// Its name, unique in the process.
    pub name: String,
    /// The most routes.
    pub routes_max: u32,
    /// How routes are kept.
    pub layout: Layout,
    /// What a lookup without a route gives.
    pub default_hop: u64,
    /// The NUMA socket, or any.
    pub socket: Option<u32>,
}

impl FibConfig {
    fn routes(&self) -> Result<i32> {
        i32::try_from(self.routes_max).map_err(|_| Error::Invalid { what: "FIB size" })
    }
}

fn check_hop(hop: u64) -> Result<()> {
    if hop <= NEXT_HOP_MAX { Ok(()) } else { Err(Error::Invalid { what: "next hop" }) }
}

/// Routes of IPv4. Addresses are in host byte order.
#[derive(Debug)]
pub struct Fib4(NonNull<dpdk_sys::rte_fib>);

// SAFETY: a table may be used from any thread.
unsafe impl Send for Fib4 {}
// SAFETY: lookups only read.
unsafe impl Sync for Fib4 {}

impl Fib4 {
    /// Makes an empty table.
    pub fn create(_eal: &Eal, config: &FibConfig) -> Result<Self> {
        const WHAT: &str = "rte_fib_create";
        check_hop(config.default_hop)?;
        let name = error::c_string(WHAT, &config.name)?;
        let mut conf = dpdk_sys::rte_fib_conf {
            type_: dpdk_sys::RTE_FIB_DUMMY,
            default_nh: config.default_hop,
            max_routes: config.routes()?,
            ..Default::default()
        };
        if let Layout::Direct { groups } = config.layout {
            conf.type_ = dpdk_sys::RTE_FIB_DIR24_8;
            conf.__bindgen_anon_1.dir24_8.nh_sz = dpdk_sys::RTE_FIB_DIR24_8_2B;
            conf.__bindgen_anon_1.dir24_8.num_tbl8 = groups.max(1);
        }
        // SAFETY: a C string and a configuration, both copied.
        let fib = unsafe { dpdk_sys::rte_fib_create(name.as_ptr(), socket_id(config.socket), &mut conf) };
        NonNull::new(fib).map(Self).ok_or_else(|| error::last(WHAT))
    }

    /// Adds or replaces the route of `address/prefix`.
    pub fn add(&mut self, address: u32, prefix: u8, hop: u64) -> Result<()> {
        check_hop(hop)?;
        // SAFETY: the table is valid and not shared now; the numbers are checked.
        error::check("rte_fib_add", unsafe { dpdk_sys::rte_fib_add(self.0.as_ptr(), address, prefix, hop) }).map(drop)
    }

    /// Removes the route of `address/prefix`.
    pub fn delete(&mut self, address: u32, prefix: u8) -> Result<()> {
        // SAFETY: as above.
        error::check("rte_fib_delete", unsafe { dpdk_sys::rte_fib_delete(self.0.as_ptr(), address, prefix) }).map(drop)
    }

    /// Looks up as many addresses as both slices have.
    #[inline]
    pub fn lookup(&self, addresses: &[u32], hops: &mut [u64]) {
        let count = addresses.len().min(hops.len()).min(i32::MAX as usize) as i32;
        if count > 0 {
            // SAFETY: both slices have `count` elements; the addresses are only read.
            unsafe {
                let addresses = addresses.as_ptr().cast_mut();
                dpdk_sys::rte_fib_lookup_bulk(self.0.as_ptr(), addresses, hops.as_mut_ptr(), count);
            }
        }
    }
}

impl Drop for Fib4 {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { dpdk_sys::rte_fib_free(self.0.as_ptr()) }
    }
}

/// Routes of IPv6.
#[derive(Debug)]
pub struct Fib6(NonNull<dpdk_sys::rte_fib6>);

// SAFETY: a table may be used from any thread.
unsafe impl Send for Fib6 {}
// SAFETY: lookups only read.
unsafe impl Sync for Fib6 {}

impl Fib6 {
    /// Makes an empty table.
    pub fn create(_eal: &Eal, config: &FibConfig) -> Result<Self> {
        const WHAT: &str = "rte_fib6_create";
        check_hop(config.default_hop)?;
        let name = error::c_string(WHAT, &config.name)?;
        let mut conf = dpdk_sys::rte_fib6_conf {
            type_: dpdk_sys::RTE_FIB6_DUMMY,
            default_nh: config.default_hop,
            max_routes: config.routes()?,
            ..Default::default()
        };
        if let Layout::Direct { groups } = config.layout {
            conf.type_ = dpdk_sys::RTE_FIB6_TRIE;
            conf.__bindgen_anon_1.trie.nh_sz = dpdk_sys::RTE_FIB6_TRIE_2B;
            conf.__bindgen_anon_1.trie.num_tbl8 = groups.max(1);
        }
        // SAFETY: a C string and a configuration, both copied.
        let fib = unsafe { dpdk_sys::rte_fib6_create(name.as_ptr(), socket_id(config.socket), &mut conf) };
        NonNull::new(fib).map(Self).ok_or_else(|| error::last(WHAT))
    }

    /// Adds or replaces the route of `address/prefix`.
    pub fn add(&mut self, address: &[u8; 16], prefix: u8, hop: u64) -> Result<()> {
        check_hop(hop)?;
        // SAFETY: the table is valid and not shared now; 16 bytes are read; the numbers are checked.
        let answer = unsafe { dpdk_sys::shim_fib6_add(self.0.as_ptr(), address.as_ptr(), prefix, hop) };
        error::check("rte_fib6_add", answer).map(drop)
    }

    /// Removes the route of `address/prefix`.
    pub fn delete(&mut self, address: &[u8; 16], prefix: u8) -> Result<()> {
        // SAFETY: as above.
        let answer = unsafe { dpdk_sys::shim_fib6_delete(self.0.as_ptr(), address.as_ptr(), prefix) };
        error::check("rte_fib6_delete", answer).map(drop)
    }

    /// Looks up as many addresses as both slices have.
    #[inline]
    pub fn lookup(&self, addresses: &[[u8; 16]], hops: &mut [u64]) {
        let count = addresses.len().min(hops.len()).min(i32::MAX as usize) as i32;
        if count > 0 {
            // SAFETY: both slices have `count` elements; the addresses are only read.
            unsafe {
                let addresses = addresses.as_ptr().cast();
                dpdk_sys::shim_fib6_lookup_bulk(self.0.as_ptr(), addresses, hops.as_mut_ptr(), count);
            }
        }
    }
}

impl Drop for Fib6 {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { dpdk_sys::rte_fib6_free(self.0.as_ptr()) }
    }
}
