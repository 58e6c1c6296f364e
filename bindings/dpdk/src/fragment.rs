//! Cutting a packet into fragments that fit an MTU: copies, each in one buffer, with the link header of the original in
//! front. IPv4 by DPDK's library; its IPv6 half makes fragments that refer to the original's buffers, which are never
//! shared here, so IPv6 is cut by hand.

use crate::burst::Burst;
use crate::error::{self, Error, Result};
use crate::mbuf::Mbuf;
use crate::mempool::{HEADROOM, Mempool, pointers};
use crate::reassembly::write_ipv4_checksum;

/// The least MTU that every IPv4 link has (RFC 791).
const MTU_MIN: u16 = 68;
const LINK_HEADER_MAX: usize = 64;

const IPV6_HEADER: usize = 40;
const FRAGMENT_HEADER: usize = 8;
/// Numbers of IPv6's extension headers (RFC 8200 section 4).
mod header {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
}

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

/// Adds the fragments of `packet`, an IPv6 packet after a link header of `l2_len` bytes, to `out`, in order; says how many
/// (RFC 8200 section 4.5). Only the packet's source may do this. `mtu` counts from the IP header on; `id` is what the
/// fragments have in common, and must not come again soon between the same two addresses.
///
/// Refused as invalid if the packet fits, if a header is broken or says that it's a fragment itself, if a fragment does
/// not fit a buffer of `pool`, or if `out` has too little room; as out of memory if the pool is used up. Nothing is
/// added then.
pub fn ipv6<const N: usize>(
    packet: &Mbuf,
    l2_len: u8,
    mtu: u16,
    id: u32,
    pool: Mempool,
    out: &mut Burst<N>,
) -> Result<usize> {
    const INVALID: Error = Error::Invalid { what: "packet to fragment" };
    let (link, ip) = packet.data().split_at_checked(l2_len.into()).ok_or(INVALID)?;
    let ip = check_ipv6(ip).filter(|_| packet.is_contiguous()).ok_or(INVALID)?;
    let (repeated, named_at) = unfragmentable(ip).ok_or(INVALID)?;
    let (head, body) = ip.split_at(repeated);
    // All but the last are multiples of eight bytes.
    let each = usize::from(mtu).saturating_sub(repeated + FRAGMENT_HEADER) & !7;
    let room = pool.data_room().saturating_sub(HEADROOM);
    if each == 0 || mtu > room || u16::from(l2_len) > HEADROOM || ip.len() <= usize::from(mtu) {
        return Err(INVALID);
    }
    let count = body.len().div_ceil(each);
    if count > out.room() {
        return Err(INVALID);
    }
    for (index, part) in body.chunks(each).enumerate() {
        let last = index + 1 == count;
        let word = (index * each) as u16 | u16::from(!last);
        let fragment = fragment_of_ipv6(link, head, named_at, word, id, part, pool);
        if fragment.is_none_or(|fragment| out.push(fragment).is_err()) {
            (0..index).for_each(|_| drop(out.pop()));
            return Err(Error::NoMemory { what: "mbufs for fragments" });
        }
    }
    Ok(count)
}

/// One fragment, if the pool has a buffer.
fn fragment_of_ipv6(
    link: &[u8],
    head: &[u8],
    named_at: usize,
    word: u16,
    id: u32,
    part: &[u8],
    pool: Mempool,
) -> Option<Mbuf> {
    let mut mbuf = pool.alloc()?;
    let len = u16::try_from(head.len() + FRAGMENT_HEADER + part.len()).ok()?;
    let (front, rest) = mbuf.append(len)?.split_at_mut(head.len());
    front.copy_from_slice(head);
    let next = std::mem::replace(front.get_mut(named_at)?, header::FRAGMENT);
    front.get_mut(4..6)?.copy_from_slice(&(len - IPV6_HEADER as u16).to_be_bytes());
    let (own, data) = rest.split_at_mut(FRAGMENT_HEADER);
    own[..2].copy_from_slice(&[next, 0]);
    own[2..4].copy_from_slice(&word.to_be_bytes());
    own[4..].copy_from_slice(&id.to_be_bytes());
    data.copy_from_slice(part);
    mbuf.prepend(link.len() as u16)?.copy_from_slice(link);
    Some(mbuf)
}

/// A sound IPv6 packet, without what pads the frame.
fn check_ipv6(ip: &[u8]) -> Option<&[u8]> {
    let fixed: &[u8; IPV6_HEADER] = ip.first_chunk()?;
    let payload = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    ip.get(..IPV6_HEADER + payload).filter(|_| fixed[0] >> 4 == 6)
}

/// The part that every fragment repeats: the headers that routers on the way look at, which are all up to the routing
/// header, or up to the hop-by-hop options. Says how long it is, and where in it the byte is that names what follows.
fn unfragmentable(ip: &[u8]) -> Option<(usize, usize)> {
    let (mut end, mut named_at) = (IPV6_HEADER, 6);
    let (mut at, mut next) = (IPV6_HEADER, *ip.get(6)?);
    while let header::HOP_BY_HOP | header::ROUTING | header::DESTINATION_OPTIONS = next {
        let &[following, eights] = ip.get(at..)?.first_chunk()?;
        let after = at + 8 + 8 * usize::from(eights);
        if next != header::DESTINATION_OPTIONS {
            (end, named_at) = (after, at);
        }
        (at, next) = (after, following);
    }
    let sound = end <= ip.len() && *ip.get(named_at)? != header::FRAGMENT;
    sound.then_some((end, named_at))
}
