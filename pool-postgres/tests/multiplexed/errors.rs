//! Whatever one of them does wrong, the others have their answers.

use std::error::Error;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::join_all;
use pool_postgres::retry::Outcome;
use pool_postgres::{Multiplexed, Query, QueryError};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::stage::Stage;

/// A number that may not be sent.
#[derive(Debug)]
enum Bad {
    Fails,
    Panics,
}

impl ToSql for Bad {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        // Some of it is there.
        out.extend_from_slice(b"ab");
        match self {
            Self::Fails => Err("it does not want to".into()),
            Self::Panics => panic!("on purpose"),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// What fails, each in its way: a statement, its parameters, and with which code of the server if it is that which refuses it.
async fn fail(database: &Multiplexed, kind: usize, n: i32) -> (Result<u64, QueryError>, Option<&'static str>) {
    let unprepared = Query::new("SELECT nothing").unprepared();
    let (query, params, code): (_, Vec<&(dyn ToSql + Sync)>, _) = match kind {
        0 => (Query::new("INSERT INTO t VALUES (1)"), vec![], Some("23505")),
        1 => ("SELECT $1::int / 0".into(), vec![&n], Some("22012")),
        2 => ("SELECT nothing".into(), vec![], Some("42703")),
        3 => (unprepared, vec![], Some("42703")),
        4 => ("SELECT $1::int".into(), vec![&"text"], None),
        5 => ("SELECT $1::int".into(), vec![&Bad::Fails], None),
        6 => ("SELECT $1::int".into(), vec![&n, &n], None),
        7 => ("SELECT 1 FROM d WHERE ($1::text)::int = n".into(), vec![&"x"], Some("22P02")),
        _ => ("INSERT INTO d VALUES (1)".into(), vec![], Some("23505")),
    };
    (database.execute(query, &params).await, code)
}

async fn is_refused(database: &Multiplexed, kind: usize, n: i32) {
    let (outcome, code) = fail(database, kind, n).await;
    let error = outcome.expect_err("wrong");
    assert_eq!(error.sqlstate().map(SqlState::code), code, "{error}");
    assert_eq!((error.outcome(), error.is_closed()), (Outcome::NotDone, false), "{error}");
}

async fn is_not_as_expected(database: &Multiplexed, n: i32) {
    let rows = database.query("SELECT generate_series(1, $1::int)", &[&3]).await.unwrap();
    assert!(rows[0].try_get::<_, String>(0).is_err());
    let none = database.query_one("SELECT 1 WHERE $1::int < 0", &[&n]).await.unwrap_err();
    assert!(!none.is_closed(), "{none}");
}

/// Asks one thing after the other, each of which is answered, or each of which fails in the same way.
async fn ask(stage: &Stage, kind: usize, n: i32) {
    let database = &stage.multiplexed;
    match kind {
        0..=8 => is_refused(database, kind, n).await,
        9 => is_not_as_expected(database, n).await,
        _ => {
            let row = database.query_one("SELECT $1::int + $2::int", &[&n, &1]).await.unwrap();
            assert_eq!(row.get::<_, i32>(0), n + 1);
        }
    }
}

async fn stage() -> Stage {
    let stage = Stage::start(1).await;
    stage
        .run(
            "CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (1);
            CREATE TABLE d (n int, UNIQUE (n) DEFERRABLE INITIALLY DEFERRED); INSERT INTO d VALUES (1)",
        )
        .await;
    stage
}

#[tokio::test]
async fn each_has_its_own_error_and_the_others_have_their_answers() {
    let stage = stage().await;
    for n in 0..40 {
        join_all((0..32).map(|kind| ask(&stage, (kind + n) % 16, i32::try_from(n).unwrap()))).await;
    }
    let stats = stage.pool.stats();
    assert_eq!((stats.opened, stats.broken), (1, 0), "{stats:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_on_several_threads() {
    let stage = std::sync::Arc::new(stage().await);
    let tasks: Vec<_> = (0..32)
        .map(|task| {
            let stage = std::sync::Arc::clone(&stage);
            tokio::spawn(async move {
                for n in 0..40 {
                    ask(&stage, (task + usize::try_from(n).unwrap()) % 16, n).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let stats = stage.pool.stats();
    assert_eq!((stats.opened, stats.broken), (1, 0), "{stats:?}");
    std::sync::Arc::into_inner(stage).unwrap().end().await;
}

/// A part of a message was written when it panicked.
#[tokio::test]
async fn a_parameter_that_panics_costs_nobody_else_anything() {
    let stage = stage().await;
    for sql in ["SELECT $1::int", "SELECT $1::int + 1"] {
        // They are under way while it panics, and ask again on the same connection afterwards.
        let others = join_all((0..16).map(async |n: i32| {
            for turn in 0..10 {
                ask(&stage, 99, n + turn).await;
            }
        }));
        let panics = async {
            for _ in 0..3 {
                let asking = AssertUnwindSafe(stage.multiplexed.query(sql, &[&Bad::Panics])).catch_unwind();
                let panic = asking.await.expect_err("it passes on");
                assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
            }
        };
        futures_util::join!(others, panics);
    }
    assert_eq!(stage.pool.driver().ends().total(), 0, "no session has ended");
    stage.end().await;
}
