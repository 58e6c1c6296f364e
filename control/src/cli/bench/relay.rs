//! `phalanx bench relay`: what the relay costs, what replicating it costs, and how long a takeover takes.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::super::{FAILED, failed};
use crate::bench::{RelayBenchError, Takeover, TakeoverPlan, Traffic, TrafficFigures, Work, measure, measure_takeover};

const EXAMPLES: &str = "\
EXAMPLES
  phalanx bench relay                              everything, with none and with two backups
  phalanx bench relay takeover --sessions 100000   only takeovers, of 100 and of 100,000 sessions
  phalanx bench relay bulk requests --replicas 1 --json

WHAT IT SAYS
  Gbit/s, per s   of this process's one relay thread; `cpu`: if the hosts, which share the thread, took no time
  log B/B         bytes that each backup gets for each byte that is relayed (payload, either direction)
  link B/B        bytes on the link's streams for each byte relayed, to all backups together
  commit us       from a change to the last backup's acknowledgement of it: p50, p99
  answer us       from a client's request to the end of the answer: p50, p99

EXIT STATUS
  0  done
  1  it went wrong, or a takeover of the most sessions took more than 1.5 times as long as one of 100
  2  the command line is wrong";

/// Sessions whose takeover others are held against.
const FEW: usize = 100;
/// A takeover of many sessions may take so much longer than one of few.
const RATIO_MAX: f64 = 1.5;
const BULK_CONNECTIONS: usize = 8;
const SHORT_CONNECTIONS: usize = 64;
const REQUEST_BYTES: [u64; 2] = [100, 1000];

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Part {
    /// Servers send as much as they can, over 8 connections.
    Bulk,
    /// One client asks, the server answers as many bytes: 100, and 1000.
    Requests,
    /// 64 clients connect, ask once, get an answer, close.
    Connections,
    /// A backup takes idle sessions over.
    Takeover,
}

/// Measure the relay of one worker, hosts and backups in the same process.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct RelayCommand {
    /// What to measure; everything, if nothing is named.
    parts: Vec<Part>,
    /// Backups that hold every session; measured beside none.
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=8))]
    replicas: u8,
    /// How long to measure each kind of traffic, with and without backups.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS", value_parser = seconds)]
    seconds: f64,
    /// Idle sessions that are taken over, beside 100.
    #[arg(long, default_value_t = 100_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(100..=200_000))]
    sessions: u32,
    /// Takeovers of each number of sessions.
    #[arg(long, default_value_t = 15, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// One JSON object a line, nothing else.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.05..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "a number of seconds from 0.05 to 3600".into())
}

/// What one kind of traffic came to.
#[derive(Serialize)]
struct TrafficRow {
    bench: &'static str,
    work: String,
    replicas: u8,
    gbps: f64,
    gbps_cpu: f64,
    exchanges_per_s: f64,
    exchanges_per_cpu_s: f64,
    log_bytes_per_byte: f64,
    link_bytes_per_byte: f64,
    /// Of the log, for each request or short connection.
    log_bytes_per_exchange: f64,
    commit_us_p50: f64,
    commit_us_p99: f64,
    answer_us_p50: f64,
    answer_us_p99: f64,
}

impl TrafficRow {
    fn new(traffic: Traffic, figures: &TrafficFigures) -> Self {
        let bits = figures.bytes as f64 * 8.0 / 1e9;
        let per = |amount: f64, count: f64| if count == 0.0 { 0.0 } else { amount / count };
        let (bytes, exchanges) = (figures.bytes as f64, figures.exchanges as f64);
        Self {
            bench: "relay",
            work: traffic.work.name(),
            replicas: traffic.replicas,
            gbps: per(bits, figures.wall_s),
            gbps_cpu: per(bits, figures.relay_s),
            exchanges_per_s: per(exchanges, figures.wall_s),
            exchanges_per_cpu_s: per(exchanges, figures.relay_s),
            log_bytes_per_byte: per(figures.log_bytes as f64, bytes),
            link_bytes_per_byte: per(figures.link_bytes as f64, bytes),
            log_bytes_per_exchange: per(figures.log_bytes as f64, exchanges),
            commit_us_p50: figures.commit_us[0],
            commit_us_p99: figures.commit_us[1],
            answer_us_p50: figures.answer_us[0],
            answer_us_p99: figures.answer_us[1],
        }
    }

    fn show(&self) {
        println!(
            "{:<15}{:>3}{:>9.2}{:>9.2}{:>10.0}{:>10.0}{:>9.2}{:>9.2}{:>9.0}/{:<8.0}{:>8.0}/{:<8.0}",
            self.work,
            self.replicas,
            self.gbps,
            self.gbps_cpu,
            self.exchanges_per_s,
            self.exchanges_per_cpu_s,
            self.log_bytes_per_byte,
            self.link_bytes_per_byte,
            self.commit_us_p50,
            self.commit_us_p99,
            self.answer_us_p50,
            self.answer_us_p99
        );
    }
}

