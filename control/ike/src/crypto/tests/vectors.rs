//! Vectors of RFCs.

use super::*;

/// RFC 4231 section 4.3 (test case 2), and RFC 2202 section 3 for SHA-1.
#[test]
fn hmacs_are_the_rfcs() {
    let jefe = |prf: Prf| prf.compute(b"Jefe", &[b"what do ya want ", b"", b"for nothing?"]).as_bytes().to_vec();
    assert_eq!(jefe(Prf::HmacSha1), hex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"));
    assert_eq!(jefe(Prf::HmacSha256), hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
    assert_eq!(
        jefe(Prf::HmacSha384),
        hex("af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649")
    );
    assert_eq!(
        jefe(Prf::HmacSha512),
        hex("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
             caeab1a34d4a6b4b636e070a38bce737")
    );
}

/// RFC 4434 section 4, RFC 4615 section 4: keys of 16, 10 and 18 bytes.
#[test]
fn prfs_of_aes_are_the_rfcs() {
    let keys = ["000102030405060708090a0b0c0d0e0f", "00010203040506070809", "000102030405060708090a0b0c0d0e0fedcb"];
    let message = hex("000102030405060708090a0b0c0d0e0f10111213");
    let values = |prf: Prf| keys.map(|key| prf.compute(&hex(key), &[&message]).as_bytes().to_vec());
    let xcbc =
        ["47f51b4564966215b8985c63055ed308", "0fa087af7d866e7653434e602fdde835", "8cd3c93ae598a9803006ffb67c40e9e4"];
    assert_eq!(values(Prf::AesXcbc), xcbc.map(hex));
    let cmac =
        ["980ae87b5f4c9c5214f5b6a8455e4c2d", "290d9e112edb09ee141fcf64c0b72f3d", "84a348a4a45d235babfffc0d2b4da09a"];
    assert_eq!(values(Prf::AesCmac), cmac.map(hex));
}

/// RFC 3566 section 4, test cases 1 and 3, and RFC 4493's example 1: as integrity the value is cut.
#[test]
fn checks_of_aes_are_the_rfcs() {
    let key: Vec<u8> = (0..16).collect();
    let value = |integrity: Integrity, key: &[u8], message: &[u8]| {
        integrity.compute(key, &[message]).map(|value| value.as_bytes().to_vec())
    };
    assert_eq!(value(Integrity::AesXcbc96, &key, &[]), Some(hex("75f0251d528ac01c4573dfd5")));
    assert_eq!(value(Integrity::AesXcbc96, &key, &key), Some(hex("d2a246fa349b68a79998a439")));
    let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
    assert_eq!(value(Integrity::AesCmac96, &key, &[]), Some(hex("bb1d6929e95937287fa37d12")));
    assert_eq!(value(Integrity::AesCmac96, &key[1..], &[]), None);
}

/// What two private keys make: the public ones, and what they agree on.
fn agreed(group: Group, private: [&str; 2], public: [&str; 2], shared: &str) {
    let [one, other] = private.map(|private| KeyPair::restore(group, &hex(private)).unwrap());
    assert_eq!([one.public(), other.public()], [&*hex(public[0]), &*hex(public[1])], "{group:?}");
    for agreed in [one.agree(other.public()), other.agree(one.public())] {
        assert_eq!(agreed.unwrap().as_bytes(), hex(shared), "{group:?}");
    }
}

/// RFC 7748 section 6.1.
#[test]
fn x25519_is_the_rfcs() {
    agreed(
        Group::X25519,
        [
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ],
        [
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        ],
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    );
}

/// RFC 5903 section 8.
#[test]
fn curves_are_the_rfcs() {
    agreed(
        Group::Ecp256,
        [
            "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
            "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
        ],
        [
            "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c37725811805271a0461cdb8252d61f1c456fa3e59a\
             b1f45b33accf5f58389e0577b8990bb3",
            "d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf6356fbf3ca366cc23e8157854c13c58d6a\
             ac23f046ada30f8353e74f33039872ab",
        ],
        "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
    );
    agreed(
        Group::Ecp384,
        [
            "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655e35b538041e649ee3faef896783ab194",
            "41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942e0308312916b8ed2960e4bd55a7448fc",
        ],
        [
            "667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6de3ac808acb4bdb4c88732aee95f41aa\
             9482ed1fc0eeb9cafc4984625ccfc23f65032149e0e144ada024181535a0f38eeb9fcff3c2c947dae69b4c634573a81c",
            "e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d0d1ac43a0336def96fda41d0774a3571\
             dcfbec7aacf3196472169e838430367f66eebe3c6e70c416dd5f0c68759dd1fff83fa40142209dff5eaad96db9e6386c",
        ],
        "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4d603135569b9e9d09cf5d4a270f59746",
    );
    agreed(
        Group::Ecp521,
        [
            "0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a095aa85a30fe1c2952c6771d937ba9777\
             f5957b2639bab072462f68c27a57382d4a52",
            "0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e9c677d600b343757a3bdbf2a3163e4c2\
             f869cca7458aa4a4effc311f5cb151685eb9",
        ],
        [
            "0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbee1e3bf42e00b8e380aeae57c2d107564\
             941885942af5a7f4601723c4195d176ced3e017cae20b6641d2eeb695786d8c946146239d099e18e1d5a514c739d7cb4\
             a10ad8a788015ac405d7799dc75e7b7d5b6cf2261a6a7f1507438bf01beb6ca3926f9582",
            "00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a219b97c356436adc6e95bb0352f6be64a6\
             c2912d4ef2d0433ced2b6171640012d9460f015c68226383956e3bd066e797b623c27ce0eac2f551a10c2c724d985207\
             7b87220b6536c5c408a1d2aebb8e86d678ae49cb57091f4732296579ab44fcd17f0fc56a",
        ],
        "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d1427e73ca4baa240a34786859810c06\
             b3c715a3a8cc3151f2bee417996d19f3ddea",
    );
}
