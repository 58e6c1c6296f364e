//! Sealed datagrams: no stranger's bytes open, a datagram opens once and only as it was sealed.

use phalanx_control::envelope::{BODY_MAX, KeyRefusal, OVERHEAD_BYTES, OpenError, Opener, PublicKeys, Sealer};
use phalanx_control::pki::PublicKey;
use phalanx_dataplane::unit::MemberId;

use super::cursor::Cursor;
use super::identities::CLUSTER;

struct Keys;

impl PublicKeys for Keys {
    fn public_key(&self, member: MemberId) -> Result<PublicKey, KeyRefusal> {
        match member.number() {
            1 => Ok(CLUSTER.m1.signing_key().public_key()),
            2 => Ok(CLUSTER.m2.signing_key().public_key()),
            3 => Err(KeyRefusal::Revoked),
            _ => Err(KeyRefusal::Unknown),
        }
    }
}

/// See the module: a script of frames from a stranger, and of datagrams that are mangled, doubled and delayed.
pub(super) fn target(data: &[u8]) {
    let mut script = Cursor(data);
    let mut opener = Opener::new(CLUSTER.m1.secret().clone());
    assert!(opener.open(data, &Keys).is_err(), "nobody sealed this");
    let m2 = &CLUSTER.m2;
    let signing = std::sync::Arc::clone(m2.signing_key());
    let mut sealer = Sealer::new(m2.member(), signing, m2.secret(), [9; 16], 5).expect("a sealer");
    let mut sent: Vec<(Vec<u8>, Vec<u8>, bool)> = Vec::new();
    // Signatures cost some 50 us each: a handful a run is enough.
    for _ in 0..6 {
        if script.is_empty() {
            break;
        }
        match script.u8() % 4 {
            0 => {
                let len = usize::from(script.u16()) % (BODY_MAX + 2);
                let body = script.take(len).to_vec();
                let mut frame = Vec::new();
                match sealer.seal(&body, &mut frame) {
                    Ok(()) => sent.push((frame, body, false)),
                    Err(_) => assert!(body.len() > BODY_MAX),
                }
            }
            1 => open_one(&mut opener, &mut sent, usize::from(script.u8())),
            2 => mangle(&mut opener, &sent, &mut script),
            _ => {
                let len = usize::from(script.u16()) % (BODY_MAX + OVERHEAD_BYTES + 2);
                assert!(opener.open(script.take(len), &Keys).is_err(), "nobody sealed this");
            }
        }
    }
    (0..sent.len()).for_each(|which| open_one(&mut opener, &mut sent, which));
}

fn open_one(opener: &mut Opener, sent: &mut [(Vec<u8>, Vec<u8>, bool)], which: usize) {
    let count = sent.len().max(1);
    let Some((frame, body, opened)) = sent.get_mut(which % count) else { return };
    match opener.open(frame, &Keys) {
        Ok(message) => {
            assert!(!std::mem::replace(opened, true), "opened twice");
            assert_eq!((message.sender.number(), message.incarnation, message.body), (2, 5, &body[..]));
        }
        Err(refusal) => assert!(*opened && refusal == OpenError::Duplicate, "{refusal}"),
    }
}

/// One byte changed, or some cut off or added: it does not open, and spoils nothing for the original.
fn mangle(opener: &mut Opener, sent: &[(Vec<u8>, Vec<u8>, bool)], script: &mut Cursor<'_>) {
    let count = sent.len().max(1);
    let Some((frame, ..)) = sent.get(usize::from(script.u8()) % count) else { return };
    let (at, change) = (usize::from(script.u16()) % frame.len(), script.u8());
    let mut copy = frame.clone();
    match change {
        0 => copy.truncate(at),
        255 => copy.extend_from_slice(script.take(8)),
        change => copy[at] ^= change,
    }
    assert!(copy == *frame || opener.open(&copy, &Keys).is_err(), "a mangled datagram was opened");
}
