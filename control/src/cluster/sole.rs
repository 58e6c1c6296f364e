//! Whether what this member owns is nobody else's, for those who must not be wrong about that (RFC 6290's tokens).
//!
//! Leases see to it that a unit has one owner on each side of a split; under `majority` only one side serves. Under `quorum = "none"` a
//! member is sole while everyone who ever belonged to the cluster, and did not leave of his own accord, is with it: who is missing may be
//! dead, or on another side. A split shows when keepalives have failed to come; so of a moment it is known only a while later. That
//! a former owner may still hold what the cluster has lost is no matter: nobody speaks for that any more.

use super::core::{Core, Role};
use super::settings::{LOSSES_MAX, Settings};
use super::time::{Span, Time};

/// Since when it has been so, as often as somebody has looked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sole {
    since: Option<Time>,
}

impl Sole {
    /// Looks at a core, and says up to when it is certain by now; none: it is not. To be asked once a round.
    pub fn look(&mut self, now: Time, core: &Core) -> Option<Time> {
        self.up_to(now, core.is_complete(), doubt(core.settings()))
    }

    fn up_to(&mut self, now: Time, complete: bool, doubt: Span) -> Option<Time> {
        if !complete {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let up_to = Time(now.0.saturating_sub(doubt.0));
        (up_to >= since).then_some(up_to)
    }
}

/// So long a split may last before every member knows of it: until a silent one is given up, and the others are told.
fn doubt(settings: &Settings) -> Span {
    Span(settings.give_away(LOSSES_MAX).0 + settings.period.quarters(16).0)
}

impl Core {
    /// Whether nobody can be on another side, as far as this member knows at this moment.
    fn is_complete(&self) -> bool {
        let basis = match &self.role {
            Role::Lead(lead) => &lead.basis,
            Role::Follow(follow) => &follow.basis,
            Role::Search(_) | Role::Left => return false,
        };
        if !self.quorum_is_none() {
            return true;
        }
        let mut all = basis.agreed().iter().chain(basis.joining());
        !self.probation && basis.agreed().contains(&self.id()) && all.all(|id| self.is_member(*id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_certain_a_while_later() {
        let (mut sole, doubt) = (Sole::default(), Span(100));
        assert_eq!(sole.up_to(Time(1000), true, doubt), None);
        assert_eq!(sole.up_to(Time(1099), true, doubt), None);
        assert_eq!(sole.up_to(Time(1150), true, doubt), Some(Time(1050)));
        assert_eq!(sole.up_to(Time(1160), false, doubt), None);
        assert_eq!(sole.up_to(Time(1170), true, doubt), None, "from then on anew");
        assert_eq!(sole.up_to(Time(1270), true, doubt), Some(Time(1170)));
        assert_eq!(sole.up_to(Time(50), true, doubt), None);
    }

    #[test]
    fn every_member_knows_of_a_split_by_then() {
        let contact = super::super::Contact { address: "10.9.0.1:7400".parse().unwrap(), macs: Vec::new() };
        let settings = Settings::new(phalanx_dataplane::unit::MemberId::new(1).unwrap(), contact);
        assert!(doubt(&settings) > settings.give_away(LOSSES_MAX) && doubt(&settings) > settings.lease(LOSSES_MAX));
    }
}
