//! Vectors of the RFCs that define ciphers, and of draft-mcgrew-gcm-test-01 (RFC 4106 has none), in whole packets.

use aes::cipher::{BlockCipherDecrypt, KeyInit};
use phalanx_dataplane::ipsec::crypto::{Engine, Numbers};
use phalanx_dataplane::ipsec::transform::{Aead, AesKey, Cipher};
use phalanx_dataplane::ipsec::{Keys, Transform};

use super::{CHECK, CHECK_KEY, both, check_value, hex, process};

pub(super) fn hold(engine: &dyn Engine) {
    rfc_3602(engine);
    rfc_3686(engine);
    rfc_4106(engine);
    rfc_7634(engine);
}

/// A header that no cipher looks at, the IV, the content.
fn bare(iv: &[u8], content: &[u8]) -> Vec<u8> {
    [&[0xee; 8], iv, content].concat()
}

/// A cipher with a check: what it makes of a packet that is ready to be sealed, and back. All without the check value.
fn expect_pair(engine: &dyn Engine, cipher: Cipher, key: &[u8], ready: &[u8], hidden: &[u8], clear: &[u8]) {
    let transform = Transform::Pair(cipher, CHECK);
    let keys = Keys::new(transform, key, &CHECK_KEY).unwrap();
    let [mut sender, mut receiver] = both(engine, transform, &keys, Numbers::Short);
    let sealed = [hidden, &check_value(hidden)].concat();
    let mut packet = [ready, &[0; 12]].concat();
    assert!(process(&mut *sender, &mut packet, 0));
    assert_eq!(packet, sealed, "{}: {transform}", engine.name());
    assert!(process(&mut *receiver, &mut packet, 0));
    let at = 8 + transform.iv_len();
    assert_eq!(packet[at..clear.len()], clear[at..], "{}: {transform}", engine.name());
}

/// Encrypts a vector from the number that becomes its IV; and decrypts it.
fn expect_cbc(engine: &dyn Engine, key: &str, iv: &str, clear: &[u8], hidden: &str) {
    let (key, iv, hidden) = (hex(key), hex(iv), hex(hidden));
    let mut number = <[u8; 16]>::try_from(&iv[..]).unwrap().into();
    aes::Aes128::new_from_slice(&key).unwrap().decrypt_block(&mut number);
    let ready = bare(&number, clear);
    expect_pair(engine, Cipher::AesCbc(AesKey::Aes128), &key, &ready, &bare(&iv, &hidden), &bare(&iv, clear));
}

fn rfc_3602(engine: &dyn Engine) {
    let counting = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
    expect_cbc(
        engine,
        "06a9214036b8a15b512e03d534120006",
        "3dafba429d9eb430b422da802c9fac41",
        b"Single block msg",
        "e353779c1079aeb82708942dbe77181a",
    );
    expect_cbc(
        engine,
        "c286696d887c9aa0611bbb3e2025a45a",
        "562e17996d093d28ddb3ba695a2e6f58",
        &counting(0, 0x1f),
        "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
    );
    expect_cbc(
        engine,
        "6c3ea0477630ce21a2ce334aa746c2cd",
        "c782dc4c098c66cbd9cd27d825682c81",
        b"This is a 48-byte message (exactly 3 AES blocks)",
        "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5021c19216bad525c8579695d83ba2684",
    );
    expect_cbc(
        engine,
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
        engine,
        "90d382b410eeba7ad938c46cec1a82bf",
        "e96e8c08ab465763fd098d45dd3ff893",
        &ping,
        "f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856
         a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a
         a269add047ad2d5913ac19b7cfbad4a6",
    );
}

fn rfc_3686(engine: &dyn Engine) {
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
        let (clear, hidden) = (bare(&hex(iv), clear), bare(&hex(iv), &hex(hidden)));
        expect_pair(engine, Cipher::AesCtr(len), &key, &clear, &hidden, &clear);
    }
}

/// A whole packet: `number` is SPI and sequence number as they are checked.
fn expect_aead(engine: &dyn Engine, aead: Aead, [key, salt_and_iv, number]: [&str; 3], clear: &str, sealed: &str) {
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
    let [mut sender, mut receiver] = both(engine, transform, &keys, numbers);
    let head = [&number[..4], &low, iv].concat();
    let clear = [&head[..], &hex(clear), &[0; 16]].concat();
    let sealed = [&head[..], &hex(sealed)].concat();
    let mut packet = clear.clone();
    assert!(process(&mut *sender, &mut packet, high.unwrap_or(7)));
    assert_eq!(packet, sealed, "{}: {transform}", engine.name());
    assert!(process(&mut *receiver, &mut packet, high.unwrap_or(9)));
    assert_eq!(packet[..packet.len() - 16], clear[..clear.len() - 16], "{}: {transform}", engine.name());
}

fn rfc_4106(engine: &dyn Engine) {
    let [short, long] = [AesKey::Aes128, AesKey::Aes256].map(Aead::AesGcm);
    expect_aead(
        engine,
        short,
        ["4c80cdefbb5d10da906ac73c3613a634", "2e443b684956ed7e3b244cfe", "000043218765432100000000"],
        "45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000
         00000000045f736970045f756470037369700963796265726369747902646b00
         0021000101020201",
        "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34
         cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce
         61bc17d768fd9732 459018148f6cbe722fd04796562dfdb4",
    );
    expect_aead(
        engine,
        short,
        ["feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "0000a5f80000000a"],
        "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d00100
         0001000000000000037369700963796265726369747902646b00000100010001",
        "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c
         3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd1
         83b70d3aa8bc6ee4c309e9d85a41ad4a",
    );
    expect_aead(
        engine,
        long,
        [
            "abbccddef00112233445566778899aababbccddef00112233445566778899aab",
            "112233440102030405060708",
            "4a2cbfe300000002",
        ],
        "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000
         7002400020bf0000020405b40101040201020201",
        "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763
         748a637985771d347f0545659f14e99def842d8e b335f4eecfdbf831824b4c4915956c96",
    );
    expect_aead(
        engine,
        long,
        [
            "abbccddef00112233445566778899aababbccddef00112233445566778899aab",
            "73616c74616e640169766563",
            "17405e67156f3126dd0db99b",
        ],
        "45080028732c00004006e9f90a0106120a01038f06b88023dd6bafbecb712602
         50101f646d540001",
        "f2d69ecdbd5a0d5b8d5ef38bad4da58d1f278fde98ef67549d524a3018d9a57f
         f4d3a31ce673119e 451626c2415771e3b7eebca614c89b35",
    );
    // A dummy packet.
    expect_aead(
        engine,
        short,
        ["7d773d00c144c525ac619d18c84a3f47", "d966426743457e9182443bc6", "335467aeffffffff"],
        "01020201",
        "437f866b cb3f699fe9b0822bac961c4504bef270",
    );
}

fn rfc_7634(engine: &dyn Engine) {
    expect_aead(
        engine,
        Aead::ChaCha20Poly1305,
        [
            "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
            "a0a1a2a31011121314151617",
            "0102030400000005",
        ],
        "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
         0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
         2425262728292a2b2c2d2e2f3031323334353637 01020204",
        "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
         14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
         cbec163fac469b502773f6fb94e664da9165b82829f641e0 76aaa8266b7fb0f7b11b369907e1ad43",
    );
}
