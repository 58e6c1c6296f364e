//! What the relays count, each for all workers together.

use crate::tallies::{Stats, tallies};

/// Counters by relay, and one more set for what belongs to none.
pub type RelayStats = Stats<RelayCounters>;

tallies! {
    /// Counters of one relay of this member. Written by workers, read by whoever reports.
    RelayCounters {
        accepted, "Connections that clients have opened.";
        cookies_sent, "SYNs that were answered by a cookie: too many connections were in the making.";
        cookies_accepted, "Connections that were opened by a cookie.";
        refused_limit, "SYNs that were refused: the relay has as many connections as it may.";
        refused_no_backend, "Connections that were ended since no back end took them.";
        connect_failed, "Attempts to reach a back end that failed.";
        checks_failed, "Health checks that a back end did not pass.";
        back_end_down, "Back ends that were taken out by their health checks.";
        back_end_up, "Back ends that were brought back by their health checks.";
        resets_sent, "Segments of no connection that were answered by a RST.";
        resets_received, "Connections that a peer has reset.";
        timed_out, "Connections whose peer did not answer any more.";
        idle_closed, "Connections that were ended since no byte passed on them for too long.";
        segments_refused, "Segments that their connection did not accept: out of window, forged, too old.";
        segments_shortened, "Connections that a router told to send smaller segments.";
        unreachable, "ICMP errors about packets of a connection that may pass, or that cannot be so: the connection goes on.";
        errors_refused, "ICMP errors about a connection that quote nothing that is on its way: forged, or late.";
        bytes_up, "Bytes from clients that back ends have acknowledged.";
        bytes_down, "Bytes from back ends that clients have acknowledged.";
        restored, "Connections that were carried on from what backups held.";
        not_restored, "Records of connections that did not make sense, or found no room.";
        open, "Connections that there are now.";
        closed, "Connections that are over.";
    }
}

pub(super) use crate::tallies::add;
