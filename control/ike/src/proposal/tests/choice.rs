//! What is offered, chosen and taken for an answer.

use proptest::prelude::*;

use super::*;

/// What is chosen of an offer that is written like ours.
fn chosen(ours: &[&str], theirs: &[&str], sent: Option<Group>) -> Option<(u8, Suite)> {
    let offer = offer_ike(&ikes(theirs), &[]);
    choose_ike(&ikes(ours), &offer, sent.map(Group::id)).map(|(number, suite, _)| (number, suite))
}

fn chosen_esp(ours: &[&str], theirs: &[&str], sent: Option<Group>, pfs: bool) -> Option<EspChoice> {
    choose_esp(&esps(ours), &offer_esp(&esps(theirs), 7, pfs), sent.map(Group::id), pfs)
}

#[test]
fn an_offer_is_as_the_rfc_writes_it() {
    let spi = [1, 2, 3, 4, 5, 6, 7, 8];
    let offer = offer_ike(&ikes(&["aes256gcm16-prfsha384-ecp384", "aes128-aes256-sha256-x25519"]), &spi);
    let gcm = vec![transform(1, 20, Some(256)), transform(2, 6, None), transform(4, 20, None)];
    let cbc = vec![
        transform(1, 12, Some(128)),
        transform(1, 12, Some(256)),
        transform(2, 5, None),
        transform(3, 12, None),
        transform(4, 31, None),
    ];
    let proposal = |number, transforms| Proposal { number, protocol: 1, spi: spi.to_vec(), transforms };
    assert_eq!(offer, [proposal(1, gcm), proposal(2, cbc)]);

    let esp = |pfs| offer_esp(&esps(&["null-sha1-x25519", "chacha20poly1305-noesn"]), 0x0102_0304, pfs);
    let proposal = |number, transforms| Proposal { number, protocol: 3, spi: vec![1, 2, 3, 4], transforms };
    let mut null = vec![transform(1, 11, None), transform(3, 2, None), transform(5, 1, None), transform(5, 0, None)];
    let chacha = vec![transform(1, 28, None), transform(5, 0, None)];
    assert_eq!(esp(false), [proposal(1, null.clone()), proposal(2, chacha.clone())]);
    null.insert(2, transform(4, 31, None));
    assert_eq!(esp(true), [proposal(1, null), proposal(2, chacha)]);
}

#[test]
fn numbers_of_proposals_do_not_overflow() {
    let many = vec![ike("aes128-sha1-modp2048"); 300];
    let offer = offer_ike(&many, &[]);
    assert_eq!((offer.len(), offer.last().map(|last| last.number)), (255, Some(255)));
}

#[test]
fn our_order_wins() {
    let theirs = ["aes128-sha1-modp2048", "aes256-aes128-sha256-sha1-ecp256-x25519", "aes128gcm16-prfsha256-x25519"];
    let suite = |cipher, integrity, prf, group| Suite { cipher, integrity, prf, group };
    let (sha1, sha256) = (Some(Integrity::HmacSha1_96), Some(Integrity::HmacSha256_128));
    for (ours, number, right) in [
        ("aes128-sha1-modp2048", 1, suite(Cipher::AesCbc128, sha1, Prf::HmacSha1, Group::Modp2048)),
        ("aes256-aes128-sha1-x25519-modp2048", 2, suite(Cipher::AesCbc256, sha1, Prf::HmacSha1, Group::X25519)),
        ("aes128-sha256-sha1-x25519", 2, suite(Cipher::AesCbc128, sha256, Prf::HmacSha256, Group::X25519)),
        ("aes128-sha1-x25519-modp2048", 1, suite(Cipher::AesCbc128, sha1, Prf::HmacSha1, Group::Modp2048)),
        ("aes128gcm16-prfsha256-x25519", 3, suite(Cipher::AesGcm16_128, None, Prf::HmacSha256, Group::X25519)),
    ] {
        let sent = (ours == "aes128-sha1-x25519-modp2048").then_some(Group::Modp2048);
        assert_eq!(chosen(&[ours], &theirs, sent), Some((number, right)), "{ours}");
    }
    let both = ["aes128gcm16-prfsha256-x25519", "aes128-sha1-modp2048"];
    assert_eq!(chosen(&both, &theirs, None).map(|(number, _)| number), Some(3));
    assert_eq!(chosen(&[both[1], both[0]], &theirs, None).map(|(number, _)| number), Some(1));
}

