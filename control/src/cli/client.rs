//! A small HTTP client for the control socket of a member on this machine.
//!
//! One request a connection, HTTP/1.1 with `Connection: close`, answers of bounded size and time. The parser is a pure,
//! total function of the bytes received: a broken or hostile server gets an error, never a panic or endless memory.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The largest answer that is read: a status with every unit in a range of its own has about 100 KiB.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// The longest head of an answer without end.
const HEAD_BYTES_MAX: usize = 4096;
/// How long the member may take for each part of an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No one listens.
    #[error("no member answers at {socket}: {source}; is `phalanx run` up, and is this its [management] socket?")]
    Unreachable {
        /// Where it was looked for.
        socket: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The connection broke off.
    #[error("the member's answer broke off: {0}; look at its log")]
    Broken(#[from] std::io::Error),
    /// Not HTTP.
    #[error("what answers on the socket does not speak HTTP ({0}); is this the member's [management] socket?")]
    Malformed(&'static str),
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Asks a member: `method` is `GET` or `POST` (without a body).
pub(super) fn ask(socket: &Path, method: &str, path: &str) -> Result<Answer, ClientError> {
    let unreachable = |source| ClientError::Unreachable { socket: socket.display().to_string(), source };
    let mut stream = UnixStream::connect(socket).map_err(unreachable)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: phalanx\r\nConnection: close\r\nAccept: application/json\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    parse(&bytes)
}

/// Asks a member for what goes on and on: the status code, and the body as it comes.
pub(super) fn stream(socket: &Path, path: &str) -> Result<(u16, impl Read + use<>), ClientError> {
    let unreachable = |source| ClientError::Unreachable { socket: socket.display().to_string(), source };
    let mut stream = UnixStream::connect(socket).map_err(unreachable)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // To HTTP/1.0 nobody answers in chunks.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: phalanx\r\n\r\n").as_bytes())?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES_MAX {
            return Err(ClientError::Malformed("no end of head"));
        }
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let line = head.split(|byte| *byte == b'\r').next().and_then(|line| std::str::from_utf8(line).ok());
    Ok((status_code(line.unwrap_or_default())?, stream))
}

/// Reads one whole answer (RFC 9112): with a length, in chunks, or up to the end.
pub fn parse(bytes: &[u8]) -> Result<Answer, ClientError> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or(ClientError::Malformed("no end of head"))?;
    let (head, rest) = bytes.split_at(end);
    let body = rest.get(4..).unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| ClientError::Malformed("head is not text"))?;
    let mut lines = head.split("\r\n");
    let code = status_code(lines.next().unwrap_or_default())?;
    let mut length = None;
    let mut chunked = false;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(ClientError::Malformed("header without colon"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse::<usize>().map_err(|_| ClientError::Malformed("bad Content-Length"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case("chunked");
        }
    }
    let body = match length {
        _ if chunked => unchunk(body)?,
        Some(length) => body.get(..length).ok_or(ClientError::Malformed("body is cut short"))?.to_vec(),
        None => body.to_vec(),
    };
    Ok(Answer { code, body })
}

fn status_code(line: &str) -> Result<u16, ClientError> {
    let mut words = line.split(' ');
    match (words.next(), words.next().map(str::parse)) {
        (Some(version), Some(Ok(code))) if version.starts_with("HTTP/1.") => Ok(code),
        _ => Err(ClientError::Malformed("no status line")),
    }
}

/// Joins chunks (RFC 9112 section 7.1); trailers are ignored.
fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>, ClientError> {
    const BAD: ClientError = ClientError::Malformed("bad chunk");
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").ok_or(BAD)?;
        let line = rest.get(..end).and_then(|line| std::str::from_utf8(line).ok()).ok_or(BAD)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).map_err(|_| BAD)?;
        rest = rest.get(end + 2..).ok_or(BAD)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(rest.get(..size).ok_or(BAD)?);
        rest = rest.get(size..).and_then(|rest| rest.strip_prefix(b"\r\n")).ok_or(BAD)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bodies_come_in_three_ways() {
        let expected = Answer { code: 200, body: b"hello world".to_vec() };
        for text in [
            "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world",
            "HTTP/1.1 200 OK\r\n\r\nhello world",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5;x=y\r\nworld\r\n0\r\n\r\n",
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn broken_answers_are_refused() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nhello world",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), chunked in any::<bool>()) {
            let head: &[u8] = if chunked { b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" } else { b"" };
            let _ = parse(&[head, &bytes].concat());
        }
    }
}
