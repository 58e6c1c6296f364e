//! What the cluster core is told once, at its start, and the three clocks that follow from it.
//!
//! Everything about liveness is a multiple of the keepalive period, and the order of these four moments after a
//! member's last word is what keeps a unit from having two owners (DESIGN section 6, "Fencing"):
//!
//! | after | what happens |
//! | --- | --- |
//! | `n - 1/4` periods | a master that could not send stops owning anything ([`Settings::self_lease`]) |
//! | `n` periods | the first successor takes over from a silent master ([`Settings::watch`]) |
//! | `n + 5/4` periods | a silent member's lease lapses, by its own clock ([`Settings::lease`]) |
//! | `n + 3/2` periods | the master gives a silent member's units away ([`Settings::give_away`]) |
//!
//! The last three quarters of a period are the price of fencing: a lease is counted from the moment the *member sent*
//! the keepalive that the master echoes, one period before the echo arrives, and must outlast the change of masters.

use std::net::SocketAddr;

use phalanx_dataplane::unit::{MemberId, UNITS};

use super::time::Span;

/// n is never above this many consecutive losses (patent: "a number between 2 and 20").
pub const LOSSES_MAX: u8 = 20;
/// Members of neighbouring protocol versions may run together; others are refused at the door.
pub const PROTOCOL_VERSION: u16 = 1;

/// How the LAN brings packets to members (DESIGN section 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Delivery {
    /// The master's own MAC; the master passes packets on.
    Forward,
    /// One shared MAC, unicast or multicast: every member sees every packet.
    Shared,
}

/// Who may own units after a split.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Quorum {
    /// Each side serves the clients that it still reaches (the patent's way).
    None,
    /// Only a majority of the last agreed membership serves.
    Majority,
}

/// How many members hold a unit's sessions besides its owner.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Replicas {
    /// All of them (the patent's way).
    All,
    /// So many.
    Count(u8),
}

/// Where a member is reached.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Contact {
    /// Its address on the cluster link; breaks ties between masters.
    pub address: SocketAddr,
    /// The hardware addresses of its data ports, in the configuration's order.
    pub macs: Vec<[u8; 6]>,
}

/// A fault planted on purpose, to show that the checkers would find it.
#[cfg(feature = "planted-faults")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// Leases never lapse.
    NoLeaseCheck,
    /// What was held for a unit is thrown away instead of released.
    HoldDropped,
    /// The master gives units away at the first silence, and a move starts its target before its source stopped.
    TwoOwners,
    /// The master names heirs without asking who is in sync.
    HeirsUnasked,
}

/// The cluster core's configuration.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Settings {
    /// This member.
    pub id: MemberId,
    /// Where this member is reached.
    pub contact: Contact,
    /// Digest of the cluster-wide part of the configuration; members must agree on it.
    pub config_digest: [u8; 32],
    /// Whether the members' apps (as roles of their ports) fit together; compared by the `router` app at a join.
    pub roles: Vec<u8>,
    /// The keepalive period.
    pub period: Span,
    /// The least n.
    pub losses_min: u8,
    /// n losses in a row should by chance come about less often than this.
    pub false_alarm: Span,
    /// Who may own units after a split.
    pub quorum: Quorum,
    /// How packets reach members.
    pub delivery: Delivery,
    /// Who holds sessions; none: there is no app that keeps any.
    pub replicas: Option<Replicas>,
    /// How often the master compares loads.
    pub balance_interval: Span,
    /// How long a unit that killed two owners in a row rests.
    pub quarantine: Span,
    /// How many units there are: [`UNITS`], or fewer in a model.
    pub units: usize,
    /// The members of the cluster when this member last belonged to one, for `majority` at a cold start.
    pub last_membership: Vec<MemberId>,
    /// The highest incarnation that this member is known to have had.
    pub incarnation: u64,
    /// A planted fault.
    #[cfg(feature = "planted-faults")]
    pub fault: Option<Fault>,
}

impl Settings {
    /// Settings with the defaults of a real machine: period 10 ms, n at least 3, one false alarm a week.
    pub fn new(id: MemberId, contact: Contact) -> Self {
        Self {
            id,
            contact,
            config_digest: [0; 32],
            roles: Vec::new(),
            period: Span::from_ms(10),
            losses_min: 3,
            false_alarm: Span::from_ms(7 * 24 * 3600 * 1000),
            quorum: Quorum::None,
            delivery: Delivery::Forward,
            replicas: None,
            balance_interval: Span::from_ms(2000),
            quarantine: Span::from_ms(10_000),
            units: UNITS,
            last_membership: Vec::new(),
            incarnation: 0,
            #[cfg(feature = "planted-faults")]
            fault: None,
        }
    }

    /// How long a silent master is waited for.
    pub fn watch(&self, n: u8) -> Span {
        self.period.quarters(4 * u64::from(n))
    }

    /// How long a member may own units after sending the keepalive that the master echoed last.
    pub fn lease(&self, n: u8) -> Span {
        self.period.quarters(4 * u64::from(n) + 5)
    }

    /// After how long a silent member's units are given away.
    pub fn give_away(&self, n: u8) -> Span {
        self.period.quarters(4 * u64::from(n) + 6)
    }

    /// How long a master may own units after its last keepalive.
    pub fn self_lease(&self, n: u8) -> Span {
        self.period.quarters(4 * u64::from(n) - 1)
    }

    /// How long a starting member listens for a master before it offers itself, and how long it offers
    /// (patent Figure 6: 100 ms).
    pub fn offer_wait(&self) -> Span {
        self.period.quarters(4 * 4).max(Span::from_ms(100))
    }

    /// How long an unanswered join request, a NAK or a step of a move waits for another try.
    pub fn retry(&self) -> Span {
        self.period.quarters(4 * 2).max(Span::from_ms(20))
    }

    #[cfg(feature = "planted-faults")]
    pub(super) fn no_lease_check(&self) -> bool {
        self.fault == Some(Fault::NoLeaseCheck)
    }

    #[cfg(not(feature = "planted-faults"))]
    pub(super) fn no_lease_check(&self) -> bool {
        false
    }

    #[cfg(feature = "planted-faults")]
    pub(super) fn hold_dropped(&self) -> bool {
        self.fault == Some(Fault::HoldDropped)
    }

    #[cfg(not(feature = "planted-faults"))]
    pub(super) fn hold_dropped(&self) -> bool {
        false
    }

    #[cfg(feature = "planted-faults")]
    pub(super) fn heirs_unasked(&self) -> bool {
        self.fault == Some(Fault::HeirsUnasked)
    }

    #[cfg(not(feature = "planted-faults"))]
    pub(super) fn heirs_unasked(&self) -> bool {
        false
    }

    #[cfg(feature = "planted-faults")]
    pub(super) fn two_owners(&self) -> bool {
        self.fault == Some(Fault::TwoOwners)
    }

    #[cfg(not(feature = "planted-faults"))]
    pub(super) fn two_owners(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_clocks_are_in_fencing_order_for_every_n() {
        let contact = Contact { address: "10.9.0.1:7400".parse().unwrap(), macs: vec![] };
        let settings = Settings::new(MemberId::new(1).unwrap(), contact);
        for n in 2..=LOSSES_MAX {
            assert!(settings.self_lease(n) < settings.watch(n));
            // A lease must bridge a change of masters: the echo is up to one period old when the master dies.
            assert!(settings.watch(n).0 + settings.period.0 < settings.lease(n).0);
            assert!(settings.lease(n) < settings.give_away(n));
        }
    }
}
