//! The algorithms' names: as in proposals, and as strongSwan says which are in use.

/// A name in proposals; the key under which `swanctl --list-sas` says it, and the value.
const SAID: [(&str, &[(&str, &str)]); 27] = [
    ("aes128gcm16", &[("encr-alg", "AES_GCM_16"), ("encr-keysize", "128")]),
    ("aes256gcm16", &[("encr-alg", "AES_GCM_16"), ("encr-keysize", "256")]),
    ("chacha20poly1305", &[("encr-alg", "CHACHA20_POLY1305")]),
    ("aes128", &[("encr-alg", "AES_CBC"), ("encr-keysize", "128")]),
    ("aes256", &[("encr-alg", "AES_CBC"), ("encr-keysize", "256")]),
    ("aes128ctr", &[("encr-alg", "AES_CTR"), ("encr-keysize", "128")]),
    ("aes256ctr", &[("encr-alg", "AES_CTR"), ("encr-keysize", "256")]),
    ("null", &[("encr-alg", "NULL")]),
    ("aes128gmac", &[("encr-alg", "NULL_AES_GMAC"), ("encr-keysize", "128")]),
    ("aes256gmac", &[("encr-alg", "NULL_AES_GMAC"), ("encr-keysize", "256")]),
    ("sha1", &[("integ-alg", "HMAC_SHA1_96")]),
    ("sha256", &[("integ-alg", "HMAC_SHA2_256_128")]),
    ("sha384", &[("integ-alg", "HMAC_SHA2_384_192")]),
    ("sha512", &[("integ-alg", "HMAC_SHA2_512_256")]),
    ("aesxcbc", &[("integ-alg", "AES_XCBC_96")]),
    ("aescmac", &[("integ-alg", "AES_CMAC_96")]),
    ("prfsha1", &[("prf-alg", "PRF_HMAC_SHA1")]),
    ("prfsha256", &[("prf-alg", "PRF_HMAC_SHA2_256")]),
    ("prfsha384", &[("prf-alg", "PRF_HMAC_SHA2_384")]),
    ("prfsha512", &[("prf-alg", "PRF_HMAC_SHA2_512")]),
    ("prfaesxcbc", &[("prf-alg", "PRF_AES128_XCBC")]),
    ("prfaescmac", &[("prf-alg", "PRF_AES128_CMAC")]),
    ("modp2048", &[("dh-group", "MODP_2048")]),
    ("modp3072", &[("dh-group", "MODP_3072")]),
    ("modp4096", &[("dh-group", "MODP_4096")]),
    ("x25519", &[("dh-group", "CURVE_25519")]),
    ("esn", &[("esn", "1")]),
];
const CURVES: [(&str, &[(&str, &str)]); 3] = [
    ("ecp256", &[("dh-group", "ECP_256")]),
    ("ecp384", &[("dh-group", "ECP_384")]),
    ("ecp521", &[("dh-group", "ECP_521")]),
];

/// What of a proposal is to be found among the SA's words and is not; nothing, where a proposal leaves a choice.
pub(super) fn missing(proposal: &str, said: &serde_json::Value, with_group: bool) -> Vec<String> {
    if proposal.contains(',') || proposal == "default" {
        return Vec::new();
    }
    let words = proposal.split('-').flat_map(|name| said_as(name).iter());
    let words = words.filter(|(key, _)| with_group || *key != "dh-group");
    words
        .filter(|(key, value)| said[*key].as_str() != Some(value))
        .map(|(key, value)| format!("{key} is {} where {value} was proposed", said[*key]))
        .collect()
}

/// A proposal's algorithms of ESP, as we name them; none, where it leaves a choice.
pub(super) fn suite(proposal: &str) -> Option<String> {
    if proposal.contains(',') || proposal == "default" {
        return None;
    }
    let is_algorithm = |name: &&str| said_as(name).iter().any(|(key, _)| ["encr-alg", "integ-alg"].contains(key));
    Some(proposal.split('-').filter(is_algorithm).collect::<Vec<_>>().join("-"))
}

/// What strongSwan says is in use, for people.
pub(super) fn in_use(said: &serde_json::Value) -> String {
    let keys = ["encr-alg", "encr-keysize", "integ-alg", "prf-alg", "dh-group"];
    let mut words: Vec<&str> = keys.iter().filter_map(|key| said[*key].as_str()).collect();
    if said["esn"].as_str() == Some("1") {
        words.push("ESN");
    }
    words.join(" ")
}

fn said_as(name: &str) -> &'static [(&'static str, &'static str)] {
    let known = SAID.iter().chain(&CURVES).find(|(known, _)| *known == name);
    known.map_or(&[], |(_, said)| said)
}