#[test]
fn nothing_in_common_is_nothing_chosen() {
    let theirs = ["aes128-sha256-x25519", "aes256gcm16-prfsha384-ecp384"];
    for ours in [
        "aes256-sha256-x25519",
        "aes128-sha1-prfsha256-x25519",
        "aes128-sha256-prfsha1-x25519",
        "aes128-sha256-ecp384",
        "aes128gcm16-prfsha384-ecp384",
        "aes256gcm16-prfsha256-ecp384",
        "aes128ctr-sha256-x25519",
    ] {
        assert_eq!(chosen(&[ours], &theirs, None), None, "{ours}");
    }
    assert_eq!(chosen(&[], &theirs, None), None);
    assert_eq!(chosen(&["aes128-sha256-x25519"], &[], None), None);
}

#[test]
fn the_group_that_was_sent_is_preferred_in_one_proposal() {
    let theirs = ["aes128-sha256-ecp384-ecp256-x25519"];
    let group = |ours: &[&str], sent| chosen(ours, &theirs, sent).map(|(_, suite)| suite.group);
    let one = ["aes128-sha256-x25519-ecp256"];
    assert_eq!(group(&one, Some(Group::Ecp256)), Some(Group::Ecp256));
    assert_eq!(group(&one, Some(Group::X25519)), Some(Group::X25519));
    assert_eq!(group(&one, Some(Group::Ecp384)), Some(Group::X25519), "theirs, not ours: INVALID_KE_PAYLOAD");
    assert_eq!(group(&one, Some(Group::Modp2048)), Some(Group::X25519));
    assert_eq!(group(&one, None), Some(Group::X25519));
    let two = ["aes128-sha256-x25519", "aes128-sha256-ecp256"];
    assert_eq!(group(&two, Some(Group::Ecp256)), Some(Group::X25519), "the order of proposals is ours");
    // A key of a group that is not offered is no reason to choose it.
    assert_eq!(chosen(&one, &["aes128-sha256-ecp256"], Some(Group::X25519)).map(|(_, s)| s.group), Some(Group::Ecp256));
}

/// What is chosen of an offer to which something was done; the answer's transforms.
fn after(ours: &str, theirs: &str, change: impl Fn(&mut Proposal)) -> Option<Vec<Transform>> {
    let mut offer = offer_ike(&ikes(&[theirs]), &[9; 8]);
    offer.iter_mut().for_each(change);
    choose_ike(&ikes(&[ours]), &offer, None).map(|(number, _, answer)| {
        assert_eq!((number, answer.number, answer.protocol, answer.spi.len()), (1, 1, 1, 0));
        answer.transforms
    })
}

#[test]
fn strange_and_unknown_things_are_not_chosen() {
    let cbc = "aes128-sha256-x25519";
    let right =
        vec![transform(1, 12, Some(128)), transform(2, 5, None), transform(3, 12, None), transform(4, 31, None)];
    assert_eq!(after(cbc, cbc, |_| ()), Some(right.clone()));
    for place in 0..4 {
        assert_eq!(after(cbc, cbc, |offer| offer.transforms[place].strange = true), None, "{place}");
        assert_eq!(after(cbc, cbc, |offer| offer.transforms[place].key_bits = Some(256)), None, "{place}");
        let without = |offer: &mut Proposal| {
            offer.transforms.remove(place);
        };
        assert_eq!(after(cbc, cbc, without), None, "{place}");
    }
    assert_eq!(after(cbc, cbc, |offer| offer.transforms[0].key_bits = None), None);
    assert_eq!(after(cbc, cbc, |offer| offer.protocol = 3), None);
    // Algorithms that are not known do no harm, kinds that are not known do.
    assert_eq!(after(cbc, cbc, |offer| offer.transforms.insert(0, transform(1, 999, None))), Some(right));
    assert_eq!(after(cbc, cbc, |offer| offer.transforms.push(transform(6, 36, None))), None);
}

