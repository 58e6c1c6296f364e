//! `phalanx bench discard|classify|forward|master-forward|esp-encrypt|esp-decrypt`: how fast one worker is, in the manner of testpmd.
//!
//! The packet path runs on the calling thread, pinned to one core, between a source that never runs dry and a sink that
//! takes everything. The packets of esp-decrypt are sealed burst by burst while the clock stands still, into the buffers that `net_null` hands
//! out next: neither that nor bringing them in is in its figures. `scripts/bench` runs this in turns with `dpdk-testpmd` on the same source, packets and core.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use dpdk::Eal;
use dpdk::sched::Affinity;
use phalanx_dataplane::bench::{Bench, BenchError, Figures, Plan, SAS_MAX, TunnelsPlan, Work, flows};
use phalanx_dataplane::filter::Scheme;
use phalanx_dataplane::ipsec::Transform;
use phalanx_dataplane::ipsec::crypto::choice::Choice;
use serde::Serialize;

use super::super::{FAILED, WRONG_USAGE, failed};

const EXAMPLES: &str = "\
EXAMPLES
  phalanx bench forward --pmd net_pcap --size 64
  phalanx bench discard --pmd net_pcap --size 64 --pcap flows.pcap --json
  phalanx bench discard --size 512 --save flows.pcap --seconds 0    only make the packets";

/// 2 MiB pages that the benchmark's memory takes; without so many free ones it runs on ordinary memory.
const HUGEPAGES: u64 = 128;

/// How units are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum SchemeArgument {
    Classic,
    Steered,
}

/// Where packets come from, and for how long.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct PacketsCommand {
    /// The device to receive from: net_pcap, net_null, or any other DPDK device string.
    #[arg(long, default_value = "net_pcap", value_name = "PMD")]
    pmd: String,
    /// The size of a frame, in bytes, without its checksum; 64 unless --pcap says otherwise.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(i64::from(flows::SIZE_MIN)..=i64::from(flows::SIZE_MAX)))]
    size: Option<u16>,
    /// Packets to receive, over and over; made up (4096 flows) without it.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Keep the made-up packets in this file.
    #[arg(long, value_name = "FILE", conflicts_with = "pcap")]
    save: Option<PathBuf>,
    /// How long to measure.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    seconds: u32,
    /// How units are found.
    #[arg(long, default_value = "steered", value_name = "SCHEME")]
    scheme: SchemeArgument,
    /// The core to run on.
    #[arg(long, default_value_t = 1, value_name = "CORE")]
    cores: usize,
    /// One JSON object at the end, nothing else.
    #[arg(long)]
    json: bool,
}

/// What a benchmark answers; `scripts/bench` fills in the peer.
#[derive(Serialize)]
struct Report<'a> {
    bench: &'a str,
    pmd: &'a str,
    size: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sas: Option<u32>,
    mpps: f64,
    gbps: f64,
    ns_per_packet: f64,
    cycles_per_packet: f64,
    allocations_per_packet: f64,
    peer: Option<()>,
    ratio: Option<f64>,
}

/// The packets to receive: where they are, and whom they are for.
struct Packets {
    file: PathBuf,
    /// Whether the file goes when the benchmark ends.
    temporary: bool,
    address: [u8; 6],
    size: u16,
}

impl Drop for Packets {
    fn drop(&mut self) {
        if self.temporary {
            // A file that is gone already is no loss.
            let _ = std::fs::remove_file(&self.file);
        }
    }
}

/// What does the cryptography; the words are the configuration's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum EngineArgument {
    Auto,
    BuiltIn,
    IpsecMb,
}

/// The tunnels that packets are sealed for.
#[derive(Args, Debug)]
pub(super) struct EspCommand {
    #[command(flatten)]
    packets: PacketsCommand,
    /// How they are protected, such as aes128gcm16, aes256gcm16, aes128-sha1, aes128-sha256.
    #[arg(long, default_value = "aes128gcm16", value_name = "TRANSFORM")]
    algorithm: Transform,
    /// What does the cryptography.
    #[arg(long, default_value = "auto", value_name = "ENGINE")]
    engine: EngineArgument,
    /// How many there are: a power of two, up to 256.
    #[arg(long, default_value_t = 1, value_name = "NUMBER", value_parser = sas)]
    sas: u32,
    /// A mix of sizes: of twelve packets seven of 64 bytes, four of 570, one of 1418.
    #[arg(long, conflicts_with_all = ["size", "pcap"])]
    imix: bool,
}

