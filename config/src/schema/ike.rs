//! What `[[ipsec.connection]]`, its children and `[[ipsec.pool]]` say: tunnels whose keys IKEv2 makes.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::secret::Secret;

/// `[[ipsec.connection]]`: who may negotiate tunnels by IKEv2, and which. The same on all members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IkeConnection {
    /// The connection's name, in logs and metrics.
    pub name: String,
    /// The cluster address that peers speak to; none: any of them.
    pub local: Option<IpAddr>,
    /// The networks that peers may speak from; empty: from anywhere.
    pub remote: Vec<IpNet>,
    /// Who we say that we are: a host's name, an address of mail or of a host; what it is, is not looked at here.
    pub local_id: String,
    /// Who the peer must prove to be; none: anyone who can prove a name.
    pub remote_id: Option<String>,
    /// The key that both sides know; never empty.
    pub psk: Secret,
    /// What may protect the negotiation, the best first; empty: the usual ones. Not looked at here, but each says something.
    pub proposals: Vec<String>,
    /// The pools ([`AddressPool::name`]) that a peer is given addresses from, the first first; all of them exist.
    pub pools: Vec<String>,
    /// The name servers that a peer is told with its address.
    pub dns: Vec<IpAddr>,
    /// After how much silence the peer is asked whether it is still there; zero: never.
    pub dpd_delay: Duration,
    /// What traffic is carried; at least one, in the file's order.
    pub children: Vec<IkeChild>,
}

/// `[[ipsec.connection.child]]`: some of the connection's traffic, under SAs of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IkeChild {
    /// The child's name, once in its connection.
    pub name: String,
    /// The networks on our side, at least one.
    pub local_ts: Vec<IpNet>,
    /// Those on the peer's side; empty: the address that the peer was given, or else speaks from.
    pub remote_ts: Vec<IpNet>,
    /// What may protect the traffic, the best first; empty: the usual ones. Not looked at here, but each says something.
    pub esp: Vec<String>,
}

/// `[[ipsec.pool]]`: addresses to give to peers. The same on all members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressPool {
    /// The pool's name.
    pub name: String,
    /// The addresses; no port has one of them, and no other pool.
    pub network: IpNet,
    /// So many members give addresses out, each from a share of its own: no two halves of a split cluster give the same
    /// one. At least the number of every member.
    pub shares: u8,
}
