//! Everything here against published vectors, against Python's implementations, and against itself.

mod derivation;
mod exchange;
mod other;
mod sealing;
mod vectors;
mod wycheproof;

use super::*;

/// Bytes as vectors write them.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The same again at each run, and nowhere twice the same.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0;
            self.0 = self.0.wrapping_mul(5).wrapping_add(3);
        }
    }
}

/// All that go together, with one group: groups do not matter to what is tested with them.
fn suites() -> impl Iterator<Item = Suite> {
    let checks = |cipher: Cipher| -> Vec<Option<Integrity>> {
        if cipher.is_aead() { vec![None] } else { Integrity::ALL.map(Some).to_vec() }
    };
    Cipher::ALL.into_iter().flat_map(move |cipher| {
        checks(cipher).into_iter().flat_map(move |integrity| {
            Prf::ALL.into_iter().map(move |prf| Suite { cipher, integrity, prf, group: Group::X25519 })
        })
    })
}

fn keys(suite: Suite) -> IkeKeys {
    IkeKeys::derive(suite, &Secret::from(&[9; 32][..]), &[1; 32], &[2; 32], 3, 4)
}

#[test]
fn numbers_are_read_as_they_are_written() {
    for prf in Prf::ALL {
        assert_eq!(Prf::from_id(prf.id()), Some(prf));
        assert_eq!(prf.compute(&[], &[]).len(), prf.output_len());
    }
    for group in Group::ALL {
        assert_eq!(Group::from_id(group.id()), Some(group));
    }
    for cipher in Cipher::ALL {
        assert_eq!(Cipher::from_id(cipher.id(), cipher.key_bits()), Some(cipher));
        assert_eq!(Cipher::from_id(cipher.id(), Some(192)), None);
    }
    for integrity in Integrity::ALL {
        assert_eq!(Integrity::from_id(integrity.id()), Some(integrity));
        assert_eq!(integrity.compute(&vec![0; integrity.key_len()], &[]).unwrap().len(), integrity.icv_len());
    }
    assert_eq!((Prf::from_id(1), Group::from_id(2), Integrity::from_id(1)), (None, None, None));
}

#[test]
fn system_random_is_not_twice_the_same() {
    let [one, other] = [(); 2].map(|()| {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes);
        bytes
    });
    assert_ne!(one, other);
}
