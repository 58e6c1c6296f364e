//! What `[[ipsec.connection]]`, its children and `[[ipsec.pool]]` say: tunnels whose keys IKEv2 makes.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::secret::Secret;
use crate::traffic::TrafficNet;

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
    /// How we prove that.
    pub own_proof: OwnProof,
    /// How peers prove who they are.
    pub peers_proof: PeersProof,
    /// What may protect the negotiation, the best first; empty: the usual ones. Not looked at here, but each says something.
    pub proposals: Vec<String>,
    /// The pools ([`AddressPool::name`]) that a peer is given addresses from, the first first; all of them exist.
    pub pools: Vec<String>,
    /// The name servers that a peer is told with its address.
    pub dns: Vec<IpAddr>,
    /// How long after a peer proved its name it is to prove it again, or its IKE SA ends (RFC 4478); zero: never.
    pub reauth_time: Duration,
    /// Who begins. If we do, `local` is there, and `remote` is one host.
    pub start: Start,
    /// What becomes of a peer's older IKE SAs when it comes anew.
    pub unique: Unique,
    /// After how much silence the peer is asked whether it is still there; zero: never.
    pub dpd_delay: Duration,
    /// How long after its beginning an IKE SA gets new keys, if the peer does not give it some before; zero: never.
    pub rekey_time: Duration,
    /// What traffic is carried; at least one, in the file's order.
    pub children: Vec<IkeChild>,
}

/// How we prove our name. What files hold is not looked at here, and where they are is each member's own matter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OwnProof {
    /// By the key that both sides know; never empty.
    SharedKey(Secret),
    /// By a certificate and its private key.
    Certificate {
        /// The file with the certificate, and those that lead from it to an authority.
        certificate: PathBuf,
        /// The file with the key.
        private_key: PathBuf,
    },
}

/// How peers prove theirs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeersProof {
    /// By the key that both sides know; never empty.
    SharedKey(Secret),
    /// By a certificate.
    Certificate {
        /// Files with the authorities that may have issued it, at least one.
        ca: Vec<PathBuf>,
        /// Files with what these took back.
        crl: Vec<PathBuf>,
    },
    /// By the password of a user, with EAP-MSCHAPv2; then [`OwnProof::Certificate`] is ours.
    Password,
}

impl IkeConnection {
    /// The key that both sides know, if a side proves its name by it.
    pub fn psk(&self) -> Option<&Secret> {
        match (&self.own_proof, &self.peers_proof) {
            (OwnProof::SharedKey(key), _) | (_, PeersProof::SharedKey(key)) => Some(key),
            _ => None,
        }
    }
}

/// Whether we begin IKE SAs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Start {
    /// The peer does.
    Never,
    /// There is always to be one: if there is none, we begin it.
    Always,
}

/// What becomes of the older IKE SAs between the same two names; the words are strongSwan's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unique {
    /// They end if the peer says that it has no other.
    No,
    /// They stay, whatever it says.
    Never,
    /// They end.
    Replace,
}

/// `[[ipsec.bypass]]`, `[[ipsec.discard]]`: traffic that no tunnel is asked about, either way. The same on all members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrafficRule {
    /// It is dropped; otherwise it is routed as it is.
    pub discard: bool,
    /// On our side, at least one.
    pub local_ts: Vec<TrafficNet>,
    /// On the others', at least one.
    pub remote_ts: Vec<TrafficNet>,
}

/// What becomes of packets' own headers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChildMode {
    /// They are hidden with the rest.
    Tunnel,
    /// They stay: the traffic is between the cluster's address and the peer's.
    Transport,
}

/// `[[ipsec.connection.child]]`: some of the connection's traffic, under SAs of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IkeChild {
    /// The child's name, once in its connection.
    pub name: String,
    /// What becomes of packets' own headers.
    pub mode: ChildMode,
    /// The networks on our side, at least one; in transport mode none.
    pub local_ts: Vec<TrafficNet>,
    /// Those on the peer's side; empty: the address that the peer was given, or else speaks from.
    pub remote_ts: Vec<TrafficNet>,
    /// What may protect the traffic, the best first; empty: the usual ones. Not looked at here, but each says something.
    pub esp: Vec<String>,
    /// How long after its beginning the child gets new keys, if the peer does not give it some before; zero: never.
    pub rekey_time: Duration,
    /// So many packets one pair of its keys may carry each way: it gets new ones before; zero: any number.
    pub life_packets: u64,
    /// So many bytes; zero: any number.
    pub life_bytes: u64,
    /// What the headers around its packets say.
    pub outer: super::OuterHeader,
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
