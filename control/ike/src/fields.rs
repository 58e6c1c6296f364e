//! Records as fields: a number, a length, and so many bytes. What a newer version added is kept and given back.

use std::net::{IpAddr, SocketAddr};

use zeroize::Zeroizing;

/// A record in the making. It may hold keys.
#[derive(Default)]
pub(crate) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(crate) fn bytes(&mut self, tag: u8, bytes: &[u8]) -> &mut Self {
        self.0.push(tag);
        self.0.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn number(&mut self, tag: u8, number: u64) -> &mut Self {
        self.bytes(tag, &number.to_be_bytes())
    }

    pub(crate) fn address(&mut self, tag: u8, address: IpAddr) -> &mut Self {
        match address {
            IpAddr::V4(address) => self.bytes(tag, &address.octets()),
            IpAddr::V6(address) => self.bytes(tag, &address.octets()),
        }
    }

    pub(crate) fn socket(&mut self, tag: u8, socket: SocketAddr) -> &mut Self {
        let mut inner = Self::default();
        inner.address(1, socket.ip()).number(2, socket.port().into());
        self.bytes(tag, &inner.0)
    }

    pub(crate) fn nested(&mut self, tag: u8, write: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(tag, &inner.0)
    }

    pub(crate) fn done(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// A record's fields, in their order.
pub(crate) struct Reader<'a>(Vec<(u8, &'a [u8])>);

/// The most fields that a record has.
const FIELDS_MAX: usize = 4096;

impl<'a> Reader<'a> {
    /// None: it is no record.
    pub(crate) fn new(mut bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Vec::new();
        while let Some((tag, rest)) = bytes.split_first() {
            let (len, rest) = rest.split_first_chunk::<4>()?;
            let (field, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
            if fields.len() == FIELDS_MAX {
                return None;
            }
            fields.push((*tag, field));
            bytes = rest;
        }
        Some(Self(fields))
    }

    /// The first field of this number.
    pub(crate) fn bytes(&self, tag: u8) -> Option<&'a [u8]> {
        self.0.iter().find(|(known, _)| *known == tag).map(|(_, bytes)| *bytes)
    }

    pub(crate) fn number(&self, tag: u8) -> Option<u64> {
        self.bytes(tag)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// A number of a narrower type.
    pub(crate) fn small<T: TryFrom<u64>>(&self, tag: u8) -> Option<T> {
        T::try_from(self.number(tag)?).ok()
    }

    pub(crate) fn text(&self, tag: u8) -> Option<String> {
        std::str::from_utf8(self.bytes(tag)?).ok().map(str::to_owned)
    }

    pub(crate) fn socket(&self, tag: u8) -> Option<SocketAddr> {
        let inner = Self::new(self.bytes(tag)?)?;
        Some(SocketAddr::new(address(inner.bytes(1)?)?, inner.small(2)?))
    }

    /// All fields of this number.
    pub(crate) fn all(&self, tag: u8) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(known, _)| *known == tag).map(|(_, bytes)| *bytes)
    }

    /// The record in a field.
    pub(crate) fn nested(&self, tag: u8) -> Option<Self> {
        Self::new(self.bytes(tag)?)
    }

    /// Those from this number on: a newer version's.
    pub(crate) fn beyond(&self, first: u8) -> Vec<(u8, Vec<u8>)> {
        self.0.iter().filter(|(tag, _)| *tag >= first).map(|(tag, bytes)| (*tag, bytes.to_vec())).collect()
    }
}

/// An address by its bytes.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
