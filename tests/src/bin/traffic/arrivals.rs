//! What arrived of the streams at one end: how much in each hundredth of a second, and each piece that came late.

use serde_json::{Value, json};

/// Pieces that take longer than this from hand to hand are late. Through an undisturbed lab they take about a millisecond.
const LATE_US: u64 = 30_000;
const BIN_US: u64 = 10_000;

/// One end's record of all streams' pieces.
#[derive(Default)]
pub(crate) struct Arrivals {
    pieces: u64,
    bytes: u64,
    /// The first bin's beginning, as the machine counts.
    first_us: Option<u64>,
    bins: Vec<u32>,
    late: Vec<(u32, u64, u64)>,
}

impl Arrivals {
    /// A piece of a stream has arrived whole.
    pub(crate) fn add(&mut self, stream: u32, sent_us: u64, arrived_us: u64, bytes: usize) {
        self.pieces += 1;
        self.bytes += bytes as u64;
        let first_us = *self.first_us.get_or_insert(arrived_us / BIN_US * BIN_US);
        let bin = (arrived_us.saturating_sub(first_us) / BIN_US) as usize;
        if bin >= self.bins.len() {
            self.bins.resize(bin + 1, 0);
        }
        self.bins[bin] += bytes as u32;
        if arrived_us.saturating_sub(sent_us) > LATE_US {
            self.late.push((stream, sent_us, arrived_us));
        }
    }

    /// Bytes in all.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// For the report; `late` has stream, when sent, when arrived.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "pieces": self.pieces, "bytes": self.bytes, "late_us": LATE_US, "late": self.late,
            "bins": {"first_us": self.first_us, "each_us": BIN_US, "bytes": self.bins},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_binned_and_late_ones_named() {
        let mut arrivals = Arrivals::default();
        arrivals.add(1, 1_000_000, 1_001_000, 100);
        arrivals.add(2, 1_000_000, 1_031_000, 50);
        let value = arrivals.to_json();
        assert_eq!(value["bins"]["bytes"], json!([100, 0, 0, 50]));
        assert_eq!(value["bins"]["first_us"], 1_000_000);
        assert_eq!(value["late"], json!([[2, 1_000_000, 1_031_000]]));
        assert_eq!(arrivals.bytes(), 150);
    }
}
