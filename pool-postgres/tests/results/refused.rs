//! Data that the server does not take.

use futures_util::SinkExt;
use pool_postgres::retry::Outcome;
use pool_postgres::{Queries, QueryStep};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::setting::{Setting, answers, in_time, until_refused};

/// Refused before the server has looked for data: two of these before it says that it takes any, and two after.
const AT_ONCE: [(&str, &str); 4] =
    [("nowhere", "42P01"), ("t (missing)", "42703"), ("view", "42809"), ("guarded", "P0001")];

async fn prepare(setting: &Setting) {
    setting
        .run(
            "CREATE VIEW view AS SELECT 1 AS n; CREATE TABLE guarded (n int);
             CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
             CREATE TRIGGER no BEFORE INSERT ON guarded FOR EACH STATEMENT EXECUTE FUNCTION no()",
        )
        .await;
}

/// tokio-postgres by itself takes the answers for each other then.
#[tokio::test]
async fn what_is_refused_at_once_leaves_the_answers_in_step() {
    let setting = Setting::start().await;
    prepare(&setting).await;
    let mut lease = setting.pool.acquire().await.unwrap();
    for round in 0..20 {
        for (table, code) in AT_ONCE {
            let error = match in_time(lease.copy_in(format!("COPY {table} FROM STDIN"))).await {
                Err(error) => error,
                Ok(mut copy) => {
                    let sent = if round % 2 == 0 { copy.send("1\n").await } else { Ok(()) };
                    match sent {
                        Ok(()) => in_time(copy.finish()).await.unwrap_err(),
                        Err(error) => error,
                    }
                }
            };
            assert_eq!(error.sqlstate().map(SqlState::code), Some(code), "{table}: {error}");
            assert_eq!((error.step(), error.outcome()), (QueryStep::Copy, Outcome::NotDone), "{error}");
            answers(&lease).await;
        }
        setting.becomes("idle").await;
    }
    drop(lease);
    for (table, _) in AT_ONCE {
        match setting.pool.copy_in(format!("COPY {table} FROM STDIN")).await {
            Err(_) => {}
            Ok(copy) => drop(copy),
        }
    }
    setting.ends_well().await;
}

#[tokio::test]
async fn what_is_refused_in_a_transaction_makes_that_fail_up_to_its_savepoint() {
    let setting = Setting::start().await;
    prepare(&setting).await;
    let mut lease = setting.pool.acquire().await.unwrap();
    lease.batch_execute("BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s").await.unwrap();
    for (table, _) in AT_ONCE {
        match lease.copy_in(format!("COPY {table} FROM STDIN")).await {
            Err(_) => {}
            Ok(copy) => assert!(copy.finish().await.is_err()),
        }
        setting.becomes("idle in transaction (aborted)").await;
        lease.batch_execute("ROLLBACK TO s").await.unwrap();
        answers(&lease).await;
    }
    let mut copy = lease.copy_in("COPY t FROM STDIN").await.unwrap();
    copy.send("2\nx\n").await.unwrap();
    assert!(copy.finish().await.is_err());
    lease.batch_execute("ROLLBACK TO s; COMMIT").await.unwrap();
    drop(lease);
    assert_eq!(setting.rows().await, 1);
    setting.ends_well().await;
}

/// Whoever goes on sending is told, and told why.
#[tokio::test]
async fn a_bad_row_is_told_while_more_is_sent() {
    let setting = Setting::start().await;
    setting.run("ALTER TABLE t ADD CHECK (n < 100)").await;
    for (bad, code) in [("x\n", "22P02"), ("1\t2\n", "22P04"), ("100\n", "23514"), ("99999999999\n", "22003")] {
        let mut copy = setting.pool.copy_in("COPY t FROM STDIN").await.unwrap();
        copy.send("1\n".repeat(1000)).await.unwrap();
        copy.send(bad).await.unwrap();
        let error = until_refused(&mut copy, "1\n".repeat(10_000).into()).await;
        assert_eq!(error.sqlstate().map(SqlState::code), Some(code), "{error}");
        assert_eq!((error.step(), error.outcome()), (QueryStep::Copy, Outcome::NotDone));
        assert!(!error.is_closed());
        assert!(in_time(copy.send("1\n")).await.is_err() && in_time(copy.finish()).await.is_err(), "it stays so");
        assert_eq!(setting.rows().await, 0);
    }
    setting.ends_well().await;
}

