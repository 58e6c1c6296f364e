//! The lease: until when this member may process units. Others wait for its end before they take them over.

use super::core::Core;
use super::event::ClusterEvent;
use super::output::Output;
use super::time::Time;

impl Core {
    /// The lease lasts at least until then.
    pub(super) fn renew_lease(&mut self, now: Time, until: Time) {
        let until = if self.settings.no_lease_check() { Time(u64::MAX) } else { until };
        if self.lease_until.is_none_or(|old| until > old) {
            self.lease_until = Some(until);
            self.outputs.push_back(Output::Lease(until));
        }
        self.note_lease(now);
    }

    /// A lease that another gave may last longer than one that a master gives itself: those who watch it wait for less.
    pub(super) fn shorten_lease(&mut self, until: Time) {
        if self.lease_until.is_some_and(|old| old > until) && !self.settings.no_lease_check() {
            self.lease_until = Some(until);
            self.outputs.push_back(Output::Lease(until));
        }
    }

    pub(super) fn end_lease(&mut self, now: Time) {
        if self.lease_until.take().is_some() {
            self.outputs.push_back(Output::Lease(now));
        }
        self.lease_valid = false;
    }

    /// Says so if it has lapsed, or is valid again.
    pub(super) fn note_lease(&mut self, now: Time) {
        let valid = self.lease_until.is_some_and(|until| now < until);
        if valid != self.lease_valid {
            self.lease_valid = valid;
            self.event(if valid { ClusterEvent::LeaseRegained } else { ClusterEvent::LeaseLapsed });
        }
    }

    /// Whether this member may process units now.
    pub fn lease_is_valid(&self, now: Time) -> bool {
        self.lease_until.is_some_and(|until| now < until)
    }
}
