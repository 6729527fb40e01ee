//! F024, F025, and operations that are tried again while connections are lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pool_postgres::PostgresOwnedLease;
use pool_postgres::retry::{AttemptError, GaveUp, Outcome, Retrier, RetryError, RetryPolicy};
use pool_testkit::books::{Told, settle};
use pool_testkit::proxy::{Direction, End, Place, Toxic};
use tokio_postgres::{Client, Error};

use crate::asking::{LIMIT, eventually, in_time};
use crate::common::Chaos;
use crate::invariants;

type Lease = Arc<PostgresOwnedLease>;

fn retrier(chaos: &Chaos, attempts: u32) -> Retrier {
    let mut policy = RetryPolicy::default();
    (policy.pause_initial, policy.pause_max) = (Duration::from_millis(1), Duration::from_millis(5));
    policy.attempts = attempts;
    chaos.pool.retrying(policy).unwrap()
}

/// A table that notes which operation was done. It goes away with the server.
async fn table(chaos: &Chaos, name: &str) {
    let table = format!("CREATE TABLE {name} (operation int); GRANT ALL ON {name} TO chaos");
    chaos.watch.client().batch_execute(&table).await.unwrap();
}

/// The operations that were done, in order, each as often as it was.
async fn done(client: &Client, table: &str) -> Vec<i32> {
    let rows = client.query(&format!("SELECT operation FROM {table} ORDER BY 1"), &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn cut(kind: u8, nth: u64, place: Place, end: End) -> Toxic {
    Toxic::CutAt { kind, nth, place, end }
}

/// One transaction of `BEGIN`, `INSERT` and `COMMIT` on a connection that is cut there.
async fn cut_at(chaos: &mut Chaos, table: &str, direction: Direction, toxic: Toxic) -> Result<(), RetryError> {
    drop(chaos.working().await);
    eventually("nothing is under way", async || chaos.pool.state().idle == 1).await;
    let lease = chaos.pool.acquire().await.unwrap();
    lease.batch_execute("").await.unwrap();
    drop(lease);
    // Now and then it is reset first, by a question that would be counted.
    eventually("it is back", async || chaos.pool.state().idle == 1).await;
    chaos.proxy.set_once(direction, toxic);
    let insert = format!("INSERT INTO {table} VALUES (1)");
    let retrier = retrier(chaos, 5);
    let outcome = in_time("an end", retrier.transaction(async |lease: Lease| lease.batch_execute(&insert).await)).await;
    chaos.proxy.calm().await;
    if let Err(error) = &outcome {
        chaos.note(error);
    }
    outcome
}

#[tokio::test]
async fn f025_a_connection_that_is_lost_after_commit_was_sent_leaves_the_outcome_unknown() {
    let mut chaos = Chaos::start(1).await;
    table(&chaos, "f025_unknown").await;
    let mut arrived = 0;
    for (direction, toxic, commits) in [
        (Direction::ToServer, cut(b'Q', 3, Place::Before, End::Reset), false),
        (Direction::ToClient, cut(b'C', 3, Place::Before, End::Close), true),
        (Direction::ToClient, cut(b'C', 3, Place::After, End::Close), true),
        (Direction::ToClient, cut(b'Z', 3, Place::Before, End::Reset), true),
    ] {
        let at = format!("{direction:?} {toxic:?}");
        let error = cut_at(&mut chaos, "f025_unknown", direction, toxic).await.unwrap_err();
        let told = (error.attempts, error.reason, error.outcome);
        assert_eq!(told, (1, GaveUp::OutcomeUnknown, Outcome::Unknown), "{at}");
        assert!(error.sqlstate().is_none() && error.into_source().is::<Error>(), "{at}");
        arrived += usize::from(commits);
        // What has arrived is carried out.
        eventually(&at, async || done(chaos.watch.client(), "f025_unknown").await.len() == arrived).await;
    }
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f025_a_connection_that_is_lost_before_commit_was_sent_costs_a_retry_and_no_more() {
    let mut chaos = Chaos::start(1).await;
    table(&chaos, "f025_retried").await;
    let mut times = 0;
    for nth in [1, 2] {
        for (direction, kind) in [(Direction::ToServer, b'Q'), (Direction::ToClient, b'C'), (Direction::ToClient, b'Z')]
        {
            for place in [Place::Before, Place::After] {
                // After the answer to the second, `COMMIT` may have been sent.
                if (nth, kind, place) != (2, b'Z', Place::After) {
                    let toxic = cut(kind, nth, place, End::Close);
                    let at = format!("{direction:?} {toxic:?}");
                    cut_at(&mut chaos, "f025_retried", direction, toxic).await.expect(&at);
                    times += 1;
                    assert_eq!(done(chaos.watch.client(), "f025_retried").await.len(), times, "{at}");
                }
            }
        }
    }
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f025_a_deadline_inside_of_commit_leaves_the_outcome_unknown() {
    let mut chaos = Chaos::start(1).await;
    table(&chaos, "f025_deadline").await;
    let mut policy = RetryPolicy::default();
    // Long enough for all that comes before the end.
    policy.deadline = Duration::from_secs(4);
    let retrier = chaos.pool.retrying(policy).unwrap();
    drop(chaos.working().await);
    let work = async |lease: Lease| -> Result<(), Error> {
        lease.batch_execute("INSERT INTO f025_deadline VALUES (1)").await?;
        chaos.proxy.set(Direction::ToServer, Toxic::Hold);
        Ok(())
    };
    let error = in_time("an end", retrier.transaction(work)).await.unwrap_err();
    chaos.note(&error);
    assert_eq!((error.attempts, error.reason, error.outcome), (1, GaveUp::Deadline, Outcome::Unknown));
    assert_eq!(error.into_source().downcast_ref(), Some(&AttemptError::CutOff));
    chaos.proxy.calm().await;
    eventually("what was on its way arrives", async || done(chaos.watch.client(), "f025_deadline").await.len() == 1)
        .await;
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f024_a_commit_that_is_answered_with_rollback_is_no_success() {
    let mut chaos = Chaos::start(1).await;
    table(&chaos, "f024").await;
    let careless = async |lease: Lease| -> Result<(), Error> {
        lease.batch_execute("INSERT INTO f024 VALUES (1)").await?;
        let _ = lease.batch_execute("SELECT 1 / 0").await;
        Ok(())
    };
    let error = in_time("an end", retrier(&chaos, 5).transaction(careless)).await.unwrap_err();
    chaos.note(&error);
    assert_eq!((error.attempts, error.reason, error.outcome), (1, GaveUp::NotRetryable, Outcome::NotDone));
    assert_eq!(error.into_source().downcast_ref(), Some(&AttemptError::RolledBack));
    assert!(done(chaos.watch.client(), "f024").await.is_empty());
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.closed), (1, 0), "its connection is kept: {stats:?}");
}

/// Operations, of which each hundredth meets with a fault: what becomes of it is noted by the operation's number.
struct Storm {
    chaos: Chaos,
    retrier: Retrier,
    table: &'static str,
    next: AtomicU64,
}

const OPERATIONS: u64 = 2000;
const WORKERS: usize = 6;
/// One of so many operations meets with a fault.
const FAULTY: u64 = 100;

impl Storm {
    /// What goes wrong in an operation's first attempt: the server refuses it, ends the session, or somebody's connection is cut.
    async fn fault(&self, number: u64, lease: &Lease) -> Result<(), Error> {
        if !number.is_multiple_of(FAULTY) {
            return Ok(());
        }
        let raise = |code| format!("DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{code}'; END $$");
        let at = number / FAULTY;
        // The network's strike whoever is next, and the answer is lost to what has arrived: a third of these are `COMMIT`.
        match at % 5 {
            0 | 1 => lease.batch_execute(&raise("40001")).await,
            2 => lease.batch_execute(&raise("40P01")).await,
            3 => lease.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await,
            _ if at.is_multiple_of(2) => {
                self.chaos.proxy.set_once(Direction::ToServer, cut(b'Q', 1, Place::After, End::Close));
                Ok(())
            }
            _ => {
                self.chaos.proxy.set_once(Direction::ToClient, cut(b'C', 1, Place::Before, End::Close));
                Ok(())
            }
        }
    }

    async fn operation(&self, number: u64) -> Result<(), RetryError> {
        let tries = AtomicU64::new(0);
        let insert = format!("INSERT INTO {} VALUES ({number})", self.table);
        let work = async |lease: Lease| -> Result<(), Error> {
            lease.batch_execute(&insert).await?;
            if tries.fetch_add(1, Ordering::Relaxed) == 0 {
                self.fault(number, &lease).await?;
            }
            Ok(())
        };
        self.retrier.transaction(work).await
    }

    /// What became of the operations that one worker has done.
    async fn work(self: Arc<Self>) -> Vec<(u64, Option<Outcome>)> {
        let mut ends = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number > OPERATIONS {
                return ends;
            }
            ends.push((number, self.operation(number).await.err().map(|error| error.outcome)));
        }
    }
}

/// How many of the operations succeeded with so many attempts. Every one is done once if it succeeded, never if it says so, and once at most otherwise.
async fn storm(table_name: &'static str, attempts: u32) -> u64 {
    let chaos = Chaos::start(WORKERS).await;
    table(&chaos, table_name).await;
    let retrier = retrier(&chaos, attempts);
    let storm = Arc::new(Storm { chaos, retrier, table: table_name, next: AtomicU64::new(1) });
    // In tasks: the futures can move between threads.
    let workers: Vec<_> = (0..WORKERS).map(|_| tokio::spawn(Arc::clone(&storm).work())).collect();
    let mut ends = Vec::new();
    for worker in workers {
        // As much as a busy machine may take for so many.
        ends.extend(tokio::time::timeout(10 * LIMIT, worker).await.expect("an end").unwrap());
    }
    ends.sort_by_key(|(number, _)| *number);
    assert!(ends.iter().map(|(number, _)| *number).eq(1..=OPERATIONS), "each operation has an end");
    let Storm { chaos, retrier, .. } = Arc::into_inner(storm).expect("nobody has it any more");
    assert!(chaos.proxy.seen().struck >= OPERATIONS / FAULTY / 5, "the network's faults have happened, too");
    let succeeded = accounted_for(chaos, table_name, &ends).await;
    let (stats, given_up) = (retrier.stats(), retrier.stats().given_up().map(|(_, count)| count).sum::<u64>());
    assert_eq!((stats.operations, stats.succeeded, given_up), (OPERATIONS, succeeded, OPERATIONS - succeeded));
    succeeded
}

/// Compares what the operations were told with what the table has.
async fn accounted_for(chaos: Chaos, table: &str, ends: &[(u64, Option<Outcome>)]) -> u64 {
    chaos.proxy.calm().await;
    // Sessions that were cut may be at work still.
    chaos.watch.client().batch_execute(&format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE; COMMIT")).await.unwrap();
    let done = done(chaos.watch.client(), table).await;
    let told = ends.iter().map(|(number, end)| (*number, told(*end))).collect();
    let balance = settle(told, done.into_iter().map(|number| u64::try_from(number).unwrap()).collect());
    assert_eq!(balance.wrong(), 0, "{balance:?}");
    invariants::hold(chaos).await;
    balance.done
}

/// How an operation has ended, in the words of the books.
fn told(end: Option<Outcome>) -> Told {
    match end {
        None => Told::Done,
        Some(Outcome::NotDone) => Told::NotDone,
        Some(Outcome::Unknown) => Told::Unknown,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_faults_in_one_operation_of_a_hundred_nearly_all_succeed_and_none_twice() {
    let succeeded = storm("storm_with_retries", 5).await;
    assert!(succeeded * 1000 > OPERATIONS * 995, "{succeeded} of {OPERATIONS}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_retries_the_same_faults_are_failures() {
    let succeeded = storm("storm_without_retries", 1).await;
    // Each that the server refuses or ends, and whatever the network's strike.
    assert!(succeeded <= OPERATIONS - OPERATIONS / FAULTY / 5 * 4, "{succeeded} of {OPERATIONS}");
}
