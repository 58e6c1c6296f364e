//! What the backups were told last of a session that is awake: what its digest is made of, what a snapshot tells, and what is left
//! of it in the store when it goes to sleep.

use zeroize::Zeroize;

use crate::replica::{Change, DigestKey, Outbox, Position, Record, SessionDigest, SessionKey, State, Update};
use crate::unit::Unit;

/// See the module. Records may hold keys, so they are overwritten when they go.
pub(super) struct Written {
    unit: Unit,
    session: SessionKey,
    record: Record,
    digest: SessionDigest,
}

impl Written {
    /// Nothing yet.
    pub(super) fn new(unit: Unit, session: SessionKey, app: u8) -> Self {
        let record = Record { app, ..Record::default() };
        Self { unit, session, record, digest: SessionDigest::new(session, app) }
    }

    /// What somebody else has told.
    pub(super) fn restore(unit: Unit, session: SessionKey, record: Record, key: DigestKey) -> Self {
        let digest = record.digest(key, session);
        Self { unit, session, record, digest }
    }

    /// Its last Essential record; empty: there is none.
    pub(super) fn essential(&self) -> &[u8] {
        self.record.essential.as_ref().map_or(&[], |state| &state.bytes)
    }

    /// Tells what it is.
    pub(super) fn write_initial(&mut self, outbox: &mut Outbox, key: DigestKey, version: u8, bytes: &[u8]) -> Position {
        set(&mut self.record.initial, version, bytes);
        self.digest.set_initial(key, version, bytes, &[]);
        outbox.append(&self.update(Change::Initial { version, bytes }))
    }

    /// Tells how it stands.
    pub(super) fn write_essential(
        &mut self,
        outbox: &mut Outbox,
        key: DigestKey,
        version: u8,
        bytes: &[u8],
    ) -> Position {
        set(&mut self.record.essential, version, bytes);
        self.digest.set_essential(key, version, bytes, &[]);
        outbox.append(&self.update(Change::Essential { version, bytes }))
    }

    /// Tells that it is no more.
    pub(super) fn remove(self, outbox: &mut Outbox) -> Position {
        outbox.append(&self.update(Change::Remove))
    }

    const fn update<'a>(&self, change: Change<'a>) -> Update<'a> {
        Update::new(self.unit, self.session, self.record.app, change)
    }

    /// Its share of its unit's digest.
    pub(super) fn digest(&self, key: DigestKey) -> u64 {
        self.digest.value(key, std::iter::empty())
    }

    /// Tells the changes that make it.
    pub(super) fn put(&self, put: &mut dyn FnMut(&Update<'_>)) {
        self.record.put(|change, added| put(&Update { added, ..self.update(change) }));
    }
}

/// A state's bytes, in the buffer of those before.
fn set(place: &mut Option<State>, version: u8, bytes: &[u8]) {
    let state = place.get_or_insert_default();
    if bytes.len() > state.bytes.capacity() {
        // A buffer that grows would leave its bytes behind.
        state.bytes.zeroize();
        state.bytes = Vec::with_capacity(bytes.len());
    }
    state.version = version;
    state.bytes.clear();
    state.bytes.extend_from_slice(bytes);
    state.added.clear();
}

impl Drop for Written {
    fn drop(&mut self) {
        for state in [&mut self.record.initial, &mut self.record.essential].into_iter().flatten() {
            state.bytes.zeroize();
        }
    }
}
