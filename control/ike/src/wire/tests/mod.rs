//! The wire's tests: round trips (`round`), hostile bytes (`hostile`), messages written out by hand (`vectors`),
//! selectors as sets (`ranges`). Another codec has its say in `control/ike/tests/wire`.

mod hostile;
mod payloads;
mod ranges;
mod round;
mod vectors;

use super::{Exchange, Header};

/// A request of an original initiator's.
const HEADER: Header = Header {
    initiator_spi: 0x0102_0304_0506_0708,
    responder_spi: 0x1112_1314_1516_1718,
    exchange: Exchange::INFORMATIONAL,
    from_initiator: true,
    response: false,
    message_id: 7,
};

/// Bytes written as hex; whatever is no digit is for the reader.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
