//! `phalanx bench`: how fast a part of the product is on this machine.

mod ike;
mod packets;
mod relay;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use phalanx_dataplane::bench::Work;

const EXAMPLES: &str = "\
EXAMPLES
  phalanx bench forward --pmd net_pcap --size 64
  phalanx bench discard --size 512 --save flows.pcap --seconds 0    only make the packets
  phalanx bench relay                                               the relay with and without backups, and a takeover
  phalanx bench ike-handshakes                                      CPU time of a handshake, at the one that answers
  phalanx bench ike-memory                                          memory of a tunnel, at its owner and at a backup";

/// Measure one worker: its packet path, its relay, or its IKE.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct BenchCommand {
    #[command(subcommand)]
    work: WorkCommand,
}

#[derive(Subcommand, Debug)]
enum WorkCommand {
    /// Receive and drop packets that others own: the cluster's overhead.
    Discard(packets::PacketsCommand),
    /// Receive, find the unit, drop.
    Classify(packets::PacketsCommand),
    /// Route packets that this member owns.
    Forward(packets::PacketsCommand),
    /// Pass packets on to their owners, as the master does.
    MasterForward(packets::PacketsCommand),
    /// Seal packets that go into tunnels, and route them.
    EspEncrypt(packets::EspCommand),
    /// Open packets that come out of tunnels, each with a number of its own, and route them.
    EspDecrypt(packets::EspCommand),
    /// Relay TCP connections, with and without backups that hold them; take sessions over.
    Relay(relay::RelayCommand),
    /// Answer handshakes, and count the CPU time that this takes.
    IkeHandshakes(ike::HandshakesCommand),
    /// Make tunnels, and count the memory that they take.
    IkeMemory(ike::MemoryCommand),
}

pub(super) fn run(command: &BenchCommand) -> ExitCode {
    match &command.work {
        WorkCommand::Discard(command) => packets::run(Work::Discard, command),
        WorkCommand::Classify(command) => packets::run(Work::Classify, command),
        WorkCommand::Forward(command) => packets::run(Work::Forward, command),
        WorkCommand::MasterForward(command) => packets::run(Work::MasterForward, command),
        WorkCommand::EspEncrypt(command) => packets::esp(Work::EspEncrypt, command),
        WorkCommand::EspDecrypt(command) => packets::esp(Work::EspDecrypt, command),
        WorkCommand::Relay(command) => relay::run(command),
        WorkCommand::IkeHandshakes(command) => ike::run_handshakes(command),
        WorkCommand::IkeMemory(command) => ike::run_memory(command),
    }
}
