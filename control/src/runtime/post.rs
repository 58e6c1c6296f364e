//! The post office: every cluster message goes out sealed and comes in through here.
//!
//! A message is sealed once and the same bytes go by every path. So of what comes in, most are copies; they are told by
//! their number before any cryptography is done, and count as a sign of life on the path that they came by. A copy can be
//! repeated by anyone, though, so each number counts once per path and only upwards: a recording of a member that is
//! dead proves nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use phalanx_dataplane::unit::{MEMBER_NUMBER_MAX, MemberId};

use crate::cluster::{Message, PORTS_MAX, Path};
use crate::codec::{decode, encode};
use crate::envelope::beacon::{BeaconError, BeaconOpener, BeaconSealer};
use crate::envelope::{OpenError, Opener, Position, SALT_BYTES, SealError, Sealer, peek};
use crate::limited::Limited;
use crate::pki::{Admission, Identity, PeerIdentity, Roster, WallTime};

/// Kind byte of a sealed datagram.
const KIND_SEALED: u8 = 1;
/// In a sealed datagram, the receiver's number; this for all.
const EVERYONE: u8 = 0;
/// Kind byte of a beacon.
const KIND_BEACON: u8 = 2;
/// In a reliable message, what stands before the message: where the sender's datagrams are.
const POSITION_BYTES: usize = SALT_BYTES + 16;

/// What came in.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A message.
    Message(MemberId, Box<Message>),
    /// A copy of one that came before.
    Copy(MemberId),
    /// Nothing that counts.
    Nothing,
}

/// Frames that were refused, by reason.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refused {
    /// See [`OpenError`].
    pub(super) malformed: u64,
    /// From members that were not admitted (yet).
    pub(super) unknown: u64,
    /// From revoked members.
    pub(super) revoked: u64,
    /// Replays.
    pub(super) replay: u64,
    /// Seal or signature wrong.
    pub(super) forged: u64,
    /// Beacons beyond the rate.
    pub(super) rate_limited: u64,
    /// Beacons whose certificate is not accepted.
    pub(super) not_admitted: u64,
    /// Meant for another member.
    pub(super) misdirected: u64,
}

impl Refused {
    /// Reason and count.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("malformed", self.malformed),
            ("unknown_sender", self.unknown),
            ("revoked", self.revoked),
            ("replay", self.replay),
            ("forged", self.forged),
            ("rate_limited", self.rate_limited),
            ("not_admitted", self.not_admitted),
            ("misdirected", self.misdirected),
        ]
        .into_iter()
    }
}

/// The highest number of a member that each path brought.
#[derive(Clone, Copy, Default)]
struct Counted {
    incarnation: u64,
    next: [u64; PORTS_MAX + 1],
}

/// Seals and opens.
pub(super) struct Post {
    me: MemberId,
    sealer: Sealer,
    opener: Opener,
    beacons_out: BeaconSealer,
    beacons_in: BeaconOpener,
    pub(super) roster: Roster,
    counted: Vec<Counted>,
    pub(super) refused: Refused,
    body: Vec<u8>,
    sealed: Vec<u8>,
    /// By the number that a refused beacon claims.
    not_admitted_log: BTreeMap<u8, Limited>,
}

impl Post {
    /// A post office for one boot; `salt` is drawn anew for each.
    pub(super) fn new(
        identity: &Identity,
        admission: Admission,
        salt: [u8; SALT_BYTES],
        boot: u64,
    ) -> Result<Self, SealError> {
        let signing = Arc::clone(identity.signing_key());
        Ok(Self {
            me: identity.member(),
            sealer: Sealer::new(identity.member(), signing, identity.secret(), salt, boot)?,
            opener: Opener::new(identity.secret().clone()),
            beacons_out: BeaconSealer::new(identity, salt, boot)?,
            beacons_in: BeaconOpener::new(identity.secret().clone()),
            roster: Roster::new(admission),
            counted: vec![Counted::default(); usize::from(MEMBER_NUMBER_MAX)],
            refused: Refused::default(),
            body: Vec::new(),
            sealed: Vec::new(),
            not_admitted_log: BTreeMap::new(),
        })
    }

    /// The frame (kind byte and all) that says `message` to one member, or to all. The receiver is named inside the
    /// seal, so that nobody on the LAN can turn a message to another one.
    pub(super) fn seal(&mut self, message: &Message, to: Option<MemberId>) -> Result<Vec<u8>, SealError> {
        self.body.clear();
        self.body.push(to.map_or(EVERYONE, MemberId::number));
        encode(message, &mut self.body);
        self.sealer.seal(&self.body, &mut self.sealed)?;
        Ok(framed(KIND_SEALED, &self.sealed))
    }

    /// The frame that says `message` to anyone who holds the cluster's secret.
    pub(super) fn seal_beacon(&mut self, message: &Message) -> Result<Vec<u8>, SealError> {
        self.body.clear();
        encode(message, &mut self.body);
        self.beacons_out.seal(&self.body, &mut self.sealed)?;
        Ok(framed(KIND_BEACON, &self.sealed))
    }

