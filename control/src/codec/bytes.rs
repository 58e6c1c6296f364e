//! Big-endian reading and writing with bounds: a reader never reads past its end and never allocates by a length that
//! the input merely claims.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use phalanx_dataplane::unit::{MemberId, Unit};

use super::DecodeError;
use crate::cluster::{Contact, PORTS_MAX, Reign, Version};

pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Truncated)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Value("flag")),
        }
    }

    pub(crate) fn member(&mut self) -> Result<MemberId, DecodeError> {
        MemberId::new(self.u8()?).ok_or(DecodeError::Value("member"))
    }

    pub(crate) fn unit(&mut self) -> Result<Unit, DecodeError> {
        Unit::new(self.u16()?).ok_or(DecodeError::Value("unit"))
    }

    pub(crate) fn reign(&mut self) -> Result<Reign, DecodeError> {
        Ok(Reign { term: self.u64()?, master: self.member()? })
    }

    pub(crate) fn version(&mut self) -> Result<Version, DecodeError> {
        Ok(Version { term: self.u64()?, generation: self.u64()? })
    }

    /// A field that older members do not send: they end before it.
    pub(crate) fn added_later<T: Default>(
        &mut self,
        field: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if self.0.is_empty() { Ok(T::default()) } else { field(self) }
    }

    /// A list with a two-byte count, at most `most` long.
    pub(crate) fn list<T>(
        &mut self,
        most: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = usize::from(self.u16()?);
        // Every item takes at least a byte, so a count above what is left is a lie.
        if count > most || count > self.0.len() {
            return Err(DecodeError::TooMany);
        }
        (0..count).map(|_| item(self)).collect()
    }

    pub(crate) fn contact(&mut self) -> Result<Contact, DecodeError> {
        let ip: IpAddr = match self.u8()? {
            4 => Ipv4Addr::from(self.array::<4>()?).into(),
            6 => Ipv6Addr::from(self.array::<16>()?).into(),
            _ => return Err(DecodeError::Value("address family")),
        };
        let address = SocketAddr::new(ip, self.u16()?);
        Ok(Contact { address, macs: self.list(PORTS_MAX, Reader::array)? })
    }
}

pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    pub(crate) fn member(&mut self, member: MemberId) {
        self.u8(member.number());
    }

    pub(crate) fn unit(&mut self, unit: Unit) {
        self.u16(unit.number());
    }

    pub(crate) fn reign(&mut self, reign: Reign) {
        self.u64(reign.term);
        self.member(reign.master);
    }

    pub(crate) fn version(&mut self, version: Version) {
        self.u64(version.term);
        self.u64(version.generation);
    }

    /// A list with a two-byte count. The core's own limits keep every list far below 65,536 items.
    pub(crate) fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.u16(items.len() as u16);
        for value in items {
            item(self, value);
        }
    }

    pub(crate) fn contact(&mut self, contact: &Contact) {
        match contact.address.ip() {
            IpAddr::V4(ip) => {
                self.u8(4);
                self.put(&ip.octets());
            }
            IpAddr::V6(ip) => {
                self.u8(6);
                self.put(&ip.octets());
            }
        }
        self.u16(contact.address.port());
        self.list(&contact.macs, |w, mac| w.put(mac));
    }
}
