//! SipHash-1-3 (Aumasson and Bernstein) over a few 64-bit words, written so that a burst of packets vectorises.
//!
//! Keyed, so that nobody without the cluster's secret can aim packets at one unit; the same function for one packet
//! and for a burst. The values are those of SipHash-1-3 over the words' little-endian bytes, which the tests check
//! against an independent implementation.

/// The cluster's secret, split into SipHash's two key words.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    k0: u64,
    k1: u64,
}

#[derive(Clone, Copy)]
struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }

    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }
}

impl Key {
    pub(crate) fn new(bytes: [u8; 16]) -> Self {
        let both = u128::from_le_bytes(bytes);
        Self { k0: both as u64, k1: (both >> 64) as u64 }
    }

    /// Hashes a fixed number of words. Only the low bits are wanted, so the result is folded to 32.
    #[inline(always)]
    pub(crate) fn hash<const N: usize>(&self, words: [u64; N]) -> u32 {
        let value = self.hash64(words);
        (value ^ value >> 32) as u32
    }

    #[inline(always)]
    pub(crate) fn hash64<const N: usize>(&self, words: [u64; N]) -> u64 {
        let mut state = State {
            v0: self.k0 ^ 0x736f_6d65_7073_6575,
            v1: self.k1 ^ 0x646f_7261_6e64_6f6d,
            v2: self.k0 ^ 0x6c79_6765_6e65_7261,
            v3: self.k1 ^ 0x7465_6462_7974_6573,
        };
        for word in words {
            state.absorb(word);
        }
        // SipHash's last block: the message's length in bytes, in the top byte.
        state.absorb((N as u64 * 8) << 56);
        state.v2 ^= 0xff;
        state.round();
        state.round();
        state.round();
        state.v0 ^ state.v1 ^ state.v2 ^ state.v3
    }
}
