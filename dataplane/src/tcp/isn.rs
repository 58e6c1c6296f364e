//! Initial sequence numbers (RFC 6528): a clock that ticks every 4 µs, plus a keyed hash of the connection.

use super::flow::Flow;
use super::seq::Seq;
use crate::filter::hash::Key;

/// Makes initial sequence numbers that nobody without the key can guess.
#[derive(Clone, Copy)]
pub struct IsnSource {
    key: Key,
}

impl IsnSource {
    /// A source with a secret key.
    pub fn new(key: [u8; 16]) -> Self {
        Self { key: Key::new(key) }
    }

    /// The number for a connection that begins now.
    pub fn isn(&self, flow: &Flow, now_ns: u64) -> Seq {
        let [a, b, c, d, e] = flow.words();
        // The last word keeps this apart from other uses of the key.
        Seq(self.key.hash([a, b, c, d, e, 0x6973_6e00]).wrapping_add((now_ns / 4000) as u32))
    }
}

impl std::fmt::Debug for IsnSource {
    /// The key is a secret: never shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IsnSource").finish_non_exhaustive()
    }
}
