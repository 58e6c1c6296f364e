//! The properties that the envelope promises, each tried with inputs that nobody chose.

use std::sync::Arc;

use phalanx_dataplane::unit::MemberId;
use proptest::prelude::*;

use super::*;
use crate::pki::{ClusterSecret, PublicKey, SigningKey};

const SECRET: [u8; 32] = [7; 32];

fn member(number: u8) -> MemberId {
    MemberId::new(number).unwrap()
}

fn secret() -> ClusterSecret {
    ClusterSecret::new(SECRET)
}

/// Members 1 and 2 are admitted, 3 is revoked, nobody else is known.
struct Keys(Vec<Arc<SigningKey>>);

impl Keys {
    fn new() -> Self {
        Self((0..3).map(|_| Arc::new(SigningKey::generate().unwrap())).collect())
    }

    fn sealer(&self, number: u8, salt: u8, incarnation: u64) -> Sealer {
        let key = Arc::clone(&self.0[usize::from(number) - 1]);
        Sealer::new(member(number), key, &secret(), [salt; SALT_BYTES], incarnation).unwrap()
    }
}

impl PublicKeys for Keys {
    fn public_key(&self, member: MemberId) -> Result<PublicKey, KeyRefusal> {
        match member.number() {
            number @ 1..=2 => Ok(self.0[usize::from(number) - 1].public_key()),
            3 => Err(KeyRefusal::Revoked),
            _ => Err(KeyRefusal::Unknown),
        }
    }
}

fn seal(sealer: &mut Sealer, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    sealer.seal(body, &mut out).unwrap();
    out
}

#[test]
fn a_datagram_arrives_once_whatever_path_its_copies_take() {
    let keys = Keys::new();
    let frame = seal(&mut keys.sealer(1, 1, 5), b"keepalive");
    let mut opener = Opener::new(secret());
    let opened = opener.open(&frame, &keys).unwrap();
    assert_eq!((opened.sender, opened.incarnation, opened.counter), (member(1), 5, 0));
    assert_eq!(opened.body, b"keepalive");
    assert_eq!(opener.open(&frame, &keys), Err(OpenError::Duplicate));
}

#[test]
fn copies_are_known_before_the_seal_is_looked_at() {
    let keys = Keys::new();
    let mut frame = seal(&mut keys.sealer(1, 1, 5), b"keepalive");
    let mut opener = Opener::new(secret());
    opener.open(&frame, &keys).unwrap();
    // A broken seal would be "forged" if anyone had looked at it.
    *frame.last_mut().unwrap() ^= 1;
    assert_eq!(opener.open(&frame, &keys), Err(OpenError::Duplicate));
}

#[test]
fn an_earlier_boot_is_refused_once_a_newer_one_was_heard() {
    let keys = Keys::new();
    let mut old = keys.sealer(1, 1, 5);
    let (first, second) = (seal(&mut old, b"a"), seal(&mut old, b"b"));
    let mut opener = Opener::new(secret());
    opener.open(&first, &keys).unwrap();
    opener.open(&seal(&mut keys.sealer(1, 2, 6), b"new boot"), &keys).unwrap();
    assert_eq!(opener.open(&second, &keys), Err(OpenError::Replay));
    // The same incarnation with another salt is no newer boot either.
    assert_eq!(opener.open(&seal(&mut keys.sealer(1, 3, 6), b"?"), &keys), Err(OpenError::Replay));
}

#[test]
fn a_vouched_position_refuses_what_was_never_heard() {
    let keys = Keys::new();
    let mut old_boot = keys.sealer(1, 1, 5);
    let mut boot = keys.sealer(1, 2, 6);
    let (ancient, recorded) = (seal(&mut old_boot, b"x"), seal(&mut boot, b"y"));
    let mut opener = Opener::new(secret());
    opener.vouch(member(1), boot.position());
    assert_eq!(opener.open(&ancient, &keys), Err(OpenError::Replay));
    assert_eq!(opener.open(&recorded, &keys), Err(OpenError::Replay));
    opener.open(&seal(&mut boot, b"live"), &keys).unwrap();
}

#[test]
fn a_member_that_lost_its_disk_is_heard_again_when_vouched_for() {
    let keys = Keys::new();
    let mut high = keys.sealer(1, 1, 9);
    let (heard, recorded) = (seal(&mut high, b"a"), seal(&mut high, b"b"));
    let mut low = keys.sealer(1, 2, 1);
    let mut opener = Opener::new(secret());
    opener.open(&heard, &keys).unwrap();
    assert_eq!(opener.open(&seal(&mut low, b"c"), &keys), Err(OpenError::Replay));
    opener.vouch(member(1), low.position());
    opener.open(&seal(&mut low, b"d"), &keys).unwrap();
    assert_eq!(opener.open(&recorded, &keys), Err(OpenError::Replay), "the retired salt stays refused");
}

