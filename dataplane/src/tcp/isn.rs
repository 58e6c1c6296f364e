//! Initial sequence numbers (RFC 6528): a clock that ticks every 4 µs, plus a keyed hash of the connection.

use super::flow::Flow;
use super::seq::Seq;
use crate::filter::hash::Key;

/// The clock of initial sequence numbers.
pub(super) fn ticks(now_ns: u64) -> u32 {
    (now_ns / 4000) as u32
}

/// Makes initial sequence numbers that nobody without the key can guess.
#[derive(Clone, Copy)]
pub struct IsnSource {
    key: Key,
}

impl IsnSource {
    /// A source with a secret key.
    pub fn new(key: [u8; 16]) -> Self {
        Self { key: Key::new(key) }
    }

    /// The number for a connection that begins now.
    pub fn isn(&self, flow: &Flow, now_ns: u64) -> Seq {
        let [a, b, c, d, e] = flow.words();
        // The last word keeps this apart from other uses of the key.
        Seq(self.key.hash([a, b, c, d, e, 0x6973_6e00]).wrapping_add(ticks(now_ns)))
    }
}

impl std::fmt::Debug for IsnSource {
    /// The key is a secret: never shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IsnSource").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::{ChunkPool, Config, Endpoint, Segment, Stream};

    /// A peer that remembers the last connection in TIME-WAIT accepts the next one only if both have gone on.
    #[test]
    fn numbers_and_timestamps_of_a_flows_connections_go_on() {
        let (isn, pool) = (IsnSource::new([7; 16]), ChunkPool::new(0));
        for port in 0..500 {
            let (local_ip, remote_ip) = ([10, 10, 0, 1].into(), [10, 10, 0, 10].into());
            let flow = Flow { local_ip, local_port: 40_000 + port, remote_ip, remote_port: 80 };
            let syn_at = |now_ns| {
                let mut endpoint = Endpoint::connect(&Config::default(), flow, isn.isn(&flow, now_ns), now_ns);
                endpoint.confirm(endpoint.initial_version());
                let (rx, tx, mut room) = (Stream::new(0, 0), Stream::new(0, 0), [0; 100]);
                let len = endpoint.poll_transmit(now_ns, &rx, &tx, &pool, &mut room).expect("a SYN");
                let syn = Segment::parse(&room[..len], local_ip, remote_ip).expect("a sound segment");
                (syn.seq.0, syn.options.timestamps.expect("timestamps").value)
            };
            let begin_ns = 5_000_000_000 + u64::from(port) * 1_000_003;
            let (first, second) = (syn_at(begin_ns), syn_at(begin_ns + 20_000_000));
            assert_eq!(second.0.wrapping_sub(first.0), 5000);
            assert_eq!(second.1.wrapping_sub(first.1), 20);
        }
    }
}
