//! HTTP on the management thread: `/metrics`, `/health`, `/status`, and on the unix socket alone `/unit`, `/sessions`, `/capture`, and orders.
//!
//! The unix socket belongs to its owner (mode 0600); whoever can open it may do what an operator may. The TCP side only
//! answers questions, and not the one for a flow's unit: who could ask that freely could find the flows that all meet in
//! one member, which is what the steered filter's key is there to prevent.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use phalanx_dataplane::filter::Flow;
use phalanx_dataplane::ipsec::gateway::Wish;
use tokio::net::UnixListener;

use super::capture;
use super::desk::Desk;
use super::member::Command;
use super::metrics;
use crate::status::{DrainAnswer, SessionStatus, SessionsAnswer, UnitQuestion};

/// How long the session thread may take to look at all IKE SAs.
const SESSIONS_MAX: Duration = Duration::from_secs(10);

/// What anyone may ask.
pub(super) fn questions(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/health", get(health))
        .route("/metrics", get(metrics_text))
        .with_state(desk)
}

/// What an operator on this machine may ask and order.
pub(super) fn orders(desk: Arc<Desk>) -> Router {
    let more = Router::new()
        .route("/unit", get(unit))
        .route("/drain", post(drain))
        .route("/capture", get(capture::capture))
        .route("/sessions", get(sessions))
        .route("/sessions/terminate", post(terminate))
        .route("/sessions/rekey", post(rekey));
    questions(Arc::clone(&desk)).merge(more.with_state(desk))
}

/// Opens the unix socket, for its owner only. What an earlier process left behind is replaced; a live one is not.
pub(super) fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another member answers on this socket"));
    }
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    // Made under another name and closed to others before anyone can know it by its own.
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = Path::new(&name);
    let listener = UnixListener::bind(temporary)?;
    let placed =
        fs::set_permissions(temporary, fs::Permissions::from_mode(0o600)).and_then(|()| fs::rename(temporary, path));
    if placed.is_err() {
        let _ = fs::remove_file(temporary);
    }
    placed.map(|()| listener)
}

async fn status(State(desk): State<Arc<Desk>>) -> Response {
    match desk.look(|sources| Json(sources.status()).into_response()) {
        Some(answer) => answer,
        None => starting(),
    }
}

async fn health(State(desk): State<Arc<Desk>>) -> Response {
    match desk.look(|sources| sources.ailment()) {
        Some(None) => (StatusCode::OK, "ok\n").into_response(),
        Some(Some(why)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
        None => starting(),
    }
}

async fn metrics_text(State(desk): State<Arc<Desk>>) -> Response {
    match desk.look(metrics::render) {
        Some(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        None => starting(),
    }
}

async fn unit(State(desk): State<Arc<Desk>>, Query(question): Query<UnitQuestion>) -> Response {
    let flow = match Flow::parse(&question.proto, &question.src, &question.dst) {
        Ok(flow) => flow,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    match desk.look(|sources| Json(sources.unit(&desk.on_it.filter, &flow, question.forwarding)).into_response()) {
        Some(answer) => answer,
        None => starting(),
    }
}

async fn sessions(State(desk): State<Arc<Desk>>) -> Response {
    match sessions_of(&desk).await {
        Ok(sessions) => Json(SessionsAnswer { sessions }).into_response(),
        Err(refusal) => refusal,
    }
}

/// Who is meant, in the cluster's words.
#[derive(serde::Deserialize)]
struct Named {
    spi: String,
}

async fn terminate(State(desk): State<Arc<Desk>>, Query(named): Query<Named>) -> Response {
    wish(&desk, &named, Wish::Close).await
}

async fn rekey(State(desk): State<Arc<Desk>>, Query(named): Query<Named>) -> Response {
    wish(&desk, &named, Wish::Rekey).await
}

async fn wish(desk: &Desk, named: &Named, wish: Wish) -> Response {
    let Ok(spi) = u64::from_str_radix(&named.spi, 16) else {
        return (StatusCode::BAD_REQUEST, "an SPI has up to 16 hexadecimal digits\n").into_response();
    };
    let known = match sessions_of(desk).await {
        Ok(sessions) => sessions.iter().any(|session| session.spi == format!("{spi:016x}")),
        Err(refusal) => return refusal,
    };
    match &desk.on_it.clerk {
        Some(_) if !known => (StatusCode::NOT_FOUND, "it is not served here\n").into_response(),
        Some(clerk) if clerk.wish(spi, wish) => (StatusCode::ACCEPTED, "it is on its way\n").into_response(),
        _ => starting(),
    }
}

/// All IKE SAs that are served here. Where nobody speaks IKE there are none.
async fn sessions_of(desk: &Desk) -> Result<Vec<SessionStatus>, Response> {
    let Some(clerk) = &desk.on_it.clerk else { return Ok(Vec::new()) };
    match tokio::time::timeout(SESSIONS_MAX, clerk.sessions()).await {
        Ok(Some(sessions)) => Ok(sessions),
        _ => Err((StatusCode::SERVICE_UNAVAILABLE, "the session thread does not answer\n").into_response()),
    }
}

async fn drain(State(desk): State<Arc<Desk>>) -> Response {
    let units = desk.look(|sources| sources.posted.core.table.units_of(sources.posted.core.id).count());
    let units = u16::try_from(units.unwrap_or(0)).unwrap_or(u16::MAX);
    let accepted = desk.command(Command::Drain { hurry: false });
    let (code, what) = if accepted {
        (StatusCode::OK, format!("{units} units to give away"))
    } else {
        (StatusCode::CONFLICT, "the cluster thread does not take orders; it is stopping or stuck".to_owned())
    };
    (code, Json(DrainAnswer { accepted, what, units })).into_response()
}

fn starting() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_for_a_unit_survives_the_way() {
        let asked = UnitQuestion {
            proto: "tcp".into(),
            src: "[2001:db8::7]:4711".into(),
            dst: "a+b&c= %".into(),
            forwarding: true,
        };
        let Query(read) = Query::<UnitQuestion>::try_from_uri(&asked.path().parse().unwrap()).unwrap();
        assert_eq!(read, asked);
        let Query(none) = Query::<UnitQuestion>::try_from_uri(&"/unit".parse().unwrap()).unwrap();
        assert!(Flow::parse(&none.proto, &none.src, &none.dst).is_err());
    }
}
