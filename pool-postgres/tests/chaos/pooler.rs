//! F135: a pooler in between that gives each transaction a session, which may be another one each time.

use std::time::Duration;

use futures_util::future::join_all;
use pool_postgres::{ListenError, PostgresConfig, QueryError, StatementMode};
use pool_testkit::postgres::{EphemeralPostgres, PgBouncer};

use crate::asking::in_time;
use crate::common::{Chaos, strict};
use crate::invariants;
use crate::users::PASSWORD;

/// How many connections the pool has at most.
const SIZE: usize = 4;

/// A pool whose connections go to a PgBouncer, which has two sessions for all of them.
struct Pooled {
    chaos: Chaos,
    bouncer: PgBouncer,
    server: EphemeralPostgres,
}

impl Pooled {
    async fn start(change: impl FnOnce(&mut PostgresConfig)) -> Self {
        let server = strict().start().unwrap();
        let chaos = Chaos::on(&server, SIZE, change).await;
        let bouncer = PgBouncer::in_front_of(&server).user("chaos", PASSWORD).setting("pool_mode", "transaction");
        let bouncer = bouncer.setting("default_pool_size", "2").start().unwrap();
        chaos.proxy.redirect(([127, 0, 0, 1], bouncer.port()).into());
        Self { chaos, bouncer, server }
    }

    /// The pooler is gone, and whoever connects comes to the server itself, which has no session left of before.
    async fn end(self) -> pool_core::Stats {
        self.chaos.proxy.redirect(([127, 0, 0, 1], self.server.port()).into());
        drop(self.bouncer);
        let stats = invariants::hold(self.chaos).await;
        drop(self.server);
        stats
    }
}

/// Eight users who ask three things in turn; what went wrong. Whatever is answered is the answer to what was asked.
async fn ask_all(chaos: &Chaos) -> Vec<QueryError> {
    let users = (0..8_i32).map(async |user| {
        let mut errors = Vec::new();
        for n in 0..30_i32 {
            let answer = match n % 3 {
                0 => in_time("an answer", chaos.pool.query_one("SELECT $1::int + $2::int", &[&user, &n])).await,
                1 => in_time("an answer", chaos.pool.query_one("SELECT $1::int + $2", &[&user, &n])).await,
                _ => in_time("an answer", chaos.pool.query_one("SELECT $2 + $1::int", &[&user, &n])).await,
            };
            match answer {
                Ok(row) => assert_eq!(row.get::<_, i32>(0), user + n),
                Err(error) => errors.push(error),
            }
        }
        errors
    });
    join_all(users).await.into_iter().flatten().collect()
}

#[tokio::test]
async fn f135_statements_with_their_text_pass_a_pooler_of_transactions() {
    let pooled = Pooled::start(|config| config.statements.mode = StatementMode::Unprepared).await;
    let errors = ask_all(&pooled.chaos).await;
    assert!(errors.is_empty(), "{errors:?}");
    let statements = pooled.chaos.pool.driver().statements();
    assert_eq!((statements.prepared, statements.hits), (0, 0), "{statements:?}");
    let before = pooled.chaos.pool.stats();
    assert_eq!((before.broken, before.open_failures), (0, 0), "{before:?}");
    pooled.end().await;
}

/// They are not known on another session: some are prepared again, and whatever fails says what would work.
#[tokio::test]
async fn f135_statements_that_are_prepared_are_lost_and_that_is_said() {
    let mut pooled = Pooled::start(|config| config.statements.mode = StatementMode::Prepared).await;
    let errors = ask_all(&pooled.chaos).await;
    let statements = pooled.chaos.pool.driver().statements();
    assert!(statements.healed > 0 || !errors.is_empty(), "none was lost: {statements:?}");
    for error in errors {
        pooled.chaos.note(&error);
        assert!(error.to_string().contains("pool_statement_mode=unprepared works with it"), "{error}");
    }
    pooled.end().await;
}

/// What was sent would come to another session: that is told, and is no subscription that hears nothing.
#[tokio::test]
async fn f135_whoever_listens_behind_a_pooler_of_transactions_is_told() {
    let mut pooled = Pooled::start(|config| config.pool.health_check_timeout = Duration::from_secs(4)).await;
    let listener = pooled.chaos.pool.listener();
    let error = in_time("it is told", listener.subscribe("f135")).await.map(drop).unwrap_err();
    assert!(matches!(error, ListenError::NotDelivered { .. }), "{error}");
    pooled.chaos.note(&error);
    // To notify works.
    in_time("an answer", pooled.chaos.pool.notify("f135", "1")).await.unwrap();
    pooled.end().await;
}
