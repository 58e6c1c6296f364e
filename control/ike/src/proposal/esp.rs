//! Proposals for a child SA's ESP.

use std::fmt;
use std::str::FromStr;

use super::names::Part;
use super::pick::{self, Pick, kind};
use super::text::{self, Parts, ProposalError};
use crate::crypto::{Cipher, Group, Integrity};
use crate::wire::{Proposal, Transform};

/// ESP's number among protocols.
const PROTOCOL: u8 = 3;

/// What hides packets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EspCipher {
    /// One of those that hide IKE's own messages, too.
    Ike(Cipher),
    /// Nothing does.
    Null,
    /// Nothing does, AES-GMAC checks; key of 128 bits.
    AesGmac128,
    /// Nothing does, AES-GMAC checks; key of 256 bits.
    AesGmac256,
}

impl EspCipher {
    /// IANA's number.
    pub const fn id(self) -> u16 {
        match self {
            Self::Ike(cipher) => cipher.id(),
            Self::Null => 11,
            Self::AesGmac128 | Self::AesGmac256 => 21,
        }
    }

    /// The attribute "key length", in bits without salt; none, where there is but one length.
    pub const fn key_bits(self) -> Option<u16> {
        match self {
            Self::Ike(cipher) => cipher.key_bits(),
            Self::Null => None,
            Self::AesGmac128 => Some(128),
            Self::AesGmac256 => Some(256),
        }
    }

    /// Length of the key, with its salt.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Ike(cipher) => cipher.key_len(),
            Self::Null => 0,
            Self::AesGmac128 => Cipher::AesGcm16_128.key_len(),
            Self::AesGmac256 => Cipher::AesGcm16_256.key_len(),
        }
    }

    /// Whether it checks, too.
    pub const fn is_aead(self) -> bool {
        match self {
            Self::Ike(cipher) => cipher.is_aead(),
            Self::Null => false,
            Self::AesGmac128 | Self::AesGmac256 => true,
        }
    }
}

/// An ESP SA's algorithms. Its text is the name that the data plane knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EspSuite {
    /// It hides.
    pub cipher: EspCipher,
    /// It checks; none, if the cipher does.
    pub integrity: Option<Integrity>,
}

impl EspSuite {
    /// Length of the key that checks; 0, if the cipher does.
    pub fn integrity_key_len(&self) -> usize {
        self.integrity.map_or(0, Integrity::key_len)
    }

    /// Length of both directions' keys.
    pub fn keymat_len(&self) -> usize {
        2 * (self.cipher.key_len() + self.integrity_key_len())
    }

    /// Takes key material apart as RFC 7296 section 2.17 has it: from the initiator to the responder first, and of each
    /// direction the cipher's key (salt included), then the key that checks. None: it is shorter than [`Self::keymat_len`].
    pub fn split<'k>(&self, keymat: &'k [u8]) -> Option<[(&'k [u8], &'k [u8]); 2]> {
        let mut rest = keymat;
        let mut next = |len| {
            let (key, after) = rest.split_at_checked(len)?;
            rest = after;
            Some(key)
        };
        let (hide, check) = (self.cipher.key_len(), self.integrity_key_len());
        let initiators = (next(hide)?, next(check)?);
        Some([initiators, (next(hide)?, next(check)?)])
    }
}

impl fmt::Display for EspSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let integrity = self.integrity.map(Part::Integrity);
        f.write_str(&text::joined([Part::Cipher(self.cipher)].into_iter().chain(integrity)))
    }
}

/// Algorithms that go together: of each kind one is taken, the first that both sides have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EspProposal {
    ciphers: Vec<EspCipher>,
    /// None, if the ciphers check.
    integrities: Vec<Integrity>,
    /// None: keys are derived from the IKE SA's alone.
    groups: Vec<Group>,
    esn: Vec<bool>,
}

/// Long sequence numbers first.
const ESN_UNSAID: [bool; 2] = [true, false];

impl FromStr for EspProposal {
    type Err = ProposalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = Parts::read(text)?;
        if parts.are_aeads()? {
            let integrity = parts.integrities.first().map(|integrity| Part::Integrity(*integrity));
            text::misplaced(integrity, "a cipher that checks by itself")?;
        } else if parts.integrities.is_empty() {
            return Err(ProposalError::Missing("integrity, like `sha256`"));
        }
        text::misplaced(parts.prfs.first().map(|prf| Part::Prf(*prf)), "ESP")?;
        let esn = if parts.esn.is_empty() { ESN_UNSAID.to_vec() } else { parts.esn };
        Ok(Self { ciphers: parts.ciphers, integrities: parts.integrities, groups: parts.groups, esn })
    }
}

