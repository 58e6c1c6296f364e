//! TCP options: maximum segment size (RFC 9293 section 3.7.1), window scale and timestamps (RFC 7323), SACK (RFC 2018).
//!
//! Parsing is total: an option with an absurd length ends the walk (MUST-7), unknown ones are skipped (MUST-6), and
//! what was read before counts.

use super::seq::Seq;
use crate::wire::bytes;

mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const MSS: u8 = 2;
    pub(super) const WINDOW_SCALE: u8 = 3;
    pub(super) const SACK_PERMITTED: u8 = 4;
    pub(super) const SACK: u8 = 5;
    pub(super) const TIMESTAMPS: u8 = 8;
}

/// Options take at most this many bytes of a header.
pub(super) const OPTIONS_LEN_MAX: usize = 40;
/// The timestamps option with its padding.
pub(super) const TIMESTAMPS_LEN: usize = 12;
/// The largest shift that counts (RFC 7323 section 2.3).
pub(super) const WINDOW_SCALE_MAX: u8 = 14;
/// SACK blocks in one segment at most.
pub(super) const SACK_BLOCKS_MAX: usize = 4;

/// The timestamps option.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Timestamps {
    /// The sender's clock: TSval.
    pub value: u32,
    /// The receiver's clock, echoed: TSecr.
    pub echo: u32,
}

/// Up to four SACK blocks, left and right edges.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SackBlocks {
    blocks: [(Seq, Seq); SACK_BLOCKS_MAX],
    len: u8,
}

impl SackBlocks {
    /// Adds a block if there is room.
    pub fn push(&mut self, left: Seq, right: Seq) {
        if let Some(place) = self.blocks.get_mut(usize::from(self.len)) {
            *place = (left, right);
            self.len += 1;
        }
    }

    /// The blocks, in the order of the segment.
    pub fn as_slice(&self) -> &[(Seq, Seq)] {
        self.blocks.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// Keeps the first `most` blocks.
    pub fn truncate(&mut self, most: usize) {
        self.len = self.len.min(most as u8);
    }
}

/// The options that this implementation knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Options {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale, at most [`WINDOW_SCALE_MAX`].
    pub window_scale: Option<u8>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// SACK blocks.
    pub sack: SackBlocks,
}

impl Options {
    /// Reads the bytes between header and payload.
    pub fn parse(mut data: &[u8]) -> Self {
        let mut options = Self::default();
        while let [kind, rest @ ..] = data {
            match *kind {
                kind::END => break,
                kind::NOP => data = rest,
                kind => {
                    let len = usize::from(bytes::u8_at(rest, 0));
                    // The length counts itself and the kind.
                    let (Some(body), Some(next)) = (data.get(2..len), data.get(len..)) else { break };
                    options.take(kind, body);
                    data = next;
                }
            }
        }
        options
    }

    fn take(&mut self, kind: u8, body: &[u8]) {
        match (kind, body.len()) {
            (kind::MSS, 2) => self.mss = Some(bytes::u16_at(body, 0)),
            (kind::WINDOW_SCALE, 1) => self.window_scale = Some(bytes::u8_at(body, 0).min(WINDOW_SCALE_MAX)),
            (kind::SACK_PERMITTED, 0) => self.sack_permitted = true,
            (kind::TIMESTAMPS, 8) => {
                self.timestamps = Some(Timestamps { value: bytes::u32_at(body, 0), echo: bytes::u32_at(body, 4) });
            }
            (kind::SACK, len) if len % 8 == 0 => {
                for block in body.as_chunks::<8>().0 {
                    self.sack.push(Seq(bytes::u32_at(block, 0)), Seq(bytes::u32_at(block, 4)));
                }
            }
            _ => {}
        }
    }

    /// The bytes that [`Self::emit`] writes: a multiple of four, at most [`OPTIONS_LEN_MAX`].
    pub fn buffer_len(&self) -> usize {
        let blocks = self.sack_room();
        self.fixed_len() + if blocks > 0 { 4 + 8 * blocks } else { 0 }
    }

    fn fixed_len(&self) -> usize {
        let timestamps = if self.timestamps.is_some() { TIMESTAMPS_LEN } else { 0 };
        let sack_permitted = if self.sack_permitted { 4 } else { 0 };
        let scale = if self.window_scale.is_some() { 4 } else { 0 };
        let mss = if self.mss.is_some() { 4 } else { 0 };
        mss + scale + sack_permitted + timestamps
    }

    /// How many SACK blocks fit beside the rest.
    fn sack_room(&self) -> usize {
        let room = OPTIONS_LEN_MAX.saturating_sub(self.fixed_len() + 4) / 8;
        self.sack.as_slice().len().min(room)
    }

    /// Writes the options, each padded in front to four bytes; returns their length. The buffer has `buffer_len`.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let mut at = 0;
        let mut word = |bytes: [u8; 4]| {
            bytes::put(buffer, at, bytes);
            at += 4;
        };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            word([kind::MSS, 4, high, low]);
        }
        if self.sack_permitted {
            word([kind::NOP, kind::NOP, kind::SACK_PERMITTED, 2]);
        }
        if let Some(timestamps) = self.timestamps {
            word([kind::NOP, kind::NOP, kind::TIMESTAMPS, 10]);
            word(timestamps.value.to_be_bytes());
            word(timestamps.echo.to_be_bytes());
        }
        if let Some(shift) = self.window_scale {
            word([kind::NOP, kind::WINDOW_SCALE, 3, shift]);
        }
        let blocks = self.sack_room();
        if blocks > 0 {
            word([kind::NOP, kind::NOP, kind::SACK, 2 + 8 * blocks as u8]);
            for (left, right) in self.sack.as_slice().iter().take(blocks) {
                word(left.0.to_be_bytes());
                word(right.0.to_be_bytes());
            }
        }
        at
    }
}
