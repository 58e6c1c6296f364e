//! Many long connections at once, both ways: each sends a piece of its own stream several times a second and checks the
//! echo byte by byte. A reset, a wrong, missing or repeated byte, or a piece that does not come back within the patience is
//! that connection's failure.

use std::io::{Error, ErrorKind, Result};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, timeout};

use crate::pattern::Pattern;
use crate::{STREAM_PORT, Shared, short};

/// From one piece to the next.
const INTERVAL: Duration = Duration::from_millis(200);
/// Opening a connection, and its end, may take this long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections are opened at this distance, so that they do not all speak at the same moment.
const STAGGER: Duration = Duration::from_micros(500);
const BLOCK_BYTES: usize = 16 * 1024;
const SEED: u64 = 0x57_2EA5;

/// Opens all connections, and keeps them going until told to stop.
pub(crate) async fn run(shared: Shared) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..shared.args.streams {
        tasks.spawn_local(one(shared.clone(), number));
        tokio::time::sleep(STAGGER).await;
    }
    while tasks.join_next().await.is_some() {}
}

async fn one(shared: Shared, number: usize) {
    if let Err(problem) = exchange(&shared, number).await {
        let at_us = shared.clock.now_us();
        shared.record.borrow_mut().streams.failures.push((at_us, format!("stream {number}: {problem}")));
    }
}

async fn exchange(shared: &Shared, number: usize) -> Result<()> {
    let sources = &shared.args.sources;
    let source = sources.get(number % sources.len().max(1)).copied();
    let stream = timeout(PATIENCE, short::connect(source, shared.server(STREAM_PORT))).await??;
    let (mut reader, mut writer) = stream.into_split();
    let seed = SEED + number as u64;
    let send = async {
        let mut pattern = Pattern::new(seed);
        let mut piece = vec![0; shared.args.stream_piece_bytes];
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shared.stopped() => break,
                _ = tick.tick() => {
                    pattern.fill(&mut piece);
                    writer.write_all(&piece).await?;
                }
            }
        }
        writer.shutdown().await?;
        Ok::<u64, Error>(pattern.position())
    };
    let receive = async {
        let mut pattern = Pattern::new(seed);
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let length = reader.read(&mut block).await?;
            if length == 0 {
                return Ok(pattern.position());
            }
            let wrong = |place| Error::new(ErrorKind::InvalidData, format!("byte {place} is wrong"));
            pattern.check(&block[..length]).map_err(wrong)?;
            let now_us = shared.clock.now_us();
            let streams = &mut shared.record.borrow_mut().streams;
            streams.bytes += length as u64;
            if let Some(progress) = streams.progress_us.get_mut(number) {
                progress.push(now_us);
            }
        }
    };
    // After the stop the rest must come within the patience.
    let ended = async {
        shared.stopped().await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        both = async { tokio::try_join!(send, receive) } => {
            let (sent, received): (u64, u64) = both?;
            if sent != received {
                return Err(Error::new(ErrorKind::UnexpectedEof, format!("{received} of {sent} bytes came back")));
            }
            Ok(())
        }
        () = ended => Err(Error::new(ErrorKind::TimedOut, "the rest did not come back")),
    }
}

/// The server's side: what comes goes back.
pub(crate) async fn serve(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    tokio::io::copy(&mut reader, &mut writer).await?;
    writer.shutdown().await
}
