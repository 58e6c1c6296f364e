//! Short TCP connections: connect, 16-byte request, patterned response, the server closes. Anything else is a failure:
//! a reset, a wrong byte, a missing end, or more time in all than there is patience for.

use std::io::{self, Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};

use crate::pattern::Pattern;
use crate::{SHORT_PORT, Shared};

const RESPONSE_BYTES: u32 = 512;

/// Opens connections at the rate asked for until told to stop, and waits for all of them.
pub(crate) async fn run(shared: Shared) {
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / shared.args.connections_per_s));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut connections = JoinSet::new();
    let mut number = 0u64;
    loop {
        tokio::select! {
            () = shared.stopped() => break,
            _ = tick.tick() => {
                connections.spawn_local(one(shared.clone(), number));
                number += 1;
            }
            Some(_) = connections.join_next() => {}
        }
    }
    while connections.join_next().await.is_some() {}
}

/// One connection, timed and recorded.
async fn one(shared: Shared, number: u64) {
    let start_us = shared.clock.now_us();
    shared.record.borrow_mut().short.attempted += 1;
    let sources = &shared.args.sources;
    let source = usize::try_from(number).ok().and_then(|n| sources.get(n % sources.len().max(1))).copied();
    let outcome = attempt(source, shared.server(SHORT_PORT), number, shared.args.patience_s).await;
    let now_us = shared.clock.now_us();
    let short = &mut shared.record.borrow_mut().short;
    match outcome {
        Ok(()) => {
            short.succeeded_us.push(now_us);
            short.took_us.push(now_us - start_us);
        }
        Err(why) => {
            let from = source.map_or_else(String::new, |address| format!("from {address}: "));
            short.failures.push((start_us, format!("{from}{why}")));
        }
    }
}

/// One connection: whether it did all that it should, in time.
pub(crate) async fn attempt(
    source: Option<IpAddr>,
    server: SocketAddr,
    number: u64,
    patience_s: u64,
) -> Result<(), String> {
    match timeout(Duration::from_secs(patience_s), exchange(source, server, number)).await {
        Ok(outcome) => outcome.map_err(|problem| problem.to_string()),
        Err(_) => Err(format!("not done within {patience_s} s")),
    }
}

/// A connection from a given own address.
pub(crate) async fn connect(source: Option<IpAddr>, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn exchange(source: Option<IpAddr>, server: SocketAddr, number: u64) -> io::Result<()> {
    let mut stream = connect(source, server).await?;
    let mut request = [0; 16];
    request[..8].copy_from_slice(&number.to_be_bytes());
    request[8..12].copy_from_slice(&RESPONSE_BYTES.to_be_bytes());
    stream.write_all(&request).await?;
    let mut response = Vec::with_capacity(RESPONSE_BYTES as usize);
    stream.read_to_end(&mut response).await?;
    if response.len() != RESPONSE_BYTES as usize {
        let text = format!("{} bytes instead of {RESPONSE_BYTES}", response.len());
        return Err(Error::new(ErrorKind::UnexpectedEof, text));
    }
    let check = Pattern::new(number).check(&response);
    check.map_err(|place| Error::new(ErrorKind::InvalidData, format!("byte {place} is wrong")))
}
