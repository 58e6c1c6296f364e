//! A peer that is behind what a takeover skipped.
//!
//! An heir refuses all numbers below the old owner's limit, for the old one may have let them in ([`super::pace`]). A peer that sends much
//! comes past them at once. One that waits for answers may not for minutes: TCP that has lost a whole flight sends one packet, waits for
//! an answer, waits twice as long, sends one more, and each is refused.
//!
//! ```text
//!  the old owner let in ... │ may have let in: refused │ let in
//!  ─────────────────────────┴──x────x─────────x────────┴──────────▶ numbers
//!                          RTO: 0.2  0.4       0.8 s     ...
//! ```
//! Nothing that an heir could know tells a packet of these from its replay, and no message of ESP's has a peer count faster. So who is
//! heard there, proved by its ICV, and a moment later not above, is given new keys, whose numbers begin with one: IKE is asked, as at the
//! end of a life ([`super::life`]). Whoever plays old packets at us can bring that about once for each takeover, and no more.
//!
//! Tunnels of the configuration have no IKE: theirs have to come past.

use super::tunnel::Tunnel;

/// A peer that sends on comes past a lease in three times [`super::pace`]'s 20 ms: until the next look, it has had that time.
const PATIENCE_NS: u64 = 100_000_000;

/// Since when a peer was heard of whose numbers were skipped; see the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Behind {
    since_ns: Option<u64>,
}

impl Tunnel {
    /// Whether a packet that is refused for its number may show that the peer is behind: none was let in since this owner began.
    pub(super) const fn may_be_behind(&self) -> bool {
        self.window.is_untouched() && !self.spent
    }

    /// A packet of the peer's was refused for its number, and is true.
    pub(super) fn note_behind(&mut self, now_ns: u64) {
        self.behind.since_ns.get_or_insert(now_ns);
    }

    /// Whether it was behind when it was last heard.
    pub(super) const fn was_behind(&self) -> bool {
        self.behind.since_ns.is_some() && self.may_be_behind()
    }

    /// Whether it has been for so long that it does not come past by itself.
    pub(super) fn is_behind(&self, now_ns: u64) -> bool {
        let since_ns = self.behind.since_ns.filter(|_| self.may_be_behind());
        since_ns.is_some_and(|since_ns| now_ns >= since_ns.saturating_add(PATIENCE_NS))
    }
}
