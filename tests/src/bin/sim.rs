//! Runs the simulator over many seeds, on all cores, and prints the story of the first violation.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use clap::Parser;
use phalanx_control::cluster::{Delivery, Fault, Quorum};
use phalanx_tests::sim::{self, Options, Report, SessionFault, SessionOptions, SessionReport};

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
    /// Run sessions on the clusters: connections through the relay, and tickets.
    #[arg(long)]
    sessions: bool,
    /// Run IPsec on the clusters: peers with IKEv2 and ESP.
    #[arg(long, conflicts_with = "sessions")]
    ipsec: bool,
    /// Plant a fault: no-lease-check, hold-dropped, two-owners or heirs-unasked; with --sessions also ack-before-commit or
    /// lease-not-replicated; with --ipsec also answer-before-commit, numbers-not-replicated, incarnation-reused,
    /// old-record-restored or fence-ignored.
    #[arg(long)]
    fault: Option<String>,
    /// Print everything that happens, not only the last lines before a violation; of a single seed also if there is none.
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
    let (mut fault, mut session_fault) = (None, None);
    match arguments.fault.as_deref() {
        None => {}
        Some("no-lease-check") => fault = Some(Fault::NoLeaseCheck),
        Some("hold-dropped") => fault = Some(Fault::HoldDropped),
        Some("two-owners") => fault = Some(Fault::TwoOwners),
        Some("heirs-unasked") => fault = Some(Fault::HeirsUnasked),
        Some("ack-before-commit") if arguments.sessions => session_fault = Some(SessionFault::AckBeforeCommit),
        Some("lease-not-replicated") if arguments.sessions => session_fault = Some(SessionFault::LeaseNotReplicated),
        Some("answer-before-commit") if arguments.ipsec => session_fault = Some(SessionFault::AnswerBeforeCommit),
        Some("numbers-not-replicated") if arguments.ipsec => session_fault = Some(SessionFault::NumbersNotReplicated),
        Some("incarnation-reused") if arguments.ipsec => session_fault = Some(SessionFault::IncarnationReused),
        Some("old-record-restored") if arguments.ipsec => session_fault = Some(SessionFault::OldRecordRestored),
        Some("fence-ignored") if arguments.ipsec => session_fault = Some(SessionFault::FenceIgnored),
        Some(other) => {
            return Err(format!(
                "--fault {other}: say no-lease-check, hold-dropped, two-owners or heirs-unasked; \
                 with --sessions also ack-before-commit or lease-not-replicated; with --ipsec also \
                 answer-before-commit, numbers-not-replicated, incarnation-reused, old-record-restored or fence-ignored"
            ));
        }
    };
    let ipsec = arguments.ipsec;
    let sessions = (arguments.sessions || ipsec).then_some(SessionOptions { fault: session_fault, ipsec });
    let (members, period_ms, trace) = (arguments.members, arguments.period_ms, arguments.trace);
    Ok(Options { members, quorum, delivery, period_ms, fault, sessions, trace, steps_max: None })
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
    let work = || {
        let mut total = Report::default();
        while !stop.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= arguments.seeds {
                break;
            }
            match sim::run(arguments.start + seed, &options) {
                Ok(report) => {
                    add(&mut total, &report);
                    if arguments.seeds == 1 && arguments.trace {
                        sim::World::story(arguments.start, &options).iter().for_each(|line| println!("{line}"));
                    }
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
        total
    };
    let mut total = Report::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads.max(1)).map(|_| scope.spawn(work)).collect();
        // A thread that panicked has said so, and ends the process here.
        threads.into_iter().for_each(|thread| add(&mut total, &thread.join().expect("a whole run")));
    });
    let (seeds, violations) = (next.load(Relaxed).min(arguments.seeds), violations.load(Relaxed));
    println!(
        "{seeds} seeds, {violations} violations, {} convergences, {} planned moves, {} packets, longest blackout {:.3} ms",
        total.converged,
        total.moves,
        total.packets,
        total.blackout_ns as f64 / 1e6
    );
    if let Some(sessions) = options.sessions {
        let line = if sessions.ipsec { ipsec_line(&total.sessions) } else { sessions_line(&total.sessions) };
        println!("{line}");
    }
    u8::from(violations > 0).into()
}

fn add(total: &mut Report, report: &Report) {
    total.packets += report.packets;
    total.moves += report.moves;
    total.converged += report.converged;
    total.blackout_ns = total.blackout_ns.max(report.blackout_ns);
    total.sessions.add(&report.sessions);
}

fn sessions_line(report: &SessionReport) -> String {
    format!(
        "sessions: {} begun, {} carried to their end, {} bytes checked, {} tickets, {} takeovers of units in use, \
         {} restores, {} twins compared, {} lost by right ({} of them to a bad heir, {} while a good one followed the same master)",
        report.begun,
        report.completed,
        report.bytes,
        report.tickets,
        report.takeovers,
        report.restored,
        report.compared,
        report.excused,
        report.bad_heirs,
        report.unchosen
    )
}

fn ipsec_line(report: &SessionReport) -> String {
    format!(
        "ipsec: {} handshakes begun ({} given up), {} tunnels, {} words let in, {} answers heard, {} takeovers of units in use, \
         {} peers lost all by right ({} of them to a bad heir, \
         {} while a good one followed the same master)\n\
         two owners: {} members went on without a lease, {} units in use had two owners when they noticed, second owners sent {} \
         packets and let {} words in",
        report.handshakes,
        report.given_up,
        report.tunnels,
        report.words,
        report.answers,
        report.takeovers,
        report.excused,
        report.bad_heirs,
        report.unchosen,
        report.blind,
        report.dual_units,
        report.dual_sent,
        report.dual_let_in
    )
}
