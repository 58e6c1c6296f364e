//! DPDK's environment: initialised once a process, for the process's whole life. The value [`Eal`] is the proof that it
//! was; whoever makes pools or ports asks for it.
//!
//! There is no clean-up on drop: `rte_eal_cleanup` unmaps the memory that mbufs live in, and DPDK cannot be started a
//! second time in a process. With `--in-memory` the kernel takes everything back at exit, even after `kill -9`.

use std::ffi::{CString, c_char};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{self, Error, Result};
use crate::sched::Affinity;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Proof that DPDK is initialised. Share it by reference.
#[derive(Debug)]
pub struct Eal(());

impl Eal {
    /// Initialises DPDK with EAL arguments, without the program's name: `["--in-memory", "-m", "64"]`. Can be called once
    /// a process, successful or not; later calls are refused as busy.
    ///
    /// DPDK pins the calling thread to its first lcore's CPU; that is undone here, since workers are pinned by their own
    /// configuration and other threads inherit the pin of the one that starts them.
    pub fn init<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> Result<Self> {
        const WHAT: &str = "rte_eal_init";
        let mut owned = vec![CString::from(c"phalanx")];
        for arg in args {
            owned.push(error::c_string(WHAT, arg.as_ref())?);
        }
        if TAKEN.swap(true, Ordering::AcqRel) {
            return Err(Error::Busy { what: WHAT });
        }
        let affinity = Affinity::of_this_thread();
        // DPDK keeps pointers to its arguments and permutes the array: both live for ever.
        let mut pointers: Vec<*mut c_char> = owned.into_iter().map(CString::into_raw).collect();
        let count = i32::try_from(pointers.len()).map_err(|_| Error::Invalid { what: WHAT })?;
        pointers.push(std::ptr::null_mut());
        let argv = pointers.leak().as_mut_ptr();
        // SAFETY: `argv` holds `count` C strings and a null pointer, all leaked; TAKEN says that this is the only call.
        let answer = unsafe { dpdk_sys::rte_eal_init(count, argv) };
        if answer < 0 {
            return Err(error::last(WHAT));
        }
        if let Ok(affinity) = affinity {
            affinity.apply()?;
        }
        Ok(Self(()))
    }

    /// Adds the device of a DPDK device string at run time: a PCI address or a virtual device such as
    /// `net_af_packet0,iface=o`.
    pub fn probe(&self, device: &str) -> Result<()> {
        const WHAT: &str = "rte_dev_probe";
        let device = error::c_string(WHAT, device)?;
        // SAFETY: a C string, which DPDK copies.
        error::check(WHAT, unsafe { dpdk_sys::rte_dev_probe(device.as_ptr()) }).map(drop)
    }

    /// Registers the calling thread with DPDK, until the value is dropped. Gives it an lcore number, and with it a cache
    /// in each mempool. Threads that EAL started itself, and the one that initialised it, are registered already.
    pub fn register_thread(&self) -> Result<Registration> {
        if lcore().is_some() {
            return Ok(Registration { unregister: false, _this_thread: PhantomData });
        }
        // SAFETY: the EAL is initialised.
        if unsafe { dpdk_sys::rte_thread_register() } < 0 {
            return Err(error::last("rte_thread_register"));
        }
        Ok(Registration { unregister: true, _this_thread: PhantomData })
    }

    /// Limits what DPDK prints: 1 (emergency) to 8 (debug).
    pub fn set_log_level(&self, level: u32) {
        // SAFETY: sets a variable.
        unsafe { dpdk_sys::rte_log_set_global_level(level.clamp(1, 8)) }
    }
}

/// The calling thread's lcore number, if it's registered.
pub fn lcore() -> Option<u32> {
    // SAFETY: reads a thread-local integer, valid even before initialisation.
    let id = unsafe { dpdk_sys::shim_lcore_id() };
    (id != u32::MAX).then_some(id)
}

/// The calling thread's registration; ends when dropped. Must not leave the thread.
#[derive(Debug)]
pub struct Registration {
    unregister: bool,
    _this_thread: PhantomData<*const ()>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.unregister {
            // SAFETY: the value isn't Send, so this is the thread that registered.
            unsafe { dpdk_sys::rte_thread_unregister() }
        }
    }
}
