//! What each mode of the policy does, and what it costs.

use std::sync::{Arc, Mutex};

use pool_core::{Fit, Preference, Tag};
use pool_postgres::OpenTransaction;

use crate::common::{eventually, sessions_on_server};
use crate::session::{Stage, process};

#[tokio::test]
async fn a_session_that_was_not_changed_costs_nothing() {
    let stage = Stage::of_mode("changed").await;
    let lease = stage.pool.acquire().await.unwrap();
    lease.query("SELECT generate_series(1, 1000)", &[]).await.unwrap();
    lease
        .batch_execute("BEGIN; INSERT INTO t VALUES (1); ROLLBACK; SHOW work_mem; SET CONSTRAINTS ALL DEFERRED")
        .await
        .unwrap();
    assert!(lease.activity().changes.is_none(), "{}", lease.activity().changes);
    let sent = lease.activity().bytes_sent;
    drop(lease);
    let again = stage.pool.try_acquire().expect("it was idle at once");
    // The statement of the first borrower is closed, and nothing else is asked.
    assert!(again.activity().bytes_sent - sent < 40, "{} bytes", again.activity().bytes_sent - sent);
    drop(again);
    stage.end().await;
}

#[tokio::test]
async fn what_is_undone_takes_one_round_trip() {
    let stage = Stage::of_mode("changed").await;
    let lease = stage.pool.acquire().await.unwrap();
    let all = "BEGIN; SET work_mem = '12MB'; LISTEN news; CREATE TEMP TABLE mine (n int)";
    lease.batch_execute(all).await.unwrap();
    assert_eq!(lease.activity().changes.to_string(), "settings, channels, temporary objects");
    drop(lease);
    let lease = stage.pool.acquire().await.unwrap();
    let asked = "SELECT wal_records FROM pg_stat_wal";
    lease.query_one(asked, &[]).await.unwrap();
    assert!(lease.activity().changes.is_none());
    drop(lease);
    // What the server was asked last before this borrower, as it says itself.
    stage.leave("SET work_mem = '12MB'").await;
    let last = "SELECT query FROM pg_stat_activity WHERE pid = $1";
    let undone = async || {
        let query: String = stage.watch.query_one(last, &[&stage.process]).await.unwrap().get(0);
        query == "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL"
    };
    eventually("it is undone in one message", undone).await;
    stage.end().await;
}

#[tokio::test]
async fn the_fast_mode_leaves_what_outlives_a_transaction() {
    let stage = Stage::of_mode("fast").await;
    stage.leave("BEGIN; INSERT INTO t VALUES (1)").await;
    stage.assert_clean("a transaction").await;
    stage.leave("SET app.tenant = '7'; LISTEN news").await;
    let lease = stage.pool.try_acquire().expect("it was idle at once");
    assert!(lease.activity().changes.settings());
    drop(lease);
    let found = stage.found().await.unwrap();
    assert!(found.contains("tenant=7") && found.contains("channels=1"), "{found}");
    stage.end().await;
}

#[tokio::test]
async fn a_verified_session_has_answered_since_its_last_use() {
    let stage = Stage::of_mode("verified").await;
    // What nobody has used was verified before.
    drop(stage.pool.acquire().await.unwrap());
    stage.pool.health().await.unwrap();
    drop(stage.pool.try_acquire().expect("nobody has asked anything"));
    let lease = stage.pool.acquire().await.unwrap();
    lease.batch_execute("SELECT 1").await.unwrap();
    let received = lease.activity().bytes_received;
    drop(lease);
    stage.pool.try_acquire().map(drop).expect_err("the server is asked");
    let again = stage.pool.acquire().await.unwrap();
    assert!(again.activity().bytes_received > received, "the server has answered");
    drop(again);
    stage.end().await;
}

#[tokio::test]
async fn statements_of_ones_own_are_executed_after_each_use() {
    let stage = Stage::start(|config| {
        config.release.mode = "custom".parse().unwrap();
        config.release.sql = Some("RESET ALL; SELECT pg_advisory_unlock_all()".to_owned());
    })
    .await;
    stage.leave("BEGIN; SET app.tenant = '7'; SELECT pg_advisory_lock(1)").await;
    stage.assert_clean("what the statements undo").await;
    stage.leave("LISTEN news").await;
    assert!(stage.found().await.unwrap().contains("channels=1"), "they do nothing else");
    stage.end().await;
}

#[tokio::test]
async fn statements_that_fail_cost_the_session_and_nothing_else() {
    let stage = Stage::start(|config| {
        config.release.mode = "custom".parse().unwrap();
        config.release.sql = Some("SELECT * FROM nowhere".to_owned());
    })
    .await;
    let before = stage.pool.stats().opened;
    for _ in 0..3 {
        stage.leave("SELECT 1").await;
        assert_eq!(stage.found().await, None);
    }
    assert!(stage.pool.stats().opened >= before + 3);
    stage.end().await;
}

#[tokio::test]
async fn a_reset_that_hangs_costs_the_session_within_its_limit() {
    let stage = Stage::start(|config| {
        config.release.mode = "custom".parse().unwrap();
        config.release.sql = Some("SELECT pg_sleep(600)".to_owned());
        config.pool.reset_timeout = std::time::Duration::from_millis(200);
    })
    .await;
    stage.leave("SELECT 1").await;
    let next = stage.pool.acquire().await.unwrap();
    assert_ne!(process(&next).await, stage.process, "another session");
    next.discard();
    eventually("the server has let go of both", async || {
        sessions_on_server(&stage.watch, stage.database.name()).await == 0
    })
    .await;
    stage.end().await;
}

