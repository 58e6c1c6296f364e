//! `phalanx capture`: what passes through a member's tunnels, in clear, into a file.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::client::{self, ClientError};
use super::target::{Target, TargetError};
use super::{FAILED, failed};
use crate::pcapng::{self, Block};

const EXAMPLES: &str = "\
WHICH
  The packets inside the tunnels that the member serves which is asked, both ways, as they were let in or are to be sealed. Each
  says in its comment whose it is. A tunnel is named by the cluster's inbound SPI of it, as `phalanx sessions show` says.
  What passes faster than it can be written is left out, and counted. One operator looks at a time; the member logs it.

EXAMPLES
  phalanx capture --decrypt -w inside.pcapng
  phalanx capture --decrypt --spi c1a2b04d --count 100 -w inside.pcapng
  phalanx capture --decrypt -w - | tcpdump -nr -

EXIT STATUS
  0  as many as were asked for, or nobody wants any more
  1  the member does not answer, or no more";

/// How much is read at once.
const PIECE: usize = 64 << 10;

/// Write what passes through tunnels, decrypted, as pcapng.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct CaptureCommand {
    /// The packets inside the tunnels. There is nothing else to be captured so far: what is outside any tool can see.
    #[arg(long, required = true)]
    decrypt: bool,
    /// Only this tunnel's.
    #[arg(long, value_name = "SPI", value_parser = hexadecimal)]
    spi: Option<u32>,
    /// End after so many packets.
    #[arg(long, short, value_name = "N")]
    count: Option<u64>,
    /// Where to; `-` is the standard output. Only its owner may read the file.
    #[arg(long, short, value_name = "FILE")]
    write: PathBuf,
    #[command(flatten)]
    target: Target,
}

fn hexadecimal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 16).map_err(|_| "an SPI has up to 8 hexadecimal digits".into())
}

pub(super) fn run(command: &CaptureCommand) -> ExitCode {
    match command.target.path().map_err(CaptureError::from).and_then(|socket| capture(command, &socket)) {
        Ok(tally) => {
            eprintln!("{} packets, {} left out", tally.packets, tally.lost);
            ExitCode::SUCCESS
        }
        Err(error) => failed(FAILED, error),
    }
}

/// Why there is no more.
#[derive(Debug, thiserror::Error)]
enum CaptureError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("{0}")]
    Member(#[from] ClientError),
    #[error("another `phalanx capture` looks into this member's tunnels; only one can")]
    Busy,
    #[error("this member has no tunnels: no [ipsec] connections and no [[ipsec.sa]]")]
    NoTunnels,
    #[error("the member has gone after {0} packets")]
    Gone(u64),
    #[error("what the member sends cannot be read ({0}); is it of another version?")]
    Strange(&'static str),
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
}

/// What was written.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Tally {
    packets: u64,
    lost: u64,
}

fn capture(command: &CaptureCommand, socket: &Path) -> Result<Tally, CaptureError> {
    let question = command.spi.map_or("/capture".to_owned(), |spi| format!("/capture?spi={spi:x}"));
    let (code, body) = client::stream(socket, &question)?;
    match code {
        200 => {}
        404 => return Err(CaptureError::NoTunnels),
        409 => return Err(CaptureError::Busy),
        code => return Err(TargetError::Refused(code, "GET /capture").into()),
    }
    let mut out = open(&command.write).map_err(CaptureError::Write)?;
    eprintln!("writing; Ctrl-C ends it");
    copy(body, &mut *out, command.count)
}

fn open(path: &Path) -> io::Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(Box::new(file))
}

/// Writes whole blocks only: the file is sound whenever it ends.
fn copy(mut from: impl Read, to: &mut dyn Write, count: Option<u64>) -> Result<Tally, CaptureError> {
    let mut tally = Tally::default();
    let (mut held, mut piece) = (Vec::new(), vec![0; PIECE]);
    loop {
        let read = from.read(&mut piece).unwrap_or(0);
        if read == 0 {
            return Err(CaptureError::Gone(tally.packets));
        }
        held.extend_from_slice(&piece[..read]);
        let mut whole = 0;
        while let Some((block, len)) = pcapng::first(&held[whole..]).map_err(CaptureError::Strange)? {
            whole += len;
            match block {
                Block::Packet => tally.packets += 1,
                Block::Lost(lost) => tally.lost = lost,
                Block::Other => {}
            }
            if count.is_some_and(|count| tally.packets >= count) {
                break;
            }
        }
        let written = to.write_all(&held[..whole]).and_then(|()| to.flush());
        match written {
            // Whoever reads has enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(tally),
            other => other.map_err(CaptureError::Write)?,
        }
        held.drain(..whole);
        if count.is_some_and(|count| tally.packets >= count) {
            return Ok(tally);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(packets: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        pcapng::begin(&mut bytes, "tunnels");
        for number in 0..packets {
            pcapng::packet(&mut bytes, 7, pcapng::Direction::Inbound, "", &[number; 50]);
        }
        pcapng::statistics(&mut bytes, 8, 3);
        bytes
    }

    #[test]
    fn it_ends_with_the_last_packet_that_is_wanted() {
        let (all, mut written) = (sent(5), Vec::new());
        let tally = copy(&all[..], &mut written, Some(5)).unwrap();
        assert_eq!((tally.packets, &written[..]), (5, &all[..written.len()]));
        assert!(matches!(copy(&b"<html></html>"[..], &mut written, None), Err(CaptureError::Strange(_))));
    }

    #[test]
    fn what_was_written_is_whole_wherever_the_member_goes() {
        let all = sent(3);
        for end in 0..all.len() {
            let mut written = Vec::new();
            let ended = copy(&all[..end], &mut written, None);
            let mut rest = &written[..];
            let mut packets = 0;
            while let Some((block, len)) = pcapng::first(rest).unwrap() {
                packets += u64::from(block == Block::Packet);
                rest = &rest[len..];
            }
            assert!(rest.is_empty());
            assert!(matches!(ended, Err(CaptureError::Gone(count)) if count == packets));
        }
    }
}
