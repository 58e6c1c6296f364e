//! Retransmission timeout (RFC 6298): smoothed round trip, its variance, exponential back-off.

const MS: u64 = 1_000_000;
/// Before the first sample (RFC 6298 rule 2.1).
const INITIAL_NS: u64 = 1000 * MS;
/// Like Linux; the RFC's "SHOULD" of 1 s is older than delayed ACKs of 40 ms.
const MIN_NS: u64 = 200 * MS;
const MAX_NS: u64 = 60_000 * MS;
/// The clock's granularity G.
const GRANULARITY_NS: u64 = MS;
const SHIFT_MAX: u8 = 12;

/// The estimator. Rebuilt empty on restore, as Figure 7 has it: "Smoothed Round Trip Time = Initial Value".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Rtt {
    /// Smoothed round trip and variance, once there is a sample.
    smoothed_ns: Option<(u64, u64)>,
    shift: u8,
    /// The SYN timed out, so the first timeout of data is longer (RFC 6298 rule 5.7).
    slow_start: bool,
}

impl Rtt {
    /// The handshake is done.
    pub(super) fn begin_data(&mut self) {
        self.slow_start = self.shift > 0;
        self.shift = 0;
    }

    pub(super) fn sample(&mut self, sample_ns: u64) {
        let sample_ns = sample_ns.min(MAX_NS);
        self.smoothed_ns = Some(match self.smoothed_ns {
            None => (sample_ns, sample_ns / 2),
            Some((srtt, var)) => ((7 * srtt + sample_ns) / 8, (3 * var + srtt.abs_diff(sample_ns)) / 4),
        });
        self.shift = 0;
    }

    pub(super) fn smoothed_ns(&self) -> Option<u64> {
        self.smoothed_ns.map(|(srtt, _)| srtt)
    }

    /// The timeout, backed off.
    pub(super) fn timeout_ns(&self) -> u64 {
        let base = match self.smoothed_ns {
            None if self.slow_start => 3 * INITIAL_NS,
            None => INITIAL_NS,
            Some((srtt, var)) => (srtt + (4 * var).max(GRANULARITY_NS)).clamp(MIN_NS, MAX_NS),
        };
        (base << self.shift).min(MAX_NS)
    }

    /// Rule 5.5: each timeout doubles the next.
    pub(super) fn back_off(&mut self) {
        self.shift = (self.shift + 1).min(SHIFT_MAX);
    }

    /// Whether what is waited for was sent more than once.
    pub(super) fn is_backed_off(&self) -> bool {
        self.shift > 0
    }

    /// Something new was acknowledged.
    pub(super) fn forward(&mut self) {
        self.shift = 0;
    }
}
