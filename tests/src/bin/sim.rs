//! Runs the simulator over many seeds, on all cores, and prints the story of the first violation.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use clap::Parser;
use phalanx_control::cluster::{Delivery, Fault, Quorum};
use phalanx_tests::sim::{self, Options};

/// Whole clusters in virtual time, under faults drawn from seeds.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// How many members (drawn from the seed if not given).
    #[arg(long)]
    members: Option<usize>,
    /// none, majority or both.
    #[arg(long, default_value = "both")]
    quorum: String,
    /// forward, shared or both.
    #[arg(long, default_value = "both")]
    delivery: String,
    /// The keepalive period (drawn from the seed if not given).
    #[arg(long)]
    period_ms: Option<u64>,
    /// Plant a fault: no-lease-check, hold-dropped, two-owners or heirs-unasked.
    #[arg(long)]
    fault: Option<String>,
    /// Print everything that happens, not only the last lines before a violation.
    #[arg(long)]
    trace: bool,
    /// Go on after a violation: print one line for each.
    #[arg(long)]
    keep_going: bool,
    /// How many lines before a violation.
    #[arg(long, default_value_t = 200)]
    lines: usize,
    /// How many threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn options(arguments: &Arguments) -> Result<Options, String> {
    let quorum = match arguments.quorum.as_str() {
        "none" => Some(Quorum::None),
        "majority" => Some(Quorum::Majority),
        "both" => None,
        other => return Err(format!("--quorum {other}: say none, majority or both")),
    };
    let delivery = match arguments.delivery.as_str() {
        "forward" => Some(Delivery::Forward),
        "shared" | "unicast" | "multicast" => Some(Delivery::Shared),
        "both" => None,
        other => return Err(format!("--delivery {other}: say forward, shared or both")),
    };
    let fault = match arguments.fault.as_deref() {
        None => None,
        Some("no-lease-check") => Some(Fault::NoLeaseCheck),
        Some("hold-dropped") => Some(Fault::HoldDropped),
        Some("two-owners") => Some(Fault::TwoOwners),
        Some("heirs-unasked") => Some(Fault::HeirsUnasked),
        Some(other) => {
            return Err(format!("--fault {other}: say no-lease-check, hold-dropped, two-owners or heirs-unasked"));
        }
    };
    let (members, period_ms, trace) = (arguments.members, arguments.period_ms, arguments.trace);
    Ok(Options { members, quorum, delivery, period_ms, fault, trace, steps_max: None })
}

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let options = match options(&arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return 2.into();
        }
    };
    let (next, violations, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let (packets, moves, converged, blackout) =
        (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        while !stop.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= arguments.seeds {
                break;
            }
            match sim::run(arguments.start + seed, &options) {
                Ok(report) => {
                    packets.fetch_add(report.packets, Relaxed);
                    moves.fetch_add(report.moves, Relaxed);
                    converged.fetch_add(report.converged, Relaxed);
                    blackout.fetch_max(report.blackout_ns, Relaxed);
                    if arguments.seeds == 1 {
                        println!("{report:?}");
                    }
                }
                Err(violation) => {
                    violations.fetch_add(1, Relaxed);
                    let skip = if options.trace { 0 } else { violation.trace.len().saturating_sub(arguments.lines) };
                    let mut story = String::new();
                    if !arguments.keep_going && !stop.swap(true, Relaxed) {
                        let settings = violation.trace.first().into_iter();
                        for line in settings.chain(violation.trace.iter().skip(skip.max(1))) {
                            story.push_str(line);
                            story.push('\n');
                        }
                    }
                    println!(
                        "{story}seed {}, step {}, {:.6} s: {}",
                        violation.seed,
                        violation.step,
                        violation.now_ns as f64 / 1e9,
                        violation.what
                    );
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(work);
        }
    });
    let (seeds, violations) = (next.load(Relaxed).min(arguments.seeds), violations.load(Relaxed));
    println!(
        "{seeds} seeds, {violations} violations, {} convergences, {} planned moves, {} packets, longest blackout {:.3} ms",
        converged.load(Relaxed),
        moves.load(Relaxed),
        packets.load(Relaxed),
        blackout.load(Relaxed) as f64 / 1e6
    );
    u8::from(violations > 0).into()
}
