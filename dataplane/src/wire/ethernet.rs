//! Ethernet II frames, with or without one 802.1Q tag.

use super::vlan::{TAG_LEN, VlanId};
use super::{MacAddr, WireError, bytes};

mod field {
    pub(super) const DESTINATION: usize = 0;
    pub(super) const SOURCE: usize = 6;
    pub(super) const ETHERTYPE: usize = 12;
    pub(super) const TCI: usize = 14;
}

/// Length of an untagged header.
pub const HEADER_LEN: usize = 14;
/// Length of a header with one 802.1Q tag.
pub const TAGGED_HEADER_LEN: usize = HEADER_LEN + TAG_LEN;
/// Shortest frame on a wire, without the FCS: shorter ones are padded by the sender.
pub const FRAME_LEN_MIN: usize = 60;

/// What an Ethernet frame carries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// An 802.1Q tag.
    pub const VLAN: Self = Self(0x8100);
    /// An 802.1ad outer tag (recognised, never accepted).
    pub const QINQ: Self = Self(0x88a8);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
    /// The members' own frames on the data ports: IEEE 802's first "local experimental" EtherType.
    pub const CLUSTER: Self = Self(0x88b5);
}

/// The members' own frames on the data ports ([`EtherType::CLUSTER`]).
pub const ETHERTYPE_CLUSTER: EtherType = EtherType::CLUSTER;

impl std::fmt::Debug for EtherType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{:04x}", self.0)
    }
}

/// A view of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Refuses a buffer shorter than an untagged header.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        if buffer.as_ref().len() < HEADER_LEN { Err(WireError::Truncated) } else { Ok(Self { buffer }) }
    }

    /// The destination address.
    #[inline]
    pub fn destination(&self) -> MacAddr {
        MacAddr(bytes::array(self.buffer.as_ref(), field::DESTINATION).unwrap_or_default())
    }

    /// The source address.
    #[inline]
    pub fn source(&self) -> MacAddr {
        MacAddr(bytes::array(self.buffer.as_ref(), field::SOURCE).unwrap_or_default())
    }

    /// The EtherType; [`EtherType::VLAN`] if a tag follows.
    #[inline]
    pub fn ethertype(&self) -> EtherType {
        EtherType(bytes::u16_at(self.buffer.as_ref(), field::ETHERTYPE))
    }

    /// The bytes behind the untagged header: a tag, if there is one, comes first.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        bytes::tail(self.buffer.as_ref(), HEADER_LEN)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Sets the destination address.
    #[inline]
    pub fn set_destination(&mut self, address: MacAddr) {
        bytes::put(self.buffer.as_mut(), field::DESTINATION, address.0);
    }

    /// Sets the source address.
    #[inline]
    pub fn set_source(&mut self, address: MacAddr) {
        bytes::put(self.buffer.as_mut(), field::SOURCE, address.0);
    }

    /// Sets the EtherType.
    #[inline]
    pub fn set_ethertype(&mut self, ethertype: EtherType) {
        bytes::put_u16(self.buffer.as_mut(), field::ETHERTYPE, ethertype.0);
    }
}

/// A header, with its tag if it has one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Repr {
    /// To whom.
    pub destination: MacAddr,
    /// From whom.
    pub source: MacAddr,
    /// In which VLAN, if tagged.
    pub vlan: Option<VlanId>,
    /// What follows (behind the tag).
    pub ethertype: EtherType,
}

impl Repr {
    /// Reads the header, and one tag. A priority tag (VLAN 0) counts as untagged, but is skipped.
    /// Returns the header and the offset of what follows it.
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<(Self, usize), WireError> {
        let packet = Packet::new_checked(frame)?;
        let (destination, source) = (packet.destination(), packet.source());
        let ethertype = packet.ethertype();
        if ethertype != EtherType::VLAN {
            return Ok((Self { destination, source, vlan: None, ethertype }, HEADER_LEN));
        }
        let tag = super::vlan::Packet::new_checked(packet.payload())?;
        let vlan = match tag.vlan() {
            0 => None,
            number => Some(VlanId::new(number).ok_or(WireError::Kind)?),
        };
        Ok((Self { destination, source, vlan, ethertype: tag.ethertype() }, TAGGED_HEADER_LEN))
    }

    /// The bytes that [`Self::emit`] writes.
    #[inline]
    pub const fn buffer_len(&self) -> usize {
        if self.vlan.is_some() { TAGGED_HEADER_LEN } else { HEADER_LEN }
    }

    /// Writes the header; returns its length, which is where the payload goes.
    #[inline]
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, WireError> {
        let len = self.buffer_len();
        if buffer.len() < len {
            return Err(WireError::Truncated);
        }
        bytes::put(buffer, field::DESTINATION, self.destination.0);
        bytes::put(buffer, field::SOURCE, self.source.0);
        match self.vlan {
            None => bytes::put_u16(buffer, field::ETHERTYPE, self.ethertype.0),
            Some(vlan) => {
                bytes::put_u16(buffer, field::ETHERTYPE, EtherType::VLAN.0);
                bytes::put_u16(buffer, field::TCI, vlan.number());
                bytes::put_u16(buffer, field::TCI + 2, self.ethertype.0);
            }
        }
        Ok(len)
    }
}