#[test]
fn a_member_cannot_speak_as_another_though_it_knows_the_secret() {
    let keys = Keys::new();
    // Member 2 signs with its own key, but seals as member 1.
    let mut impostor = Sealer::new(member(1), Arc::clone(&keys.0[1]), &secret(), [9; SALT_BYTES], 99).unwrap();
    let mut opener = Opener::new(secret());
    assert_eq!(opener.open(&seal(&mut impostor, b"I am the master"), &keys), Err(OpenError::Forged));
    // Nothing was remembered of it: the real member with a lower incarnation is heard.
    opener.open(&seal(&mut keys.sealer(1, 1, 5), b"real"), &keys).unwrap();
}

#[test]
fn strangers_unknown_and_revoked_members_are_refused() {
    let keys = Keys::new();
    let mut opener = Opener::new(secret());
    let mut stranger =
        Sealer::new(member(1), Arc::clone(&keys.0[0]), &ClusterSecret::new([8; 32]), [1; SALT_BYTES], 1).unwrap();
    assert_eq!(opener.open(&seal(&mut stranger, b""), &keys), Err(OpenError::Forged));
    assert_eq!(opener.open(&seal(&mut keys.sealer(3, 1, 1), b""), &keys), Err(OpenError::Revoked));
    let mut unknown = Sealer::new(member(4), Arc::clone(&keys.0[0]), &secret(), [1; SALT_BYTES], 1).unwrap();
    assert_eq!(opener.open(&seal(&mut unknown, b""), &keys), Err(OpenError::UnknownSender));
}

#[test]
fn the_longest_body_fits_and_one_more_does_not() {
    let keys = Keys::new();
    let mut sealer = keys.sealer(1, 1, 1);
    let frame = seal(&mut sealer, &[1; BODY_MAX]);
    assert_eq!(frame.len(), FRAME_MAX);
    assert_eq!(Opener::new(secret()).open(&frame, &keys).unwrap().body, [1; BODY_MAX]);
    assert_eq!(sealer.seal(&[1; BODY_MAX + 1], &mut Vec::new()), Err(SealError::TooLong(BODY_MAX + 1)));
    let mut long = frame;
    long.push(0);
    assert_eq!(Opener::new(secret()).open(&long, &keys), Err(OpenError::Malformed));
}

#[test]
fn the_filter_key_depends_on_the_secret_alone() {
    assert_eq!(steered_key(&secret()), steered_key(&secret()));
    assert_ne!(steered_key(&secret()), steered_key(&ClusterSecret::new([8; 32])));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whichever bit is flipped, the frame is refused and leaves no trace.
    #[test]
    fn any_flipped_bit_is_refused(body in proptest::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let keys = Keys::new();
        let frame = seal(&mut keys.sealer(1, 1, 5), &body);
        let mut broken = frame.clone();
        broken[at.index(frame.len())] ^= 1 << bit;
        let mut opener = Opener::new(secret());
        prop_assert!(opener.open(&broken, &keys).is_err());
        prop_assert_eq!(opener.open(&frame, &keys).unwrap().body, &body[..]);
    }

    /// In any order and with any repetition, each datagram is delivered at most once.
    #[test]
    fn each_is_delivered_once(order in proptest::collection::vec(0usize..100, 0..200)) {
        let keys = Keys::new();
        let mut sealer = keys.sealer(2, 1, 5);
        let frames: Vec<_> = (0..100u8).map(|number| seal(&mut sealer, &[number])).collect();
        let mut opener = Opener::new(secret());
        let mut delivered = std::collections::BTreeSet::new();
        for index in order {
            if let Ok(opened) = opener.open(&frames[index], &keys) {
                prop_assert_eq!(opened.body, &[index as u8][..]);
                prop_assert!(delivered.insert(index));
            }
        }
    }

    /// Arbitrary bytes never panic and never open.
    #[test]
    fn noise_is_refused(mut noise in proptest::collection::vec(any::<u8>(), 0..1500), shaped in any::<bool>()) {
        if shaped && noise.len() > 2 {
            noise[0] = wire::VERSION_DATAGRAM;
            noise[1] = 1;
        }
        let keys = Keys::new();
        prop_assert!(Opener::new(secret()).open(&noise, &keys).is_err());
    }
}
