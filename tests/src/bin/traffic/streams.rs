//! Many long connections at once, both ways: each end sends a piece of its own several times a second, stamped with the time,
//! and checks every byte of the other's. A reset, a wrong, missing or repeated byte, or an end that does not come within the
//! patience is that connection's failure. How late each piece was is noted at the end that receives it.

use std::cell::{Cell, RefCell};
use std::io::{Error, ErrorKind, Result};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use crate::arrivals::Arrivals;
use crate::clock::machine_us;
use crate::piece::{self, Direction, HEAD_BYTES, Head, PIECE_BYTES_MAX, Place};
use crate::{STREAM_PORT, Shared, short};

/// From one piece to the next.
const INTERVAL: Duration = Duration::from_millis(200);
/// Opening a connection, and its end, may take this long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections are opened at this distance, so that they do not all speak at the same moment.
const STAGGER: Duration = Duration::from_micros(500);

/// Opens all connections, and keeps them going until told to stop.
pub(crate) async fn run(shared: Shared) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..shared.args.streams {
        tasks.spawn_local(one(shared.clone(), number));
        sleep(STAGGER).await;
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
    let connection = timeout(PATIENCE, short::connect(source, shared.server(STREAM_PORT))).await??;
    let own = connection.local_addr()?;
    let (reader, writer) = connection.into_split();
    let stream = number as u32;
    // The fractions of multiples of the golden ratio: never two alike, and evenly spread however many there are.
    let phase = INTERVAL.mul_f64((number as f64 * 0.618_034).fract());
    let length = shared.args.stream_piece_bytes.clamp(HEAD_BYTES, PIECE_BYTES_MAX);
    let send = send(writer, Place::new(stream, Direction::Up), length, phase, shared.stopped());
    let last_us = Cell::new(machine_us());
    let receive = receive(reader, Place::new(stream, Direction::Down), None, |head, arrived_us| {
        last_us.set(arrived_us);
        let streams = &mut shared.record.borrow_mut().streams;
        streams.arrivals.add(stream, head.sent_us, arrived_us, head.length);
        if let Some(heard) = streams.heard.get_mut(number) {
            *heard = true;
        }
    });
    // After the stop the rest must come within the patience.
    let ended = async {
        shared.stopped().await;
        sleep(PATIENCE).await;
    };
    let outcome = tokio::select! {
        both = async { tokio::try_join!(send, receive) } => both.map(drop),
        () = ended => Err(Error::new(ErrorKind::TimedOut, "the rest did not come")),
    };
    // Whoever looks for the reason wants to know which connection it was, and since when.
    outcome.map_err(|problem| {
        Error::new(problem.kind(), format!("{own}: {problem}; the last piece came at {} us", last_us.get()))
    })
}

/// Sends pieces until told to stop, the first after the time `phase`; the last one says that it is the last.
async fn send(
    mut writer: OwnedWriteHalf,
    mut place: Place,
    length: usize,
    phase: Duration,
    stopped: impl Future<Output = ()>,
) -> Result<()> {
    let mut piece = vec![0; length];
    let mut tick = interval_at(Instant::now() + phase, INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stopped);
    loop {
        let last = tokio::select! {
            () = &mut stopped => true,
            _ = tick.tick() => false,
        };
        place.write(machine_us(), last, &mut piece);
        writer.write_all(&piece).await?;
        if last {
            return writer.shutdown().await;
        }
    }
}

/// Reads pieces, from `first` on if its head has been read already, up to the last one and the end of the connection.
async fn receive(
    mut reader: OwnedReadHalf,
    mut place: Place,
    mut first: Option<[u8; HEAD_BYTES]>,
    mut arrived: impl FnMut(Head, u64),
) -> Result<()> {
    let wrong = |problem: String| Error::new(ErrorKind::InvalidData, problem);
    let mut rest = vec![0; PIECE_BYTES_MAX];
    loop {
        let bytes = match first.take() {
            Some(bytes) => bytes,
            None => read_head(&mut reader).await?,
        };
        let head = place.read_head(&bytes).map_err(wrong)?;
        let rest = &mut rest[..head.length - HEAD_BYTES];
        reader.read_exact(rest).await?;
        arrived(head, machine_us());
        place.read_rest(rest).map_err(wrong)?;
        if head.last {
            return match reader.read(&mut [0]).await? {
                0 => Ok(()),
                _ => Err(wrong("something came after the last piece".into())),
            };
        }
    }
}

async fn read_head(reader: &mut OwnedReadHalf) -> Result<[u8; HEAD_BYTES]> {
    let mut bytes = [0; HEAD_BYTES];
    reader.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// What the server has seen of all streams.
#[derive(Default)]
pub(crate) struct Served {
    /// Of the pieces from clients.
    pub(crate) arrivals: Arrivals,
    /// Streams that did not end as they should.
    pub(crate) failures: Vec<String>,
}

/// The server's side of one stream: its own pieces lie halfway between the client's, and end with its last one.
pub(crate) async fn serve(connection: TcpStream, served: Rc<RefCell<Served>>) {
    let mut stream = None;
    if let Err(problem) = answer(connection, &served, &mut stream).await {
        // Who connects and says nothing was no stream: a relay looks whether we are there.
        if let Some(stream) = stream {
            served.borrow_mut().failures.push(format!("stream {stream}: {problem}"));
        }
    }
}

async fn answer(connection: TcpStream, served: &RefCell<Served>, stream: &mut Option<u32>) -> Result<()> {
    connection.set_nodelay(true)?;
    let (mut reader, writer) = connection.into_split();
    let first = read_head(&mut reader).await?;
    let head = piece::parse(&first).ok_or_else(|| Error::new(ErrorKind::InvalidData, "this is no stream"))?;
    *stream = Some(head.stream);
    let (stop, mut stopping) = watch::channel(false);
    let stopped = async move {
        let _ = stopping.wait_for(|&stop| stop).await;
    };
    let send = send(writer, Place::new(head.stream, Direction::Down), head.length, INTERVAL / 2, stopped);
    let receive = async {
        let place = Place::new(head.stream, Direction::Up);
        let received = receive(reader, place, Some(first), |piece, arrived_us| {
            served.borrow_mut().arrivals.add(piece.stream, piece.sent_us, arrived_us, piece.length);
        });
        received.await?;
        let _ = stop.send(true);
        Ok(())
    };
    tokio::try_join!(send, receive).map(drop)
}
