//! Reads captures: the classic pcap format of tcpdump, Ethernet frames, microseconds. Pure and total: a capture that was
//! cut off in the middle of a frame gives the frames before it.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The generator's mark at the head of each probe.
const MAGIC: &[u8] = b"phalanx?";
const HEAD_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 16;
/// No frame is longer: tcpdump's own limit.
const FRAME_BYTES_MAX: usize = 262_144;

/// A captured frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// When, in microseconds of the wall clock.
    pub at_us: u64,
    /// Its bytes, from the destination MAC on.
    pub bytes: Vec<u8>,
}

/// A probe of the traffic generator, or the answer to one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Probe {
    /// It is an answer, not a request.
    pub answer: bool,
    /// Who sent it.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The flow: the ICMP identifier, or the client's UDP port.
    pub flow: u16,
    /// The request's number.
    pub sequence: u64,
}

/// All whole frames of a capture.
pub fn frames(file: &[u8]) -> Vec<Frame> {
    Frames::of(file).collect()
}

/// The frames of a capture, one after the other, for those that are too long to be held at once.
#[derive(Debug)]
pub struct Frames<R> {
    source: R,
    /// What was read and is not a whole frame yet: more of it may follow.
    begun: Vec<u8>,
    has_head: bool,
}

impl<R: Read> Frames<R> {
    /// From the beginning of a file.
    pub fn of(source: R) -> Self {
        Self { source, begun: Vec::new(), has_head: false }
    }

    /// So many bytes from where the last piece ended, if they are there already.
    fn await_bytes(&mut self, count: usize) -> bool {
        while self.begun.len() < count {
            let missing = (count - self.begun.len()) as u64;
            match self.source.by_ref().take(missing).read_to_end(&mut self.begun) {
                Ok(read) if read > 0 => {}
                _ => return false,
            }
        }
        true
    }

    fn word(&self, at: usize) -> Option<u32> {
        array(&self.begun, at).map(u32::from_le_bytes)
    }
}

impl<R: Read> Iterator for Frames<R> {
    type Item = Frame;

    /// None: there is no more, or not yet. If the file grows, so may this.
    fn next(&mut self) -> Option<Frame> {
        if !self.has_head {
            if !self.await_bytes(HEAD_BYTES) || self.word(0) != Some(0xa1b2_c3d4) {
                return None;
            }
            self.begun.clear();
            self.has_head = true;
        }
        if !self.await_bytes(FRAME_HEAD_BYTES) {
            return None;
        }
        let (seconds, micros, length) = (self.word(0)?, self.word(4)?, self.word(8)? as usize);
        if length > FRAME_BYTES_MAX || !self.await_bytes(FRAME_HEAD_BYTES + length) {
            return None;
        }
        let bytes = self.begun.split_off(FRAME_HEAD_BYTES);
        self.begun.clear();
        Some(Frame { at_us: u64::from(seconds) * 1_000_000 + u64::from(micros), bytes })
    }
}

impl Frame {
    /// The receiver's MAC.
    pub fn to(&self) -> [u8; 6] {
        array(&self.bytes, 0).unwrap_or_default()
    }

    /// The sender's MAC.
    pub fn from(&self) -> [u8; 6] {
        array(&self.bytes, 6).unwrap_or_default()
    }

    /// What it carries.
    pub fn ethertype(&self) -> u16 {
        array(&self.bytes, 12).map_or(0, u16::from_be_bytes)
    }

    /// The IP packet in it: protocol, addresses, and what comes after the IP header.
    pub fn ip(&self) -> Option<(u8, IpAddr, IpAddr, &[u8])> {
        let packet = self.bytes.get(14..)?;
        match self.ethertype() {
            0x0800 => {
                let head = usize::from(packet.first()? & 15) * 4;
                let source = Ipv4Addr::from(array::<4>(packet, 12)?);
                let destination = Ipv4Addr::from(array::<4>(packet, 16)?);
                Some((*packet.get(9)?, source.into(), destination.into(), packet.get(head..)?))
            }
            0x86dd => {
                let source = Ipv6Addr::from(array::<16>(packet, 8)?);
                let destination = Ipv6Addr::from(array::<16>(packet, 24)?);
                Some((*packet.get(6)?, source.into(), destination.into(), packet.get(40..)?))
            }
            _ => None,
        }
    }

    /// The probe in it, if it is one.
    pub fn probe(&self) -> Option<Probe> {
        let (protocol, source, destination, message) = self.ip()?;
        let (answer, flow) = match (protocol, message.first()?) {
            (1, 8) | (58, 128) => (false, array(message, 4)?),
            (1, 0) | (58, 129) => (true, array(message, 4)?),
            (17, _) => {
                let (from, to): ([u8; 2], [u8; 2]) = (array(message, 0)?, array(message, 2)?);
                let answer = u16::from_be_bytes(from) == 7803;
                (answer, if answer { to } else { from })
            }
            _ => return None,
        };
        let payload = message.get(8..)?;
        let sequence = u64::from_be_bytes(array(payload.strip_prefix(MAGIC)?, 0)?);
        Some(Probe { answer, source, destination, flow: u16::from_be_bytes(flow), sequence })
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// A MAC as people write it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A capture with one UDP echo's answer.
    fn capture() -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 9, 9, 2, 0, 0, 0, 1, 1, 8, 0, 0x45];
        frame.resize(14 + 20, 0);
        frame[14 + 9] = 17;
        frame[14 + 12..14 + 20].copy_from_slice(&[10, 3, 0, 100, 10, 2, 0, 100]);
        frame.extend(
            [&7803_u16.to_be_bytes()[..], &555_u16.to_be_bytes(), &[0; 4], MAGIC, &77_u64.to_be_bytes()].concat(),
        );
        let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1];
        file.resize(HEAD_BYTES, 0);
        for number in [3, 4, frame.len() as u32, frame.len() as u32] {
            file.extend(number.to_le_bytes());
        }
        file.extend(frame);
        file
    }

    #[test]
    fn an_answer_is_read_back() {
        let found = frames(&capture());
        assert_eq!((found.len(), found[0].at_us, found[0].from()), (1, 3_000_004, [2, 0, 0, 0, 1, 1]));
        let probe = found[0].probe().unwrap();
        assert_eq!((probe.answer, probe.flow, probe.sequence), (true, 555, 77));
        assert_eq!(probe.source, IpAddr::from([10, 3, 0, 100]));
    }

    #[test]
    fn a_capture_that_grows_is_read_on() {
        use std::io::{Cursor, Seek, SeekFrom, Write};
        let whole = capture();
        for cut in 0..whole.len() {
            let mut reader = Frames::of(Cursor::new(whole[..cut].to_vec()));
            assert_eq!(reader.next(), None);
            let place = reader.source.position();
            reader.source.seek(SeekFrom::End(0)).unwrap();
            reader.source.write_all(&whole[cut..]).unwrap();
            reader.source.set_position(place);
            assert_eq!(reader.next(), frames(&whole).pop(), "cut at {cut}");
        }
    }

    #[test]
    fn cut_off_captures_are_read_as_far_as_they_go() {
        let whole = capture();
        for length in 0..whole.len() {
            assert!(frames(&whole[..length]).is_empty());
            let frame = Frame { at_us: 0, bytes: whole[length..].to_vec() };
            let _ = (frame.probe(), frame.to(), frame.from());
        }
    }
}
