//! What the tests share.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use pool_core::http::{Controls, Status};
use pool_core::{Config, ObserveConfig, Pool, PoolObserver};
use pool_testkit::fake::{FakeDriver, quiet};
use serde_json::Value;
use tower::ServiceExt;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const TOKEN: &str = "s3cr3t-of-the-operators";

/// A pool that is shown, and what shows it.
pub(crate) struct Shown {
    pub(crate) driver: FakeDriver,
    pub(crate) pool: Pool<FakeDriver>,
    pub(crate) status: Status,
}

impl Shown {
    pub(crate) fn new(config: Config) -> Self {
        let driver = FakeDriver::new();
        let pool = Pool::builder(driver.clone()).config(config).build().unwrap();
        let status = Status::new().pool(observer(&pool, "main"));
        Self { driver, pool, status }
    }

    /// Of three connections, and with controls.
    pub(crate) fn controlled() -> Self {
        let mut shown = Self::new(quiet(3));
        shown.status = shown.status.controls(Controls::new(TOKEN).unwrap());
        shown
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        ask(&self.status, get(path)).await
    }

    /// With the token, and this body.
    pub(crate) async fn control(&self, action: &str, body: &str) -> Answer {
        ask(&self.status, control(action, body)).await
    }
}

pub(crate) fn observer(pool: &Pool<FakeDriver>, name: &str) -> PoolObserver<FakeDriver> {
    let mut config = ObserveConfig::default();
    name.clone_into(&mut config.name);
    pool.observe(config).unwrap()
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

pub(crate) fn accepting(path: &str, accept: &str) -> Request<Body> {
    Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).unwrap()
}

/// As an operator would send it.
pub(crate) fn control(action: &str, body: &str) -> Request<Body> {
    let request = Request::post(format!("/pool/control/{action}"))
        .header(header::HOST, "db.example:8080")
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header(header::CONTENT_TYPE, "application/json");
    request.body(Body::from(body.to_owned())).unwrap()
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) async fn ask(status: &Status, request: Request<Body>) -> Answer {
    ask_router(status.router(), request).await
}

pub(crate) async fn ask_router(router: Router, request: Request<Body>) -> Answer {
    let path = request.uri().path().to_owned();
    let reads = *request.method() == Method::GET;
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
    assert!(!body.contains(TOKEN) && !format!("{:?}", parts.headers).contains(TOKEN), "{path} tells the token: {body}");
    assert!(!reads || !parts.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{path}");
    Answer { status: parts.status, headers: parts.headers, body }
}
