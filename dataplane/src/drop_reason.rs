//! Every way a packet can end here without leaving: named, described, counted (DESIGN section 5).
//!
//! The books must balance: received = forwarded + passed on + delivered + held + dropped. A packet is never lost
//! silently; whatever frees a packet says why with one of these. The list is one macro, so that a reason cannot lack
//! its name or its description, and so that counters can be plain arrays indexed by reason.

use std::fmt;

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $description:literal;)*) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $description] $variant,)*
        }

        impl DropReason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// How many reasons there are: the length of a table indexed by [`Self::index`].
            pub const COUNT: usize = Self::ALL.len();

            /// The name used in metrics and reports: lower case, words joined by underscores.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence for an operator.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => $description,)* }
            }
        }
    };
}

drop_reasons! {
    Malformed = "malformed", "The headers contradict themselves or the frame ends before they do.";
    BadChecksum = "bad_checksum", "The IP header checksum is wrong.";
    UnknownProtocol = "unknown_protocol", "The frame is neither IP nor ARP nor one of the cluster's own.";
    OtherVlan = "other_vlan", "The frame's VLAN tag is not the port's (or is missing, or is not expected).";
    OtherMac = "other_mac", "The frame is addressed to another station: the switch floods, or the port is promiscuous.";
    OwnEcho = "own_echo", "The frame carries this port's own source address: the network sent it back.";
    BadSource = "bad_source", "The source address is not one that a packet may come from (unspecified, multicast, loopback, or ours).";
    NotForwardable = "not_forwardable", "Link-local, multicast or broadcast: such packets never leave their link.";
    NotOwner = "not_owner", "The packet's work unit belongs to another member, which sees or gets the packet itself.";
    StaleRelay = "stale_relay", "A member passed this packet on to us, but the work unit is not ours.";
    RelayedTwice = "relayed_twice", "A packet that was passed on to us would have to be passed on again: members disagree for a moment.";
    Quarantined = "quarantined", "The packet's work unit killed two owners in a row and is served by nobody.";
    NoLease = "no_lease", "Our lease has lapsed: another member may own the unit by now, so we keep silent.";
    HoldFull = "hold_full", "The packet had to be held for its new owner, but the hold buffer (or the unit's share of it) is full.";
    HoldExpired = "hold_expired", "The packet was held for a new owner that did not answer in time.";
    HeldDiscarded = "held_discarded", "The packet was held, and nobody may deliver it any more.";
    Duplicate = "duplicate", "The same packet was already processed, here or by the unit's previous owner.";
    NoPeer = "no_peer", "The packet's owner has no known hardware address on this port.";
    Probation = "probation", "The port was silent for long and this member had taken over alone: it waits until it is sure that it is not merely cut off.";
    NoRoute = "no_route", "No route leads to the destination.";
    TtlExceeded = "ttl_exceeded", "The packet's time to live (hop limit) ended here; its sender was told.";
    TooBig = "too_big", "The packet is bigger than the next link takes and must not be fragmented; its sender was told.";
    FragmentFailed = "fragment_failed", "The packet could not be cut into fragments.";
    NeighbourPending = "neighbour_pending", "The next hop is not resolved yet and the queue for it is full.";
    NeighbourFailed = "neighbour_failed", "The next hop does not answer ARP or neighbour discovery.";
    NoBuffers = "no_buffers", "No packet buffer was free.";
    TxFull = "tx_full", "The port's transmit queue did not take the packet.";
    PortDown = "port_down", "The port that leads to the destination has no link.";
    NoApp = "no_app", "The packet is for a cluster address, and no protocol handler claims it.";
    TcpChecksum = "tcp_checksum", "The TCP checksum is wrong.";
    EspNoSa = "esp_no_sa", "ESP with an SPI, or to an address, that no tunnel has.";
    EspMalformed = "esp_malformed", "ESP that is too short for its tunnel's transform, or carries no IP packet.";
    EspBadIcv = "esp_bad_icv", "ESP whose check value is wrong: forged, damaged, or of other keys.";
    EspReplayed = "esp_replayed", "ESP whose number has come already, or is too old to know.";
    EspCongested = "esp_congested", "A router marked a tunnelled packet whose sender does not understand the mark (RFC 6040).";
    PolicyMismatch = "policy_mismatch", "A packet out of a tunnel that may not come from there, or in clear that should have come through one.";
    SaPending = "sa_pending", "Too many packets waited for the backups to know how far their tunnel's numbers go.";
    SaExpired = "sa_expired", "The tunnel has carried all that its keys may, and has no others yet.";
    SaUnusable = "sa_unusable", "This member has no IVs for the tunnel.";
    Unprotected = "unprotected", "The packet must go through a tunnel, and there is none: IKE has not made it, or has ended it.";
    IkeMalformed = "ike_malformed", "A packet to an IKE port that is no IKEv2 message, or whose UDP checksum is wrong.";
    IkeNoSa = "ike_no_sa", "An IKE message for an IKE SA that is not known here.";
    IkeInClear = "ike_in_clear", "An IKE message in clear to an IKE SA that is there: more came than are looked at.";
    IkeBusy = "ike_busy", "An IKE message that could not be looked at: too many wait, for its IKE SA or for all.";
    NoService = "no_service", "The packet is for this member's own address, and nothing here serves it.";
    RateLimited = "rate_limited", "An answer was due, but answers of this kind are rate limited.";
    ReassemblyFull = "reassembly_full", "The fragment could not be kept: too many packets are being put together.";
    ReassemblyExpired = "reassembly_expired", "The rest of a fragmented packet did not come in time.";
    ReassemblyFailed = "reassembly_failed", "The fragments of a packet overlap, came twice, or are too many.";
    HandoverFull = "handover_full", "The ring to the worker that serves the packet's work unit, or that owns the port's transmit queue, is full.";
    ClusterRateLimited = "cluster_rate_limited", "More cluster frames came than the cluster thread is allowed to be bothered with.";
    ClusterRingFull = "cluster_ring_full", "The ring to the cluster thread is full.";
    ClusterMalformed = "cluster_malformed", "A cluster frame of unknown kind or impossible length.";
    Stopping = "stopping", "The worker stops; what it still kept is let go.";
}

impl DropReason {
    /// This reason's place in a table of [`Self::COUNT`] entries.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_fit_for_metrics() {
        let names: HashSet<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), DropReason::COUNT);
        for reason in DropReason::ALL {
            assert!(reason.name().bytes().all(|b| b == b'_' || b.is_ascii_lowercase()), "{reason}");
            assert!(reason.description().ends_with('.'), "{reason}");
            assert_eq!(DropReason::ALL[reason.index()], *reason);
        }
    }
}
