//! Sleeping until packets come, without a receive interrupt's support in the driver.
//!
//! Virtual drivers (`net_af_packet`, `net_pcap`) refuse receive interrupts, yet they read from packet sockets that poll()
//! knows how to wait for. They don't tell which; but every socket of this process can be asked whether it is a packet
//! socket and of which interface. Drivers with a receive interrupt (`net_tap`, network cards) give a file descriptor.
//! A [`WaitSet`] waits for those, and for a [`Waker`], by which other threads end the sleep.
//!
//! Use: when several polls in a row found nothing, `wait`; whatever woke it, poll again. Readiness is level-triggered,
//! so a packet that came between the last poll and the sleep ends the sleep at once.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::device::Device;
use crate::error::{self, Error, Result};
use crate::queue::{RxQueue, Siblings};

/// A packet socket of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketSocket {
    /// Its file descriptor.
    pub fd: RawFd,
    /// The interface that it's bound to.
    pub interface_index: u32,
}

/// All bound packet sockets of this process, by rising descriptor. A driver opens those of one port in the order of its
/// queues.
pub fn packet_sockets() -> Result<Vec<PacketSocket>> {
    let entries = std::fs::read_dir("/proc/self/fd")
        .map_err(|io| Error::from_code("listing /proc/self/fd", io.raw_os_error().unwrap_or(libc::ENOENT)))?;
    let mut sockets: Vec<PacketSocket> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|fd| interface_of(fd).map(|interface_index| PacketSocket { fd, interface_index }))
        .collect();
    sockets.sort_unstable_by_key(|socket| socket.fd);
    Ok(sockets)
}

/// The interface that `fd` is bound to, if it's a bound packet socket.
fn interface_of(fd: RawFd) -> Option<u32> {
    // SAFETY: all zeroes is a valid value of this plain structure.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut len = size_of_val(&address) as libc::socklen_t;
    // SAFETY: `address` has `len` bytes; a descriptor that is no socket is only refused.
    let answer = unsafe { libc::getsockname(fd, (&raw mut address).cast(), &mut len) };
    if answer != 0 || i32::from(address.sll_family) != libc::AF_PACKET {
        return None;
    }
    u32::try_from(address.sll_ifindex).ok().filter(|&index| index != 0)
}

/// Ends the sleep of the thread that owns the [`WaitSet`]; for any number of threads. Costs a system call only if the
/// owner has slept since the last wake.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Alarm>);

#[derive(Debug)]
struct Alarm {
    event: OwnedFd,
    /// Set by the first wake after a sleep, and cleared when that sleep's end has emptied `event`.
    pending: AtomicBool,
}

impl Waker {
    /// Ends the present sleep, or the next one. What the caller wrote before is visible to the thread that wakes up.
    pub fn wake(&self) {
        if !self.0.pending.swap(true, Ordering::AcqRel) {
            let one = 1_u64;
            // SAFETY: writes eight bytes from `one`. It cannot fail for want of room: one write per emptying.
            unsafe { libc::write(self.0.event.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
        }
    }
}

/// What ended a sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// A waker did.
    pub by_waker: bool,
    /// So many of the queues' descriptors are ready. Zero, and no waker: time is up, or a signal came.
    pub ready: usize,
}

/// What one thread waits for. Keeps the devices of its queues open.
#[derive(Debug)]
pub struct WaitSet {
    /// The first is the waker's.
    fds: Vec<libc::pollfd>,
    /// Those that are interrupts' event counters: emptied after each sleep. (Sockets are emptied by their drivers.)
    events: Vec<RawFd>,
    alarm: Arc<Alarm>,
    devices: Vec<Arc<Device>>,
}

impl WaitSet {
    /// A set of nothing but a waker.
    pub fn new() -> Result<Self> {
        // SAFETY: makes a new descriptor.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(error::os("eventfd"));
        }
        // SAFETY: `fd` is new, and owned by nobody else.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        let alarm = Arc::new(Alarm { event, pending: AtomicBool::new(false) });
        Ok(Self { fds: vec![readable(fd)], events: Vec::new(), alarm, devices: Vec::new() })
    }

