//! pcapng (draft-ietf-opsawg-pcapng), as far as a capture of IP packets needs it: blocks are written, and the whole ones among bytes
//! that come in pieces are found.

/// Section Header Block.
const SECTION: u32 = 0x0a0d_0d0a;
/// Interface Description Block.
const INTERFACE: u32 = 1;
/// Interface Statistics Block.
const STATISTICS: u32 = 5;
/// Enhanced Packet Block.
const PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// LINKTYPE_RAW: begins with the IPv4 or IPv6 header.
const RAW_IP: u16 = 101;
const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const NANOSECONDS: u8 = 9;
const EPB_FLAGS: u16 = 2;
const ISB_IFDROP: u16 = 5;
/// Type, length, and length once more.
const FRAME_LEN: usize = 12;
/// No block of ours is longer: a packet of 64 KiB and what is said of it.
const BLOCK_MAX: usize = 1 << 17;

/// Which way a packet went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// To the one who captures.
    Inbound = 1,
    /// From it.
    Outbound = 2,
}

/// How a capture begins: one interface of this name, with times in nanoseconds.
pub(crate) fn begin(out: &mut Vec<u8>, interface: &str) {
    block(out, SECTION, |body| {
        put32(body, BYTE_ORDER_MAGIC);
        // Version 1.0, of unknown length.
        body.extend_from_slice(&[1, 0, 0, 0]);
        body.extend_from_slice(&u64::MAX.to_le_bytes());
    });
    block(out, INTERFACE, |body| {
        body.extend_from_slice(&RAW_IP.to_le_bytes());
        // Reserved; nothing is cut off.
        body.extend_from_slice(&[0; 6]);
        option(body, IF_NAME, interface.as_bytes());
        option(body, IF_TSRESOL, &[NANOSECONDS]);
        option(body, END_OF_OPTIONS, &[]);
    });
}

/// A packet, when (nanoseconds since 1970), and what there is to say of it.
pub(crate) fn packet(out: &mut Vec<u8>, at_ns: u64, direction: Direction, comment: &str, bytes: &[u8]) {
    block(out, PACKET, |body| {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        for word in [0, (at_ns >> 32) as u32, at_ns as u32, len, len] {
            put32(body, word);
        }
        padded(body, bytes);
        option(body, EPB_FLAGS, &(direction as u32).to_le_bytes());
        option(body, COMMENT, comment.as_bytes());
        option(body, END_OF_OPTIONS, &[]);
    });
}

/// How many packets were lost so far.
pub(crate) fn statistics(out: &mut Vec<u8>, at_ns: u64, lost: u64) {
    block(out, STATISTICS, |body| {
        for word in [0, (at_ns >> 32) as u32, at_ns as u32] {
            put32(body, word);
        }
        option(body, ISB_IFDROP, &lost.to_le_bytes());
        option(body, END_OF_OPTIONS, &[]);
    });
}

/// A whole block at the front of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Block {
    /// A packet.
    Packet,
    /// So many were lost.
    Lost(u64),
    /// Something else.
    Other,
}

/// What comes first, and how many bytes that is. None: it is not all there yet.
///
/// # Errors
/// This is no pcapng of ours.
pub(crate) fn first(bytes: &[u8]) -> Result<Option<(Block, usize)>, &'static str> {
    let Some([kind, len]) = word(bytes, 0).zip(word(bytes, 4)).map(|(kind, len)| [kind, len]) else { return Ok(None) };
    let len = len as usize;
    if !(FRAME_LEN..=BLOCK_MAX).contains(&len) || !len.is_multiple_of(4) {
        return Err("not pcapng");
    }
    let Some(whole) = bytes.get(..len) else { return Ok(None) };
    let block = match kind {
        PACKET => Block::Packet,
        // The only option comes first: behind interface and time.
        STATISTICS => {
            Block::Lost(whole.get(24..32).and_then(|lost| lost.try_into().ok()).map_or(0, u64::from_le_bytes))
        }
        _ => Block::Other,
    };
    Ok(Some((block, len)))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn put32(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_le_bytes());
}

fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
    padded(body, value);
}

/// All that stands before the body is a multiple of four bytes long, and what is written into it is padded to such.
fn block(out: &mut Vec<u8>, kind: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put32(out, kind);
    put32(out, 0);
    write(out);
    let len = (out.len() - start + 4) as u32;
    put32(out, len);
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        begin(&mut bytes, "tunnels");
        packet(&mut bytes, 1_700_000_000_123_456_789, Direction::Outbound, "spi c0ffee4d", &[0x45, 1, 2, 3, 4]);
        statistics(&mut bytes, 1_700_000_000_200_000_000, 7);
        bytes
    }

    #[test]
    fn blocks_are_found_though_they_come_in_pieces() {
        let all = sample();
        let (mut held, mut found) = (Vec::new(), Vec::new());
        for byte in all {
            held.push(byte);
            while let Some((block, len)) = first(&held).unwrap() {
                found.push(block);
                held.drain(..len);
            }
        }
        assert_eq!(found, [Block::Other, Block::Other, Block::Packet, Block::Lost(7)]);
        assert!(held.is_empty());
        assert!(first(b"HTTP/1.1 200 OK\r\n").is_err());
    }

    /// Somebody else's reader.
    #[test]
    fn tcpdump_reads_what_is_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = Vec::new();
        begin(&mut bytes, "tunnels");
        let ping = [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0, 10, 1, 0, 1, 10, 2, 0, 2, 8, 0, 0xf7, 0xfd, 0, 1, 0, 1];
        packet(&mut bytes, 1_700_000_000_123_456_789, Direction::Inbound, "spi c0ffee4d in", &ping);
        statistics(&mut bytes, 1_700_000_000_200_000_000, 0);
        std::fs::write(file.path(), &bytes).unwrap();
        let said = std::process::Command::new("tcpdump")
            .args(["--nano", "-tt", "-n", "-r"])
            .arg(file.path())
            .output()
            .expect("tcpdump is missing: scripts/setup installs it");
        let text = String::from_utf8_lossy(&said.stdout);
        assert!(text.contains("1700000000.123456789"), "{text} {}", String::from_utf8_lossy(&said.stderr));
        assert!(text.contains("10.1.0.1 > 10.2.0.2: ICMP echo request, id 1, seq 1, length 8"), "{text}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some((_, len))) = first(&bytes) {
                prop_assert!(len <= bytes.len() && len >= FRAME_LEN);
            }
        }
    }
}
