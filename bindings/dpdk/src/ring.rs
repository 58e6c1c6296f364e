//! Handing packets from one thread to another: a bounded, lock-free ring with one sender and one receiver.
//!
//! A full ring takes no more: what was not taken stays in the sender's burst, to be counted and dropped. Sender and
//! receiver may end in either order; packets still in the ring are freed with the second.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::burst::Burst;
use crate::eal::Eal;
use crate::error::{self, Error, Result};
use crate::mempool::{pointers, socket_id};

#[derive(Debug)]
struct Ring(NonNull<dpdk_sys::rte_ring>);

// SAFETY: one sender and one receiver may use a ring at the same time; `Sender` and `Receiver` are not `Sync`.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Drop for Ring {
    fn drop(&mut self) {
        let mut burst = Burst::<64>::new();
        while receive(self, &mut burst) > 0 {
            burst.clear();
        }
        // SAFETY: empty, and nobody else holds it.
        unsafe { dpdk_sys::rte_ring_free(self.0.as_ptr()) }
    }
}

/// Makes a ring for at least `capacity` packets (the next 2^n - 1), with a name unique in the process.
pub fn channel(_eal: &Eal, name: &str, capacity: u32, socket: Option<u32>) -> Result<(Sender, Receiver)> {
    const WHAT: &str = "rte_ring_create";
    const FLAGS: u32 = dpdk_sys::RING_F_SP_ENQ | dpdk_sys::RING_F_SC_DEQ;
    let name = error::c_string(WHAT, name)?;
    let slots =
        capacity.checked_add(1).and_then(u32::checked_next_power_of_two).ok_or(Error::Invalid { what: WHAT })?;
    // SAFETY: a C string, which is copied, and plain numbers, which are checked.
    let ring = unsafe { dpdk_sys::rte_ring_create(name.as_ptr(), slots, socket_id(socket), FLAGS) };
    let ring = Arc::new(Ring(NonNull::new(ring).ok_or_else(|| error::last(WHAT))?));
    Ok((Sender { ring: Arc::clone(&ring), _not_sync: PhantomData }, Receiver { ring, _not_sync: PhantomData }))
}

/// The sending end.
#[derive(Debug)]
pub struct Sender {
    ring: Arc<Ring>,
    _not_sync: PhantomData<Cell<()>>,
}

impl Sender {
    /// Sends from the front of `burst`; says how many the ring had room for. The others stay, in order.
    #[inline]
    pub fn send<const N: usize>(&mut self, burst: &mut Burst<N>) -> usize {
        let len = burst.len() as u32;
        // SAFETY: the only sender; the first `len` are owned mbufs.
        let count = unsafe { dpdk_sys::shim_ring_sp_enqueue_burst(self.ring.0.as_ptr(), burst.as_pointers(), len) };
        // SAFETY: the ring owns the first `count` now.
        unsafe { burst.shrink_front(count as usize) };
        count as usize
    }

    /// How many packets wait in the ring.
    pub fn len(&self) -> usize {
        count(&self.ring)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many packets the ring holds at most.
    pub fn capacity(&self) -> usize {
        // SAFETY: the ring is valid.
        unsafe { dpdk_sys::shim_ring_capacity(self.ring.0.as_ptr()) as usize }
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Receiver {
    ring: Arc<Ring>,
    _not_sync: PhantomData<Cell<()>>,
}

impl Receiver {
    /// Adds waiting packets to `burst`, as many as it has room for; says how many.
    #[inline]
    pub fn receive<const N: usize>(&mut self, burst: &mut Burst<N>) -> usize {
        receive(&self.ring, burst)
    }

    /// How many packets wait in the ring.
    pub fn len(&self) -> usize {
        count(&self.ring)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The caller is the only receiver.
#[inline]
fn receive<const N: usize>(ring: &Ring, burst: &mut Burst<N>) -> usize {
    let spare = burst.spare();
    let room = spare.len() as u32;
    // SAFETY: the only receiver (callers); `spare` has `room` places.
    let count = unsafe { dpdk_sys::shim_ring_sc_dequeue_burst(ring.0.as_ptr(), pointers(spare), room) };
    // SAFETY: `count` mbufs were written and are ours now.
    unsafe { burst.grow(count as usize) };
    count as usize
}

fn count(ring: &Ring) -> usize {
    // SAFETY: the ring is valid.
    unsafe { dpdk_sys::shim_ring_count(ring.0.as_ptr()) as usize }
}
