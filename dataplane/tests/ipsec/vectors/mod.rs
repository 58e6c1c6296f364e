//! Published vectors, in whole packets, for either engine; those of checks on the devices' primitives too, as they are on the
//! built-in engine's (`crypto/builtin/tests`).

mod checks;
#[path = "../../../src/ipsec/crypto/builtin/tests/known.rs"]
mod known;
mod rfc;
#[path = "../../../src/ipsec/crypto/builtin/tests/tried.rs"]
mod tried;
mod wycheproof;

pub(crate) use checks::hold as hold_checks;
use phalanx_dataplane::ipsec::crypto::builtin::BuiltIn;
use phalanx_dataplane::ipsec::crypto::{Direction, Engine, Job, Numbers, Session};
use phalanx_dataplane::ipsec::transform::Integrity;
use phalanx_dataplane::ipsec::{Keys, Transform};
use ring::hmac;

/// Ciphers that check nothing are tried with this.
const CHECK: Integrity = Integrity::HmacSha1;
const CHECK_KEY: [u8; 20] = [0x42; 20];

/// Fails unless the engine does what the vectors say.
pub(crate) fn hold(engine: &dyn Engine) {
    rfc::hold(engine);
    wycheproof::hold(engine);
}

/// Bytes as vectors write them.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// What [`CHECK`] makes of a packet.
fn check_value(packet: &[u8]) -> [u8; 12] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &CHECK_KEY), packet);
    *tag.as_ref().first_chunk().unwrap()
}

/// One session that seals and one that opens.
fn both(engine: &dyn Engine, transform: Transform, keys: &Keys, numbers: Numbers) -> [Box<dyn Session>; 2] {
    [Direction::Seal, Direction::Open].map(|way| engine.session(transform, keys, numbers, way).unwrap())
}

/// Whether it was done.
fn process(session: &mut dyn Session, packet: &mut [u8], sequence_high: u32) -> bool {
    let mut jobs = [Job::new(packet, sequence_high)];
    session.process(&mut jobs);
    jobs[0].done
}

#[test]
fn the_built_in_engine_does_what_vectors_say() {
    hold(&BuiltIn);
}