fn sas(text: &str) -> Result<u32, String> {
    let number: u32 = text.parse().map_err(|_| "not a number".to_owned())?;
    let fits = number.is_power_of_two() && number <= SAS_MAX;
    if fits { Ok(number) } else { Err(format!("not a power of two up to {SAS_MAX}")) }
}

/// Seals or opens packets.
pub(super) fn esp(work: Work, command: &EspCommand) -> ExitCode {
    let engine = match command.engine {
        EngineArgument::Auto => Choice::Auto,
        EngineArgument::BuiltIn => Choice::BuiltIn,
        EngineArgument::IpsecMb => Choice::Devices,
    };
    let tunnels = TunnelsPlan { transform: command.algorithm, engine, sas: command.sas };
    bench(work, &command.packets, Some((tunnels, command.imix)))
}

pub(super) fn run(work: Work, command: &PacketsCommand) -> ExitCode {
    bench(work, command, None)
}

fn bench(work: Work, command: &PacketsCommand, tunnels: Option<(TunnelsPlan, bool)>) -> ExitCode {
    let packets = match packets(command, tunnels.map(|(_, imix)| imix)) {
        Ok(packets) => packets,
        Err(what) => return failed(WRONG_USAGE, what),
    };
    if command.seconds == 0 {
        return ExitCode::SUCCESS;
    }
    let imix = tunnels.is_some_and(|(_, imix)| imix);
    let tunnels = tunnels.map(|(tunnels, _)| tunnels);
    match measure(command, &packets, &plan(work, command, &packets, tunnels, imix)) {
        Ok(figures) => show(work, command, packets.size, tunnels, &figures),
        Err(error) => failed(FAILED, error),
    }
}

/// `tunnels`: they go through some, all of one size or (true) of several.
fn packets(command: &PacketsCommand, tunnels: Option<bool>) -> Result<Packets, String> {
    if let Some(file) = &command.pcap {
        let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let (address, size) = flows::first_of_pcap(&bytes)
            .ok_or_else(|| format!("{}: no capture file in pcap format, or an empty one", file.display()))?;
        let size = command.size.unwrap_or(size);
        return Ok(Packets { file: file.clone(), temporary: false, address, size });
    }
    let size = command.size.unwrap_or(if tunnels == Some(true) { flows::mix_size() } else { 64 });
    let bytes = flows::pcap(&match tunnels {
        None => flows::frames(size),
        Some(imix) => flows::tunnel_frames((!imix).then_some(size)),
    });
    let (file, temporary) = match &command.save {
        Some(file) => (file.clone(), false),
        None => (std::env::temp_dir().join(format!("phalanx-bench-{}.pcap", std::process::id())), true),
    };
    write(&file, temporary, &bytes).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Packets { file, temporary, address: flows::ADDRESS, size })
}

/// A temporary file must be new: a folder that everyone may write to could hold somebody's link of that name.
fn write(file: &Path, temporary: bool, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(temporary).create(!temporary).truncate(!temporary);
    options.open(file)?.write_all(bytes)
}

fn measure(command: &PacketsCommand, packets: &Packets, plan: &Plan) -> Result<Figures, BenchError> {
    let memory: &[&str] = if free_hugepages() >= HUGEPAGES {
        &["--in-memory", "-m", "256"]
    } else {
        eprintln!("phalanx: fewer than {HUGEPAGES} hugepages are free, running on ordinary memory");
        &["--no-huge", "--no-shconf", "-m", "512"]
    };
    let lcores = format!("--lcores=0@{}", command.cores);
    let common = ["--no-pci", "--no-telemetry", "--log-level=3", lcores.as_str()];
    let eal = Eal::init(memory.iter().chain(&common))?;
    Affinity::of_cpu(command.cores)?.apply()?;
    let mut bench = Bench::open(&eal, plan)?;
    bench.run(command.seconds, &mut |second, figures| {
        let size = packets.size;
        eprintln!("{second:>4} s  {:8.2} Mpps  {:8.2} Gbit/s", figures.mpps(), figures.gbps(size));
    })
}

