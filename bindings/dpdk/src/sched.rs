//! How the kernel schedules the calling thread: its CPUs, its class, the slack of its timers.

use std::mem;

use crate::error::{self, Error, Result};

/// A set of CPUs, as the kernel keeps it for a thread.
#[derive(Clone)]
pub struct Affinity(libc::cpu_set_t);

impl Affinity {
    /// The CPUs that the calling thread may run on.
    pub fn of_this_thread() -> Result<Self> {
        // SAFETY: all zeroes is an empty set.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: `set` is as large as stated.
        let answer = unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set) };
        if answer == 0 { Ok(Self(set)) } else { Err(error::os("sched_getaffinity")) }
    }

    /// One CPU alone.
    pub fn of_cpu(cpu: usize) -> Result<Self> {
        if cpu >= libc::CPU_SETSIZE as usize {
            return Err(Error::Invalid { what: "CPU number" });
        }
        // SAFETY: all zeroes is an empty set.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: `cpu` is within the set, checked above.
        unsafe { libc::CPU_SET(cpu, &mut set) };
        Ok(Self(set))
    }

    /// Moves the calling thread to these CPUs.
    pub fn apply(&self) -> Result<()> {
        // SAFETY: the set is as large as stated.
        let answer = unsafe { libc::sched_setaffinity(0, mem::size_of_val(&self.0), &self.0) };
        if answer == 0 { Ok(()) } else { Err(error::os("sched_setaffinity")) }
    }
}

impl std::fmt::Debug for Affinity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: each number is within the set.
        let cpus = (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &self.0) });
        f.debug_set().entries(cpus).finish()
    }
}

/// How the calling thread competes for its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Fair sharing, the default.
    Other,
    /// SCHED_FIFO with this priority, 1..=99. Never for a thread that polls without sleeping: it would starve its CPU.
    Fifo(u8),
}

impl Class {
    /// Puts the calling thread into this class.
    pub fn apply(self) -> Result<()> {
        let (policy, priority) = match self {
            Self::Other => (libc::SCHED_OTHER, 0),
            Self::Fifo(priority) => (libc::SCHED_FIFO, i32::from(priority)),
        };
        let param = libc::sched_param { sched_priority: priority };
        // SAFETY: `param` is a valid structure.
        let answer = unsafe { libc::sched_setscheduler(0, policy, &param) };
        if answer < 0 { Err(error::os("sched_setscheduler")) } else { Ok(()) }
    }
}

/// Lets the calling thread give way to those that share its CPU fairly: from 0, not at all, to 19.
pub fn set_nice(nice: u8) -> Result<()> {
    // SAFETY: sets a number of the calling thread. (On Linux process 0 is the thread, not the whole process.)
    let answer = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, i32::from(nice)) };
    if answer < 0 { Err(error::os("setpriority")) } else { Ok(()) }
}

/// Lets the calling thread's timed waits end up to `ns` late (0: the default of 50 us). With 1 they end on time.
pub fn set_timer_slack(ns: u64) -> Result<()> {
    // SAFETY: sets a number of the calling thread.
    let answer = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, ns, 0, 0, 0) };
    if answer < 0 { Err(error::os("prctl(PR_SET_TIMERSLACK)")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_can_be_kept_and_restored() {
        let before = Affinity::of_this_thread().unwrap();
        assert!(format!("{before:?}").len() > 2);
        before.apply().unwrap();
        assert!(Affinity::of_cpu(1 << 20).is_err());
    }

    #[test]
    fn timer_slack_is_accepted() {
        set_timer_slack(1).unwrap();
        Class::Other.apply().unwrap();
    }

    #[test]
    fn niceness_is_the_threads_own() {
        let nice = || {
            // SAFETY: reads a number of the calling thread.
            unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
        };
        let before = nice();
        let thread = std::thread::spawn(move || set_nice(19).map(|()| nice()));
        assert_eq!((thread.join().unwrap(), nice()), (Ok(19), before));
    }
}
