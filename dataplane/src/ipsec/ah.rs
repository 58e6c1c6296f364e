//! AH (RFC 4302): nothing is hidden, and all of a packet is checked, its IP header too.
//!
//! ```text
//!   tunnel       │ outer IP header │ AH │ IP packet        │
//!   transport    │ IP header       │ AH │ what it carried  │
//!
//!   0      1        2          4          8                      12 + icv, and padding
//!   ┌──────┬────────┬──────────┬──────────┬──────────┬──────────┬─────────┐
//!   │ next │ length │ 0        │ SPI      │ sequence │ ICV      │ padding │
//!   └──────┴────────┴──────────┴──────────┴──────────┴──────────┴─────────┘
//! ```
//! What routers change on the way counts as zero, and so does the ICV. So the check is made over a copy ([`checked`]), with the
//! ICV behind it: exactly what an engine's session for `null-…` seals and opens, high half of the number and all.

use super::encap::{Draws, Mode};
use super::outer::{Inner, Outer};
use super::transform::Integrity;
use super::transport::Outside;
use super::{Refused, decap};
use crate::wire::{bytes, ipv4, ipv6, proto};

/// The header up to the ICV.
const FIXED_LEN: usize = 12;
const ICV_AT: usize = FIXED_LEN;

/// Options that routers leave alone (RFC 4302 appendix A1): end, no operation, security, extended security, commercial security,
/// router alert, directed broadcast.
const STEADY_OPTIONS: [u8; 7] = [0, 1, 130, 133, 134, 148, 149];
/// Routes that the sender chose: such a packet's destination changes on its way.
const SOURCE_ROUTES: [u8; 2] = [131, 137];
/// IPv6 options with this bit change on the way (RFC 8200 section 4.2).
const CHANGES: u8 = 0x20;

/// Where AH is in a packet, and what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Where it begins.
    pub at: usize,
    /// How long it is.
    pub len: usize,
    /// What it carries.
    pub next_header: u8,
    /// The receiver's name for the SA.
    pub spi: u32,
    /// The low half of the number.
    pub sequence: u32,
}

/// Finds AH in an IP packet.
///
/// # Errors
/// [`Refused::Malformed`].
pub fn locate(packet: &[u8]) -> Result<Place, Refused> {
    let outside = Outside::of(packet)?;
    let header = bytes::tail(packet, outside.len);
    let [next_header, length, ..] = bytes::array::<FIXED_LEN>(header, 0).ok_or(Refused::Malformed)?;
    let len = 4 * (usize::from(length) + 2);
    if outside.next_header != proto::AH || len < FIXED_LEN || len > header.len() {
        return Err(Refused::Malformed);
    }
    let (spi, sequence) = self::header(header).ok_or(Refused::Malformed)?;
    Ok(Place { at: outside.len, len, next_header, spi, sequence })
}

/// SPI and low half of the sequence number of a packet of which at least so much is there.
pub fn header(ah: &[u8]) -> Option<(u32, u32)> {
    (ah.len() >= FIXED_LEN).then(|| (bytes::u32_at(ah, 4), bytes::u32_at(ah, 8)))
}

/// What all packets of an SA that goes out have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Wrap {
    spi: u32,
    mode: Mode,
    icv_len: usize,
}

impl Wrap {
    /// An SA's. There is no AH in UDP, whatever the mode says: a NAT would change what is checked.
    pub const fn new(spi: u32, mode: Mode, integrity: Integrity) -> Self {
        let mode = match mode {
            Mode::Tunnel(outer) => Mode::Tunnel(Outer { udp: None, ..outer }),
            Mode::Transport { .. } => Mode::Transport { udp: None },
        };
        Self { spi, mode, icv_len: integrity.icv_len() }
    }

    /// Length of AH: of whole words over IPv4, of pairs of words over IPv6 (section 2.2).
    const fn header_len(&self, v6: bool) -> usize {
        (FIXED_LEN + self.icv_len).next_multiple_of(if v6 { 8 } else { 4 })
    }

    /// The room that an IP packet needs before it. None: it is none.
    pub fn room(&self, packet: &[u8]) -> Option<usize> {
        match self.mode {
            Mode::Tunnel(outer) => Some(outer.buffer_len() + self.header_len(outer.source.is_ipv6())),
            Mode::Transport { .. } => Some(self.header_len(is_v6(packet)?)),
        }
    }