impl fmt::Display for EspProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ciphers = self.ciphers.iter().map(|cipher| Part::Cipher(*cipher));
        let integrities = self.integrities.iter().map(|integrity| Part::Integrity(*integrity));
        let groups = self.groups.iter().map(|group| Part::Group(*group));
        let said = if self.esn == ESN_UNSAID { &[][..] } else { &self.esn };
        let esn = said.iter().map(|esn| Part::Esn(*esn));
        f.write_str(&text::joined(ciphers.chain(integrities).chain(groups).chain(esn)))
    }
}

/// What was chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EspChoice {
    /// The proposal's number.
    pub number: u8,
    /// The algorithms.
    pub suite: EspSuite,
    /// Sequence numbers have 64 bits.
    pub esn: bool,
    /// Keys are exchanged in this group.
    pub group: Option<Group>,
    /// What the answer names: one of each kind.
    pub transforms: Vec<Transform>,
}

impl EspChoice {
    /// The answer, with the SPI of the one who gives it.
    pub fn answer(&self, spi: u32) -> Proposal {
        let transforms = self.transforms.clone();
        Proposal { number: self.number, protocol: PROTOCOL, spi: spi.to_be_bytes().to_vec(), transforms }
    }
}

/// Our proposals as they are offered: numbered from 1. `pfs`: keys can be exchanged, which the first child SA's cannot.
pub fn offer_esp(ours: &[EspProposal], spi: u32, pfs: bool) -> Vec<Proposal> {
    let offered = |(number, ours): (u8, &EspProposal)| {
        let groups = if pfs { &ours.groups[..] } else { &[] };
        let transforms = pick::all(&ours.ciphers).chain(pick::all(&ours.integrities));
        let transforms = transforms.chain(pick::all(groups)).chain(pick::all(&ours.esn)).collect();
        Proposal { number, protocol: PROTOCOL, spi: spi.to_be_bytes().to_vec(), transforms }
    };
    (1..=u8::MAX).zip(ours).map(offered).collect()
}

/// What of their offer suits us best.
///
/// `pfs`: keys can be exchanged, which the first child SA's cannot (RFC 7296 section 1.2): groups are not looked at then. Where
/// they can be, a proposal of ours with groups takes no offer without, and one without takes no offer that insists on one.
/// `sent_group` is the group that they sent a key of; as for [`super::choose_ike`].
pub fn choose_esp(ours: &[EspProposal], theirs: &[Proposal], sent_group: Option<u16>, pfs: bool) -> Option<EspChoice> {
    ours.iter().find_map(|ours| {
        let suiting = theirs.iter().filter_map(|theirs| suit(ours, theirs, sent_group, pfs));
        suiting.min_by_key(|(rank, _)| *rank).map(|(_, choice)| choice)
    })
}

/// What an answer names, if it takes it from the proposal of ours whose number it repeats, one of each kind.
pub fn accepted_esp(ours: &[EspProposal], answer: &Proposal, pfs: bool) -> Option<EspChoice> {
    let ours = pick::numbered(ours, answer).filter(|_| pick::is_answer(answer))?;
    choose_esp(ours, std::slice::from_ref(answer), None, pfs)
}

fn suit(ours: &EspProposal, theirs: &Proposal, sent_group: Option<u16>, pfs: bool) -> Option<([usize; 4], EspChoice)> {
    const KINDS: [u8; 4] = [kind::ENCRYPTION, kind::INTEGRITY, kind::KEY_EXCHANGE, kind::SEQUENCE_NUMBERS];
    (theirs.protocol == PROTOCOL && pick::has_only(&KINDS, theirs)).then_some(())?;
    let cipher = pick::first(&ours.ciphers, theirs)?;
    let integrity: Pick<Option<Integrity>> = if cipher.what.is_aead() {
        pick::none(kind::INTEGRITY, theirs)?
    } else {
        pick::some(pick::first(&ours.integrities, theirs)?)
    };
    let group: Pick<Option<Group>> = match (pfs, &ours.groups[..]) {
        (false, _) => pick::none(kind::KEY_EXCHANGE, theirs).unwrap_or(Pick { rank: 0, what: None, answer: None }),
        (true, []) => pick::none(kind::KEY_EXCHANGE, theirs)?,
        (true, groups) => pick::some(pick::group(groups, theirs, sent_group)?),
    };
    let esn = pick::first(&ours.esn, theirs)?;
    let suite = EspSuite { cipher: cipher.what, integrity: integrity.what };
    let transforms = [cipher.answer, integrity.answer, group.answer, esn.answer].into_iter().flatten().collect();
    let choice = EspChoice { number: theirs.number, suite, esn: esn.what, group: group.what, transforms };
    Some(([cipher.rank, integrity.rank, group.rank, esn.rank], choice))
}
