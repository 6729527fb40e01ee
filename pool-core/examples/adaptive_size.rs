//! A pool that grows when callers wait, and shrinks when they have gone. Ends by itself: `cargo run -p pool-core --example adaptive_size`
#![cfg(not(feature = "loom"))]

use std::time::Duration;

use pool_core::{AdaptConfig, Attempt, Driver, ErrorClass, Pool, SessionState};
use tokio::time::{Instant, sleep};

struct Quick;

impl Driver for Quick {
    type Connection = ();
    type Error = std::io::Error;

    async fn connect(&self, _: &Attempt) -> Result<(), std::io::Error> {
        Ok(())
    }
    fn inspect(&self, (): &mut ()) -> SessionState {
        SessionState::Clean
    }
    fn classify(&self, _: &std::io::Error) -> ErrorClass {
        ErrorClass::Transient
    }
}

/// So many callers, one request after the other, each of which takes 10 ms.
async fn load(pool: &Pool<Quick>, callers: usize, time: Duration) {
    let end = Instant::now() + time;
    let callers = (0..callers).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            while Instant::now() < end {
                let connection = pool.acquire().await;
                sleep(Duration::from_millis(10)).await;
                drop(connection);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        let _ = caller.await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::builder(Quick).max_size(2).build()?;
    let mut config = AdaptConfig::default();
    // Faster than anybody needs it, so that the example is short.
    (config.interval, config.shrink_after, config.target_wait) =
        (Duration::from_millis(50), 10, Duration::from_millis(2));
    let adapter = pool.adapt(config)?;
    for (callers, seconds) in [(2, 1), (16, 2), (1, 3)] {
        load(&pool, callers, Duration::from_secs(seconds)).await;
        println!("{callers} callers: {}", adapter.report());
    }
    pool.close().await;
    Ok(())
}