#[test]
fn what_checks_by_itself_has_no_integrity() {
    let gcm = "aes128gcm16-prfsha256-x25519";
    let right = vec![transform(1, 20, Some(128)), transform(2, 5, None), transform(4, 31, None)];
    assert_eq!(after(gcm, gcm, |_| ()), Some(right.clone()));
    let none = transform(3, 0, None);
    let mut with_none = right;
    with_none.insert(2, none);
    assert_eq!(after(gcm, gcm, |offer| offer.transforms.push(none)), Some(with_none), "it is repeated");
    assert_eq!(after(gcm, gcm, |offer| offer.transforms.push(transform(3, 12, None))), None);
    let cbc = "aes128-sha256-x25519";
    assert_eq!(after(cbc, cbc, |offer| offer.transforms[3] = none), None, "others need one");
}

#[test]
fn esp_is_chosen_by_our_order() {
    let choice = chosen_esp(&["aes256gcm16-aes128gcm16"], &["aes128-sha256", "aes128gcm16-aes256gcm16"], None, false);
    let choice = choice.unwrap();
    assert_eq!(
        (choice.number, choice.suite.to_string(), choice.esn, choice.group),
        (2, "aes256gcm16".into(), true, None)
    );
    assert_eq!(choice.transforms, [transform(1, 20, Some(256)), transform(5, 1, None)]);
    let answer = choice.answer(0x0102_0304);
    assert_eq!((answer.number, answer.protocol, answer.spi), (2, 3, vec![1, 2, 3, 4]));
    for (ours, theirs, esn) in [
        ("aes128gcm16", "aes128gcm16-noesn", Some(false)),
        ("aes128gcm16-noesn", "aes128gcm16", Some(false)),
        ("aes128gcm16-noesn-esn", "aes128gcm16", Some(false)),
        ("aes128gcm16", "aes128gcm16-noesn-esn", Some(true)),
        ("aes128gcm16-esn", "aes128gcm16-noesn", None),
    ] {
        assert_eq!(chosen_esp(&[ours], &[theirs], None, false).map(|choice| choice.esn), esn, "{ours}, {theirs}");
    }
}

#[test]
fn groups_of_esp_count_only_where_keys_can_be_exchanged() {
    let group = |ours, theirs, sent, pfs| chosen_esp(&[ours], &[theirs], sent, pfs).map(|choice| choice.group);
    let (with, without) = ("aes128gcm16-x25519-ecp256", "aes128gcm16");
    for (ours, theirs) in [(with, with), (with, without), (without, with), (without, without)] {
        assert_eq!(group(ours, theirs, None, false), Some(None), "{ours}, {theirs}");
    }
    assert_eq!(group(with, with, None, true), Some(Some(Group::X25519)));
    assert_eq!(group(with, with, Some(Group::Ecp256), true), Some(Some(Group::Ecp256)));
    assert_eq!(group(with, without, None, true), None, "we insist");
    assert_eq!(group(without, with, Some(Group::X25519), true), None, "they insist");
    assert_eq!(group(without, without, None, true), Some(None));

    let mut offer = offer_esp(&esps(&[with]), 7, true);
    offer[0].transforms.push(transform(4, 0, None));
    let choice = choose_esp(&esps(&[without]), &offer, Some(31), true).unwrap();
    assert_eq!((choice.group, choice.transforms.contains(&transform(4, 0, None))), (None, true), "they leave it to us");
}

