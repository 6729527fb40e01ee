//! What a borrower may leave in a session, and what tells the next that nothing is left.

use tokio_postgres::{Client, SimpleQueryMessage};

/// What a borrower does, and how it is called in the table.
pub(crate) const ROWS: [(&str, &str); 18] = [
    ("a transaction left open", "BEGIN; INSERT INTO t VALUES (1)"),
    ("a transaction that has failed", "BEGIN; INSERT INTO t VALUES (1); SELECT 1/0"),
    ("a name", "SET application_name = 'mine'"),
    ("a name, by a function", "SELECT set_config('application_name', 'mine', false)"),
    ("a parameter of its own", "SET app.tenant = '7'; SET work_mem = '12MB'; SET search_path = pg_catalog"),
    ("a parameter, and the transaction left open", "BEGIN; SET work_mem = '12MB'; SET LOCAL app.tenant = '7'"),
    ("a role", "SET ROLE pg_monitor"),
    ("the user of the session", "SET SESSION AUTHORIZATION pg_monitor"),
    ("only reading", "SET default_transaction_read_only = on; CREATE TEMP TABLE mine (n int)"),
    ("a temporary table", "CREATE TEMP TABLE mine (n int); INSERT INTO mine VALUES (1)"),
    ("a temporary table of rows", "SELECT 1 AS n INTO TEMP mine"),
    ("a temporary table of no rows", "CREATE TEMP TABLE mine AS SELECT 1 AS n WHERE false"),
    ("a temporary table that was explained", "EXPLAIN ANALYZE CREATE TEMP TABLE mine AS SELECT 1 AS n"),
    ("a channel", "LISTEN news"),
    ("a statement that was prepared by SQL", "PREPARE \"a \"\"quoted\"\" name\" AS SELECT 1; PREPARE b AS SELECT 2"),
    ("a cursor that outlives its transaction", "DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 9)"),
    (
        "whatever code does",
        "DO $$ BEGIN PERFORM pg_advisory_lock(1); SET app.tenant = '7'; CREATE TEMP TABLE mine (n int); EXECUTE 'LISTEN news'; END $$",
    ),
    // Not so short that a server that is busy comes to it while it undoes this, which would cost the session.
    ("a time limit that is short", "SET statement_timeout = '100ms'; LISTEN news"),
];

/// What the rows need, and what comes of them.
pub(crate) const SETUP: &str = "CREATE TABLE t (n int); GRANT SELECT ON t TO public; CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE SEQUENCE s; \
            CREATE FUNCTION leave() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_lock(3); END'";

/// All that may be left in a session, in words.
const LEFT: &str = "SELECT concat_ws(' ', \
    'app=' || current_setting('application_name'), 'mem=' || current_setting('work_mem'), 'path=' || current_setting('search_path'), \
    'timeout=' || current_setting('statement_timeout'), 'tenant=' || coalesce(current_setting('app.tenant', true), ''), \
    'user=' || (current_user = session_user), 'session=' || (session_user = $1), 'role=' || current_setting('role'), \
    'read_only=' || current_setting('transaction_read_only'), \
    'channels=' || (SELECT count(*) FROM pg_listening_channels()), \
    'prepared=' || (SELECT count(*) FROM pg_prepared_statements WHERE from_sql), \
    'cursors=' || (SELECT count(*) FROM pg_cursors WHERE is_holdable), \
    'temporary=' || (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()), \
    'locks=' || (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()))";

/// A transaction is older than a statement in it. By a simple query: in the other protocol each message is as old as itself.
const BEGUN: &str = "SELECT now() <> statement_timestamp()";

/// What is in a session of this user, in words.
pub(crate) async fn left(client: &Client, user: &str) -> String {
    let begun = is_in_transaction(client).await;
    let left: String = client.query_one(LEFT, &[&user]).await.unwrap().get(0);
    format!("{left} transaction={begun}")
}

/// Whether a transaction had begun before.
pub(crate) async fn is_in_transaction(client: &Client) -> bool {
    let answer = client.simple_query(BEGUN).await.expect("no transaction that has failed");
    let mut rows = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    rows.next() != Some("f")
}
