//! How long a call of the driver may take.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

/// When a runtime looks at its clock this much too late, it has stood still: the process was stopped, the machine slept, or there was no processor for it.
const STOOD_STILL: Duration = Duration::from_millis(10);
/// What has come meanwhile is found in this time.
const MOMENT: Duration = Duration::from_millis(100);

/// Waits for a call of the driver, for as long as it may take. If the runtime has stood still, the time may be over though an answer has come that nobody has looked at; it is
/// looked at before the call is given up, or all calls under way would be.
///
/// Cancel safety: dropping this drops the call.
pub(super) async fn within<T>(budget: Duration, call: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut call = pin!(call);
    // A budget that no clock can count to never ends.
    let Some(deadline) = Instant::now().checked_add(budget) else { return Ok(call.await) };
    // Owned across the awaits: the call, which is dropped with this.
    match timeout_at(deadline, &mut call).await {
        Err(_) if deadline.elapsed() >= STOOD_STILL => timeout(MOMENT, call).await,
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{advance, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_budget_is_kept() {
        let started = Instant::now();
        assert!(within(SECOND, pending::<()>()).await.is_err());
        assert_eq!(started.elapsed(), SECOND);
        assert_eq!(within(SECOND, sleep(SECOND / 2)).await, Ok(()));
        assert_eq!(within(Duration::MAX, async { 7 }).await, Ok(7));
    }

    /// Ends a moment after the runtime goes on, though long after its budget.
    #[tokio::test(start_paused = true)]
    async fn after_a_standstill_an_answer_is_looked_for_once_more() {
        let started = Instant::now();
        let call = async {
            // Nobody can look before: the clock jumps while this is polled.
            advance(5 * SECOND).await;
            sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(within(SECOND, call).await, Ok(()));
        assert_eq!(started.elapsed(), 5 * SECOND + Duration::from_millis(50));
        let hanging = async {
            advance(5 * SECOND).await;
            pending::<()>().await;
        };
        assert!(within(SECOND, hanging).await.is_err());
        assert_eq!(started.elapsed(), 10 * SECOND + Duration::from_millis(150));
    }
}
