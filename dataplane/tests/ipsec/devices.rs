//! The crypto devices, and the library under one of them, against published vectors, and against the built-in engine, byte for byte: what one seals the other seals alike, and opens.

use dpdk::Eal;
use dpdk::chain::Chains;
use phalanx_dataplane::ipsec::crypto::builtin::BuiltIn;
use phalanx_dataplane::ipsec::crypto::chained::Chained;
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

/// What is done for packets of many tunnels at once, a tunnel at a time; and the built-in engine for what is not known there.
struct ChainedFirst;

struct ThroughChains {
    chained: Chained,
    chains: Chains,
}

impl Engine for ChainedFirst {
    fn name(&self) -> &'static str {
        "chained"
    }

    fn session(
        &self,
        transform: Transform,
        keys: &Keys,
        numbers: Numbers,
        direction: Direction,
    ) -> Result<Box<dyn Session>, EngineError> {
        match Chained::new(transform, keys, numbers, direction) {
            Some(chained) => Ok(Box::new(ThroughChains { chained, chains: Chains::new().unwrap() })),
            None => BuiltIn.session(transform, keys, numbers, direction),
        }
    }
}

impl Session for ThroughChains {
    fn process(&mut self, jobs: &mut [Job<'_>]) {
        for jobs in jobs.chunks_mut(dpdk::chain::PACKETS) {
            let works = jobs.iter_mut().map(|job| self.chained.work(job.packet, job.sequence_high));
            let done = self.chains.process(works);
            jobs.iter_mut().enumerate().for_each(|(place, job)| job.done = done >> place & 1 == 1);
        }
    }
}

#[test]
fn chained_packets_are_what_the_built_in_engine_makes() {
    crate::vectors::hold(&ChainedFirst);
    let mut known = 0;
    for transform in Transform::all() {
        for numbers in [Numbers::Short, Numbers::Extended] {
            if Chained::new(transform, &keys(transform), numbers, Direction::Seal).is_some() {
                agree(&ChainedFirst, transform, numbers);
                known += 1;
            }
        }
    }
    assert_eq!(known, 16, "AES-CBC with two lengths of keys, four HMACs, two lengths of numbers");
    let wrong = keys("aes256-sha256".parse().unwrap());
    let transform: Transform = "aes256-sha1".parse().unwrap();
    assert!(Chained::new(transform, &wrong, Numbers::Short, Direction::Seal).is_none());
}

/// Each packet of a burst has keys, a transform and a direction of its own; some are damaged.
#[test]
fn packets_of_many_keys_are_done_in_one_call() {
    let transforms: Vec<Transform> = ["aes128-sha1", "aes256-sha1", "aes128-sha256", "aes256-sha384", "aes128-sha512"]
        .map(|it| it.parse().unwrap())
        .into();
    let mut chains = Chains::new().unwrap();
    for round in 0..200_usize {
        let count = 1 + round % dpdk::chain::PACKETS;
        let mut expected = Vec::new();
        let mut given = Vec::new();
        let mut sessions = Vec::new();
        for place in 0..count {
            let transform = transforms[(round * 7 + place * 3) % transforms.len()];
            let seed = (round * 31 + place * 17) as u8;
            let key =
                |len: usize| -> Vec<u8> { (0..len).map(|at| seed.wrapping_mul(3).wrapping_add(at as u8)).collect() };
            let keys =
                Keys::new(transform, &key(transform.cipher_key_len()), &key(transform.integrity_key_len())).unwrap();
            let numbers = [Numbers::Short, Numbers::Extended][(round + place / 2) % 2];
            let way = [Direction::Seal, Direction::Open][(place + round / 3) % 2];
            let clear = packets(transform).swap_remove((round * 13 + place * 5) % PACKETS);
            let mut sealed = vec![clear.clone()];
            BuiltIn
                .session(transform, &keys, numbers, Direction::Seal)
                .unwrap()
                .process(&mut [Job::new(&mut sealed[0], HIGH)]);
            let sealed = sealed.remove(0);
            let is_damaged = way == Direction::Open && (round + place) % 5 == 0;
            match way {
                Direction::Seal => {
                    given.push(clear);
                    expected.push(Some(sealed));
                }
                Direction::Open => {
                    let mut packet = sealed;
                    let at = (round * place) % packet.len();
                    packet[at] ^= u8::from(is_damaged) << 3;
                    given.push(packet);
                    expected.push((!is_damaged).then_some(clear));
                }
            }
            sessions.push((Chained::new(transform, &keys, numbers, way).unwrap(), Shape::of(transform), way));
        }
        let works = sessions.iter().zip(&mut given).map(|((chained, ..), packet)| chained.work(packet, HIGH));
        let done = chains.process(works);
        for (place, ((_, shape, way), (packet, expected))) in
            sessions.iter().zip(given.iter().zip(&expected)).enumerate()
        {
            assert_eq!(done >> place & 1 == 1, expected.is_some(), "round {round}, packet {place}");
            let Some(expected) = expected else { continue };
            match way {
                Direction::Seal => assert_eq!(packet, expected, "round {round}, packet {place}"),
                Direction::Open => {
                    let body = shape.body_at()..packet.len() - shape.icv_len();
                    assert_eq!(packet[body.clone()], expected[body], "round {round}, packet {place}");
                }
            }
        }
        assert_eq!(done.checked_shr(count as u32).unwrap_or(0), 0, "no more than there were");
    }
}

/// Whoever says what is to be done may die of it: nothing is under way afterwards, and the next packets are done right.
#[test]
fn nothing_stays_under_way() {
    let transform: Transform = "aes128-sha256".parse().unwrap();
    let chained = Chained::new(transform, &keys(transform), Numbers::Short, Direction::Seal).unwrap();
    let mut chains = Chains::new().unwrap();
    for count in 0..8 {
        let mut all = packets(transform);
        let works = all.iter_mut().enumerate().map(|(place, packet)| {
            assert!(place < count, "planned");
            chained.work(packet, HIGH)
        });
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| chains.process(works)));
        assert!(died.is_err());
        drop(all);
        let mut packet = packets(transform).swap_remove(7);
        let mut expected = packet.clone();
        BuiltIn
            .session(transform, &keys(transform), Numbers::Short, Direction::Seal)
            .unwrap()
            .process(&mut [Job::new(&mut expected, HIGH)]);
        assert_eq!(chains.process([None, chained.work(&mut packet, HIGH)].into_iter()), 2);
        assert_eq!(packet, expected);
    }
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
