//! Patent Figure 8A: two masters hear each other, and one of them yields.

use phalanx_dataplane::steer::{Mode, ReleaseTo};
use phalanx_dataplane::unit::{MemberId, Unit};

use super::core::{Core, Role};
use super::event::RejoinReason;
use super::message::{MasterKeepalive, Message};
use super::output::To;
use super::settings::Quorum;
use super::time::{Span, Time};

impl Core {
    /// Patent Figure 8A: another master. More members wins, then the lower address; members that both claim belong to
    /// the newer term.
    pub(super) fn lead_hears_master(&mut self, now: Time, other: &MasterKeepalive) {
        let Role::Lead(lead) = &mut self.role else { return };
        let mine = lead.reign;
        let he_is_newer = other.reign.term > mine.term;
        if lead.abdicating == Some(other.reign.master) && he_is_newer {
            return self.follow_successor(now, other.reign, other.losses);
        }
        let claimed_by_him = |id: &MemberId| other.members.iter().any(|listed| listed.id == *id);
        let claimed_by_me = |id: &MemberId| self.members.iter().any(|member| member.id == *id);
        let shared = self.members.iter().filter(|member| claimed_by_him(&member.id)).count();
        let (mut ours, mut theirs) = (self.members.len(), other.members.len());
        if he_is_newer {
            ours -= shared;
            // He cannot be one of mine, nor I one of his: each counts for himself.
            ours += usize::from(claimed_by_him(&mine.master));
        } else if other.reign.term < mine.term {
            theirs -= shared;
            theirs += usize::from(claimed_by_me(&other.reign.master));
        }
        // Under `majority` at most one of the two can have it, and that one serves; but a successor that still serves
        // on its old lease may be about to get it.
        let has_majority = self.settings.quorum == Quorum::Majority
            && lead.quorate != other.quorate
            && (lead.quorate || self.lease_until.is_none_or(|until| until <= now));
        let win = match ours.cmp(&theirs) {
            _ if has_majority => lead.quorate,
            std::cmp::Ordering::Equal => self.settings.contact.address < other.contact.address,
            unequal => unequal.is_gt(),
        };
        if !win {
            // Followers need not wait out their loyalty.
            self.send(To::All, Message::Abdicate(mine, other.reign.master));
            return self.rejoin(now, RejoinReason::TieLost, Some(other.reign.master));
        }
        // Who handed its role on has stopped already; a rival has not.
        if lead.handed_on_by != Some(other.reign) {
            self.drop_held();
        }
        let Role::Lead(lead) = &mut self.role else { return };
        let paced = lead.other_master_told.is_none_or(|told| now.since(told) >= Span::from_ms(100));
        if paced {
            lead.other_master_told = Some(now);
            self.announce_again(now);
            self.send(To::Member(other.reign.master), Message::OtherMasterExists(mine));
            self.beacon_soon(now);
        }
    }

    /// Another master has yielded to this one: hosts on its side of the split still send to it, and it may have processed
    /// what is held here.
    pub(super) fn yielded_to(&mut self, now: Time) {
        if matches!(self.role, Role::Lead(_)) {
            self.drop_held();
            self.announce_again(now);
        }
    }

    fn drop_held(&mut self) {
        let held = |(_, mode): &(Unit, &Mode)| **mode == Mode::Hold;
        let units: Vec<Unit> = Unit::all().zip(self.modes()).filter(held).map(|(unit, _)| unit).collect();
        for unit in units {
            self.release(unit, ReleaseTo::Nowhere, Vec::new());
        }
    }
}
