//! What tests ask, and for how long they wait for an answer. Shared by all tests whose pools suffer.

use std::future::Future;
use std::time::Duration;

/// What happens at all on a busy machine happens within this time.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// What is asked by a prepared query.
pub(crate) async fn answer(client: &tokio_postgres::Client, number: i32) -> Result<i32, tokio_postgres::Error> {
    in_time("an answer", client.query_one("SELECT $1::int + 1", &[&number])).await?.try_get(0)
}

/// What comes at all comes in time.
pub(crate) async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Asks again and again until it holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let asking = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    in_time(what, asking).await;
}
