//! What members of other versions wrote is read, and what they added is kept.

use super::*;
use crate::eap::Conversation;
use crate::machine::Keeper;
use crate::state::{Beginning, Kept, Lack, Proving};
use crate::wire::Exchange;

const GOLDEN: &[u8] = include_bytes!("../../tests/golden/ike-sa-v1");

fn keys(lengths: [usize; 7]) -> IkeKeys {
    let [d, ai, ar, ei, er, pi, pr] = lengths.map(|len| Secret::new(vec![len as u8 ^ 0x5a; len]));
    IkeKeys { d, ai, ar, ei, er, pi, pr }
}

/// Something of everything.
fn sample() -> IkeSa {
    let network = |text: &str, len| Selector::of_network(text.parse().unwrap(), len);
    let pair = KeyPair::restore(Group::X25519, &[7; 32]).unwrap();
    let rekey = Rekey { old_spi: 0x1004d, new_spi: 0x2004d, nonce: vec![9; 32], key_pair: Some(pair) };
    IkeSa {
        role: Role::Responder,
        initiator_spi: 0x1111_2222_3333_4444,
        responder_spi: 0xaaaa_bbbb_cccc_004d,
        path: Path { ours: "198.51.100.1:4500".parse().unwrap(), theirs: "[2001:db8::9]:61000".parse().unwrap() },
        nat: Nat { ours: false, theirs: true },
        suite: Suite {
            cipher: Cipher::AesCbc256,
            integrity: Some(Integrity::HmacSha256_128),
            prf: Prf::HmacSha384,
            group: Group::Ecp256,
        },
        keys: keys([48, 32, 32, 32, 32, 48, 48]),
        phase: Phase::Established(Peer {
            connection: "road".into(),
            identity: Identity::of_text("alice@example.org"),
            addresses: vec!["10.99.0.1".parse().unwrap(), "fd00:99::1".parse().unwrap()],
            sole_since_s: 0,
            proved_until_s: 0,
        }),
        succeeded: false,
        abilities: Abilities { fragmentation: true, mobike: true, message_id_sync: false, replay_sync: false },
        created_s: 1000,
        heard_s: 1234,
        rekey_at_s: 9999,
        next_request: 5,
        last_answer: vec![vec![1, 2, 3], vec![4]],
        next_own: 2,
        pending: Some(Pending {
            datagrams: vec![vec![5, 6]],
            purpose: Purpose::RekeyChild(rekey, Collision { their_spi: 0x3004d, nonce: vec![8; 16], ended: None }),
            tries: 2,
            again_s: 1240,
        }),
        pieces: Pieces { first: 46, parts: vec![None, Some(vec![7; 3])] },
        children: vec![Child {
            name: "lan".into(),
            inbound_spi: 0x1004d,
            outbound_spi: 0xc001,
            transform: "aes128gcm16".into(),
            transport: false,
            extended: true,
            local: vec![network("10.3.0.0", 24)],
            remote: vec![network("10.99.0.1", 32), network("fd00:99::1", 128)],
            created_s: 1100,
            rekey_at_s: 4700,
        }],
        kept: None,
        synced: 0,
        token: Secret::default(),
        beyond: Vec::new(),
    }
}

#[test]
fn golden() {
    let record = sample().save();
    if std::env::var_os("PHALANX_WRITE_GOLDEN").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/ike-sa-v1"), &record).unwrap();
    }
    assert_eq!(record, GOLDEN);
    let again = IkeSa::restore(GOLDEN).expect("version 1");
    assert_eq!(again.save(), GOLDEN);
    assert_eq!(again.header(Exchange::INFORMATIONAL, true, 5).responder_spi, 0xaaaa_bbbb_cccc_004d);
    assert_eq!((again.path, again.children), (sample().path, sample().children));
}

