//! `GET /history`.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use pool_postgres::QueryError;
use pool_postgres::tokio_postgres::Row;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::super::app::{App, answer};
use super::super::failure::Failure;
use super::super::payload::{Instant, Status};
use super::super::store::Filter;

const DEFAULT_LIMIT: i64 = 1000;
const MAX_LIMIT: i64 = 1_000_000;

/// Lists alerts, one JSON object per line, as they come from the database.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(parameters) = query.map_err(|error| Failure::parameter("query", error.body_text()))?;
    let filter = filter(parameters)?;
    let seat = app.seat_of_reader().await?;
    let mut rows = Box::pin(app.history(&filter).await?.fuse());
    // The first row before the status is sent: a database that fails at once is told as such.
    let first = answer(rows.try_next()).await?;
    let rows = stream::iter(first.map(Ok)).chain(rows);
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    // The reader's pace must not decide how long a connection is held, so a task moves the rows and not the body itself. It owns the rows, and they their lease:
    // when it ends, read to the end, left by its reader, or tired of waiting for it, the connection goes back.
    tokio::spawn(async move {
        let _seat = seat;
        let outcome = pump(rows, &sender).await;
        match outcome {
            Ok(()) => drop(sender.send(None).await),
            Err(why) => tracing::info!(why, "a history ended early"),
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body(receiver))).into_response())
}

/// How many chunks wait for the reader, at most.
const CHUNKS_AHEAD: usize = 4;
/// How many rows make a chunk, if so many are there at once.
const ROWS_PER_CHUNK: usize = 64;
/// How long a reader may keep a connection waiting.
const READER_LIMIT: Duration = Duration::from_secs(10);

/// Some lines, or `None` after the last one.
type Chunk = Option<Bytes>;

/// Moves all rows into the channel, as the reader takes them; an error says why not.
async fn pump(
    rows: impl Stream<Item = Result<Row, QueryError>>,
    sender: &mpsc::Sender<Chunk>,
) -> Result<(), &'static str> {
    let mut chunks = pin!(rows.ready_chunks(ROWS_PER_CHUNK));
    loop {
        // A reader who leaves while the database is busy with the next row is noticed now, not when that has come.
        let next = tokio::select! {
            next = answer(async { chunks.next().await.map(lines).transpose() }) => next,
            () = sender.closed() => return Err("the reader has left"),
        };
        let Some(lines) = next.map_err(|_| "the database failed")? else { return Ok(()) };
        sender.send_timeout(Some(lines), READER_LIMIT).await.map_err(|_| "the reader did not read")?;
    }
}

fn lines(rows: Vec<Result<Row, QueryError>>) -> Result<Bytes, QueryError> {
    let mut lines = String::new();
    for row in rows {
        lines.push_str(row?.get::<_, &str>(0));
        lines.push('\n');
    }
    Ok(lines.into())
}

/// The chunks as a body. One that ends without its end is an error, which cuts the answer off, so that nobody takes a part for the whole.
fn body(receiver: mpsc::Receiver<Chunk>) -> impl Stream<Item = Result<Bytes, &'static str>> {
    stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Some(chunk)) => Some((Ok(chunk), Some(receiver))),
            Some(None) => None,
            None => Some((Err("the history ended early"), None)),
        }
    })
}

fn filter(parameters: Vec<(String, String)>) -> Result<Filter, Failure> {
    let mut filter = Filter {
        alertname: None,
        status: None,
        labels: serde_json::Map::new(),
        from: None,
        to: None,
        limit: DEFAULT_LIMIT,
    };
    let mut seen = HashSet::new();
    for (name, value) in parameters {
        if name != "label" && !seen.insert(name.clone()) {
            return Err(Failure::parameter(name, "given twice; only label may be repeated"));
        }
        if value.contains('\0') {
            return Err(Failure::parameter(name, "a NUL character is in no alert"));
        }
        let set = SETTERS.iter().find(|(known, _)| *known == name).map(|(_, set)| set);
        let unknown = || Failure::parameter(&name, "unknown; allowed: alertname, status, label, from, to, limit");
        set.ok_or_else(unknown)?(&mut filter, value)?;
    }
    Ok(filter)
}

type Setter = fn(&mut Filter, String) -> Result<(), Failure>;

const SETTERS: [(&str, Setter); 6] = [
    ("alertname", |filter, value| {
        filter.alertname = Some(value);
        Ok(())
    }),
    ("status", |filter, value| status(&value).map(|status| filter.status = Some(status))),
    ("label", |filter, value| label(&value).map(|(name, value)| drop(filter.labels.insert(name, value)))),
    ("from", |filter, value| instant("from", &value).map(|from| filter.from = Some(from))),
    ("to", |filter, value| instant("to", &value).map(|to| filter.to = Some(to))),
    ("limit", |filter, value| limit(&value).map(|limit| filter.limit = limit)),
];

fn label(value: &str) -> Result<(String, Value), Failure> {
    let (name, value) =
        value.split_once('=').ok_or_else(|| Failure::parameter("label", "allowed: label=name=value"))?;
    Ok((name.to_owned(), Value::from(value)))
}

fn status(value: &str) -> Result<&'static str, Failure> {
    let known = [Status::Firing, Status::Resolved].into_iter().map(Status::name).find(|name| *name == value);
    known.ok_or_else(|| Failure::parameter("status", "allowed: firing, resolved"))
}

fn instant(name: &str, value: &str) -> Result<OffsetDateTime, Failure> {
    value
        .parse()
        .map(|Instant(instant)| instant)
        .map_err(|allowed: &str| Failure::parameter(name, format!("{allowed} (a + is written %2B)")))
}

fn limit(value: &str) -> Result<i64, Failure> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| Failure::parameter("limit", format!("allowed: 1 to {MAX_LIMIT}")))
}
