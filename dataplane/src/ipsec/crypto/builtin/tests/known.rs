//! Vectors of the RFCs that define checks: tried on the primitives here, and on the devices' in `tests/ipsec/vectors`.

use super::{Integrity, hex};

/// What a check makes of data.
#[derive(Debug)]
pub(super) struct Vector {
    pub(super) integrity: Integrity,
    pub(super) key: Vec<u8>,
    pub(super) data: Vec<u8>,
    /// Its first bytes.
    pub(super) tag: Vec<u8>,
}

impl Vector {
    fn new(integrity: Integrity, key: &[u8], data: &[u8], tag: &str) -> Self {
        Self { integrity, key: key.to_vec(), data: data.to_vec(), tag: hex(tag) }
    }
}

fn each(integrity: Integrity, inputs: &[(Vec<u8>, Vec<u8>)], tags: [&str; 7]) -> Vec<Vector> {
    inputs.iter().zip(tags).map(|((key, data), tag)| Vector::new(integrity, key, data, tag)).collect()
}

/// Keys and data that RFC 2202 and RFC 4231 share; the latter's long key and data are longer.
fn hmac_inputs(key_len: usize, long: usize, last: &str) -> [(Vec<u8>, Vec<u8>); 7] {
    let counting = (1..=25).collect::<Vec<u8>>();
    [
        (vec![0x0b; key_len], b"Hi There".to_vec()),
        (b"Jefe".to_vec(), b"what do ya want for nothing?".to_vec()),
        (vec![0xaa; key_len], vec![0xdd; 50]),
        (counting, vec![0xcd; 50]),
        (vec![0x0c; key_len], b"Test With Truncation".to_vec()),
        (vec![0xaa; long], b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec()),
        (vec![0xaa; long], last.as_bytes().to_vec()),
    ]
}

pub(super) fn rfc_2202() -> Vec<Vector> {
    let last = "Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data";
    let md5 = [
        "9294727a3638bb1c13f48ef8158bfc9d",
        "750c783e6ab0b503eaa86e310a5db738",
        "56be34521d144c88dbb8c733f0e8b3f6",
        "697eaf0aca3a3aea3a75164746ffaa79",
        "56461ef2342edc00f9bab995690efd4c",
        "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd",
        "6f630fad67cda0ee1fb1f562db3aa53e",
    ];
    let sha1 = [
        "b617318655057264e28bc0b6fb378c8ef146be00",
        "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
        "4c9007f4026250c6bc8414f9bf50c86c2d7235da",
        "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04",
        "aa4ae5e15272d00e95705637ce8a3b55ed402112",
        "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
    ];
    let [md5_inputs, sha1_inputs] = [16, 20].map(|key_len| hmac_inputs(key_len, 80, last));
    [each(Integrity::HmacMd5, &md5_inputs, md5), each(Integrity::HmacSha1, &sha1_inputs, sha1)]
        .into_iter()
        .flatten()
        .collect()
}

pub(super) fn rfc_4231() -> Vec<Vector> {
    let last = "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed \
                before being used by the HMAC algorithm.";
    let sha256 = [
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        "a3b6167473100ee06e0c796c2955552b",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ];
    let sha384 = [
        "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
        "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b94e3ab6e101a34f27",
        "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23c4a7d679ccf8a386c674cffb",
        "3abf34c3503b2a23a46efc619baef897",
        "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
        "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5a678cc31e799176d3860e6110c46523e",
    ];
    let sha512 = [
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
        "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
        "415fad6271580a531d4179bc891d87a6",
        "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
        "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
    ];
    let inputs = hmac_inputs(20, 131, last);
    [(Integrity::HmacSha256, sha256), (Integrity::HmacSha384, sha384), (Integrity::HmacSha512, sha512)]
        .into_iter()
        .flat_map(|(integrity, tags)| each(integrity, &inputs, tags))
        .collect()
}

pub(super) fn rfc_4494() -> Vec<Vector> {
    let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
    let data = hex("6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
         30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710");
    [
        (0, "bb1d6929e95937287fa37d12"),
        (16, "070a16b46b4d4144f79bdd9d"),
        (40, "dfa66747de9ae63030ca3261"),
        (64, "51f0bebf7e3b9d92fc497417"),
    ]
    .map(|(len, tag)| Vector::new(Integrity::AesCmac, &key, &data[..len], tag))
    .into()
}

pub(super) fn rfc_3566() -> Vec<Vector> {
    let key: Vec<u8> = (0..16).collect();
    let counting: Vec<u8> = (0..34).collect();
    let mut vectors = Vec::from(
        [
            (0, "75f0251d528ac01c4573dfd584d79f29"),
            (3, "5b376580ae2f19afe7219ceef172756f"),
            (16, "d2a246fa349b68a79998a4394ff7a263"),
            (20, "47f51b4564966215b8985c63055ed308"),
            (32, "f54f0ec8d2b9f3d36807734bd5283fd4"),
            (34, "becbb3bccdb518a30677d5481fb6b4d8"),
        ]
        .map(|(len, tag)| Vector::new(Integrity::AesXcbc, &key, &counting[..len], tag)),
    );
    vectors.push(Vector::new(Integrity::AesXcbc, &key, &[0; 1000], "f0dafee895db30253761103b5d84528f"));
    vectors
}
