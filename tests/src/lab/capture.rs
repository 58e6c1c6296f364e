//! What a host saw: how often each of its requests was answered, and by which members.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::pcap::{self, Frame, Probe};
use super::process::Running;
use super::{Lab, Outcome, clock, failure};

/// Probes, and who else must be seen to answer.
const PROBES: &str = "icmp or icmp6 or udp port 7803";

/// A capture under way.
pub struct Capture {
    running: Running,
    file: PathBuf,
}

impl Capture {
    /// Records the probes that a host sends and receives.
    pub fn of_probes(lab: &Lab, host: &str, name: &str) -> Outcome<Self> {
        Self::start(lab, host, "e0", name, PROBES)
    }

    /// Records what passes an interface.
    pub fn start(lab: &Lab, host: &str, interface: &str, name: &str, filter: &str) -> Outcome<Self> {
        Self::start_with(lab, host, interface, name, filter, false)
    }

    /// The same for many packets and a long time: what passed in the last second or two may not be in it yet.
    pub fn start_lazy(lab: &Lab, host: &str, interface: &str, name: &str, filter: &str) -> Outcome<Self> {
        Self::start_with(lab, host, interface, name, filter, true)
    }

    fn start_with(lab: &Lab, host: &str, interface: &str, name: &str, filter: &str, lazy: bool) -> Outcome<Self> {
        let file = lab.dir().join(format!("{name}.pcap"));
        let running = lab.start_capture(host, interface, &file, filter, lazy)?;
        // tcpdump writes the file's head when it listens.
        clock::until(Duration::from_secs(10), Duration::from_millis(10), || match std::fs::metadata(&file) {
            Ok(data) if data.len() >= 24 => Ok(()),
            _ => Err(failure(format!("the capture in {host} does not begin"))),
        })?;
        Ok(Self { running, file })
    }

    /// Where it lies, as far as it has come.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Ends it; for those who have other programs read it.
    pub fn stop(mut self) -> PathBuf {
        self.running.interrupt();
        self.file.clone()
    }

    /// Ends it; all frames.
    pub fn finish(mut self) -> Outcome<Vec<Frame>> {
        self.running.interrupt();
        let bytes = std::fs::read(&self.file).map_err(failure)?;
        Ok(pcap::frames(&bytes))
    }
}

/// Who answered whom.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    seen: BTreeMap<Probe, Vec<(u64, [u8; 6])>>,
}

impl Answers {
    /// Sorts out a host's capture: what reached it, not what it sent itself.
    pub fn of(frames: &[Frame], own_mac: [u8; 6]) -> Self {
        let mut seen: BTreeMap<Probe, Vec<(u64, [u8; 6])>> = BTreeMap::new();
        for frame in frames.iter().filter(|frame| frame.from() != own_mac) {
            if let Some(probe) = frame.probe() {
                seen.entry(probe).or_default().push((frame.at_us, frame.from()));
            }
        }
        Self { seen }
    }

    /// How many different packets came.
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// Those that came more than once, in words.
    pub fn repeated(&self) -> Vec<String> {
        let twice = self.seen.iter().filter(|(_, times)| times.len() > 1);
        twice
            .map(|(probe, times)| {
                let times: Vec<String> =
                    times.iter().map(|(at, mac)| format!("{at} from {}", pcap::mac_text(*mac))).collect();
                format!("{} -> {} no. {}: {}", probe.source, probe.destination, probe.sequence, times.join(", "))
            })
            .collect()
    }

    /// The MACs that they came from.
    pub fn senders(&self) -> BTreeSet<[u8; 6]> {
        self.seen.values().flatten().map(|(_, mac)| *mac).collect()
    }

    /// The last time that a packet came from this MAC before `end_us`.
    pub fn last_from(&self, mac: [u8; 6], begin_us: u64, end_us: u64) -> Option<u64> {
        let times = self.seen.values().flatten().filter(|(at, from)| *from == mac && (begin_us..end_us).contains(at));
        times.map(|(at, _)| *at).max()
    }
}

/// A host's own MAC.
pub fn mac_of(lab: &Lab, host: &str, interface: &str) -> Outcome<[u8; 6]> {
    let text = lab.run(host, &["cat", &format!("/sys/class/net/{interface}/address")])?;
    let bytes: Vec<u8> = text.trim().split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.try_into().map_err(|_| failure(format!("{host}'s address is '{text}'")))
}

/// A member's MAC on one of its data ports, as the lab gives them out.
pub fn member_mac(id: u8, side: &str) -> [u8; 6] {
    [2, 0, 0, 0, if side == "outside" { 1 } else { 2 }, id]
}