    /// The bytes that say `message` over the mutually authenticated link, with this member's position.
    pub(super) fn enclose(&mut self, message: &Message) -> Vec<u8> {
        let Position { salt, incarnation, counter } = self.sealer.position();
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&salt);
        bytes.extend_from_slice(&incarnation.to_be_bytes());
        bytes.extend_from_slice(&counter.to_be_bytes());
        encode(message, &mut bytes);
        bytes
    }

    /// Opens what the link brought.
    pub(super) fn disclose(&mut self, peer: &PeerIdentity, bytes: &[u8]) -> Arrival {
        let parsed = bytes.split_first_chunk::<POSITION_BYTES>().and_then(|(head, rest)| {
            let (salt, head) = head.split_first_chunk::<SALT_BYTES>()?;
            let (incarnation, head) = head.split_first_chunk::<8>()?;
            let incarnation = u64::from_be_bytes(*incarnation);
            let counter = u64::from_be_bytes(*head.first_chunk()?);
            Some((Position { salt: *salt, incarnation, counter }, decode(rest).ok()?))
        });
        match parsed {
            Some((position, message @ (Message::JoinRequest(_) | Message::JoinAnswer(_)))) => {
                self.opener.vouch(peer.member, position);
                Arrival::Message(peer.member, Box::new(message))
            }
            _ => self.malformed(),
        }
    }

    /// Opens a frame that came by `path`.
    pub(super) fn open(&mut self, frame: &[u8], path: Path, now_ns: u64) -> Arrival {
        match frame.split_first() {
            Some((&KIND_SEALED, sealed)) => self.open_sealed(sealed, path),
            Some((&KIND_BEACON, beacon)) => self.open_beacon(beacon, now_ns),
            _ => self.malformed(),
        }
    }

    fn open_sealed(&mut self, sealed: &[u8], path: Path) -> Arrival {
        let opened = self.opener.open(sealed, &self.roster);
        let opened = match opened {
            Ok(opened) => opened,
            Err(OpenError::Duplicate) => return self.copy(sealed, path),
            Err(error) => return self.refuse(error),
        };
        let (sender, incarnation, counter) = (opened.sender, opened.incarnation, opened.counter);
        // A beacon or a join belongs in another kind of envelope, however well sealed it is.
        let Some((&receiver, body)) = opened.body.split_first() else { return self.malformed() };
        let message = match decode(body) {
            Ok(Message::Beacon(_) | Message::JoinRequest(_) | Message::JoinAnswer(_)) | Err(_) => {
                return self.malformed();
            }
            Ok(message) => message,
        };
        if let Some(counted) = self.counted.get_mut(sender.index()) {
            if counted.incarnation != incarnation {
                *counted = Counted { incarnation, ..Counted::default() };
            }
            counted.count(path, counter);
        }
        if receiver != EVERYONE && receiver != self.me.number() {
            self.refused.misdirected += 1;
            return Arrival::Nothing;
        }
        Arrival::Message(sender, Box::new(message))
    }

    fn copy(&mut self, sealed: &[u8], path: Path) -> Arrival {
        let Some((sender, counter)) = peek(sealed) else { return Arrival::Nothing };
        let news = self.counted.get_mut(sender.index()).is_some_and(|counted| counted.count(path, counter));
        if news { Arrival::Copy(sender) } else { Arrival::Nothing }
    }

    fn open_beacon(&mut self, beacon: &[u8], now_ns: u64) -> Arrival {
        let wall = WallTime::read_clock();
        let opened = match self.beacons_in.open(beacon, self.roster.admission(), wall, now_ns) {
            Ok(opened) => opened,
            Err(BeaconError::Open(OpenError::Duplicate)) => return Arrival::Nothing,
            Err(BeaconError::Open(error)) => return self.refuse(error),
            Err(error @ BeaconError::NotAdmitted { sender, .. }) => {
                self.refused.not_admitted += 1;
                let log = self.not_admitted_log.entry(sender).or_insert_with(Limited::rare);
                if let Some(left_out) = log.take(now_ns) {
                    tracing::warn!(left_out, "beacon refused: {error}");
                }
                return Arrival::Nothing;
            }
        };
        let member = opened.peer.member;
        let Ok(message @ Message::Beacon(_)) = decode(opened.body) else { return self.malformed() };
        match self.roster.admit(opened.certificate, wall) {
            Ok(_) => Arrival::Message(member, Box::new(message)),
            Err(_) => Arrival::Nothing,
        }
    }

    /// The name of a member, if it ever introduced itself.
    pub(super) fn names(&self) -> Vec<(MemberId, String)> {
        self.roster.peers().map(|peer| (peer.member, peer.name.as_str().to_owned())).collect()
    }

    fn malformed(&mut self) -> Arrival {
        self.refused.malformed += 1;
        Arrival::Nothing
    }

    fn refuse(&mut self, error: OpenError) -> Arrival {
        let refused = &mut self.refused;
        let count = match error {
            OpenError::Malformed | OpenError::Duplicate => &mut refused.malformed,
            OpenError::UnknownSender => &mut refused.unknown,
            OpenError::Revoked => &mut refused.revoked,
            OpenError::Replay => &mut refused.replay,
            OpenError::Forged => &mut refused.forged,
            OpenError::RateLimited => &mut refused.rate_limited,
        };
        *count += 1;
        Arrival::Nothing
    }
}

impl Counted {
    /// Whether this number is news on this path.
    fn count(&mut self, path: Path, counter: u64) -> bool {
        let place = match path {
            Path::Link => 0,
            Path::Port(port) => usize::from(port) + 1,
        };
        match self.next.get_mut(place) {
            Some(next) if counter >= *next => {
                *next = counter.saturating_add(1);
                true
            }
            _ => false,
        }
    }
}

fn framed(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(1 + content.len());
    frame.push(kind);
    frame.extend_from_slice(content);
    frame
}
