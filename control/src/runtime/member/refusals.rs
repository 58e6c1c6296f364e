//! How often a refused candidate is spoken of.
//!
//! It asks again each second until its operator does something. The log, and the events that the status remembers, have
//! room for better: each member and reason is said once, and once a minute while it lasts.

use std::collections::BTreeMap;

use phalanx_dataplane::unit::MemberId;

use crate::cluster::NakReason;
use crate::limited::Limited;

/// The limits: at most one for each of 32 members and 8 reasons.
#[derive(Default)]
pub(super) struct Refusals {
    joins: BTreeMap<(MemberId, u8), Limited>,
    apps: BTreeMap<MemberId, Limited>,
}

impl Refusals {
    /// Whether a refused join may be said; if so, how many were not since the last time.
    pub(super) fn join(&mut self, candidate: MemberId, reason: NakReason, now_ns: u64) -> Option<u64> {
        self.joins.entry((candidate, reason as u8)).or_insert_with(Limited::rare).take(now_ns)
    }

    /// The same for what an app said.
    pub(super) fn app(&mut self, candidate: MemberId, now_ns: u64) -> Option<u64> {
        self.apps.entry(candidate).or_insert_with(Limited::rare).take(now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn each_member_and_reason_is_said_once_a_minute() {
        let mut refusals = Refusals::default();
        let (two, three) = (MemberId::new(2).unwrap(), MemberId::new(3).unwrap());
        let mut said = Vec::new();
        for second in 0..121 {
            for (member, reason) in [(two, NakReason::ConfigurationVersion), (three, NakReason::AppRefusal)] {
                if let Some(left_out) = refusals.join(member, reason, second * SECOND_NS) {
                    said.push((second, member.number(), left_out));
                }
            }
        }
        assert_eq!(said, [(0, 2, 0), (0, 3, 0), (60, 2, 59), (60, 3, 59), (120, 2, 59), (120, 3, 59)]);
        // Another reason is news.
        assert_eq!(refusals.join(two, NakReason::ProtocolVersion, 121 * SECOND_NS), Some(0));
        assert_eq!(refusals.app(three, SECOND_NS), Some(0));
        assert_eq!(refusals.app(three, 2 * SECOND_NS), None);
    }
}
