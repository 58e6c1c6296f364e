//! An IKE SA: a value, that a message makes another value of.
//!
//! Nothing of it lives anywhere else. Whoever holds the record of it ([`crate::record`]) can go on with it: so it is all *essential*
//! in the sense of the patent's Figure 7, and written anew whenever it changes, before the peer can see that it has.

use std::net::{IpAddr, SocketAddr};

use crate::crypto::{IkeKeys, KeyPair, Secret, Suite};
use crate::eap::Conversation;
use crate::wire::{Header, Identity, IkeSpi, Selector};

/// Who began.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// We did.
    Initiator,
    /// The peer did.
    Responder,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct IkeSa {
    /// Our part.
    pub role: Role,
    /// The initiator's name for it.
    pub initiator_spi: IkeSpi,
    /// The responder's.
    pub responder_spi: IkeSpi,
    /// Between which addresses it is spoken at present.
    pub path: Path,
    /// Whether addresses are translated on the way: then ESP goes in UDP.
    pub nat: Nat,
    /// Its algorithms.
    pub suite: Suite,
    /// Its keys.
    pub keys: IkeKeys,
    /// How far it is.
    pub phase: Phase,
    /// Another IKE SA, with new keys, has taken its place.
    pub succeeded: bool,
    /// What the peer can do.
    pub abilities: Abilities,
    /// When it began, on the cluster's clock.
    pub created_s: u64,
    /// When the peer was last heard.
    pub heard_s: u64,
    /// When it is to get new keys from us; 0: never.
    pub rekey_at_s: u64,
    /// The message ID of the peer's next request.
    pub next_request: u32,
    /// The answer to its last one, as datagrams: it may ask again.
    pub last_answer: Vec<Vec<u8>>,
    /// The message ID of our next request.
    pub next_own: u32,
    /// Our request that is not answered yet.
    pub pending: Option<Pending>,
    /// Pieces of the peer's next message.
    pub pieces: Pieces,
    /// The SAs made by it.
    pub children: Vec<Child>,
    /// It was begun by us, and is to have all children that are configured; none: its peer says which it has.
    pub kept: Option<Kept>,
    /// The lowest message ID with which the peer may yet agree on them anew (RFC 6311): the one after the last that it has done so with.
    pub synced: u32,
    /// What the peer proves by that it has lost the SA (RFC 6290); empty: it has given nothing.
    pub token: Secret,
    /// What a newer version of the record says besides.
    pub beyond: Vec<(u8, Vec<u8>)>,
}

/// How far an IKE SA is.
#[derive(Clone, Debug)]
pub enum Phase {
    /// We have said the first message. There are no keys yet.
    Beginning(Box<Beginning>),
    /// We have said who we are; the peer has not.
    Proving(Box<Proving>),
    /// Keys are agreed on; nobody has proved a name.
    Opening(Opening),
    /// We have; the peer is being asked for a password.
    Asking(Box<Asking>),
    /// Both have.
    Established(Peer),
    /// It is over; what is left is its last answer, for a peer that asks again.
    Closed,
}

/// Our half of a key exchange that the peer has not answered.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The connection, by name.
    pub connection: String,
    /// Our keys.
    pub pair: KeyPair,
    /// Our nonce.
    pub nonce: Vec<u8>,
    /// What the peer wants to hear first; empty: nothing.
    pub cookie: Vec<u8>,
    /// How often the peer has wanted something else.
    pub turns: u8,
}

/// A peer that is to prove its name to us.
#[derive(Clone, Debug)]
pub struct Proving {
    /// What the proofs of names are about.
    pub opening: Opening,
    /// The connection, by name.
    pub connection: String,
    /// The child that we have asked for, by its name and our SPI.
    pub child: (String, u32),
}

/// What the proofs of names are about.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The initiator's first message.
    pub request: Vec<u8>,
    /// The responder's.
    pub answer: Vec<u8>,
    /// The initiator's nonce.
    pub nonce_i: Vec<u8>,
    /// The responder's.
    pub nonce_r: Vec<u8>,
}

/// A peer that is being asked for a password.
#[derive(Clone, Debug)]
pub struct Asking {
    /// What the proofs of names are about.
    pub opening: Opening,
    /// The connection, by name.
    pub connection: String,
    /// Who it says that it is.
    pub identity: Identity,
    /// What it wants: the kind of the first payload, and all payloads.
    pub wanted: (u8, Vec<u8>),
    /// How far the asking is.
    pub conversation: Conversation,
    /// The user that has answered right, and the key that this gave.
    pub granted: Option<(String, Secret)>,
}

/// A peer that has proved its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The connection, by name.
    pub connection: String,
    /// The peer's name.
    pub identity: Identity,
    /// Addresses that it was given.
    pub addresses: Vec<IpAddr>,
    /// When it came anew, if its IKE SAs from before then are no more; 0: they are what they are.
    pub sole_since_s: u64,
    /// When it is to prove its name again; 0: never. New keys for the IKE SA do not change that.
    pub proved_until_s: u64,
}

/// Two ends of a path through the network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Path {
    /// Ours.
    pub ours: SocketAddr,
    /// The peer's.
    pub theirs: SocketAddr,
}

/// Who is behind a translator of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Nat {
    /// We are.
    pub ours: bool,
    /// The peer is.
    pub theirs: bool,
}

