//! Transactions that are dropped, at every moment: nobody works inside of one afterwards, neither its user nor the next one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};
use pool_postgres::{PostgresLease, PostgresTransaction, Queries, QueryError};
use pool_testkit::cancel::{Cut, Manner};

use crate::common::eventually;
use crate::stage::{Stage, begin_and_leave, insert, outside};

/// Does something with a future that is dropped after every number of polls, until it ends before.
pub(crate) async fn whenever_it_is_dropped(mut case: impl AsyncFnMut(Cut) -> bool) {
    for manner in Manner::ALL {
        let mut polls = usize::from(manner != Manner::AtOnce);
        while !case(Cut { polls, manner }).await {
            polls += 1;
            assert!(polls < 10_000, "it does not end");
        }
    }
}

/// What is inserted now is there at once.
async fn works_alone(it: &Stage, lease: &PostgresLease<'_>, number: i32) {
    Queries::execute(&**lease, &insert(number), &[]).await.unwrap();
    assert!(it.numbers().await.contains(&number), "{number} was inserted inside of somebody's transaction");
    outside(lease).await;
}

#[tokio::test]
async fn a_transaction_that_is_dropped_is_rolled_back_without_another_use() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    let transaction = lease.begin().await.unwrap();
    transaction.execute(&insert(1), &[]).await.unwrap();
    assert_eq!(it.in_state("idle in transaction").await, 1);
    drop(transaction);
    // Whoever has the connection does nothing with it.
    it.all_idle(1).await;
    works_alone(&it, &lease, 2).await;
    drop(lease);
    assert_eq!(it.numbers().await, [2]);
    it.close().await;
}

#[tokio::test]
async fn what_follows_a_dropped_transaction_at_once_is_not_inside_of_it() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    for number in (0..40).step_by(2) {
        let transaction = lease.begin().await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        drop(transaction);
        works_alone(&it, &lease, number + 1).await;
    }
    let transaction = lease.begin().await.unwrap();
    drop(transaction);
    let transaction = lease.begin().await.unwrap();
    transaction.execute(&insert(100), &[]).await.unwrap();
    transaction.commit().await.unwrap();
    drop(lease);
    assert_eq!(it.numbers().await.iter().filter(|number| **number % 2 == 0).collect::<Vec<_>>(), [&100]);
    it.close().await;
}

#[tokio::test]
async fn a_transaction_with_a_connection_of_its_own_reaches_nobody_else() {
    let it = Stage::new(1).await;
    for number in (0..40).step_by(2) {
        let transaction = it.pool.begin().await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        drop(transaction);
        let lease = it.pool.acquire().await.unwrap();
        works_alone(&it, &lease, number + 1).await;
    }
    let failed = it.pool.begin().await.unwrap();
    failed.execute("SELECT 1 / 0", &[]).await.unwrap_err();
    drop(failed);
    it.all_idle(1).await;
    works_alone(&it, &it.pool.acquire().await.unwrap(), 1000).await;
    assert!(it.numbers().await.iter().all(|number| number % 2 == 1 || *number == 1000));
    assert_eq!(it.pool.stats().opened, 1, "in one session");
    it.close().await;
}

/// The guard of tokio-postgres leaves the transaction open in this case, and so would a pool that does not look.
#[tokio::test]
async fn a_transaction_whose_guard_is_forgotten_reaches_nobody_else() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    let transaction = lease.begin().await.unwrap();
    transaction.execute(&insert(1), &[]).await.unwrap();
    std::mem::forget(transaction);
    drop(lease);
    works_alone(&it, &it.pool.acquire().await.unwrap(), 2).await;
    assert_eq!(it.numbers().await, [2]);
    it.close().await;
}

#[tokio::test]
async fn a_begin_that_is_dropped_leaves_no_transaction() {
    let it = Stage::new(1).await;
    let mut number = 0;
    whenever_it_is_dropped(async |cut| {
        number += 1;
        let mut lease = it.pool.acquire().await.unwrap();
        let ended = cut.apply(lease.begin()).await.map(|begun| drop(begun.unwrap())).is_some();
        works_alone(&it, &lease, number).await;
        ended
    })
    .await;
    whenever_it_is_dropped(async |cut| {
        number += 1;
        let ended = cut.apply(it.pool.begin()).await.map(|begun| drop(begun.unwrap())).is_some();
        works_alone(&it, &it.pool.acquire().await.unwrap(), number).await;
        ended
    })
    .await;
    assert!(number > 6, "{number} cases");
    it.all_idle(1).await;
    it.close().await;
}

