//! Connections, one after the other, each of which carries so many bytes each way at once, every byte checked at its far end: for questions like "how
//! long does a megabyte take, and is it whole?".
//!
//! Request: bytes that the client sends (8 bytes), bytes that it wants (8). Both sides then send theirs. When the client has
//! closed its half, the server says how many bytes it got (8 bytes), if they were the right ones, and closes.

use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::pattern::Pattern;
use crate::{TRANSFER_PORT, short};

const BLOCK_BYTES: usize = 16 * 1024;
const UP_SEED: u64 = 0x0B_17E5;
const DOWN_SEED: u64 = 0xD0_17E5;

/// What to carry.
#[derive(Args, Clone)]
pub(crate) struct TransferArgs {
    /// The server's address.
    #[arg(long)]
    server: IpAddr,
    /// The server's port.
    #[arg(long, default_value_t = TRANSFER_PORT)]
    port: u16,
    /// Each must be done within this time.
    #[arg(long, default_value_t = 60.0)]
    limit_s: f64,
    /// Bytes to send and to get, one connection each.
    #[arg(required = true, value_name = "UP:DOWN", value_parser = bytes_each_way)]
    bytes: Vec<[u64; 2]>,
}

fn bytes_each_way(text: &str) -> std::result::Result<[u64; 2], String> {
    let numbers = text.split_once(':').and_then(|(up, down)| Some([up.parse().ok()?, down.parse().ok()?]));
    numbers.ok_or_else(|| "say how many bytes go up and how many down, like 1000:0".to_owned())
}

/// Runs the transfers and prints what became of each, as one line of JSON.
pub(crate) async fn run(args: TransferArgs) -> Result<()> {
    for bytes in &args.bytes {
        let clock = Clock::start();
        let server = SocketAddr::new(args.server, args.port);
        let outcome = match timeout(Duration::from_secs_f64(args.limit_s), exchange(server, *bytes)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::new(ErrorKind::TimedOut, format!("not done within {} s", args.limit_s))),
        };
        let problem = outcome.err().map(|problem| problem.to_string());
        println!("{}", json!({ "seconds": clock.now_us() as f64 / 1e6, "problem": problem }));
    }
    Ok(())
}

async fn exchange(server: SocketAddr, [up_bytes, down_bytes]: [u64; 2]) -> Result<()> {
    let mut stream = short::connect(None, server).await?;
    stream.write_u64(up_bytes).await?;
    stream.write_u64(down_bytes).await?;
    let (mut reader, mut writer) = stream.into_split();
    let up = async {
        send(&mut writer, UP_SEED, up_bytes).await?;
        writer.shutdown().await
    };
    let down = async {
        receive(&mut reader, DOWN_SEED, down_bytes).await?;
        let arrived = reader.read_u64().await?;
        if arrived != up_bytes {
            let text = format!("{arrived} of {up_bytes} bytes arrived at the server");
            return Err(Error::new(ErrorKind::InvalidData, text));
        }
        match reader.read(&mut [0]).await? {
            0 => Ok(()),
            _ => Err(Error::new(ErrorKind::InvalidData, "the server sent more than was asked for")),
        }
    };
    tokio::try_join!(up, down).map(drop)
}

/// The server's side.
pub(crate) async fn serve(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let (up, down) = (reader.read_u64().await?, reader.read_u64().await?);
    let got = async {
        receive(&mut reader, UP_SEED, up).await?;
        match reader.read(&mut [0]).await? {
            0 => Ok(up),
            _ => Err(Error::new(ErrorKind::InvalidData, "the client sent more than it said")),
        }
    };
    let (got, ()) = tokio::try_join!(got, send(&mut writer, DOWN_SEED, down))?;
    writer.write_u64(got).await?;
    writer.shutdown().await
}

async fn send(writer: &mut (impl AsyncWriteExt + Unpin), seed: u64, bytes: u64) -> Result<()> {
    let mut pattern = Pattern::new(seed);
    let mut block = vec![0; BLOCK_BYTES];
    while pattern.position() < bytes {
        let length = (bytes - pattern.position()).min(BLOCK_BYTES as u64) as usize;
        pattern.fill(&mut block[..length]);
        writer.write_all(&block[..length]).await?;
    }
    Ok(())
}

async fn receive(reader: &mut (impl AsyncReadExt + Unpin), seed: u64, bytes: u64) -> Result<()> {
    let mut pattern = Pattern::new(seed);
    let mut block = vec![0; BLOCK_BYTES];
    while pattern.position() < bytes {
        let most = (bytes - pattern.position()).min(BLOCK_BYTES as u64) as usize;
        let length = reader.read(&mut block[..most]).await?;
        if length == 0 {
            let text = format!("{} of {bytes} bytes, then the end", pattern.position());
            return Err(Error::new(ErrorKind::UnexpectedEof, text));
        }
        let wrong = |place| Error::new(ErrorKind::InvalidData, format!("byte {place} is wrong"));
        pattern.check(&block[..length]).map_err(wrong)?;
    }
    Ok(())
}
