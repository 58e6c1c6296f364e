//! Proposals for an IKE SA.

use std::fmt;
use std::str::FromStr;

use super::esp::EspCipher;
use super::names::{self, Part};
use super::pick::{self, Pick, kind};
use super::text::{self, Parts, ProposalError};
use crate::crypto::{Cipher, Group, Integrity, Prf, Suite};
use crate::wire::Proposal;

/// IKE's number among protocols.
const PROTOCOL: u8 = 1;

/// Algorithms that go together: of each kind one is taken, the first that both sides have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IkeProposal {
    ciphers: Vec<Cipher>,
    /// None, if the ciphers check.
    integrities: Vec<Integrity>,
    prfs: Vec<Prf>,
    groups: Vec<Group>,
}

impl FromStr for IkeProposal {
    type Err = ProposalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Parts::read(text)?;
        let aead = parts.are_aeads()?;
        let ciphers = parts.ciphers.iter().map(|cipher| match cipher {
            EspCipher::Ike(cipher) => Ok(*cipher),
            other => Err(ProposalError::Misplaced { name: names::name(Part::Cipher(*other)), what: "IKE" }),
        });
        let ciphers = ciphers.collect::<Result<_, _>>()?;
        text::misplaced(parts.esn.first().map(|esn| Part::Esn(*esn)), "IKE")?;
        if parts.prfs.is_empty() {
            parts.prfs = prfs_of(&parts.integrities);
        }
        if aead {
            // What checks is not needed; that it named the PRF is a habit of old.
            parts.integrities.clear();
        } else if parts.integrities.is_empty() {
            return Err(ProposalError::Missing("integrity, like `sha256`"));
        }
        if parts.prfs.is_empty() {
            return Err(ProposalError::Missing("PRF, like `prfsha256`"));
        }
        if parts.groups.is_empty() {
            return Err(ProposalError::Missing("group, like `x25519`"));
        }
        Ok(Self { ciphers, integrities: parts.integrities, prfs: parts.prfs, groups: parts.groups })
    }
}

/// The PRFs that go with checks of the same make.
fn prfs_of(integrities: &[Integrity]) -> Vec<Prf> {
    let prf_of = |integrity: &Integrity| match integrity {
        Integrity::HmacSha1_96 => Prf::HmacSha1,
        Integrity::HmacSha256_128 => Prf::HmacSha256,
        Integrity::HmacSha384_192 => Prf::HmacSha384,
        Integrity::HmacSha512_256 => Prf::HmacSha512,
        Integrity::AesXcbc96 => Prf::AesXcbc,
        Integrity::AesCmac96 => Prf::AesCmac,
    };
    integrities.iter().map(prf_of).collect()
}

impl fmt::Display for IkeProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ciphers = self.ciphers.iter().map(|cipher| Part::Cipher(EspCipher::Ike(*cipher)));
        let integrities = self.integrities.iter().map(|integrity| Part::Integrity(*integrity));
        let named = if self.prfs == prfs_of(&self.integrities) { &[][..] } else { &self.prfs };
        let prfs = named.iter().map(|prf| Part::Prf(*prf));
        let groups = self.groups.iter().map(|group| Part::Group(*group));
        f.write_str(&text::joined(ciphers.chain(integrities).chain(prfs).chain(groups)))
    }
}

/// Our proposals as they are offered: numbered from 1. `spi` is empty but where an IKE SA takes over from another.
pub fn offer_ike(ours: &[IkeProposal], spi: &[u8]) -> Vec<Proposal> {
    let offered = |(number, ours): (u8, &IkeProposal)| {
        let transforms = pick::all(&ours.ciphers).chain(pick::all(&ours.prfs));
        let transforms = transforms.chain(pick::all(&ours.integrities)).chain(pick::all(&ours.groups)).collect();
        Proposal { number, protocol: PROTOCOL, spi: spi.to_vec(), transforms }
    };
    (1..=u8::MAX).zip(ours).map(offered).collect()
}

/// What of their offer suits us best: its number, the algorithms, and the answer, whose SPI is to be filled in.
///
/// `sent_group` is the group that they sent a key of. It is preferred among those of one proposal of ours; if another one is
/// chosen, they are to be told so (INVALID_KE_PAYLOAD).
pub fn choose_ike(ours: &[IkeProposal], theirs: &[Proposal], sent_group: Option<u16>) -> Option<(u8, Suite, Proposal)> {
    ours.iter().find_map(|ours| {
        let suiting = theirs.iter().filter_map(|theirs| suit(ours, theirs, sent_group));
        let (_, suite, answer) = suiting.min_by_key(|(rank, _, _)| *rank)?;
        Some((answer.number, suite, answer))
    })
}

/// The algorithms that an answer names, if it takes them from the proposal of ours whose number it repeats, one of each kind.
pub fn accepted_ike(ours: &[IkeProposal], answer: &Proposal) -> Option<Suite> {
    let ours = pick::numbered(ours, answer).filter(|_| pick::is_answer(answer))?;
    choose_ike(ours, std::slice::from_ref(answer), None).map(|(_, suite, _)| suite)
}

fn suit(ours: &IkeProposal, theirs: &Proposal, sent_group: Option<u16>) -> Option<([usize; 4], Suite, Proposal)> {
    const KINDS: [u8; 4] = [kind::ENCRYPTION, kind::PRF, kind::INTEGRITY, kind::KEY_EXCHANGE];
    (theirs.protocol == PROTOCOL && pick::has_only(&KINDS, theirs)).then_some(())?;
    let cipher = pick::first(&ours.ciphers, theirs)?;
    let prf = pick::first(&ours.prfs, theirs)?;
    let integrity: Pick<Option<Integrity>> = if cipher.what.is_aead() {
        pick::none(kind::INTEGRITY, theirs)?
    } else {
        pick::some(pick::first(&ours.integrities, theirs)?)
    };
    let group = pick::group(&ours.groups, theirs, sent_group)?;
    let suite = Suite { cipher: cipher.what, integrity: integrity.what, prf: prf.what, group: group.what };
    let transforms = [cipher.answer, prf.answer, integrity.answer, group.answer].into_iter().flatten().collect();
    let answer = Proposal { number: theirs.number, protocol: PROTOCOL, spi: Vec::new(), transforms };
    Some(([cipher.rank, integrity.rank, prf.rank, group.rank], suite, answer))
}
