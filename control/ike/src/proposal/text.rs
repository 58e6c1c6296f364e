//! A proposal's text as names of each kind.

use super::esp::EspCipher;
use super::names::{self, Part};
use crate::crypto::{Group, Integrity, Prf};

/// Why a text is no proposal.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProposalError {
    /// A name that nobody knows.
    #[error("`{name}` is no algorithm{}", alike.map(|alike| format!(": `{alike}`?")).unwrap_or_default())]
    Unknown {
        /// As it was written.
        name: String,
        /// The one that may be meant.
        alike: Option<&'static str>,
    },
    /// A name that is known, and not taken.
    #[error("`{name}` is not taken: {why}")]
    Refused {
        /// As it was written.
        name: String,
        /// The reason, and what to take instead.
        why: &'static str,
    },
    /// A name that does not belong there.
    #[error("`{name}` does not belong to {what}")]
    Misplaced {
        /// As it is usually written.
        name: &'static str,
        /// Where not.
        what: &'static str,
    },
    /// No name of a kind.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// Ciphers that check and ciphers that do not.
    #[error("`{0}` and `{1}` cannot be in one proposal, since only one of them needs integrity: write two")]
    Mixed(&'static str, &'static str),
}

/// The names of each kind, in the order of the text, none twice.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) ciphers: Vec<EspCipher>,
    pub(super) integrities: Vec<Integrity>,
    pub(super) prfs: Vec<Prf>,
    pub(super) groups: Vec<Group>,
    pub(super) esn: Vec<bool>,
}

impl Parts {
    pub(super) fn read(text: &str) -> Result<Self, ProposalError> {
        let mut parts = Self::default();
        for name in text.split('-') {
            match names::part(name).ok_or_else(|| unknown(name))? {
                Part::Cipher(cipher) => add(&mut parts.ciphers, cipher),
                Part::Integrity(integrity) => add(&mut parts.integrities, integrity),
                Part::Prf(prf) => add(&mut parts.prfs, prf),
                Part::Group(group) => add(&mut parts.groups, group),
                Part::Esn(esn) => add(&mut parts.esn, esn),
            }
        }
        Ok(parts)
    }

    /// Whether the ciphers check, which all must do or none.
    pub(super) fn are_aeads(&self) -> Result<bool, ProposalError> {
        let [first, others @ ..] = &self.ciphers[..] else {
            return Err(ProposalError::Missing("cipher"));
        };
        let other = others.iter().find(|other| other.is_aead() != first.is_aead());
        let [first_name, other_name] = [Some(first), other].map(|cipher| cipher.map(|c| names::name(Part::Cipher(*c))));
        match first_name.zip(other_name) {
            Some((first, other)) => Err(ProposalError::Mixed(first, other)),
            None => Ok(first.is_aead()),
        }
    }
}

fn unknown(name: &str) -> ProposalError {
    match names::refused(name) {
        Some(why) => ProposalError::Refused { name: name.to_owned(), why },
        None => ProposalError::Unknown { name: name.to_owned(), alike: names::alike(name) },
    }
}

fn add<T: PartialEq>(list: &mut Vec<T>, part: T) {
    if !list.contains(&part) {
        list.push(part);
    }
}

/// Refuses the first of these names.
pub(super) fn misplaced(part: Option<Part>, what: &'static str) -> Result<(), ProposalError> {
    match part {
        Some(part) => Err(ProposalError::Misplaced { name: names::name(part), what }),
        None => Ok(()),
    }
}

/// Joins names as they were read.
pub(super) fn joined(parts: impl Iterator<Item = Part>) -> String {
    parts.map(names::name).collect::<Vec<_>>().join("-")
}
