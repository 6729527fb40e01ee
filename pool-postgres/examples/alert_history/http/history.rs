//! `GET /history`.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, TryStreamExt, stream};
use pool_postgres::tokio_postgres::{Error, Row};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::app::App;
use super::super::failure::Failure;
use super::super::payload::Status;
use super::super::store::{self, Filter};

const DEFAULT_LIMIT: i64 = 1000;
const MAX_LIMIT: i64 = 1_000_000;

/// Lists alerts, one JSON object per line, as they come from the database.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(parameters) = query.map_err(|error| Failure::parameter("query", error.body_text()))?;
    let filter = filter(parameters)?;
    let lease = app.acquire().await?;
    // Fused: the stream of the driver must not be asked again after its end, which a history without a row reaches here.
    let mut rows = Box::pin(store::history(&lease, &filter).await?.fuse());
    // The first row before the status is sent: a database that fails at once is told as such.
    let first = rows.try_next().await?;
    // The body owns the lease. Read to its end or dropped halfway, it gives the connection back.
    let lines = stream::iter(first.map(Ok)).chain(rows).map(move |row| {
        let _held = &lease;
        line(&row?)
    });
    // An error after the first row cuts the answer off, so that nobody takes a part for the whole.
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

fn line(row: &Row) -> Result<Bytes, Error> {
    let mut text: String = row.try_get(0)?;
    text.push('\n');
    Ok(text.into())
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
    for (name, value) in parameters {
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
    let allowed = |_| {
        Failure::parameter(
            name,
            "allowed: a time as RFC 3339 writes it, such as 2026-01-31T12:00:00Z (a + is written %2B)",
        )
    };
    OffsetDateTime::parse(value, &Rfc3339).map_err(allowed)
}

fn limit(value: &str) -> Result<i64, Failure> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| Failure::parameter("limit", format!("allowed: 1 to {MAX_LIMIT}")))
}
