//! Pools to be seen and controlled over HTTP: health, metrics, their state as a page, as JSON and as text. With the feature `http`.
//!
//! [`Status`] has the routes as an axum router, for the application to mount where it likes, and each answer as a plain method, for other servers. `docs/status.md` has the routes, the form
//! of the JSON, and what is protected by what.

mod accept;
mod clock;
mod control;
mod document;
mod events;
mod guard;
mod listeners;
mod others;
mod page;
mod reply;
mod settings;
mod source;
mod table;
mod watched;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::driver::Driver;
use crate::metric::{MetricFamily, merge_families};
use crate::observe::PoolObserver;
use crate::prometheus;
use crate::trace::report;
use accept::{HTML, JSON, Kind, OPENMETRICS, TEXT};
use control::Action;
pub use control::{Controls, ControlsError};
use document::{Extent, Look};
use events::{Events, Steps};
use listeners::Listeners;
use others::Others;
use reply::Reply;
use watched::Watched;

/// What is shown of one pool, or several, over HTTP. Cheap to clone; all clones show the same.
///
/// It holds its pools: they are not closed by being dropped elsewhere, but by [`Pool::close`](crate::Pool::close).
///
/// # Example
///
/// ```no_run
/// # fn app<D: pool_core::Driver>(pool: &pool_core::Pool<D>, token: &str) -> Result<axum::Router, Box<dyn std::error::Error>> {
/// use pool_core::ObserveConfig;
/// use pool_core::http::{Controls, Status};
///
/// let observer = pool.observe(ObserveConfig::default())?;
/// let status = Status::new().pool(observer).controls(Controls::new(token)?);
/// let app = axum::Router::new().nest("/internal", status.router()); // or merge: every link of the page is relative
/// # Ok(app)
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Status {
    sources: Vec<Arc<Watched>>,
    others: Others,
    controls: Option<Arc<Controls>>,
    hosts: Vec<String>,
    listeners: Arc<Listeners>,
    steps: Arc<Steps>,
    end: CancellationToken,
}

/// # What it shows
impl Status {
    /// Shows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows this pool, too, under the name of its observer. Names should differ: if another one has it already, this one is called `NAME-2` here, or the first number that is free, in its metrics, too, and a
    /// warning is logged. Otherwise one of them would hide the other.
    #[must_use]
    pub fn pool<D: Driver>(mut self, observer: PoolObserver<D>) -> Self {
        let is_taken = |name: &str| self.sources.iter().any(|source| source.name() == name);
        let name = observer.name().to_owned();
        // Of as many numbers as there are pools one is free.
        let numbers = 2..=self.sources.len() + 2;
        let other = || numbers.map(|number| format!("{name}-{number}")).find(|other| !is_taken(other));
        let observer = match is_taken(&name).then(other).flatten() {
            Some(other) => {
                report(|| tracing::warn!(name, other, "two pools have the same name; one is shown under another one"));
                observer.named(&other)
            }
            None => observer,
        };
        self.sources.push(Arc::new(Watched::new(observer)));
        self
    }

    /// Shows these metrics, too, after those of the pools: what the application measures itself, so that one address has both, in either format. Asked for with each request for metrics; it should
    /// only read, and wait for nothing. If it panics it is left out, and an error is logged. Families that have the name of another are shown as one with that.
    ///
    /// # Example
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use pool_core::http::Status;
    /// use pool_core::{MetricFamily, MetricKind, MetricUnit};
    ///
    /// let served = Arc::new(AtomicU64::new(0));
    /// let counted = Arc::clone(&served);
    /// let status = Status::new().families(move || {
    ///     let cups = MetricFamily::new("cups", MetricKind::Counter, MetricUnit::Events, "Cups that were served.");
    ///     vec![cups.with([], counted.load(Ordering::Relaxed))]
    /// });
    /// served.fetch_add(3, Ordering::Relaxed);
    /// assert!(status.metrics().ends_with("cups_total 3\n"));
    /// ```
    #[must_use]
    pub fn families(mut self, families: impl Fn() -> Vec<MetricFamily> + Send + Sync + 'static) -> Self {
        self.others.add(families);
        self
    }

