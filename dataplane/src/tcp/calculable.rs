//! The part of a connection's record that is never sent (Figure 7, 703): each field with what it is rebuilt as.
//!
//! Departures from the figure: what is behind "send unacknowledged" and in the stream counts as possibly sent
//! (`snd_max`), and is sent again from "send unacknowledged" on; the congestion window and the timeout are those of a
//! new connection.

use super::config::Config;
use super::congestion::Congestion;
use super::options::TIMESTAMPS_LEN;
use super::ranges::Ranges;
use super::recovery::Recovery;
use super::rtt::Rtt;
use super::seq::{Pos, Seq};
use super::state::{Essential, Initial};
use super::timers::Timers;

/// Islands of data out of order that are kept at most.
pub(super) const ISLANDS_MAX: usize = 8;

#[derive(Clone, Debug)]
pub(super) struct Calculable {
    /// = send unacknowledged.
    pub(super) snd_nxt: Pos,
    /// Behind the last position that may have been sent. = the end of what the stream holds.
    pub(super) snd_max: Pos,
    /// "Largest Window Offered by Peer" = the window known.
    pub(super) max_window: u32,
    /// The payload of a full segment, timestamps deducted. = as agreed.
    pub(super) mss: u16,
    pub(super) rtt: Rtt,
    pub(super) congestion: Congestion,
    pub(super) recovery: Recovery,
    /// "Sequence Number Being Timed" = none: the position whose acknowledgement ends the measurement, and its start.
    pub(super) timed: Option<(Pos, u64)>,
    /// Received out of order. = empty: the peer sends it again.
    pub(super) islands: Ranges<ISLANDS_MAX>,
    pub(super) newest_island: Pos,
    /// The peer's FIN, received out of order. = unknown.
    pub(super) fin_at: Option<Pos>,
    /// "Last Ack Sent Sequence Number" = what was committed at least.
    pub(super) last_ack_sent: Pos,
    /// "Timestamp Echo Data Update Time" = now.
    pub(super) ts_recent_at_ns: u64,
    /// What our clock is to be added to give TSval. = such that it is beyond anything that was sent.
    pub(super) ts_offset: u32,
    /// Echoes before this tell nothing of our own round trip.
    pub(super) ts_first: u32,
    /// "Force Output": an ACK at once, whatever is new. = yes.
    pub(super) ack_now: bool,
    /// An ACK as soon as something is committed that was not acknowledged.
    pub(super) ack_due: bool,
    /// Segments received since the last ACK.
    pub(super) unacked_segments: u8,
    /// "Probe Time" and the back-off of probes = none.
    pub(super) probe: bool,
    pub(super) probe_shift: u8,
    /// "TCP Keepalive Time" = now.
    pub(super) keepalive_probe: bool,
    pub(super) keepalive_probes: u8,
    /// "Inactivity Time" = 0.
    pub(super) heard_ns: u64,
    pub(super) sent_ns: u64,
    pub(super) timers: Timers,
    /// Challenge ACKs left in the second that began then (RFC 5961 section 7).
    pub(super) challenges: (u8, u64),
    /// A RST to send: its sequence number, and its acknowledgement if it has one.
    pub(super) reset: Option<(Seq, Option<Seq>)>,
}

impl Calculable {
    pub(super) fn new(config: &Config, initial: &Initial, essential: &Essential, ts_offset: u32, now_ns: u64) -> Self {
        let mss = segment_len(config.mss, initial);
        Self {
            snd_nxt: essential.snd_una,
            snd_max: essential.snd_una,
            max_window: essential.snd_wnd,
            mss,
            rtt: Rtt::default(),
            congestion: Congestion::new(mss),
            recovery: Recovery::new(),
            timed: None,
            islands: Ranges::new(),
            newest_island: 0,
            fin_at: None,
            last_ack_sent: essential.rcv_nxt,
            ts_recent_at_ns: now_ns,
            ts_offset,
            ts_first: ts_offset.wrapping_add(millis(now_ns)),
            ack_now: false,
            ack_due: false,
            unacked_segments: 0,
            probe: false,
            probe_shift: 0,
            keepalive_probe: false,
            keepalive_probes: 0,
            heard_ns: now_ns,
            sent_ns: now_ns,
            timers: Timers::new(),
            challenges: (0, 0),
            reset: None,
        }
    }
}

/// The payload of a full segment on a path that carries `path_mss`.
pub(super) fn segment_len(path_mss: u16, initial: &Initial) -> u16 {
    let options = if initial.timestamps { TIMESTAMPS_LEN as u16 } else { 0 };
    // A peer that names an absurd size gets segments that still make headway.
    path_mss.min(initial.peer_mss).max(MSS_MIN).saturating_sub(options)
}

/// Nothing smaller is believed of a peer or a path (Linux: 48).
pub(super) const MSS_MIN: u16 = 48;

/// The clock of timestamps: milliseconds, wrapping.
pub(super) fn millis(now_ns: u64) -> u32 {
    (now_ns / 1_000_000) as u32
}
