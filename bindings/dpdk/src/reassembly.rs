//! Putting IP fragments together again, by DPDK's library: a table of packets under way, bounded in number and time.
//!
//! The library trusts the lengths in the headers, so they are checked here against the packet first, and what no honest
//! sender sends (empty, unaligned, beyond 64 KiB) is refused. It drops packets whose fragments overlap, and those of more
//! than eight fragments (`RTE_LIBRTE_IP_FRAG_MAX_FRAG`). The result is a chain of mbufs; `Mbuf::copy` into a pool of
//! large buffers makes it contiguous.

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
    /// It was the last one missing: the whole packet, without fragment headers, its link header in front.
    Whole(Mbuf),
    /// Kept until the others come, or dropped by the library (overlap, too many fragments, table full).
    Taken,
    /// Not a fragment, or a broken one: given back.
    Refused(Mbuf),
}

/// A table of packets under way, of IPv4 and IPv6; belongs to one thread at a time.
#[derive(Debug)]
pub struct Reassembler {
    table: NonNull<dpdk_sys::rte_ip_frag_tbl>,
    dead: Box<DeathRow>,
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
        Ok(Self { table, dead: Box::new(DeathRow(Default::default())) })
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
        match whole {
            Some(mut whole) => {
                finish_ipv4(&mut whole, l2_len.into());
                Outcome::Whole(whole)
            }
            None => Outcome::Taken,
        }
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
        whole.map_or(Outcome::Taken, Outcome::Whole)
    }

    /// Drops the packets whose time is up at `now`. Call it every now and then; the library itself looks only at what
    /// shares a bucket with an arriving fragment.
    pub fn expire(&mut self, now: u64) {
        // SAFETY: the table is valid; the row takes as many mbufs as it has room for.
        unsafe { dpdk_sys::rte_ip_frag_table_del_expired_entries(self.table.as_ptr(), &mut self.dead.0, now) }
        self.bury();
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
        self.bury();
        // SAFETY: the library gives the packet to its caller, and no part of it to anyone else.
        NonNull::new(whole).map(|whole| unsafe { Mbuf::from_raw(whole) })
    }

    fn bury(&mut self) {
        if self.dead.0.cnt > 0 {
            // SAFETY: the row holds `cnt` owned mbufs and is empty afterwards.
            unsafe { dpdk_sys::rte_ip_frag_free_death_row(&mut self.dead.0, 0) }
        }
    }
}

impl Drop for Reassembler {
    fn drop(&mut self) {
        // SAFETY: owned; frees the fragments in it, too.
        unsafe { dpdk_sys::rte_ip_frag_table_destroy(self.table.as_ptr()) }
    }
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
    (sound && (more || offset > 0) && check_payload(total - header_len, offset, more)).then_some(header_len)
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
    (sound && fits && check_payload(payload - FRAGMENT_HEADER, offset, more)).then_some(())
}

/// What follows the link header, of a packet of one buffer whose link header's length can be noted (7 bits).
fn link_payload(mbuf: &Mbuf, l2_len: usize) -> Option<&[u8]> {
    if !mbuf.is_contiguous() || l2_len >= 128 {
        return None;
    }
    mbuf.data().get(l2_len..)
}

/// All but the last fragment are multiples of eight bytes, and none ends beyond what a length field can say.
fn check_payload(len: usize, offset: usize, more: bool) -> bool {
    (!more || len.is_multiple_of(8)) && offset + len <= usize::from(u16::MAX) - IPV4_HEADER
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