    /// The longest IP packet that fits, headers and all, into one of `outer_mtu`.
    pub const fn mtu(&self, outer_mtu: usize) -> usize {
        match self.mode {
            Mode::Tunnel(outer) => {
                outer_mtu.saturating_sub(outer.buffer_len() + self.header_len(outer.source.is_ipv6()))
            }
            // The longer of both, for what is wrapped is not known.
            Mode::Transport { .. } => outer_mtu.saturating_sub(self.header_len(true)),
        }
    }

    /// Writes the headers before the packet that lies in the buffer behind so much room, all but the ICV. None: it is no IP
    /// packet, it would be too long for IP, or it is not the room that [`Self::room`] says.
    pub fn build(&self, buffer: &mut [u8], room: usize, draws: Draws) -> Option<Place> {
        let (at, next_header) = match self.mode {
            Mode::Tunnel(outer) => {
                let inner = Inner::of(buffer.get(room..)?)?;
                let carried_len = buffer.len().checked_sub(outer.buffer_len())?;
                outer.write(buffer, carried_len, &inner, draws.name)?;
                (outer.buffer_len(), inner.next_header)
            }
            Mode::Transport { .. } => {
                let outside = Outside::of(buffer.get(room..)?).ok()?;
                buffer.copy_within(room..room + outside.len, 0);
                (outside.len, outside.next_header)
            }
        };
        let packet_len = buffer.len();
        Outside::of(buffer).ok()?.rewrite(buffer, proto::AH, packet_len)?;
        let len = self.header_len(is_v6(buffer)?);
        let header = buffer.get_mut(at..at + len)?;
        header.fill(0);
        let sequence = draws.sequence as u32;
        bytes::put(header, 0, [next_header, u8::try_from(len / 4 - 2).ok()?]);
        bytes::put_u32(header, 4, self.spi);
        bytes::put_u32(header, 8, sequence);
        Some(Place { at, len, next_header, spi: self.spi, sequence })
    }
}

/// Puts an ICV into its place in the packet.
pub fn put_icv(packet: &mut [u8], place: &Place, icv: &[u8]) {
    if let Some(field) = packet.get_mut(place.at + ICV_AT..).and_then(|rest| rest.get_mut(..icv.len())) {
        field.copy_from_slice(icv);
    }
}

/// The packet as it is checked, written into `scratch`, with the ICV that it has behind it. `scratch` takes the packet and an ICV.
///
/// # Errors
/// [`Refused::Malformed`]: the ICV does not fit, or the header says what cannot be checked: a route that its sender chose and
/// that is not at its end, options of wrong lengths, a fragment.
pub fn checked<'s>(
    packet: &[u8],
    place: &Place,
    icv_len: usize,
    scratch: &'s mut [u8],
) -> Result<&'s mut [u8], Refused> {
    if place.len < FIXED_LEN + icv_len {
        return Err(Refused::Malformed);
    }
    let text = scratch.get_mut(..packet.len() + icv_len).ok_or(Refused::Malformed)?;
    let (copy, behind) = text.split_at_mut(packet.len());
    copy.copy_from_slice(packet);
    let icv_at = place.at + ICV_AT;
    let icv = copy.get_mut(icv_at..icv_at + icv_len).ok_or(Refused::Malformed)?;
    behind.copy_from_slice(icv);
    icv.fill(0);
    let header = copy.get_mut(..place.at).ok_or(Refused::Malformed)?;
    match is_v6(header) {
        Some(false) => steady_v4(header)?,
        Some(true) => steady_v6(header)?,
        None => return Err(Refused::Malformed),
    }
    Ok(text)
}

/// What a packet that was checked carries, in place; as [`super::decap::Decap::unwrap`].
///
/// # Errors
/// It carries not what it says.
pub fn unwrap(buffer: &mut [u8], place: &Place, tunnel: bool) -> Result<std::ops::Range<usize>, Refused> {
    let start = place.at + place.len;
    let len = buffer.len().checked_sub(start).ok_or(Refused::Malformed)?;
    let found = if tunnel {
        let outer = Inner::of(buffer).ok_or(Refused::Malformed)?;
        decap::inner(buffer, start, len, place.next_header, outer.tos)
    } else {
        decap::restore(buffer, start, len, place.next_header)
    };
    match found? {
        decap::Found::Packet(range) => Ok(range),
        decap::Found::Dummy => Err(Refused::Malformed),
    }
}

