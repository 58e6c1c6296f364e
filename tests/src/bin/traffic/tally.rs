//! Both ends of a long stream that some other program carries: what went in and what came out, byte for byte, with a SHA-256.
//!
//! A source makes bytes until a file exists that tells it to stop; a sink checks them. Each keeps a tally in a file: the number
//! of bytes so far and, when all is over, their checksum. `curl`, `nc` and `ssh` stand between the two.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ring::digest::{Context, SHA256};

use crate::pattern::Pattern;

/// From one piece to the next.
pub(crate) const TICK: Duration = Duration::from_millis(50);
const BLOCK_BYTES: usize = 16 * 1024;

/// Where a stream begins.
#[derive(Args, Clone)]
pub(crate) struct SourceArgs {
    /// Which bytes.
    #[arg(long)]
    seed: u64,
    /// How fast.
    #[arg(long)]
    bytes_per_s: u64,
    /// Ends when this file exists.
    #[arg(long)]
    until: PathBuf,
    /// Where the number of bytes, and in the end the checksum, is written.
    #[arg(long)]
    tally: PathBuf,
}

/// Where it ends.
#[derive(Args, Clone)]
pub(crate) struct SinkArgs {
    /// Which bytes must come.
    #[arg(long)]
    seed: u64,
    /// Where the number of bytes, and in the end the checksum, is written.
    #[arg(long)]
    tally: PathBuf,
}

/// A count of bytes that others can look at in a file.
struct Tally {
    file: File,
    digest: Context,
    bytes: u64,
}

impl Tally {
    fn new(path: &PathBuf) -> Result<Self> {
        let mut tally = Self { file: File::create(path)?, digest: Context::new(&SHA256), bytes: 0 };
        tally.add(&[])?;
        Ok(tally)
    }

    /// As many digits each time: a reader never sees half of a number.
    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all_at(format!("{:020}", self.bytes).as_bytes(), 0)
    }

    /// All is over; the line that the file then has.
    fn finish(self) -> Result<String> {
        let digest: String = self.digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let line = format!("{:020} {digest}\n", self.bytes);
        self.file.write_all_at(line.as_bytes(), 0)?;
        Ok(line)
    }
}

/// Makes a stream.
pub(crate) struct Source {
    pattern: Pattern,
    tally: Tally,
    bytes_per_s: u64,
    until: PathBuf,
    ticks: u64,
}

impl Source {
    /// At its beginning.
    pub(crate) fn new(args: &SourceArgs) -> Result<Self> {
        Self::open(args.seed, args.bytes_per_s, args.until.clone(), &args.tally)
    }

    /// The same, from its parts.
    pub(crate) fn open(seed: u64, bytes_per_s: u64, until: PathBuf, tally: &PathBuf) -> Result<Self> {
        Ok(Self { pattern: Pattern::new(seed), tally: Tally::new(tally)?, bytes_per_s, until, ticks: 0 })
    }

    /// What is due at the next tick; `None`: it is over. What was not asked for in time is made up for.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.until.exists() {
            return Ok(None);
        }
        self.ticks += 1;
        let due = (self.ticks * self.bytes_per_s / 20).saturating_sub(self.pattern.position());
        let mut piece = vec![0; usize::try_from(due).unwrap_or(BLOCK_BYTES)];
        self.pattern.fill(&mut piece);
        self.tally.add(&piece)?;
        Ok(Some(piece))
    }

    /// It has ended.
    pub(crate) fn finish(self) -> Result<()> {
        self.tally.finish().map(drop)
    }
}

/// Checks a stream.
pub(crate) struct Sink {
    pattern: Pattern,
    tally: Tally,
}

impl Sink {
    /// At its beginning.
    pub(crate) fn open(seed: u64, tally: &PathBuf) -> Result<Self> {
        Ok(Self { pattern: Pattern::new(seed), tally: Tally::new(tally)? })
    }

    /// The next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let wrong = |place| Error::new(ErrorKind::InvalidData, format!("byte {place} is wrong"));
        self.pattern.check(bytes).map_err(wrong)?;
        self.tally.add(bytes)
    }

    /// It has ended; number of bytes and checksum.
    pub(crate) fn finish(self) -> Result<String> {
        self.tally.finish()
    }
}

/// Writes a stream to standard output.
pub(crate) async fn source(args: &SourceArgs) -> Result<()> {
    let mut source = Source::new(args)?;
    let mut out = std::io::stdout().lock();
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        let Some(piece) = source.next()? else { break };
        out.write_all(&piece)?;
        out.flush()?;
    }
    source.finish()
}

/// Reads one from standard input.
pub(crate) fn sink(args: &SinkArgs) -> Result<()> {
    let mut sink = Sink::open(args.seed, &args.tally)?;
    let mut input = std::io::stdin().lock();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match input.read(&mut block)? {
            0 => return sink.finish().map(drop),
            length => sink.take(&block[..length])?,
        }
    }
}
