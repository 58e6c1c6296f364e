//! What an IKE SA's record says if we began it.

use super::{restore_opening, save_opening};
use crate::crypto::{Group, KeyPair};
use crate::fields::{Reader, Writer};
use crate::state::{Beginning, Kept, Lack, Proving};

pub(super) fn save_beginning(to: &mut Writer, beginning: &Beginning) {
    let Beginning { connection, pair, nonce, cookie, turns } = beginning;
    to.bytes(1, connection.as_bytes()).number(2, pair.group().id().into()).bytes(3, pair.private().as_bytes());
    to.bytes(4, nonce).bytes(5, cookie).number(6, (*turns).into());
}

pub(super) fn restore_beginning(from: &Reader<'_>) -> Option<Beginning> {
    Some(Beginning {
        connection: from.text(1)?,
        pair: KeyPair::restore(Group::from_id(from.small(2)?)?, from.bytes(3)?)?,
        nonce: from.bytes(4)?.into(),
        cookie: from.bytes(5)?.into(),
        turns: from.small(6)?,
    })
}

pub(super) fn save_proving(to: &mut Writer, proving: &Proving) {
    let Proving { opening, connection, child: (child, spi) } = proving;
    to.nested(1, |to| save_opening(to, opening));
    to.bytes(2, connection.as_bytes()).bytes(3, child.as_bytes()).number(4, (*spi).into());
}

pub(super) fn restore_proving(from: &Reader<'_>) -> Option<Proving> {
    Some(Proving {
        opening: restore_opening(&from.nested(1)?)?,
        connection: from.text(2)?,
        child: (from.text(3)?, from.small(4)?),
    })
}

pub(super) fn save_kept(to: &mut Writer, kept: &Kept) {
    to.number(2, kept.begun);
    for Lack { name, at_s, tries } in &kept.lacking {
        to.nested(1, |to| {
            to.bytes(1, name.as_bytes()).number(2, *at_s).number(3, (*tries).into());
        });
    }
}

pub(super) fn restore_kept(from: &Reader<'_>) -> Option<Kept> {
    let lack = |bytes| {
        let from = Reader::new(bytes)?;
        Some(Lack { name: from.text(1)?, at_s: from.number(2)?, tries: from.small(3)? })
    };
    Some(Kept { begun: from.number(2)?, lacking: from.all(1).map(lack).collect::<Option<_>>()? })
}
