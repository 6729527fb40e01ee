//! `POST /webhook`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::super::app::App;
use super::super::failure::Failure;
use super::super::payload;

/// Stores the alerts of one post.
pub(super) async fn take(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Failure> {
    // As an Alertmanager sends it, and a browser does not on behalf of a page from elsewhere.
    if !is_json(&headers) {
        return Err(Failure::MediaType);
    }
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Failure::TooLarge,
        _ => Failure::payload(".", "the body did not arrive whole"),
    })?;
    // Before a connection is taken: whatever is wrong with the payload is no trouble of the pool.
    let payload = payload::parse(&body)?;
    Ok(Json(json!({ "stored": app.store(&payload).await? })))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
