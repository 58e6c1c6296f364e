//! AH against another implementation: every check, in tunnel and transport mode, over and in IPv4 and IPv6, with short and extended
//! numbers, with and without options that change on the way; both ways.

use phalanx_dataplane::ipsec::Transform;
use phalanx_dataplane::ipsec::ah::{Wrap, checked, locate, put_icv, unwrap};
use phalanx_dataplane::ipsec::crypto::Direction;
use phalanx_dataplane::ipsec::encap::{Draws, Name};
use phalanx_dataplane::ipsec::transform::{Cipher, Integrity};
use phalanx_dataplane::wire::{ipv4, ipv6};

use crate::scapy::{Scapy, Task};
use crate::{Case, HIGH, LOW, SPI, datagram};

const CHECKS: [Integrity; 7] = [
    Integrity::HmacSha1,
    Integrity::HmacSha256,
    Integrity::HmacSha384,
    Integrity::HmacSha512,
    Integrity::HmacMd5,
    Integrity::AesXcbc,
    Integrity::AesCmac,
];

struct Ah {
    case: Case,
    integrity: Integrity,
}

impl Ah {
    fn all() -> impl Iterator<Item = Self> {
        CHECKS.into_iter().flat_map(|integrity| {
            let transform = Transform::Pair(Cipher::Null, integrity);
            let cases = Case::all().filter(move |case| case.transform == transform && !case.nat);
            cases.map(move |case| Self { case, integrity })
        })
    }

    /// The ICV that the packet should have, behind what is checked of it.
    fn text(&self, direction: Direction, packet: &[u8]) -> Option<Vec<u8>> {
        let mut scratch = [0; 3000];
        let place = locate(packet).unwrap();
        let text = checked(packet, &place, self.integrity.icv_len(), &mut scratch).unwrap();
        self.case.process(direction, text).then(|| text.to_vec())
    }

    fn seal(&self, packet: &[u8]) -> Vec<u8> {
        let wrap = Wrap::new(SPI, self.case.mode(), self.integrity);
        let room = wrap.room(packet).unwrap();
        let mut buffer = [&vec![0xee; room], packet].concat();
        let sequence = u64::from(HIGH) << 32 | u64::from(LOW);
        let place = wrap.build(&mut buffer, room, Draws { sequence, nonce: 0, name: Name { id: 1, unit: 6 } }).unwrap();
        let text = self.text(Direction::Seal, &buffer).unwrap();
        put_icv(&mut buffer, &place, &text[text.len() - self.integrity.icv_len()..]);
        buffer
    }

    fn open(&self, mut buffer: Vec<u8>) -> Vec<u8> {
        let place = locate(&buffer).unwrap();
        assert_eq!((place.spi, place.sequence), (SPI, LOW));
        assert!(self.text(Direction::Open, &buffer).is_some(), "{:?}: the ICV is wrong", self.case);
        let range = unwrap(&mut buffer, &place, self.case.outer_v6.is_some()).unwrap();
        buffer[range].to_vec()
    }

    fn task(&self, op: &'static str, packet: Vec<u8>) -> Task {
        Task { ah: true, ..self.case.task(op, packet) }
    }
}

/// The datagram with options: some that routers change, some that they do not.
fn with_options(v6: bool, packet: &[u8]) -> Vec<u8> {
    if v6 {
        // Hop by hop: an option that changes (of a kind that nobody knows), and padding.
        let options = [packet[6], 0, 0x3e, 2, 0xaa, 0xbb, 1, 0];
        let mut with = [&packet[..ipv6::HEADER_LEN], &options, &packet[ipv6::HEADER_LEN..]].concat();
        with[6] = 0;
        let payload_len = (with.len() - ipv6::HEADER_LEN) as u16;
        with[4..6].copy_from_slice(&payload_len.to_be_bytes());
        return with;
    }
    // A record of the route, and a router alert.
    let options = [7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0];
    let mut with = [&packet[..ipv4::HEADER_LEN], &options, &packet[ipv4::HEADER_LEN..]].concat();
    with[0] = 0x40 | ((ipv4::HEADER_LEN + options.len()) / 4) as u8;
    let len = with.len() as u16;
    with[2..4].copy_from_slice(&len.to_be_bytes());
    ipv4::Packet::new_checked(&mut with[..]).unwrap().fill_checksum();
    with
}

#[test]
fn another_implementation_accepts_what_we_check_and_we_what_it_checks() {
    let mut scapy = Scapy::start();
    let mut tried = 0;
    for (ah, number) in Ah::all().zip(1_usize..) {
        let plain = datagram(ah.case.inner_v6, number * 7 % 90);
        for packet in [with_options(ah.case.inner_v6, &plain), plain] {
            let sealed = ah.seal(&packet);
            assert_eq!(ah.open(sealed.clone()), packet, "{:?}", ah.case);
            assert_eq!(scapy.ask(&ah.task("open", sealed)), Ok(packet.clone()), "{:?}: it refuses ours", ah.case);
            let sealed = scapy.ask(&ah.task("seal", packet.clone())).unwrap();
            assert_eq!(ah.open(sealed), packet, "{:?}: we refuse its", ah.case);
            tried += 1;
        }
    }
    assert_eq!(tried, CHECKS.len() * 6 * 2 * 2);
}

#[test]
fn another_implementation_refuses_what_was_changed() {
    let mut scapy = Scapy::start();
    for ah in Ah::all().filter(|ah| ah.case.outer_v6.is_none()) {
        let mut sealed = ah.seal(&datagram(ah.case.inner_v6, 40));
        let place = sealed.len() - 10;
        sealed[place] ^= 0x10;
        assert!(ah.text(Direction::Open, &sealed).is_none());
        let answer = scapy.ask(&ah.task("open", sealed)).unwrap_err();
        assert!(answer.contains("Integrity"), "{:?}: {answer}", ah.case);
    }
}
