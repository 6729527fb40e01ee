//! F130: what a borrower leaves behind in a session that goes on.

use pool_testkit::postgres::EphemeralPostgres;

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

/// A pool of one connection, which is put in order in this way.
async fn chaos_of(server: &EphemeralPostgres, mode: &str) -> Chaos {
    let chaos = Chaos::on(server, 1, |config| {
        config.user = Some(USER.to_owned());
        config.options = Some("-c work_mem=7MB".to_owned());
        config.release.mode = mode.parse().unwrap();
        config.pool.reset_timeout = LIMIT;
    })
    .await;
    chaos.watch.run(SETUP).await;
    chaos
}

/// A borrower does this, whatever it comes to, and the next finds what the first has found, in the same session.
async fn leaves_nothing(chaos: &Chaos, (name, sql): (&str, &str), fresh: &(String, i32)) {
    let lease = chaos.served().await;
    let _ = in_time("it is done", lease.batch_execute(sql)).await;
    drop(lease);
    assert_eq!(found(chaos).await, *fresh, "after {name}");
    assert_eq!(rows(chaos, "t").await, 0, "after {name}");
}

async fn nothing_is_left(mode: &str, others: &[(&str, &str)]) {
    let server = strict().start().unwrap();
    let chaos = chaos_of(&server, mode).await;
    let fresh = found(&chaos).await;
    for row in ROWS.iter().chain(others) {
        leaves_nothing(&chaos, *row, &fresh).await;
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
