//! The states of RFC 9293 section 3.3.2 as a table, and the record of a connection in the three parts of the patent's
//! Figure 7.
//!
//! | Figure 7 | here |
//! | --- | --- |
//! | 702 initial: addresses, ports, MSS, option sizes | [`Initial`]; and what the handshake fixes for good: both initial sequence numbers, window scales, timestamps, SACK (the figure has the flags and scales among the essential ones, though they never change) |
//! | 701 essential: sequence numbers, windows, WL1, WL2, recent timestamp | [`Essential`]; and the state itself (the figure assumes ESTABLISHED), and our own clock's reading |
//! | 703 calculable | `Calculable` in `calculable.rs` |
//!
//! LISTEN is not a state of an endpoint: who listens makes one for each SYN.

use super::flow::Flow;
use super::seq::{Pos, Seq};

/// A connection's state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// We asked for a connection.
    SynSent,
    /// Both asked, or the peer did; our SYN is not acknowledged yet.
    SynReceived,
    /// Data flows.
    Established,
    /// We sent FIN.
    FinWait1,
    /// Our FIN is acknowledged.
    FinWait2,
    /// The peer sent FIN.
    CloseWait,
    /// Both sent FIN at once.
    Closing,
    /// The peer sent FIN, then we did.
    LastAck,
    /// Over; old segments may still come.
    TimeWait,
    /// Over.
    Closed,
}

/// What moves a connection from one state to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// A SYN without ACK, in answer to ours.
    Syn,
    /// Our SYN is acknowledged (with the peer's SYN, if that was still missing).
    SynAcked,
    /// We sent FIN.
    FinSent,
    /// Our FIN is acknowledged.
    FinAcked,
    /// The peer's FIN came, in order.
    FinReceived,
    /// TIME-WAIT is over.
    Expired,
    /// RST, abort, or a timeout.
    Aborted,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
        Self::Closed,
    ];

    /// RFC 9293 figure 5. `None`: the event means nothing in this state.
    pub const fn after(self, event: Event) -> Option<Self> {
        use Event as E;
        match (self, event) {
            (Self::Closed, _) => None,
            (_, E::Aborted) => Some(Self::Closed),
            (Self::SynSent, E::Syn) => Some(Self::SynReceived),
            (Self::SynSent | Self::SynReceived, E::SynAcked) => Some(Self::Established),
            (Self::Established, E::FinSent) => Some(Self::FinWait1),
            (Self::Established, E::FinReceived) => Some(Self::CloseWait),
            (Self::FinWait1, E::FinAcked) => Some(Self::FinWait2),
            (Self::FinWait1, E::FinReceived) => Some(Self::Closing),
            (Self::FinWait2, E::FinReceived) => Some(Self::TimeWait),
            (Self::CloseWait, E::FinSent) => Some(Self::LastAck),
            (Self::Closing, E::FinAcked) => Some(Self::TimeWait),
            (Self::LastAck, E::FinAcked) => Some(Self::Closed),
            (Self::TimeWait, E::Expired) => Some(Self::Closed),
            _ => None,
        }
    }

    /// Whether the handshake is done and the connection not over.
    pub const fn is_synchronized(self) -> bool {
        !matches!(self, Self::SynSent | Self::SynReceived | Self::Closed)
    }

    /// Whether the peer may still send data.
    pub const fn receives(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }

    /// Whether we have bytes or a FIN to send, or to send again.
    pub const fn sends(self) -> bool {
        matches!(self, Self::Established | Self::CloseWait | Self::FinWait1 | Self::Closing | Self::LastAck)
    }
}

/// Fixed by the handshake; replicated once (twice where we connected: with the SYN, and with the SYN's answer).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Initial {
    pub(super) flow: Flow,
    /// Our initial sequence number.
    pub(super) iss: Seq,
    /// The peer's.
    pub(super) irs: Seq,
    /// The offset in `tx` of our first byte.
    pub(super) tx_base: u64,
    /// The offset in `rx` of the peer's first byte.
    pub(super) rx_base: u64,
    /// The largest segment that the peer takes.
    pub(super) peer_mss: u16,
    /// Shift of the windows that the peer names.
    pub(super) snd_scale: u8,
    /// Shift of the windows that we name.
    pub(super) rcv_scale: u8,
    pub(super) window_scaling: bool,
    pub(super) timestamps: bool,
    pub(super) sack: bool,
}

/// What moves, and cannot be found out again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Essential {
    pub(super) state: State,
    /// The first position that the peer has not acknowledged. (Figure 7 keeps "send next" instead, and would lose
    /// what is in flight.)
    pub(super) snd_una: Pos,
    pub(super) snd_wnd: u32,
    /// Sequence and acknowledgement of the last window update.
    pub(super) wl1: Pos,
    pub(super) wl2: Pos,
    pub(super) rcv_nxt: Pos,
    /// The right edge of the window that the peer was told.
    pub(super) right_edge: Pos,
    /// The peer's timestamp to echo.
    pub(super) ts_recent: u32,
}

impl Initial {
    /// The offset in `tx` of a position of ours.
    pub(super) fn tx_offset(&self, pos: Pos) -> u64 {
        self.tx_base.saturating_add((pos - 1).max(0) as u64)
    }

    /// The position of an offset in `tx`.
    pub(super) fn tx_pos(&self, offset: u64) -> Pos {
        1 + offset.saturating_sub(self.tx_base) as Pos
    }

    /// The offset in `rx` of a position of the peer's.
    pub(super) fn rx_offset(&self, pos: Pos) -> u64 {
        self.rx_base.saturating_add((pos - 1).max(0) as u64)
    }

    /// The position of an offset in `rx`.
    pub(super) fn rx_pos(&self, offset: u64) -> Pos {
        1 + offset.saturating_sub(self.rx_base) as Pos
    }
}
