//! Beacons: how members that do not know each other, or not any more, are introduced.

use phalanx_dataplane::unit::MemberId;

use super::core::{Core, Role};
use super::message::{Beacon, BeaconKind, Message};
use super::output::To;
use super::time::{Span, Time};

impl Core {
    /// Introduces this member to whoever lacks its certificate: soon, but at most once a period.
    pub(super) fn beacon_soon(&mut self, now: Time) {
        if !self.beacon_due {
            self.beacon_due = true;
            self.beacon_at = self.beacon_at.min(now + self.settings.period);
        }
    }

    /// Sends the beacon that a new role owes its neighbours at once.
    pub(super) fn beacon_now(&mut self, now: Time) {
        self.beacon_at = now;
        self.beacon(now);
    }

    /// Sends one if it is time.
    pub(super) fn beacon(&mut self, now: Time) {
        if now < self.beacon_at {
            return;
        }
        let kind = match &self.role {
            Role::Search(search) if search.offers() => BeaconKind::Offer,
            Role::Search(_) => BeaconKind::Seek,
            Role::Follow(_) => BeaconKind::Member,
            Role::Lead(_) => BeaconKind::Master,
            Role::Left => return,
        };
        let pause = match kind {
            BeaconKind::Seek | BeaconKind::Offer => self.settings.retry(),
            BeaconKind::Master => Span::from_ms(250),
            BeaconKind::Member => Span::from_ms(1000),
        };
        self.beacon_due = false;
        self.beacon_at = now + pause;
        let contact = self.settings.contact.clone();
        self.send(To::Strangers, Message::Beacon(Beacon { kind, term: self.term_max, contact }));
    }

    /// A beacon: introduces its sender; a seeker or offerer is answered.
    pub(super) fn handle_beacon(&mut self, now: Time, from: MemberId, beacon: Beacon) {
        self.hear_term(beacon.term);
        self.note_contact(from, &beacon.contact);
        match (&self.role, beacon.kind) {
            (Role::Search(_), kind) => self.search_hears_beacon(now, from, kind, &beacon.contact),
            (Role::Lead(lead), BeaconKind::Offer) => {
                let reign = lead.reign;
                self.send(To::Member(from), Message::OtherMasterExists(reign));
                self.beacon_soon(now);
            }
            (Role::Lead(_) | Role::Follow(_), BeaconKind::Seek) => self.beacon_soon(now),
            _ => {}
        }
    }
}
