//! A web server for other people's clients: `GET /source/NAME` is a stream that lasts until the stop file exists, `PUT /sink/NAME`
//! takes one and answers with what it was. Their tallies are `NAME.in` and `NAME.out`; see `tally`.

use std::io::{Error, ErrorKind, Result};
use std::net::Ipv6Addr;
use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use clap::Args;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::server;
use crate::tally::{Sink, Source, TICK};

/// How it serves.
#[derive(Args, Clone)]
pub(crate) struct WebArgs {
    /// On all addresses.
    #[arg(long)]
    port: u16,
    /// Where the tallies are written.
    #[arg(long)]
    dir: PathBuf,
    /// Sources end when this file exists.
    #[arg(long)]
    until: PathBuf,
}

#[derive(Deserialize)]
struct Wanted {
    seed: u64,
    #[serde(default)]
    bytes_per_s: u64,
}

type Answer<T> = std::result::Result<T, (StatusCode, String)>;

/// Serves for ever.
pub(crate) async fn serve(args: WebArgs) -> Result<()> {
    let listener = TcpListener::from_std(server::bind(args.port, socket2::Type::STREAM)?.into())?;
    println!("listening on [{}]:{}", Ipv6Addr::UNSPECIFIED, args.port);
    let routes = Router::new().route("/source/{name}", get(give)).route("/sink/{name}", put(take)).with_state(args);
    axum::serve(listener, routes).await
}

/// The tally of one end of a stream whose name is no path.
fn tally(args: &WebArgs, name: &str, end: &str) -> Answer<PathBuf> {
    match name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        true => Ok(args.dir.join(format!("{name}.{end}"))),
        false => Err((StatusCode::BAD_REQUEST, "a name has letters, digits and hyphens\n".into())),
    }
}

fn failed(problem: Error) -> (StatusCode, String) {
    let code = match problem.kind() {
        ErrorKind::InvalidData => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (code, format!("{problem}\n"))
}

async fn give(State(args): State<WebArgs>, Path(name): Path<String>, Query(wanted): Query<Wanted>) -> Answer<Body> {
    let tally = tally(&args, &name, "in")?;
    let source = Source::open(wanted.seed, wanted.bytes_per_s, args.until.clone(), &tally).map_err(failed)?;
    let begin = (source, tokio::time::interval(TICK));
    let pieces = stream::unfold(Some(begin), |state| async {
        let (mut source, mut tick) = state?;
        tick.tick().await;
        match source.next() {
            Ok(Some(piece)) => Some((Ok(piece), Some((source, tick)))),
            Ok(None) => source.finish().err().map(|problem| (Err(problem), None)),
            Err(problem) => Some((Err(problem), None)),
        }
    });
    Ok(Body::from_stream(pieces))
}

async fn take(
    State(args): State<WebArgs>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
    body: Body,
) -> Answer<String> {
    let mut sink = Sink::open(wanted.seed, &tally(&args, &name, "out")?).map_err(failed)?;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|problem| failed(Error::other(problem)))?;
        sink.take(&piece).map_err(failed)?;
    }
    sink.finish().map_err(failed)
}
