//! A key in the file: compared and handed on, never shown.

use std::fmt;
use std::str::FromStr;

/// Bytes that nobody but their user is to see; written as hexadecimal digits, `0x` before them or not.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes of a text, which is not copied.
    pub fn of_text(text: String) -> Self {
        Self(text.into_bytes())
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// It is no row of pairs of hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not pairs of hexadecimal digits")]
pub struct NotHex;

impl FromStr for Secret {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
        let (pairs, rest) = digits.as_chunks::<2>();
        let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
        let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        bytes.filter(|_| rest.is_empty()).map(Self).ok_or(NotHex)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        // A plain write to what is freed next may be left out; this may not.
        self.0.iter_mut().for_each(|byte| *byte = std::hint::black_box(0));
        std::hint::black_box(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_digits_are_bytes_and_are_not_shown() {
        for text in ["0x00ffA5", "00ffA5"] {
            let secret: Secret = text.parse().unwrap();
            assert_eq!(secret.expose(), [0, 0xff, 0xa5]);
            assert_eq!(format!("{secret:?}"), "Secret(..)");
        }
        assert_eq!("".parse::<Secret>().unwrap().expose(), [0; 0]);
        for text in ["0", "0x0", "zz", "0x 1", "+1"] {
            assert_eq!(text.parse::<Secret>(), Err(NotHex), "{text}");
        }
    }

    #[test]
    fn a_text_is_its_bytes() {
        let secret = Secret::of_text("0x00 é".to_owned());
        assert_eq!(secret.expose(), b"0x00 \xc3\xa9");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
