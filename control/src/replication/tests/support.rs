//! What both kinds of tests build on.

use phalanx_dataplane::replica::{Change, DigestKey, SessionKey, TableVersion, Update};
use phalanx_dataplane::unit::{MemberId, Unit};

pub(super) const KEY: DigestKey = DigestKey::new(*b"a digest key....");

pub(super) fn id(number: u8) -> MemberId {
    MemberId::new(number).unwrap()
}

pub(super) fn unit(number: u16) -> Unit {
    Unit::new(number).unwrap()
}

pub(super) fn table(generation: u64) -> TableVersion {
    TableVersion { term: 1, generation }
}

pub(super) fn update(unit: Unit, session: u128, change: Change<'_>) -> Update<'_> {
    Update::new(unit, SessionKey(session), 1, change)
}
