//! IKEv2's messages as bytes (RFC 7296 section 3, RFC 7383).
//!
//! A message is a header and a chain of payloads; after the first exchange, a header and one payload that seals the
//! others. What is here knows no keys: [`parse`] gives the payloads of a plain message, and of a sealed one what is to be
//! opened; what was opened goes to [`payloads`]. The way out is the same: [`emit`]; or [`emit_payloads`], and then
//! [`emit_sealed_head`] says what goes before the sealed bytes.
//!
//! Parsing is total and bounded ([`limits`]): any bytes give payloads or [`Malformed`]. What is parsed is owned: messages
//! are few and short-lived. Reserved fields are not looked at (section 2.5). What is emitted and parsed is the same again.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `header`, `message` | the header; plain, sealed and fragmented messages |
//! | `chain`, `payload` | payloads one behind the other; the body of each |
//! | `sa`, `selectors`, `configuration` | payloads with a structure of their own |
//! | `ranges` | selectors as sets of traffic |
//! | `limits`, `numbers`, `bytes` | bounds; numbers of kinds; reading off bytes |

mod bytes;
mod chain;
mod configuration;
mod header;
pub mod limits;
mod message;
mod numbers;
mod payload;
mod ranges;
mod sa;
mod selectors;
#[cfg(test)]
mod tests;

pub use chain::{emit_payloads, payloads};
pub use header::{HEADER_BYTES, header, header_of_any_version};
pub use message::{
    Body, FRAGMENT_HEAD_BYTES, FragmentOf, Parsed, SEALED_HEAD_BYTES, Sealed, emit, emit_fragment_head,
    emit_sealed_head, parse,
};
use numbers::kind;
pub use numbers::protocol;

/// A security parameter index of IKE's: 0 is "none yet".
pub type IkeSpi = u64;

/// What a message is about (section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Exchange(pub u8);

impl Exchange {
    /// Algorithms, key exchange, nonces.
    pub const IKE_SA_INIT: Self = Self(34);
    /// Who we are, and the first child SA.
    pub const IKE_AUTH: Self = Self(35);
    /// A further child SA, or new keys.
    pub const CREATE_CHILD_SA: Self = Self(36);
    /// All else.
    pub const INFORMATIONAL: Self = Self(37);
}

/// A message's header (section 3.1), without its length and the kind of its first payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// The original initiator's.
    pub initiator_spi: IkeSpi,
    /// The original responder's.
    pub responder_spi: IkeSpi,
    /// What it is about.
    pub exchange: Exchange,
    /// It comes from the original initiator of the IKE SA.
    pub from_initiator: bool,
    /// It answers a request with the same message ID.
    pub response: bool,
    /// Counts requests, each side's for itself.
    pub message_id: u32,
}

/// A payload. What a version of IKE that we do not know adds is [`Payload::Unknown`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// Sets of algorithms (section 3.3).
    Sa(Vec<Proposal>),
    /// A public key (3.4).
    KeyExchange {
        /// Of this group.
        group: u16,
        /// As the group writes it.
        public: Vec<u8>,
    },
    /// The initiator's name (3.5).
    IdInitiator(Identity),
    /// The responder's name.
    IdResponder(Identity),
    /// A certificate (3.6).
    Certificate {
        /// What it is; 4: X.509.
        encoding: u8,
        /// It.
        data: Vec<u8>,
    },
    /// Which certificates are wanted (3.7).
    CertificateRequest {
        /// What kind.
        encoding: u8,
        /// The authorities, as hashes of their keys, one behind the other.
        authorities: Vec<u8>,
    },
    /// The proof of a name (3.8).
    Auth {
        /// How; 2: a shared key.
        method: u8,
        /// The proof.
        data: Vec<u8>,
    },
    /// Random (3.9).
    Nonce(Vec<u8>),
    /// An error or a fact (3.10).
    Notify(Notify),
    /// SAs that are no more (3.11).
    Delete {
        /// 1: the IKE SA itself, 2: AH, 3: ESP.
        protocol: u8,
        /// The sender's inbound SPIs, in host byte order; none for IKE.
        spis: Vec<u32>,
    },
    /// Whose program it is (3.12).
    VendorId(Vec<u8>),
    /// The initiator's traffic (3.13).
    SelectorsInitiator(Vec<Selector>),
    /// The responder's traffic.
    SelectorsResponder(Vec<Selector>),
    /// Addresses and the like (3.15).
    Configuration {
        /// 1: request, 2: reply, 3: set, 4: acknowledged.
        kind: u8,
        /// What.
        attributes: Vec<Attribute>,
    },
    /// A message of the Extensible Authentication Protocol, whole (3.16).
    Eap(Vec<u8>),
    /// A kind that is not known here.
    Unknown {
        /// Its number.
        kind: u8,
        /// Whoever does not understand it must refuse the message.
        critical: bool,
    },
}

