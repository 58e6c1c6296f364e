//! As many short connections as there can be: so many at once, each followed by the next. For comparing relays, not for
//! finding faults; but every answer is checked, and one failure is enough for the figure to be worth nothing.

use std::cell::{Cell, RefCell};
use std::io::{Error, Result};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use clap::Args;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::short;

/// What takes longer is a failure.
const PATIENCE_S: u64 = 5;

/// What to send.
#[derive(Args, Clone)]
pub(crate) struct RateArgs {
    /// Address and port of a `traffic server`'s short connections, or of what leads there.
    #[arg(long)]
    server: SocketAddr,
    /// How long to measure.
    #[arg(long)]
    seconds: f64,
    /// Connections at the same time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Own addresses that are used in turns; without any, the kernel chooses.
    #[arg(long = "source")]
    sources: Vec<IpAddr>,
}

#[derive(Default)]
struct Record {
    next: Cell<u64>,
    took_us: RefCell<Vec<u64>>,
    failure: RefCell<Option<String>>,
}

/// Runs for the time given; prints one JSON object: connections, seconds, per second, and what one took.
pub(crate) async fn run(args: RateArgs) -> Result<()> {
    let (clock, record) = (Clock::start(), Rc::new(Record::default()));
    let until_us = (args.seconds * 1e6) as u64;
    let mut lanes = JoinSet::new();
    for _ in 0..args.connections {
        lanes.spawn_local(lane(args.clone(), clock, until_us, Rc::clone(&record)));
    }
    while lanes.join_next().await.is_some() {}
    if let Some(failure) = record.failure.take() {
        return Err(Error::other(failure));
    }
    let mut took_us = record.took_us.take();
    took_us.sort_unstable();
    let quantile = |share: f64| {
        let place = (took_us.len() as f64 * share) as usize;
        took_us.get(place.min(took_us.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    let report = serde_json::json!({
        "connections": took_us.len(), "seconds": args.seconds, "per_s": took_us.len() as f64 / args.seconds,
        "took_us_p50": quantile(0.5), "took_us_p99": quantile(0.99),
    });
    println!("{report}");
    Ok(())
}

/// One connection after the other. Those that are not over in time do not count.
async fn lane(args: RateArgs, clock: Clock, until_us: u64, record: Rc<Record>) {
    loop {
        let (number, begin_us) = (record.next.get(), clock.now_us());
        if begin_us >= until_us || record.failure.borrow().is_some() {
            return;
        }
        record.next.set(number + 1);
        let source =
            usize::try_from(number).ok().and_then(|n| args.sources.get(n % args.sources.len().max(1))).copied();
        let outcome = short::attempt(source, args.server, number, PATIENCE_S).await;
        let now_us = clock.now_us();
        match outcome {
            Ok(()) if now_us <= until_us => record.took_us.borrow_mut().push(now_us - begin_us),
            Ok(()) => {}
            Err(why) => *record.failure.borrow_mut() = Some(format!("connection {number}: {why}")),
        }
    }
}
