//! Cutting an IPv4 packet into fragments that fit an MTU, by DPDK's library: copies, each in one buffer, with the link
//! header of the original in front.

use crate::burst::Burst;
use crate::error::{self, Error, Result};
use crate::mbuf::Mbuf;
use crate::mempool::{HEADROOM, Mempool, pointers};
use crate::reassembly::write_ipv4_checksum;

/// The least MTU that every IPv4 link has (RFC 791).
const MTU_MIN: u16 = 68;
const LINK_HEADER_MAX: usize = 64;

/// Adds the fragments of `packet`, an IPv4 packet after a link header of `l2_len` bytes, to `out`, in order; says how many.
/// `mtu` counts from the IP header on. `packet` itself stays as it is, but for Ethernet padding, which is cut off.
///
/// Refused as not supported if "don't fragment" is set: answer with ICMP. Refused as invalid if the header is broken, if a
/// fragment does not fit a buffer of `pool`, or if `out` has too little room; nothing is added then.
pub fn ipv4<const N: usize>(
    packet: &mut Mbuf,
    l2_len: u8,
    mtu: u16,
    pool: Mempool,
    out: &mut Burst<N>,
) -> Result<usize> {
    const INVALID: Error = Error::Invalid { what: "packet to fragment" };
    let l2 = usize::from(l2_len);
    let (header_len, total) = check(packet, l2).ok_or(INVALID)?;
    let room = pool.data_room().saturating_sub(HEADROOM);
    if l2 > LINK_HEADER_MAX || l2_len as u16 > HEADROOM || mtu < MTU_MIN || mtu < header_len + 8 || mtu > room {
        return Err(INVALID);
    }
    let mut link = [0; LINK_HEADER_MAX];
    link[..l2].copy_from_slice(packet.data().get(..l2).ok_or(INVALID)?);
    packet.trim(packet.data_len() - u16::from(l2_len) - total).ok_or(INVALID)?;
    packet.adj(l2_len.into()).ok_or(INVALID)?;
    let spare = out.spare();
    let places = spare.len() as u16;
    // SAFETY: a sound IPv4 packet of one buffer, `places` places for the fragments, whose buffers hold the MTU.
    let answer = unsafe {
        let fragments = pointers(spare);
        dpdk_sys::rte_ipv4_fragment_copy_nonseg_packet(packet.as_ptr(), fragments, places, mtu, pool.as_ptr())
    };
    packet.prepend(l2_len.into()).ok_or(INVALID)?.copy_from_slice(&link[..l2]);
    let count = error::check("rte_ipv4_fragment_copy_nonseg_packet", answer)? as usize;
    let old = out.len();
    // SAFETY: the library wrote `count` mbufs and gave them to us.
    unsafe { out.grow(count) };
    for fragment in &mut out[old..] {
        write_ipv4_checksum(fragment.data_mut());
        fragment.prepend(l2_len.into()).ok_or(INVALID)?.copy_from_slice(&link[..l2]);
    }
    Ok(count)
}

/// The header length and total length of a sound IPv4 packet in one buffer.
fn check(packet: &Mbuf, l2: usize) -> Option<(u16, u16)> {
    let ip = packet.data().get(l2..)?;
    let header: &[u8; 20] = ip.first_chunk()?;
    let header_len = u16::from(header[0] & 0xf) * 4;
    let total = u16::from_be_bytes([header[2], header[3]]);
    let sound = header[0] >> 4 == 4 && header_len >= 20 && total > header_len && usize::from(total) <= ip.len();
    (sound && packet.is_contiguous()).then_some((header_len, total))
}
