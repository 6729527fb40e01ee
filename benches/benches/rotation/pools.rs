//! The two pools, and a backend that takes its time.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pool_core::{Attempt, Driver, ErrorClass, Pool, SessionState};
use tokio::time::sleep;

pub(crate) const CONNECTIONS: usize = 20;
pub(crate) const LIFETIME: Duration = Duration::from_secs(1);
/// What a server in the same building needs, with authentication.
const CONNECT: Duration = Duration::from_millis(5);
const CLOSE: Duration = Duration::from_millis(1);

/// Opens moments.
#[derive(Default)]
pub(crate) struct Slow {
    /// In milliseconds.
    oldest: AtomicU64,
}

impl Slow {
    /// The greatest age at which a connection was closed, in milliseconds.
    pub(crate) fn oldest(&self) -> u64 {
        self.oldest.load(Ordering::Relaxed)
    }
}

impl Driver for Slow {
    /// When it was opened.
    type Connection = Instant;
    type Error = Infallible;

    async fn connect(&self, _: &Attempt) -> Result<Instant, Infallible> {
        sleep(CONNECT).await;
        Ok(Instant::now())
    }

    fn inspect(&self, _: &mut Instant) -> SessionState {
        SessionState::Clean
    }

    async fn close(&self, opened: Instant) {
        let age = u64::try_from(opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.oldest.fetch_max(age, Ordering::Relaxed);
        sleep(CLOSE).await;
    }

    fn classify(&self, error: &Infallible) -> ErrorClass {
        match *error {}
    }
}

/// A pool of which all connections are open.
pub(crate) async fn open(max_lifetime: Option<Duration>, headroom: usize) -> Pool<Slow> {
    let pool = Pool::builder(Slow::default())
        .max_size(CONNECTIONS)
        .min_size(CONNECTIONS)
        .max_lifetime(max_lifetime)
        .rotation_headroom(headroom)
        .build()
        .expect("the settings are in range");
    pool.ready(Duration::from_secs(10)).await.expect("all of them open");
    pool
}
