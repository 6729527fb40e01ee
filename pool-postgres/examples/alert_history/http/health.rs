//! `GET /health/live` and `GET /health/ready`: what the monitor of the pool has seen. Neither asks the database.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::app::App;

/// Whether the process does what it should, whatever the database does: if not, a restart helps.
pub(super) async fn live(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let live = app.checker.is_live();
    (code(live), Json(json!({ "status": if live { "live" } else { "stuck" } })))
}

/// Whether requests can be sent here, and what is wrong.
pub(super) async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let report = app.checker.report();
    let reasons: Vec<_> = report.reasons.iter().map(ToString::to_string).collect();
    let body = json!({
        "status": report.state.to_string(),
        "reasons": reasons,
        "latency_seconds": report.latency.map(|latency| latency.as_secs_f64()),
        "pool": report.pool.to_string(),
    });
    (code(report.is_ready()), Json(body))
}

fn code(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
