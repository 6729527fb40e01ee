//! Sessions that were cut off, and that the server has not let go of yet.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How many there are of a pool.
#[derive(Debug, Default)]
pub(crate) struct Dismissals(watch::Sender<usize>);

/// One of them; dropped once the server has let go of it, or has not in time, or the runtime has ended that was to see to it.
#[derive(Debug)]
pub(crate) struct Dismissal(Arc<Dismissals>);

impl Dismissals {
    /// One more.
    pub(crate) fn begin(self: &Arc<Self>) -> Dismissal {
        self.0.send_modify(|under_way| *under_way += 1);
        Dismissal(Arc::clone(self))
    }

    /// Returns once there is none, after so long at the latest: whoever was to see to them may be on a runtime that nobody drives.
    ///
    /// Cancel safety: they go on in the background.
    pub(crate) async fn ended(&self, limit: Duration) {
        let mut under_way = self.0.subscribe();
        // Owned across the await: nothing. The sender is in `self`.
        let _ = timeout(limit, under_way.wait_for(|under_way| *under_way == 0)).await;
    }
}

impl Drop for Dismissal {
    fn drop(&mut self) {
        self.0.0.send_modify(|under_way| *under_way -= 1);
    }
}
