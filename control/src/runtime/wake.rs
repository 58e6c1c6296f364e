//! Sleeping until a socket is readable, another thread calls, or the next deadline: ppoll(2) and an eventfd(2).
//!
//! Whoever puts something where this thread looks (a ring, a channel) does so *before* it calls [`Waker::wake`], and the
//! sleeper empties all its inputs after every sleep. So a call between the last look and the sleep is never lost.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

#[derive(Debug)]
struct Alarm {
    event: OwnedFd,
    /// Set by the first call after a sleep, cleared when the sleep's end has emptied `event`: further calls cost no
    /// system call.
    pending: AtomicBool,
}

/// Ends the sleep of the thread that owns the [`Sleeper`].
#[derive(Clone, Debug)]
pub(super) struct Waker(Arc<Alarm>);

impl Waker {
    /// Ends the present sleep, or the next one.
    pub(super) fn wake(&self) {
        if !self.0.pending.swap(true, Ordering::AcqRel) {
            // Cannot fail for want of room: one write per emptying.
            let _ = rustix::io::write(&self.0.event, &1_u64.to_ne_bytes());
        }
    }
}

/// One thread's way to sleep.
#[derive(Debug)]
pub(super) struct Sleeper(Arc<Alarm>);

impl Sleeper {
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Alarm { event, pending: AtomicBool::new(false) })))
    }

    /// A handle by which other threads end the sleep.
    pub(super) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.0))
    }

    /// Sleeps until one of `sockets` is readable, a waker calls, or the time is up (`None`: no limit). A signal ends it too.
    pub(super) fn sleep<const N: usize>(
        &self,
        sockets: [BorrowedFd<'_>; N],
        limit: Option<Duration>,
    ) -> io::Result<()> {
        let limit = limit.map(|limit| Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 }));
        let mut fds = vec![PollFd::from_borrowed_fd(self.0.event.as_fd(), PollFlags::IN)];
        fds.extend(sockets.into_iter().map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN)));
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if fds.first().is_some_and(|event| !event.revents().is_empty()) {
            self.empty();
        }
        Ok(())
    }

    /// Empties the event, *then* lets callers write again: the other way round, a call could be emptied away unseen while
    /// `pending` keeps the next ones from writing.
    fn empty(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.0.event, &mut count);
        self.0.pending.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_before_the_sleep_ends_it_once() {
        let sleeper = Sleeper::new().unwrap();
        let waker = sleeper.waker();
        waker.wake();
        waker.wake();
        sleeper.sleep([], None).unwrap();
        sleeper.sleep([], Some(Duration::ZERO)).unwrap();
        waker.wake();
        sleeper.sleep([], None).unwrap();
    }

    #[test]
    fn no_call_is_lost_between_threads() {
        let sleeper = Sleeper::new().unwrap();
        let waker = sleeper.waker();
        let (sender, receiver) = crossbeam::channel::unbounded();
        let thread = std::thread::spawn(move || {
            for number in 0..10_000 {
                sender.send(number).unwrap();
                waker.wake();
            }
        });
        let mut seen = 0;
        while seen < 10_000 {
            sleeper.sleep([], Some(Duration::from_secs(20))).unwrap();
            let news = receiver.try_iter().count();
            seen += news;
        }
        thread.join().unwrap();
    }
}
