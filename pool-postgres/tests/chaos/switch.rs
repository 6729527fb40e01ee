//! F124: another server takes over while everybody is at work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;

use crate::asking::{answer, eventually, in_time};
use crate::common::{Chaos, strict};
use crate::invariants;

/// Users who work until they are told to stop, and none of whom fails. How often each has worked on the server with this port.
async fn work(chaos: &Chaos, port: i32, on_it: &AtomicUsize, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let lease = chaos.acquire().await.expect("a connection, in time");
        let row = lease.query_one("SELECT inet_server_port()", &[]).await.expect("an answer");
        on_it.fetch_add(usize::from(row.get::<_, i32>(0) == port), Ordering::Relaxed);
        assert_eq!(answer(&lease, 41).await.expect("another"), 42);
    }
}

#[tokio::test]
async fn f124_another_server_takes_over_behind_a_pause_and_nobody_fails() {
    const SIZE: usize = 4;
    let (old, new) = (strict().start().unwrap(), strict().start().unwrap());
    // The role of the pool, on both.
    let mut chaos = Chaos::on(&new, SIZE, |_| {}).await;
    chaos.watch.end().await;
    chaos.watch_on(&old).await;
    chaos.proxy.redirect(([127, 0, 0, 1], old.port()).into());
    let (on_new, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let users = join_all((0..16).map(|_| work(&chaos, new.port().into(), &on_new, &stop)));
    let switching = async {
        eventually("everybody is at work", async || chaos.pool.state().size == SIZE).await;
        chaos.pool.pause();
        assert!(in_time("it is drained", chaos.pool.drained()).await);
        chaos.watch.end().await;
        chaos.proxy.redirect(([127, 0, 0, 1], new.port()).into());
        chaos.pool.retire_all();
        chaos.pool.resume();
        eventually("they work on the other one", async || on_new.load(Ordering::Relaxed) >= 100).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(users, switching);
    let stats = chaos.pool.stats();
    assert_eq!((stats.broken, stats.open_failures, stats.outdated), (0, 0, SIZE as u64), "{stats:?}");
    chaos.watch_on(&new).await;
    invariants::hold(chaos).await;
}
