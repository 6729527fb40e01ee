//! What the pool knows of a session is what `pg_stat_activity` says of it, after traffic of every kind.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt, TryStreamExt, pin_mut, poll};
use pool_postgres::{PostgresOwnedLease, PostgresPool, SessionStatus};
use pool_testkit::postgres::TestDatabase;
use tokio_postgres::Client;

use crate::common::{eventually, pool, watcher};
use crate::session::process;

struct Watched {
    database: TestDatabase,
    pool: PostgresPool,
    lease: PostgresOwnedLease,
    watch: PostgresOwnedLease,
    process: i32,
}

impl Watched {
    async fn start() -> Self {
        let (database, pool) = pool(1).await;
        let watch = watcher(&database).await;
        let lease = pool.acquire_owned().await.unwrap();
        let process = process(&lease).await;
        Self { database, pool, lease, watch, process }
    }

    async fn server_says(&self) -> String {
        let state = "SELECT state FROM pg_stat_activity WHERE pid = $1";
        self.watch.query_one(state, &[&self.process]).await.unwrap().get(0)
    }

    /// After an answer to its end, which comes after an error: the server says the same before it sends that.
    async fn agrees(&self, status: SessionStatus, after: &str) {
        eventually(after, async || self.lease.activity().status != SessionStatus::Active).await;
        let activity = self.lease.activity();
        assert_eq!((activity.status, activity.in_flight), (status, 0), "after {after}");
        assert_eq!(self.server_says().await, status.to_string(), "after {after}");
    }

    /// While an answer is due.
    async fn is_active(&self, what: &str) {
        eventually(what, async || self.server_says().await == "active").await;
        let activity = self.lease.activity();
        assert_eq!(activity.status, SessionStatus::Active, "{what}");
        assert!(activity.in_flight >= 1, "{what}");
    }

    async fn fails(&self, sql: &str) {
        self.lease.batch_execute(sql).await.expect_err(sql);
    }

    async fn end(self) {
        drop(self.lease);
        self.pool.disconnect().await;
    }
}

#[tokio::test]
async fn every_status_is_that_of_the_server() {
    use SessionStatus::{Failed, Idle, InTransaction};
    let it = Watched::start().await;
    it.agrees(Idle, "the login").await;
    assert_eq!(it.lease.activity().process, u32::try_from(it.process).ok());
    it.lease.batch_execute("CREATE TABLE t (n int, s text); CREATE INDEX ON t (n)").await.unwrap();
    it.agrees(Idle, "a table").await;
    it.lease.batch_execute("BEGIN").await.unwrap();
    it.agrees(InTransaction, "a beginning").await;
    it.lease.query("SELECT n, repeat('x', n) FROM generate_series(1, 2000) n", &[]).await.unwrap();
    it.agrees(InTransaction, "large rows").await;
    it.fails("SAVEPOINT s; INSERT INTO t VALUES (1); SELECT 1/0").await;
    it.agrees(Failed, "an error").await;
    it.fails("SELECT 1").await;
    it.agrees(Failed, "another error").await;
    it.lease.batch_execute("ROLLBACK TO s").await.unwrap();
    it.agrees(InTransaction, "a savepoint").await;
    it.lease.batch_execute("COMMIT AND CHAIN").await.unwrap();
    it.agrees(InTransaction, "a chain").await;
    assert_eq!(it.lease.activity().last_command.as_deref(), Some("COMMIT"));
    it.lease.batch_execute("ROLLBACK").await.unwrap();
    it.agrees(Idle, "the end").await;
    it.fails("INSERT INTO t VALUES (1); SELECT 1/0; INSERT INTO t VALUES (2)").await;
    it.agrees(Idle, "an error in a row of statements").await;
    it.fails("SELECT * FROM nowhere").await;
    it.lease.query_one("SELECT $1::int", &[&"no number"]).await.unwrap_err();
    it.lease.query("SELECT 1/n FROM generate_series(-5, 5) n", &[]).await.unwrap_err();
    it.agrees(Idle, "errors between rows").await;
    it.lease.batch_execute("").await.unwrap();
    it.lease.batch_execute("; ;").await.unwrap();
    it.agrees(Idle, "nothing").await;
    it.end().await;
}

#[tokio::test]
async fn notices_notifications_and_parameters_end_no_answer() {
    let it = Watched::start().await;
    let notices = "DO $$ BEGIN FOR n IN 1..500 LOOP RAISE NOTICE '% %', n, repeat('y', n); END LOOP; END $$";
    it.lease.batch_execute(notices).await.unwrap();
    it.agrees(SessionStatus::Idle, "notices").await;
    it.lease.batch_execute("LISTEN news; NOTIFY news, 'one'; BEGIN").await.unwrap();
    let before = it.lease.activity().bytes_received;
    it.lease.batch_execute("COMMIT").await.unwrap();
    for n in 0..50 {
        it.watch_elsewhere(&format!("NOTIFY news, '{n}'")).await;
    }
    eventually("they have come", async || it.lease.activity().bytes_received >= before + 50 * 13).await;
    it.agrees(SessionStatus::Idle, "notifications").await;
    for zone in ["Europe/Paris", "UTC", "Asia/Tokyo"] {
        it.lease.batch_execute(&format!("SET TIME ZONE '{zone}'")).await.unwrap();
        assert_eq!(it.lease.parameter("TimeZone").as_deref(), Some(zone));
    }
    it.agrees(SessionStatus::Idle, "parameters").await;
    let long = "z".repeat(60);
    it.lease.batch_execute(&format!("SET application_name = '{long}'")).await.unwrap();
    assert_eq!(it.lease.parameters().get("application_name"), Some(&long));
    assert!(it.lease.parameter("server_version").is_some() && it.lease.parameter("nothing").is_none());
    it.end().await;
}

