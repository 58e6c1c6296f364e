//! A packet buffer, owned. Its fields are read and written in place, in Rust, inlined: no call into C per packet.
//!
//! Layout of a buffer: headroom, data, tailroom. A packet longer than one buffer is a chain of them; received frames are
//! single ("contiguous") unless jumbo frames are received in small buffers, and reassembled packets are chains.
//! `data` and what changes its bounds concern the first buffer; `copy` makes one out of many.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::slice;

use crate::mempool::Mempool;

/// An owned packet buffer (or chain). Dropping it returns it to its pool.
#[repr(transparent)]
pub struct Mbuf(NonNull<dpdk_sys::rte_mbuf>);

// SAFETY: an mbuf has one owner, its buffer no other user, and its pool takes it back from any thread.
unsafe impl Send for Mbuf {}
// SAFETY: through a shared reference it can only be read.
unsafe impl Sync for Mbuf {}

/// What a network card found out about a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumStatus {
    /// Nothing: check it in software.
    Unknown,
    /// It is right.
    Good,
    /// It is wrong.
    Bad,
    /// Both bits are set: the sum in the packet may be wrong, but the card vouches for the data.
    Vouched,
}

impl ChecksumStatus {
    #[inline]
    fn of(flags: u64, good: u64, bad: u64) -> Self {
        match (flags & good != 0, flags & bad != 0) {
            (false, false) => Self::Unknown,
            (true, false) => Self::Good,
            (false, true) => Self::Bad,
            (true, true) => Self::Vouched,
        }
    }
}

/// Which transport checksum the network card is to fill in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L4Checksum {
    /// None.
    None,
    /// TCP's; its field must hold the pseudo-header's sum.
    Tcp,
    /// UDP's; its field must hold the pseudo-header's sum.
    Udp,
}

/// What the network card is to fill in while sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxOffload {
    /// Length of the Ethernet header with its tags, below 128.
    pub l2_len: u8,
    /// Length of the IP header with its options or extensions, below 512.
    pub l3_len: u16,
    /// Whether it's IPv6.
    pub ipv6: bool,
    /// Whether to fill in the IPv4 header's checksum, whose field must be zero.
    pub ip_checksum: bool,
    /// The transport checksum.
    pub l4: L4Checksum,
}

impl Mbuf {
    /// Takes ownership of a raw mbuf.
    ///
    /// # Safety
    /// It's a valid mbuf of a pool, not shared, and nobody else owns it.
    #[inline]
    pub(crate) unsafe fn from_raw(mbuf: NonNull<dpdk_sys::rte_mbuf>) -> Self {
        Self(mbuf)
    }

    /// Gives ownership away, as a raw pointer.
    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<dpdk_sys::rte_mbuf> {
        ManuallyDrop::new(self).0
    }

