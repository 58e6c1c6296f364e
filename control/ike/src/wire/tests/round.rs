//! What is emitted is parsed as the same.

use proptest::collection::vec;
use proptest::prelude::*;

use super::HEADER;
use super::payloads::{chains, headers};
use crate::wire::{
    Body, FRAGMENT_HEAD_BYTES, FragmentOf, Parsed, Payload, SEALED_HEAD_BYTES, Sealed, emit, emit_fragment_head,
    emit_payloads, emit_sealed_head, header, header_of_any_version, parse, payloads,
};

proptest! {
    #[test]
    fn a_plain_message(sent in headers(), chain in chains()) {
        let bytes = emit(&sent, &chain);
        prop_assert_eq!(header(&bytes), Ok(sent));
        prop_assert_eq!(header_of_any_version(&bytes), Ok((2, sent)));
        prop_assert_eq!(parse(&bytes), Ok(Parsed { header: sent, body: Body::Plain(chain) }));
    }

    #[test]
    fn what_is_to_be_sealed(chain in chains()) {
        let (first, bytes) = emit_payloads(&chain);
        prop_assert_eq!(first, chain.first().map_or(0, Payload::kind));
        prop_assert_eq!(payloads(first, &bytes), Ok(chain));
    }

    #[test]
    fn a_sealed_message(sent in headers(), first in any::<u8>(), sealed in vec(any::<u8>(), 0..2000)) {
        let associated = emit_sealed_head(&sent, first, sealed.len());
        prop_assert_eq!(associated.len(), SEALED_HEAD_BYTES);
        let bytes = [&*associated, &sealed].concat();
        let body = Body::Sealed(Sealed { first, associated: &associated, sealed: &sealed });
        prop_assert_eq!(parse(&bytes), Ok(Parsed { header: sent, body }));
    }

    #[test]
    fn a_fragment(sent in headers(), first in any::<u8>(), (number, total) in fragments(),
        sealed in vec(any::<u8>(), 0..2000)) {
        let associated = emit_fragment_head(&sent, first, number, total, sealed.len());
        prop_assert_eq!(associated.len(), FRAGMENT_HEAD_BYTES);
        let bytes = [&*associated, &sealed].concat();
        let first = if number == 1 { first } else { 0 };
        let body = Body::Fragment(FragmentOf { first, number, total, associated: &associated, sealed: &sealed });
        prop_assert_eq!(parse(&bytes), Ok(Parsed { header: sent, body }));
    }

    #[test]
    fn no_shorter_message(chain in chains(), cut in any::<prop::sample::Index>()) {
        let bytes = emit(&HEADER, &chain);
        prop_assert!(parse(&bytes[..cut.index(bytes.len())]).is_err());
        let (first, bytes) = emit_payloads(&chain);
        prop_assume!(!bytes.is_empty());
        prop_assert!(payloads(first, &bytes[..cut.index(bytes.len())]).is_err());
    }
}

fn fragments() -> impl Strategy<Value = (u16, u16)> {
    (1..=u16::MAX).prop_flat_map(|total| (prop_oneof![Just(1), 1..=total], Just(total)))
}