impl Watched {
    /// In the same database.
    async fn watch_elsewhere(&self, sql: &str) {
        let (client, connection) = tokio_postgres::connect(self.database.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
    }
}

#[tokio::test]
async fn copies_are_followed_to_their_end() {
    let it = Watched::start().await;
    it.lease.batch_execute("CREATE TABLE t (n int, s text)").await.unwrap();
    {
        let sink = Client::copy_in::<_, bytes_of_a_row::Row>(&it.lease, "COPY t FROM STDIN").await.unwrap();
        pin_mut!(sink);
        it.is_active("the server takes rows").await;
        for n in 0..20_000_u32 {
            sink.feed(bytes_of_a_row::row(n)).await.unwrap();
        }
        assert_eq!(sink.finish().await.unwrap(), 20_000);
    }
    it.agrees(SessionStatus::Idle, "a copy in").await;
    assert_eq!(it.lease.activity().last_command.as_deref(), Some("COPY 20000"));
    it.lease.batch_execute("BEGIN").await.unwrap();
    for format in ["text", "binary"] {
        let rows = Client::copy_out(&it.lease, &format!("COPY t TO STDOUT (FORMAT {format})")).await.unwrap();
        let bytes: usize = rows.map_ok(|part| part.len()).try_fold(0, async |sum, part| Ok(sum + part)).await.unwrap();
        assert!(bytes > 100_000);
        it.agrees(SessionStatus::InTransaction, "a copy out").await;
    }
    {
        let sink = Client::copy_in::<_, bytes_of_a_row::Row>(&it.lease, "COPY t FROM STDIN").await.unwrap();
        pin_mut!(sink);
        sink.send(&b"no number\trow\n"[..]).await.unwrap();
        sink.finish().await.unwrap_err();
    }
    it.agrees(SessionStatus::Failed, "a copy that is refused").await;
    it.lease.batch_execute("ROLLBACK").await.unwrap();
    {
        let sink = Client::copy_in::<_, bytes_of_a_row::Row>(&it.lease, "COPY t FROM STDIN").await.unwrap();
        pin_mut!(sink);
        sink.send(bytes_of_a_row::row(1)).await.unwrap();
    }
    it.lease.batch_execute("SELECT 1").await.unwrap();
    it.agrees(SessionStatus::Idle, "a copy that was given up").await;
    it.end().await;
}

/// Of every kind, as the tests of PostgreSQL itself have it: what works and what does not, inside of transactions and outside, with rows that are large and many.
const TRAFFIC: [&str; 48] = [
    "CREATE TABLE boolean (f1 bool, f2 text DEFAULT 'nothing')",
    "INSERT INTO boolean (f1) VALUES (bool 't'), (bool 'false'), (NULL)",
    "INSERT INTO boolean (f1) VALUES (bool 'XXX')",
    "SELECT f1, f2 FROM boolean ORDER BY 1 NULLS FIRST",
    "SELECT repeat('long', 1000000)",
    "SELECT n, repeat('row', n) FROM generate_series(1, 3000) n",
    "SELECT",
    "SELECT FROM generate_series(1, 100)",
    "SELECT 1/0",
    "SELECT n / (5 - n) FROM generate_series(1, 10) n",
    "this is no SQL",
    "",
    "VALUES (1, 'one'), (2, 'two')",
    "BEGIN ISOLATION LEVEL SERIALIZABLE",
    "SAVEPOINT one",
    "UPDATE boolean SET f2 = repeat('x', 100000) RETURNING *",
    "SAVEPOINT two",
    "SELECT * FROM nowhere",
    "SELECT 'it has failed'",
    "ROLLBACK TO two",
    "RELEASE one",
    "DECLARE foo CURSOR WITH HOLD FOR SELECT n, repeat('c', 100) FROM generate_series(1, 1000) n",
    "FETCH 500 FROM foo",
    "MOVE BACKWARD ALL IN foo",
    "COMMIT AND CHAIN",
    "FETCH ALL FROM foo",
    "BEGIN",
    "ROLLBACK",
    "ROLLBACK",
    "CLOSE foo",
    "PREPARE q (int, text) AS SELECT $1 + 1, $2 || 'x' FROM generate_series(1, 10)",
    "EXECUTE q (1, 'a')",
    "EXECUTE q ('no number', 'a')",
    "EXPLAIN (ANALYZE, TIMING OFF) EXECUTE q (1, 'a')",
    "DEALLOCATE q",
    "DO $$ BEGIN FOR n IN 1..200 LOOP RAISE NOTICE '%', repeat('n', n); RAISE WARNING '%', n; END LOOP; END $$",
    "DO $$ BEGIN PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN RAISE NOTICE 'caught'; END $$",
    "DO $$ BEGIN RAISE INFO 'before'; RAISE EXCEPTION 'after' USING DETAIL = repeat('d', 10000); END $$",
    "CREATE TEMP TABLE IF NOT EXISTS temporary ON COMMIT DROP AS SELECT 1",
    "DROP TABLE IF EXISTS nothing",
    "LISTEN news",
    "NOTIFY news, 'to oneself'",
    "SET client_min_messages = debug1",
    "SELECT set_config('TimeZone', 'Asia/Tokyo', false)",
    "RESET ALL",
    "START TRANSACTION READ ONLY; INSERT INTO boolean DEFAULT VALUES",
    "END",
    "TRUNCATE boolean; SELECT pg_advisory_lock(7); SELECT pg_advisory_unlock_all(); UNLISTEN *",
];

impl Watched {
    /// Whatever that is.
    async fn agrees_with_the_server(&self, after: &str) {
        eventually(after, async || self.lease.activity().status != SessionStatus::Active).await;
        let activity = self.lease.activity();
        assert_eq!((activity.status.to_string(), activity.in_flight), (self.server_says().await, 0), "after {after}");
    }
}

#[tokio::test]
async fn traffic_of_every_kind_leaves_what_the_server_says() {
    let it = Watched::start().await;
    for sql in TRAFFIC {
        // It fails or not.
        let _ = it.lease.batch_execute(sql).await;
        it.agrees_with_the_server(sql).await;
    }
    it.agrees(SessionStatus::Idle, "all of it").await;
    it.lease.batch_execute("DROP TABLE boolean").await.unwrap();
    for sql in TRAFFIC {
        let _ = it.lease.query(sql, &[]).await;
        it.agrees_with_the_server(&format!("{sql}, prepared")).await;
    }
    it.lease.batch_execute("ROLLBACK; DROP TABLE boolean").await.unwrap();
    // As many at once as come, of both protocols, and nobody waits in between.
    for size in [2, 5, 16, TRAFFIC.len()] {
        for part in TRAFFIC.chunks(size) {
            let asking = part.iter().zip(0..).map(async |(sql, n)| match n % 3 {
                0 => it.lease.query(*sql, &[]).await.is_ok(),
                1 => it.lease.simple_query(sql).await.is_ok(),
                _ => it.lease.batch_execute(sql).await.is_ok(),
            });
            join_all(asking).await;
            it.agrees_with_the_server(&format!("{size} from {:?}", part.first())).await;
        }
        let _ = it.lease.batch_execute("ROLLBACK; DROP TABLE IF EXISTS boolean; CLOSE ALL").await;
        it.agrees(SessionStatus::Idle, "a round").await;
    }
    it.end().await;
}

mod bytes_of_a_row {
    pub(super) type Row = &'static [u8];

