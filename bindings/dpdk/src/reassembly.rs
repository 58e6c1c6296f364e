//! Putting IP fragments together again, by DPDK's library: a table of packets under way, bounded in number and time.
//!
//! The library trusts the lengths in the headers, so they are checked here against the packet first, and what no honest
//! sender sends (empty, unaligned, beyond 64 KiB) is refused. It drops packets whose fragments overlap, and those of more
//! than eight fragments (`RTE_LIBRTE_IP_FRAG_MAX_FRAG`). The result is a chain of mbufs; `Mbuf::copy` into a pool of
//! large buffers makes it contiguous.
//!
//! The books balance: each fragment taken becomes part of a whole packet, or is freed and stands in [`Losses`], or is in
//! the table still. The library does not say why it gives a fragment up, but what else goes at the same time does (see
//! [`Reassembler::bury`]).

use std::ptr::NonNull;

use crate::eal::Eal;
use crate::error::{self, Error, Result};
use crate::mbuf::Mbuf;
use crate::mempool::socket_id;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const FRAGMENT_HEADER: usize = 8;
const NEXT_HEADER_FRAGMENT: u8 = 44;
/// Entries of one hash bucket.
const BUCKET: u32 = 4;

/// The size of a table.
#[derive(Clone, Copy, Debug)]
pub struct ReassemblyConfig {
    /// The most packets under way at a time; when full, the oldest of a bucket gives way.
    pub packets_max: u32,
    /// How long a packet may take, in cycles of [`crate::clock`].
    pub timeout_cycles: u64,
    /// The NUMA socket, or any.
    pub socket: Option<u32>,
}

/// What became of a fragment.
#[derive(Debug)]
pub enum Outcome {
    /// It was the last one missing.
    Whole {
        /// The whole packet, without fragment headers, its link header in front.
        packet: Mbuf,
        /// How many fragments it came in.
        fragments: u32,
    },
    /// Kept until the others come, or freed: see [`Reassembler::take_losses`].
    Taken,
    /// Not a fragment, or a broken one: given back.
    Refused(Mbuf),
}

/// Fragments that were taken and then freed, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// The others did not come in time.
    pub expired: u32,
    /// There was no room for one more packet.
    pub full: u32,
    /// They overlap, came twice, or were too many.
    pub failed: u32,
}

impl Losses {
    /// All of them.
    pub fn total(&self) -> u32 {
        self.expired + self.full + self.failed
    }
}

/// A table of packets under way, of IPv4 and IPv6; belongs to one thread at a time.
#[derive(Debug)]
pub struct Reassembler {
    table: NonNull<dpdk_sys::rte_ip_frag_tbl>,
    dead: Box<DeathRow>,
    losses: Losses,
}

struct DeathRow(dpdk_sys::rte_ip_frag_death_row);

impl std::fmt::Debug for DeathRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} dead", self.0.cnt)
    }
}

// SAFETY: the table and all mbufs in it are owned, and used through `&mut` only.
unsafe impl Send for Reassembler {}

impl Reassembler {
    /// Makes an empty table.
    pub fn create(_eal: &Eal, config: &ReassemblyConfig) -> Result<Self> {
        let packets = config.packets_max.max(BUCKET);
        let buckets = packets.div_ceil(BUCKET).checked_next_power_of_two();
        let buckets = buckets.ok_or(Error::Invalid { what: "reassembly table size" })?;
        let socket = socket_id(config.socket);
        // SAFETY: plain numbers, checked by the library.
        let table =
            unsafe { dpdk_sys::rte_ip_frag_table_create(buckets, BUCKET, packets, config.timeout_cycles, socket) };
        let table = NonNull::new(table).ok_or_else(|| error::last("rte_ip_frag_table_create"))?;
        Ok(Self { table, dead: Box::new(DeathRow(Default::default())), losses: Losses::default() })
    }

