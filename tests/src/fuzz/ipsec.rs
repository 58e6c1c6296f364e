//! ESP and AH from anybody: whatever comes in is refused or is a packet within its buffer, whatever goes out comes back the same, and no
//! number is accepted twice.
//!
//! The first byte names the transform, the second what to do (see the constants), the rest is a packet.

use std::collections::HashSet;

use phalanx_dataplane::ipsec::crypto::builtin::BuiltIn;
use phalanx_dataplane::ipsec::crypto::{Direction, Engine, Job, Numbers};
use phalanx_dataplane::ipsec::decap::{Decap, Found, locate};
use phalanx_dataplane::ipsec::encap::{Draws, Encap, Mode, Name};
use phalanx_dataplane::ipsec::outer::{DontFragment, Outer, Ports};
use phalanx_dataplane::ipsec::replay::Window;
use phalanx_dataplane::ipsec::{Integrity, Keys, Transform, ah, esp};
use phalanx_dataplane::parse::{Family, summarise_l3};

use super::cursor::Cursor;

const TUNNEL: u8 = 1;
const UDP: u8 = 2;
const EXTENDED: u8 = 4;
const GOES_OUT: u8 = 8;
const OVER_V6: u8 = 16;
const NUMBERS: u8 = 32;
const AH: u8 = 64;

const HIGH: u32 = 5;
/// AH is tried with HMAC-SHA1.
const ICV_LEN: usize = 12;

/// An SA whose keys everybody knows.
struct Sa {
    transform: Transform,
    mode: Mode,
    numbers: Numbers,
}

/// See the module.
pub(super) fn target(data: &[u8]) {
    let mut cursor = Cursor(data);
    let transforms: Vec<Transform> = Transform::all().collect();
    let transform = transforms[usize::from(cursor.u8()) % transforms.len()];
    let what = cursor.u8();
    let numbers = if what & EXTENDED == 0 { Numbers::Short } else { Numbers::Extended };
    let sa = Sa { transform, mode: mode(what), numbers };
    if what & NUMBERS != 0 {
        replay(cursor);
    } else if what & AH != 0 {
        check_comes_in(cursor.0);
        check_goes_out(sa.mode, cursor.0);
    } else if what & GOES_OUT != 0 {
        sa.goes_out(cursor.0);
    } else {
        sa.comes_in(cursor.0);
    }
}

fn mode(what: u8) -> Mode {
    let udp = (what & UDP != 0).then_some(Ports { source: 4500, destination: 4500 });
    if what & TUNNEL == 0 {
        return Mode::Transport { udp };
    }
    let [source, destination] = [1, 2].map(|host| match what & OVER_V6 {
        0 => [192, 0, 2, host].into(),
        _ => [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)].into(),
    });
    Mode::Tunnel(Outer { source, destination, udp, dscp: None, dont_fragment: DontFragment::Copy, hop_limit: 64 })
}

impl Sa {
    /// Whether it was done.
    fn process(&self, direction: Direction, packet: &mut [u8]) -> bool {
        let cipher: Vec<u8> = (1..).take(self.transform.cipher_key_len()).collect();
        let integrity: Vec<u8> = (1..).take(self.transform.integrity_key_len()).collect();
        let keys = Keys::new(self.transform, &cipher, &integrity).expect("the transform's lengths");
        let mut session = BuiltIn.session(self.transform, &keys, self.numbers, direction).expect("every transform");
        let mut jobs = [Job::new(packet, HIGH)];
        session.process(&mut jobs);
        jobs[0].done
    }

    fn unwrap(&self, buffer: &mut [u8], esp_at: usize) -> Option<Vec<u8>> {
        match Decap::new(&self.mode, self.transform).unwrap(buffer, esp_at) {
            Ok(Found::Packet(place)) => Some(buffer[place].to_vec()),
            Ok(Found::Dummy) | Err(_) => None,
        }
    }

