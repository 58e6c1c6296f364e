//! Names, and who gets what he wants.

mod choice;
mod text;

use super::*;
use crate::crypto::{Cipher, Group, Integrity, Prf, Suite};
use crate::wire::{Proposal, Transform};

fn ike(text: &str) -> IkeProposal {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn esp(text: &str) -> EspProposal {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn ikes(texts: &[&str]) -> Vec<IkeProposal> {
    texts.iter().map(|text| ike(text)).collect()
}

fn esps(texts: &[&str]) -> Vec<EspProposal> {
    texts.iter().map(|text| esp(text)).collect()
}

fn transform(kind: u8, id: u16, key_bits: Option<u16>) -> Transform {
    Transform { kind, id, key_bits, strange: false }
}
