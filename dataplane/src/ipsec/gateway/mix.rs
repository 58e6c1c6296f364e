//! A hash for tables whose keys the operator chooses: one multiplication. Nobody outside can put anything into them, so nobody
//! can make them slow.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table by such keys.
pub(super) type Table<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// See the module.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        // The product's upper half depends on all of the key, its lower half on little of it.
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(32) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u128(&mut self, number: u128) {
        self.write_u64((number >> 64) as u64);
        self.write_u64(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, Hash};

    /// Neighbouring networks, as operators have them, are spread over all places of a table.
    #[test]
    fn networks_are_spread() {
        let build = BuildHasherDefault::<Mix>::default();
        let spread = |keys: &mut dyn Iterator<Item = u128>| {
            let mut places = vec![0; 256];
            let mut tags = [0; 128];
            for key in keys {
                let hash = build.hash_one(key);
                places[hash as usize % 256] += 1;
                tags[(hash >> 57) as usize] += 1;
            }
            (places.into_iter().max().unwrap_or(0), tags.into_iter().max().unwrap_or(0))
        };
        // 4096 keys: 16 a place and 32 a tag would be even.
        for (what, step) in [("/32", 1), ("/24", 1 << 8), ("/16", 1 << 16), ("/64", 1 << 64)] {
            let (place, tag) = spread(&mut (0..4096_u128).map(|n| n * step));
            assert!(place < 60 && tag < 120, "{what}: {place} in one place, {tag} with one tag");
        }
        let mut one = Mix::default();
        7_u32.hash(&mut one);
        assert_ne!(one.finish(), Mix::default().finish());
    }
}