/// What takeovers of so many sessions came to. `ratio`: of the medians, against few sessions.
#[derive(Serialize)]
struct TakeoverRow {
    bench: &'static str,
    work: &'static str,
    sessions: usize,
    first_us_p50: f64,
    first_us_max: f64,
    other_us_p50: f64,
    other_us_p99: f64,
    round_us_p99: f64,
    round_us_max: f64,
    all_ms_p50: f64,
    ratio: f64,
}

pub(super) fn run(command: &RelayCommand) -> ExitCode {
    match measure_all(command) {
        Ok(code) => code,
        Err(error) => failed(FAILED, error),
    }
}

fn measure_all(command: &RelayCommand) -> Result<ExitCode, RelayBenchError> {
    let wants = |part: Part| command.parts.is_empty() || command.parts.contains(&part);
    let mut traffic = Vec::new();
    if wants(Part::Bulk) {
        traffic.push((Work::Bulk, BULK_CONNECTIONS));
    }
    if wants(Part::Requests) {
        traffic.extend(REQUEST_BYTES.map(|bytes| (Work::Requests(bytes), 1)));
    }
    if wants(Part::Connections) {
        traffic.push((Work::Connections, SHORT_CONNECTIONS));
    }
    if !command.json && !traffic.is_empty() {
        println!(
            "{:<15}{:>3}{:>9}{:>9}{:>10}{:>10}{:>9}{:>9}{:>13}{:>15}",
            "relay", "rep", "Gbit/s", "cpu", "per s", "cpu", "log B/B", "link B/B", "commit us", "answer us"
        );
    }
    for (work, connections) in traffic {
        measure_traffic(command, work, connections)?;
    }
    if wants(Part::Takeover) {
        return measure_takeovers(command);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure_traffic(command: &RelayCommand, work: Work, connections: usize) -> Result<(), RelayBenchError> {
    let mut answers = Vec::new();
    for replicas in [0, command.replicas] {
        let traffic = Traffic { work, replicas, connections, seconds: command.seconds };
        let figures = measure(traffic)?;
        answers.push(figures.answer_us);
        let row = TrafficRow::new(traffic, &figures);
        if command.json {
            print_json(&row)?;
        } else {
            row.show();
        }
    }
    if let (Work::Requests(_), [without, with], false) = (work, answers.as_slice(), command.json) {
        let added = [with[0] - without[0], with[1] - without[1]];
        println!(
            "{:<18}output commit adds {:.0} us to an answer in the median, {:.0} us at p99",
            "", added[0], added[1]
        );
    }
    Ok(())
}

fn measure_takeovers(command: &RelayCommand) -> Result<ExitCode, RelayBenchError> {
    let plan = TakeoverPlan { sessions: vec![FEW, command.sessions as usize], rounds: command.rounds.into() };
    let measured = measure_takeover(&plan)?;
    let few = measured.first().map_or(0.0, |takeover| takeover.first_us[0]);
    let mut worst: f64 = 0.0;
    for takeover in &measured {
        let row = takeover_row(takeover, few);
        worst = worst.max(row.ratio);
        if command.json {
            print_json(&row)?;
        } else {
            show_takeover(&row);
        }
    }
    if worst > RATIO_MAX {
        let what = format!(
            "a takeover of {} sessions takes {worst:.2} times as long as one of {FEW}; at most {RATIO_MAX} is promised",
            command.sessions
        );
        return Ok(failed(FAILED, what));
    }
    Ok(ExitCode::SUCCESS)
}

fn takeover_row(takeover: &Takeover, few_us: f64) -> TakeoverRow {
    TakeoverRow {
        bench: "relay",
        work: "takeover",
        sessions: takeover.sessions,
        first_us_p50: takeover.first_us[0],
        first_us_max: takeover.first_us[1],
        other_us_p50: takeover.other_us[0],
        other_us_p99: takeover.other_us[1],
        round_us_p99: takeover.round_us[0],
        round_us_max: takeover.round_us[1],
        all_ms_p50: takeover.all_ms,
        ratio: if few_us > 0.0 { takeover.first_us[0] / few_us } else { f64::INFINITY },
    }
}

fn show_takeover(row: &TakeoverRow) {
    println!(
        "takeover of {} sessions: first answer after {:.0} us in the median, {:.0} at worst; ratio {:.2}",
        row.sessions, row.first_us_p50, row.first_us_max, row.ratio
    );
    println!(
        "{:<18}the first packet of another takes {:.1} us, {:.1} at p99; a round {:.0} us at p99, {:.0} at worst; all are \
         restored after {:.1} ms",
        "", row.other_us_p50, row.other_us_p99, row.round_us_p99, row.round_us_max, row.all_ms_p50
    );
}

fn print_json(row: &impl Serialize) -> Result<(), RelayBenchError> {
    let text = serde_json::to_string(row).map_err(|error| RelayBenchError::Odd(error.to_string()))?;
    println!("{text}");
    Ok(())
}
