//! What is heard of others: each message goes to the part of the core that it concerns, and what it shows of its sender is noted.

use phalanx_dataplane::unit::MemberId;

use super::core::{Core, Path, Peer, Role, STEP_MAX};
use super::event::RejoinReason;
use super::message::{JoinAnswer, Listed, Message};
use super::settings::Contact;
use super::time::{Span, Time};

impl Core {
    /// Does what is to be done about a message of a member, be it this one itself.
    pub(super) fn dispatch(&mut self, now: Time, from: MemberId, message: Message) {
        match message {
            Message::Beacon(beacon) => self.handle_beacon(now, from, beacon),
            Message::MasterKeepalive(keepalive) => {
                if keepalive.reign.master != from || !plausible(&keepalive.members, from) {
                    return;
                }
                if !self.hear_term(keepalive.reign.term) {
                    return;
                }
                self.hear_term(keepalive.version.term);
                self.note_contact(from, &keepalive.contact);
                match self.role {
                    Role::Search(_) => self.consider_master(now, from),
                    Role::Follow(_) => self.follow_hears_master(now, &keepalive),
                    Role::Lead(_) => self.lead_hears_master(now, &keepalive),
                    Role::Left => {}
                }
            }
            Message::MemberKeepalive(keepalive) => {
                self.hear_term(keepalive.reign.term.max(keepalive.holds.term));
                self.note_contact(from, &keepalive.contact);
                self.note_seq(from, keepalive.seq);
                match self.role {
                    Role::Follow(_) => self.follow_hears_member(now, from, &keepalive),
                    Role::Lead(_) => self.lead_hears_member(now, from, &keepalive),
                    Role::Search(_) | Role::Left => {}
                }
            }
            Message::TableChunk(chunk) => {
                self.hear_term(chunk.version.term);
                self.handle_chunk(now, from, chunk);
            }
            Message::TableRequest(reign) => self.answer_table_request(from, reign),
            Message::Loads(loads) => self.take_loads(now, from, &loads),
            Message::Move(reign, step) => self.handle_move(now, from, reign, step),
            Message::InSync(report) => self.hear_in_sync(from, report),
            Message::InSyncKnown(known) => self.handle_in_sync_known(from, known),
            Message::OtherMasterExists(reign) => self.handle_other_master(now, from, reign),
            Message::ExitRequest(reign) => {
                if self.reign() == Some(reign) && from == reign.master {
                    self.rejoin(now, RejoinReason::ExitRequest, Some(from));
                }
            }
            Message::Exit(reign) => self.handle_exit(now, from, reign),
            Message::Abdicate(reign, to) => self.handle_abdication(now, from, reign, to),
            Message::JoinRequest(request) => self.handle_join_request(now, from, request),
            Message::JoinAnswer(answer) => self.handle_join_answer(now, from, answer),
        }
    }

    fn handle_join_answer(&mut self, now: Time, from: MemberId, answer: JoinAnswer) {
        if matches!(&self.role, Role::Search(search) if search.asks(from)) {
            match answer {
                JoinAnswer::Nak(reason) => self.join_refused(now, reason),
                JoinAnswer::Ack { reign, incarnation } if reign.master == from => {
                    self.start_follow(now, reign, incarnation);
                }
                JoinAnswer::Ack { .. } => {}
            }
        }
    }

    /// Notes that a member lives, and which way it is heard.
    pub(super) fn note_heard(&mut self, now: Time, from: MemberId, path: Path) {
        let peer = self.peers.entry(from).or_default();
        peer.heard_at = peer.heard_at.max(now);
        if let Path::Port(port) = path
            && let Some(heard) = peer.ports.get_mut(usize::from(port))
        {
            *heard = Some(now);
        }
    }

    pub(super) fn note_contact(&mut self, from: MemberId, contact: &Contact) {
        let peer = self.peers.entry(from).or_default();
        if peer.contact.as_ref() != Some(contact) {
            peer.contact = Some(contact.clone());
        }
    }

    fn note_seq(&mut self, from: MemberId, seq: u64) {
        let peer = self.peers.entry(from).or_default();
        peer.seq = peer.seq.max(seq);
    }

    /// On which of this member's data ports it lately heard whom.
    pub(super) fn hears(&self, now: Time, within: Span) -> Vec<(MemberId, u8)> {
        let bits = |peer: &Peer| {
            let lately = |heard: &Option<Time>| heard.is_some_and(|at| now.since(at) < within);
            peer.ports
                .iter()
                .enumerate()
                .filter(|(_, heard)| lately(heard))
                .fold(0_u8, |bits, (port, _)| bits | 1 << port)
        };
        self.peers.iter().map(|(id, peer)| (*id, bits(peer))).filter(|(_, bits)| *bits != 0).collect()
    }

    /// Takes note of a term, however high in steps; false until it has been reached. Whoever has a table may refuse by it what our
    /// workers tell, so the terms of all that anybody says to have count, whomever it follows.
    pub(super) fn hear_term(&mut self, term: u64) -> bool {
        self.term_max = self.term_max.max(term.min(self.term_max.saturating_add(STEP_MAX)));
        term <= self.term_max
    }
}

/// A master's list that makes sense: it begins with the master and names nobody twice.
fn plausible(members: &[Listed], master: MemberId) -> bool {
    members.first().is_some_and(|first| first.id == master)
        && members.iter().enumerate().all(|(i, member)| members[..i].iter().all(|other| other.id != member.id))
}
