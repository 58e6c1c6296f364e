//! What the cluster core wants done: drained by the shell with `Core::poll_output` after every `handle_*`.

use phalanx_dataplane::steer::Order;
use phalanx_dataplane::unit::MemberId;

use super::event::ClusterEvent;
use super::message::{JoinRequest, Message};
use super::settings::Contact;
use super::time::Time;

/// Where a message goes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum To {
    /// Everyone, as a sealed datagram on every path.
    All,
    /// One member, as a sealed datagram on every path.
    Member(MemberId),
    /// Everyone, as a signed beacon with the certificate, on every path.
    Strangers,
    /// One member, over mutual TLS on the cluster link.
    Reliably(MemberId, Contact),
}

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Output {
    /// Send a message.
    Send(To, Message),
    /// Pass an order to every worker, in order.
    Order(Order),
    /// Workers may process units until then and not a moment longer.
    Lease(Time),
    /// Announce the cluster addresses (gratuitous ARP, unsolicited NA) on every data port.
    Announce,
    /// Whether this member may only be cut off rather than alone: ports that were silent listen before they serve.
    Probation(bool),
    /// Ask the apps whether they accept this newcomer; answer with `Core::handle_verdict`.
    AskApps(MemberId, JoinRequest),
    /// Tell the apps that a member came (true) or went (patent Figure 8G, 895 and 898).
    TellApps(MemberId, bool),
    /// Keep on disk: this incarnation, and the members agreed on. To be done before the incarnation is used.
    Persist {
        /// This member's incarnation.
        incarnation: u64,
        /// The members.
        members: Vec<MemberId>,
    },
    /// Something that an operator wants to read.
    Event(ClusterEvent),
    /// Everything is handed over; the process may end.
    Left,
}
