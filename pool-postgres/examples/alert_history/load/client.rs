//! One client: one connection, one request after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::{CreationError, Histogram};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::payloads::payload;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Durations in microseconds, to three digits, up to a minute.
pub(super) type Durations = Histogram<u64>;

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What a client has done.
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) errors: u64,
    /// The first error, to give the number a face.
    pub(super) first_error: Option<String>,
    /// Alerts whose post was answered with success.
    pub(super) alerts: u64,
    pub(super) latency: Durations,
}

impl Tally {
    pub(super) fn new() -> Result<Self, CreationError> {
        let latency = Durations::new_with_bounds(1, 60_000_000, 3)?;
        Ok(Self { requests: 0, errors: 0, first_error: None, alerts: 0, latency })
    }

    pub(super) fn add(&mut self, other: Self) -> Result<(), Error> {
        self.requests += other.requests;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.alerts += other.alerts;
        self.latency.add(other.latency)?;
        Ok(())
    }
}

/// Sends requests until it is told to stop: nine posts, then one look at the history.
pub(super) async fn run(
    address: SocketAddr,
    run: String,
    number: usize,
    mut tally: Tally,
    stop: Arc<AtomicBool>,
) -> Tally {
    let mut connection = None;
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (request, alerts) = if round % 10 == 9 { history(address) } else { post(address, &run, number, round) };
        let started = Instant::now();
        let outcome = send(address, &mut connection, request).await;
        tally.requests += 1;
        tally.latency.saturating_record(micros(started.elapsed()));
        match outcome {
            Ok(()) => tally.alerts += alerts,
            Err(error) => {
                tally.errors += 1;
                tally.first_error.get_or_insert_with(|| error.to_string());
                connection = None;
            }
        }
    }
    tally
}

fn post(address: SocketAddr, run: &str, number: usize, round: usize) -> (Request<Full<Bytes>>, u64) {
    let (body, alerts) = payload(run, number, round);
    (request(Method::POST, address, "/webhook", body.to_string()), alerts)
}

fn history(address: SocketAddr) -> (Request<Full<Bytes>>, u64) {
    (
        request(
            Method::GET,
            address,
            "/history?alertname=TargetDown&status=firing&from=2026-11-01T12:00:00Z&limit=20",
            String::new(),
        ),
        0,
    )
}

fn request(method: Method, address: SocketAddr, path: &str, body: String) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::from(body));
    if method == Method::POST {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    *request.method_mut() = method;
    // Both are written by this program and valid.
    request.headers_mut().extend(address.to_string().parse().map(|host| (HOST, host)));
    *request.uri_mut() = path.parse().unwrap_or_default();
    request
}

async fn send(
    address: SocketAddr,
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    request: Request<Full<Bytes>>,
) -> Result<(), Error> {
    let sender = match connection {
        Some(sender) => sender,
        None => connection.insert(connect(address).await?),
    };
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status == StatusCode::OK { Ok(()) } else { Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()) }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, Error> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
