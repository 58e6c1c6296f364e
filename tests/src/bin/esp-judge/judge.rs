//! What must not come twice, and what must not come at all. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use phalanx_tests::lab::pcap::Frame;
use serde_json::{Value, json};

use crate::packet::{Content, Network, Packet};

/// So many of each kind of wrong are told one by one.
const EXAMPLES: usize = 10;
const IKE_SA_INIT: u8 = 34;

/// All that was seen so far.
pub(crate) struct Judge {
    cluster: IpAddr,
    inside: Vec<Network>,
    frames: u64,
    from_cluster: Direction,
    from_peers: Direction,
    clear: Wrong,
    /// Initiator and its SPI, of each IKE SA that was begun with a handshake.
    begun: BTreeSet<(IpAddr, u64)>,
    /// How often each exchange was asked for; retransmissions count.
    requests: BTreeMap<u8, u64>,
    fragments: u64,
    others: BTreeMap<u8, u64>,
}

/// What went one way.
#[derive(Default)]
struct Direction {
    /// By the peer and the SPI: peers choose theirs without asking each other.
    tunnels: BTreeMap<(IpAddr, u32), Tunnel>,
    numbers: Wrong,
    ivs: Wrong,
}

#[derive(Default)]
struct Tunnel {
    packets: u64,
    numbers: HashSet<u32>,
    ivs: HashSet<[u8; 8]>,
    highest: u32,
    /// The furthest that a packet came behind one sent before it.
    furthest_behind: u32,
}

/// How often something happened that should not have, and the first examples.
#[derive(Default)]
struct Wrong {
    count: u64,
    examples: Vec<String>,
}

impl Wrong {
    fn note(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    fn to_json(&self) -> Value {
        json!({"count": self.count, "examples": self.examples})
    }
}

impl Judge {
    pub(crate) fn new(cluster: IpAddr, inside: Vec<Network>) -> Self {
        Self {
            cluster,
            inside,
            frames: 0,
            from_cluster: Direction::default(),
            from_peers: Direction::default(),
            clear: Wrong::default(),
            begun: BTreeSet::new(),
            requests: BTreeMap::new(),
            fragments: 0,
            others: BTreeMap::new(),
        }
    }

    pub(crate) fn see(&mut self, frame: &Frame) {
        self.frames += 1;
        let Some(Packet { from, to, content }) = Packet::of(frame) else { return };
        if self.inside.iter().any(|network| network.has(from) || network.has(to)) {
            self.clear.note(|| format!("{}: {from} -> {to}", frame.at_us));
        }
        match content {
            Content::Esp { spi, number, iv } => {
                let ours = from == self.cluster;
                let (direction, peer) = if ours { (&mut self.from_cluster, to) } else { (&mut self.from_peers, from) };
                direction.see(frame.at_us, peer, spi, number, iv);
            }
            Content::Ike { exchange, spis, reply: false } => {
                *self.requests.entry(exchange).or_default() += 1;
                if exchange == IKE_SA_INIT {
                    self.begun.insert((from, spis[0]));
                }
            }
            Content::Ike { .. } | Content::Keepalive => {}
            Content::Fragment => self.fragments += 1,
            Content::Other(protocol) => *self.others.entry(protocol).or_default() += 1,
        }
    }

    /// Nothing that the cluster must not do was seen. What its peers repeat is their affair: a test may have sent it.
    pub(crate) fn is_content(&self) -> bool {
        [&self.from_cluster.numbers, &self.from_cluster.ivs, &self.clear].iter().all(|wrong| wrong.count == 0)
    }

    /// How many IKE SAs each initiator has begun: a bridge may show a wire what was meant for another.
    fn handshakes(&self) -> BTreeMap<String, u64> {
        let mut count = BTreeMap::new();
        for (initiator, _) in &self.begun {
            *count.entry(initiator.to_string()).or_default() += 1;
        }
        count
    }

    pub(crate) fn verdict(&self) -> Value {
        let exchanges: serde_json::Map<String, Value> =
            self.requests.iter().map(|(exchange, count)| (exchange_name(*exchange), json!(count))).collect();
        json!({
            "frames": self.frames,
            "from_cluster": self.from_cluster.to_json(),
            "from_peers": self.from_peers.to_json(),
            "in_clear": self.clear.to_json(),
            "handshakes": self.handshakes(),
            "ike_requests": exchanges,
            "later_fragments": self.fragments,
            "other_protocols": self.others,
            "content": self.is_content(),
        })
    }
}

impl Direction {
    fn see(&mut self, at_us: u64, peer: IpAddr, spi: u32, number: u32, iv: [u8; 8]) {
        let tunnel = self.tunnels.entry((peer, spi)).or_default();
        tunnel.packets += 1;
        if !tunnel.numbers.insert(number) {
            self.numbers.note(|| format!("{at_us}: {peer} SPI {spi:08x} number {number}"));
        }
        if !tunnel.ivs.insert(iv) {
            self.ivs.note(|| format!("{at_us}: {peer} SPI {spi:08x} number {number} IV {iv:02x?}"));
        }
        tunnel.furthest_behind = tunnel.furthest_behind.max(tunnel.highest.saturating_sub(number));
        tunnel.highest = tunnel.highest.max(number);
    }

