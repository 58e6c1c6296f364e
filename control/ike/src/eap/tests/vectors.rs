//! RFC 2759 section 9.2, RFC 3079 section 3.5.3, and what a program apart from this one computed (MD4 by RFC 1320's text,
//! DES by OpenSSL).

use super::super::mschapv2::{NtResponse, Proof};
use super::super::proof::{ChallengeHash, PasswordHash, challenge_hash};
use super::*;

const CHALLENGE_HASH: ChallengeHash = [0xd0, 0x2e, 0x43, 0x86, 0xbc, 0xe9, 0x12, 0x26];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn nt_response() -> NtResponse {
    PasswordHash::of(PASSWORD).nt_response(&CHALLENGE_HASH)
}

#[test]
fn challenges_and_name_are_hashed() {
    assert_eq!(challenge_hash(&CLIENT_CHALLENGE, &SERVER_CHALLENGE, USER.as_bytes()), CHALLENGE_HASH);
}

#[test]
fn both_sides_proofs() {
    assert_eq!(hex(&nt_response()), "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df");
    let authenticator = PasswordHash::of(PASSWORD).authenticator(&nt_response(), &CHALLENGE_HASH);
    assert_eq!(hex(&authenticator), "407a5589115fd0d6209f510fe9c04566932cda56");
}

#[test]
fn the_key_is_what_comes_from_the_client_then_what_goes_to_it_then_zeros() {
    let password = PasswordHash::of(PASSWORD);
    assert_eq!(hex(&*password.master_key(&nt_response())), "fdece3717a8c838cb388e527ae3cdd31");
    let msk = password.msk(&nt_response());
    assert_eq!(hex(&msk[..16]), "d5f0e9521e3ea9589645e86051c82226");
    assert_eq!(hex(&msk[16..32]), "8b7cdc149b993a1ba118cb153f56dccb", "SendStartKey128 of the server's");
    assert_eq!(msk[32..], [0; 32]);
}

#[test]
fn names_and_passwords_beyond_ascii() {
    let (server, client): ([u8; 16], [u8; 16]) =
        (std::array::from_fn(|at| at as u8), std::array::from_fn(|at| at as u8 + 16));
    let hashed = challenge_hash(&client, &server, "jürgen".as_bytes());
    let password = PasswordHash::of("pässwörd€😀");
    let response = password.nt_response(&hashed);
    assert_eq!(hex(&response), "f3958c95b0157427b29eb8e5600c3948b77a41e0f9b93560");
    assert_eq!(hex(&password.msk(&response)[..16]), "87f3e21a29c4eae69de807420042651a");
}

/// Byte by byte as RFC 3748 and the draft have them.
#[test]
fn the_packets_of_a_conversation() {
    let users = Only(USER, PASSWORD);
    let (mut gateway, first) = Conversation::begin(0x10);
    assert_eq!(first, [1, 0x10, 0, 5, 1]);

    let challenge = asked(gateway.hear(b"\x02\x10\x00\x09\x01User", &users, &mut server_random));
    let head = [1, 0x11, 0, 33, 26, 1, 0x11, 0, 28, 16];
    assert_eq!(challenge, [&head[..], &SERVER_CHALLENGE, b"phalanx"].concat());

    let head = [2, 0x11, 0, 63, 26, 2, 0x11, 0, 58, 49];
    let response = [&head[..], &CLIENT_CHALLENGE, &[0; 8], &nt_response(), &[0], b"User"].concat();
    let success = asked(gateway.hear(&response, &users, &mut server_random));
    let text = b"S=407A5589115FD0D6209F510FE9C04566932CDA56 M=Welcome";
    let head = [1, 0x12, 0, 61, 26, 3, 0x11, 0, 56];
    assert_eq!(success, [&head[..], text].concat());

    match gateway.hear(&[2, 0x12, 0, 6, 26, 3], &users, &mut server_random) {
        Step::Granted { message, user, msk } => {
            assert_eq!(message, [3, 0x12, 0, 4]);
            assert_eq!(user, USER);
            assert_eq!(msk, PasswordHash::of(PASSWORD).msk(&nt_response()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failure_says_that_there_is_no_second_try() {
    let users = Only(USER, "another");
    let (mut gateway, _) = Conversation::begin(0);
    asked(gateway.hear(b"\x02\x00\x00\x05\x01", &users, &mut server_random));
    let proof = Proof { challenge: CLIENT_CHALLENGE, nt_response: nt_response(), name: USER.into() }.emit(1);
    let response = [&[2, 1, 0, 63, 26], &proof[..]].concat();
    let failure = asked(gateway.hear(&response, &users, &mut server_random));
    let text = b"E=691 R=0 C=5B5D7C7D7B3F2F3E3C2C602132262628 V=3 M=Wrong name or password";
    assert_eq!(failure, [&[1, 2, 0, 82, 26, 4, 1, 0, 77], &text[..]].concat());
}