#[tokio::test]
async fn a_bad_row_is_told_at_the_end() {
    let setting = Setting::start().await;
    setting.run("CREATE UNIQUE INDEX ON t (n)").await;
    for (data, code) in [("1\n1\n", "23505"), ("1\nx", "22P02"), ("x", "22P02")] {
        let mut copy = setting.pool.copy_in("COPY t FROM STDIN").await.unwrap();
        copy.send(data).await.unwrap();
        let error = in_time(copy.finish()).await.unwrap_err();
        assert_eq!(error.sqlstate().map(SqlState::code), Some(code), "{error}");
        assert_eq!(error.outcome(), Outcome::NotDone, "{error}");
        assert_eq!(setting.rows().await, 0);
    }
    setting.ends_well().await;
}

/// The number of rows comes before they are committed, and tokio-postgres by itself takes it for success.
#[tokio::test]
async fn what_the_commit_refuses_is_told() {
    let setting = Setting::start().await;
    setting.run("ALTER TABLE t ADD UNIQUE (n) DEFERRABLE INITIALLY DEFERRED").await;
    let mut copy = setting.pool.copy_in("COPY t FROM STDIN").await.unwrap();
    copy.send("1\n2\n1\n").await.unwrap();
    let error = in_time(copy.finish()).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::UNIQUE_VIOLATION), "{error}");
    assert_eq!((error.step(), error.outcome()), (QueryStep::Copy, Outcome::NotDone));
    assert_eq!(setting.rows().await, 0);
    setting.ends_well().await;
}

/// What the client does by itself, the pool cannot mend: it closes the connection before anybody else gets an answer that is not his.
#[tokio::test]
async fn after_one_of_the_clients_that_was_refused_the_connection_is_closed() {
    for (table, _) in AT_ONCE {
        let setting = Setting::start().await;
        prepare(&setting).await;
        let lease = setting.pool.acquire().await.unwrap();
        let begun = Client::copy_in::<_, &[u8]>(&lease, &format!("COPY {table} FROM STDIN")).await;
        if let Ok(sink) = begun {
            let mut sink = Box::pin(sink);
            let _ = sink.send(b"1\n").await;
            assert!(sink.as_mut().finish().await.is_err());
        }
        drop(lease);
        setting.ends_on_another().await;
    }
}

#[tokio::test]
async fn one_of_the_clients_that_succeeds_or_is_dropped_costs_no_connection() {
    let setting = Setting::start().await;
    let lease = setting.pool.acquire().await.unwrap();
    for end in [true, false] {
        let sink = Client::copy_in::<_, &[u8]>(&lease, "COPY t FROM STDIN").await.unwrap();
        let mut sink = Box::pin(sink);
        sink.send(b"1\n").await.unwrap();
        if end {
            assert_eq!(sink.as_mut().finish().await.unwrap(), 1);
        }
        drop(sink);
        answers(&lease).await;
    }
    drop(lease);
    assert_eq!(setting.rows().await, 1);
    setting.ends_well().await;
}

#[tokio::test]
async fn a_pool_that_is_closed_says_so() {
    let setting = Setting::start().await;
    setting.pool.disconnect().await;
    let error = setting.pool.copy_in("COPY t FROM STDIN (FORMAT csv, NULL 's3cr3t')").await.unwrap_err();
    assert_eq!((error.step(), error.outcome()), (QueryStep::Acquire, Outcome::NotDone));
    assert!(!error.to_string().contains("s3cr3t"), "{error}");
    let error = Queries::query(&setting.pool, "SELECT 1", &[]).await.unwrap_err();
    assert_eq!(error.step(), QueryStep::Acquire);
}
