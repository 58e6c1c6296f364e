//! Under `majority`: whose majority counts, and whether it follows this master.

use phalanx_dataplane::unit::MemberId;

use super::core::{Core, Role};
use super::event::ClusterEvent;
use super::time::{Span, Time};

impl Core {
    /// A newcomer is to be agreed on, from the next keepalive on.
    pub(super) fn agree_on(&mut self, newcomer: MemberId) {
        let seq = self.seq + 1;
        if let Role::Lead(lead) = &mut self.role {
            lead.basis.join(newcomer, lead.reign.term, seq);
        }
    }

    /// Looks whether the member list is agreed on by now.
    pub(super) fn agree(&mut self) {
        let Role::Lead(lead) = &mut self.role else { return };
        let (me, followers) = (lead.reign.master, &lead.followers);
        let heard = |id: MemberId| followers.get(&id).filter(|f| f.spoke).map_or(0, |f| f.heard);
        if lead.basis.acknowledge(|id| if id == me { u64::MAX } else { heard(id) }) {
            let agreed = lead.basis.agreed().to_vec();
            self.persist(agreed);
        }
    }

    /// Whether a majority follows, if that is asked for. True if it does again.
    pub(super) fn judge_quorum(&mut self, now: Time) -> bool {
        let (quorum_is_none, lapsed) = (self.quorum_is_none(), !self.lease_is_valid(now));
        let Role::Lead(lead) = &mut self.role else { return false };
        let watch = self.settings.watch(lead.losses_high());
        let majority = lead.basis.is_majority(|id| lead.is_with_us(id, now, watch));
        if majority && !lead.majority && lapsed {
            // That master may count on the one who came over for `watch` more, and its followers on their lease.
            lead.fenced_until = now + Span(watch.0 + self.settings.lease(lead.losses_high()).0);
        }
        lead.majority = majority;
        let quorate = quorum_is_none || majority && now >= lead.fenced_until;
        let changed = std::mem::replace(&mut lead.quorate, quorate) != quorate;
        if changed && quorate {
            self.announce_again(now);
        }
        if changed {
            self.event(ClusterEvent::Quorate(quorate));
        }
        changed && quorate
    }
}
