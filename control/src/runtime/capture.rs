//! `GET /capture`: what passes through the tunnels that this member serves, in clear, as pcapng that goes on until whoever asked goes.
//!
//! One looks at a time. What passes faster than it is read is counted, and said in the capture.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use phalanx_dataplane::app::Way;
use phalanx_dataplane::ipsec::gateway::{TapReader, Tapped};
use phalanx_dataplane::worker::Clock;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::desk::Desk;
use crate::pcapng::{self, Direction};

/// How often the rings are looked into when nothing passes.
const PAUSE: Duration = Duration::from_millis(10);
/// How often something is said though nothing passes: so it is noticed when nobody listens any more.
const HEARTBEAT_NS: u64 = 1_000_000_000;
/// How much is said at once.
const PIECE: usize = 64 << 10;

/// Where everyone who wants to look stands in line.
pub(super) type Window = Arc<Mutex<TapReader>>;

/// What to look at.
#[derive(serde::Deserialize)]
pub(super) struct Wanted {
    /// A tunnel's inbound SPI, in hexadecimal digits; all tunnels without.
    spi: Option<String>,
}

/// Answers with the capture.
pub(super) async fn capture(State(desk): State<Arc<Desk>>, Query(wanted): Query<Wanted>) -> Response {
    let spi = match wanted.spi.map(|spi| u32::from_str_radix(&spi, 16)).transpose() {
        Ok(spi) => spi,
        Err(_) => {
            return (StatusCode::BAD_REQUEST, "a tunnel's SPI has up to 8 hexadecimal digits\n").into_response();
        }
    };
    let Some(window) = &desk.on_it.window else {
        return (StatusCode::NOT_FOUND, "there are no tunnels here\n").into_response();
    };
    let Ok(mut reader) = Arc::clone(window).try_lock_owned() else {
        return (StatusCode::CONFLICT, "somebody looks already\n").into_response();
    };
    reader.begin(spi);
    tracing::info!("an operator looks into {}", spi.map_or("all tunnels".into(), |spi| format!("tunnel {spi:08x}")));
    let mut opening = Vec::new();
    pcapng::begin(&mut opening, "tunnels");
    let look = Look { reader, clock: desk.on_it.clock, said_ns: desk.on_it.clock.now_ns(), opening: Some(opening) };
    let pieces = stream::unfold(look, |mut look| async {
        let piece = look.piece().await;
        Some((Ok::<_, Infallible>(piece), look))
    });
    ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(pieces)).into_response()
}

/// Somebody looks.
struct Look {
    reader: OwnedMutexGuard<TapReader>,
    clock: Clock,
    said_ns: u64,
    opening: Option<Vec<u8>>,
}

impl Drop for Look {
    fn drop(&mut self) {
        self.reader.end();
        tracing::info!("the operator looks into tunnels no more");
    }
}

impl Look {
    /// The next whole blocks, as soon as there are any.
    async fn piece(&mut self) -> Vec<u8> {
        if let Some(opening) = self.opening.take() {
            return opening;
        }
        let mut piece = Vec::new();
        loop {
            let offset_ns = wall_ns().saturating_sub(self.clock.now_ns());
            while piece.len() < PIECE
                && let Some(tapped) = self.reader.take()
            {
                put(&mut piece, offset_ns, &tapped);
            }
            let now_ns = self.clock.now_ns();
            if now_ns.saturating_sub(self.said_ns) >= HEARTBEAT_NS {
                pcapng::statistics(&mut piece, offset_ns.saturating_add(now_ns), self.reader.lost());
                self.said_ns = now_ns;
            }
            if !piece.is_empty() {
                return piece;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn put(piece: &mut Vec<u8>, offset_ns: u64, tapped: &Tapped) {
    let (direction, word) = match tapped.way {
        Way::OutOf => (Direction::Inbound, "from"),
        Way::Into => (Direction::Outbound, "to"),
    };
    let comment = format!("{word} the peer of {:08x}", tapped.spi);
    pcapng::packet(piece, offset_ns.saturating_add(tapped.at_ns), direction, &comment, &tapped.packet);
}

/// What a person's clock says.
#[expect(clippy::disallowed_methods, reason = "the capture is for people, who have only this clock")]
fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
