//! Patent Figure 6: finding the cluster, or founding it.
//!
//! | state | event | next |
//! | --- | --- | --- |
//! | Listening | a master is heard | Joining |
//! | Listening | nothing for `offer_wait` | Offering |
//! | Offering | a master is heard, "other master exists" | Joining |
//! | Offering | a lower address offers too | Listening |
//! | Offering | no answer for `offer_wait` | master |
//! | Joining | ACK | member |
//! | Joining | NAK "operation in progress" | Joining |
//! | Joining | other NAK | Refused, then Listening |
//! | Joining | no answer at all | Listening; that master is deaf and disregarded for a while |
//!
//! The last line is not in the patent: a master that is heard but does not hear us would otherwise keep us waiting for
//! ever, and with us everybody else who cannot reach it.

use phalanx_dataplane::unit::MemberId;

use super::core::{Core, Role};
use super::event::{ClusterEvent, RejoinReason};
use super::message::{BeaconKind, JoinRequest, Message, NakReason, Reign};
use super::output::To;
use super::settings::{Contact, PROTOCOL_VERSION, Settings};
use super::time::{Span, Time};

/// How long a join request may stay without any answer.
const JOIN_WAIT: Span = Span::from_ms(500);
/// How long a deaf master is disregarded.
const DEAF_FOR: Span = Span::from_ms(2000);
/// How long a refused candidate waits before it asks again.
const REFUSED_WAIT: Span = Span::from_ms(1000);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Stage {
    Listening { since: Time },
    Offering { since: Time },
    Joining { master: MemberId, since: Time, asked_at: Time },
    Refused { until: Time },
}

/// The state of a member without a cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Search {
    stage: Stage,
    /// The last refusal, so that it is logged once and not each second.
    refusal: Option<NakReason>,
}

impl Search {
    pub(super) fn asks(&self, master: MemberId) -> bool {
        matches!(self.stage, Stage::Joining { master: asked, .. } if asked == master)
    }

    pub(super) fn is_joining(&self) -> bool {
        matches!(self.stage, Stage::Joining { .. })
    }

    pub(super) fn offers(&self) -> bool {
        matches!(self.stage, Stage::Offering { .. })
    }

    pub(super) fn deadlines(&self, settings: &Settings) -> Option<(Time, &'static str)> {
        Some(match self.stage {
            Stage::Listening { since } => (since + settings.offer_wait(), "no master heard"),
            Stage::Offering { since } => (since + settings.offer_wait(), "offer unanswered"),
            Stage::Joining { since, asked_at, .. } => {
                ((asked_at + settings.retry()).min(since + JOIN_WAIT), "join unanswered")
            }
            Stage::Refused { until } => (until, "refused candidate asks again"),
        })
    }
}

impl Core {
    /// Stops all work and looks for a master.
    pub(super) fn start_search(&mut self, now: Time, toward: Option<MemberId>) {
        self.stop_work(now);
        let refusal = if let Role::Search(search) = &self.role { search.refusal } else { None };
        self.role = Role::Search(Search { stage: Stage::Listening { since: now }, refusal });
        self.refresh_view();
        if self.draining {
            return self.leave();
        }
        self.event(ClusterEvent::Searching);
        self.beacon_now(now);
        if let Some(master) = toward {
            self.ask_to_join(now, master);
        }
    }

    pub(super) fn search_timeout(&mut self, now: Time) {
        self.deaf.retain(|_, until| *until > now);
        let Role::Search(search) = &mut self.role else { return };
        let offer_wait = self.settings.offer_wait();
        match search.stage {
            Stage::Listening { since } if now >= since + offer_wait => {
                search.stage = Stage::Offering { since: now };
                self.event(ClusterEvent::Offering);
                self.beacon_now(now);
            }
            Stage::Offering { since } if now >= since + offer_wait => self.found_cluster(now),
            Stage::Joining { master, since, .. } if now >= since + JOIN_WAIT => {
                search.stage = Stage::Listening { since: now };
                self.deaf.insert(master, now + DEAF_FOR);
            }
            Stage::Joining { master, asked_at, .. } if now >= asked_at + self.settings.retry() => {
                self.request_join(now, master);
            }
            Stage::Refused { until } if now >= until => search.stage = Stage::Listening { since: now },
            _ => {}
        }
    }

    pub(super) fn search_hears_beacon(&mut self, now: Time, from: MemberId, kind: BeaconKind, contact: &Contact) {
        match kind {
            BeaconKind::Master => self.consider_master(now, from),
            BeaconKind::Offer => {
                let lower = contact.address < self.settings.contact.address;
                let Role::Search(search) = &mut self.role else { return };
                match search.stage {
                    Stage::Offering { .. } if !lower => self.beacon_now(now),
                    Stage::Offering { .. } | Stage::Listening { .. } => {
                        search.stage = Stage::Listening { since: now };
                    }
                    Stage::Joining { .. } | Stage::Refused { .. } => {}
                }
            }
            BeaconKind::Seek | BeaconKind::Member => {}
        }
    }

    /// "Other master exists" (patent Figures 6 and 8A): proof that this master hears us.
    pub(super) fn handle_other_master(&mut self, now: Time, from: MemberId, reign: Reign) {
        if reign.master != from {
            return;
        }
        self.hear_term(reign.term);
        match &self.role {
            Role::Search(_) => {
                self.deaf.remove(&from);
                self.consider_master(now, from);
            }
            // A master yields to it as it would to that master's keepalive, which may not reach it.
            Role::Lead(lead) if reign.term > lead.reign.term && lead.followers.is_empty() => {
                self.rejoin(now, RejoinReason::TieLost, Some(from));
            }
            Role::Lead(_) | Role::Follow(_) | Role::Left => {}
        }
    }

    /// A master is heard: ask to join it, unless it is known not to hear us.
    pub(super) fn consider_master(&mut self, now: Time, master: MemberId) {
        let Role::Search(search) = &self.role else { return };
        let free = matches!(search.stage, Stage::Listening { .. } | Stage::Offering { .. });
        if free && self.deaf.get(&master).is_none_or(|until| *until <= now) {
            self.ask_to_join(now, master);
        }
    }

    fn ask_to_join(&mut self, now: Time, master: MemberId) {
        let Role::Search(search) = &mut self.role else { return };
        search.stage = Stage::Joining { master, since: now, asked_at: now };
        self.request_join(now, master);
    }

    fn request_join(&mut self, now: Time, master: MemberId) {
        let Role::Search(search) = &mut self.role else { return };
        if let Stage::Joining { asked_at, .. } = &mut search.stage {
            *asked_at = now;
        }
        let Some(contact) = self.peers.get(&master).and_then(|peer| peer.contact.clone()) else { return };
        let request = JoinRequest {
            protocol: PROTOCOL_VERSION,
            config_digest: self.settings.config_digest,
            roles: self.settings.roles.clone(),
            incarnation: self.incarnation,
            contact: self.settings.contact.clone(),
            term: self.term_max,
        };
        self.send(To::Reliably(master, contact), Message::JoinRequest(request));
    }

    pub(super) fn join_refused(&mut self, now: Time, reason: NakReason) {
        let Role::Search(search) = &mut self.role else { return };
        match (reason, &mut search.stage) {
            (NakReason::InProgress, Stage::Joining { since, .. }) => *since = now,
            (NakReason::NotMaster, stage) => *stage = Stage::Listening { since: now },
            (reason, stage) => {
                *stage = Stage::Refused { until: now + REFUSED_WAIT };
                if search.refusal.replace(reason) != Some(reason) {
                    self.event(ClusterEvent::JoinRefused(reason));
                }
            }
        }
    }
}
