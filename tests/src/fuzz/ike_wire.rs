//! IKE messages: any bytes are read or are not; what was read can be written, is no longer then, and is read as the same.

use phalanx_ike::wire::{
    Body, Header, Payload, Selector, emit, emit_fragment_head, emit_payloads, emit_sealed_head, header,
    header_of_any_version, parse, payloads,
};

/// See the module: a message, and what a sealed one had inside, with the kind of its first payload in front.
pub(super) fn target(data: &[u8]) {
    message(data);
    if let Some((first, chain)) = data.split_first() {
        opened(*first, chain);
    }
}

fn message(data: &[u8]) {
    let Ok(parsed) = parse(data) else { return };
    assert_eq!(header(data), Ok(parsed.header));
    assert_eq!(header_of_any_version(data), Ok((2, parsed.header)));
    match &parsed.body {
        Body::Plain(chain) => {
            let again = emit(&parsed.header, chain);
            assert!(again.len() <= data.len(), "{parsed:?}");
            assert_eq!(parse(&again).as_ref(), Ok(&parsed));
            for short in 0..again.len() {
                assert!(parse(&again[..short]).is_err(), "{parsed:?} cut to {short} bytes");
            }
            selectors(chain);
        }
        Body::Sealed(it) => {
            let head = emit_sealed_head(&parsed.header, it.first, it.sealed.len());
            cut(data, &parsed.header, head, it.associated, it.sealed);
        }
        Body::Fragment(it) => {
            assert!((1..=it.total).contains(&it.number));
            let head = emit_fragment_head(&parsed.header, it.first, it.number, it.total, it.sealed.len());
            cut(data, &parsed.header, head, it.associated, it.sealed);
        }
    }
}

/// The message is in two parts, of which the first can be written again; but for what is reserved it is the same.
fn cut(data: &[u8], sent: &Header, head: Vec<u8>, associated: &[u8], sealed: &[u8]) {
    assert_eq!([associated, sealed].concat(), data);
    assert_eq!(head.len(), associated.len());
    let again = [&*head, sealed].concat();
    let parsed = parse(&again).expect("what was read can be written");
    assert_eq!(parsed.header, *sent);
    match parsed.body {
        Body::Sealed(it) => assert_eq!((it.associated, it.sealed), (&*head, sealed)),
        Body::Fragment(it) => assert_eq!((it.associated, it.sealed), (&*head, sealed)),
        Body::Plain(chain) => panic!("it was sealed: {chain:?}"),
    }
}

fn opened(first: u8, chain: &[u8]) {
    let Ok(found) = payloads(first, chain) else { return };
    let (first_again, again) = emit_payloads(&found);
    assert!(first_again == first && again.len() <= chain.len(), "{found:?}");
    assert_eq!(payloads(first, &again), Ok(found));
}

/// Each is a set of traffic that has itself; the networks that make it are in it, side by side.
fn selectors(chain: &[Payload]) {
    for payload in chain {
        let (Payload::SelectorsInitiator(list) | Payload::SelectorsResponder(list)) = payload else { continue };
        for pair in list.windows(2) {
            let shared = pair[0].intersection(&pair[1]);
            assert_eq!(shared, pair[1].intersection(&pair[0]));
            assert!(shared.is_none_or(|shared| pair.iter().all(|it| it.contains(&shared))), "{pair:?}");
        }
        for selector in list {
            assert!(selector.contains(selector), "{selector:?}");
            let networks = selector.networks().unwrap_or_default();
            let networks: Vec<Selector> = networks.into_iter().map(|(at, len)| Selector::of_network(at, len)).collect();
            let ends = networks.first().zip(networks.last()).map(|(low, high)| (low.addresses.0, high.addresses.1));
            assert!(ends.is_none_or(|ends| ends == selector.addresses), "{selector:?}");
            assert!(networks.windows(2).all(|pair| pair[0].addresses.1 < pair[1].addresses.0), "{selector:?}");
        }
    }
}
