//! What a gateway is told at its start.

use std::fmt;
use std::sync::Arc;

use ring::hmac;

use super::policies::{Policies, Rule, Selectors};
use crate::ipsec::crypto::Numbers;
use crate::ipsec::crypto::choice::Choice;
use crate::ipsec::keys::Keys;
use crate::ipsec::outer::Outer;
use crate::ipsec::transform::{Cipher, Integrity, Transform};
use crate::unit::{MemberId, Unit};
use crate::wire::proto;
use crate::worker::Wake;

/// One direction of a tunnel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Half {
    /// The receiver's name for it.
    pub spi: u32,
    /// Its keys, of the transform that [`Protection::transform`] says.
    pub keys: Keys,
}

/// What protects a tunnel's packets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protection {
    /// They are hidden and checked, or checked alone.
    Esp(Transform),
    /// They are checked, with the header around them.
    Ah(Integrity),
}

impl Protection {
    /// What an engine is asked for: AH is checked as ESP that hides nothing is.
    pub const fn transform(self) -> Transform {
        match self {
            Self::Esp(transform) => transform,
            Self::Ah(integrity) => Transform::Pair(Cipher::Null, integrity),
        }
    }

    /// The protocol's number.
    const fn protocol(self) -> u8 {
        match self {
            Self::Esp(_) => proto::ESP,
            Self::Ah(_) => proto::AH,
        }
    }
}

/// What becomes of a packet's own header (RFC 4301 section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum SaMode {
    /// It is hidden with the rest: packets go in packets of the cluster's.
    #[default]
    Tunnel,
    /// It stays: the traffic is between the cluster's address and the peer's alone.
    Transport,
}

/// A tunnel: a pair of SAs, one a direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TunnelSpec {
    /// What it is called in logs and metrics.
    pub name: String,
    /// How both directions are protected.
    pub protection: Protection,
    /// What they wrap.
    pub mode: SaMode,
    /// How both count.
    pub numbers: Numbers,
    /// The size of the replay window ([`crate::ipsec::replay`]).
    pub replay_window: u16,
    /// The headers of what we send: from the cluster's address to the peer's. In transport mode only its addresses and ports count.
    pub outer: Outer,
    /// Whose traffic it carries.
    pub selectors: Selectors,
    /// From the peer. We chose its SPI, and with it the tunnel's unit.
    pub inbound: Half,
    /// To the peer, who chose its SPI.
    pub outbound: Half,
    /// Its peer has come anew: all members are told.
    pub contact: Option<Contact>,
    /// How much it may carry.
    pub life: Life,
}

/// How much one pair of keys may carry each way; 0: any amount.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Life {
    /// In packets, by their numbers.
    pub packets: u64,
    /// In bytes, of what is inside.
    pub bytes: u64,
}

/// A peer has come anew, and its IKE SAs from before are no more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Contact {
    /// Who, as who speaks IKE calls it.
    pub names: [u8; 16],
    /// When, on the cluster's clock.
    pub since_s: u64,
}

impl TunnelSpec {
    /// The unit of all its traffic, in clear too.
    pub const fn unit(&self) -> Unit {
        Unit::from_low_bits(self.inbound.spi)
    }

    /// Names the SAs by what they are made of: a record of other keys is no record of theirs. `key`: the members' secret.
    pub(super) fn fingerprint(&self, key: &[u8; 16]) -> [u8; 16] {
        let mut tag = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        tag.update(self.protection.transform().to_string().as_bytes());
        tag.update(&[self.protection.protocol(), u8::from(self.numbers == Numbers::Extended)]);
        for half in [&self.inbound, &self.outbound] {
            tag.update(&half.spi.to_be_bytes());
            for key in [half.keys.cipher(), half.keys.integrity()] {
                tag.update(&(key.len() as u64).to_be_bytes());
                tag.update(key);
            }
        }
        let tag = tag.sign();
        tag.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

/// All tunnels of the configuration, for all workers of a member.
#[derive(Clone)]
pub struct GatewayConfig {
    /// This member, for its IVs.
    pub me: MemberId,
    /// The same on all members, in the same order.
    pub tunnels: Arc<[TunnelSpec]>,
    /// Traffic that goes through a tunnel or not at all: that of IKE's connections, while there are none.
    pub guards: Vec<Selectors>,
    /// What is routed as it is, or dropped, before any tunnel is asked about it; the first that fits.
    pub rules: Vec<(Selectors, Rule)>,
    /// TCP through tunnels is told to send no larger segments than fit.
    pub clamp_mss: bool,
    /// The key of the members' digests.
    pub replica_key: [u8; 16],
    /// The key of the SPIs of IKE SAs that begin, the same on all members, and theirs alone: nobody else may foresee an SPI.
    pub spi_key: [u8; 16],
    /// Records of IKE's that there are always to be, each at the owner of its unit, by the SPIs that they are called: who speaks IKE
    /// is asked about one that is not there, and makes it.
    pub keepers: Vec<u64>,
    /// What does the cryptography.
    pub engine: Choice,
    /// What wakes who speaks IKE; none: nobody does. [`crate::worker::Dataplane::open`] makes the desks for it.
    pub ike: Option<Wake>,
}

impl GatewayConfig {
    /// For these tunnels, without IKE.
    pub fn new(me: MemberId, tunnels: Vec<TunnelSpec>, replica_key: [u8; 16]) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &replica_key), b"phalanx ike spi");
        let spi_key = tag.as_ref().first_chunk().copied().unwrap_or(replica_key);
        Self {
            me,
            tunnels: tunnels.into(),
            guards: Vec::new(),
            rules: Vec::new(),
            clamp_mss: true,
            replica_key,
            spi_key,
            keepers: Vec::new(),
            engine: Choice::Auto,
            ike: None,
        }
    }

    /// What all workers of all members have, whoever comes and goes.
    pub fn policies(&self) -> Policies {
        let mut policies = Policies::new(self.tunnels.iter().map(|tunnel| (&tunnel.selectors, tunnel.inbound.spi)));
        self.guards.iter().for_each(|guard| policies.guard(guard));
        self.rules.iter().for_each(|(selectors, rule)| policies.rule(selectors.clone(), *rule));
        policies
    }
}

impl fmt::Debug for GatewayConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayConfig").field("tunnels", &self.tunnels).finish_non_exhaustive()
    }
}
