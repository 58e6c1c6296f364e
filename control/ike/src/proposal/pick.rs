//! What of an offer suits a list.

use crate::crypto::{Cipher, Group, Integrity, Prf};
use crate::wire::{Proposal, Transform};

use super::esp::EspCipher;

/// Kinds of transforms (RFC 7296 section 3.3.2).
pub(super) mod kind {
    pub(in crate::proposal) const ENCRYPTION: u8 = 1;
    pub(in crate::proposal) const PRF: u8 = 2;
    pub(in crate::proposal) const INTEGRITY: u8 = 3;
    pub(in crate::proposal) const KEY_EXCHANGE: u8 = 4;
    pub(in crate::proposal) const SEQUENCE_NUMBERS: u8 = 5;
}

/// The number for "none" of integrity and key exchange.
const NONE: u16 = 0;

/// What can be in a proposal.
pub(super) trait Offered: Copy {
    /// As it is on the wire.
    fn transform(self) -> Transform;
}

fn plain(kind: u8, id: u16) -> Transform {
    Transform { kind, id, key_bits: None, strange: false }
}

impl Offered for Cipher {
    fn transform(self) -> Transform {
        Transform { key_bits: self.key_bits(), ..plain(kind::ENCRYPTION, self.id()) }
    }
}

impl Offered for EspCipher {
    fn transform(self) -> Transform {
        Transform { key_bits: self.key_bits(), ..plain(kind::ENCRYPTION, self.id()) }
    }
}

impl Offered for Prf {
    fn transform(self) -> Transform {
        plain(kind::PRF, self.id())
    }
}

impl Offered for Integrity {
    fn transform(self) -> Transform {
        plain(kind::INTEGRITY, self.id())
    }
}

impl Offered for Group {
    fn transform(self) -> Transform {
        plain(kind::KEY_EXCHANGE, self.id())
    }
}

/// Extended sequence numbers: yes or no.
impl Offered for bool {
    fn transform(self) -> Transform {
        plain(kind::SEQUENCE_NUMBERS, u16::from(self))
    }
}

/// All of a list, as it is on the wire.
pub(super) fn all<T: Offered>(list: &[T]) -> impl Iterator<Item = Transform> {
    list.iter().map(|one| one.transform())
}

/// Something that suits: the lower its rank, the better we like it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick<T> {
    pub(super) rank: usize,
    pub(super) what: T,
    /// What the answer has of this kind.
    pub(super) answer: Option<Transform>,
}

/// The first of ours that they offer, too.
pub(super) fn first<T: Offered>(ours: &[T], theirs: &Proposal) -> Option<Pick<T>> {
    let mut ranked = ours.iter().copied().enumerate();
    let (rank, what) = ranked.find(|(_, one)| theirs.transforms.contains(&one.transform()))?;
    Some(Pick { rank, what, answer: Some(what.transform()) })
}

/// The group that they sent a key of, if they offer it and it is ours; else the first.
pub(super) fn group(ours: &[Group], theirs: &Proposal, sent: Option<u16>) -> Option<Pick<Group>> {
    let sent = ours.iter().copied().find(|group| Some(group.id()) == sent);
    let sent = sent.and_then(|group| first(&[group], theirs));
    sent.or_else(|| first(ours, theirs).map(|pick| Pick { rank: pick.rank + 1, ..pick }))
}

/// Nothing of a kind, which suits if they offer nothing or "none". The answer repeats the latter: there is to be one of each
/// kind that was offered.
pub(super) fn none<T>(kind: u8, theirs: &Proposal) -> Option<Pick<Option<T>>> {
    let none = plain(kind, NONE);
    let offered = theirs.transforms.contains(&none).then_some(none);
    let suits = offered.is_some() || !theirs.transforms.iter().any(|transform| transform.kind == kind);
    suits.then_some(Pick { rank: 0, what: None, answer: offered })
}

/// Something of a kind.
pub(super) fn some<T>(pick: Pick<T>) -> Pick<Option<T>> {
    Pick { rank: pick.rank, what: Some(pick.what), answer: pick.answer }
}

/// Whether there is no kind but these: others might ask for what is not done here (section 3.3.6).
pub(super) fn has_only(kinds: &[u8], theirs: &Proposal) -> bool {
    theirs.transforms.iter().all(|transform| kinds.contains(&transform.kind))
}

/// Whether there is no kind twice, as it must be in answers.
pub(super) fn is_answer(theirs: &Proposal) -> bool {
    let kinds = || theirs.transforms.iter().map(|transform| transform.kind);
    kinds().enumerate().all(|(place, kind)| kinds().position(|other| other == kind) == Some(place))
}

/// Our proposal that an answer names by its number.
pub(super) fn numbered<'o, P>(ours: &'o [P], answer: &Proposal) -> Option<&'o [P]> {
    let place = usize::from(answer.number).checked_sub(1)?;
    ours.get(place..=place)
}