    /// Takes an IPv4 fragment whose IP header starts after `l2_len` bytes, at the time `now` in cycles.
    pub fn ipv4(&mut self, mut mbuf: Mbuf, l2_len: u8, now: u64) -> Outcome {
        let Some(header_len) = check_ipv4(&mbuf, l2_len.into()) else { return Outcome::Refused(mbuf) };
        mbuf.set_header_lengths(l2_len, header_len as u16);
        let raw = mbuf.into_raw();
        let whole = self.with_table(raw, l2_len, |table, dead, ip| {
            // SAFETY: a valid fragment (checked), given away; the header lies in its first buffer.
            unsafe { dpdk_sys::shim_ipv4_reassemble(table, dead, raw.as_ptr(), now, ip) }
        });
        let Some(mut packet) = whole else { return Outcome::Taken };
        finish_ipv4(&mut packet, l2_len.into());
        whole_of(packet)
    }

    /// Takes an IPv6 fragment whose IP header starts after `l2_len` bytes and is followed by the fragment header, at the
    /// time `now` in cycles. Other extension headers in between are refused.
    pub fn ipv6(&mut self, mut mbuf: Mbuf, l2_len: u8, now: u64) -> Outcome {
        if check_ipv6(&mbuf, l2_len.into()).is_none() {
            return Outcome::Refused(mbuf);
        }
        mbuf.set_header_lengths(l2_len, (IPV6_HEADER + FRAGMENT_HEADER) as u16);
        let raw = mbuf.into_raw();
        let whole = self.with_table(raw, l2_len, |table, dead, ip| {
            // SAFETY: a valid fragment (checked), given away; both headers lie in its first buffer.
            unsafe {
                let fragment = ip.cast::<u8>().add(IPV6_HEADER).cast();
                dpdk_sys::shim_ipv6_reassemble(table, dead, raw.as_ptr(), now, ip, fragment)
            }
        });
        whole.map_or(Outcome::Taken, whole_of)
    }

    /// Drops the packets whose time is up at `now`. Call it every now and then; the library itself looks only at what
    /// shares a bucket with an arriving fragment.
    pub fn expire(&mut self, now: u64) {
        loop {
            // SAFETY: the table is valid; the row takes as many mbufs as it has room for.
            unsafe { dpdk_sys::rte_ip_frag_table_del_expired_entries(self.table.as_ptr(), &mut self.dead.0, now) }
            if self.dead.0.cnt == 0 {
                break;
            }
            self.bury(None);
        }
    }

    /// The fragments lost since this was last asked.
    pub fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    /// Hands a fragment to the library, which either keeps it, gives the whole packet, or puts it on the death row.
    fn with_table(
        &mut self,
        raw: NonNull<dpdk_sys::rte_mbuf>,
        l2_len: u8,
        call: impl FnOnce(
            *mut dpdk_sys::rte_ip_frag_tbl,
            *mut dpdk_sys::rte_ip_frag_death_row,
            *mut std::ffi::c_void,
        ) -> *mut dpdk_sys::rte_mbuf,
    ) -> Option<Mbuf> {
        // SAFETY: a valid mbuf; looked at, not owned, for the address of its data.
        let ip = unsafe {
            let mut view = std::mem::ManuallyDrop::new(Mbuf::from_raw(raw));
            view.data_mut().as_mut_ptr().add(l2_len.into()).cast()
        };
        let whole = call(self.table.as_ptr(), &mut self.dead.0, ip);
        self.bury(Some(raw));
        // SAFETY: the library gives the packet to its caller, and no part of it to anyone else.
        NonNull::new(whole).map(|whole| unsafe { Mbuf::from_raw(whole) })
    }

    /// Frees and counts what the library gave up when it was handed `new`. If that is not among it, those were others
    /// whose time was up (an entry is looked at when a newcomer needs its place). If it's alone, there was no place for
    /// it. If it has company, its own packet was given up, some of it perhaps chained together already.
    fn bury(&mut self, new: Option<NonNull<dpdk_sys::rte_mbuf>>) {
        let count = std::mem::take(&mut self.dead.0.cnt) as usize;
        if count == 0 {
            return;
        }
        let (mut fragments, mut has_new) = (0, false);
        for raw in self.dead.0.row.iter().take(count).filter_map(|raw| NonNull::new(*raw)) {
            // SAFETY: the row holds `count` owned mbufs, and counts as empty from now on.
            let dead = unsafe { Mbuf::from_raw(raw) };
            let mut segments = dead.segments();
            while let Some(segment) = segments.next_raw() {
                fragments += 1;
                has_new |= new.is_some_and(|new| segment.as_ptr() == new.as_ptr());
            }
        }
        match (has_new, fragments) {
            (false, _) => self.losses.expired += fragments,
            (true, 1) => self.losses.full += 1,
            (true, _) => self.losses.failed += fragments,
        }
    }
}

