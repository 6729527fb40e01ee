//! A server that goes away and comes back.

use std::future::Future;
use std::time::{Duration, Instant};

use pool_testkit::postgres::{EphemeralBuilder, EphemeralPostgres};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::database::{client, within};

/// The name of a pool's sessions.
pub(crate) const NAME: &str = "the pool that recovers";

pub(crate) async fn start(builder: EphemeralBuilder) -> EphemeralPostgres {
    spawn_blocking(move || builder.start()).await.expect("it does not panic").expect("a server")
}

/// Starts it again, and says when it was the first time that somebody who asked each millisecond had an answer.
pub(crate) async fn restart(mut server: EphemeralPostgres) -> (EphemeralPostgres, Instant) {
    let url = server.url();
    let asking = tokio::spawn(async move {
        while !answers(&url).await {
            sleep(Duration::from_millis(1)).await;
        }
        Instant::now()
    });
    let starting = spawn_blocking(move || server.restart().map(|()| server));
    let server = starting.await.expect("it does not panic").expect("it starts");
    (server, asking.await.expect("it does not panic"))
}

async fn answers(url: &str) -> bool {
    match client(url).await {
        Ok(client) => client.batch_execute("SELECT 1").await.is_ok(),
        Err(_) => false,
    }
}

/// What does not happen within a minute does not happen.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Waits until it holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    assert!(within(LIMIT, holds).await, "never: {what}");
}
