//! `phalanx bench`: how fast one worker is, in the manner of testpmd.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{FAILED, failed};

const EXAMPLES: &str = "\
EXAMPLES
  phalanx bench forward --pmd net_pcap --size 64
  phalanx bench discard --pmd net_pcap --size 64 --pcap flows.pcap --json";

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Work {
    /// Receive and drop packets that others own: the cluster's overhead.
    Discard,
    /// Receive, find the unit, drop.
    Classify,
    /// Route packets that this member owns.
    Forward,
    /// Pass packets on to their owners, as the master does.
    MasterForward,
}

/// Measure the packet path of one worker.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct BenchCommand {
    /// What to measure.
    work: Work,
    /// The device to receive from.
    #[arg(long, default_value = "net_pcap", value_name = "PMD")]
    pmd: String,
    /// The size of a frame, in bytes.
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    size: u16,
    /// Packets to receive, over and over; made up (4096 flows) without it.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// One JSON object at the end, nothing else.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(_command: &BenchCommand) -> ExitCode {
    failed(FAILED, "this build has no packet path")
}
