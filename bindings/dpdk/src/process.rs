//! What a process that holds secrets does for itself at its start: no core dumps, no swapping, no privileges but the
//! needed ones.

use crate::error::{self, Result};

/// Keeps all memory, present and future, out of swap.
pub fn lock_memory() -> Result<()> {
    // SAFETY: changes no memory's contents.
    let answer = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
    if answer < 0 { Err(error::os("mlockall")) } else { Ok(()) }
}

/// Forbids core dumps, and with them the reading of the memory by other processes of the user.
pub fn forbid_core_dumps() -> Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is a valid structure.
    if unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) } < 0 {
        return Err(error::os("setrlimit(RLIMIT_CORE)"));
    }
    // SAFETY: sets a flag of the process.
    let answer = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    if answer < 0 { Err(error::os("prctl(PR_SET_DUMPABLE)")) } else { Ok(()) }
}

/// A privilege that can be kept (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// Ports below 1024.
    NetBindService = 10,
    /// Configuring interfaces.
    NetAdmin = 12,
    /// Packet and raw sockets.
    NetRaw = 13,
    /// Locking memory, huge pages.
    IpcLock = 14,
    /// Physical addresses, some drivers.
    SysRawio = 17,
    /// Mounts, physical addresses in /proc/self/pagemap.
    SysAdmin = 21,
    /// Real-time scheduling, affinity.
    SysNice = 23,
}

/// The kernel's structures of capget and capset, version 3.
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAP_VERSION_3: u32 = 0x2008_0522;

/// Gives up all privileges but `keep` (those of them that the thread has), for good, also across exec. The kernel does
/// this per thread: call it before starting any other, or in each.
pub fn drop_capabilities(keep: &[Capability]) -> Result<()> {
    let kept = keep.iter().fold(0_u32, |mask, &capability| mask | 1 << capability as u8);
    // SAFETY: sets a flag of the thread.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } < 0 {
        return Err(error::os("prctl(PR_SET_NO_NEW_PRIVS)"));
    }
    let [low, high] = permitted()?;
    // The set's upper half (32 and above) holds nothing that is ever kept.
    let _ = high;
    let set = CapData { effective: low & kept, permitted: low & kept, inheritable: 0 };
    let data = [set, CapData::default()];
    let mut header = CapHeader { version: CAP_VERSION_3, pid: 0 };
    // SAFETY: the structures are the kernel's of version 3: a header and two elements.
    let answer = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) };
    if answer < 0 { Err(error::os("capset")) } else { Ok(()) }
}

/// The calling thread's permitted capabilities: numbers 0..32 and 32..64.
fn permitted() -> Result<[u32; 2]> {
    let mut header = CapHeader { version: CAP_VERSION_3, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: the structures are the kernel's of version 3: a header and two elements.
    let answer = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    if answer < 0 { Err(error::os("capget")) } else { Ok(data.map(|part| part.permitted)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_dropped_in_this_thread_only() {
        let before = permitted().unwrap();
        let inside = std::thread::spawn(|| {
            drop_capabilities(&[Capability::NetRaw, Capability::SysNice]).unwrap();
            drop_capabilities(&[Capability::NetRaw, Capability::NetAdmin]).unwrap();
            permitted().unwrap()
        });
        let inside = inside.join().unwrap();
        assert_eq!(inside, [before[0] & 1 << Capability::NetRaw as u8, 0], "nothing comes back");
        assert_eq!(permitted().unwrap(), before);
    }

    #[test]
    fn core_dumps_are_forbidden() {
        forbid_core_dumps().unwrap();
        // SAFETY: reads a flag of the process.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) }, 0);
    }
}
