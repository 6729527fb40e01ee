//! `GET /health/live` and `GET /health/ready`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::app::App;

/// The process serves.
pub(super) async fn live() -> Json<Value> {
    Json(json!({ "status": "live" }))
}

/// The database answers.
pub(super) async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    match app.pool.health().await {
        Ok(health) => {
            let latency = health.latency.as_secs_f64();
            (
                StatusCode::OK,
                Json(json!({ "status": "ready", "latency_seconds": latency, "pool": health.state.to_string() })),
            )
        }
        Err(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "unavailable", "cause": error.to_string() })))
        }
    }
}
