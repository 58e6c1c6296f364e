//! What the network says of a connection's packets (RFC 9293 section 3.9.2.2, with RFC 5927's defence).

use super::counters::add;
use super::{Relay, SERVER, flow_of};
use crate::app::{Outlet, Returned, Trouble};
use crate::tcp::Seq;
use crate::wire::bytes;

/// Where a TCP header has its sequence number.
const SEQUENCE: usize = 4;

impl Relay {
    /// An ICMP error. False: it is about no connection of ours.
    pub(super) fn hear_returned(&mut self, outlet: &mut dyn Outlet, returned: &Returned<'_>) -> bool {
        let found = self.table.find(&flow_of(&returned.about));
        let quoted = bytes::array(returned.quoted, SEQUENCE).map(|seq| Seq(u32::from_be_bytes(seq)));
        let (Some((slot, end)), Some(quoted)) = (found, quoted) else { return false };
        let Some(session) = self.table.get_mut(slot) else { return false };
        let counters = self.counters.of(session.relay);
        let Some(endpoint) = session.ends[end].as_mut() else { return false };
        if !endpoint.has_in_flight(quoted) {
            add(&counters.errors_refused, 1);
            return true;
        }
        match returned.trouble {
            Trouble::TooBig { mtu } => {
                add(&counters.segments_shortened, u64::from(endpoint.handle_too_big(quoted, mtu)));
            }
            Trouble::Refused if endpoint.handle_refused(quoted) => self.refused(outlet, slot, end),
            Trouble::Refused | Trouble::Passing => add(&counters.unreachable, 1),
        }
        self.settle(outlet, slot);
        true
    }

    /// One end's connection was not taken: another back end may take it. A client that does not want its own is gone.
    fn refused(&mut self, outlet: &mut dyn Outlet, slot: u32, end: usize) {
        if end == SERVER && !self.connect_failed(outlet, slot) {
            self.give_up(slot);
        }
    }
}
