//! Vectors of the RFCs that define checks, on the primitives: their keys and check values have other lengths than ESP's. Those of
//! ciphers are tried on both engines, in whole packets (`tests/ipsec/vectors`).

use super::known::{self, Vector};
use super::*;

/// A check of the whole data, the packet's or not.
fn mac(integrity: Integrity, key: &[u8], data: &[u8]) -> Vec<u8> {
    // What goes behind the packet must not matter: it is cut in two here.
    let (packet, after) = data.split_last_chunk::<4>().map_or((data, None), |(packet, after)| (packet, Some(*after)));
    let whole = Mac::new(integrity, key).unwrap().of(data, None);
    assert_eq!(Mac::new(integrity, key).unwrap().of(packet, after), whole);
    whole.to_vec()
}

fn hold(vectors: &[Vector]) {
    for Vector { integrity, key, data, tag } in vectors {
        assert_eq!(mac(*integrity, key, data)[..tag.len()], tag[..], "{integrity:?}");
    }
}

#[test]
fn rfc_2202() {
    hold(&known::rfc_2202());
}

#[test]
fn rfc_4231() {
    hold(&known::rfc_4231());
}

#[test]
fn rfc_4494() {
    hold(&known::rfc_4494());
}

#[test]
fn rfc_3566() {
    hold(&known::rfc_3566());
}
