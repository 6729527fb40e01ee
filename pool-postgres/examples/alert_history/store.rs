//! The table of alerts. Values reach SQL as parameters only; no statement is put together from text.

use pool_postgres::tokio_postgres::types::{Json, Type};
use pool_postgres::{PostgresConnection, PostgresPool, Queries, Query, QueryError, RowStream};
use serde_json::Value;
use time::OffsetDateTime;

use super::payload::{Alert, Payload};

/// Any number that other services are unlikely to lock.
const MIGRATION_LOCK: i64 = 0x616c_6572_7473;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now(),
    alertname text NOT NULL,
    status text NOT NULL,
    labels jsonb NOT NULL,
    annotations jsonb NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz,
    generator_url text,
    fingerprint text NOT NULL,
    receiver text NOT NULL,
    group_key text NOT NULL
);
CREATE INDEX IF NOT EXISTS alerts_newest ON alerts (starts_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS alerts_by_name ON alerts (alertname, starts_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS alerts_by_label ON alerts USING gin (labels jsonb_path_ops);
";

const INSERT: &str = "
INSERT INTO alerts (alertname, status, labels, annotations, starts_at, ends_at, generator_url, fingerprint, receiver, group_key)
SELECT *, $9, $10
FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::jsonb[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::text[])";

const HISTORY: &str = "
SELECT jsonb_build_object(
    'id', id, 'receivedAt', received_at, 'alertname', alertname, 'status', status, 'labels', labels, 'annotations', annotations,
    'startsAt', starts_at, 'endsAt', ends_at, 'generatorURL', generator_url, 'fingerprint', fingerprint, 'receiver', receiver,
    'groupKey', group_key)::text
FROM alerts
WHERE ($1::text IS NULL OR alertname = $1) AND ($2::text IS NULL OR status = $2) AND ($3::jsonb IS NULL OR labels @> $3)
  AND ($4::timestamptz IS NULL OR starts_at >= $4) AND ($5::timestamptz IS NULL OR starts_at < $5)
ORDER BY starts_at DESC, id DESC
LIMIT $6";

/// Which alerts to list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filter {
    pub(super) alertname: Option<String>,
    pub(super) status: Option<&'static str>,
    pub(super) labels: serde_json::Map<String, Value>,
    pub(super) from: Option<OffsetDateTime>,
    pub(super) to: Option<OffsetDateTime>,
    pub(super) limit: i64,
}

/// Makes the table if it is not there. Services that start at the same moment take turns.
pub(super) async fn migrate(pool: &PostgresPool) -> Result<(), QueryError> {
    let transaction = pool.begin().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await?;
    transaction.batch_execute(SCHEMA).await?;
    transaction.commit().await
}

/// Stores all alerts of a post, or none. An Alertmanager that posts again, because its interval has passed or because it got
/// no answer, adds to the history: each notification is a row.
pub(super) async fn insert(connection: &PostgresConnection, payload: &Payload) -> Result<u64, QueryError> {
    fn column<'a, T>(payload: &'a Payload, of: impl Fn(&'a Alert) -> T) -> Vec<T> {
        payload.alerts.iter().map(of).collect()
    }
    let insert = Query::new(INSERT).with_types(vec![
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::JSONB_ARRAY,
        Type::JSONB_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT,
        Type::TEXT,
    ]);
    let url = |alert: &'_ Alert| alert.generator_url.as_ref().map(|url| url.0.clone());
    connection
        .execute(
            insert,
            &[
                &column(payload, Alert::name),
                &column(payload, |alert| alert.status.name()),
                &column(payload, |alert| Json(&alert.labels.0)),
                &column(payload, |alert| Json(&alert.annotations.0)),
                &column(payload, |alert| alert.starts_at.0),
                &column(payload, Alert::ended),
                &column(payload, url),
                &column(payload, |alert| alert.fingerprint.0.as_str()),
                &payload.receiver.0,
                &payload.group_key.0,
            ],
        )
        .await
}

/// The alerts that fit, newest first, each as the text of a JSON object. They come from the server as they are read, and give their connection back when they end.
pub(super) async fn history(pool: &PostgresPool, filter: &Filter) -> Result<RowStream<'static>, QueryError> {
    let history = Query::new(HISTORY).with_types(vec![
        Type::TEXT,
        Type::TEXT,
        Type::JSONB,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
        Type::INT8,
    ]);
    // Without the condition, not with an empty one: that would be looked up in the index of labels. Planned for what is asked for, not once for all.
    let labels = Some(Json(&filter.labels)).filter(|labels| !labels.0.is_empty());
    pool.stream(
        history.unprepared(),
        &[&filter.alertname, &filter.status, &labels, &filter.from, &filter.to, &filter.limit],
    )
    .await
}

/// How many alerts carry this label.
pub(super) async fn count_with_label(pool: &PostgresPool, name: &str, value: &str) -> Result<u64, QueryError> {
    let label = serde_json::json!({ name: value });
    let row = pool.query_one("SELECT count(*) FROM alerts WHERE labels @> $1", &[&label]).await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}
