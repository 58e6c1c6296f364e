//! A byte stream that both ends can compute: byte p of stream s follows from s and p alone, and no two streams or places
//! look alike, so lost, repeated, swapped and foreign bytes are all found.

/// A place in a stream.
pub(crate) struct Pattern {
    seed: u64,
    position: u64,
}

impl Pattern {
    /// The beginning of stream `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, position: 0 }
    }

    /// Bytes so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next byte.
    fn next(&mut self) -> u8 {
        let word = mix(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (self.position / 8));
        let byte = word.to_le_bytes()[(self.position % 8) as usize];
        self.position += 1;
        byte
    }

    /// Writes the next bytes.
    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = self.next();
        }
    }

    /// Checks the next bytes; `Err` is the place of the first wrong one.
    pub(crate) fn check(&mut self, data: &[u8]) -> Result<(), u64> {
        for &byte in data {
            let place = self.position;
            if byte != self.next() {
                return Err(place);
            }
        }
        Ok(())
    }
}

/// The finaliser of splitmix64: every bit of the input moves every bit of the output.
pub(crate) fn mix(value: u64) -> u64 {
    let a = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    b ^ (b >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_checks_itself_in_any_chunks_and_finds_one_wrong_byte() {
        let mut data = vec![0; 1000];
        Pattern::new(7).fill(&mut data);
        let mut check = Pattern::new(7);
        assert_eq!(check.check(&data[..3]), Ok(()));
        assert_eq!(check.check(&data[3..]), Ok(()));
        assert_eq!(check.position(), 1000);
        data[500] ^= 1;
        assert_eq!(Pattern::new(7).check(&data), Err(500));
        assert!(Pattern::new(8).check(&data).is_err());
    }
}
