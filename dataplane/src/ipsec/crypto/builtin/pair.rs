//! A cipher and a check of its own (RFC 4303 section 3.3.2.1): encrypted first, then checked; the other way round coming in, so
//! that nothing is done to a packet whose ICV is wrong.

use subtle::ConstantTimeEq;

use super::EachWay;
use super::cipher::Hider;
use super::mac::Mac;
use crate::ipsec::crypto::Numbers;
use crate::ipsec::keys::Keys;
use crate::ipsec::transform::{Cipher, Integrity};

pub(super) struct Pair {
    hider: Hider,
    mac: Mac,
    icv_len: usize,
    numbers: Numbers,
}

impl Pair {
    pub(super) fn new(cipher: Cipher, integrity: Integrity, keys: &Keys, numbers: Numbers) -> Option<Self> {
        Some(Self {
            hider: Hider::new(cipher, keys.cipher())?,
            mac: Mac::new(integrity, keys.integrity())?,
            icv_len: integrity.icv_len(),
            numbers,
        })
    }

    /// The high half as it is checked, if it is.
    fn high_half(&self, sequence_high: u32) -> Option<[u8; 4]> {
        (self.numbers == Numbers::Extended).then(|| sequence_high.to_be_bytes())
    }
}

impl EachWay for Pair {
    fn seal(&mut self, packet: &mut [u8], sequence_high: u32) -> Option<()> {
        let end = packet.len().checked_sub(self.icv_len)?;
        let (checked, icv) = packet.split_at_mut_checked(end)?;
        self.hider.hide(checked)?;
        let tag = self.mac.of(checked, self.high_half(sequence_high));
        icv.copy_from_slice(tag.get(..self.icv_len)?);
        Some(())
    }

    fn open(&mut self, packet: &mut [u8], sequence_high: u32) -> Option<()> {
        let end = packet.len().checked_sub(self.icv_len)?;
        let (checked, icv) = packet.split_at_mut_checked(end)?;
        let tag = self.mac.of(checked, self.high_half(sequence_high));
        bool::from(tag.get(..self.icv_len)?.ct_eq(icv)).then_some(())?;
        self.hider.show(checked)
    }
}
