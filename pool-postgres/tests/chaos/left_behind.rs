//! F130: what a borrower leaves behind in a session that goes on.

use crate::asking::{LIMIT, in_time};
use crate::common::{Chaos, process, rows, strict};
use crate::invariants;
use crate::leftovers::{ROWS, SETUP, left};

/// What no command tells of.
const UNSEEN: [(&str, &str); 3] = [
    ("a lock", "SELECT pg_advisory_lock(1)"),
    ("a lock, by a function", "SELECT leave()"),
    ("a setting, by a function", "SELECT set_config('app.tenant', '7', false)"),
];

/// Somebody who may be anybody.
const USER: &str = "postgres";

/// What a borrower finds, and in which session.
async fn found(chaos: &Chaos) -> (String, i32) {
    let lease = in_time("the next is served", chaos.served()).await;
    (left(&lease, USER).await, process(&lease).await)
}

/// Borrowers come one after the other, and each but the first finds what the first has found, in the same session.
async fn nothing_is_left(mode: &str, more: &[(&str, &str)]) {
    let server = strict().start().unwrap();
    let chaos = Chaos::on(&server, 1, |config| {
        config.user = Some(USER.to_owned());
        config.options = Some("-c work_mem=7MB".to_owned());
        config.release.mode = mode.parse().unwrap();
        config.pool.reset_timeout = LIMIT;
    })
    .await;
    chaos.watch.run(SETUP).await;
    let fresh = found(&chaos).await;
    for (name, sql) in ROWS.iter().chain(more) {
        let lease = chaos.served().await;
        // Whatever it comes to.
        let _ = in_time("it is done", lease.batch_execute(sql)).await;
        drop(lease);
        assert_eq!(found(&chaos).await, fresh, "{mode}: after {name}");
        assert_eq!(rows(&chaos, "t").await, 0, "{mode}: after {name}");
    }
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.errors.resets), (1, 0), "{mode}");
}

#[tokio::test]
async fn f130_what_has_changed_is_undone() {
    nothing_is_left("changed", &[]).await;
}

#[tokio::test]
async fn f130_what_has_changed_is_undone_and_verified() {
    nothing_is_left("verified", &[]).await;
}

#[tokio::test]
async fn f130_everything_is_undone_and_what_no_command_tells_of_too() {
    nothing_is_left("clean", &UNSEEN).await;
}
