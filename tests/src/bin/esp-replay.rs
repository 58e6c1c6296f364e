//! Sends tunnels' packets a second time: whoever listened on the wire can do so, and no receiver may accept one.
//!
//! It follows a capture that grows, keeps what peers sent to the cluster last, and some of what they sent long ago, and at
//! each line `again` on standard input sends all that once more, from the addresses it had. It runs in the peers' host,
//! whose kernel knows these addresses and the way.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, BufRead};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use phalanx_tests::lab::clock;
use phalanx_tests::lab::pcap::{Frame, Frames};
use socket2::{Domain, Protocol, Socket, Type};

const UDP: u8 = 17;
const ESP: u8 = 50;
/// Of a socket whose packets bring their own IP header.
const IPPROTO_RAW: i32 = 255;
const NAT_PORT: [u8; 2] = 4500_u16.to_be_bytes();
const ETHERNET_BYTES: usize = 14;
/// One packet of so many is remembered for longer than the others.
const OLD_ONE_OF: u64 = 97;
/// So many packets go at once.
const BURST: usize = 20;

#[derive(Parser)]
#[command(about = "Sends tunnels' packets a second time, at each line `again` on standard input.")]
struct Cli {
    /// The capture that grows.
    #[arg(long)]
    capture: PathBuf,
    /// The cluster's outside address.
    #[arg(long)]
    cluster: IpAddr,
    /// So many of the last packets are sent again, and half as many old ones.
    #[arg(long, default_value_t = 600)]
    packets: usize,
    /// How fast.
    #[arg(long, default_value_t = 2000)]
    per_s: u32,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("esp-replay: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))?;
    let mut frames = Frames::of(File::open(&cli.capture)?);
    let mut memory = Memory::new(cli.cluster, cli.packets);
    println!("ready");
    for line in io::stdin().lock().lines() {
        match line?.trim() {
            "again" => {
                frames.by_ref().for_each(|frame| memory.see(&frame));
                println!("sent {}", send(&socket, cli, &memory)?);
            }
            other => eprintln!("esp-replay: standard input takes `again`, not {other:?}"),
        }
    }
    Ok(())
}

fn send(socket: &Socket, cli: &Cli, memory: &Memory) -> io::Result<usize> {
    let to = SocketAddr::new(cli.cluster, 0).into();
    let mut sent = 0;
    let packets: Vec<&Vec<u8>> = memory.old.iter().chain(&memory.last).collect();
    for burst in packets.chunks(BURST) {
        for packet in burst {
            // While its neighbour is unknown, the kernel may refuse one.
            sent += usize::from(socket.send_to(packet, &to).is_ok());
        }
        clock::last(Duration::from_secs(BURST as u64) / cli.per_s.max(1));
    }
    Ok(sent)
}

/// What may be sent again.
struct Memory {
    cluster: IpAddr,
    limit: usize,
    last: VecDeque<Vec<u8>>,
    old: VecDeque<Vec<u8>>,
    /// SPI and number of what went by: what this program sent itself is not news.
    seen: HashSet<[u8; 8]>,
    count: u64,
}

impl Memory {
    fn new(cluster: IpAddr, limit: usize) -> Self {
        Self { cluster, limit, last: VecDeque::new(), old: VecDeque::new(), seen: HashSet::new(), count: 0 }
    }

    fn see(&mut self, frame: &Frame) {
        let Some(head) = tunnelled(frame, self.cluster) else { return };
        if !self.seen.insert(head) {
            return;
        }
        let packet = frame.bytes[ETHERNET_BYTES..].to_vec();
        self.count += 1;
        if self.count.is_multiple_of(OLD_ONE_OF) {
            keep(&mut self.old, packet.clone(), self.limit / 2);
        }
        keep(&mut self.last, packet, self.limit);
    }
}

fn keep(list: &mut VecDeque<Vec<u8>>, packet: Vec<u8>, limit: usize) {
    list.push_back(packet);
    while list.len() > limit {
        list.pop_front();
    }
}

/// SPI and number of a peer's ESP packet to the cluster.
fn tunnelled(frame: &Frame, cluster: IpAddr) -> Option<[u8; 8]> {
    let (protocol, _, to, payload) = frame.ip()?;
    if to != cluster || !to.is_ipv4() {
        return None;
    }
    let packet = match protocol {
        ESP => payload,
        UDP if payload.get(2..4)? == NAT_PORT => payload.get(8..)?,
        _ => return None,
    };
    // An IKE message begins with four zeros where ESP has its SPI; a keepalive is shorter than both.
    let head: [u8; 8] = *packet.first_chunk()?;
    (head[..4] != [0; 4]).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: [u8; 4] = [10, 2, 0, 10];

    fn frame(to: [u8; 4], payload: &[u8]) -> Frame {
        let mut bytes = vec![0; 12];
        bytes.extend([8, 0, 0x45]);
        bytes.resize(14 + 20, 0);
        bytes[14 + 9] = UDP;
        bytes[14 + 16..14 + 20].copy_from_slice(&to);
        bytes.extend([&NAT_PORT[..], &NAT_PORT, &[0; 4], payload].concat());
        Frame { at_us: 0, bytes }
    }

    fn esp(number: u32) -> Vec<u8> {
        [&[7; 4][..], &number.to_be_bytes(), b"sealed"].concat()
    }

    #[test]
    fn the_last_packets_are_kept_once_each_and_old_ones_too() {
        let mut memory = Memory::new(CLUSTER.into(), 10);
        for number in (1..=200).chain(190..=200) {
            memory.see(&frame(CLUSTER, &esp(number)));
        }
        let last: Vec<Vec<u8>> = (191..=200).map(|number| frame(CLUSTER, &esp(number)).bytes[14..].to_vec()).collect();
        assert_eq!((memory.last, memory.old.len()), (last.into(), 2));
    }

    #[test]
    fn only_tunnels_packets_to_the_cluster_are_sent_again() {
        let mut memory = Memory::new(CLUSTER.into(), 10);
        for other in [frame([10, 2, 0, 101], &esp(1)), frame(CLUSTER, &[0; 40]), frame(CLUSTER, &[0xff])] {
            memory.see(&other);
        }
        assert_eq!(memory.count, 0);
    }
}
