//! What "the same state" means: a digest of each session, and of a unit as their sum.
//!
//! The sum is wrapping, so it does not depend on the order in which sessions are visited, and a session that changes is
//! taken out and put back in. A session's digest covers its states and kept fields byte by byte, but of a stream only
//! where it begins and ends: the bytes between came in order, at their offsets, over an authenticated channel, and
//! hashing each relayed byte on both sides would cost more than it could ever find.
//!
//! The owner computes the same over its live sessions with [`SessionDigest`], and adds what still lies in its store.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::record::SessionKey;

/// The key of a cluster's digests: the same for all members.
#[derive(Clone, Copy)]
pub struct DigestKey(u64, u64);

impl DigestKey {
    /// The key with these bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        let both = u128::from_le_bytes(bytes);
        Self(both as u64, (both >> 64) as u64)
    }

    fn hasher(self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }

    fn state(self, version: u8, bytes: &[u8], added: &[u8]) -> u64 {
        let mut hasher = self.hasher();
        hasher.write_u8(version);
        hasher.write_u64(bytes.len() as u64);
        hasher.write(bytes);
        hasher.write(added);
        hasher.finish()
    }
}

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestKey")
    }
}

/// What counts of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct StreamShape {
    /// The first byte that is still needed.
    pub start: u64,
    /// Behind the last byte that is there.
    pub end: u64,
    /// Where the stream ends, if that is known.
    pub fin: Option<u64>,
}

/// One session's digest in the making. Hashes of states are kept, so that a change of a stream costs no hashing of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SessionDigest {
    session: SessionKey,
    app: u8,
    initial: u64,
    essential: u64,
    unknown: u64,
}

impl SessionDigest {
    /// Of a session without any state.
    pub const fn new(session: SessionKey, app: u8) -> Self {
        Self { session, app, initial: 0, essential: 0, unknown: 0 }
    }

    /// Takes over the initial state; `added` as in [`super::Update::added`].
    pub fn set_initial(&mut self, key: DigestKey, version: u8, bytes: &[u8], added: &[u8]) {
        self.initial = key.state(version, bytes, added);
    }

    /// Takes over the essential state.
    pub fn set_essential(&mut self, key: DigestKey, version: u8, bytes: &[u8], added: &[u8]) {
        self.essential = key.state(version, bytes, added);
    }

    /// Takes over what is kept of unknown kinds: all of them.
    pub fn set_unknown<'a>(&mut self, key: DigestKey, kinds: impl Iterator<Item = (u8, &'a [u8])>) {
        self.unknown = kinds.fold(0, |sum: u64, (kind, bytes)| sum.wrapping_add(key.state(kind, bytes, &[])));
    }

    /// The digest with these streams, by number. A stream that was never used counts as absent.
    pub fn value(&self, key: DigestKey, streams: impl Iterator<Item = StreamShape>) -> u64 {
        let mut hasher = key.hasher();
        hasher.write_u64(self.session.0 as u64);
        hasher.write_u64((self.session.0 >> 64) as u64);
        hasher.write_u64(u64::from(self.app));
        hasher.write_u64(self.initial);
        hasher.write_u64(self.essential);
        hasher.write_u64(self.unknown);
        for (number, shape) in streams.enumerate().filter(|(_, shape)| *shape != StreamShape::default()) {
            hasher.write_u64(number as u64);
            hasher.write_u64(shape.start);
            // A known end says where the bytes end, too.
            hasher.write_u64(shape.fin.unwrap_or(shape.end));
            hasher.write_u64(u64::from(shape.fin.is_some()));
        }
        hasher.finish()
    }
}