/// Algorithms that go together (section 3.3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// Its number, from 1; the answer repeats it.
    pub number: u8,
    /// 1: IKE, 2: AH, 3: ESP.
    pub protocol: u8,
    /// The sender's inbound SPI: none, 4 or 8 bytes; of a protocol that is not known here any.
    pub spi: Vec<u8>,
    /// The algorithms; of each kind one is to be chosen.
    pub transforms: Vec<Transform>,
}

/// An algorithm (section 3.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Transform {
    /// 1: encryption, 2: PRF, 3: integrity, 4: key exchange, 5: extended sequence numbers.
    pub kind: u8,
    /// Its number among those of its kind.
    pub id: u16,
    /// The attribute "key length", in bits.
    pub key_bits: Option<u16>,
    /// It has an attribute that is not known here: it must not be chosen (section 3.3.6).
    pub strange: bool,
}

/// A name (section 3.5).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// 1: IPv4 address, 2: FQDN, 3: e-mail address, 5: IPv6 address, 9: distinguished name (DER), 11: key ID.
    pub kind: u8,
    /// It.
    pub data: Vec<u8>,
}

/// An error or a fact (section 3.10). The numbers are in [`notify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notify {
    /// 0, or of which protocol's SA it speaks: 2: AH, 3: ESP.
    pub protocol: u8,
    /// Of which SA.
    pub spi: Vec<u8>,
    /// What.
    pub kind: u16,
    /// More about it.
    pub data: Vec<u8>,
}

/// Traffic: a range of addresses of one family, and of ports (section 3.13.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Selector {
    /// The protocol; 0: any.
    pub protocol: u8,
    /// The lowest and highest port; 0 and 65535: any; 65535 and 0: none to be seen ("opaque").
    pub ports: (u16, u16),
    /// The lowest and highest address: both of one family.
    pub addresses: (std::net::IpAddr, std::net::IpAddr),
}

/// An attribute of a configuration payload (section 3.15.1). The numbers are in [`attribute`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Attribute {
    /// What.
    pub kind: u16,
    /// Its value; empty in requests that leave it open.
    pub value: Vec<u8>,
}

/// Kinds of notifications.
pub mod notify {
    /// Errors (RFC 7296 section 3.10.1).
    pub const UNSUPPORTED_CRITICAL_PAYLOAD: u16 = 1;
    /// Nobody knows these SPIs.
    pub const INVALID_IKE_SPI: u16 = 4;
    /// Another major version.
    pub const INVALID_MAJOR_VERSION: u16 = 5;
    /// It makes no sense.
    pub const INVALID_SYNTAX: u16 = 7;
    /// A message ID that is not expected.
    pub const INVALID_MESSAGE_ID: u16 = 9;
    /// ESP came with an SPI that nobody knows.
    pub const INVALID_SPI: u16 = 11;
    /// Nothing that was proposed suits.
    pub const NO_PROPOSAL_CHOSEN: u16 = 14;
    /// Another group is wanted; data: its number.
    pub const INVALID_KE_PAYLOAD: u16 = 17;
    /// Who you are could not be proved.
    pub const AUTHENTICATION_FAILED: u16 = 24;
    /// One pair of addresses only.
    pub const SINGLE_PAIR_REQUIRED: u16 = 34;
    /// No further child SA.
    pub const NO_ADDITIONAL_SAS: u16 = 35;
    /// No address to be had.
    pub const INTERNAL_ADDRESS_FAILURE: u16 = 36;
    /// An address must be asked for.
    pub const FAILED_CP_REQUIRED: u16 = 37;
    /// The selectors do not suit.
    pub const TS_UNACCEPTABLE: u16 = 38;
    /// These selectors do not suit.
    pub const INVALID_SELECTORS: u16 = 39;
    /// The sender will not be spoken with from there (RFC 4555).
    pub const UNACCEPTABLE_ADDRESSES: u16 = 40;
    /// Try later.
    pub const TEMPORARY_FAILURE: u16 = 43;
    /// There is no such child SA.
    pub const CHILD_SA_NOT_FOUND: u16 = 44;
    /// There are as many child SAs for this traffic as there may be (RFC 9611).
    pub const TS_MAX_QUEUE: u16 = 48;