    /// One of two.
    pub(super) fn row(n: u32) -> Row {
        if n.is_multiple_of(2) { b"2\teven, and so a little longer\n" } else { b"1\todd\n" }
    }
}

#[tokio::test]
async fn requests_in_a_row_are_counted_until_the_last_is_answered() {
    let it = Watched::start().await;
    let one = it.lease.prepare("SELECT $1::int FROM pg_sleep(0)").await.unwrap();
    let asking = join_all((0..10_i32).map(async |n| it.lease.query_one(&one, &[&n]).await.unwrap().get::<_, i32>(0)));
    let sleeping = it.lease.batch_execute("SELECT pg_sleep(600)");
    {
        pin_mut!(sleeping);
        pin_mut!(asking);
        assert!(poll!(&mut sleeping).is_pending() && poll!(&mut asking).is_pending());
        it.is_active("the first one sleeps").await;
        assert_eq!(it.lease.activity().in_flight, 11);
        it.watch.query_one("SELECT pg_cancel_backend($1)", &[&it.process]).await.unwrap();
        sleeping.await.unwrap_err();
        assert_eq!(asking.await, (0..10).collect::<Vec<_>>());
    }
    it.agrees(SessionStatus::Idle, "a row of requests").await;
    let before = it.lease.activity();
    it.lease.batch_execute("BEGIN").await.unwrap();
    let after = it.lease.activity();
    assert_eq!(after.bytes_sent - before.bytes_sent, 11, "a type, a length, five letters and a zero");
    assert!(after.bytes_received > before.bytes_received && after.quiet_for < Duration::from_mins(10));
    assert_eq!(after.last_command.as_deref(), Some("BEGIN"));
    it.lease.batch_execute("ROLLBACK").await.unwrap();
    it.end().await;
}
