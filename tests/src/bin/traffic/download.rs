//! The long download: one TCP connection for the whole run, every byte checked.
//!
//! Request: stream number (8 bytes), bytes per second (4). Response: blocks of a length (4 bytes) and so many bytes of the
//! stream; when the client has closed its half, a block of length 0 and the number of bytes sent in all.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::pattern::Pattern;
use crate::{DOWNLOAD_PORT, Shared, short};

/// The server never sends longer blocks.
pub(crate) const BLOCK_BYTES: usize = 16 * 1024;
/// The end must come within this time of asking for it.
const ENDING: Duration = Duration::from_secs(10);
const SEED: u64 = 0xD0_4E10AD;

/// Downloads until told to stop, then asks for the end.
pub(crate) async fn run(shared: Shared) {
    let outcome = download(&shared).await;
    let mut record = shared.record.borrow_mut();
    match outcome {
        Ok(()) => record.download.intact = true,
        Err(problem) => record.download.why = Some(problem.to_string()),
    }
}

async fn download(shared: &Shared) -> Result<()> {
    let connecting = short::connect(shared.args.sources.last().copied(), shared.server(DOWNLOAD_PORT));
    let mut stream = timeout(ENDING, connecting).await??;
    let mut request = [0; 12];
    request[..8].copy_from_slice(&SEED.to_be_bytes());
    request[8..].copy_from_slice(&(shared.args.download_kbytes_per_s.saturating_mul(1000)).to_be_bytes());
    stream.write_all(&request).await?;
    let (mut reader, mut writer) = stream.into_split();
    let mut receiver = Receiver { pattern: Pattern::new(SEED), buffer: vec![0; BLOCK_BYTES] };
    // The receiving future lives through the stop: dropping it in mid-block would lose its place.
    let receiving = receiver.receive_all(&mut reader, shared);
    tokio::pin!(receiving);
    tokio::select! {
        early = &mut receiving => {
            early?;
            return Err(Error::new(ErrorKind::UnexpectedEof, "the server ended the download unasked"));
        }
        () = shared.stopped() => {}
    }
    writer.shutdown().await?;
    timeout(ENDING, receiving).await?
}

/// The client's place in the stream.
struct Receiver {
    pattern: Pattern,
    buffer: Vec<u8>,
}

impl Receiver {
    /// Reads blocks to the end.
    async fn receive_all(&mut self, reader: &mut (impl AsyncReadExt + Unpin), shared: &Shared) -> Result<()> {
        loop {
            let length = reader.read_u32().await? as usize;
            if length == 0 {
                break;
            }
            let wrong = || Error::new(ErrorKind::InvalidData, format!("a block of {length} bytes"));
            let block = self.buffer.get_mut(..length).ok_or_else(wrong)?;
            reader.read_exact(block).await?;
            self.pattern.check(block).map_err(|place| {
                Error::new(ErrorKind::InvalidData, format!("byte {place} of the download is wrong"))
            })?;
            let now_us = shared.clock.now_us();
            let download = &mut shared.record.borrow_mut().download;
            download.bytes = self.pattern.position();
            download.progress_us.push(now_us);
        }
        let total = reader.read_u64().await?;
        if total != self.pattern.position() {
            let text = format!("{} of {total} bytes arrived", self.pattern.position());
            return Err(Error::new(ErrorKind::UnexpectedEof, text));
        }
        Ok(())
    }
}

/// The server's side of one download.
pub(crate) async fn serve(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let seed = reader.read_u64().await?;
    let bytes_per_s = u64::from(reader.read_u32().await?);
    let mut pattern = Pattern::new(seed);
    let mut block = vec![0; BLOCK_BYTES];
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let mut ticks = 0u64;
    let asked_to_end = reader.read_u8();
    tokio::pin!(asked_to_end);
    loop {
        tokio::select! {
            _ = &mut asked_to_end => break,
            _ = tick.tick() => ticks += 1,
        }
        // What is due by now and not sent yet: after a blackout the rest is made up for.
        while pattern.position() < ticks * bytes_per_s / 50 {
            let due = ticks * bytes_per_s / 50 - pattern.position();
            let length = usize::try_from(due).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
            let part = &mut block[..length];
            pattern.fill(part);
            writer.write_u32(length as u32).await?;
            writer.write_all(part).await?;
        }
    }
    writer.write_u32(0).await?;
    writer.write_u64(pattern.position()).await?;
    writer.shutdown().await
}
