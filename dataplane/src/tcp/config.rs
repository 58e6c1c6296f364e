//! What the owner of an endpoint may choose.

const MS: u64 = 1_000_000;
const S: u64 = 1000 * MS;

/// Keepalive probes (RFC 9293 section 3.8.4); off unless asked for (MUST-25).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle_ns: u64,
    /// Between probes.
    pub interval_ns: u64,
    /// Unanswered probes before the connection is given up.
    pub probes_max: u8,
}

impl Keepalive {
    /// Probes after so much silence; a peer that answers none of nine, 75 s apart or less, is gone.
    pub fn after(idle_ns: u64) -> Self {
        Self { idle_ns, interval_ns: idle_ns.min(75 * S), probes_max: 9 }
    }
}

impl Default for Keepalive {
    /// Two hours (MUST-28).
    fn default() -> Self {
        Self::after(7200 * S)
    }
}

/// Settings of an endpoint. The same for all endpoints of a relay's side; copied into each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// The largest payload of a segment without options that the link carries: its MTU less 40 (IPv4) or 60 (IPv6).
    pub mss: u16,
    /// The `limit` of the stream that receives: chooses the window scale.
    pub receive_limit_bytes: u32,
    /// Offer and accept window scaling.
    pub window_scaling: bool,
    /// Offer and accept timestamps.
    pub timestamps: bool,
    /// Offer and accept SACK.
    pub sack: bool,
    /// How long an ACK may wait for company; below 500 ms (MUST-40).
    pub delayed_ack_ns: u64,
    /// Keepalive, if wanted.
    pub keepalive: Option<Keepalive>,
    /// TIME-WAIT: twice the longest life of a segment.
    pub time_wait_ns: u64,
    /// Data unacknowledged for so long ends the connection (R2; at least 100 s).
    pub user_timeout_ns: u64,
    /// The same for the SYN (at least 3 minutes, MUST-23).
    pub syn_timeout_ns: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mss: 1460,
            receive_limit_bytes: 256 * 1024,
            window_scaling: true,
            timestamps: true,
            sack: true,
            delayed_ack_ns: 40 * MS,
            keepalive: None,
            time_wait_ns: 60 * S,
            user_timeout_ns: 900 * S,
            syn_timeout_ns: 180 * S,
        }
    }
}

impl Config {
    /// The shift that lets the window name all of the receive limit.
    pub(super) fn window_scale(&self) -> u8 {
        (0..super::options::WINDOW_SCALE_MAX).find(|shift| self.receive_limit_bytes >> shift <= 0xffff).unwrap_or(14)
    }
}
