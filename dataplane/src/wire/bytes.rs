//! Total access to bytes in network order: reading past the end gives zero, writing past it writes nothing.
//!
//! The compiler folds the range check into the one that `new_checked` already made where it can see it.

/// The `N` bytes at `at`, if they are all there.
#[inline]
pub fn array<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk::<N>().copied()
}

/// The byte at `at`, or zero.
#[inline]
pub fn u8_at(data: &[u8], at: usize) -> u8 {
    data.get(at).copied().unwrap_or(0)
}

/// The 16-bit number at `at`, or zero.
#[inline]
pub fn u16_at(data: &[u8], at: usize) -> u16 {
    array(data, at).map_or(0, u16::from_be_bytes)
}

/// The 32-bit number at `at`, or zero.
#[inline]
pub fn u32_at(data: &[u8], at: usize) -> u32 {
    array(data, at).map_or(0, u32::from_be_bytes)
}

/// The 128-bit number at `at`, or zero.
#[inline]
pub fn u128_at(data: &[u8], at: usize) -> u128 {
    array(data, at).map_or(0, u128::from_be_bytes)
}

/// Everything from `at` on, or nothing.
#[inline]
pub fn tail(data: &[u8], at: usize) -> &[u8] {
    data.get(at..).unwrap_or(&[])
}

/// Writes `value` at `at` if it fits there whole.
#[inline]
pub fn put<const N: usize>(data: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = data.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<N>()) {
        *place = value;
    }
}

/// Writes a 16-bit number at `at` if it fits there.
#[inline]
pub fn put_u16(data: &mut [u8], at: usize, value: u16) {
    put(data, at, value.to_be_bytes());
}

/// Writes a 32-bit number at `at` if it fits there.
#[inline]
pub fn put_u32(data: &mut [u8], at: usize, value: u32) {
    put(data, at, value.to_be_bytes());
}
