//! What is said of a statement.

use pool_postgres::{PostgresPool, Queries, Query};

use crate::common::{config, database, pool};

/// What the server has as the text of the statement.
const TEXT: &str = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()";

#[tokio::test]
async fn the_server_shows_the_tags_of_all_statements_and_of_each() {
    let database = database();
    let mut config = config(database.url(), 1);
    config.application_name = Some("alerts".to_owned());
    config.limits.tags.insert("service".to_owned(), "alerts".to_owned());
    config.limits.tags.insert("it's".to_owned(), "*/ SELECT 1; --".to_owned());
    let pool = PostgresPool::connect(config).await.unwrap();
    let of_all = "it%27s='%2A%2F%20SELECT%201%3B%20--'";
    let text: String = pool.query_one(TEXT, &[]).await.unwrap().get(0);
    assert_eq!(text, format!("{TEXT} /*{of_all},service='alerts'*/"));
    let text: String = pool.query_one(Query::new(TEXT).tag("route", "/a b"), &[]).await.unwrap().get(0);
    assert_eq!(text, format!("{TEXT} /*{of_all},route='%2Fa%20b',service='alerts'*/"));
    let lease = pool.acquire().await.unwrap();
    let name: String = Queries::query_one(&*lease, "SHOW application_name", &[]).await.unwrap().get(0);
    assert_eq!(name, "alerts");
    Queries::batch_execute(&*lease, "SELECT 1; -- the end").await.unwrap();
    for ended in ["SELECT 1;", "SELECT 1 -- the end", "SELECT 1 /* the end */"] {
        assert_eq!(Queries::execute(&*lease, ended, &[]).await.unwrap(), 1, "{ended}");
    }
    let error = Queries::query(&*lease, Query::new("SELECT nothing").tag("a", "b"), &[]).await.unwrap_err();
    assert!(error.statement() == "SELECT nothing" && !error.to_string().contains("/*"), "{error}");
}

#[tokio::test]
async fn a_statement_without_tags_is_sent_as_it_is() {
    let (_database, pool) = pool(1).await;
    let text: String = pool.query_one(TEXT, &[]).await.unwrap().get(0);
    assert_eq!(text, TEXT);
}