    fn comes_in(&self, packet: &[u8]) {
        let Ok(esp_at) = locate(packet) else { return };
        assert!(esp::header(&packet[esp_at..]).is_some());
        let mut buffer = packet.to_vec();
        if esp::Shape::of(self.transform).check(buffer.len() - esp_at).is_ok()
            && self.process(Direction::Open, &mut buffer[esp_at..])
        {
            self.unwrap(&mut buffer, esp_at);
        }
        // And as if anything at all had the right check value.
        let found = self.unwrap(&mut packet.to_vec(), esp_at);
        if let (Some(found), Mode::Tunnel(_)) = (found, self.mode) {
            assert_eq!(summarise_l3(&found).map(|inner| usize::from(inner.l3_len())), Ok(found.len()));
        }
    }

    fn goes_out(&self, packet: &[u8]) {
        let encap = Encap::new(0x1234, self.mode, self.transform);
        let Some(room) = encap.room(packet) else { return };
        let mut buffer = [&vec![0; room.before], packet, &vec![0; room.after]].concat();
        let draws = Draws { sequence: u64::from(HIGH) << 32 | 1, nonce: 7, name: Name { id: 9, unit: 6 } };
        let Some(esp_at) = encap.build(&mut buffer, room, draws) else { return };
        assert!(self.process(Direction::Seal, &mut buffer[esp_at..]));
        encap.finish(&mut buffer);
        assert_eq!(locate(&buffer), Ok(esp_at));
        assert!(self.process(Direction::Open, &mut buffer[esp_at..]), "its own packet");
        let back = self.unwrap(&mut buffer, esp_at);
        // A packet that is sound, and all there is.
        if let Ok(whole) = summarise_l3(packet)
            && usize::from(whole.l3_len()) == packet.len()
            && !(whole.family == Family::V6 && whole.is_fragment())
        {
            // Zero and 0xffff are the same checksum, and both are right.
            let but_checksum = |packet: &[u8]| match whole.family {
                Family::V4 => [&packet[..10], &packet[12..]].concat(),
                Family::V6 => packet.to_vec(),
            };
            assert!(back.is_none_or(|back| but_checksum(&back) == but_checksum(packet)));
        }
    }
}

fn check_comes_in(packet: &[u8]) {
    let Ok(place) = ah::locate(packet) else { return };
    let mut scratch = vec![0; packet.len() + ICV_LEN];
    if let Ok(text) = ah::checked(packet, &place, ICV_LEN, &mut scratch) {
        assert_eq!(text.len(), packet.len() + ICV_LEN);
    }
    for tunnel in [false, true] {
        let mut buffer = packet.to_vec();
        if let Ok(range) = ah::unwrap(&mut buffer, &place, tunnel) {
            assert!(buffer.get(range).is_some());
        }
    }
}

fn check_goes_out(mode: Mode, packet: &[u8]) {
    let wrap = ah::Wrap::new(0x1234, mode, Integrity::HmacSha1);
    let Some(room) = wrap.room(packet) else { return };
    let mut buffer = [&vec![0; room], packet].concat();
    let Some(place) = wrap.build(&mut buffer, room, Draws { sequence: 1, nonce: 7, name: Name { id: 9, unit: 6 } })
    else {
        return;
    };
    assert_eq!(ah::locate(&buffer), Ok(place));
    let mut scratch = vec![0; buffer.len() + ICV_LEN];
    if ah::checked(&buffer, &place, ICV_LEN, &mut scratch).is_ok() {
        // What routers change on the way changes nothing of what is checked.
        let mut aged = buffer.clone();
        let hops_at = if buffer[0] >> 4 == 4 { 8 } else { 7 };
        aged[hops_at] = aged[hops_at].wrapping_sub(1);
        let mut other = vec![0; buffer.len() + ICV_LEN];
        let text = ah::checked(&aged, &place, ICV_LEN, &mut other).expect("as before");
        assert_eq!(text, &scratch[..buffer.len() + ICV_LEN]);
    }
    let _ = ah::unwrap(&mut buffer, &place, matches!(mode, Mode::Tunnel(_)));
}

fn replay(mut cursor: Cursor<'_>) {
    let mut window = Window::beginning_at(cursor.u16(), cursor.number());
    let mut seen = HashSet::new();
    while !cursor.is_empty() {
        let low = cursor.u32();
        if let Some(number) = window.whole(low).filter(|number| *number < u64::MAX) {
            assert_eq!(number as u32, low);
            if window.accept(number).is_ok() {
                assert!(seen.insert(number), "{number} was accepted twice");
                assert!(window.next() > number);
            }
        }
    }
}
