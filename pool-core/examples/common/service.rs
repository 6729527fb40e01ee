//! What services do with connections: they have one for a while.

use std::time::Duration;

use pool_core::{AcquireError, Request, Scheduler};
use tokio::time::{Instant, sleep};

use crate::toy::Toy;

/// Has a connection for so long, and tells how long it waited for it.
pub(crate) async fn serve(
    scheduler: Scheduler<Toy>,
    request: Request,
    service: Duration,
) -> Result<Duration, AcquireError> {
    let began = Instant::now();
    let lease = scheduler.acquire(request).await?;
    let waited = began.elapsed();
    sleep(service).await;
    drop(lease);
    Ok(waited)
}
