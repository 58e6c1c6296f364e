//! Judges what an outside wire saw of a cluster that does IPsec: reads captures, prints what it found as JSON, and exits
//! with 0 only if no SPI had a sequence number or an IV twice, and nothing went in clear.
//!
//! It shares nothing with what it judges, nor with the tests that call it, but the reader of capture files.
//!
//! | file | what |
//! | --- | --- |
//! | `packet` | what a frame is: ESP, alone or inside UDP, IKE, or something that should not be there |
//! | `judge` | what must not come twice, and what must not come at all |

mod judge;
mod packet;

use std::fs::File;
use std::io::BufReader;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use phalanx_tests::lab::pcap::Frames;

use judge::Judge;
use packet::Network;

#[derive(Parser)]
#[command(about = "Judges what an outside wire saw of a cluster that does IPsec.")]
struct Cli {
    /// The cluster's outside address.
    #[arg(long)]
    cluster: IpAddr,
    /// A network whose packets belong into tunnels, as 10.60.0.0/16.
    #[arg(long = "inside")]
    inside: Vec<Network>,
    /// Captures (pcap, Ethernet) of one wire, in order of time.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut judge = Judge::new(cli.cluster, cli.inside);
    for path in &cli.files {
        match File::open(path) {
            Ok(file) => Frames::of(BufReader::new(file)).for_each(|frame| judge.see(&frame)),
            Err(problem) => {
                eprintln!("esp-judge: {}: {problem}", path.display());
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{:#}", judge.verdict());
    if judge.is_content() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
