//! Sessions that are converted to a role, a tenant or a `search_path`, on a real server.

use std::error::Error as StdError;

use pool_core::{AcquireError, ConvertFailure, Fit, Preference, Tag};
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::{ConnectError, PostgresConnection, PostgresPool};
use pool_testkit::postgres::TestDatabase;

use crate::common::pool;

type Wish = Preference<PostgresConnection>;

fn wish(name: &str, value: &str) -> Wish {
    Preference::tag(Tag::new(name, value).unwrap())
}

/// What a session answers that somebody got who prefers something, and how it fits.
async fn ask(pool: &PostgresPool, wish: &Wish, question: &str) -> (String, Fit) {
    let (lease, fit) = pool.acquire_preferring(wish).await.unwrap();
    (lease.query_one(question, &[]).await.unwrap().get(0), fit)
}

const WHO: &str = "SELECT current_user::text";
const TENANT: &str = "SELECT current_setting('app.tenant')";
const WHERE: &str = "SELECT which FROM here";

async fn with_roles() -> (TestDatabase, PostgresPool, [String; 2]) {
    let (database, pool) = pool(2).await;
    let lease = pool.acquire().await.unwrap();
    let name: String = lease.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
    let roles = ["reader", "writer"].map(|role| format!("{name}_{role}"));
    for role in &roles {
        lease.batch_execute(&format!("CREATE ROLE \"{role}\"")).await.unwrap();
    }
    drop(lease);
    (database, pool, roles)
}

#[tokio::test]
async fn a_session_has_the_role_that_is_preferred() {
    let (_database, pool, [reader, writer]) = with_roles().await;
    let (reading, writing) = (wish("role", &reader), wish("role", &writer));
    assert_eq!(ask(&pool, &reading, WHO).await, (reader.clone(), Fit::Converted));
    assert_eq!(ask(&pool, &reading, WHO).await, (reader.clone(), Fit::AtOnce));
    let (held, _) = pool.acquire_preferring(&reading).await.unwrap();
    assert_eq!(ask(&pool, &writing, WHO).await, (writer.clone(), Fit::Converted));
    drop(held);
    for _ in 0..3 {
        assert_eq!(ask(&pool, &reading, WHO).await, (reader.clone(), Fit::AtOnce));
        assert_eq!(ask(&pool, &writing, WHO).await, (writer.clone(), Fit::AtOnce));
    }
    let (mine, fit) = ask(&pool, &wish("role", "none"), WHO).await;
    assert_eq!((fit, mine == reader || mine == writer), (Fit::Converted, false));
    let stats = pool.stats();
    assert_eq!((stats.converted, stats.missed, stats.opened, stats.broken), (3, 3, 2, 0));
    // A conversion is no execution.
    assert_eq!(stats.execution.count, 10 + 3, "those who ask, and what made the roles");
    pool.disconnect().await;
}

#[tokio::test]
async fn a_session_has_the_tenant_and_the_search_path_that_are_preferred() {
    let (_database, pool) = pool(1).await;
    let lease = pool.acquire().await.unwrap();
    for schema in ["a", "b"] {
        let there = format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.here AS SELECT '{schema}'::text AS which");
        lease.batch_execute(&there).await.unwrap();
    }
    drop(lease);
    for value in ["7", "'; DROP SCHEMA a CASCADE; --", "ä"] {
        assert_eq!(ask(&pool, &wish("app.tenant", value), TENANT).await, (value.to_owned(), Fit::Converted));
    }
    for schema in ["a", "b", "a"] {
        assert_eq!(ask(&pool, &wish("search_path", schema), WHERE).await, (schema.to_owned(), Fit::Converted));
    }
    // One is converted, and the other stays.
    assert_eq!(ask(&pool, &wish("app.tenant", "ä"), TENANT).await, ("ä".to_owned(), Fit::AtOnce));
    // A transaction that is left open is rolled back, and takes nothing with it.
    let (lease, _) = pool.acquire_owned_preferring(&wish("app.tenant", "8")).await.unwrap();
    lease.batch_execute("BEGIN").await.unwrap();
    drop(lease);
    assert_eq!(ask(&pool, &wish("app.tenant", "8"), TENANT).await.0, "8");
    pool.disconnect().await;
}

#[tokio::test]
async fn what_the_server_refuses_is_told_and_costs_the_session() {
    let (_database, pool) = pool(1).await;
    let error = pool.acquire_preferring(&wish("role", "nobody_of_this_name")).await.map(drop).unwrap_err();
    let AcquireError::Convert { failure, .. } = &error else { panic!("{error}") };
    assert!(matches!(&**failure, ConvertFailure::Failed { tag, .. } if tag.name() == "role"), "{failure}");
    let said = failure.source().and_then(|source| source.downcast_ref::<ConnectError>()).unwrap();
    let below = said.source().and_then(|source| source.downcast_ref::<pool_postgres::tokio_postgres::Error>());
    assert_eq!(below.and_then(|error| error.code()), Some(&SqlState::INVALID_PARAMETER_VALUE), "{error}");
    assert!(error.to_string().contains("converting the role of a connection failed"), "{error}");
    let stats = pool.stats();
    assert_eq!((stats.errors.conversions, stats.broken, stats.converted), (1, 1, 0));
    assert_eq!(ask(&pool, &wish("app.tenant", "7"), TENANT).await, ("7".to_owned(), Fit::Converted));
    assert_eq!(pool.stats().opened, 2);
    pool.disconnect().await;
}