impl Drop for Reassembler {
    fn drop(&mut self) {
        // SAFETY: owned; frees the fragments in it, too.
        unsafe { dpdk_sys::rte_ip_frag_table_destroy(self.table.as_ptr()) }
    }
}

/// Each fragment came in one buffer, so there are as many as the chain has segments.
fn whole_of(packet: Mbuf) -> Outcome {
    let fragments = packet.segments().count() as u32;
    Outcome::Whole { packet, fragments }
}

/// The header length of a sound IPv4 fragment.
fn check_ipv4(mbuf: &Mbuf, l2_len: usize) -> Option<usize> {
    let ip = link_payload(mbuf, l2_len)?;
    let header: &[u8; IPV4_HEADER] = ip.first_chunk()?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let word = u16::from_be_bytes([header[6], header[7]]);
    let (more, offset) = (word & 0x2000 != 0, usize::from(word & 0x1fff) * 8);
    let sound = header[0] >> 4 == 4 && header_len >= IPV4_HEADER && total > header_len && total <= ip.len();
    (sound && (more || offset > 0) && check_payload(header_len, total - header_len, offset, more)).then_some(header_len)
}

/// Whether it's a sound IPv6 fragment.
fn check_ipv6(mbuf: &Mbuf, l2_len: usize) -> Option<()> {
    let ip = link_payload(mbuf, l2_len)?;
    let header: &[u8; IPV6_HEADER + FRAGMENT_HEADER] = ip.first_chunk()?;
    let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let word = u16::from_be_bytes([header[42], header[43]]);
    let (more, offset) = (word & 1 != 0, usize::from(word & !7));
    let sound = header[0] >> 4 == 6 && header[6] == NEXT_HEADER_FRAGMENT && payload > FRAGMENT_HEADER;
    let fits = IPV6_HEADER + payload <= ip.len();
    (sound && fits && check_payload(0, payload - FRAGMENT_HEADER, offset, more)).then_some(())
}

/// What follows the link header, of a packet of one buffer whose link header's length can be noted (7 bits).
fn link_payload(mbuf: &Mbuf, l2_len: usize) -> Option<&[u8]> {
    if !mbuf.is_contiguous() || l2_len >= 128 {
        return None;
    }
    mbuf.data().get(l2_len..)
}

/// All but the last fragment are multiples of eight bytes, and none ends beyond what a length field can say, which counts
/// `head` bytes of headers as well.
fn check_payload(head: usize, len: usize, offset: usize, more: bool) -> bool {
    (!more || len.is_multiple_of(8)) && head + offset + len <= usize::from(u16::MAX)
}

/// The library leaves the checksum to the network card; not every one can.
fn finish_ipv4(whole: &mut Mbuf, l2_len: usize) {
    whole.clear_tx_offload();
    if let Some(header) = whole.data_mut().get_mut(l2_len..) {
        write_ipv4_checksum(header);
    }
}

/// Writes the checksum of the IPv4 header that `packet` starts with, if it's all there.
pub(crate) fn write_ipv4_checksum(packet: &mut [u8]) {
    let Some(&first) = packet.first() else { return };
    let header_len = usize::from(first & 0xf) * 4;
    let Some(header) = packet.get_mut(..header_len).filter(|header| header.len() >= IPV4_HEADER) else { return };
    header[10..12].fill(0);
    // SAFETY: the header is as long as its length field says. The result is in network byte order.
    let sum = unsafe { dpdk_sys::shim_ipv4_cksum(header.as_ptr().cast()) };
    header[10..12].copy_from_slice(&sum.to_ne_bytes());
}
