//! Names are read as they are written; what is wrong is said.

use super::*;

#[test]
fn ike_is_read_as_it_is_written() {
    for text in [
        "aes128-sha256-modp2048",
        "aes256gcm16-prfsha384-ecp384",
        "chacha20poly1305-prfsha256-x25519",
        "aes128-aes256-sha256-x25519-ecp256",
        "aes256ctr-aescmac-prfaescmac-prfsha512-modp4096",
        "aes256-aesxcbc-sha512-sha1-ecp521-modp3072",
        "aes128gcm16-chacha20poly1305-prfaesxcbc-prfsha1-ecp256",
    ] {
        assert_eq!(ike(text).to_string(), text);
    }
}

#[test]
fn esp_is_read_as_it_is_written() {
    for text in [
        "aes128gcm16",
        "aes256-sha256-x25519",
        "aes128ctr-sha512-esn",
        "null-sha1-noesn",
        "aes256gmac-aes128gmac-modp2048-ecp256",
        "aes128-null-aesxcbc-aescmac-noesn-esn",
    ] {
        assert_eq!(esp(text).to_string(), text);
    }
}

#[test]
fn one_thing_has_many_names() {
    for (text, written) in [
        ("aes-sha-curve25519", "aes128-sha1-x25519"),
        ("aes128-sha256-prfsha256-modp2048", "aes128-sha256-modp2048"),
        ("aes128-sha256-sha2_256-modp2048-aes128", "aes128-sha256-modp2048"),
        ("modp2048-sha256-aes128", "aes128-sha256-modp2048"),
        ("aes256gcm128-sha384-ecp384", "aes256gcm16-prfsha384-ecp384"),
        ("aes128gcm-prfsha-ecp256", "aes128gcm16-prfsha1-ecp256"),
    ] {
        assert_eq!(ike(text).to_string(), written, "{text}");
    }
    assert_eq!(esp("aes128gcm16-esn-noesn"), esp("aes128gcm16"));
    assert_eq!(esp("aesgmac").to_string(), "aes128gmac");
}

#[test]
fn prfs_follow_the_integrity() {
    for (integrity, prf) in [
        ("sha1", "prfsha1"),
        ("sha256", "prfsha256"),
        ("sha384", "prfsha384"),
        ("sha512", "prfsha512"),
        ("aesxcbc", "prfaesxcbc"),
        ("aescmac", "prfaescmac"),
    ] {
        let short = format!("aes128-{integrity}-x25519");
        assert_eq!(ike(&short), ike(&format!("aes128-{integrity}-{prf}-x25519")), "{short}");
    }
}

#[test]
fn what_is_wrong_with_ike_is_said() {
    for (text, said) in [
        ("", "`` is no algorithm"),
        ("aes128-sha265-modp2048", "`sha265` is no algorithm: `sha256`?"),
        ("AES128-sha256-modp2048", "`AES128` is no algorithm: `aes128`?"),
        ("aes128-sha256-foo", "`foo` is no algorithm"),
        ("aes128--sha256-x25519", "`` is no algorithm"),
        ("3des-sha1-modp2048", "`3des` is not taken: its blocks are too small: take an AES"),
        ("des-sha1-modp2048", "`des` is not taken: DES is broken: take an AES"),
        ("aes128-md5-modp2048", "`md5` is not taken: MD5 is broken: take sha256"),
        ("aes128-sha1-modp1024", "`modp1024` is not taken: its prime is too short to last"),
        ("aes128-sha1-modp768", "`modp768` is not taken: its prime is too short to last"),
        ("aes192-sha1-modp2048", "`aes192` is not taken: keys of 192 bits are not to be had here"),
        ("sha256-x25519", "it has no cipher"),
        ("aes128-x25519", "it has no integrity, like `sha256`"),
        ("aes128-prfsha256-x25519", "it has no integrity, like `sha256`"),
        ("aes128gcm16-x25519", "it has no PRF, like `prfsha256`"),
        ("aes128-sha256", "it has no group, like `x25519`"),
        ("null-sha256-x25519", "`null` does not belong to IKE"),
        ("aes128gmac-prfsha256-x25519", "`aes128gmac` does not belong to IKE"),
        ("aes128-sha256-x25519-noesn", "`noesn` does not belong to IKE"),
        ("aes128gcm16-aes256-sha256-x25519", "`aes128gcm16` and `aes256` cannot be in one proposal"),
    ] {
        let error = text.parse::<IkeProposal>().unwrap_err().to_string();
        assert!(error.starts_with(said), "`{text}`: {error}");
    }
}

#[test]
fn what_is_wrong_with_esp_is_said() {
    for (text, said) in [
        ("aes128", "it has no integrity, like `sha256`"),
        ("null", "it has no integrity, like `sha256`"),
        ("x25519", "it has no cipher"),
        ("aes128gcm16-sha256", "`sha256` does not belong to a cipher that checks by itself"),
        ("aes128-sha256-prfsha256", "`prfsha256` does not belong to ESP"),
        ("null-aes128gmac-sha1", "`null` and `aes128gmac` cannot be in one proposal"),
        ("aes128gcm8", "`aes128gcm8` is not taken"),
        ("aes128-sha256_96", "`sha256_96` is not taken"),
    ] {
        let error = text.parse::<EspProposal>().unwrap_err().to_string();
        assert!(error.starts_with(said), "`{text}`: {error}");
    }
}

#[test]
fn no_text_is_too_long_to_be_refused() {
    let endless = "a".repeat(100_000);
    let refused = ProposalError::Unknown { name: endless.clone(), alike: None };
    assert_eq!(endless.parse::<IkeProposal>(), Err(refused));
    assert!("aes128-".repeat(10_000).parse::<EspProposal>().is_err());
}

/// The data plane's names, with its lengths of both keys (`phalanx-dataplane`, `ipsec/transform.rs`).
#[test]
fn suites_have_the_data_planes_names_and_lengths() {
    let aeads = [("aes128gcm16", 20), ("aes256gcm16", 36), ("aes128gmac", 20), ("aes256gmac", 36)];
    let aeads = aeads.into_iter().chain([("chacha20poly1305", 36)]).map(|(name, len)| (name.to_owned(), len, 0));
    let ciphers = [("null", 0), ("aes128", 16), ("aes256", 32), ("aes128ctr", 20), ("aes256ctr", 36)];
    let checks = [("sha1", 20), ("sha256", 32), ("sha384", 48), ("sha512", 64), ("aesxcbc", 16), ("aescmac", 16)];
    let pairs = ciphers
        .into_iter()
        .flat_map(|(cipher, len)| checks.map(|(check, check_len)| (format!("{cipher}-{check}"), len, check_len)));
    for (name, cipher_len, check_len) in aeads.chain(pairs) {
        let ours = [esp(&name)];
        let suite = choose_esp(&ours, &offer_esp(&ours, 1, false), None, false).unwrap().suite;
        assert_eq!(suite.to_string(), name);
        assert_eq!((suite.cipher.key_len(), suite.integrity_key_len()), (cipher_len, check_len), "{name}");
        let keymat: Vec<u8> = (0..).take(suite.keymat_len()).collect();
        let [out, back] = suite.split(&keymat).unwrap();
        assert_eq!([out.0, out.1, back.0, back.1].concat(), keymat, "{name}: all, in this order");
        assert_eq!(
            (out.0.len(), out.1.len(), back.0.len(), back.1.len()),
            (cipher_len, check_len, cipher_len, check_len)
        );
        assert_eq!(suite.split(&keymat[1..]), None, "{name}");
    }
}