/// What a peer has said that it can do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Abilities {
    /// RFC 7383.
    pub fragmentation: bool,
    /// RFC 4555.
    pub mobike: bool,
    /// RFC 6311: message IDs.
    pub message_id_sync: bool,
    /// RFC 6311: numbers of packets.
    pub replay_sync: bool,
}

/// A request of ours that is not answered.
#[derive(Clone, Debug)]
pub struct Pending {
    /// As datagrams.
    pub datagrams: Vec<Vec<u8>>,
    /// What for.
    pub purpose: Purpose,
    /// How often it was sent.
    pub tries: u8,
    /// When it is sent again.
    pub again_s: u64,
}

/// What a request of ours is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// To begin.
    Begin,
    /// To say who we are.
    Prove,
    /// To make a child SA of this name.
    MakeChild(String, Rekey),
    /// To hear whether the peer lives.
    Probe,
    /// To end the IKE SA.
    Close,
    /// To end a child SA, by our SPI.
    CloseChild(u32),
    /// To give a child SA new keys.
    RekeyChild(Rekey, Collision),
    /// To give the IKE SA new keys.
    RekeyIke(Rekey),
}

/// Our half of new keys.
#[derive(Clone, Debug)]
pub struct Rekey {
    /// Our SPI of the old child; 0: there is none, or it is about the IKE SA.
    pub old_spi: u32,
    /// Our SPI of the new SA: a child's are the low 32 bits.
    pub new_spi: IkeSpi,
    /// Our nonce.
    pub nonce: Vec<u8>,
    /// Our half of the key exchange, if there is one.
    pub key_pair: Option<KeyPair>,
}

/// What the peer did meanwhile to the same child: made new keys for it (RFC 7296 section 2.8.1), ended it (2.25.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Collision {
    /// Our SPI of the peer's new child; 0: there is none.
    pub their_spi: u32,
    /// The lower of the nonces that it was made with.
    pub nonce: Vec<u8>,
    /// The child, if the peer has ended it.
    pub ended: Option<Box<Child>>,
}

/// Pieces of a message (RFC 7383).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pieces {
    /// The kind of the first payload, known from the first piece.
    pub first: u8,
    /// By number; those that are there.
    pub parts: Vec<Option<Vec<u8>>>,
}

/// What an IKE SA that was begun by us is to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// What we called it when it began: those that take its place are called something else.
    pub begun: IkeSpi,
    /// Children that it has not.
    pub lacking: Vec<Lack>,
}

/// A child that there is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lack {
    /// The configuration's name for it.
    pub name: String,
    /// When the peer is asked for it.
    pub at_s: u64,
    /// How often it has been asked.
    pub tries: u8,
}

/// A pair of SAs, as far as IKE must know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    /// The configuration's name for it.
    pub name: String,
    /// Ours.
    pub inbound_spi: u32,
    /// The peer's.
    pub outbound_spi: u32,
    /// The algorithms, as the data plane calls them.
    pub transform: String,
    /// Whether it counts to 2^64.
    pub extended: bool,
    /// Whether its packets keep their own headers.
    pub transport: bool,
    /// Our traffic.
    pub local: Vec<Selector>,
    /// The peer's.
    pub remote: Vec<Selector>,
    /// When it began.
    pub created_s: u64,
    /// When it is to get new keys from us; 0: never.
    pub rekey_at_s: u64,
}

impl IkeSa {
    /// Our name for it.
    pub const fn own_spi(&self) -> IkeSpi {
        match self.role {
            Role::Initiator => self.initiator_spi,
            Role::Responder => self.responder_spi,
        }
    }

    /// The header of a message of ours.
    pub const fn header(&self, exchange: crate::wire::Exchange, response: bool, message_id: u32) -> Header {
        Header {
            initiator_spi: self.initiator_spi,
            responder_spi: self.responder_spi,
            exchange,
            from_initiator: matches!(self.role, Role::Initiator),
            response,
            message_id,
        }
    }

    /// The keys of what we send: encryption, integrity.
    pub const fn own_keys(&self) -> (&Secret, &Secret) {
        match self.role {
            Role::Initiator => (&self.keys.ei, &self.keys.ai),
            Role::Responder => (&self.keys.er, &self.keys.ar),
        }
    }

    /// The keys of what the peer sends.
    pub const fn peer_keys(&self) -> (&Secret, &Secret) {
        match self.role {
            Role::Initiator => (&self.keys.er, &self.keys.ar),
            Role::Responder => (&self.keys.ei, &self.keys.ai),
        }
    }

    /// The connection that it was begun for by us.
    pub fn begun_for(&self) -> Option<&str> {
        match &self.phase {
            Phase::Beginning(beginning) => Some(&beginning.connection),
            Phase::Proving(proving) => Some(&proving.connection),
            Phase::Established(peer) => self.kept.is_some().then_some(&peer.connection),
            Phase::Opening(_) | Phase::Asking(_) | Phase::Closed => None,
        }
    }

    /// Whether addresses are translated on the way.
    pub const fn is_translated(&self) -> bool {
        self.nat.ours || self.nat.theirs
    }

    /// The peer, once it has proved its name.
    pub const fn peer(&self) -> Option<&Peer> {
        match &self.phase {
            Phase::Established(peer) => Some(peer),
            Phase::Beginning(_) | Phase::Proving(_) | Phase::Opening(_) | Phase::Asking(_) | Phase::Closed => None,
        }
    }
}
