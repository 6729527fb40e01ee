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
