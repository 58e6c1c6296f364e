//! Congestion control: slow start (RFC 5681, initial window of RFC 6928), CUBIC (RFC 9438).
//!
//! Windows are in bytes. Figure 7 rebuilds them on restore: "Congestion Control Window = Initial Value".

/// RFC 9438 section 4.6.
const BETA: f64 = 0.7;
/// RFC 9438 section 5.1, in segments per cubed second.
const C: f64 = 0.4;
const INITIAL_SEGMENTS: u32 = 10;
const CWND_MAX: u32 = 1 << 30;

/// The window.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Congestion {
    mss: u32,
    cwnd: u32,
    ssthresh: u32,
    /// The window at the last reduction, in segments.
    w_max: f64,
    /// What Reno would have by now, in segments.
    w_est: f64,
    epoch_ns: Option<u64>,
    /// Bytes acknowledged that have not yet grown the window.
    credit: f64,
}

impl Congestion {
    pub(super) fn new(mss: u16) -> Self {
        let mss = u32::from(mss).max(1);
        // RFC 6928: ten segments, but no more than 14600 bytes unless two segments are more.
        let cwnd = (INITIAL_SEGMENTS * mss).min((2 * mss).max(14_600));
        Self { mss, cwnd, ssthresh: u32::MAX, w_max: 0.0, w_est: 0.0, epoch_ns: None, credit: 0.0 }
    }

    pub(super) fn window(&self) -> u32 {
        self.cwnd
    }

    /// One segment to begin with.
    pub(super) fn begin_small(&mut self) {
        self.cwnd = self.mss;
    }

    /// The path carries only smaller segments.
    pub(super) fn set_mss(&mut self, mss: u16) {
        self.mss = u32::from(mss).max(1);
    }

    /// New data was acknowledged, and the window was in use.
    pub(super) fn acknowledged(&mut self, now_ns: u64, bytes: u32, srtt_ns: u64) {
        if self.cwnd < self.ssthresh {
            // RFC 5681 equation 2, with RFC 3465's limit of two segments an ACK.
            self.cwnd = (self.cwnd + bytes.min(2 * self.mss)).min(CWND_MAX);
            return;
        }
        let mss = f64::from(self.mss);
        let segments = f64::from(self.cwnd) / mss;
        let acked = f64::from(bytes) / mss;
        let epoch_ns = *self.epoch_ns.get_or_insert_with(|| {
            self.w_est = segments;
            self.w_max = self.w_max.max(segments);
            now_ns
        });
        let k = ((self.w_max * (1.0 - BETA)) / C).cbrt();
        let t = now_ns.saturating_sub(epoch_ns).saturating_add(srtt_ns) as f64 / 1e9;
        let target = (C * (t - k).powi(3) + self.w_max).clamp(segments, segments * 1.5);
        let alpha = if self.w_est < self.w_max { 3.0 * (1.0 - BETA) / (1.0 + BETA) } else { 1.0 };
        self.w_est += alpha * acked / segments;
        self.credit += if target < self.w_est {
            ((self.w_est - segments) * mss).max(0.0)
        } else {
            (target - segments) / segments * acked * mss
        };
        let whole = self.credit.min(f64::from(CWND_MAX));
        self.cwnd = self.cwnd.saturating_add(whole as u32).min(CWND_MAX);
        self.credit -= whole.floor();
    }

    /// A loss was found by duplicate ACKs or SACK: multiplicative decrease.
    pub(super) fn lost(&mut self, flight: u32) {
        self.reduce(flight);
        self.cwnd = self.ssthresh;
    }

    /// The retransmission timer went off: one segment (RFC 5681 section 3.1). `first`: not yet for this segment.
    pub(super) fn timed_out(&mut self, flight: u32, first: bool) {
        if first {
            self.reduce(flight);
        }
        self.cwnd = self.mss;
    }

    /// Nothing was sent for longer than a timeout: the old window says nothing any more (RFC 5681 section 4.1).
    pub(super) fn rested(&mut self) {
        let restart = Self::new(self.mss as u16).cwnd;
        self.cwnd = self.cwnd.min(restart);
        self.epoch_ns = None;
    }

    fn reduce(&mut self, flight: u32) {
        let segments = f64::from(self.cwnd) / f64::from(self.mss);
        // Fast convergence: a window smaller than the last one makes room for others.
        self.w_max = if segments < self.w_max { segments * (1.0 + BETA) / 2.0 } else { segments };
        self.ssthresh = ((f64::from(flight) * BETA) as u32).max(2 * self.mss);
        self.epoch_ns = None;
        self.credit = 0.0;
    }
}
