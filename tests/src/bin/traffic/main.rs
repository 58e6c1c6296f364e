//! Real traffic through a cluster, and an exact record of what became of it.
//!
//! `traffic server` answers inside; `traffic run` sends from outside, all at once: echo requests 100 times a second from
//! each of several addresses (one flow a member, so that every death is seen), UDP echoes, short TCP connections, one long
//! TCP download, and many long connections both ways. Every byte is checked, every repetition counted. Whoever plans the faults writes `mark NAME` to
//! standard input as each happens; the report then says how long each probe was without an answer around it.
//! `traffic transfer` carries a number of bytes over one connection, and says how long that took.
//!
//! `traffic source`, `sink` and `web` are the two ends of streams that other programs carry: `curl`, `nc`, `ssh`.
//!
//! One thread does it all: the machine's processors belong to the members.

mod arrivals;
mod clock;
mod download;
mod flow;
mod pattern;
mod piece;
mod probe;
mod rate;
mod report;
mod server;
mod short;
mod streams;
mod tally;
mod transfer;
mod web;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use clock::Clock;
use report::{Event, Record};

/// Short TCP connections.
const SHORT_PORT: u16 = 7801;
/// The long download.
const DOWNLOAD_PORT: u16 = 7802;
/// UDP echo.
const ECHO_PORT: u16 = 7803;
/// Long connections, both ways.
const STREAM_PORT: u16 = 7804;
/// Transfers of so many bytes.
const TRANSFER_PORT: u16 = 7806;
/// After sending has stopped, answers may still come for so long.
const STRAGGLERS: Duration = Duration::from_millis(1000);

#[derive(Parser)]
#[command(about = "Real traffic through a cluster, and an exact record of what became of it.")]
struct Cli {
    /// Let what happens gather for so many microseconds after each piece of work. Times are that much less exact; a thousand
    /// connections wake a processor far less often.
    #[arg(long, global = true, default_value_t = 0)]
    gather_us: u64,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer: TCP 7801 (short connections), 7802 (download), 7804 (streams), 7806 (transfers), UDP 7803 (echo).
    Server(ServerArgs),
    /// Send, check, and write a report.
    Run(RunArgs),
    /// Write a stream to standard output.
    Source(tally::SourceArgs),
    /// Check a stream on standard input.
    Sink(tally::SinkArgs),
    /// Serve such streams by HTTP.
    Web(web::WebArgs),
    /// Open as many short connections as there can be, and print how many that were.
    Rate(rate::RateArgs),
    /// Carry so many bytes each way over one connection.
    Transfer(transfer::TransferArgs),
}

/// How to answer.
#[derive(Args, Clone)]
pub(crate) struct ServerArgs {
    /// At the line `stop` on standard input, what arrived of the streams is written here, and that is the end.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// What to send.
#[derive(Args, Clone)]
pub(crate) struct RunArgs {
    /// The server's address.
    #[arg(long)]
    server: IpAddr,
    /// Ends by itself after so many seconds (or earlier, at the line `stop` on standard input).
    #[arg(long)]
    seconds: f64,
    /// Where the JSON report goes.
    #[arg(long)]
    report: PathBuf,
    /// Own addresses that TCP connections and UDP use in turns; without any, the kernel chooses.
    #[arg(long = "source")]
    sources: Vec<IpAddr>,
    /// Own addresses to ping from, each a flow of its own; without any, one flow from the kernel's choice.
    #[arg(long = "ping-source")]
    ping_sources: Vec<IpAddr>,
    /// Echo requests per second and flow.
    #[arg(long, default_value_t = 100.0)]
    pings_per_s: f64,
    /// UDP echoes per second.
    #[arg(long, default_value_t = 100.0)]
    udp_per_s: f64,
    /// Short TCP connections per second; 0 for none.
    #[arg(long, default_value_t = 200.0)]
    connections_per_s: f64,
    /// A short connection that is not done within so many seconds is a failure.
    #[arg(long, default_value_t = 5)]
    patience_s: u64,
    /// Speed of the download; 0 for none.
    #[arg(long, default_value_t = 1000)]
    download_kbytes_per_s: u32,
    /// Long connections at once, both ways.
    #[arg(long, default_value_t = 0)]
    streams: usize,
    /// What each of them sends five times a second.
    #[arg(long, default_value_t = 256)]
    stream_piece_bytes: usize,
}

/// What all tasks of a run share.
#[derive(Clone)]
pub(crate) struct Shared {
    args: Rc<RunArgs>,
    clock: Clock,
    record: Rc<RefCell<Record>>,
    /// Turns true when sending must stop.
    stopping: watch::Receiver<bool>,
}

impl Shared {
    fn server(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.args.server, port)
    }

