//! What the gateway counts, each for all workers together.

use crate::tallies::{Stats, tallies};

/// Counters by tunnel, and one more set for what belongs to none.
pub type TunnelStats = Stats<TunnelCounters>;

tallies! {
    /// Counters of one tunnel of this member. Written by workers, read by whoever reports.
    TunnelCounters {
        packets_out, "Packets that were sealed and sent.";
        bytes_out, "Their bytes, before they were sealed.";
        packets_in, "Packets that were opened and found sound.";
        bytes_in, "Their bytes, as they came out.";
        dummies_in, "Packets among them that carried nothing.";
        waited, "Packets that waited for the backups to know how far their numbers go.";
        wait_full, "Packets that could not wait: too many did.";
        wait_lost, "Packets that waited until their tunnel was another member's.";
        late_refused, "Packets that waited, and whose number had come in the meantime.";
        not_sent, "Packets that found no way: no route, no buffer, no size that fits.";
        restored, "Times that the tunnel was carried on from what backups held.";
        not_restored, "Records of the tunnel that were none, or of other keys: its numbers began anew.";
        renewed, "Records that were written for the backups.";
    }
}
