//! Sessions that a function changes of which nobody knows.

use futures_util::FutureExt;

use crate::common::eventually;
use crate::stage::{GATED, Stage, in_time};

const SETTER: &str = "CREATE FUNCTION rename(name text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('application_name', name, false) $$";

async fn name(stage: &Stage) -> String {
    let asked = stage.multiplexed.query_one("SHOW application_name", &[]);
    in_time("an answer", asked).await.unwrap().get(0)
}

#[tokio::test]
async fn what_a_function_has_set_is_undone_before_anybody_comes() {
    let stage = Stage::start(1).await;
    stage.run(SETTER).await;
    for n in 0..20 {
        let row = stage.multiplexed.query_one("SELECT rename($1)", &[&format!("other {n}")]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), format!("other {n}"));
        assert_eq!(name(&stage).await, "shared");
    }
    assert_eq!(stage.pool.stats().opened, 1, "it is put in order, not closed");
    stage.end().await;
}

/// The server has said so; whoever has asked for it has not looked yet.
#[tokio::test]
async fn nobody_comes_once_the_server_has_told_of_it() {
    let stage = Stage::start(1).await;
    stage.run(SETTER).await;
    stage.fast(2).await;
    stage.multiplexed.query("SELECT rename($1)", &[&"shared"]).await.unwrap();
    let mut changing = Box::pin(stage.multiplexed.query_one("SELECT rename($1)", &[&"other"]));
    assert!(changing.as_mut().now_or_never().is_none());
    // It waits for the next question, and so has sent its answer: it is shown as idle a little before that.
    let other = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'other' AND datname = current_database() AND state = 'idle' AND wait_event = 'ClientRead'";
    eventually("it is renamed", async || stage.count(other).await == 1).await;
    // The answer is there, and the session's task has had more than one turn.
    for _ in 0..3 {
        stage.count(other).await;
    }
    let (name, changed) = in_time("both are answered", async { futures_util::join!(name(&stage), changing) }).await;
    assert_eq!((name.as_str(), changed.unwrap().get::<_, &str>(0)), ("shared", "other"));
    assert_eq!(stage.pool.stats().opened, 1);
    stage.end().await;
}

/// Others are on the connection when it is changed: they go on, nobody new comes, and after them it is put in order.
#[tokio::test]
async fn whoever_is_there_goes_on_and_nobody_new_comes() {
    let stage = Stage::with(2, |config| config.multiplexing.apart_after = None).await;
    stage.run(SETTER).await;
    let rename = "SELECT rename($1), pg_backend_pid()";
    stage.multiplexed.query(rename, &[&"shared"]).await.unwrap();
    stage.multiplexed.query(GATED, &[]).await.unwrap();
    stage.close_gate().await;
    let changing = in_time("it is changed", stage.multiplexed.query_one(rename, &[&"other"]));
    let (changed, slow) = futures_util::join!(changing, std::future::ready(stage.spawn(GATED)));
    let changed: i32 = changed.unwrap().get(1);
    stage.wait_at_gate(1).await;
    let there = format!("SELECT count(*) FROM pg_locks WHERE pid = {changed} AND locktype = 'advisory'");
    if stage.count(&there).await == 1 {
        // The gated one is there and nobody can come.
        let row = stage.multiplexed.query_one("SELECT pg_backend_pid(), current_setting('application_name')", &[]);
        let row = in_time("it is answered", row).await.unwrap();
        assert_ne!(row.get::<_, i32>(0), changed);
        assert_eq!(row.get::<_, &str>(1), "shared");
    }
    stage.open_gate().await;
    in_time("it ends", slow).await.unwrap().unwrap();
    for _ in 0..10 {
        assert_eq!(name(&stage).await, "shared");
    }
    stage.end().await;
}

/// A mode that looks at everything sees what no message tells.
#[tokio::test]
async fn a_temporary_table_of_a_function_is_gone_with_a_mode_that_clears_everything() {
    let stage = Stage::with(1, |config| config.release.mode = pool_postgres::ReleaseMode::Clean).await;
    stage
        .run("CREATE FUNCTION make() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE made (n int); END $$")
        .await;
    for _ in 0..5 {
        stage.multiplexed.query("SELECT make()", &[]).await.unwrap();
        let row = stage.multiplexed.query_one("SELECT to_regclass('pg_temp.made') IS NULL", &[]).await.unwrap();
        assert!(row.get::<_, bool>(0), "it is gone");
    }
    assert_eq!(stage.pool.stats().opened, 1);
    stage.end().await;
}
