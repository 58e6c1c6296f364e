//! What the state machine is told: with whom it may speak, as whom, and about what.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::crypto::Secret;
use crate::eap::Users;
use crate::pki::{Credential, Trust};
use crate::proposal::{EspProposal, IkeProposal};
use crate::state::Path;
use crate::wire::{Identity, Selector};

/// Everything.
#[derive(Clone, Debug)]
pub struct Config {
    /// In order of preference.
    pub connections: Vec<Connection>,
    /// The members' common secret for cookies.
    pub cookie_key: Secret,
    /// Their common secret for the tokens of RFC 6290: of no other use, for cookies are made of what strangers say.
    pub token_key: Secret,
    /// Who has which password.
    pub users: Arc<Passwords>,
}

/// How we prove our name.
#[derive(Clone, Debug)]
pub enum OwnProof {
    /// By the key that both sides have.
    SharedKey(Secret),
    /// By a certificate.
    Certificate(Arc<Credential>),
}

/// How peers prove theirs.
#[derive(Clone, Debug)]
pub enum PeersProof {
    /// By the key that both sides have.
    SharedKey(Secret),
    /// By a certificate of one of these authorities.
    Certificate(Arc<Trust>),
    /// By the password of a user, with EAP-MSCHAPv2.
    Password,
}

/// Users and their passwords.
#[derive(Default)]
pub struct Passwords(HashMap<String, Zeroizing<String>>);

impl FromIterator<(String, Zeroizing<String>)> for Passwords {
    fn from_iter<T: IntoIterator<Item = (String, Zeroizing<String>)>>(users: T) -> Self {
        Self(users.into_iter().collect())
    }
}

impl Users for Passwords {
    fn password(&self, name: &str) -> Option<Zeroizing<String>> {
        self.0.get(name).cloned()
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users", self.0.len())
    }
}

/// Peers that are treated alike.
#[derive(Clone, Debug)]
pub struct Connection {
    /// What it is called in logs.
    pub name: String,
    /// The address of ours that they speak to; none: any.
    pub local_address: Option<IpAddr>,
    /// Where they may speak from; none: from anywhere.
    pub remote_addresses: Vec<Selector>,
    /// Algorithms, in order of preference.
    pub proposals: Vec<IkeProposal>,
    /// Who we are.
    pub local_id: Identity,
    /// Who they are; none: anyone who can prove a name.
    pub remote_id: Option<Identity>,
    /// How we prove that.
    pub own_proof: OwnProof,
    /// How they do.
    pub peers_proof: PeersProof,
    /// The pools that peers get addresses from, the first of each family that has one.
    pub pools: Vec<String>,
    /// Name servers for them.
    pub dns: Vec<IpAddr>,
    /// So long after it proved its name a peer is to prove it again, by an IKE SA of its own (RFC 4478); 0: never.
    pub reauth_s: u64,
    /// There is always to be an IKE SA, which we begin between these addresses if the peer does not; none: the peer begins.
    pub start: Option<Path>,
    /// What becomes of a peer's older IKE SAs when it comes anew.
    pub unique: Unique,
    /// Their children.
    pub children: Vec<ChildConfig>,
    /// So long after the last word a peer is asked whether it lives; 0: never.
    pub dpd_delay_s: u64,
    /// So long after it began an IKE SA gets new keys, if the peer does not give it some before; 0: never.
    pub rekey_s: u64,
}

/// What becomes of the older IKE SAs between the same two names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Unique {
    /// They end if the peer says that it has no other (`INITIAL_CONTACT`, RFC 7296 section 2.4).
    #[default]
    IfSaid,
    /// They stay, whatever it says: several devices have one name.
    Never,
    /// They end.
    Always,
}

/// What a child SA may be.
#[derive(Clone, Debug)]
pub struct ChildConfig {
    /// What it is called in logs.
    pub name: String,
    /// Packets keep their own headers: the traffic is between the two addresses that speak IKE, and no other.
    pub transport: bool,
    /// The traffic on our side; none: the address that the peer speaks to.
    pub local: Vec<Selector>,
    /// The traffic on the peer's side; none: the address that the peer was given, or speaks from.
    pub remote: Vec<Selector>,
    /// Algorithms, in order of preference.
    pub proposals: Vec<EspProposal>,
    /// So long after it began it gets new keys, if the peer does not give it some before; 0: never.
    pub rekey_s: u64,
    /// How much one pair of its keys may carry.
    pub life: Life,
    /// What the headers around its packets say.
    pub outer: OuterHeader,
}

/// What the headers around packets say (RFC 4301 section 5.1.2): the data plane's business.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct OuterHeader {
    /// Whether routers on the way may cut them.
    pub dont_fragment: DontFragment,
    /// Their DSCP; none: as inside.
    pub dscp: Option<u8>,
}

/// "Don't fragment" (RFC 4301 section 8.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum DontFragment {
    /// As inside.
    #[default]
    Copy,
    /// Never.
    Set,
    /// Always.
    Clear,
}

/// How much one pair of keys may carry each way; 0: any amount. The data plane counts, and asks for new keys in time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Life {
    /// In packets.
    pub packets: u64,
    /// In bytes.
    pub bytes: u64,
}

impl Connection {
    /// Whether its peers are asked for a password.
    pub const fn asks(&self) -> bool {
        matches!(self.peers_proof, PeersProof::Password)
    }

    /// Whether a peer may speak to us so, as far as addresses say.
    pub fn suits(&self, ours: IpAddr, theirs: IpAddr) -> bool {
        let from = Selector::of_network(theirs, u8::MAX);
        self.local_address.is_none_or(|local| local == ours)
            && (self.remote_addresses.is_empty() || self.remote_addresses.iter().any(|range| range.contains(&from)))
    }
}

impl Identity {
    /// The name that a text means: an address, an e-mail address, or a domain's name.
    pub fn of_text(text: &str) -> Self {
        const FQDN: u8 = 2;
        const E_MAIL: u8 = 3;
        match text.parse::<IpAddr>() {
            Ok(address) => Self::of_address(address),
            Err(_) if text.contains('@') => Self { kind: E_MAIL, data: text.trim_start_matches('@').into() },
            Err(_) => Self { kind: FQDN, data: text.into() },
        }
    }

    /// An address as a name.
    pub fn of_address(address: IpAddr) -> Self {
        const V4: u8 = 1;
        const V6: u8 = 5;
        match address {
            IpAddr::V4(address) => Self { kind: V4, data: address.octets().into() },
            IpAddr::V6(address) => Self { kind: V6, data: address.octets().into() },
        }
    }
}

/// As a person would write it.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Ok(octets) = <[u8; 4]>::try_from(&*self.data)
            && self.kind == 1
        {
            return IpAddr::from(octets).fmt(f);
        }
        if let Ok(octets) = <[u8; 16]>::try_from(&*self.data)
            && self.kind == 5
        {
            return IpAddr::from(octets).fmt(f);
        }
        // A peer chose it, and logs are for people.
        self.data.escape_ascii().fmt(f)
    }
}
