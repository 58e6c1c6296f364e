//! What the gateway counts, each for all workers together.

use crate::tallies::{Stats, tallies};

/// Counters by tunnel of the configuration's, and one more set for all of IKE's.
pub type TunnelStats = Stats<TunnelCounters>;

/// The number by which IKE's tunnels have their counters: no tunnel of the configuration's has it.
pub(super) const OF_IKE: usize = usize::MAX;

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
        wait_lost, "Packets that waited until their tunnel was another member's, or had carried all that it may.";
        late_refused, "Packets that waited, and whose number had come in the meantime.";
        not_sent, "Packets that found no way: no route, no buffer, no size that fits.";
        restored, "Times that the tunnel was carried on from what backups held.";
        not_restored, "Records of the tunnel that were none, or of other keys: its numbers began anew.";
        renewed, "Records that were written for the backups.";
        path_mtu_lowered, "Times that a router on the way to the peer said that it takes less.";
        moved, "Times that what is sent went to another address from then on.";
        keys_worn, "Times that keys set by hand had carried so much that they are to be replaced soon.";
        lives_over, "Times that keys set by hand had carried all that they may: nothing goes through any more.";
    }
}

tallies! {
    /// What a member's workers count of IKE.
    IkeCounters {
        sas, "IKE SAs that this member serves and are awake.";
        tunnels, "Tunnels of theirs that are awake.";
        questions, "Questions that were asked: messages, and times that came.";
        timeouts, "Times that came, among them.";
        answers, "Answers that were obeyed.";
        stale, "Answers that came too late: their IKE SA was another member's by then, or they took too long.";
        refused, "Answers that could not be obeyed: an SPI that is taken, or is of another unit; a record that is too long.";
        unanswered, "Questions that were given up.";
        sent, "Messages that were sent.";
        not_sent, "Messages that were not: too long for a buffer, or no buffer was there.";
        restored, "IKE SAs that were carried on from what backups held.";
        not_restored, "Records of IKE SAs that were none.";
        keys_worn, "Times that new keys were asked for because a tunnel had carried much.";
        keys_behind, "Times that new keys were asked for because a peer was behind what a takeover skipped.";
        lives_over, "Tunnels that had carried all that their keys may before they were replaced.";
        lost_told, "Peers that spoke of an IKE SA that no member has, and were told so with the token that they were given for it.";
        lost_untold, "Such peers that were told nothing: too many at once, or it was not certain that no member has the IKE SA.";
        lost_believed, "IKE SAs that ended because their peers had lost them, and showed the right token.";
        lost_doubted, "Messages in clear to an IKE SA that proved nothing, and changed nothing.";
        keepalives, "Packets that only keep a NAT's memory fresh.";
    }
}
