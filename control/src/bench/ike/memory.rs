//! Memory: what a tunnel takes at its owner, and at a backup.
//!
//! Both are in this process, so each is counted by what the heap gives out and takes back while it works (this thread's, for there is
//! no other); what the process gets from the system is told beside it, with all that is lost between the two. Peers keep nothing.

use dpdk::alloc_count::thread_bytes;

use super::credentials::Credentials;
use super::initiator::Initiator;
use super::member::Member;
use super::settings::{self, Way};
use super::{IkeBenchError, odd};

/// Before anything counts: what all tunnels share is there then.
const WARM_UP: u32 = 1024;
const PAGE_BYTES: i64 = 4096;

/// What tunnels took, in bytes each. A tunnel: an IKE SA with its child SA.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Memory {
    /// How many.
    pub(crate) tunnels: u32,
    /// Heap, at the owner.
    pub(crate) owner: f64,
    /// Heap, at the backup.
    pub(crate) backup: f64,
    /// What the process has of the system's memory, for both.
    pub(crate) resident: f64,
}

/// Makes so many tunnels, and has a backup hold them.
pub(crate) fn measure_memory(tunnels: u32) -> Result<Memory, IkeBenchError> {
    let credentials = Credentials::new()?;
    let mut member = Member::new(&settings::config(Way::Psk, &credentials)?, true)?;
    let mut initiator = Initiator::new(Way::Psk, &credentials)?;
    for number in 0..WARM_UP {
        initiator.shake_hands(&mut member, number)?;
    }
    let (all, at_backup, resident) = (thread_bytes(), member.backup_bytes, resident_bytes()?);
    for number in WARM_UP..WARM_UP + tunnels {
        initiator.shake_hands(&mut member, number)?;
    }
    let expected = 2 * (WARM_UP + tunnels) as usize;
    if member.held() != expected {
        return Err(odd(format!("has a backup that holds {} sessions, not {expected}", member.held())));
    }
    let each = |bytes: i64| bytes as f64 / f64::from(tunnels.max(1));
    let backup = member.backup_bytes - at_backup;
    Ok(Memory {
        tunnels,
        owner: each(thread_bytes() - all - backup),
        backup: each(backup),
        resident: each(resident_bytes()? - resident),
    })
}

fn resident_bytes() -> Result<i64, IkeBenchError> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<i64>().ok());
    Ok(pages.unwrap_or_default() * PAGE_BYTES)
}
