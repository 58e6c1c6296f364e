//! The pieces that a stream is made of. Each names its stream, its place and when it was sent, and is sealed: a piece that is
//! lost, repeated, swapped or changed, and one of another stream, is found by whoever reads it. The last one says so, so that a
//! stream cut short is found, too.
//!
//! ```text
//!  0      4      8          16      17         18        20          28
//!  stream number time sent  last?  direction  length    seal        rest: pattern
//! ```

use crate::pattern::{Pattern, mix};

/// Before the pattern.
pub(crate) const HEAD_BYTES: usize = 28;
/// A piece is no longer than this.
pub(crate) const PIECE_BYTES_MAX: usize = 16 * 1024;

/// Which way a stream flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

/// What a head says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    /// The stream that it belongs to.
    pub(crate) stream: u32,
    /// When it was sent, as the machine counts.
    pub(crate) sent_us: u64,
    /// Nothing comes after it.
    pub(crate) last: bool,
    /// All of it, the head too.
    pub(crate) length: usize,
}

/// One direction of one stream, at either end.
pub(crate) struct Place {
    stream: u32,
    direction: Direction,
    number: u32,
    pattern: Pattern,
}

impl Place {
    /// The beginning.
    pub(crate) fn new(stream: u32, direction: Direction) -> Self {
        let seed = u64::from(stream) << 1 | u64::from(direction == Direction::Down);
        Self { stream, direction, number: 0, pattern: Pattern::new(mix(seed ^ 0x57_2EA5)) }
    }

    /// Fills in the next piece; `out` is as long as the piece is to be.
    pub(crate) fn write(&mut self, sent_us: u64, last: bool, out: &mut [u8]) {
        let (head, rest) = out.split_at_mut(HEAD_BYTES);
        head[..4].copy_from_slice(&self.stream.to_be_bytes());
        head[4..8].copy_from_slice(&self.number.to_be_bytes());
        head[8..16].copy_from_slice(&sent_us.to_be_bytes());
        head[16] = u8::from(last);
        head[17] = u8::from(self.direction == Direction::Down);
        head[18..20].copy_from_slice(&((HEAD_BYTES + rest.len()) as u16).to_be_bytes());
        let seal = seal(&head[..20]);
        head[20..].copy_from_slice(&seal);
        self.pattern.fill(rest);
        self.number += 1;
    }

    /// Reads the next piece's head.
    pub(crate) fn read_head(&mut self, head: &[u8; HEAD_BYTES]) -> Result<Head, String> {
        let read = parse(head).ok_or_else(|| format!("piece {} is not sealed", self.number))?;
        let number = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let down = head[17] == 1;
        if read.stream != self.stream || number != self.number || down != (self.direction == Direction::Down) {
            return Err(format!(
                "piece {number} of stream {} instead of piece {} of stream {}",
                read.stream, self.number, self.stream
            ));
        }
        self.number += 1;
        Ok(read)
    }

    /// Checks the rest of the piece whose head was read.
    pub(crate) fn read_rest(&mut self, rest: &[u8]) -> Result<(), String> {
        self.pattern.check(rest).map_err(|place| format!("byte {place} of the pattern is wrong"))
    }
}

/// What a head says, whoever's it is; `None`: it is none.
pub(crate) fn parse(head: &[u8; HEAD_BYTES]) -> Option<Head> {
    let (fields, sealed) = head.split_at(20);
    let length = usize::from(u16::from_be_bytes([fields[18], fields[19]]));
    let is_one = seal(fields) == *sealed && (HEAD_BYTES..=PIECE_BYTES_MAX).contains(&length);
    is_one.then(|| Head {
        stream: u32::from_be_bytes([fields[0], fields[1], fields[2], fields[3]]),
        sent_us: fields[8..16].iter().fold(0, |value, &byte| value << 8 | u64::from(byte)),
        last: fields[16] == 1,
        length,
    })
}

fn seal(fields: &[u8]) -> [u8; 8] {
    fields.iter().fold(0x5EA1, |value, &byte| mix(value ^ u64::from(byte))).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(place: &mut Place, last: bool) -> [u8; 64] {
        let mut piece = [0; 64];
        place.write(77, last, &mut piece);
        piece
    }

    fn read(place: &mut Place, piece: &[u8; 64]) -> Result<Head, String> {
        let (head, rest) = piece.split_first_chunk::<HEAD_BYTES>().unwrap();
        let head = place.read_head(head)?;
        place.read_rest(rest).map(|()| head)
    }

    #[test]
    fn pieces_arrive_as_they_were_sent() {
        let (mut sender, mut receiver) = (Place::new(5, Direction::Up), Place::new(5, Direction::Up));
        for last in [false, false, true] {
            let head = read(&mut receiver, &written(&mut sender, last)).unwrap();
            assert_eq!(head, Head { stream: 5, sent_us: 77, last, length: 64 });
        }
    }

    #[test]
    fn whatever_happens_to_a_piece_is_found() {
        let fresh = || Place::new(5, Direction::Up);
        let piece = written(&mut fresh(), false);
        for byte in 0..64 {
            let mut wrong = piece;
            wrong[byte] ^= 4;
            assert!(read(&mut fresh(), &wrong).is_err(), "byte {byte}");
        }
        let mut receiver = fresh();
        read(&mut receiver, &piece).unwrap();
        assert!(read(&mut receiver, &piece).is_err(), "repeated");
        let mut sender = fresh();
        let _lost = written(&mut sender, false);
        assert!(read(&mut fresh(), &written(&mut sender, false)).is_err(), "lost");
        assert!(read(&mut Place::new(6, Direction::Up), &piece).is_err(), "another's");
        assert!(read(&mut Place::new(5, Direction::Down), &piece).is_err(), "the other way");
    }
}
