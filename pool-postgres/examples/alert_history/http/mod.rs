//! The HTTP side.

mod history;
mod webhook;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};

use super::app::App;
use super::failure::Failure;

/// The largest body that is read. Alertmanager's posts are some kilobytes.
pub(super) const MAX_BODY: usize = 1 << 20;

/// All routes: those of the service, and behind them those of its pool, with `/metrics` of both.
pub(crate) fn router(app: Arc<App>) -> Router {
    let observed = from_fn_with_state(Arc::clone(&app), observe);
    let pool = app.status.router().fallback(|| async { Failure::NoSuchPath });
    let pool = pool.method_not_allowed_fallback(|| async { Failure::Method });
    let own = Router::new()
        .route("/webhook", post(webhook::take))
        .route("/history", get(history::list))
        .method_not_allowed_fallback(|| async { Failure::Method })
        .layer(DefaultBodyLimit::max(MAX_BODY));
    app.status.guard(own).route_layer(observed.clone()).fallback_service(pool.layer(observed)).with_state(app)
}

/// Measures and logs every request. A streamed answer counts until its first byte is ready.
async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    // The pattern, not the path: paths that nobody serves would make a metric each.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), started.elapsed());
    app.metrics.answered(method.as_str(), &route, status, took);
    tracing::info!(%method, route, status, took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX), "request");
    response
}