    /// A handle by which other threads wake this set's owner.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.alarm))
    }

    /// Adds what announces packets on a queue: its packet socket (all of its port's, if they don't match the queues one
    /// to one), or else its receive interrupt, which the caller arms before each sleep ([`RxQueue::enable_interrupt`];
    /// `net_tap` needs no arming). Says how many descriptors that added. Refused as not supported if the driver has
    /// neither: then wait with a short timeout.
    pub fn add_queue(&mut self, queue: &RxQueue) -> Result<usize> {
        let mut fds = queue_sockets(queue.index(), queue.siblings())?;
        if fds.is_empty() {
            fds.push(queue.interrupt_fd()?);
        }
        let mut added = 0;
        for fd in fds {
            if !self.fds.iter().any(|known| known.fd == fd) {
                self.fds.push(readable(fd));
                added += 1;
            }
            if is_event(fd) && !self.events.contains(&fd) {
                self.events.push(fd);
            }
        }
        self.devices.push(Arc::clone(queue.device()));
        Ok(added)
    }

    /// How many descriptors of queues are in the set.
    pub fn len(&self) -> usize {
        self.fds.len() - 1
    }

    /// Whether only the waker can end a sleep.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sleeps until packets are there, a waker calls, or the timeout (`None`: none) is up. A signal ends it too.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Woken> {
        let spec = timeout.map(|time| libc::timespec {
            tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        let spec = spec.as_ref().map_or(std::ptr::null(), |spec| spec as *const _);
        let count = self.fds.len() as libc::nfds_t;
        // SAFETY: `fds` has `count` entries, `spec` is null or valid, the signal mask stays.
        let answer = unsafe { libc::ppoll(self.fds.as_mut_ptr(), count, spec, std::ptr::null()) };
        if answer < 0 {
            let error = error::os("ppoll");
            let interrupted = error == Error::Other { what: "ppoll", code: libc::EINTR };
            return if interrupted { Ok(Woken::default()) } else { Err(error) };
        }
        let by_waker = self.fds.first().is_some_and(|event| event.revents != 0);
        if by_waker {
            self.empty_alarm();
        }
        for slot in self.fds.iter().skip(1).filter(|slot| slot.revents != 0 && self.events.contains(&slot.fd)) {
            empty(slot.fd);
        }
        Ok(Woken { by_waker, ready: (answer as usize).saturating_sub(usize::from(by_waker)) })
    }

    /// Empties the event, *then* lets wakers write again: the other way round, a wake could be emptied away unseen while
    /// `pending` keeps the next ones from writing.
    fn empty_alarm(&self) {
        empty(self.alarm.event.as_raw_fd());
        self.alarm.pending.swap(false, Ordering::AcqRel);
    }
}

/// Reads an event counter that poll() called readable.
fn empty(event: RawFd) {
    let mut value = 0_u64;
    // SAFETY: reads eight bytes into `value`.
    unsafe { libc::read(event, (&raw mut value).cast(), size_of::<u64>()) };
}

/// Whether `fd` is an event counter, which a network card's interrupt is given as.
fn is_event(fd: RawFd) -> bool {
    std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|link| link.to_string_lossy().contains("eventfd"))
}

fn readable(fd: RawFd) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

fn queue_sockets(queue: u16, port: Siblings) -> Result<Vec<RawFd>> {
    let Some(index) = port.interface_index else { return Ok(Vec::new()) };
    let sockets = packet_sockets()?.into_iter().filter(|socket| socket.interface_index == index);
    let fds: Vec<RawFd> = sockets.map(|socket| socket.fd).collect();
    match fds.get(usize::from(queue)) {
        Some(&fd) if fds.len() == usize::from(port.rx_queues) => Ok(vec![fd]),
        _ => Ok(fds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_the_sleep_ends_it_once() {
        let mut set = WaitSet::new().unwrap();
        let waker = set.waker();
        waker.wake();
        waker.wake();
        assert_eq!(set.wait(None), Ok(Woken { by_waker: true, ready: 0 }));
        assert_eq!(set.wait(Some(Duration::ZERO)), Ok(Woken::default()));
        waker.wake();
        assert_eq!(set.wait(None), Ok(Woken { by_waker: true, ready: 0 }));
    }

    #[test]
    fn no_wake_is_lost_between_threads() {
        let mut set = WaitSet::new().unwrap();
        let waker = set.waker();
        let sent = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counter = Arc::clone(&sent);
        let thread = std::thread::spawn(move || {
            for _ in 0..20_000 {
                counter.fetch_add(1, Ordering::Relaxed);
                waker.wake();
            }
        });
        while sent.load(Ordering::Relaxed) < 20_000 {
            assert!(set.wait(Some(Duration::from_secs(20))).unwrap().by_waker, "a wake was lost");
        }
        thread.join().unwrap();
    }
}