#[tokio::test]
async fn a_transaction_left_open_costs_the_session_if_that_is_wished() {
    let stage = Stage::start(|config| config.release.open_transaction = OpenTransaction::Close).await;
    stage.leave("BEGIN; SELECT 1/0").await;
    stage.assert_clean("a transaction that has failed").await;
    stage.leave("BEGIN; INSERT INTO t VALUES (1)").await;
    assert_eq!(stage.found().await, None);
    assert_ne!(process(&stage.pool.acquire().await.unwrap()).await, stage.process, "another session");
    // Known only when it has been answered.
    {
        let lease = stage.pool.acquire().await.unwrap();
        let begins = lease.batch_execute("BEGIN; INSERT INTO t VALUES (1)");
        futures_util::pin_mut!(begins);
        assert!(futures_util::poll!(&mut begins).is_pending());
    }
    assert_eq!(stage.found().await, None);
    assert_eq!(stage.pool.stats().opened, 3);
    stage.end().await;
}

#[tokio::test]
async fn whoever_discards_what_the_client_has_prepared_costs_the_session() {
    for mode in ["changed", "fast", "clean"] {
        let stage = Stage::of_mode(mode).await;
        for sql in ["DISCARD ALL", "DEALLOCATE ALL"] {
            let lease = stage.pool.acquire().await.unwrap();
            lease.query_one("SELECT 'good'::mood", &[]).await.unwrap();
            lease.batch_execute(sql).await.unwrap();
            assert!(lease.activity().changes.lost());
            drop(lease);
            // The client looks the type up, by a statement that it has prepared before.
            stage.pool.acquire().await.unwrap().query_one("SELECT ARRAY['good'::mood]", &[]).await.unwrap();
        }
        assert_eq!(stage.pool.stats().opened, 3, "{mode}");
        stage.end().await;
    }
}

/// What the configuration has set comes back, the role among it.
#[tokio::test]
async fn a_session_goes_back_to_what_the_configuration_says() {
    let stage = Stage::start(|config| config.options = Some("-c work_mem=7MB -c role=pg_monitor".to_owned())).await;
    for sql in
        ["SET ROLE none; SET work_mem = '12MB'", "SET SESSION AUTHORIZATION pg_monitor", "RESET ALL; SET ROLE none"]
    {
        stage.leave(sql).await;
        stage.assert_clean(sql).await;
    }
    stage.end().await;
}

/// A tag says what is so: what was set for it is kept, or the tag is lost with it.
#[tokio::test]
async fn tags_are_true_whatever_is_undone() {
    let stage = Stage::of_mode("changed").await;
    let wish = Preference::tag(Tag::new("app.tenant", "7").unwrap());
    let ask = async || {
        let (lease, fit) = stage.pool.acquire_preferring(&wish).await.unwrap();
        let tenant: String = lease.query_one("SELECT current_setting('app.tenant')", &[]).await.unwrap().get(0);
        assert!(lease.activity().changes.is_none(), "the pool has set it");
        (tenant, fit)
    };
    assert_eq!(ask().await, ("7".to_owned(), Fit::Converted));
    assert_eq!(ask().await, ("7".to_owned(), Fit::AtOnce));
    for sql in ["SET work_mem = '12MB'", "SET app.tenant = '8'", "RESET app.tenant", "BEGIN"] {
        stage.leave(sql).await;
        assert_eq!(ask().await, ("7".to_owned(), Fit::Converted), "{sql}");
        assert_eq!(ask().await, ("7".to_owned(), Fit::AtOnce), "{sql}");
    }
    // A parameter that the server reports, too.
    let named = Preference::tag(Tag::new("application_name", "tagged").unwrap());
    let (lease, _) = stage.pool.acquire_preferring(&named).await.unwrap();
    assert_eq!(lease.parameter("application_name").as_deref(), Some("tagged"));
    drop(lease);
    let (_, fit) = stage.pool.acquire_preferring(&named).await.unwrap();
    assert_eq!(fit, Fit::AtOnce, "it has not counted as a change");
    stage.end().await;
}

/// What no log may show.
const INSIDE: &str = "of the borrower alone";

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_transaction_left_open_is_told_without_what_was_in_it() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let listening = tracing::subscriber::set_default(subscriber);
    // After that: what the pool does in the background is heard by whoever listened when it was begun.
    let stage = Stage::of_mode("changed").await;
    stage.leave(&format!("BEGIN; INSERT INTO t VALUES ({}); SELECT '{INSIDE}'", INSIDE.len())).await;
    stage.assert_clean("a transaction").await;
    stage.leave(&format!("BEGIN; INSERT INTO t VALUES (7); SELECT '{INSIDE}'::int")).await;
    stage.assert_clean("a transaction that has failed").await;
    drop(listening);
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    // On a machine that is busy there may be others, such as that somebody has waited for long.
    let is_told = |line: &&str| line.contains("WARN") && line.contains("a session has come back");
    let warnings: Vec<_> = said.lines().filter(is_told).collect();
    assert_eq!(warnings.len(), 2, "{said}");
    assert!(warnings[0].contains("idle in transaction") && warnings[0].contains("SELECT 1"), "{said}");
    assert!(warnings[1].contains("idle in transaction (aborted)") && warnings[1].contains("INSERT 0 1"), "{said}");
    assert!(warnings.iter().all(|line| line.contains(&stage.process.to_string())), "{said}");
    assert!(!said.contains(INSIDE), "what was in it is told");
    stage.end().await;
}