    /// Lets whoever has the token pause, resume, retire and reconfigure the pools. Without it there are no such routes.
    #[must_use]
    pub fn controls(mut self, controls: Controls) -> Self {
        self.controls = Some(Arc::new(controls));
        self
    }

    /// Answers those alone who ask for one of these hosts, such as `db.example:8080`, or `db.example` at any port; everybody else gets 421. Without it the name does not matter.
    ///
    /// This is against pages of others whose name leads to this service all of a sudden (DNS rebinding): a browser takes what it answers for theirs. Whoever asks by an address, as probes and Prometheus do, needs
    /// that one in the list, too.
    ///
    /// # Example
    ///
    /// ```
    /// use pool_core::http::Status;
    ///
    /// let status = Status::new().hosts(["localhost", "127.0.0.1", "[::1]"]);
    /// ```
    #[must_use]
    pub fn hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.hosts.extend(hosts.into_iter().map(Into::into));
        self
    }

    /// The routes, for the application to nest or merge into its own. Where they can be reached from, and by whom, is for the application to say: apart from the controls, they ask for no password.
    ///
    /// `GET /health/live`, `/health/ready`, `/metrics`, `/pool`, `/pool/ui`, `/pool/events`; with [controls](Status::controls) `POST /pool/control/pause`, `resume`, `retire` and `reconfigure`.
    pub fn router(&self) -> Router {
        let router = Router::new()
            .route("/health/live", get(live))
            .route("/health/ready", get(ready))
            .route("/metrics", get(metrics))
            .route("/pool", get(pool))
            .route("/pool/ui", get(ui))
            .route("/pool/", get(|uri: Uri| async move { Response::from(Reply::without_stroke("pool", uri.query())) }))
            .route("/pool/ui/", get(|uri: Uri| async move { Response::from(Reply::without_stroke("ui", uri.query())) }))
            .route("/pool/events", get(events));
        let router = if self.controls.is_some() { with_controls(router) } else { router };
        self.guard(router).with_state(self.clone())
    }

    /// Routes of the application, with what stands before the routes of the pools, too: who asks for a host that is none of the [named](Status::hosts) ones gets 421, and what a browser reads for a page from elsewhere 403; and answers have the same
    /// headers, such as `Cache-Control: no-store`, as far as they have none of their own. A `POST` is checked by its host alone: one that takes nothing but `Content-Type: application/json` is one that such a page cannot
    /// make a browser send.
    ///
    /// # Example
    ///
    /// ```
    /// use axum::Router;
    /// use axum::routing::get;
    /// use pool_core::http::Status;
    ///
    /// let status = Status::new().hosts(["localhost", "127.0.0.1"]);
    /// let own = Router::new().route("/history", get(|| async { "nothing yet" }));
    /// let app: Router = status.guard(own).merge(status.router());
    /// ```
    pub fn guard<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        router.layer(from_fn_with_state(self.clone(), guard::guard))
    }

    /// Ends the streams of events that are open, each after a last event, and answers new ones with 503: so that a server that waits for its connections can shut down. A pool
    /// that is closed ends them, too, within a second.
    ///
    /// One who does not read what he is sent is not told, since nothing can be written to him: a server needs a limit of its own for its shutdown, as `docs/status.md` has it.
    pub fn end_events(&self) {
        self.end.cancel();
    }
}

/// # For other servers than axum
///
/// What the routes answer, without HTTP around it.
impl Status {
    /// Whether the process is in order: as [`HealthChecker::is_live`](crate::HealthChecker::is_live), for every pool.
    pub fn is_live(&self) -> bool {
        self.sources.iter().all(|source| source.is_live())
    }

