//! Key exchange, derivation and proofs: against `other.py`, and what is refused.

use super::other::Other;
use super::*;

#[test]
fn every_group_agrees_with_itself_and_with_python() {
    let mut other = Other::start();
    let mut random = Counting(1);
    for group in Group::ALL {
        let name = format!("{group:?}");
        let [one, two] = [(); 2].map(|()| KeyPair::generate(group, &mut random));
        assert_ne!(one.public(), two.public(), "{name}");
        for pair in [&one, &two] {
            assert_eq!(
                (pair.public().len(), pair.private().len()),
                (group.public_len(), group.private_len()),
                "{name}"
            );
            assert_eq!(other.ask("public", &[&name], &[pair.private().as_bytes()]), pair.public(), "{name}");
        }
        let shared = one.agree(two.public()).unwrap();
        assert_eq!(shared.len(), group.shared_len(), "{name}");
        assert_eq!(two.agree(one.public()).as_ref(), Ok(&shared), "{name}");
        assert_eq!(
            other.ask("agree", &[&name], &[one.private().as_bytes(), two.public()]),
            shared.as_bytes(),
            "{name}"
        );
        let elsewhere = KeyPair::restore(group, one.private().as_bytes()).unwrap();
        assert_eq!((elsewhere.group(), elsewhere.public()), (group, one.public()));
        assert_eq!(elsewhere.agree(two.public()), Ok(shared), "{name}: another member");
    }
}

/// RFC 3526's formula gives them, and Fermat has nothing against them; what is sent back for 2 would show any other digit.
#[test]
fn primes_are_safe_and_the_rfcs() {
    let mut other = Other::start();
    for group in [Group::Modp2048, Group::Modp3072, Group::Modp4096] {
        let name = format!("{group:?}");
        assert_eq!(other.ask("safe", &[&name], &[]), [1], "{name}");
        let all_ones = vec![0xff; group.private_len()];
        let public = KeyPair::restore(group, &all_ones).unwrap().public().to_vec();
        assert_eq!(other.ask("public", &[&name], &[&all_ones]), public, "{name}");
    }
}

/// The shared secret is 2⁸ = 256: as long as the prime, nevertheless.
#[test]
fn shared_secrets_of_primes_begin_with_zeros() {
    for group in [Group::Modp2048, Group::Modp3072, Group::Modp4096] {
        let mut private = vec![0; group.private_len()];
        *private.last_mut().unwrap() = 8;
        let mut two = vec![0; group.public_len()];
        *two.last_mut().unwrap() = 2;
        let shared = KeyPair::restore(group, &private).unwrap().agree(&two).unwrap();
        let mut right = vec![0; group.public_len()];
        right[group.public_len() - 2] = 1;
        assert_eq!(shared.as_bytes(), right);
    }
}

/// A group's prime, which begins and ends as RFC 3526 says.
fn prime(group: Group) -> Vec<u8> {
    let end = match group {
        Group::Modp2048 => "15728e5a8aacaa68ffffffffffffffff",
        Group::Modp3072 => "4b82d120a93ad2caffffffffffffffff",
        _ => "4df435c934063199ffffffffffffffff",
    };
    let prime = Other::start().ask("prime", &[&format!("{group:?}")], &[]);
    assert!(prime.starts_with(&hex("ffffffffffffffffc90fdaa22168c234")) && prime.ends_with(&hex(end)), "{group:?}");
    prime
}

#[test]
fn numbers_that_make_secrets_foreseeable_are_refused() {
    for group in [Group::Modp2048, Group::Modp3072, Group::Modp4096] {
        let pair = KeyPair::generate(group, &mut Counting(7));
        let prime = prime(group);
        let with_last = |last: u8| [&prime[..prime.len() - 1], &[last]].concat();
        let small = |last: u8| [&vec![0; prime.len() - 1][..], &[last]].concat();
        for refused in [small(0), small(1), with_last(0xfe), with_last(0xff), vec![0xff; prime.len()]] {
            assert_eq!(pair.agree(&refused), Err(BadPublic), "{group:?}");
        }
        for taken in [small(2), with_last(0xfd)] {
            assert!(pair.agree(&taken).is_ok(), "{group:?}");
        }
    }
}

#[test]
fn what_is_no_point_of_the_curve_is_refused() {
    for group in [Group::Ecp256, Group::Ecp384, Group::Ecp521] {
        let pair = KeyPair::generate(group, &mut Counting(7));
        let len = group.public_len();
        let mut beside = pair.public().to_vec();
        *beside.last_mut().unwrap() ^= 1;
        let with_format = [&[4][..], pair.public()].concat();
        let compressed = [&[2][..], &pair.public()[..len / 2]].concat();
        for refused in [beside, vec![0; len], vec![0xff; len], with_format, compressed, vec![0]] {
            assert_eq!(pair.agree(&refused), Err(BadPublic), "{group:?}: {refused:?}");
        }
        let order_or_more = vec![0xff; group.private_len()];
        for private in [vec![0; group.private_len()], order_or_more, vec![1; group.private_len() - 1]] {
            assert!(KeyPair::restore(group, &private).is_none(), "{group:?}");
        }
    }
}

/// RFC 7748 section 6.1: all-zero secrets. The points: 0, 1, one of order 8, and p, which is 0 written otherwise.
#[test]
fn points_of_small_order_are_refused() {
    let pair = KeyPair::generate(Group::X25519, &mut Counting(7));
    let refused = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for refused in refused {
        assert_eq!(pair.agree(&hex(refused)), Err(BadPublic), "{refused}");
    }
}

#[test]
fn any_length_but_the_groups_is_refused() {
    for group in Group::ALL {
        let pair = KeyPair::generate(group, &mut Counting(3));
        let public = pair.public();
        let longer = [public, &[0]].concat();
        for wrong in [&[][..], &public[1..], &longer] {
            assert_eq!(pair.agree(wrong), Err(BadPublic), "{group:?}");
        }
        assert!(KeyPair::restore(group, &[]).is_none() && KeyPair::restore(group, &longer).is_none(), "{group:?}");
    }
}

/// It gives a private key that is none, once: all ones are more than any curve's order.
struct Unlucky(bool, Counting);

impl Random for Unlucky {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.1.fill(bytes);
        if std::mem::take(&mut self.0) {
            bytes.fill(0xff);
        }
    }
}

#[test]
fn a_private_key_that_is_none_is_made_anew() {
    for group in [Group::Ecp256, Group::Ecp384, Group::Ecp521] {
        let pair = KeyPair::generate(group, &mut Unlucky(true, Counting(1)));
        let peer = KeyPair::generate(group, &mut Counting(9));
        assert_eq!(pair.agree(peer.public()), peer.agree(pair.public()));
    }
}
