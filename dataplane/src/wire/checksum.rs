//! The Internet checksum (RFC 1071), its incremental update (RFC 1624) and the pseudo headers (RFC 793, RFC 8200).
//!
//! Sums are kept as 32-bit words in a 64-bit accumulator, and folded once at the end.

/// A running one's complement sum. Parts must be added at even offsets of the whole; only the last may be odd.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// Nothing summed yet.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Numbers of 32 bits, summed up already.
    pub const fn of(sum: u64) -> Self {
        Self(sum)
    }

    /// Adds bytes; an odd last byte counts as the high half of a word.
    #[inline]
    #[must_use]
    pub fn bytes(self, data: &[u8]) -> Self {
        let mut sum = self.0;
        let (words, rest) = data.as_chunks::<4>();
        for word in words {
            sum += u64::from(u32::from_be_bytes(*word));
        }
        match *rest {
            [a] => sum += u64::from(a) << 8,
            [a, b] => sum += u64::from(u16::from_be_bytes([a, b])),
            [a, b, c] => sum += u64::from(u16::from_be_bytes([a, b])) + (u64::from(c) << 8),
            _ => {}
        }
        Self(sum)
    }

    /// Adds one 16-bit word.
    #[inline]
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Adds the IPv4 pseudo header: addresses, protocol, and the length of header and payload above IP.
    #[inline]
    #[must_use]
    pub fn pseudo_v4(self, src: u32, dst: u32, proto: u8, len: usize) -> Self {
        Self(self.0 + u64::from(src) + u64::from(dst) + u64::from(proto) + len as u64)
    }

    /// Adds the IPv6 pseudo header.
    #[inline]
    #[must_use]
    pub fn pseudo_v6(self, src: u128, dst: u128, proto: u8, len: usize) -> Self {
        let halves = |a: u128| -> u64 { (0..4).map(|i| u64::from((a >> (32 * i)) as u32)).sum() };
        Self(self.0 + halves(src) + halves(dst) + u64::from(proto) + len as u64)
    }

    /// The sum folded to 16 bits; 0xffff over data that includes a correct checksum.
    #[inline]
    pub const fn fold(self) -> u16 {
        // Each number plus itself with the halves exchanged: the high half then is the halves' sum with its carry.
        let wide = (self.0.wrapping_add(self.0.rotate_left(32)) >> 32) as u32;
        (wide.wrapping_add(wide.rotate_left(16)) >> 16) as u16
    }

    /// The checksum: the folded sum's complement.
    #[inline]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }

    /// Whether the data summed, its checksum field included, is intact.
    #[inline]
    pub const fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }
}

/// The checksum of `data`.
#[inline]
pub fn checksum(data: &[u8]) -> u16 {
    Sum::new().bytes(data).checksum()
}

/// The checksum after one 16-bit word changed from `old` to `new` (RFC 1624, equation 3: never yields the wrong zero).
#[inline]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    let mut sum = !checksum as u32 + !old as u32 + new as u32;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// The checksum after a 32-bit field at an even offset changed.
#[inline]
pub const fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    let checksum = update(checksum, (old >> 16) as u16, (new >> 16) as u16);
    update(checksum, old as u16, new as u16)
}
