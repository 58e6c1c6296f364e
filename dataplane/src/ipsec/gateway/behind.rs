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
//! heard there twice, proved by its ICV, with a higher number some time after the first, and never above, is given new keys, whose numbers
//! begin with one: IKE is asked, as at the end of a life ([`super::life`]). Whoever plays old packets at us can bring that about once for each
//! takeover, and no more.
//!
//! *Why twice*: what came in while the old owner died is looked at once more by its heir (`worker/recent`), and may have been let in before.
//! It comes all at once; what a peer still sends below the limit comes later.
//!
//! Tunnels of the configuration have no IKE: theirs have to come past.

use super::tunnel::Tunnel;

/// A peer that sends on comes past a lease in three times [`super::pace`]'s 20 ms. One that TCP makes wait says something 200 ms after it
/// lost all, and again 400 ms after that.
const PATIENCE_NS: u64 = 100_000_000;

/// What was heard of a peer whose numbers were skipped; see the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Behind {
    /// When it was heard first, and its highest number.
    heard: Option<(u64, u64)>,
    /// It was heard again.
    is_sure: bool,
}

impl Tunnel {
    /// Whether a packet that is refused for its number may show that the peer is behind: none was let in since this owner began.
    pub(super) const fn may_be_behind(&self) -> bool {
        self.window.is_untouched() && !self.spent
    }

    /// A packet of the peer's was refused for its number, and is true.
    pub(super) fn note_behind(&mut self, sequence: u64, now_ns: u64) {
        let Behind { heard, is_sure } = &mut self.behind;
        let (first_ns, highest) = heard.get_or_insert((now_ns, sequence));
        *is_sure |= sequence > *highest && now_ns >= first_ns.saturating_add(PATIENCE_NS);
        *highest = sequence.max(*highest);
    }

    /// Whether it does not come past by itself, as far as it has been heard. What is above the limit, and waits for a commit, has.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.is_sure && self.may_be_behind() && self.to_admit.is_empty()
    }
}
