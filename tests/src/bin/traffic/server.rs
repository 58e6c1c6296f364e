//! The inside server: short connections, downloads, streams, transfers, UDP echo, on all addresses of both families.

use std::cell::RefCell;
use std::io::Result;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::pattern::Pattern;
use crate::streams::{self, Served};
use crate::{DOWNLOAD_PORT, ECHO_PORT, SHORT_PORT, STREAM_PORT, TRANSFER_PORT, download, stdin_lines, transfer};

/// A client that asks for more gets this much.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// Nobody holds a connection for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves until told to report; without a report, for ever.
pub(crate) async fn serve(report: Option<PathBuf>) -> Result<()> {
    let short = TcpListener::from_std(bind(SHORT_PORT, Type::STREAM)?.into())?;
    let long = TcpListener::from_std(bind(DOWNLOAD_PORT, Type::STREAM)?.into())?;
    let long_lived = TcpListener::from_std(bind(STREAM_PORT, Type::STREAM)?.into())?;
    let transfers = TcpListener::from_std(bind(TRANSFER_PORT, Type::STREAM)?.into())?;
    let echo = UdpSocket::from_std(bind(ECHO_PORT, Type::DGRAM)?.into())?;
    let served = Rc::new(RefCell::new(Served::default()));
    let mut lines = stdin_lines();
    println!("listening");
    let mut buffer = [0; 2048];
    loop {
        tokio::select! {
            accepted = short.accept() => if let Ok((stream, _)) = accepted {
                tokio::task::spawn_local(tokio::time::timeout(PATIENCE, answer(stream)));
            },
            accepted = long.accept() => if let Ok((stream, _)) = accepted {
                tokio::task::spawn_local(download::serve(stream));
            },
            accepted = long_lived.accept() => if let Ok((stream, _)) = accepted {
                tokio::task::spawn_local(streams::serve(stream, served.clone()));
            },
            Some(line) = lines.recv() => if let Some(report) = report.as_ref().filter(|_| line.trim() == "stop") {
                let served = served.borrow();
                let value = json!({"arrivals": served.arrivals.to_json(), "failures": served.failures});
                return std::fs::write(report, format!("{value}\n"));
            },
            accepted = transfers.accept() => if let Ok((stream, _)) = accepted {
                tokio::task::spawn_local(transfer::serve(stream));
            },
            received = echo.recv_from(&mut buffer) => if let Ok((length, from)) = received {
                // A full send queue loses the echo, as a network would.
                let _ = echo.try_send_to(&buffer[..length], from);
            },
        }
    }
}

/// A socket for both families.
pub(crate) fn bind(port: u16, kind: Type) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV6, kind, None)?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    if kind == Type::STREAM {
        socket.listen(1024)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// One short connection: a request, its response, the end.
async fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut request = [0; 16];
    stream.read_exact(&mut request).await?;
    let (number, rest) = request.split_at(8);
    let number = number.try_into().map_or(0, u64::from_be_bytes);
    let length = rest[..4].try_into().map_or(0, u32::from_be_bytes) as usize;
    let mut response = vec![0; length.min(RESPONSE_BYTES_MAX)];
    Pattern::new(number).fill(&mut response);
    stream.write_all(&response).await?;
    stream.shutdown().await
}