fn plan(work: Work, command: &PacketsCommand, packets: &Packets, tunnels: Option<TunnelsPlan>, imix: bool) -> Plan {
    let answers = match tunnels.filter(|_| work == Work::EspDecrypt) {
        Some(_) => flows::tunnel_frames((!imix).then_some(packets.size)),
        None => Vec::new(),
    };
    let longest = answers.iter().map(|frame| frame.len() as u16).max();
    let sealed = longest.zip(tunnels).map(|(longest, tunnels)| tunnels.sealed_len(longest));
    let (pmd, size) = sealed.map_or((command.pmd.as_str(), packets.size), |len| ("net_null", len));
    let (source, sink) = match pmd {
        "net_pcap" => (format!("net_pcap0,rx_pcap={},infinite_rx=1", packets.file.display()), "net_null0,no-rx=1"),
        "net_null" => (format!("net_null0,size={size}"), "net_null1,no-rx=1"),
        other => (other.to_owned(), "net_null0,no-rx=1"),
    };
    let is_null = source.starts_with("net_null");
    Plan {
        work,
        source,
        sink: sink.to_owned(),
        address: packets.address,
        scheme: match command.scheme {
            SchemeArgument::Classic => Scheme::Classic,
            SchemeArgument::Steered => Scheme::Steered,
        },
        tunnels,
        priming: match tunnels {
            _ if !is_null || !answers.is_empty() => Vec::new(),
            Some(_) => flows::tunnel_frames(Some(packets.size)),
            None => flows::frames(packets.size),
        },
        answers,
    }
}

fn free_hugepages() -> u64 {
    let text = std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn show(work: Work, command: &PacketsCommand, size: u16, tunnels: Option<TunnelsPlan>, figures: &Figures) -> ExitCode {
    let report = Report {
        bench: work.name(),
        pmd: if work == Work::EspDecrypt { "net_null" } else { &command.pmd },
        size,
        algorithm: tunnels.map(|tunnels| tunnels.transform.to_string()),
        sas: tunnels.map(|tunnels| tunnels.sas),
        mpps: figures.mpps(),
        gbps: figures.gbps(size),
        ns_per_packet: figures.ns_per_packet(),
        cycles_per_packet: figures.cycles_per_packet(),
        allocations_per_packet: figures.allocations_per_packet(),
        peer: None,
        ratio: None,
    };
    if command.json {
        return match serde_json::to_string(&report) {
            Ok(text) => {
                println!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => failed(FAILED, error),
        };
    }
    println!(
        "{}, {}, {} bytes: {:.2} Mpps, {:.2} Gbit/s, {:.2} ns and {:.1} cycles per packet, {} allocations per packet",
        report.bench,
        report.pmd,
        size,
        report.mpps,
        report.gbps,
        report.ns_per_packet,
        report.cycles_per_packet,
        report.allocations_per_packet
    );
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_have_the_fields_that_scripts_read() {
        let report = Report {
            bench: "forward",
            pmd: "net_pcap",
            size: 64,
            algorithm: None,
            sas: None,
            mpps: 1.0,
            gbps: 0.5,
            ns_per_packet: 1000.0,
            cycles_per_packet: 2300.0,
            allocations_per_packet: 0.0,
            peer: None,
            ratio: None,
        };
        let expected = concat!(
            r#"{"bench":"forward","pmd":"net_pcap","size":64,"mpps":1.0,"gbps":0.5,"ns_per_packet":1000.0,"#,
            r#""cycles_per_packet":2300.0,"allocations_per_packet":0.0,"peer":null,"ratio":null}"#
        );
        assert_eq!(serde_json::to_string(&report).unwrap(), expected);
    }
}
