//! A safe API over DPDK. All `unsafe` code of the project lives in this crate and in `dpdk-sys`.
//!
//! # Ownership
//! - An [`Mbuf`] is owned: it is dropped once (its buffer goes back to its pool), or given away: to a transmit queue, to
//!   a [`ring`], to a reassembly table. No second owner of a buffer can be made, so `data_mut` needs no check.
//! - A [`Burst`] owns up to `N` mbufs. [`TxQueue::send`] takes from its front what the driver accepted: that is the
//!   queue's now, and freed by it. What wasn't accepted stays in the caller's burst, in order.
//! - A [`Port`] and its queues share one device: it is stopped and closed when the last of them is dropped, whichever
//!   thread that is, by the thread on which drivers handle their events. A queue is `Send` and not `Sync`: one thread at
//!   a time, no lock.
//! - A [`Mempool`] lives as long as the process: its handle is `Copy`, and no mbuf can outlive it.
//!
//! # Threads
//! Threads that use pools, queues or rings register first ([`eal::Eal::register_thread`]): pools keep a cache per
//! registered thread, without which each allocation goes to the shared ring.

pub mod alloc_count;
pub mod burst;
pub mod chain;
pub mod clock;
pub mod crypto;
mod device;
pub mod eal;
pub mod error;
pub mod fib;
pub mod fragment;
pub mod gcm;
pub mod mbuf;
pub mod mempool;
pub mod port;
pub mod prefetch;
pub mod process;
pub mod queue;
pub mod reassembly;
pub mod ring;
pub mod sched;
pub mod simd;
pub mod wait;

pub use burst::Burst;
pub use eal::Eal;
pub use error::{Error, Result};
pub use mbuf::Mbuf;
pub use mempool::Mempool;
pub use port::{Port, PortConfig};
pub use queue::{RxQueue, TxQueue};
