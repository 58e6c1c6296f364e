//! An open Ethernet device, and its end.
//!
//! Virtual drivers have a life of their own: what happens to a device's peer (a `net_memif` goes away, an interface
//! disappears) is handled by a thread of EAL's, and may end in the very clean-up that closing the device does, without a
//! lock between the two. Closing both ends of a wire, one right after the other, is enough for both threads to free the
//! second end's memory. So a device is closed on that thread: whatever the driver does with its state it does one after
//! the other. (Alarms run there; DPDK's own examples close removed ports by an alarm, too.)

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use crate::error::{Error, Result};

/// Which ports are open: a port has one [`Device`] at a time.
static OPEN: [AtomicBool; dpdk_sys::RTE_MAX_ETHPORTS as usize] =
    [const { AtomicBool::new(false) }; dpdk_sys::RTE_MAX_ETHPORTS as usize];

/// An open device: stopped and closed when its port and all queues are gone.
#[derive(Debug)]
pub(crate) struct Device {
    id: u16,
}

impl Device {
    /// Takes a port that nobody has open.
    pub(crate) fn claim(id: u16) -> Result<Self> {
        let slot = OPEN.get(usize::from(id)).ok_or(Error::NotFound { what: "port number" })?;
        if slot.swap(true, Ordering::AcqRel) { Err(Error::Busy { what: "port" }) } else { Ok(Self { id }) }
    }

    /// Its number.
    pub(crate) fn id(&self) -> u16 {
        self.id
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let (closed, done) = mpsc::channel();
        let order = Box::into_raw(Box::new(CloseOrder { id: self.id, _closed: closed }));
        // SAFETY: the callback is called once, and takes the order over.
        let answer = unsafe { dpdk_sys::rte_eal_alarm_set(1, Some(close), order.cast()) };
        if answer < 0 {
            // SAFETY: the alarm wasn't set, so the order is still ours; there is no memory for alarms, but for this.
            unsafe { close(order.cast()) }
        }
        // Nothing is ever sent: the sender's end is dropped when the device is closed.
        let _ = done.recv();
        OPEN[usize::from(self.id)].store(false, Ordering::Release);
    }
}

/// Which device to close, and who is to hear of it.
struct CloseOrder {
    id: u16,
    _closed: mpsc::Sender<()>,
}

/// Closes a device.
///
/// # Safety
/// `order` is a leaked box of a [`CloseOrder`], given away; neither the port nor its queues can be used any more.
unsafe extern "C" fn close(order: *mut c_void) {
    // SAFETY: the caller gives it away.
    let order = unsafe { Box::from_raw(order.cast::<CloseOrder>()) };
    // SAFETY: the port exists, and nobody uses it any more. Stopping a stopped one is harmless.
    unsafe {
        dpdk_sys::rte_eth_dev_stop(order.id);
        dpdk_sys::rte_eth_dev_close(order.id);
    }
}
