//! Where another server may answer each transaction.

use pool_postgres::{PostgresConfig, PostgresPool, Queries, StatementMode};
use pool_testkit::cancel::for_each_cancellation;
use pool_testkit::postgres::{EphemeralPostgres, PgBouncer};
use tokio::runtime::Builder;

use super::{on_server, pool};

/// Two servers for all clients.
fn bouncer(server: &EphemeralPostgres) -> PgBouncer {
    let bouncer = PgBouncer::in_front_of(server).setting("pool_mode", "transaction");
    bouncer.setting("default_pool_size", "2").start().unwrap()
}

async fn pool_behind(bouncer: &PgBouncer, mode: StatementMode) -> PostgresPool {
    pool_testkit::secrets::listen();
    let text = format!("host=127.0.0.1 port={} user=postgres dbname=postgres pool_max_conns=8", bouncer.port());
    let mut config: PostgresConfig = text.parse().unwrap();
    config.statements.mode = mode;
    PostgresPool::connect(config).await.unwrap()
}

/// Eight tasks that ask three things in turn; the errors that came of it.
async fn ask_all(pool: &PostgresPool) -> Vec<String> {
    let tasks: Vec<_> = (0..8_i32)
        .map(|task| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut errors = Vec::new();
                for n in 0..50_i32 {
                    let answer = match n % 3 {
                        0 => pool.query_one("SELECT $1::int + $2::int", &[&task, &n]).await,
                        1 => pool.query_one("SELECT $1::int + $2", &[&task, &n]).await,
                        _ => pool.query_one("SELECT ($1::text)::int + $2::int", &[&task.to_string(), &n]).await,
                    };
                    match answer {
                        Ok(row) => assert_eq!(row.get::<_, i32>(0), task + n),
                        Err(error) => errors.push(error.to_string()),
                    }
                }
                errors
            })
        })
        .collect();
    let mut errors = Vec::new();
    for task in tasks {
        errors.extend(task.await.unwrap());
    }
    errors
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_with_their_text_pass_a_proxy_that_hands_out_servers_by_the_transaction() {
    let server = EphemeralPostgres::start().unwrap();
    let bouncer = bouncer(&server);
    let pool = pool_behind(&bouncer, StatementMode::Unprepared).await;
    assert_eq!(ask_all(&pool).await, Vec::<String>::new());
    let stats = pool.driver().statements();
    assert_eq!((stats.hits, stats.prepared), (0, 0));
    assert!((3..=24).contains(&stats.described), "what is known on one connection is known on all: {stats:?}");
    pool.disconnect().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_are_prepared_do_not_and_that_is_said() {
    let server = EphemeralPostgres::start().unwrap();
    let bouncer = bouncer(&server);
    let pool = pool_behind(&bouncer, StatementMode::Prepared).await;
    let (one, other) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    one.prepare_cached("SELECT $1::int").await.unwrap();
    // This takes the only server that there is so far, and the next one comes to another.
    other.batch_execute("BEGIN").await.unwrap();
    let row = Queries::query_one(&*one, "SELECT $1::int", &[&1_i32]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), pool.driver().statements().healed), (1, 1), "it was prepared there, too");
    other.batch_execute("COMMIT").await.unwrap();
    // Each is on a server of its own, and both know the statement on one of them.
    one.batch_execute("BEGIN").await.unwrap();
    other.batch_execute("BEGIN").await.unwrap();
    let mut errors = Vec::new();
    for (lease, sql) in [(&one, "SELECT $1::int * 2"), (&other, "SELECT $1::int * 3")] {
        lease.prepare_cached(sql).await.unwrap();
    }
    one.batch_execute("COMMIT").await.unwrap();
    other.batch_execute("COMMIT").await.unwrap();
    // The one that went back last is taken first.
    one.batch_execute("BEGIN").await.unwrap();
    other.batch_execute("BEGIN").await.unwrap();
    for (lease, sql) in [(&one, "SELECT $1::int * 2"), (&other, "SELECT $1::int * 3")] {
        errors.extend(Queries::query(&**lease, sql, &[&1_i32]).await.err());
    }
    assert_eq!(errors.len(), 2, "neither is where it was prepared");
    for error in errors {
        assert!(error.to_string().contains("pool_statement_mode=unprepared works with it"), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_kept_on_the_server_and_no_transaction_is_left() {
    let (_database, pool) = pool(1, |statements| statements.mode = StatementMode::Unprepared).await;
    let lease = pool.acquire().await.unwrap();
    for n in 0..3_i32 {
        assert_eq!(Queries::query_one(&*lease, "SELECT $1::int", &[&n]).await.unwrap().get::<_, i32>(0), n);
    }
    Queries::query(&*lease, "SELECT nothing WHERE $1", &[&true]).await.unwrap_err();
    assert_eq!((on_server(&lease).await, lease.prepared_statements()), (0, 0));
    // Nobody may do this in a transaction.
    lease.batch_execute("DISCARD ALL").await.unwrap();
    // In one of the user's own, it is asked there.
    lease.batch_execute("BEGIN; CREATE TABLE t (a int)").await.unwrap();
    Queries::execute(&*lease, "INSERT INTO t VALUES ($1)", &[&1_i32]).await.unwrap();
    lease.batch_execute("COMMIT").await.unwrap();
    assert_eq!(Queries::query(&*lease, "SELECT a FROM t WHERE a = $1", &[&1_i32]).await.unwrap().len(), 1);
}

#[test]
fn whoever_is_dropped_while_it_asks_for_types_leaves_no_transaction() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (_database, pool) = runtime.block_on(pool(1, |statements| statements.mode = StatementMode::Unprepared));
    let lease = runtime.block_on(pool.acquire()).unwrap();
    let mut round = 0;
    let cases = for_each_cancellation(|cut| {
        round += 1;
        let sql = format!("SELECT $1::int + {round}");
        runtime.block_on(async {
            let ended = cut.apply(Queries::query_one(&*lease, sql, &[&1_i32])).await.is_some();
            // Nobody may do this in a transaction.
            lease.batch_execute("DISCARD ALL").await.unwrap();
            ended
        })
    });
    assert!(cases > 6, "there are moments at which it can be dropped: {cases}");
}