#[test]
fn every_phase_and_purpose_comes_back() {
    let opening = || Opening { request: vec![1; 3], answer: vec![2; 4], nonce_i: vec![3; 16], nonce_r: vec![4; 16] };
    let asking = Asking {
        opening: opening(),
        connection: "road".into(),
        identity: Identity::of_text("bob"),
        wanted: (33, vec![5; 9]),
        conversation: Conversation::begin(3).0,
        granted: Some(("bob".into(), Secret::new(vec![6; 64]))),
    };
    let beginning = Beginning {
        connection: "branch".into(),
        pair: KeyPair::restore(Group::X25519, &[7; 32]).unwrap(),
        nonce: vec![3; 32],
        cookie: vec![9; 20],
        turns: 2,
    };
    let proving = Proving { opening: opening(), connection: "branch".into(), child: ("lan".into(), 0x1004d) };
    let phases = [
        Phase::Opening(opening()),
        Phase::Asking(Box::new(asking)),
        Phase::Closed,
        Phase::Beginning(Box::new(beginning)),
        Phase::Proving(Box::new(proving)),
    ];
    let rekey = Rekey { old_spi: 0, new_spi: 7, nonce: vec![1; 32], key_pair: None };
    let ended = sample().children.pop().map(Box::new);
    let purposes = [
        Purpose::RekeyChild(rekey.clone(), Collision { ended, ..Collision::default() }),
        Purpose::Probe,
        Purpose::Close,
        Purpose::CloseChild(77),
        Purpose::RekeyIke(rekey.clone()),
        Purpose::Begin,
        Purpose::Prove,
        Purpose::MakeChild("lan".into(), rekey),
    ];
    let pending = |purpose| Pending { datagrams: vec![vec![1]], purpose, tries: 1, again_s: 2 };
    let sas = phases.map(|phase| IkeSa { phase, ..sample() }).into_iter();
    for sa in sas.chain(purposes.map(|purpose| IkeSa { pending: Some(pending(purpose)), ..sample() })) {
        let record = sa.save();
        let again = IkeSa::restore(&record).expect("what was saved");
        assert_eq!(again.save(), record);
        assert_eq!(std::mem::discriminant(&again.phase), std::mem::discriminant(&sa.phase));
    }
    for lacking in [Vec::new(), vec![Lack { name: "more".into(), at_s: 77, tries: 3 }]] {
        let sa = IkeSa { kept: Some(Kept { begun: 0x5004d, lacking }), ..sample() };
        assert_eq!(IkeSa::restore(&sa.save()).expect("what was saved").kept, sa.kept);
    }
}

/// Some is for one pair of SPIs: a member that does not know the field gives it on with new ones.
#[test]
fn tokens_and_message_ids_are_for_their_spis() {
    let sa = IkeSa { token: Secret::new(vec![7; 32]), synced: 77, ..sample() };
    let record = sa.save();
    assert_eq!(&record[..GOLDEN.len()], GOLDEN, "behind what there was before");
    let again = IkeSa::restore(&record).expect("what was saved");
    assert_eq!((again.token, again.synced), (sa.token, 77));
    let fields = record[GOLDEN.len()..].to_vec();
    let successor = IkeSa { initiator_spi: 5, ..sample() }.save();
    let handed_on = IkeSa::restore(&[successor, fields].concat()).expect("with fields more");
    assert!(handed_on.token.is_empty() && handed_on.synced == 0 && handed_on.beyond.is_empty());
}

/// Keepers stand beside IKE SAs: neither is taken for the other.
#[test]
fn a_keeper_is_no_ike_sa() {
    let keeper =
        Keeper { connection: "branch".into(), spi: 0x4004d, begun_s: 1000, tries: 3, again_s: 1030, over: true };
    let record = keeper.save();
    assert_eq!(Keeper::restore(&record), Some(keeper));
    assert!(IkeSa::restore(&record).is_none() && Keeper::restore(GOLDEN).is_none());
    (0..record.len()).for_each(|len| assert_eq!(Keeper::restore(&record[..len]), None));
}

#[test]
fn what_a_newer_member_added_is_kept() {
    let newer = [GOLDEN, &[200, 0, 0, 0, 2, 8, 9]].concat();
    let sa = IkeSa::restore(&newer).expect("version 1, and more");
    assert_eq!(sa.beyond, [(200, vec![8, 9])]);
    assert_eq!(sa.save(), newer);
}

#[test]
fn what_is_no_record_is_none() {
    for len in 0..GOLDEN.len() {
        // The fields at the end may be absent; nothing panics, and what comes back is written the same again.
        if let Some(sa) = IkeSa::restore(&GOLDEN[..len]) {
            assert!(IkeSa::restore(&sa.save()).is_some());
        }
        let mut changed = GOLDEN.to_vec();
        changed[len] ^= 0xff;
        let _ = IkeSa::restore(&changed);
    }
    assert!(IkeSa::restore(&[]).is_none() && IkeSa::restore(&GOLDEN[..7]).is_none());
}
