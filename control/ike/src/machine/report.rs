//! What a person reads of IKE.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::wire::{Identity, notify};

/// Something that happened. [`fmt::Display`] is the line in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// A peer has proved its name.
    Established {
        /// By which connection.
        connection: String,
        /// Who.
        peer: Identity,
        /// From where.
        from: SocketAddr,
        /// What it was given.
        addresses: Vec<IpAddr>,
    },
    /// There is a child SA.
    Child {
        /// What it is called.
        name: String,
        /// Whose.
        peer: Identity,
        /// Our SPI.
        inbound_spi: u32,
        /// The peer's.
        outbound_spi: u32,
        /// The algorithms.
        transform: String,
        /// In transport mode.
        transport: bool,
        /// It has new keys for another.
        rekeyed: bool,
    },
    /// A child SA is over: it has carried all that it may.
    Spent {
        /// What it is called.
        name: String,
        /// Whose.
        peer: Identity,
        /// Our SPI.
        inbound_spi: u32,
    },
    /// An IKE SA has new keys.
    Rekeyed {
        /// Whose.
        peer: Identity,
    },
    /// A peer that is a cluster has lost count of messages, and has agreed on it anew.
    Synced {
        /// Whose.
        peer: Identity,
    },
    /// A peer speaks from elsewhere.
    Moved {
        /// Who.
        peer: Identity,
        /// From where now.
        to: SocketAddr,
    },
    /// Something did not come about.
    Failed {
        /// With whom.
        from: SocketAddr,
        /// Why.
        why: Failure,
    },
    /// A peer speaks of an IKE SA that no member has, and is told so. Others may have been told as well.
    Lost {
        /// From where.
        from: SocketAddr,
    },
    /// An IKE SA is over.
    Closed {
        /// Whose.
        peer: Identity,
        /// Why.
        why: Closure,
    },
}

/// Why something did not come about.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// No connection for these addresses.
    #[error("no connection is for this address")]
    NoConnection,
    /// No algorithms in common.
    #[error("none of the proposed algorithms is configured: {0}")]
    NoProposal(String),
    /// A name that nobody knows.
    #[error("{name:?} is not let in: {why}")]
    NotAuthentic {
        /// Who it says that it is.
        name: String,
        /// What is wrong with its proof.
        why: String,
    },
    /// No traffic in common.
    #[error("no child is for the traffic that {0:?} asks for")]
    NoTraffic(String),
    /// Transport mode through a translator of addresses.
    #[error(
        "addresses are translated on the way to {0:?}, which asks for transport mode: no child gives it a tunnel instead"
    )]
    Translated(String),
    /// No address left.
    #[error("no address is left for {0:?}")]
    NoAddress(String),
    /// The peer does not want what we ask for.
    #[error("it refuses {what}: {}", name_of(*.kind))]
    Refused {
        /// What.
        what: &'static str,
        /// The notification's number.
        kind: u16,
    },
    /// An IKE SA has as many children as it may have.
    #[error("the IKE SA has too many children for another one")]
    TooMuch,
    /// It does not follow the protocol.
    #[error("it does not follow the protocol: {0}")]
    Protocol(&'static str),
}

impl Failure {
    pub(super) fn not_authentic(name: &str, why: &str) -> Self {
        Self::NotAuthentic { name: name.to_owned(), why: why.to_owned() }
    }
}

/// Why an IKE SA is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Closure {
    /// The peer said so.
    #[error("the peer ended it")]
    ByPeer,
    /// We did.
    #[error("ended here")]
    ByUs,
    /// The peer says nothing any more.
    #[error("the peer answers no more")]
    Silent,
    /// The peer has crashed, or so.
    #[error("the peer has lost it: it has shown the token that it gave for that")]
    Lost,
    /// The peer was to prove its name again.
    #[error("the peer has not proved its name again in time")]
    Unproved,
    /// The peer has come anew.
    #[error("the peer has come anew")]
    Replaced,
    /// The peer grants no child.
    #[error("the peer grants no child SA")]
    Childless,
    /// The configuration does not know its connection any more.
    #[error("its connection is configured no more")]
    NotConfigured,
}

/// What IANA calls the notification of an error.
fn name_of(kind: u16) -> String {
    let name = match kind {
        notify::UNSUPPORTED_CRITICAL_PAYLOAD => "UNSUPPORTED_CRITICAL_PAYLOAD",
        notify::INVALID_SYNTAX => "INVALID_SYNTAX",
        notify::NO_PROPOSAL_CHOSEN => "NO_PROPOSAL_CHOSEN: it takes none of our algorithms",
        notify::INVALID_KE_PAYLOAD => "INVALID_KE_PAYLOAD: it wants a group that is not configured",
        notify::AUTHENTICATION_FAILED => "AUTHENTICATION_FAILED",
        notify::SINGLE_PAIR_REQUIRED => "SINGLE_PAIR_REQUIRED",
        notify::NO_ADDITIONAL_SAS => "NO_ADDITIONAL_SAS",
        notify::INTERNAL_ADDRESS_FAILURE => "INTERNAL_ADDRESS_FAILURE",
        notify::FAILED_CP_REQUIRED => "FAILED_CP_REQUIRED: it wants to give us an address",
        notify::TS_UNACCEPTABLE => "TS_UNACCEPTABLE: it knows no such traffic",
        notify::TEMPORARY_FAILURE => "TEMPORARY_FAILURE",
        notify::TS_MAX_QUEUE => "TS_MAX_QUEUE: it has as many child SAs for this traffic as it takes",
        _ => return format!("notification {kind}"),
    };
    name.to_owned()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Established { connection, peer, from, addresses } => {
                write!(f, "IKE SA {connection} established with {peer} at {from}")?;
                addresses.iter().try_for_each(|address| write!(f, ", who has {address}"))
            }
            Self::Child { name, peer, inbound_spi, outbound_spi, transform, transport, rekeyed } => {
                let how = if *rekeyed { "rekeyed" } else { "established" };
                let mode = if *transport { " in transport mode" } else { "" };
                write!(
                    f,
                    "child SA {name} {how}{mode} with {peer}: {transform}, in {inbound_spi:08x}, out {outbound_spi:08x}"
                )
            }
            Self::Spent { name, peer, inbound_spi } => {
                write!(f, "child SA {name} with {peer}, in {inbound_spi:08x}, is over: it has carried all that it may")
            }
            Self::Rekeyed { peer } => write!(f, "IKE SA with {peer} rekeyed"),
            Self::Synced { peer } => write!(f, "{peer} has failed over, and message IDs are agreed on anew"),
            Self::Moved { peer, to } => write!(f, "{peer} speaks from {to} now"),
            Self::Failed { from, why } => write!(f, "with {from}: {why}"),
            Self::Lost { from } => write!(
                f,
                "{from} speaks of an IKE SA that no member has, and is told to begin anew (more of this: phalanx_ike_events_total lost_told)"
            ),
            Self::Closed { peer, why } => write!(f, "IKE SA with {peer} is over: {why}"),
        }
    }
}