#[test]
fn an_answer_is_one_of_what_was_offered() {
    let ours = ikes(&["aes256gcm16-prfsha384-ecp384", "aes128-aes256-sha256-x25519-modp2048"]);
    let theirs = ikes(&["aes256-sha256-modp2048"]);
    let (number, suite, answer) = choose_ike(&theirs, &offer_ike(&ours, &[]), None).unwrap();
    assert_eq!((number, accepted_ike(&ours, &answer)), (2, Some(suite)));
    let refused = |change: &dyn Fn(&mut Proposal)| {
        let mut answer = answer.clone();
        change(&mut answer);
        accepted_ike(&ours, &answer).is_none()
    };
    assert!(refused(&|answer| answer.number = 0) && refused(&|answer| answer.number = 1), "not of that proposal");
    assert!(refused(&|answer| answer.number = 3) && refused(&|answer| answer.protocol = 3));
    assert!(refused(&|answer| answer.transforms.push(transform(4, 31, None))), "two groups");
    assert!(refused(&|answer| answer.transforms[0] = transform(1, 13, Some(128))), "never offered");
    assert!(refused(&|answer| answer.transforms.truncate(3)), "the group is missing");

    let ours = esps(&["aes128gcm16-x25519", "aes128-sha256-x25519-ecp256"]);
    let choice = choose_esp(&esps(&["aes128-sha256-ecp256"]), &offer_esp(&ours, 1, true), None, true).unwrap();
    assert_eq!(accepted_esp(&ours, &choice.answer(2), true).as_ref(), Some(&choice));
    assert_eq!(choice.group, Some(Group::Ecp256));
    let both =
        Proposal { transforms: [choice.transforms.clone(), vec![transform(5, 0, None)]].concat(), ..choice.answer(2) };
    assert_eq!(accepted_esp(&ours, &both, true), None, "both kinds of numbers");
}

fn any_transform() -> impl Strategy<Value = Transform> {
    let id = prop_oneof![8 => prop::sample::select(vec![0_u16, 1, 2, 12, 20, 31]), 1 => any::<u16>()];
    let key_bits = prop_oneof![Just(None), Just(Some(128)), Just(Some(256)), any::<Option<u16>>()];
    (prop_oneof![20 => 1..6_u8, 1 => Just(6)], id, key_bits, prop::bool::weighted(0.1))
        .prop_map(|(kind, id, key_bits, strange)| Transform { kind, id, key_bits, strange })
}

fn any_proposal() -> impl Strategy<Value = Proposal> {
    let protocol = prop_oneof![Just(1_u8), Just(3), any::<u8>()];
    let spi = prop::collection::vec(any::<u8>(), 0..9);
    (any::<u8>(), protocol, spi, prop::collection::vec(any_transform(), 0..12))
        .prop_map(|(number, protocol, spi, transforms)| Proposal { number, protocol, spi, transforms })
}

proptest! {
    /// Whatever they offer: what is chosen was offered, and the answer has it once.
    #[test]
    fn only_what_was_offered_is_chosen(
        offer in prop::collection::vec(any_proposal(), 0..6),
        sent: Option<u16>,
        pfs: bool,
    ) {
        let ours = ikes(&["aes128-aes256-sha1-sha256-x25519-modp2048", "aes128gcm16-chacha20poly1305-prfsha1-x25519"]);
        if let Some((number, suite, answer)) = choose_ike(&ours, &offer, sent) {
            let theirs = offer.iter().find(|theirs| answer.transforms.iter().all(|t| theirs.transforms.contains(t)));
            prop_assert!(theirs.is_some() && number == answer.number);
            prop_assert_eq!(suite.cipher.is_aead(), suite.integrity.is_none());
            prop_assert_eq!(accepted_ike(&ours, &Proposal { number: 1, ..answer.clone() }).is_some(), !suite.cipher.is_aead());
        }
        let ours = esps(&["aes128-null-sha1-x25519", "aes128gcm16-aes256gmac-noesn"]);
        if let Some(choice) = choose_esp(&ours, &offer, sent, pfs) {
            let theirs = offer.iter().find(|theirs| choice.transforms.iter().all(|t| theirs.transforms.contains(t)));
            prop_assert!(theirs.is_some());
        }
        for answer in &offer {
            let _ = (accepted_ike(&ikes(&["aes128-sha1-x25519"]), answer), accepted_esp(&ours, answer, pfs));
        }
    }
}