fn is_v6(packet: &[u8]) -> Option<bool> {
    match bytes::u8_at(packet, 0) >> 4 {
        4 => Some(false),
        6 => Some(true),
        _ => None,
    }
}

/// Section 3.3.3.1.1: TOS, flags and offset, TTL, checksum, and options that change.
fn steady_v4(header: &mut [u8]) -> Result<(), Refused> {
    for at in [1, 6, 7, 8, 10, 11] {
        bytes::put(header, at, [0]);
    }
    let mut rest = header.get_mut(ipv4::HEADER_LEN..).unwrap_or_default();
    while let Some(kind) = rest.first().copied() {
        let len = match kind {
            0 => rest.len(),
            1 => 1,
            _ => usize::from(bytes::u8_at(rest, 1)),
        };
        if SOURCE_ROUTES.contains(&kind) || len == 0 || kind > 1 && len < 2 {
            return Err(Refused::Malformed);
        }
        let (option, others) = rest.split_at_mut_checked(len).ok_or(Refused::Malformed)?;
        if !STEADY_OPTIONS.contains(&kind) {
            option.fill(0);
        }
        rest = others;
    }
    Ok(())
}

/// Section 3.3.3.1.2: traffic class, flow label, hop limit, and options that change.
fn steady_v6(header: &mut [u8]) -> Result<(), Refused> {
    bytes::put(header, 0, [0x60, 0, 0, 0]);
    bytes::put(header, 7, [0]);
    let mut kind = bytes::u8_at(header, 6);
    let mut rest = header.get_mut(ipv6::HEADER_LEN..).unwrap_or_default();
    while !rest.is_empty() {
        let len = 8 * (1 + usize::from(bytes::u8_at(rest, 1)));
        let (extension, others) = rest.split_at_mut_checked(len).ok_or(Refused::Malformed)?;
        match kind {
            proto::HOP_BY_HOP | proto::DESTINATION_OPTIONS => steady_options(extension)?,
            // At its end a route is as its sender foresaw it.
            proto::ROUTING if bytes::u8_at(extension, 3) == 0 => {}
            _ => return Err(Refused::Malformed),
        }
        kind = bytes::u8_at(extension, 0);
        rest = others;
    }
    Ok(())
}

