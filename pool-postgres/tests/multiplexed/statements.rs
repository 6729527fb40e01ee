//! Statements that many execute at a time on the same connection.

use std::sync::Arc;

use futures_util::future::join_all;
use pool_postgres::{PostgresConfig, PostgresPool, Query, StatementMode};
use pool_testkit::postgres::{EphemeralPostgres, PgBouncer};

use crate::authority::Authority;
use crate::stage::{Stage, in_time};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_for_one_statement_serves_many() {
    let stage = Arc::new(Stage::with(2, |config| (config.statements.cache, config.statements.warm) = (1, 1)).await);
    let tasks = (0..48_i32).map(|task| {
        let stage = Arc::clone(&stage);
        tokio::spawn(async move {
            for n in 0..25_i32 {
                let sql = format!("SELECT $1::int + {}", (task + n) % 7);
                let row = stage.multiplexed.query_one(&sql, &[&n]).await.unwrap();
                assert_eq!(row.get::<_, i32>(0), n + (task + n) % 7);
            }
        })
    });
    for outcome in in_time("they end", join_all(tasks)).await {
        outcome.unwrap();
    }
    let stage = Arc::into_inner(stage).unwrap();
    stage.rests().await;
    for _ in 0..2 {
        let lease = stage.pool.acquire().await.unwrap();
        let kept = "SELECT count(*) FROM pg_prepared_statements WHERE statement NOT LIKE '%pg_prepared%'";
        let count: i64 = lease.query_one(kept, &[]).await.unwrap().get(0);
        assert!(count <= 1, "{count} are left on the server");
    }
    stage.end().await;
}

/// Each of them has it prepared as it was, and none of them notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_changes_while_many_read_it_costs_nobody_an_error() {
    let stage = Arc::new(Stage::start(2).await);
    stage.run("CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await;
    for (round, change) in ["ADD COLUMN a int", "ALTER n TYPE int8", "DROP COLUMN a", "ALTER n TYPE int"]
        .iter()
        .cycle()
        .take(24)
        .enumerate()
    {
        let reading = (0..48).map(|_| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move {
                for _ in 0..10 {
                    let row = stage.multiplexed.query_one("SELECT * FROM t WHERE n = $1", &[&Number(1)]).await.unwrap();
                    assert!(matches!(row.len(), 1 | 2));
                }
            })
        });
        let reading = join_all(reading);
        let changing = async {
            tokio::task::yield_now().await;
            stage.run(&format!("ALTER TABLE t {change}")).await;
        };
        let (outcomes, ()) = in_time("they end", async { futures_util::join!(reading, changing) }).await;
        for outcome in outcomes {
            outcome.unwrap_or_else(|error| panic!("round {round}, {change}: {error}"));
        }
    }
    assert!(stage.pool.driver().statements().healed > 0, "it is about them");
    assert_eq!(stage.pool.stats().broken, 0);
    Arc::into_inner(stage).unwrap().end().await;
}

/// A number of either size.
#[derive(Debug)]
struct Number(i32);

impl tokio_postgres::types::ToSql for Number {
    fn to_sql(
        &self,
        ty: &tokio_postgres::types::Type,
        out: &mut tokio_postgres::types::private::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        if *ty == tokio_postgres::types::Type::INT8 {
            i64::from(self.0).to_sql(ty, out)
        } else {
            self.0.to_sql(ty, out)
        }
    }

    fn accepts(_: &tokio_postgres::types::Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

/// Somebody has the server forget all of them, behind everybody's back.
#[tokio::test]
async fn what_the_server_has_forgotten_is_prepared_anew_for_all() {
    let stage = Stage::start(1).await;
    stage
        .run("CREATE FUNCTION forget() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")
        .await;
    for _ in 0..5 {
        stage.fast(20).await;
        let others = stage.fast(20);
        let forgetting = stage.multiplexed.query(Query::new("SELECT forget()").with_types(&[]), &[]);
        let (outcome, ()) = futures_util::join!(forgetting, others);
        outcome.unwrap();
    }
    stage.end().await;
}

/// Another server answers each transaction, and nothing of anybody's is in that of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_with_their_text_pass_a_proxy() {
    let server = EphemeralPostgres::start().unwrap();
    let bouncer = PgBouncer::in_front_of(&server).setting("pool_mode", "transaction").setting("default_pool_size", "2");
    let bouncer = bouncer.start().unwrap();
    let text = format!("host=127.0.0.1 port={} user=postgres dbname=postgres pool_max_conns=3", bouncer.port());
    let mut config: PostgresConfig = text.parse().unwrap();
    config.statements.mode = StatementMode::Unprepared;
    let pool = PostgresPool::connect(config).await.unwrap();
    let database = pool.multiplexed();
    pool.execute("CREATE TABLE t (n int)", &[]).await.unwrap();
    let tasks = (0..64_i32).map(|task| {
        let database = database.clone();
        tokio::spawn(async move {
            for n in 0..20_i32 {
                // New ones are described all the time, in transactions that are rolled back.
                let sql = format!("INSERT INTO t SELECT $1::int + {} RETURNING n", (task * 20 + n) % 97);
                let row = database.query_one(&sql, &[&n]).await.unwrap();
                assert_eq!(row.get::<_, i32>(0), n + (task * 20 + n) % 97);
                if n % 5 == 0 {
                    let error = database.query_one(&sql, &[&n, &n]).await.unwrap_err();
                    assert!(error.to_string().contains("expected 1 parameters but got 2"), "{error}");
                }
            }
        })
    });
    for outcome in in_time("they end", join_all(tasks)).await {
        outcome.unwrap();
    }
    let count: i64 = database.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(count, 64 * 20, "none was in a transaction of somebody else");
    assert_eq!((pool.stats().broken, pool.driver().ends().total()), (0, 0));
    pool.disconnect().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_the_same_over_tls() {
    let authority = Authority::new();
    let (certificate, key) = authority.certificate("127.0.0.1");
    let server = EphemeralPostgres::builder().tls(&certificate, &key).start().unwrap();
    let more = format!("pool_max_conns=2 sslmode=verify-full sslrootcert={}", authority.file.display());
    let text = format!("host=127.0.0.1 port={} user=postgres dbname=postgres {more}", server.port());
    let pool = PostgresPool::connect(text.parse().unwrap()).await.unwrap();
    let tasks = (0..64_i32).map(|task| {
        let database = pool.multiplexed();
        tokio::spawn(async move {
            for n in 0..20_i32 {
                let asked = "SELECT $1::int + $2::int, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
                let row = database.query_one(asked, &[&task, &n]).await.unwrap();
                assert_eq!((row.get::<_, i32>(0), row.get::<_, bool>(1)), (task + n, true));
                // Some are dropped, and cancelled over TLS, too.
                let short = std::time::Duration::from_micros(500);
                if n % 4 == 0 {
                    let _ = tokio::time::timeout(short, database.execute("SELECT pg_sleep(0.002)", &[])).await;
                }
            }
        })
    });
    for outcome in in_time("they end", join_all(tasks)).await {
        outcome.unwrap();
    }
    assert_eq!((pool.stats().broken, pool.driver().ends().total()), (0, 0));
    pool.disconnect().await;
}
