//! Patent Figure 8E, and members that go of themselves: whoever goes leaves its units to those who stay, a master its role.

use phalanx_dataplane::unit::MemberId;

use super::core::{Core, Role};
use super::event::ClusterEvent;
use super::message::{Message, Reign};
use super::output::{Output, To};
use super::time::{Span, Time};

impl Core {
    /// Patent Figure 8E: whoever was silent for too long is dead, and its units are reassigned at once.
    pub(super) fn bury_the_dead(&mut self, now: Time) {
        let Role::Lead(lead) = &self.role else { return };
        let silence = if self.settings.two_owners() {
            self.settings.watch(1)
        } else {
            self.settings.give_away(lead.losses_high())
        };
        let dead: Vec<(MemberId, Span)> = lead
            .followers
            .iter()
            .filter(|(_, follower)| now.since(follower.fresh_at) >= silence)
            .map(|(id, follower)| (*id, now.since(follower.spoke_at)))
            .collect();
        if dead.is_empty() {
            return;
        }
        // Only those who are with us now count as left: the others may follow somebody else who counts them too.
        let watch = self.settings.watch(lead.losses_high());
        let gone: Vec<MemberId> = dead.iter().map(|(id, _)| *id).collect();
        let basis = lead.basis.without(&gone);
        if !self.quorum_is_none() && !basis.is_majority(|id| lead.is_with_us(id, now, watch)) {
            return;
        }
        if let Role::Lead(lead) = &mut self.role {
            lead.basis = basis;
        }
        for (id, silent) in &dead {
            self.event(ClusterEvent::MemberDead(*id, *silent));
        }
        self.members_gone(now, &gone, true);
    }

    /// Takes members off the list; their units go to those who are left.
    pub(super) fn members_gone(&mut self, now: Time, gone: &[MemberId], dead: bool) {
        self.members.retain(|member| !gone.contains(&member.id));
        let alone = self.members.len() == 1;
        let Role::Lead(lead) = &mut self.role else { return };
        for id in gone {
            lead.followers.remove(id);
            lead.unfit.remove(id);
            if let Some(gather) = &mut lead.gather {
                gather.remove(id);
            }
            self.outputs.push_back(Output::TellApps(*id, false));
        }
        if lead.abdicating.is_some_and(|to| gone.contains(&to)) {
            lead.abdicating = None;
        }
        let gathering = lead.gathering();
        if dead && alone {
            self.set_probation(true);
        }
        if !gathering {
            self.reassign_orphans(now, dead);
        }
        self.send_master_keepalive(now);
    }

    pub(super) fn handle_exit(&mut self, now: Time, from: MemberId, reign: Reign) {
        let Role::Lead(lead) = &mut self.role else { return };
        if lead.reign == reign && lead.followers.contains_key(&from) {
            lead.basis.leave(from);
            self.event(ClusterEvent::MemberLeft(from));
            self.members_gone(now, &[from], false);
        }
    }

    /// A master that leaves, or that the LAN does not reach, hands its role on once it owns nothing.
    pub(super) fn hand_on(&mut self) {
        let me = self.id();
        let Role::Lead(lead) = &mut self.role else { return };
        let wants = self.draining || lead.unfit.contains(&me);
        if !wants || lead.gathering() || lead.active.is_some() || self.table.units_of(me).next().is_some() {
            lead.abdicating = None;
            if self.draining && self.members.len() == 1 {
                self.leave();
            }
            return;
        }
        let fit = |id: &MemberId| lead.followers.get(id).is_some_and(|f| !f.draining) && !lead.unfit.contains(id);
        let successor = self.members.iter().map(|member| member.id).find(fit);
        let Some(successor) = successor else {
            if self.draining {
                self.leave();
            }
            return;
        };
        let news = lead.abdicating.replace(successor) != Some(successor);
        let reign = lead.reign;
        if news {
            self.event(ClusterEvent::Abdicated(successor));
        }
        self.send(To::All, Message::Abdicate(reign, successor));
    }
}
