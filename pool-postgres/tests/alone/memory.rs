//! F079: memory.

use std::pin::pin;

use futures_util::TryStreamExt;

use crate::asking::{answer, eventually};
use crate::common::{Chaos, alone, memory};
use crate::invariants;
use crate::watch::NAME;

/// Ten gigabytes.
const LARGE: &str = "SELECT repeat('x', 100000) FROM generate_series(1, 100000)";
/// What a result may cost of which one row has been read.
const MOST: usize = 16 << 20;

/// Whether the server waits for the pool to read on.
async fn is_stuck(chaos: &Chaos) -> bool {
    let stuck = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event = 'ClientWrite'";
    chaos.watch.client().query_one(stuck, &[&NAME]).await.unwrap().get::<_, i64>(0) == 1
}

/// Who reads no further makes the server wait. When nobody wants the rest any more, the server is told to stop, and the next user has the same connection.
#[test]
fn f079_a_large_result_that_is_dropped_costs_neither_memory_nor_a_connection() {
    alone("", async || {
        let chaos = Chaos::start(1).await;
        drop(chaos.working().await);
        let before = memory();
        for _ in 0..3 {
            let lease = chaos.pool.acquire_owned().await.unwrap();
            {
                let mut rows = pin!(lease.query_raw(LARGE, [0_i32; 0]).await.unwrap());
                let row = rows.try_next().await.unwrap().expect("a row");
                assert_eq!(row.get::<_, &str>(0).len(), 100_000);
                eventually("the server waits", async || is_stuck(&chaos).await).await;
                assert!(chaos.watch.works_on(LARGE).await);
            }
            drop(lease);
            assert_eq!(answer(&*chaos.working().await, 1).await.unwrap(), 2);
        }
        let more = memory().saturating_sub(before);
        eprintln!("measured: three results of 10 GB that were dropped after one row left {more} bytes more");
        assert!(more < MOST, "{more} bytes more");
        let stats = invariants::hold(chaos).await;
        assert_eq!((stats.opened, stats.broken, stats.errors.resets), (1, 0, 0), "{stats:?}");
    });
}
