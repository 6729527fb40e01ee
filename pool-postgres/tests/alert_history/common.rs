//! What the tests share: the service in this process, and a client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pool_testkit::postgres::{EphemeralPostgres, SharedPostgres, TestDatabase};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::example::app::App;
use crate::example::http::router;

/// The service on a database.
pub(crate) struct Service {
    pub(crate) app: Arc<App>,
    pub(crate) address: SocketAddr,
}

impl Service {
    pub(crate) async fn start(url: &str) -> Self {
        Self::start_with(url, None).await
    }

    /// The pool of which whoever has the token may control.
    pub(crate) async fn start_with(url: &str, token: Option<&str>) -> Self {
        Self::start_at(url, token, Vec::new()).await
    }

    /// That answers those alone who ask for these hosts.
    pub(crate) async fn start_at(url: &str, token: Option<&str>, hosts: Vec<String>) -> Self {
        let app = Arc::new(App::start(url, token, hosts).await.expect("the service starts"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = axum::serve(listener, router(Arc::clone(&app)));
        tokio::spawn(async move { serving.await });
        Self { app, address }
    }

    /// On a database of the test's own.
    pub(crate) async fn fresh() -> (TestDatabase, Self) {
        let database = EphemeralPostgres::shared().and_then(SharedPostgres::create_database).expect("a real server");
        let service = Self::start(database.url()).await;
        // The database is there: no request fails because the machine stands still for a while.
        let mut config = (*service.app.pool.config()).clone();
        config.acquire_timeout = Duration::from_secs(20);
        service.app.pool.reconfigure(config).unwrap();
        (database, service)
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.expect("an answer")
    }

    pub(crate) async fn post(&self, body: impl Into<Bytes>) -> (u16, Value) {
        let request = Request::post("/webhook").header("host", "test").header("content-type", "application/json");
        self.ask(request.body(Full::new(body.into())).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(get(path)).await
    }

    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> (u16, Value) {
        answer(self.send(request).await).await
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        let body = self.send(get(path)).await.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// The history, each line parsed.
    pub(crate) async fn history(&self, query: &str) -> Vec<Value> {
        let text = self.text(&format!("/history?{query}")).await;
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "test").body(Full::default()).unwrap()
}

async fn answer(response: Response<Incoming>) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// An alert as Alertmanager sends it.
pub(crate) fn alert(name: &str, starts_at: &str) -> Value {
    json!({
        "status": "firing",
        "labels": { "alertname": name, "severity": "critical" },
        "annotations": { "summary": "something is wrong" },
        "startsAt": starts_at,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "c0ffee",
    })
}

/// A post with these alerts.
pub(crate) fn post(alerts: &[Value]) -> Value {
    json!({
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "history",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager", "alerts": alerts,
    })
}

/// Asks again and again until it holds, for 20 seconds at most.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let asking = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), asking).await.is_ok(), "never: {what}");
}