fn steady_options(extension: &mut [u8]) -> Result<(), Refused> {
    const PAD1: u8 = 0;
    let mut rest = extension.get_mut(2..).unwrap_or_default();
    while let Some(kind) = rest.first().copied() {
        let data_len = usize::from(bytes::u8_at(rest, 1));
        let len = if kind == PAD1 { 1 } else { 2 + data_len };
        let (option, others) = rest.split_at_mut_checked(len).ok_or(Refused::Malformed)?;
        if kind & CHANGES != 0 {
            option.get_mut(2..).unwrap_or_default().fill(0);
        }
        rest = others;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipsec::crypto::builtin::BuiltIn;
    use crate::ipsec::crypto::{Direction, Engine, Job, Numbers};
    use crate::ipsec::encap::Name;
    use crate::ipsec::keys::Keys;
    use crate::ipsec::transform::{Cipher, Transform};
    use proptest::prelude::*;

    const DRAWS: Draws = Draws { sequence: 7, nonce: 0, name: Name { id: 3, unit: 5 } };

    fn datagram(options: &[u8]) -> Vec<u8> {
        let header_len = 20 + options.len();
        let mut packet = vec![0x55; header_len + 30];
        let repr = ipv4::Repr {
            tos: 0,
            id: 1,
            fragment: 0,
            ttl: 9,
            protocol: proto::UDP,
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            payload_len: 30,
        };
        repr.emit(&mut packet).unwrap();
        packet[0] = 0x40 | (header_len / 4) as u8;
        packet[20..header_len].copy_from_slice(options);
        let mut header = ipv4::Packet::new_checked(&mut packet[..]).unwrap();
        header.set_total_len((header_len + 30) as u16);
        header.fill_checksum();
        packet
    }

    fn process(direction: Direction, text: &mut [u8]) -> bool {
        let transform = Transform::Pair(Cipher::Null, Integrity::HmacSha256);
        let keys = Keys::new(transform, &[], &[7; 32]).unwrap();
        let mut session = BuiltIn.session(transform, &keys, Numbers::Short, direction).unwrap();
        let mut jobs = [Job::new(text, 0)];
        session.process(&mut jobs);
        jobs[0].done
    }

    fn sealed(packet: &[u8]) -> Vec<u8> {
        let wrap = Wrap::new(300, Mode::Transport { udp: None }, Integrity::HmacSha256);
        let room = wrap.room(packet).unwrap();
        let mut buffer = [&vec![0; room], packet].concat();
        let place = wrap.build(&mut buffer, room, DRAWS).unwrap();
        let mut scratch = [0; 2000];
        let text = checked(&buffer, &place, 16, &mut scratch).unwrap();
        assert!(process(Direction::Seal, text));
        let icv = text[text.len() - 16..].to_vec();
        put_icv(&mut buffer, &place, &icv);
        assert_eq!(locate(&buffer), Ok(place));
        buffer
    }

    fn is_right(packet: &[u8]) -> bool {
        let mut scratch = [0; 2000];
        let Ok(place) = locate(packet) else { return false };
        checked(packet, &place, 16, &mut scratch).is_ok_and(|text| process(Direction::Open, text))
    }

    /// Every byte is checked but those that routers change.
    #[test]
    fn what_routers_change_does_not_count_and_all_else_does() {
        // A record of the route, which routers write into, and an alert, which they leave alone.
        let packet = sealed(&datagram(&[7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 1]));
        assert!(is_right(&packet));
        // (An option that changes counts as zero even in its kind; but its length must be one.)
        let changes = [1, 6, 7, 8, 10, 11, 20].into_iter().chain(22..27).collect::<Vec<_>>();
        for at in 0..packet.len() {
            let mut other = packet.clone();
            other[at] ^= 0x10;
            // What says how long something is may not be readable any more; then it is refused, which will do.
            assert_eq!(is_right(&other), changes.contains(&at), "byte {at}");
        }
        let mut buffer = packet.clone();
        let place = locate(&buffer).unwrap();
        let range = unwrap(&mut buffer, &place, false).unwrap();
        assert_eq!(buffer[range], datagram(&[7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 1]));
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        let mut scratch = [0; 2000];
        for options in [
            [131, 7, 4, 9, 9, 9, 9, 0],
            [137, 7, 4, 9, 9, 9, 9, 0],
            [68, 9, 5, 0, 0, 0, 0, 0],
            [68, 0, 0, 0, 0, 0, 0, 0],
        ] {
            let wrap = Wrap::new(300, Mode::Transport { udp: None }, Integrity::HmacSha1);
            let packet = datagram(&options);
            let room = wrap.room(&packet).unwrap();
            let mut buffer = [&vec![0; room], &packet[..]].concat();
            let place = wrap.build(&mut buffer, room, DRAWS).unwrap();
            assert_eq!(checked(&buffer, &place, 12, &mut scratch).unwrap_err(), Refused::Malformed, "{options:?}");
        }
        let packet = sealed(&datagram(&[]));
        let place = locate(&packet).unwrap();
        assert!(checked(&packet, &place, 24, &mut scratch).is_err(), "an ICV that is longer than the header");
        assert!(checked(&packet, &place, 16, &mut [0; 40]).is_err());
        assert_eq!(locate(&datagram(&[])), Err(Refused::Malformed), "no AH");
    }

    proptest! {
        #[test]
        fn it_is_total(mut bytes in prop::collection::vec(any::<u8>(), 0..200), v6: bool, at in 0_usize..60, icv in 0_usize..40) {
            if let Some(first) = bytes.first_mut() {
                *first = if v6 { 0x60 } else { 0x45 };
            }
            let mut scratch = [0; 300];
            let place = Place { at, len: 52, next_header: 4, spi: 1, sequence: 1 };
            let _ = checked(&bytes, &place, icv, &mut scratch);
            if let Ok(place) = locate(&bytes) {
                let _ = checked(&bytes, &place, 12, &mut scratch);
                let _ = unwrap(&mut bytes.clone(), &place, true);
                let _ = unwrap(&mut bytes, &place, false);
            }
        }
    }
}