    /// The raw mbuf, still owned by `self`.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut dpdk_sys::rte_mbuf {
        self.0.as_ptr()
    }

    /// A field of the structure, by its offset.
    ///
    /// # Safety
    /// A field of type `T` is at `offset`.
    #[inline(always)]
    unsafe fn get<T: Copy>(&self, offset: u32) -> T {
        // SAFETY: the structure is valid and aligned, the field exists (caller).
        unsafe { self.as_ptr().cast::<u8>().add(offset as usize).cast::<T>().read() }
    }

    /// Sets a field of the structure, by its offset.
    ///
    /// # Safety
    /// A field of type `T` is at `offset`, and `value` keeps data within the buffer.
    #[inline(always)]
    unsafe fn set<T: Copy>(&mut self, offset: u32, value: T) {
        // SAFETY: the structure is valid, aligned and owned, the field exists (caller).
        unsafe { self.as_ptr().cast::<u8>().add(offset as usize).cast::<T>().write(value) }
    }

    #[inline(always)]
    fn buf_addr(&self) -> *mut u8 {
        // SAFETY: the field is a pointer.
        unsafe { self.get(dpdk_sys::SYS_MBUF_BUF_ADDR) }
    }

    #[inline(always)]
    fn buf_len(&self) -> u16 {
        // SAFETY: the field is a u16.
        unsafe { self.get(dpdk_sys::SYS_MBUF_BUF_LEN) }
    }

    #[inline(always)]
    fn flags(&self) -> u64 {
        // SAFETY: the field is a u64.
        unsafe { self.get(dpdk_sys::SYS_MBUF_OL_FLAGS) }
    }

    /// The free bytes before the data.
    #[inline(always)]
    pub fn headroom(&self) -> u16 {
        // SAFETY: the field is a u16.
        unsafe { self.get(dpdk_sys::SYS_MBUF_DATA_OFF) }
    }

    /// The bytes of data in the first buffer.
    #[inline(always)]
    pub fn data_len(&self) -> u16 {
        // SAFETY: the field is a u16.
        unsafe { self.get(dpdk_sys::SYS_MBUF_DATA_LEN) }
    }

    /// The bytes of the whole packet.
    #[inline(always)]
    pub fn pkt_len(&self) -> u32 {
        // SAFETY: the field is a u32.
        unsafe { self.get(dpdk_sys::SYS_MBUF_PKT_LEN) }
    }

    /// The free bytes after the data of the first buffer.
    #[inline(always)]
    pub fn tailroom(&self) -> u16 {
        self.buf_len().saturating_sub(self.headroom()).saturating_sub(self.data_len())
    }

    /// Whether the whole packet is in the first buffer.
    #[inline(always)]
    pub fn is_contiguous(&self) -> bool {
        // SAFETY: the field is a u16.
        unsafe { self.get::<u16>(dpdk_sys::SYS_MBUF_NB_SEGS) == 1 }
    }

    /// The data in the first buffer.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        // SAFETY: data_off and data_len lie within the buffer: the driver and the setters below keep them there.
        unsafe { slice::from_raw_parts(self.buf_addr().add(self.headroom().into()), self.data_len().into()) }
    }

    /// The data in the first buffer, to be changed.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`; the buffer isn't shared, and this is its only owner.
        unsafe { slice::from_raw_parts_mut(self.buf_addr().add(self.headroom().into()), self.data_len().into()) }
    }

    /// Moves the data's start to `offset` and sets both lengths.
    ///
    /// # Safety
    /// `offset + data_len` is at most `buf_len`.
    #[inline(always)]
    unsafe fn set_bounds(&mut self, offset: u16, data_len: u16, pkt_len: u32) {
        // SAFETY: fields of these types; within the buffer (caller).
        unsafe {
            self.set(dpdk_sys::SYS_MBUF_DATA_OFF, offset);
            self.set(dpdk_sys::SYS_MBUF_DATA_LEN, data_len);
            self.set(dpdk_sys::SYS_MBUF_PKT_LEN, pkt_len);
        }
    }

    /// Makes `count` bytes of headroom data, at the front. The bytes are returned to be written; they hold anything.
    #[inline]
    pub fn prepend(&mut self, count: u16) -> Option<&mut [u8]> {
        let offset = self.headroom().checked_sub(count)?;
        let data_len = self.data_len().checked_add(count)?;
        let pkt_len = self.pkt_len().checked_add(count.into())?;
        // SAFETY: the end of the data stays where it was.
        unsafe { self.set_bounds(offset, data_len, pkt_len) };
        self.data_mut().get_mut(..count.into())
    }

    /// Removes `count` bytes at the front; they become headroom. `None`, and nothing changes, if there are fewer.
    #[inline]
    pub fn adj(&mut self, count: u16) -> Option<()> {
        let data_len = self.data_len().checked_sub(count)?;
        let offset = self.headroom().checked_add(count)?;
        let pkt_len = self.pkt_len().checked_sub(count.into())?;
        // SAFETY: the end of the data stays where it was.
        unsafe { self.set_bounds(offset, data_len, pkt_len) };
        Some(())
    }

    /// Makes `count` bytes of tailroom data, at the end. `None` if the room is less or the packet is a chain.
    #[inline]
    pub fn append(&mut self, count: u16) -> Option<&mut [u8]> {
        if count > self.tailroom() || !self.is_contiguous() {
            return None;
        }
        let old = self.data_len();
        // SAFETY: `count` is at most the tailroom, so neither sum exceeds the buffer.
        unsafe { self.set_bounds(self.headroom(), old + count, u32::from(old) + u32::from(count)) };
        self.data_mut().get_mut(old.into()..)
    }

    /// Removes `count` bytes at the end. `None`, and nothing changes, if there are fewer or the packet is a chain.
    #[inline]
    pub fn trim(&mut self, count: u16) -> Option<()> {
        if !self.is_contiguous() {
            return None;
        }
        let data_len = self.data_len().checked_sub(count)?;
        // SAFETY: the data only gets shorter.
        unsafe { self.set_bounds(self.headroom(), data_len, data_len.into()) };
        Some(())
    }

    /// The whole first buffer, to be changed: headroom, data, tailroom. What lies around the data holds anything.
    #[inline(always)]
    pub fn whole_mut(&mut self) -> &mut [u8] {
        // SAFETY: the buffer is so long, isn't shared, and this is its only owner.
        unsafe { slice::from_raw_parts_mut(self.buf_addr(), self.buf_len().into()) }
    }

    /// The whole first buffer, likewise.
    #[inline(always)]
    pub fn whole(&self) -> &[u8] {
        // SAFETY: the buffer is so long.
        unsafe { slice::from_raw_parts(self.buf_addr(), self.buf_len().into()) }
    }

    /// Makes other bytes of the buffer the data: `len` from `start` on. `None`, and nothing changes, if the buffer ends before,
    /// or the packet is a chain.
    #[inline(always)]
    pub fn set_data(&mut self, start: u16, len: u16) -> Option<()> {
        if start.checked_add(len)? > self.buf_len() || !self.is_contiguous() {
            return None;
        }
        // SAFETY: both lie within the buffer.
        unsafe { self.set_bounds(start, len, len.into()) };
        Some(())
    }

    /// The data of each buffer of the chain, in order.
    pub fn segments(&self) -> Segments<'_> {
        Segments { next: Some(self.0), _owner: std::marker::PhantomData }
    }

    /// A copy of the whole packet in mbufs of `pool`, flags and tag included: one buffer if it fits, else a chain.
    /// `None` if the pool is used up.
    pub fn copy(&self, pool: Mempool) -> Option<Self> {
        // SAFETY: `self` is a valid mbuf; the copy is a fresh mbuf with buffers of its own.
        unsafe {
            NonNull::new(dpdk_sys::rte_pktmbuf_copy(self.as_ptr(), pool.as_ptr(), 0, u32::MAX))
                .map(|m| Self::from_raw(m))
        }
    }

    /// Copies as much of the packet as fits into `bytes`, across buffers; says how much.
    pub fn read(&self, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        for segment in self.segments() {
            let rest = &mut bytes[done..];
            let count = segment.len().min(rest.len());
            rest[..count].copy_from_slice(&segment[..count]);
            done += count;
        }
        done
    }

    /// Fetches the first line of the data into the cache; `data` a few packets later finds it there.
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch_line(self.buf_addr().wrapping_add(self.headroom().into()));
    }

    /// Fetches the first line of the structure itself into the cache, for mbufs that come out of a ring.
    #[inline(always)]
    pub fn prefetch_header(&self) {
        prefetch_line(self.as_ptr().cast());
    }

    /// The number of the port that received it.
    #[inline]
    pub fn port(&self) -> u16 {
        // SAFETY: the field is a u16.
        unsafe { self.get(dpdk_sys::SYS_MBUF_PORT) }
    }

    /// The RSS hash, if the network card computed one.
    #[inline]
    pub fn rss_hash(&self) -> Option<u32> {
        // SAFETY: the field is a u32.
        (self.flags() & dpdk_sys::SYS_RX_RSS_HASH != 0).then(|| unsafe { self.get(dpdk_sys::SYS_MBUF_RSS) })
    }

    /// The 802.1Q tag, if the network card took one off.
    #[inline]
    pub fn stripped_vlan(&self) -> Option<u16> {
        // SAFETY: the field is a u16.
        (self.flags() & dpdk_sys::SYS_RX_VLAN_STRIPPED != 0).then(|| unsafe { self.get(dpdk_sys::SYS_MBUF_VLAN_TCI) })
    }

    /// What the network card says of the IPv4 header's checksum.
    #[inline]
    pub fn ip_checksum(&self) -> ChecksumStatus {
        ChecksumStatus::of(self.flags(), dpdk_sys::SYS_RX_IP_CKSUM_GOOD, dpdk_sys::SYS_RX_IP_CKSUM_BAD)
    }

    /// What the network card says of the transport checksum.
    #[inline]
    pub fn l4_checksum(&self) -> ChecksumStatus {
        ChecksumStatus::of(self.flags(), dpdk_sys::SYS_RX_L4_CKSUM_GOOD, dpdk_sys::SYS_RX_L4_CKSUM_BAD)
    }

    /// A word of the owner's, carried with the packet between stages and through rings. Anything after reception.
    #[inline]
    pub fn tag(&self) -> u32 {
        // SAFETY: the field is a u32; drivers write it only with flow director, which is never switched on.
        unsafe { self.get(dpdk_sys::SYS_MBUF_TAG) }
    }

    /// Sets the owner's word.
    #[inline]
    pub fn set_tag(&mut self, tag: u32) {
        // SAFETY: the field is a u32 that says nothing about the buffer.
        unsafe { self.set(dpdk_sys::SYS_MBUF_TAG, tag) }
    }

    /// Asks the network card to fill in checksums; only where the port was configured for it.
    #[inline]
    pub fn set_tx_offload(&mut self, offload: TxOffload) {
        let mut flags = self.flags() & !dpdk_sys::SYS_TX_OFFLOAD_MASK;
        flags |= if offload.ipv6 { dpdk_sys::SYS_TX_IPV6 } else { dpdk_sys::SYS_TX_IPV4 };
        if offload.ip_checksum && !offload.ipv6 {
            flags |= dpdk_sys::SYS_TX_IP_CKSUM;
        }
        flags |= match offload.l4 {
            L4Checksum::None => 0,
            L4Checksum::Tcp => dpdk_sys::SYS_TX_TCP_CKSUM,
            L4Checksum::Udp => dpdk_sys::SYS_TX_UDP_CKSUM,
        };
        self.set_header_lengths(offload.l2_len, offload.l3_len);
        // SAFETY: the field is a u64, and the mask left the buffer's own flags (indirect, external) alone.
        unsafe { self.set(dpdk_sys::SYS_MBUF_OL_FLAGS, flags) }
    }

    /// Takes all requests of [`Self::set_tx_offload`] back.
    #[inline]
    pub fn clear_tx_offload(&mut self) {
        let flags = self.flags() & !dpdk_sys::SYS_TX_OFFLOAD_MASK;
        // SAFETY: as above.
        unsafe { self.set(dpdk_sys::SYS_MBUF_OL_FLAGS, flags) }
    }

    /// Notes the lengths of the link and network headers, for the network card and for reassembly.
    #[inline]
    pub(crate) fn set_header_lengths(&mut self, l2_len: u8, l3_len: u16) {
        let l2 = u64::from(l2_len) & ((1 << dpdk_sys::SYS_TX_L2_LEN_BITS) - 1);
        let l3 = u64::from(l3_len) & ((1 << dpdk_sys::SYS_TX_L3_LEN_BITS) - 1);
        // SAFETY: the field is a u64; its lowest bits are these two lengths, the others are for features not used.
        unsafe { self.set(dpdk_sys::SYS_MBUF_TX_OFFLOAD, l2 | l3 << dpdk_sys::SYS_TX_L2_LEN_BITS) }
    }
}

#[inline(always)]
pub(crate) fn prefetch_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching any address is harmless.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast())
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: owned, and given up here.
        unsafe { dpdk_sys::shim_pktmbuf_free(self.as_ptr()) }
    }
}

impl std::fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mbuf({} bytes)", self.pkt_len())
    }
}

/// The data of each buffer of a packet.
#[derive(Debug)]
pub struct Segments<'a> {
    next: Option<NonNull<dpdk_sys::rte_mbuf>>,
    _owner: std::marker::PhantomData<&'a Mbuf>,
}

impl Segments<'_> {
    /// The next segment itself: a view that must not free it, for the chain's owner does.
    pub(crate) fn next_raw(&mut self) -> Option<ManuallyDrop<Mbuf>> {
        let segment = ManuallyDrop::new(Mbuf(self.next?));
        // SAFETY: the field is a pointer, null in the last segment.
        self.next = NonNull::new(unsafe { segment.get(dpdk_sys::SYS_MBUF_NEXT) });
        Some(segment)
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let segment = self.next_raw()?;
        let data = segment.data();
        // SAFETY: the bytes belong to the chain, which is borrowed for 'a.
        Some(unsafe { slice::from_raw_parts(data.as_ptr(), data.len()) })
    }
}
