//! Vectors of the RFCs that define the transforms, and of draft-mcgrew-gcm-test-01 (RFC 4106 has none).

use super::*;
use crate::ipsec::transform::{Aead, AesKey};
use cbc::cipher::{BlockCipherDecrypt, KeyInit};

/// A check of the whole data, the packet's or not.
fn mac(integrity: Integrity, key: &[u8], data: &[u8]) -> Vec<u8> {
    // What goes behind the packet must not matter: it is cut in two here.
    let (packet, after) = data.split_last_chunk::<4>().map_or((data, None), |(packet, after)| (packet, Some(*after)));
    let whole = Mac::new(integrity, key).unwrap().of(data, None);
    assert_eq!(Mac::new(integrity, key).unwrap().of(packet, after), whole);
    whole.to_vec()
}

fn expect(integrity: Integrity, key: &[u8], data: &[u8], tag: &str) {
    let tag = hex(tag);
    assert_eq!(mac(integrity, key, data)[..tag.len()], tag, "{integrity:?}");
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

#[test]
fn rfc_2202() {
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
    for ((key, data), tag) in hmac_inputs(16, 80, last).iter().zip(md5) {
        expect(Integrity::HmacMd5, key, data, tag);
    }
    for ((key, data), tag) in hmac_inputs(20, 80, last).iter().zip(sha1) {
        expect(Integrity::HmacSha1, key, data, tag);
    }
}

#[test]
fn rfc_4231() {
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
    for (integrity, tags) in
        [(Integrity::HmacSha256, sha256), (Integrity::HmacSha384, sha384), (Integrity::HmacSha512, sha512)]
    {
        for ((key, data), tag) in hmac_inputs(20, 131, last).iter().zip(tags) {
            expect(integrity, key, data, tag);
        }
    }
}

#[test]
fn rfc_4494() {
    let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
    let data = hex("6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
         30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710");
    for (len, tag) in [
        (0, "bb1d6929e95937287fa37d12"),
        (16, "070a16b46b4d4144f79bdd9d"),
        (40, "dfa66747de9ae63030ca3261"),
        (64, "51f0bebf7e3b9d92fc497417"),
    ] {
        expect(Integrity::AesCmac, &key, &data[..len], tag);
    }
}

#[test]
fn rfc_3566() {
    let key: Vec<u8> = (0..16).collect();
    let counting: Vec<u8> = (0..34).collect();
    for (len, tag) in [
        (0, "75f0251d528ac01c4573dfd584d79f29"),
        (3, "5b376580ae2f19afe7219ceef172756f"),
        (16, "d2a246fa349b68a79998a4394ff7a263"),
        (20, "47f51b4564966215b8985c63055ed308"),
        (32, "f54f0ec8d2b9f3d36807734bd5283fd4"),
        (34, "becbb3bccdb518a30677d5481fb6b4d8"),
    ] {
        expect(Integrity::AesXcbc, &key, &counting[..len], tag);
    }
    expect(Integrity::AesXcbc, &key, &[0; 1000], "f0dafee895db30253761103b5d84528f");
}

/// A header that no cipher looks at, the IV, the content.
fn bare(iv: &[u8], content: &[u8]) -> Vec<u8> {
    [&[0xee; 8], iv, content].concat()
}

/// Decrypts a vector; and encrypts it from the number that becomes its IV.
fn expect_cbc(key: &str, iv: &str, clear: &[u8], hidden: &str) {
    let (key, iv, hidden) = (hex(key), hex(iv), hex(hidden));
    let hider = Hider::new(Cipher::AesCbc(AesKey::Aes128), &key).unwrap();
    let mut packet = bare(&iv, &hidden);
    hider.show(&mut packet).unwrap();
    assert_eq!(packet, bare(&iv, clear));
    let mut number = <[u8; 16]>::try_from(&iv[..]).unwrap().into();
    aes::Aes128::new_from_slice(&key).unwrap().decrypt_block(&mut number);
    let mut packet = bare(&number, clear);
    hider.hide(&mut packet).unwrap();
    assert_eq!(packet, bare(&iv, &hidden));
}

#[test]
fn rfc_3602() {
    let counting = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
    expect_cbc(
        "06a9214036b8a15b512e03d534120006",
        "3dafba429d9eb430b422da802c9fac41",
        b"Single block msg",
        "e353779c1079aeb82708942dbe77181a",
    );
    expect_cbc(
        "c286696d887c9aa0611bbb3e2025a45a",
        "562e17996d093d28ddb3ba695a2e6f58",
        &counting(0, 0x1f),
        "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
    );
    expect_cbc(
        "6c3ea0477630ce21a2ce334aa746c2cd",
        "c782dc4c098c66cbd9cd27d825682c81",
        b"This is a 48-byte message (exactly 3 AES blocks)",
        "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5021c19216bad525c8579695d83ba2684",
    );
    expect_cbc(
        "56e47a38c5598974bc46903dba290349",
        "8ce82eefbea0da3c44699ed7db51b7d9",
        &counting(0xa0, 0xdf),
        "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e
         35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
    );
    // Case 5, a ping in transport mode with its padding and trailer.
    let mut ping = hex("08000ebda70a00008e9c083db95b0700");
    ping.extend(counting(8, 0x37));
    ping.extend(counting(1, 14));
    ping.extend([14, 1]);
    expect_cbc(
        "90d382b410eeba7ad938c46cec1a82bf",
        "e96e8c08ab465763fd098d45dd3ff893",
        &ping,
        "f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856
         a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a
         a269add047ad2d5913ac19b7cfbad4a6",
    );
}

#[test]
fn rfc_3686() {
    let counting = |len: usize| (0..).take(len).collect::<Vec<u8>>();
    let single = b"Single block msg".to_vec();
    for (key, nonce, iv, clear, hidden) in [
        (
            "ae6852f8121067cc4bf7a5765577f39e",
            "00000030",
            "0000000000000000",
            &single,
            "e4095d4fb7a7b3792d6175a3261311b8",
        ),
        (
            "7e24067817fae0d743d6ce1f32539163",
            "006cb6db",
            "c0543b59da48d90b",
            &counting(32),
            "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28",
        ),
        (
            "7691be035e5020a8ac6e618529f9a0dc",
            "00e0017b",
            "27777f3f4a1786f0",
            &counting(36),
            "c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f",
        ),
        (
            "776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c104",
            "00000060",
            "db5672c97aa8f0b2",
            &single,
            "145ad01dbf824ec7560863dc71e3e0c0",
        ),
        (
            "f6d66d6bd52d59bb0796365879eff886c66dd51a5b6a99744b50590c87a23884",
            "00faac24",
            "c1585ef15a43d875",
            &counting(32),
            "f05e231b3894612c49ee000b804eb2a9b8306b508f839d6a5530831d9344af1c",
        ),
        (
            "ff7a617ce69148e4f1726e2f43581de2aa62d9f805532edff1eed687fb54153d",
            "001cc5b7",
            "51a51d70a1c11148",
            &counting(36),
            "eb6c52821d0bbbf7ce7594462aca4faab407df866569fd07f48cc0b583d6071f1ec0e6b8",
        ),
    ] {
        let key = hex(&format!("{key}{nonce}"));
        let len = if key.len() == 20 { AesKey::Aes128 } else { AesKey::Aes256 };
        let hider = Hider::new(Cipher::AesCtr(len), &key).unwrap();
        let mut packet = bare(&hex(iv), clear);
        hider.hide(&mut packet).unwrap();
        assert_eq!(packet, bare(&hex(iv), &hex(hidden)));
        hider.show(&mut packet).unwrap();
        assert_eq!(packet, bare(&hex(iv), clear));
    }
}

/// A whole packet: `number` is SPI and sequence number as they are checked.
fn expect_aead(aead: Aead, key: &str, salt_and_iv: &str, number: &str, clear: &str, sealed: &str) {
    let [key, salt_and_iv, number] = [key, salt_and_iv, number].map(hex);
    let (salt, iv) = salt_and_iv.split_at(4);
    let (low, high) = match number[..] {
        [.., _, _, _, _, a, b, c, d] if number.len() == 8 => ([a, b, c, d], None),
        [_, _, _, _, e, f, g, h, a, b, c, d] => ([a, b, c, d], Some(u32::from_be_bytes([e, f, g, h]))),
        _ => unreachable!(),
    };
    let transform = Transform::Aead(aead);
    let keys = Keys::new(transform, &[&key[..], salt].concat(), &[]).unwrap();
    let numbers = if high.is_some() { Numbers::Extended } else { Numbers::Short };
    let [mut sender, mut receiver] =
        [Direction::Seal, Direction::Open].map(|way| BuiltIn.session(transform, &keys, numbers, way).unwrap());
    let head = [&number[..4], &low, iv].concat();
    let clear = [&head[..], &hex(clear), &[0; 16]].concat();
    let sealed = [&head[..], &hex(sealed)].concat();
    let mut packet = clear.clone();
    assert!(process(&mut *sender, &mut packet, high.unwrap_or(7)));
    assert_eq!(packet, sealed);
    assert!(process(&mut *receiver, &mut packet, high.unwrap_or(9)));
    assert_eq!(packet[..packet.len() - 16], clear[..clear.len() - 16]);
}

#[test]
fn rfc_4106() {
    let [short, long] = [AesKey::Aes128, AesKey::Aes256].map(Aead::AesGcm);
    expect_aead(
        short,
        "4c80cdefbb5d10da906ac73c3613a634",
        "2e443b684956ed7e3b244cfe",
        "000043218765432100000000",
        "45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000
         00000000045f736970045f756470037369700963796265726369747902646b00
         0021000101020201",
        "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34
         cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce
         61bc17d768fd9732 459018148f6cbe722fd04796562dfdb4",
    );
    expect_aead(
        short,
        "feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "0000a5f80000000a",
        "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d00100
         0001000000000000037369700963796265726369747902646b00000100010001",
        "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c
         3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd1
         83b70d3aa8bc6ee4c309e9d85a41ad4a",
    );
    expect_aead(
        long,
        "abbccddef00112233445566778899aababbccddef00112233445566778899aab",
        "112233440102030405060708",
        "4a2cbfe300000002",
        "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000
         7002400020bf0000020405b40101040201020201",
        "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763
         748a637985771d347f0545659f14e99def842d8e b335f4eecfdbf831824b4c4915956c96",
    );
    expect_aead(
        long,
        "abbccddef00112233445566778899aababbccddef00112233445566778899aab",
        "73616c74616e640169766563",
        "17405e67156f3126dd0db99b",
        "45080028732c00004006e9f90a0106120a01038f06b88023dd6bafbecb712602
         50101f646d540001",
        "f2d69ecdbd5a0d5b8d5ef38bad4da58d1f278fde98ef67549d524a3018d9a57f
         f4d3a31ce673119e 451626c2415771e3b7eebca614c89b35",
    );
    // A dummy packet.
    expect_aead(
        short,
        "7d773d00c144c525ac619d18c84a3f47",
        "d966426743457e9182443bc6",
        "335467aeffffffff",
        "01020201",
        "437f866b cb3f699fe9b0822bac961c4504bef270",
    );
}

#[test]
fn rfc_7634() {
    expect_aead(
        Aead::ChaCha20Poly1305,
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
        "a0a1a2a31011121314151617",
        "0102030400000005",
        "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
         0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
         2425262728292a2b2c2d2e2f3031323334353637 01020204",
        "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
         14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
         cbec163fac469b502773f6fb94e664da9165b82829f641e0 76aaa8266b7fb0f7b11b369907e1ad43",
    );
}
