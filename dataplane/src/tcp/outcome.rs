//! What became of a segment or a timeout.

/// Why a segment, or what it carried, was not accepted. Each is to be counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refused {
    /// There is no connection (any more).
    Closed,
    /// The timestamp is older than one already seen (PAWS, RFC 7323 section 5).
    OldTimestamp,
    /// Timestamps were agreed on, and there is none.
    NoTimestamp,
    /// Out of the window.
    OutOfWindow,
    /// A RST that does not hit the next octet: answered by a challenge ACK (RFC 5961 section 3).
    ForgedReset,
    /// A SYN on a connection: answered by a challenge ACK (RFC 5961 section 4).
    StraySyn,
    /// It acknowledges what was never sent, or what is long past (RFC 5961 section 5).
    BadAck,
    /// No ACK where there must be one.
    NoAck,
    /// In window, but there is no memory for it now.
    NoMemory,
    /// Data after the peer's own FIN.
    AfterFin,
}

/// What happened, as flags; more than one may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    flags: u16,
    refused: Option<Refused>,
}

macro_rules! flags {
    ($($bit:literal $name:ident $set:ident $(#[$doc:meta])*;)*) => {
        impl Outcome {
            $($(#[$doc])* pub const fn $name(&self) -> bool { self.flags & (1 << $bit) != 0 }
              pub(super) const fn $set(&mut self) { self.flags |= 1 << $bit; })*
        }
    };
}

flags! {
    0 received set_received
        /// Bytes were appended to `rx`: replicate them, then `commit_to`.
    ;
    1 acknowledged set_acknowledged
        /// Bytes of `tx` were acknowledged, and trimmed.
    ;
    2 fin_received set_fin_received
        /// `rx` has ended: replicate its end.
    ;
    3 established set_established
        /// The handshake is done.
    ;
    4 closed set_closed
        /// The connection is over; `poll_transmit` may still have a RST to send.
    ;
    5 reset set_reset
        /// By the peer's RST.
    ;
    6 timed_out set_timed_out
        /// By the user timeout, or unanswered keepalives.
    ;
    7 initial_changed set_initial_changed
        /// The Initial record is another one now: replicate it, then `confirm`. Nothing is sent before.
    ;
    8 fin_acknowledged set_fin_acknowledged
        /// The peer has acknowledged our FIN.
    ;
    9 window_opened set_window_opened
        /// The peer takes data again.
    ;
}

impl Outcome {
    /// Why it was not accepted, if it wasn't.
    pub const fn refused(&self) -> Option<Refused> {
        self.refused
    }

    pub(super) const fn refuse(&mut self, why: Refused) {
        self.refused = Some(why);
    }
}

/// How far the Essential record has moved since it was last taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Change {
    /// Not at all.
    #[default]
    None,
    /// Windows, timestamps: a stale record costs a successor a round trip, so replicate it now and then (100 ms).
    Moved,
    /// The state: replicate it now.
    State,
}
