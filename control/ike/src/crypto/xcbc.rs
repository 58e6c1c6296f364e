//! AES-XCBC-MAC (RFC 3566): CBC's last block under the first of three keys, with one of the others mixed into the last
//! block. No maintained crate has it.

use aes::Aes128;
use cbc::cipher::{Array, BlockCipherEncrypt, KeyInit};
use zeroize::Zeroize;

type Block = Array<u8, cbc::cipher::consts::U16>;

/// Length of its key and of its value.
pub(super) const BLOCK: usize = 16;

/// A check with its key.
pub(super) struct Xcbc {
    cipher: Aes128,
    /// For messages that are whole blocks, and for others.
    last: [Block; 2],
}

impl Xcbc {
    pub(super) fn new(key: &[u8; BLOCK]) -> Self {
        let outer = Aes128::new(key.into());
        let derived = |number: u8| {
            let mut block = Block::from([number; BLOCK]);
            outer.encrypt_block(&mut block);
            block
        };
        Self { cipher: Aes128::new(&derived(1)), last: [derived(2), derived(3)] }
    }

    /// The value of the parts, one behind the other.
    pub(super) fn of(&self, parts: &[&[u8]]) -> [u8; BLOCK] {
        let mut state = Block::default();
        let mut filled = 0;
        for byte in parts.iter().copied().flatten() {
            // A full block is encrypted only when another byte shows that it is not the last.
            if filled == BLOCK {
                self.cipher.encrypt_block(&mut state);
                filled = 0;
            }
            state[filled] ^= byte;
            filled += 1;
        }
        let [whole, short] = &self.last;
        let last = if filled == BLOCK {
            whole
        } else {
            state[filled] ^= 0x80;
            short
        };
        state.iter_mut().zip(last).for_each(|(byte, key)| *byte ^= key);
        self.cipher.encrypt_block(&mut state);
        state.into()
    }
}

impl Drop for Xcbc {
    fn drop(&mut self) {
        // The cipher overwrites itself.
        self.last.iter_mut().for_each(|key| key.as_mut_slice().zeroize());
    }
}
