//! The crypto devices, and the library under one of them, against published vectors, and against the built-in engine, byte for byte: what one seals the other seals alike, and opens.

use dpdk::Eal;
use phalanx_dataplane::ipsec::crypto::builtin::BuiltIn;
use phalanx_dataplane::ipsec::crypto::devices::Devices;
use phalanx_dataplane::ipsec::crypto::direct::Direct;
use phalanx_dataplane::ipsec::crypto::{Direction, Engine, EngineError, Job, Numbers, Session};
use phalanx_dataplane::ipsec::esp::{Fields, Layout, Shape};
use phalanx_dataplane::ipsec::{Aead, Cipher, Integrity, Keys, Transform};

const HIGH: u32 = 0x8765_4321;
/// More than a device takes at once.
const PACKETS: usize = 75;

fn keys(transform: Transform) -> Keys {
    let cipher: Vec<u8> = (31..).take(transform.cipher_key_len()).collect();
    let integrity: Vec<u8> = (131..).take(transform.integrity_key_len()).collect();
    Keys::new(transform, &cipher, &integrity).unwrap()
}

/// Packets of many lengths, ready to be sealed.
fn packets(transform: Transform) -> Vec<Vec<u8>> {
    let shape = Shape::of(transform);
    let packet = |number: usize| {
        let payload: Vec<u8> = (0..number * 29 % 1430).map(|byte| (byte * number) as u8).collect();
        let Layout { before, after } = shape.around(payload.len());
        let mut packet = [&vec![0; before], &payload[..], &vec![0; after]].concat();
        let (sequence, nonce) = (number as u64, number as u64 * 0x1_0001);
        shape.write(&mut packet, payload.len(), Fields { spi: 0x0102_0304, sequence, nonce, next_header: 4 });
        packet
    };
    (1..=PACKETS).map(packet).collect()
}

/// Which of them were done.
fn process(session: &mut dyn Session, packets: &mut [Vec<u8>]) -> Vec<bool> {
    let mut jobs: Vec<_> = packets.iter_mut().map(|packet| Job::new(packet, HIGH)).collect();
    session.process(&mut jobs);
    jobs.iter().map(|job| job.done).collect()
}

fn is_for_devices(transform: Transform) -> bool {
    !matches!(
        transform,
        Transform::Aead(Aead::AesGmac(_))
            | Transform::Pair(Cipher::TripleDesCbc, _)
            | Transform::Pair(
                Cipher::AesCbc(_) | Cipher::AesCtr(_) | Cipher::DesCbc,
                Integrity::AesXcbc | Integrity::AesCmac
            )
    )
}

fn agree(devices: &dyn Engine, transform: Transform, numbers: Numbers) {
    let session = |engine: &dyn Engine, way| engine.session(transform, &keys(transform), numbers, way).unwrap();
    let clear = packets(transform);
    let [mut ours, mut theirs] = [clear.clone(), clear.clone()];
    assert!(process(&mut *session(&BuiltIn, Direction::Seal), &mut ours).iter().all(|done| *done));
    let done = process(&mut *session(devices, Direction::Seal), &mut theirs);
    assert!(done.iter().all(|done| *done), "{transform} {numbers:?}: {done:?}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "{transform} {numbers:?}, {} bytes", ours.len());
    }
    // One packet in seven was damaged.
    let is_damaged = |place: usize| place % 7 == 3;
    for (place, packet) in theirs.iter_mut().enumerate().filter(|(place, _)| is_damaged(*place)) {
        let at = place * 31 % packet.len();
        packet[at] ^= 0x40;
    }
    let done = process(&mut *session(devices, Direction::Open), &mut theirs);
    let shape = Shape::of(transform);
    for (place, ((clear, opened), done)) in clear.iter().zip(&theirs).zip(done).enumerate() {
        assert_eq!(done, !is_damaged(place), "{transform} {numbers:?}, packet {place}");
        if done {
            let body = shape.body_at()..clear.len() - shape.icv_len();
            assert_eq!(clear[body.clone()], opened[body], "{transform} {numbers:?}, packet {place}");
        }
    }
    // Too short to be a packet.
    let mut short: Vec<Vec<u8>> = (0..shape.body_at() + shape.icv_len()).map(|len| vec![0; len]).collect();
    for way in [Direction::Seal, Direction::Open] {
        assert!(process(&mut *session(devices, way), &mut short).iter().all(|done| !*done));
    }
}

/// The direct engine, and the built-in one for what it does not know.
struct DirectFirst;

impl Engine for DirectFirst {
    fn name(&self) -> &'static str {
        Direct.name()
    }

    fn session(
        &self,
        transform: Transform,
        keys: &Keys,
        numbers: Numbers,
        direction: Direction,
    ) -> Result<Box<dyn Session>, EngineError> {
        let made = Direct.session(transform, keys, numbers, direction);
        made.or_else(|_| BuiltIn.session(transform, keys, numbers, direction))
    }
}

#[test]
fn the_direct_engine_does_what_the_built_in_engine_does() {
    crate::vectors::hold(&DirectFirst);
    let mut known = 0;
    for transform in Transform::all() {
        for numbers in [Numbers::Short, Numbers::Extended] {
            match Direct.session(transform, &keys(transform), numbers, Direction::Seal) {
                Ok(_) => agree(&Direct, transform, numbers),
                Err(EngineError::Unsupported(..)) => continue,
                Err(other) => panic!("{transform}: {other}"),
            }
            known += 1;
        }
    }
    assert_eq!(known, 4, "AES-GCM with two lengths of keys and of numbers");
    let gcm: Transform = "aes128gcm16".parse().unwrap();
    let wrong = keys("aes256-sha1".parse().unwrap());
    assert_eq!(Direct.session(gcm, &wrong, Numbers::Short, Direction::Seal).err(), Some(EngineError::Keys(gcm)));
}

#[test]
fn devices_do_what_the_built_in_engine_does() {
    let eal = Eal::init(["--no-huge", "--no-pci", "--no-telemetry", "--no-shconf", "-m", "128", "-l", "0"]).unwrap();
    let devices = Devices::open(&eal, 64).expect("the ipsec_mb drivers: scripts/setup installs them");
    // DPDK starts once a process, so these are tried here, too.
    crate::vectors::hold(&devices);
    crate::vectors::hold_checks(devices.mb());
    let mut unknown = Vec::new();
    for transform in Transform::all() {
        for numbers in [Numbers::Short, Numbers::Extended] {
            match devices.session(transform, &keys(transform), numbers, Direction::Seal) {
                Ok(_) => agree(&devices, transform, numbers),
                Err(EngineError::Unsupported(..)) => unknown.push(transform),
                Err(other) => panic!("{transform}: {other}"),
            }
        }
    }
    unknown.dedup();
    let expected: Vec<_> = Transform::all().filter(|transform| !is_for_devices(*transform)).collect();
    assert_eq!(unknown, expected);
    let wrong = keys("aes256-sha1".parse().unwrap());
    let gcm: Transform = "aes128gcm16".parse().unwrap();
    assert_eq!(
        devices.session(gcm, &wrong, Numbers::Short, Direction::Seal).err(),
        Some(EngineError::Keys(gcm)),
        "keys of another transform"
    );
}
