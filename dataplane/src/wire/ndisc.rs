//! Neighbor Discovery (RFC 4861): solicitations and advertisements with their link-layer address options.
//!
//! Router messages and redirects are recognised by their ICMPv6 type only: the cluster's routes are configured.

use super::{MacAddr, WireError, bytes, icmpv6};
use std::net::Ipv6Addr;

mod field {
    pub(super) const FLAGS: usize = 4;
    pub(super) const TARGET: usize = 8;
    pub(super) const OPTIONS: usize = 24;
}

/// Length of a solicitation or advertisement without options.
pub const HEADER_LEN: usize = field::OPTIONS;
/// Length of a link-layer address option for Ethernet.
pub const OPTION_LEN: usize = 8;
/// All ND messages are sent with this hop limit, and accepted with no other: they cannot have crossed a router.
pub const HOP_LIMIT: u8 = 255;

const OPTION_SOURCE: u8 = 1;
const OPTION_TARGET: u8 = 2;
/// Options looked at before the rest is ignored; a solicitation carries one or two.
const OPTIONS_MAX: usize = 8;

const FLAG_ROUTER: u8 = 0x80;
const FLAG_SOLICITED: u8 = 0x40;
const FLAG_OVERRIDE: u8 = 0x20;

/// The multicast group that solicitations of `target` go to (RFC 4291 section 2.7.1).
pub const fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let s = target.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (s[6] & 0xff), s[7])
}

/// A neighbor solicitation or advertisement.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Repr {
    /// Who has the target address?
    Solicitation {
        /// The address asked for.
        target: Ipv6Addr,
        /// The asker's hardware address; absent while it checks for duplicates.
        source_mac: Option<MacAddr>,
    },
    /// The target address is at the target's hardware address.
    Advertisement {
        /// The address told of.
        target: Ipv6Addr,
        /// The sender is a router.
        router: bool,
        /// It answers a solicitation.
        solicited: bool,
        /// It may replace what is known.
        override_known: bool,
        /// Where the target is; absent means "as known".
        target_mac: Option<MacAddr>,
    },
}

impl Repr {
    /// Reads an ICMPv6 message, its checksum and hop limit already verified. Messages of other types are
    /// [`WireError::Kind`]; a code other than 0, a multicast target or a zero-length option makes it invalid
    /// (RFC 4861 sections 7.1.1, 7.1.2).
    pub fn parse(message: &[u8]) -> Result<Self, WireError> {
        if message.len() < HEADER_LEN {
            return Err(WireError::Truncated);
        }
        let packet = icmpv6::Packet::new_checked(message)?;
        let target = Ipv6Addr::from(bytes::u128_at(message, field::TARGET));
        if packet.code() != 0 || target.is_multicast() {
            return Err(WireError::Kind);
        }
        let flags = bytes::u8_at(message, field::FLAGS);
        let options = bytes::tail(message, field::OPTIONS);
        match packet.kind() {
            icmpv6::NEIGHBOR_SOLICITATION => {
                Ok(Self::Solicitation { target, source_mac: find_option(options, OPTION_SOURCE)? })
            }
            icmpv6::NEIGHBOR_ADVERTISEMENT => Ok(Self::Advertisement {
                target,
                router: flags & FLAG_ROUTER != 0,
                solicited: flags & FLAG_SOLICITED != 0,
                override_known: flags & FLAG_OVERRIDE != 0,
                target_mac: find_option(options, OPTION_TARGET)?,
            }),
            _ => Err(WireError::Kind),
        }
    }

    /// The bytes that [`Self::emit`] writes.
    pub const fn buffer_len(&self) -> usize {
        let (Self::Solicitation { source_mac: mac, .. } | Self::Advertisement { target_mac: mac, .. }) = self;
        if mac.is_some() { HEADER_LEN + OPTION_LEN } else { HEADER_LEN }
    }

    /// Writes the message as sent between these addresses, checksum included; returns its length.
    pub fn emit(&self, source: Ipv6Addr, destination: Ipv6Addr, buffer: &mut [u8]) -> Result<usize, WireError> {
        let len = self.buffer_len();
        let message = buffer.get_mut(..len).ok_or(WireError::Truncated)?;
        let (kind, flags, target, option, mac) = match *self {
            Self::Solicitation { target, source_mac } => {
                (icmpv6::NEIGHBOR_SOLICITATION, 0, target, OPTION_SOURCE, source_mac)
            }
            Self::Advertisement { target, router, solicited, override_known, target_mac } => {
                let flags = if router { FLAG_ROUTER } else { 0 }
                    | if solicited { FLAG_SOLICITED } else { 0 }
                    | if override_known { FLAG_OVERRIDE } else { 0 };
                (icmpv6::NEIGHBOR_ADVERTISEMENT, flags, target, OPTION_TARGET, target_mac)
            }
        };
        bytes::put(message, 0, [kind, 0, 0, 0, flags, 0, 0, 0]);
        bytes::put(message, field::TARGET, target.octets());
        if let Some(mac) = mac {
            bytes::put(message, field::OPTIONS, [option, 1]);
            bytes::put(message, field::OPTIONS + 2, mac.0);
        }
        icmpv6::Packet::new_checked(message)?.fill_checksum(source, destination);
        Ok(len)
    }
}

/// The first link-layer address option of this kind. Options are type, length in units of 8 bytes, value.
fn find_option(mut options: &[u8], kind: u8) -> Result<Option<MacAddr>, WireError> {
    let mut found = None;
    for _ in 0..OPTIONS_MAX {
        let &[option, units, ..] = options else { break };
        let len = usize::from(units) * 8;
        if len == 0 {
            return Err(WireError::Length);
        }
        if len > options.len() {
            return Err(WireError::Truncated);
        }
        if option == kind && len == OPTION_LEN && found.is_none() {
            found = bytes::array(options, 2).map(MacAddr);
        }
        options = bytes::tail(options, len);
    }
    Ok(found)
}