    /// Whether callers can be sent to every pool.
    pub fn is_ready(&self) -> bool {
        self.sources.iter().all(|source| source.readiness().ready)
    }

    /// The answer of `/health/ready`, as JSON: whether callers can be sent to every pool, the state of each, and the reasons.
    pub fn readiness(&self) -> String {
        self.readiness_json().1.to_string()
    }

    /// The metrics of all pools, and [others](Status::families), in the text format of Prometheus.
    pub fn metrics(&self) -> String {
        prometheus::text(&self.measured())
    }

    /// As [`metrics`](Status::metrics), as `OpenMetrics` has them.
    pub fn openmetrics(&self) -> String {
        prometheus::openmetrics(&self.measured())
    }

    /// All that is known of the pools, as JSON.
    pub fn json(&self) -> String {
        document_of(&self.sources, Extent::WHOLE).to_string()
    }

    /// The state of the pools as tables, in the manner of `PgBouncer`'s `SHOW POOLS`.
    pub fn text(&self) -> String {
        text(&self.sources)
    }

    /// The page, of 200 KiB at most: of more than four pools it begins with the first. It asks for `events` beside its own address, and has to be sent with its [policy](Status::page_policy).
    pub fn page(&self) -> String {
        page::of(&self.sources, None)
    }

    /// What the header `Content-Security-Policy` of the page is to be: nothing but the page's own script and style, told by their hashes, and requests to where it comes from.
    pub fn page_policy() -> &'static str {
        &page::POLICY
    }

    fn measured(&self) -> Vec<MetricFamily> {
        let pools = self.sources.iter().flat_map(|source| source.families());
        merge_families(pools.chain(self.others.families()))
    }

    fn readiness_json(&self) -> (bool, Value) {
        let found: Vec<_> = self.sources.iter().map(|source| (source.name(), source.readiness())).collect();
        let ready = found.iter().all(|(_, readiness)| readiness.ready);
        let pools = found.iter().map(|(name, readiness)| {
            let mut parts: Map<String, Value> = document::readiness(readiness);
            parts.insert("name".to_owned(), (*name).into());
            Value::Object(parts)
        });
        (ready, json!({ "ready": ready, "pools": pools.collect::<Vec<_>>() }))
    }

    /// Those that are asked for: one by its name, or all.
    fn asked_for(&self, uri: &Uri) -> Result<Vec<Arc<Watched>>, Reply> {
        let Some(name) = reply::parameter(uri, "pool") else {
            return Ok(self.sources.clone());
        };
        let found: Vec<_> = self.sources.iter().filter(|source| source.name() == name).cloned().collect();
        if found.is_empty() { Err(self.no_such_pool(&name)) } else { Ok(found) }
    }

    fn no_such_pool(&self, name: &str) -> Reply {
        let names = self.sources.iter().map(|source| source.name()).collect::<Vec<_>>();
        let name: String = name.chars().take(100).collect();
        Reply::json(StatusCode::NOT_FOUND, &json!({ "error": format!("there is no pool {name:?}"), "pools": names }))
    }
}

fn document_of(sources: &[Arc<Watched>], extent: Extent) -> Value {
    let describe = |source: &Arc<Watched>| {
        let look = Look::at(&***source);
        document::describe(&look, extent, &source.history(0, extent.points))
    };
    document::document(sources.iter().map(describe).collect())
}

fn text(sources: &[Arc<Watched>]) -> String {
    table::text(&sources.iter().map(|source| &***source).collect::<Vec<_>>())
}

async fn live(State(status): State<Status>) -> Response {
    let live = status.is_live();
    Reply::json(available(live), &json!({ "live": live })).into()
}

async fn ready(State(status): State<Status>) -> Response {
    let (ready, found) = status.readiness_json();
    Reply::json(available(ready), &found).into()
}

