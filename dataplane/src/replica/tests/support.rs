//! Shorthand.

use super::super::*;
use crate::unit::{MemberId, Unit};

pub(super) const KEY: DigestKey = DigestKey::new(*b"a digest key....");
pub(super) const INITIAL: Change<'_> = Change::Initial { version: 1, bytes: b"initial" };

pub(super) fn id(number: u8) -> MemberId {
    MemberId::new(number).unwrap()
}

pub(super) fn unit(number: u16) -> Unit {
    Unit::new(number).unwrap()
}

pub(super) fn table(generation: u64) -> TableVersion {
    TableVersion { term: 1, generation }
}

pub(super) fn update(session: u128, change: Change<'_>) -> Update<'_> {
    Update::new(unit(5), SessionKey(session), 1, change)
}

pub(super) const fn append(stream: u8, offset: u64, bytes: &[u8]) -> Change<'_> {
    Change::Append { stream, offset, bytes }
}

/// A store where member 1 owns unit 5, in sync.
pub(super) fn store(limits: StoreLimits) -> Store {
    let mut store = Store::new(KEY, limits);
    store.set_owner(unit(5), Some(id(1)), table(3));
    store.set_version(table(3));
    store.apply(id(1), table(3), &Update::of_unit(unit(5), Change::UnitCheck { digest: 0 })).unwrap();
    store
}
