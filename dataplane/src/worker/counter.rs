//! Counters that one thread writes and any thread reads: plain loads and stores, no locked instruction per packet.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count with one writer. Two writers would lose counts, so each worker has its own.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning thread may.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Replaces the value; only the owning thread may.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The value, perhaps a moment old.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many octaves a [`Histogram`] covers: up to 2^36 ns, a minute.
const OCTAVES: usize = 36;
/// Buckets per octave: values are told apart to an eighth.
const STEPS: usize = 8;

/// A histogram of nanoseconds with one writer, allocated once: eight buckets to each doubling.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[Counter]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: (0..OCTAVES * STEPS).map(|_| Counter::default()).collect() }
    }
}

impl Histogram {
    /// Notes a value.
    #[inline]
    pub fn record(&self, ns: u64) {
        if let Some(bucket) = self.buckets.get(Self::bucket(ns)) {
            bucket.add(1);
        }
    }

    #[inline]
    fn bucket(ns: u64) -> usize {
        let ns = ns.max(STEPS as u64);
        let octave = ns.ilog2() as usize - 3;
        let step = (ns >> octave) as usize - STEPS;
        (octave * STEPS + step).min(OCTAVES * STEPS - 1)
    }

    fn value(bucket: usize) -> u64 {
        ((STEPS + bucket % STEPS) as u64) << (bucket / STEPS)
    }

    /// The non-empty buckets: each bucket's least value, and how often it was hit.
    pub fn snapshot(&self) -> Vec<(u64, u64)> {
        let counts = self.buckets.iter().enumerate().map(|(i, c)| (Self::value(i), c.get()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// The same as an `hdrhistogram`, for quantiles and reports. Not for the packet path: it allocates.
    pub fn to_hdr(&self) -> Option<hdrhistogram::Histogram<u64>> {
        let mut hdr = hdrhistogram::Histogram::new(2).ok()?;
        for (value, count) in self.snapshot() {
            hdr.record_n(value, count).ok()?;
        }
        Some(hdr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_within_an_eighth() {
        for ns in (8..100_000u64).chain([1 << 30, (1 << 38) - 1]) {
            let value = Histogram::value(Histogram::bucket(ns));
            assert!(value <= ns && ns - value <= value / 8, "{ns} is in the bucket of {value}");
        }
        assert_eq!(Histogram::bucket(u64::MAX), OCTAVES * STEPS - 1);
        let histogram = Histogram::default();
        histogram.record(0);
        histogram.record(1000);
        assert_eq!(histogram.snapshot(), [(8, 1), (960, 1)]);
        assert_eq!(histogram.to_hdr().expect("valid").len(), 2);
    }
}