fn available(is: bool) -> StatusCode {
    if is { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn metrics(State(status): State<Status>, headers: HeaderMap) -> Response {
    let reply = if accept::choose(&headers, &[TEXT, OPENMETRICS]) == Some(OPENMETRICS) {
        Reply::new(StatusCode::OK, prometheus::OPENMETRICS_TYPE, status.openmetrics())
    } else {
        Reply::new(StatusCode::OK, prometheus::TEXT_TYPE, status.metrics())
    };
    reply.varies().into()
}

async fn pool(State(status): State<Status>, headers: HeaderMap, uri: Uri) -> Response {
    let sources = match status.asked_for(&uri) {
        Ok(sources) => sources,
        Err(reply) => return reply.into(),
    };
    if let Some(format) = reply::parameter(&uri, "format").filter(|format| !FORMATS.contains(&format.as_str())) {
        let format: String = format.chars().take(100).collect();
        let found = json!({ "error": format!("there is no format {format:?}"), "allowed": FORMATS });
        return Reply::json(StatusCode::BAD_REQUEST, &found).into();
    }
    let reply = match kind_of_pool(&headers, &uri) {
        Some(HTML) => Reply::redirect(uri.query()),
        Some(JSON) => Reply::json(StatusCode::OK, &document_of(&sources, Extent::WHOLE)),
        Some(_) => Reply::text(StatusCode::OK, text(&sources)),
        None => {
            Reply::text(StatusCode::NOT_ACCEPTABLE, "there are text/plain, text/html and application/json\n".to_owned())
        }
    };
    reply.varies().into()
}

/// What an address may say.
const FORMATS: [&str; 3] = ["text", "json", "html"];

/// As the address says, for people; otherwise as the header does.
fn kind_of_pool(headers: &HeaderMap, uri: &Uri) -> Option<Kind> {
    match reply::parameter(uri, "format").as_deref() {
        Some("text") => Some(TEXT),
        Some("json") => Some(JSON),
        Some("html") => Some(HTML),
        _ => accept::choose(headers, &[TEXT, HTML, JSON]),
    }
}

async fn ui(State(status): State<Status>, uri: Uri) -> Response {
    Reply::page(page::of(&status.sources, reply::parameter(&uri, "pool").as_deref())).into()
}

async fn events(State(status): State<Status>, uri: Uri) -> Response {
    let sources = match status.asked_for(&uri) {
        Ok(sources) => sources,
        Err(reply) => return reply.into(),
    };
    let place = status.listeners.sit().filter(|_| !status.end.is_cancelled());
    let Some(place) = place else {
        return Reply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": "as many listen as may" }))
            .with(header::RETRY_AFTER, "10")
            .into();
    };
    let shown = |pool: &&Arc<Watched>| sources.iter().any(|one| Arc::ptr_eq(one, pool));
    let others = status.sources.iter().filter(|pool| !shown(pool)).cloned().collect();
    let events = Events::new(sources, others, &status.steps, status.end.clone(), place);
    // Proxies that gather what they pass on are told not to.
    Reply::stream("text/event-stream; charset=utf-8", Body::from_stream(events))
        .with_name("x-accel-buffering", "no")
        .into()
}

fn with_controls(router: Router<Status>) -> Router<Status> {
    let control = |action: Action| {
        // Owned across the await of the body, in `answer`: the request, and nothing of the pool. One that is dropped there has done nothing.
        post(move |State(status): State<Status>, request: Request| async move {
            control::answer(&status, action, request).await
        })
        .layer(DefaultBodyLimit::max(control::MOST))
    };
    router
        .route("/pool/control/pause", control(Action::Pause))
        .route("/pool/control/resume", control(Action::Resume))
        .route("/pool/control/retire", control(Action::Retire))
        .route("/pool/control/reconfigure", control(Action::Reconfigure))
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pools: Vec<_> = self.sources.iter().map(|source| source.name()).collect();
        f.debug_struct("Status")
            .field("pools", &pools)
            .field("controls", &self.controls.is_some())
            .finish_non_exhaustive()
    }
}