    /// Waits until sending must stop.
    async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that the controller is gone, which is a reason to stop, too.
        let _ = stopping.wait_for(|&stop| stop).await;
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    if cli.gather_us > 0 {
        #[allow(clippy::disallowed_methods, reason = "the pause is what was asked for; nothing is waited for by it")]
        builder.on_thread_park(move || std::thread::sleep(Duration::from_micros(cli.gather_us)));
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => return fail(&format!("cannot start: {problem}")),
    };
    let local = LocalSet::new();
    let outcome = match cli.command {
        Command::Server(args) => local.block_on(&runtime, server::serve(args.report)),
        Command::Run(args) => local.block_on(&runtime, run(args)),
        Command::Source(args) => local.block_on(&runtime, tally::source(&args)),
        Command::Sink(args) => tally::sink(&args),
        Command::Web(args) => local.block_on(&runtime, web::serve(args)),
        Command::Rate(args) => local.block_on(&runtime, rate::run(args)),
        Command::Transfer(args) => local.block_on(&runtime, transfer::run(args)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(&problem.to_string()),
    }
}

fn fail(problem: &str) -> ExitCode {
    eprintln!("traffic: {problem}");
    ExitCode::FAILURE
}

/// Starts all senders, obeys standard input, stops, writes the report.
async fn run(args: RunArgs) -> std::io::Result<()> {
    let (stop, stopping) = watch::channel(false);
    let shared = Shared {
        args: Rc::new(args),
        clock: Clock::start(),
        record: Rc::new(RefCell::new(Record::default())),
        stopping,
    };
    let mut tasks = Vec::new();
    for probe in probe::open_all(&shared)? {
        tasks.push(tokio::task::spawn_local(probe.run(shared.clone())));
    }
    if shared.args.connections_per_s > 0.0 {
        tasks.push(tokio::task::spawn_local(short::run(shared.clone())));
    }
    if shared.args.download_kbytes_per_s > 0 {
        tasks.push(tokio::task::spawn_local(download::run(shared.clone())));
    }
    if shared.args.streams > 0 {
        shared.record.borrow_mut().streams.heard = vec![false; shared.args.streams];
        tasks.push(tokio::task::spawn_local(streams::run(shared.clone())));
    }
    obey(&shared).await;
    shared.record.borrow_mut().stopped_us = shared.clock.now_us();
    // Receivers live as long as `shared.stopping` has a sender or STRAGGLERS have passed, whichever is first.
    let _ = stop.send(true);
    for task in tasks {
        // A task that panicked has printed why; its part of the record then shows the failure.
        let _ = task.await;
    }
    let report = report::write(&shared.record.borrow(), &shared.args)?;
    println!("{report}");
    Ok(())
}

/// Handles lines of standard input until it is time to stop.
async fn obey(shared: &Shared) {
    let mut lines = stdin_lines();
    let deadline = tokio::time::sleep(Duration::from_secs_f64(shared.args.seconds));
    tokio::pin!(deadline);
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let mut told = false;
    loop {
        tokio::select! {
            () = &mut deadline => return,
            _ = tokio::signal::ctrl_c() => return,
            _ = look.tick(), if !told => {
                if shared.record.borrow().all_answered(&shared.args) {
                    told = true;
                    println!("ready");
                }
            }
            Some(line) = lines.recv() => match line.trim().split_once(' ') {
                Some(("mark", what)) => {
                    let at_us = shared.clock.now_us();
                    shared.record.borrow_mut().events.push(Event { at_us, what: what.trim().to_owned() });
                    println!("marked {}", what.trim());
                }
                None if line.trim() == "stop" => return,
                _ => eprintln!("traffic: standard input takes `mark NAME` and `stop`, not {line:?}"),
            },
        }
    }
}

/// Standard input, line by line; its end is no event.
pub(crate) fn stdin_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
        // Parks the channel: a closed one would be polled for nothing.
        std::mem::forget(sender);
    });
    receiver
}