    fn to_json(&self) -> Value {
        json!({
            "spis": self.tunnels.len(),
            "packets": self.tunnels.values().map(|tunnel| tunnel.packets).sum::<u64>(),
            "repeated_numbers": self.numbers.to_json(),
            "repeated_ivs": self.ivs.to_json(),
            "furthest_behind": self.tunnels.values().map(|tunnel| tunnel.furthest_behind).max(),
        })
    }
}

fn exchange_name(exchange: u8) -> String {
    match exchange {
        IKE_SA_INIT => "IKE_SA_INIT".into(),
        35 => "IKE_AUTH".into(),
        36 => "CREATE_CHILD_SA".into(),
        37 => "INFORMATIONAL".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: [u8; 4] = [10, 2, 0, 10];
    const PEER: [u8; 4] = [10, 2, 0, 101];

    fn frame(protocol: u8, [from, to]: [[u8; 4]; 2], payload: &[u8]) -> Frame {
        let mut bytes = vec![0; 12];
        bytes.extend([8, 0, 0x45]);
        bytes.resize(14 + 20, 0);
        bytes[14 + 9] = protocol;
        bytes[14 + 12..14 + 16].copy_from_slice(&from);
        bytes[14 + 16..14 + 20].copy_from_slice(&to);
        bytes.extend(payload);
        Frame { at_us: 1, bytes }
    }

    fn esp(spi: u32, number: u32, iv: u64) -> Vec<u8> {
        [&spi.to_be_bytes()[..], &number.to_be_bytes(), &iv.to_be_bytes(), b"sealed"].concat()
    }

    fn in_udp(port: u16, payload: &[u8]) -> Vec<u8> {
        [&port.to_be_bytes()[..], &port.to_be_bytes(), &[0; 4], payload].concat()
    }

    fn init(spi: u64, flags: u8) -> Vec<u8> {
        [&spi.to_be_bytes()[..], &[0; 8], &[33, 0x20, IKE_SA_INIT, flags], &[0; 8]].concat()
    }

    fn judged(frames: &[Frame]) -> Judge {
        let mut judge = Judge::new(CLUSTER.into(), vec!["10.60.0.0/16".parse().unwrap()]);
        frames.iter().for_each(|frame| judge.see(frame));
        judge
    }

    fn sent(spi: u32, number: u32, iv: u64) -> Frame {
        frame(17, [CLUSTER, PEER], &in_udp(4500, &esp(spi, number, iv)))
    }

    #[test]
    fn a_clean_wire_contents_it() {
        let other_peer = frame(17, [CLUSTER, [10, 2, 0, 102]], &in_udp(4500, &esp(7, 1, 1)));
        let came = frame(17, [PEER, CLUSTER], &in_udp(4500, &esp(9, 1, 1)));
        let judge = judged(&[sent(7, 1, 1), sent(7, 3, 3), sent(7, 2, 2), sent(8, 1, 1), other_peer, came]);
        let verdict = judge.verdict();
        assert!(judge.is_content(), "{verdict}");
        assert_eq!((&verdict["from_cluster"]["packets"], &verdict["from_cluster"]["spis"]), (&json!(5), &json!(3)));
        assert_eq!(
            (&verdict["from_cluster"]["furthest_behind"], &verdict["from_peers"]["packets"]),
            (&json!(1), &json!(1))
        );
    }

    #[test]
    fn a_planted_number_is_found_inside_udp_and_without() {
        for frames in [
            [sent(7, 5, 1), sent(7, 6, 2), sent(7, 5, 3)],
            [1, 2, 1].map(|number| frame(50, [CLUSTER, PEER], &esp(7, number, u64::from(number) + 3))),
        ] {
            let judge = judged(&frames);
            assert!(!judge.is_content());
            assert_eq!(judge.verdict()["from_cluster"]["repeated_numbers"]["count"], 1);
        }
    }

    #[test]
    fn a_planted_iv_is_found() {
        let judge = judged(&[sent(7, 1, 77), sent(7, 2, 78), sent(7, 3, 77)]);
        assert!(!judge.is_content());
        let cluster = &judge.verdict()["from_cluster"];
        assert_eq!((&cluster["repeated_ivs"]["count"], &cluster["repeated_numbers"]["count"]), (&json!(1), &json!(0)));
    }

    #[test]
    fn what_peers_repeat_is_counted_and_not_held_against_the_cluster() {
        let came = frame(50, [PEER, CLUSTER], &esp(9, 1, 1));
        let judge = judged(&[came.clone(), came]);
        assert!(judge.is_content());
        assert_eq!(judge.verdict()["from_peers"]["repeated_numbers"]["count"], 1);
    }

    #[test]
    fn a_packet_in_clear_is_found() {
        for ends in [[[10, 60, 1, 1], [10, 3, 0, 100]], [[10, 3, 0, 100], [10, 60, 1, 1]]] {
            let judge = judged(&[sent(7, 1, 1), frame(1, ends, &[8, 0, 0, 0])]);
            assert!(!judge.is_content());
            assert_eq!(judge.verdict()["in_clear"]["count"], 1);
        }
    }

    #[test]
    fn handshakes_are_counted_by_their_initiator_not_by_their_retransmissions() {
        let first = |spi, flags| frame(17, [PEER, CLUSTER], &in_udp(500, &init(spi, flags)));
        let natted = frame(17, [PEER, CLUSTER], &in_udp(4500, &[&[0; 4], &init(6, 8)[..]].concat()));
        let verdict = judged(&[first(5, 8), first(5, 8), first(5, 0x20), natted]).verdict();
        let (handshakes, requests) = (&verdict["handshakes"], &verdict["ike_requests"]["IKE_SA_INIT"]);
        assert_eq!((handshakes, requests), (&json!({"10.2.0.101": 2}), &json!(3)));
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        let whole = sent(7, 1, 1);
        for length in 0..whole.bytes.len() - 6 {
            let judge = judged(&[Frame { at_us: 0, bytes: whole.bytes[..length].to_vec() }]);
            assert_eq!(judge.verdict()["from_cluster"]["packets"], 0, "{length}");
        }
    }
}
