//! Beacons: no stranger's bytes open, a member's beacon opens only as it was sealed, and public-key work is limited.

use phalanx_control::envelope::OpenError;
use phalanx_control::envelope::beacon::{BEACON_BODY_MAX, BeaconError, BeaconOpener, BeaconSealer};

use super::cursor::Cursor;
use super::identities::{CLUSTER, Cluster, NOW};

/// See the module.
pub(super) fn target(data: &[u8]) {
    let Cluster { m1, m2, revoked, admission } = &*CLUSTER;
    let mut script = Cursor(data);
    let mut opener = BeaconOpener::new(m1.secret().clone());
    assert!(opener.open(data, admission, NOW, 0).is_err(), "nobody sealed this");
    let sender = if script.u8() % 4 == 0 { revoked } else { m2 };
    let mut sealer = BeaconSealer::new(sender, [9; 16], 5).expect("a sealer");
    let (at, change) = (usize::from(script.u16()), script.u8());
    let body = script.take(BEACON_BODY_MAX);
    let mut frame = Vec::new();
    sealer.seal(body, &mut frame).expect("a body that is short enough");
    let mut copy = frame.clone();
    match change {
        0 => copy.truncate(at % frame.len()),
        255 => copy.extend_from_slice(script.take(8)),
        change => copy[at % frame.len()] ^= change,
    }
    assert!(copy == frame || opener.open(&copy, admission, NOW, 0).is_err(), "a mangled beacon was opened");
    match opener.open(&frame, admission, NOW, 0) {
        Ok(beacon) => {
            assert_eq!((beacon.peer.member.number(), beacon.incarnation, beacon.body), (2, 5, body));
            assert_eq!(beacon.certificate, m2.certificate());
        }
        Err(refusal) => assert!(sender.member() == revoked.member(), "{refusal}"),
    }
    let again = opener.open(&frame, admission, NOW, 0).map(|_| ());
    let expected: BeaconError = OpenError::Duplicate.into();
    assert!(again.is_err() && (sender.member() == revoked.member() || again == Err(expected)));
}