    /// Facts (section 3.10.1).
    pub const INITIAL_CONTACT: u16 = 16384;
    /// How many child SAs the window holds.
    pub const SET_WINDOW_SIZE: u16 = 16385;
    /// There would be more selectors.
    pub const ADDITIONAL_TS_POSSIBLE: u16 = 16386;
    /// Compression.
    pub const IPCOMP_SUPPORTED: u16 = 16387;
    /// A hash of where the sender sent from.
    pub const NAT_DETECTION_SOURCE_IP: u16 = 16388;
    /// A hash of where it sent to.
    pub const NAT_DETECTION_DESTINATION_IP: u16 = 16389;
    /// Come again with this.
    pub const COOKIE: u16 = 16390;
    /// Transport mode is wanted, or granted.
    pub const USE_TRANSPORT_MODE: u16 = 16391;
    /// Which SA gets new keys.
    pub const REKEY_SA: u16 = 16393;
    /// No padding of whole packets.
    pub const ESP_TFC_PADDING_NOT_SUPPORTED: u16 = 16394;
    /// Fragments other than the first are carried, too.
    pub const NON_FIRST_FRAGMENTS_ALSO: u16 = 16395;
    /// The sender may move (RFC 4555).
    pub const MOBIKE_SUPPORTED: u16 = 16396;
    /// Another address of the sender's.
    pub const ADDITIONAL_IP4_ADDRESS: u16 = 16397;
    /// Another address of the sender's.
    pub const ADDITIONAL_IP6_ADDRESS: u16 = 16398;
    /// It has no other.
    pub const NO_ADDITIONAL_ADDRESSES: u16 = 16399;
    /// From now on from here.
    pub const UPDATE_SA_ADDRESSES: u16 = 16400;
    /// The answer repeats it.
    pub const COOKIE2: u16 = 16401;
    /// Which hashes signatures may use (RFC 7427).
    pub const SIGNATURE_HASH_ALGORITHMS: u16 = 16431;
    /// Authenticate again within so many seconds (RFC 4478).
    pub const AUTH_LIFETIME: u16 = 16403;
    /// EAP alone will do (RFC 5998).
    pub const EAP_ONLY_AUTHENTICATION: u16 = 16417;
    /// What the sender will prove by that it has lost the IKE SA (RFC 6290).
    pub const QUICK_CRASH_DETECTION: u16 = 16419;
    /// Message IDs can be agreed on anew (RFC 6311).
    pub const IKEV2_MESSAGE_ID_SYNC_SUPPORTED: u16 = 16420;
    /// Replay counters, too.
    pub const IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED: u16 = 16421;
    /// What they are.
    pub const IKEV2_MESSAGE_ID_SYNC: u16 = 16422;
    /// How far they go.
    pub const IPSEC_REPLAY_COUNTER_SYNC: u16 = 16423;
    /// Messages can come in pieces (RFC 7383).
    pub const IKEV2_FRAGMENTATION_SUPPORTED: u16 = 16430;
    /// There may be several child SAs for the same traffic, one for each CPU, say (RFC 9611).
    pub const SA_RESOURCE_INFO: u16 = 16444;
}

/// Kinds of attributes of configuration payloads (RFC 7296 section 3.15.1).
pub mod attribute {
    /// An address to be used inside.
    pub const INTERNAL_IP4_ADDRESS: u16 = 1;
    /// Its network's mask.
    pub const INTERNAL_IP4_NETMASK: u16 = 2;
    /// A name server.
    pub const INTERNAL_IP4_DNS: u16 = 3;
    /// An address (16 bytes) and a prefix length.
    pub const INTERNAL_IP6_ADDRESS: u16 = 8;
    /// A name server.
    pub const INTERNAL_IP6_DNS: u16 = 10;
    /// A network behind the gateway: address and mask.
    pub const INTERNAL_IP4_SUBNET: u16 = 13;
    /// A network behind the gateway: address and prefix length.
    pub const INTERNAL_IP6_SUBNET: u16 = 15;
    /// A domain of names.
    pub const INTERNAL_DNS_DOMAIN: u16 = 25;
}

/// Why bytes are no message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Malformed {
    /// They end too early, or a length says so.
    #[error("it ends too early")]
    Truncated,
    /// Bytes are left that belong to nothing.
    #[error("it is longer than it says")]
    Excess,
    /// A version other than 2.
    #[error("IKE version {0} is not spoken here")]
    Version(u8),
    /// A field's value is not allowed.
    #[error("its {0} has no allowed value")]
    Value(&'static str),
    /// It has more of something than is looked at.
    #[error("it has too many {0}")]
    TooMany(&'static str),
}
