//! Patent Figure 8F: a candidate asks to join.
//!
//! The candidate has proved who it is (mutual TLS, and its certificate is on the master's list): what remains is whether
//! it speaks our protocol, runs our configuration, and suits the apps. Those are asked, and until they have answered the
//! candidate hears "operation in progress".

use phalanx_dataplane::unit::MemberId;

use super::core::{Core, Member, Role, STEP_MAX};
use super::event::ClusterEvent;
use super::lead::Follower;
use super::message::{JoinAnswer, JoinRequest, Message, NakReason};
use super::output::{Output, To};
use super::settings::PROTOCOL_VERSION;
use super::time::Time;

impl Core {
    pub(super) fn handle_join_request(&mut self, now: Time, from: MemberId, request: JoinRequest) {
        self.note_candidate(from, &request);
        let Role::Lead(lead) = &mut self.role else {
            return self.answer_join(from, JoinAnswer::Nak(NakReason::NotMaster));
        };
        if lead.abdicating.is_some() {
            return self.answer_join(from, JoinAnswer::Nak(NakReason::NotMaster));
        }
        if let Some(member) = self.members.iter().find(|member| member.id == from).copied()
            && request.incarnation < member.incarnation
        {
            // It asked before it was let in. Either our ACK was lost (say it again) or this is a late copy.
            if lead.followers.get(&from).is_some_and(|follower| !follower.spoke) {
                let ack = JoinAnswer::Ack { reign: lead.reign, incarnation: member.incarnation };
                self.answer_join(from, ack);
            }
            return;
        }
        let refusal = if request.protocol != PROTOCOL_VERSION {
            Some(NakReason::ProtocolVersion)
        } else if request.config_digest != self.settings.config_digest {
            Some(NakReason::ConfigurationVersion)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.refuse(from, reason);
        }
        // It had the life that is listed, and asks for another: it has stopped all work, there is nothing to wait for.
        if lead.followers.contains_key(&from) {
            self.event(ClusterEvent::MemberLeft(from));
            self.members_gone(now, &[from], false);
        }
        let Role::Lead(lead) = &mut self.role else { return };
        let news = lead.candidates.insert(from, request.clone()).is_none();
        self.answer_join(from, JoinAnswer::Nak(NakReason::InProgress));
        if news {
            self.outputs.push_back(Output::AskApps(from, request));
        }
    }

    pub(super) fn handle_app_verdict(&mut self, now: Time, candidate: MemberId, verdict: Result<(), NakReason>) {
        let Role::Lead(lead) = &mut self.role else { return };
        let Some(request) = lead.candidates.remove(&candidate) else { return };
        match verdict {
            Ok(()) => self.admit(now, candidate, &request),
            Err(reason) => self.refuse(candidate, reason),
        }
    }

    fn admit(&mut self, now: Time, id: MemberId, request: &JoinRequest) {
        // The cluster's memory of incarnations is what its members carry: a newcomer gets one above all of them.
        let highest = self.members.iter().map(|member| member.incarnation).max().unwrap_or(0);
        let had = request.incarnation.min(highest.saturating_add(STEP_MAX));
        let incarnation = highest.max(had).saturating_add(1);
        self.hear_term(request.term);
        let Role::Lead(lead) = &mut self.role else { return };
        lead.followers.insert(id, Follower::new(0, now));
        lead.loading.balance_at = lead.loading.balance_at.min(now + self.settings.period.quarters(4 * 4));
        let reign = lead.reign;
        self.members.push(Member { id, incarnation });
        self.note_life(id);
        // Should it have lost its disk, it counts from the beginning again: a successor of ours echoes what we know.
        self.peers.entry(id).or_default().seq = 0;
        self.agree_on(id);
        self.outputs.push_back(Output::TellApps(id, true));
        self.set_probation(false);
        self.event(ClusterEvent::MemberJoined(id));
        self.answer_join(id, JoinAnswer::Ack { reign, incarnation });
        self.send_master_keepalive(now);
        self.beacon_soon(now);
        if request.incarnation > 0 || self.term_max > self.table.version.term.max(reign.term) {
            self.outdo_terms(now);
        } else {
            self.say_table(now);
        }
    }

    /// Publishes the table anew, under a term above all that were heard of: a member that comes out of another cluster holds a table
    /// of that, maybe of as late a reign as ours, and refuses what is said under an older one. Or its workers wait for that cluster's
    /// table and commit nothing before (`Outbox::fenced`): for generations, if its master came back without memory of the terms and counts
    /// them from the beginning. So a candidate says itself which terms it knows; its beacons may all have been lost.
    fn outdo_terms(&mut self, now: Time) {
        self.term_max = self.term_max.saturating_add(1);
        self.table.version.term = self.term_max;
        self.publish(now, self.table.clone());
    }

    fn refuse(&mut self, candidate: MemberId, reason: NakReason) {
        self.event(ClusterEvent::RefusedJoin(candidate, reason));
        self.answer_join(candidate, JoinAnswer::Nak(reason));
    }

    fn note_candidate(&mut self, from: MemberId, request: &JoinRequest) {
        self.peers.entry(from).or_default().contact = Some(request.contact.clone());
    }

    fn answer_join(&mut self, to: MemberId, answer: JoinAnswer) {
        if let Some(contact) = self.peers.get(&to).and_then(|peer| peer.contact.clone()) {
            self.send(To::Reliably(to, contact), Message::JoinAnswer(answer));
        }
    }
}
