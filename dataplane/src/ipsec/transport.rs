//! Transport mode (RFC 4303 section 3.1.1): no outer header; ESP goes between an IP packet's header and what it carries.
//!
//! IPv6's hop-by-hop, routing and fragment headers are for the way, so they stay before ESP; what follows them is hidden.

use super::Refused;
use crate::wire::ipv6_ext::{FRAGMENT_LEN, HEADERS_MAX};
use crate::wire::{bytes, ipv4, ipv6, proto};

/// An IP packet's header, as far as it stays outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Outside {
    /// How long it is.
    pub len: usize,
    /// What follows it.
    pub next_header: u8,
    /// Where it says so.
    next_header_at: usize,
    v4: bool,
}

impl Outside {
    /// Of a packet that is to be wrapped, or of one that has been.
    ///
    /// # Errors
    /// [`Refused::Malformed`].
    pub fn of(packet: &[u8]) -> Result<Self, Refused> {
        match bytes::u8_at(packet, 0) >> 4 {
            4 => {
                let header = ipv4::Packet::new_header_checked(packet).map_err(|_| Refused::Malformed)?;
                let (len, next_header) = (header.header_len(), header.protocol());
                Ok(Self { len, next_header, next_header_at: V4_PROTOCOL_AT, v4: true })
            }
            6 => {
                ipv6::Packet::new_header_checked(packet).map_err(|_| Refused::Malformed)?;
                Self::of_v6(packet)
            }
            _ => Err(Refused::Malformed),
        }
    }

    fn of_v6(packet: &[u8]) -> Result<Self, Refused> {
        let (mut len, mut next_header_at) = (ipv6::HEADER_LEN, V6_NEXT_HEADER_AT);
        for _ in 0..HEADERS_MAX {
            let next_header = bytes::u8_at(packet, next_header_at);
            let header_len = match next_header {
                proto::HOP_BY_HOP | proto::ROUTING => 8 * (1 + usize::from(bytes::u8_at(packet, len + 1))),
                proto::FRAGMENT => FRAGMENT_LEN,
                _ => return Ok(Self { len, next_header, next_header_at, v4: false }),
            };
            next_header_at = len;
            len += header_len;
            if len > packet.len() {
                break;
            }
        }
        Err(Refused::Malformed)
    }

    /// Makes the header say that it carries `protocol`, in a packet of `packet_len` bytes. None: too long for IP.
    pub fn rewrite(&self, header: &mut [u8], protocol: u8, packet_len: usize) -> Option<()> {
        bytes::put(header, self.next_header_at, [protocol]);
        if self.v4 {
            let mut header = ipv4::Packet::new_header_checked(header).ok()?;
            header.set_total_len(u16::try_from(packet_len).ok()?);
            header.fill_checksum();
        } else {
            let payload_len = u16::try_from(packet_len.checked_sub(ipv6::HEADER_LEN)?).ok()?;
            ipv6::Packet::new_header_checked(header).ok()?.set_payload_len(payload_len);
        }
        Some(())
    }
}

const V4_PROTOCOL_AT: usize = 9;
const V6_NEXT_HEADER_AT: usize = 6;
