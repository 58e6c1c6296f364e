//! What both sides go by: one connection, whose peers each have one address inside.

use std::net::{IpAddr, Ipv4Addr};

use phalanx_ike::config::{ChildConfig, Config, Connection, Life, OwnProof, Passwords, PeersProof, Unique};
use phalanx_ike::crypto::Secret;
use phalanx_ike::proposal::{EspProposal, IkeProposal};
use phalanx_ike::wire::{Identity, Selector};
use zeroize::Zeroizing;

use super::credentials::{CLIENT, Credentials, GATEWAY, PASSWORD, SHARED_KEY, USER};
use super::{IkeBenchError, odd};

/// The net inside that all tunnels lead to.
const INSIDE: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 3, 0, 0), 24);
/// Where peers' addresses inside are.
const PEERS: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 128, 0, 0), 9);
const ESP: &str = "aes256gcm16";

/// How keys are exchanged and names proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// X25519, a shared key.
    Psk,
    /// X25519, certificates with ECDSA on both sides.
    Ecdsa,
    /// X25519, a certificate of the gateway's, a password of the user's.
    Eap,
    /// MODP-2048, a shared key.
    PskModp2048,
}

impl Way {
    /// All that there are.
    pub(crate) const ALL: [Self; 4] = [Self::Psk, Self::Ecdsa, Self::Eap, Self::PskModp2048];

    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Psk => "psk-x25519",
            Self::Ecdsa => "ecdsa-x25519",
            Self::Eap => "eap-mschapv2-x25519",
            Self::PskModp2048 => "psk-modp2048",
        }
    }

    const fn ike(self) -> &'static str {
        match self {
            Self::PskModp2048 => "aes256gcm16-prfsha384-modp2048",
            _ => "aes256gcm16-prfsha384-x25519",
        }
    }

    /// Whom the peers say they are.
    pub(super) fn peers_name(self) -> Identity {
        Identity::of_text(match self {
            Self::Psk | Self::PskModp2048 => "peer@bench",
            Self::Ecdsa => CLIENT,
            Self::Eap => USER,
        })
    }
}

/// The algorithms of a way.
pub(super) fn proposals(way: Way) -> Result<(Vec<IkeProposal>, Vec<EspProposal>), IkeBenchError> {
    let ike = way.ike().parse().map_err(|error| odd(format!("does not know {}: {error}", way.ike())))?;
    let esp = ESP.parse().map_err(|error| odd(format!("does not know {ESP}: {error}")))?;
    Ok((vec![ike], vec![esp]))
}

/// The traffic on the member's side.
pub(super) fn inside() -> Selector {
    Selector::of_network(IpAddr::from(INSIDE.0), INSIDE.1)
}

/// The traffic on a peer's side: its one address.
pub(super) fn host(number: u32) -> Selector {
    Selector::of_network(IpAddr::from(Ipv4Addr::from_bits(PEERS.0.to_bits() | (number + 1))), 32)
}

/// What the member goes by.
pub(super) fn config(way: Way, credentials: &Credentials) -> Result<Config, IkeBenchError> {
    let (ike, esp) = proposals(way)?;
    let shared = || Secret::from(SHARED_KEY);
    let certificate = || OwnProof::Certificate(credentials.gateway.clone());
    let (own_proof, peers_proof) = match way {
        Way::Psk | Way::PskModp2048 => (OwnProof::SharedKey(shared()), PeersProof::SharedKey(shared())),
        Way::Ecdsa => (certificate(), PeersProof::Certificate(credentials.trust.clone())),
        Way::Eap => (certificate(), PeersProof::Password),
    };
    let child = ChildConfig {
        name: "net".into(),
        local: vec![inside()],
        remote: vec![Selector::of_network(IpAddr::from(PEERS.0), PEERS.1)],
        proposals: esp,
        transport: false,
        rekey_s: 3600,
        life: Life::default(),
        outer: phalanx_ike::config::OuterHeader::default(),
    };
    let connection = Connection {
        name: "bench".into(),
        local_address: None,
        remote_addresses: Vec::new(),
        proposals: ike,
        local_id: Identity::of_text(GATEWAY),
        remote_id: None,
        own_proof,
        peers_proof,
        pools: Vec::new(),
        dns: Vec::new(),
        children: vec![child],
        dpd_delay_s: 30,
        rekey_s: 14_400,
        start: None,
        reauth_s: 0,
        unique: Unique::Never,
    };
    let users: Passwords = [(USER.to_owned(), Zeroizing::new(PASSWORD.to_owned()))].into_iter().collect();
    let [cookie_key, token_key] = [&b"cookies"[..], b"tokens"].map(Secret::from);
    Ok(Config { connections: vec![connection], cookie_key, token_key, users: users.into() })
}