/// Drops what ends a transaction, in which a number was inserted; the next number is inserted right after it.
async fn end_is_dropped(
    it: &Stage,
    end: impl AsyncFn(PostgresTransaction<'_>) -> Result<(), QueryError>,
    may_be_there: bool,
) {
    let mut number = 0;
    whenever_it_is_dropped(async |cut| {
        number += 2;
        let mut lease = it.pool.acquire().await.unwrap();
        let transaction = lease.begin().await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        let ended = cut.apply(end(transaction)).await;
        works_alone(it, &lease, number + 1).await;
        let is_there = it.numbers().await.contains(&number);
        if let Some(outcome) = &ended {
            outcome.as_ref().unwrap();
            assert_eq!(is_there, may_be_there);
        }
        assert!(!is_there || may_be_there && cut.polls > 0, "{cut:?}");
        ended.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_is_dropped_leaves_no_transaction() {
    let it = Stage::new(1).await;
    end_is_dropped(&it, async |transaction| transaction.commit().await, true).await;
    it.all_idle(1).await;
    it.close().await;
}

#[tokio::test]
async fn a_rollback_that_is_dropped_is_made_all_the_same() {
    let it = Stage::new(1).await;
    end_is_dropped(&it, async |transaction| transaction.rollback().await, false).await;
    it.all_idle(1).await;
    it.close().await;
}

#[tokio::test]
async fn a_savepoint_that_is_dropped_while_it_begins_leaves_its_transaction_as_it_was() {
    let it = Stage::new(1).await;
    let mut number = 0;
    whenever_it_is_dropped(async |cut| {
        number += 2;
        let mut transaction = it.pool.begin().await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        let ended = cut.apply(transaction.savepoint()).await.map(|begun| drop(begun.unwrap())).is_some();
        // None is left. To look for one is an error, so there is another one around that.
        let looking = transaction.savepoint_named("looking").await.unwrap();
        let none = looking.batch_execute("RELEASE \"savepoint 0\"").await.unwrap_err();
        assert_eq!(none.sqlstate().map(SqlState::code), Some("3B001"), "{cut:?}");
        looking.rollback().await.unwrap();
        transaction.execute(&insert(number + 1), &[]).await.unwrap();
        transaction.commit().await.unwrap();
        let there = it.numbers().await;
        assert!(there.contains(&number) && there.contains(&(number + 1)), "{cut:?}");
        ended
    })
    .await;
    it.close().await;
}

/// Drops what ends a savepoint, in which a number was inserted, between two others.
async fn end_of_savepoint_is_dropped(
    it: &Stage,
    end: impl AsyncFn(PostgresTransaction<'_>) -> Result<(), QueryError>,
    may_be_there: bool,
) {
    let mut number = 0;
    whenever_it_is_dropped(async |cut| {
        number += 3;
        let mut transaction = it.pool.begin().await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        let savepoint = transaction.savepoint().await.unwrap();
        savepoint.execute(&insert(number + 1), &[]).await.unwrap();
        let ended = cut.apply(end(savepoint)).await;
        transaction.execute(&insert(number + 2), &[]).await.unwrap();
        transaction.commit().await.unwrap();
        let there = it.numbers().await;
        assert!(there.contains(&number) && there.contains(&(number + 2)), "{cut:?}");
        let is_there = there.contains(&(number + 1));
        if let Some(outcome) = &ended {
            outcome.as_ref().unwrap();
            assert_eq!(is_there, may_be_there);
        }
        assert!(!is_there || may_be_there && cut.polls > 0, "{cut:?}");
        ended.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_savepoint_that_is_dropped_while_it_is_released_leaves_its_transaction_in_order() {
    let it = Stage::new(1).await;
    end_of_savepoint_is_dropped(&it, async |savepoint| savepoint.commit().await, true).await;
    it.close().await;
}

#[tokio::test]
async fn a_savepoint_that_is_dropped_while_it_is_undone_is_undone_all_the_same() {
    let it = Stage::new(1).await;
    end_of_savepoint_is_dropped(&it, async |savepoint| savepoint.rollback().await, false).await;
    it.close().await;
}

#[tokio::test]
async fn the_work_of_a_runner_that_is_dropped_is_all_there_or_not_at_all() {
    let it = Stage::new(1).await;
    let mut number = 0;
    whenever_it_is_dropped(async |cut| {
        number += 3;
        let work = it.pool.transaction(async |tx| {
            tx.execute(&insert(number), &[]).await?;
            tx.execute(&insert(number + 1), &[]).await?;
            Ok::<_, QueryError>(())
        });
        let ended = cut.apply(work).await.map(Result::unwrap).is_some();
        works_alone(&it, &it.pool.acquire().await.unwrap(), number + 2).await;
        let there = it.numbers().await;
        let found = [number, number + 1].map(|number| there.contains(&number));
        assert!(found == [true; 2] || (found == [false; 2] && !ended), "{cut:?}: {found:?}");
        ended
    })
    .await;
    assert_eq!(it.pool.stats().opened, 1, "in one session");
    it.close().await;
}

#[tokio::test]
async fn a_statement_that_nobody_waits_for_is_rolled_back_with_its_transaction() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    let transaction = lease.begin().await.unwrap();
    let slow = format!("SELECT pg_sleep(0.05); {}", insert(1));
    begin_and_leave(transaction.client().batch_execute(&slow)).await;
    drop(transaction);
    works_alone(&it, &lease, 2).await;
    drop(lease);
    let transaction = it.pool.begin().await.unwrap();
    begin_and_leave(transaction.client().batch_execute("SELECT pg_sleep(600)")).await;
    it.at_work().await;
    drop(transaction);
    // The pool cancels it.
    works_alone(&it, &it.pool.acquire().await.unwrap(), 3).await;
    assert_eq!(it.numbers().await, [2, 3]);
    it.close().await;
}

/// A value that cannot be sent.
#[derive(Debug)]
struct Panics;

impl ToSql for Panics {
    fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        panic!("on purpose")
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Half a message is in the client's buffer then, and what is sent behind that would not be understood.
#[tokio::test]
async fn a_panic_in_the_middle_of_a_request_ends_the_session_and_nobody_is_inside() {
    let it = Stage::new(1).await;
    let mut lease = it.pool.acquire().await.unwrap();
    let transaction = lease.begin().await.unwrap();
    transaction.execute(&insert(1), &[]).await.unwrap();
    let statement = transaction.client().prepare("INSERT INTO t VALUES ($1)").await.unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let transaction = transaction;
        let mut asking = std::pin::pin!(transaction.client().execute(&statement, &[&Panics]));
        let _ = asking.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    }));
    assert!(panicked.is_err());
    let error = Queries::execute(&*lease, &insert(2), &[]).await.unwrap_err();
    assert!(error.is_closed(), "{error}");
    drop(lease);
    eventually("the server has let go", async || it.in_state("idle in transaction").await == 0).await;
    works_alone(&it, &it.pool.acquire().await.unwrap(), 3).await;
    assert_eq!(it.numbers().await, [3]);
    it.close().await;
}

#[tokio::test]
async fn a_transaction_can_be_dropped_when_its_runtime_has_ended() {
    let it = Stage::new(1).await;
    let (transaction, pool) = std::thread::scope(|scope| {
        let url = it.database.url();
        scope
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let config = crate::common::config(url, 1);
                    let pool = pool_postgres::PostgresPool::connect(config).await.unwrap();
                    let transaction = pool.begin().await.unwrap();
                    transaction.execute(&insert(1), &[]).await.unwrap();
                    (transaction, pool)
                })
            })
            .join()
            .unwrap()
    });
    drop(transaction);
    drop(pool);
    it.other.batch_execute("LOCK TABLE t").await.unwrap_err();
    eventually("its session is gone", async || {
        let held = "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass";
        it.other.query_one(held, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    assert!(it.numbers().await.is_empty());
    it.close().await;
}

/// As if each commit took so long.
const SLOW: &str = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END'; CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()";

/// Nobody waits for it any more, and its connection goes back: it is carried out before anybody else gets that.
#[tokio::test]
async fn a_commit_that_is_dropped_has_time_to_end_when_its_connection_goes_back() {
    // Half of this, which is more than a machine that is busy stands still.
    let it = Stage::with(1, |config| config.pool.reset_timeout = Duration::from_mins(1)).await;
    it.other.batch_execute(SLOW).await.unwrap();
    for (number, by_statement) in [(1, false), (2, true)] {
        let transaction = it.pool.begin().await.unwrap();
        transaction.execute(&insert(number), &[]).await.unwrap();
        if by_statement {
            begin_and_leave(transaction.client().batch_execute("\n commit;")).await;
            drop(transaction);
        } else {
            begin_and_leave(transaction.commit()).await;
        }
        outside(&it.pool.acquire().await.unwrap()).await;
        assert!(it.numbers().await.contains(&number), "{number}");
    }
    assert_eq!(it.pool.stats().opened, 1, "in one session");
    it.close().await;
}

/// One that does not end in time is cancelled, and rolled back; its connection is kept.
#[tokio::test]
async fn a_commit_that_is_dropped_and_does_not_end_is_cancelled() {
    // After half of this; the other half is for the cancellation, also on a machine that stands still meanwhile.
    let it = Stage::with(1, |config| config.pool.reset_timeout = Duration::from_secs(10)).await;
    it.other.batch_execute(&SLOW.replace("0.5", "600")).await.unwrap();
    let transaction = it.pool.begin().await.unwrap();
    transaction.execute(&insert(1), &[]).await.unwrap();
    begin_and_leave(transaction.commit()).await;
    it.at_work().await;
    outside(&it.pool.acquire().await.unwrap()).await;
    assert!(it.numbers().await.is_empty());
    assert_eq!(it.pool.stats().opened, 1, "in one session");
    it.close().await;
}
