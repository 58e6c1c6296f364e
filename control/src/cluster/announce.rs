//! Telling the LAN's hosts where the cluster's addresses are: the master's business, paced and repeated.

use super::core::{Core, Role};
use super::output::Output;
use super::time::{Span, Time};

/// Gratuitous ARP and ND: at once, then a few times more at growing distance (DESIGN section 4: paced and repeated).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Announce {
    pub(super) at: Option<Time>,
    pub(super) pause: Span,
}

const ANNOUNCE_PAUSE_MAX: Span = Span::from_ms(2000);

impl Core {
    pub(super) fn announce_again(&mut self, now: Time) {
        let pause = self.settings.period;
        if let Role::Lead(lead) = &mut self.role {
            lead.announce = Announce { at: Some(now), pause };
        }
    }

    /// Hosts send here once they hear it: first the workers have to know that this member is the master.
    pub(super) fn announce_timeout(&mut self, now: Time) {
        let ready = self.views.told().answers && self.views.applied() >= self.views.told().version;
        let Role::Lead(lead) = &mut self.role else { return };
        if !lead.quorate {
            // Hosts in sight of a minority would follow it into silence; once it has a majority, it begins anew.
            lead.announce.at = None;
        }
        if ready && lead.announce.at.is_some_and(|at| at <= now) {
            let pause = lead.announce.pause.quarters(4 * 4);
            let more = lead.announce.pause <= ANNOUNCE_PAUSE_MAX;
            lead.announce = Announce { at: more.then(|| now + lead.announce.pause), pause };
            self.outputs.push_back(Output::Announce);
        }
    }
}
