//! What passes through tunnels, as it is inside them, for an operator who looks for a fault: [`Tap`] at each worker, [`TapReader`] at
//! whoever writes it down.
//!
//! While nobody looks it costs one load a packet. While somebody does, packets are copied into a ring; those that do not fit are
//! counted, never waited for. Nothing is copied that was not let in, or that got no number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::app::{Outlet, Way};

/// Bytes of packets that one worker has under way to the reader.
const RING_BYTES: usize = 1 << 20;
/// Time, SPI, length, way.
const HEAD_LEN: usize = 8 + 4 + 2 + 1;
/// Nobody looks. No SPI, either (RFC 4303 section 2.1).
const NOBODY: u64 = 0;
/// Somebody looks at all tunnels: longer than an SPI.
const ALL: u64 = u64::MAX;

/// What is common to all workers and the reader.
#[derive(Debug)]
struct Shared {
    wanted: AtomicU64,
    lost: AtomicU64,
}

/// A worker's end.
#[derive(Debug)]
pub struct Tap {
    shared: Arc<Shared>,
    ring: Producer<u8>,
}

/// The reader's end, of all workers.
#[derive(Debug)]
pub struct TapReader {
    shared: Arc<Shared>,
    rings: Vec<Consumer<u8>>,
}

/// A packet as it was inside its tunnel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tapped {
    /// When, on the workers' clock.
    pub at_ns: u64,
    /// The tunnel: the cluster's inbound SPI of it.
    pub spi: u32,
    /// Which way.
    pub way: Way,
    /// The IP packet.
    pub packet: Vec<u8>,
}

/// Both ends, for so many workers.
pub fn taps(workers: usize) -> (Vec<Tap>, TapReader) {
    let shared = Arc::new(Shared { wanted: AtomicU64::new(NOBODY), lost: AtomicU64::new(0) });
    let (taps, rings) = (0..workers)
        .map(|_| {
            let (ring, end) = RingBuffer::new(RING_BYTES);
            (Tap { shared: Arc::clone(&shared), ring }, end)
        })
        .unzip();
    (taps, TapReader { shared, rings })
}

impl Tap {
    /// Whether somebody looks.
    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        self.shared.wanted.load(Relaxed) != NOBODY
    }

    #[cold]
    fn copy(&mut self, at_ns: u64, spi: u32, way: Way, packet: &[u8]) {
        let wanted = self.shared.wanted.load(Relaxed);
        if packet.is_empty() || wanted != ALL && wanted != u64::from(spi) {
            return;
        }
        let Ok(len) = u16::try_from(packet.len()) else { return };
        let mut head = [0; HEAD_LEN];
        head[..8].copy_from_slice(&at_ns.to_le_bytes());
        head[8..12].copy_from_slice(&spi.to_le_bytes());
        head[12..14].copy_from_slice(&len.to_le_bytes());
        head[14] = u8::from(way == Way::Into);
        if self.ring.slots() < HEAD_LEN + packet.len() {
            self.shared.lost.fetch_add(1, Relaxed);
            return;
        }
        let (_, behind_head) = self.ring.push_partial_slice(&head);
        let (_, behind) = self.ring.push_partial_slice(packet);
        debug_assert!(behind_head.is_empty() && behind.is_empty(), "there was room");
    }
}

/// Shows one packet of a tunnel's, if somebody looks. A dummy is none.
#[inline]
pub(super) fn show(tap: &mut Option<Tap>, outlet: &dyn Outlet, spi: u32, way: Way, packet: &[u8]) {
    if let Some(tap) = tap.as_mut().filter(|tap| tap.is_wanted()) {
        tap.copy(outlet.now_ns(), spi, way, packet);
    }
}

impl TapReader {
    /// Looks at one tunnel (by the cluster's inbound SPI), or at all. What an earlier look left behind is thrown away.
    pub fn begin(&mut self, spi: Option<u32>) {
        self.end();
        while self.take().is_some() {}
        self.shared.lost.store(0, Relaxed);
        self.shared.wanted.store(spi.map_or(ALL, u64::from), Relaxed);
    }

    /// Looks no more.
    pub fn end(&self) {
        self.shared.wanted.store(NOBODY, Relaxed);
    }

    /// How many packets found no room since it began.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Relaxed)
    }

    /// A packet that some worker has seen. Those of one worker come in its order.
    pub fn take(&mut self) -> Option<Tapped> {
        self.rings.iter_mut().find_map(packet_of)
    }
}

/// A whole packet from a ring; its head may be there before it.
fn packet_of(ring: &mut Consumer<u8>) -> Option<Tapped> {
    let chunk = ring.read_chunk(ring.slots()).ok()?;
    let (first, second) = chunk.as_slices();
    let mut bytes = first.iter().chain(second).copied();
    let mut head = [0; HEAD_LEN];
    for place in &mut head {
        *place = bytes.next()?;
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l, low, high, into] = head;
    let len = usize::from(u16::from_le_bytes([low, high]));
    let packet: Vec<u8> = bytes.take(len).collect();
    if packet.len() < len {
        return None;
    }
    let tapped = Tapped {
        at_ns: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        spi: u32::from_le_bytes([i, j, k, l]),
        way: if into == 0 { Way::OutOf } else { Way::Into },
        packet,
    };
    chunk.commit(HEAD_LEN + len);
    Some(tapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(tap: &mut Tap, spi: u32, fill: u8, len: usize) -> Tapped {
        let tapped = Tapped { at_ns: u64::from(fill), spi, way: Way::Into, packet: vec![fill; len] };
        if tap.is_wanted() {
            tap.copy(tapped.at_ns, spi, tapped.way, &tapped.packet);
        }
        tapped
    }

    #[test]
    fn what_is_wanted_is_seen_and_nothing_else() {
        let (mut taps, mut reader) = taps(2);
        seen(&mut taps[0], 300, 1, 40);
        assert_eq!(reader.take(), None, "nobody looks");
        reader.begin(Some(300));
        let wanted = seen(&mut taps[1], 300, 2, 1500);
        seen(&mut taps[0], 301, 3, 40);
        assert_eq!((reader.take(), reader.take()), (Some(wanted), None));
        reader.begin(None);
        let both = [seen(&mut taps[0], 300, 4, 1), seen(&mut taps[1], 301, 5, 2)];
        assert_eq!([reader.take(), reader.take()], both.map(Some));
        seen(&mut taps[0], 300, 6, 40);
        reader.end();
        seen(&mut taps[0], 300, 7, 40);
        reader.begin(None);
        assert_eq!(reader.take(), None, "an earlier look's");
    }

    #[test]
    fn what_does_not_fit_is_counted_and_the_rest_comes_whole() {
        let (mut taps, mut reader) = taps(1);
        reader.begin(None);
        // More than once round the ring.
        for round in 0..4 {
            let sent: Vec<Tapped> = (0..800).map(|n| seen(&mut taps[0], 300, (n + round) as u8, 1400)).collect();
            let kept = sent.len() - (reader.lost() as usize);
            assert!(kept > 700 && kept < 800, "{kept} of a ring of a mebibyte");
            for (at, expected) in sent.into_iter().enumerate().take(kept) {
                assert_eq!(reader.take().as_ref(), Some(&expected), "packet {at} of round {round}");
            }
            assert_eq!(reader.take(), None);
            reader.begin(None);
        }
    }
}
