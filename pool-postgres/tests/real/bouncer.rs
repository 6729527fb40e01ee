//! PgBouncer in between: what it makes of us is what it makes of libpq, and what it says means what it should.

use std::path::Path;

use pool_postgres::diagnosis::{Advice, Diagnosis, Fate};
use pool_postgres::{EndCause, PostgresConfig, PostgresOwnedLease, PostgresPool};
use pool_testkit::postgres::{EphemeralPostgres, PgBouncer, PgBouncerBuilder};
use pool_testkit::secrets::literal;

use crate::authority::Authority;
use crate::common::eventually;
use crate::judge::{self, Judge, Outcome};

fn text(port: u16, more: &str) -> String {
    format!("host=127.0.0.1 port={port} user=postgres dbname=postgres gssencmode=disable {more}")
}

fn judge() -> Judge {
    Judge::start(Path::new("/nonexistent"))
}

/// A pool of one connection.
async fn pool(bouncer: &PgBouncer) -> PostgresPool {
    pool_testkit::secrets::listen();
    let text = format!("{} pool_max_conns=1 pool_min_conns=0 pool_acquire_timeout=20", text(bouncer.port(), ""));
    PostgresPool::connect(text.parse::<PostgresConfig>().unwrap()).await.unwrap()
}

async fn lease(bouncer: &PgBouncer) -> PostgresOwnedLease {
    pool(bouncer).await.acquire_owned().await.unwrap()
}

/// One session with the server for all clients.
fn shared(server: &EphemeralPostgres) -> PgBouncerBuilder {
    PgBouncer::in_front_of(server).setting("pool_mode", "transaction").setting("default_pool_size", "1")
}

/// What comes of it for both, which is the same.
async fn both(judge: &mut Judge, bouncer: &PgBouncer, more: &str) -> Outcome {
    let text = text(bouncer.port(), more);
    // PgBouncer remembers for a while who could not log in at the server.
    let (ours, theirs) = (judge::connect(&text).await, judge.connect(&text));
    let (why, reason) = (ours.reason(), theirs.reason());
    assert!(ours.is_like(&theirs), "{more}\n{ours} here: {why}\n{theirs} with libpq: {reason}");
    ours
}

/// Whether those who have tried to log in since the log was so long were encrypted.
fn were_encrypted(bouncer: &PgBouncer, before: usize) -> Vec<bool> {
    let log = bouncer.log();
    log[before..].lines().filter(|line| line.contains("login attempt: ")).map(|line| !line.contains("tls=no")).collect()
}

#[tokio::test]
async fn who_is_let_in_is_let_in_as_with_libpq() {
    let server = EphemeralPostgres::start().unwrap();
    let strict = PgBouncer::in_front_of(&server).start().unwrap();
    let lax = PgBouncer::in_front_of(&server).setting("ignore_startup_parameters", "options").start().unwrap();
    let mut judge = judge();
    for more in ["", "application_name=a fallback_application_name=b", "client_encoding=UTF8", "sslmode=prefer"] {
        assert!(matches!(both(&mut judge, &strict, more).await, Outcome::Plain), "{more}");
    }
    let options = "options='-c search_path=a'";
    assert!(matches!(both(&mut judge, &lax, options).await, Outcome::Plain));
    // Nothing of it passes, and so it is told at once.
    for (more, why) in [
        (options, "unsupported startup parameter"),
        ("sslmode=require", "the server does not offer it"),
        ("user=nobody", "(SQLSTATE "),
        ("dbname=nowhere", "(SQLSTATE "),
    ] {
        let outcome = both(&mut judge, &strict, more).await;
        assert!(outcome.reason().contains("cannot open any") && outcome.reason().contains(why), "{}", outcome.reason());
    }
}

#[tokio::test]
async fn tls_and_passwords_are_pgbouncers_own() {
    let server = EphemeralPostgres::builder()
        .hba("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        .start()
        .unwrap();
    let admin = PostgresPool::connect(server.url().parse().unwrap()).await.unwrap();
    let ann = format!("CREATE ROLE ann LOGIN PASSWORD {}", literal("s3cr3t both"));
    admin.acquire().await.unwrap().batch_execute(&ann).await.unwrap();
    admin.disconnect().await;
    let authority = Authority::new();
    let (certificate, key) = authority.certificate("127.0.0.1");
    let builder = PgBouncer::in_front_of(&server).tls(&certificate, &key).user("ann", "s3cr3t both");
    let bouncer = builder.setting("auth_type", "scram-sha-256").start().unwrap();
    let (mut judge, root) = (judge(), format!("sslrootcert={}", authority.file.display()));
    for (mode, binding, password, is_in) in [
        ("disable", "prefer", "s3cr3t both", true),
        ("prefer", "prefer", "s3cr3t both", true),
        ("verify-full", "prefer", "s3cr3t both", true),
        ("verify-full", "disable", "s3cr3t both", true),
        ("verify-full", "prefer", "s3cr3t other", false),
        ("disable", "prefer", "", false),
        // It does not bind to the channel.
        ("verify-full", "require", "s3cr3t both", false),
    ] {
        let more = format!("user=ann {root} sslmode={mode} channel_binding={binding} password='{password}'");
        let text = text(bouncer.port(), &more);
        let before = bouncer.log().len();
        let ours = judge::connect(&text).await;
        let our_ways = were_encrypted(&bouncer, before);
        let before = bouncer.log().len();
        let theirs = judge.connect(&text);
        assert_eq!(our_ways, were_encrypted(&bouncer, before), "{mode} {binding}");
        assert_eq!(our_ways, [mode != "disable"], "{mode} {binding}");
        for outcome in [&ours, &theirs] {
            assert_eq!(!matches!(outcome, Outcome::Refused(_)), is_in, "{mode} {binding}: {}", outcome.reason());
        }
    }
}

/// A console of PgBouncer.
async fn order(bouncer: &PgBouncer, order: &str) {
    let config: tokio_postgres::Config = text(bouncer.port(), "").replace("gssencmode=disable", "").parse().unwrap();
    let config = config.clone().dbname("pgbouncer").to_owned();
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    // One that shuts it down is not answered.
    let _ = client.batch_execute(order).await;
    drop(client);
    let _ = connection.await.unwrap();
}

/// It tells its clients what the first server has told it, until it is told to connect again.
#[tokio::test]
async fn a_server_that_is_promoted_behind_pgbouncer_stays_a_standby_for_both() {
    let mut primary = EphemeralPostgres::builder().replicated().start().unwrap();
    let standby = primary.standby().unwrap();
    let bouncer = PgBouncer::in_front_of(&standby).start().unwrap();
    let mut judge = judge();
    let mut fit = async || {
        let mut fit = Vec::new();
        for wanted in ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] {
            let more = format!("target_session_attrs={wanted} connect_timeout=4");
            if matches!(both(&mut judge, &bouncer, &more).await, Outcome::Plain) {
                fit.push(wanted);
            }
        }
        fit
    };
    let (as_standby, as_primary) =
        (["any", "read-only", "standby", "prefer-standby"], ["any", "read-write", "primary", "prefer-standby"]);
    assert_eq!(fit().await, as_standby);
    standby.promote().unwrap();
    assert_eq!(fit().await, as_standby);
    order(&bouncer, "RECONNECT").await;
    assert_eq!(fit().await, as_primary);
}

#[tokio::test]
async fn queries_are_cancelled_through_it() {
    let server = EphemeralPostgres::start().unwrap();
    for mode in ["session", "transaction"] {
        let bouncer = PgBouncer::in_front_of(&server).setting("pool_mode", mode).start().unwrap();
        let pool = pool(&bouncer).await;
        for _ in 0..5 {
            let lease = pool.acquire().await.unwrap();
            let sleep = lease.batch_execute("SELECT pg_sleep(3600)");
            assert!(tokio::time::timeout(std::time::Duration::from_millis(50), sleep).await.is_err());
        }
        pool.acquire().await.unwrap().batch_execute("SELECT 1").await.unwrap();
        assert_eq!((pool.stats().opened, pool.stats().closed), (1, 0), "{mode}: {}", bouncer.log());
        pool.disconnect().await;
        assert!(!bouncer.log().contains("unexpected eof"), "{mode}: {}", bouncer.log());
    }
}

/// It is shown all the same: what the other side calls the session.
#[tokio::test]
async fn the_number_of_a_session_is_its_own_and_not_the_servers() {
    let server = EphemeralPostgres::start().unwrap();
    for mode in ["session", "transaction"] {
        let bouncer = PgBouncer::in_front_of(&server).setting("pool_mode", mode).start().unwrap();
        let pool = pool(&bouncer).await;
        let lease = pool.acquire().await.unwrap();
        let process: i32 = lease.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        let shown = pool.holders()[0].session;
        assert!(shown.is_some() && shown != u64::try_from(process).ok(), "{mode}: {shown:?}, {process}");
    }
}

/// What ends sessions, as it is told to whoever asks for something and to whoever asks why.
#[tokio::test]
async fn sessions_that_it_ends_are_told_why() {
    let server = EphemeralPostgres::start().unwrap();
    for (setting, statement, message, advice) in [
        ("query_timeout", "SELECT pg_sleep(3600)", "query timeout", Advice::OutcomeUnknown),
        ("query_wait_timeout", "SELECT 1", "query_wait_timeout", Advice::RetryLater),
        ("idle_transaction_timeout", "BEGIN", "idle transaction timeout", Advice::RetryTransaction),
        ("client_idle_timeout", "SELECT 1", "client_idle_timeout", Advice::RetryNow),
    ] {
        let bouncer = shared(&server).setting(setting, "4").start().unwrap();
        let (other, lease) = (lease(&bouncer).await, lease(&bouncer).await);
        if setting == "query_wait_timeout" {
            other.batch_execute("BEGIN").await.unwrap();
        }
        let outcome = lease.batch_execute(statement).await;
        eventually(setting, async || lease.ended().is_some()).await;
        let end = lease.ended().unwrap();
        assert_eq!((end.cause, end.message.as_str()), (EndCause::Server, message), "{setting}");
        assert_eq!((end.diagnosis().advice, end.diagnosis().fate), (advice, Fate::Close), "{setting}");
        match outcome {
            Ok(()) => assert!(setting.contains("idle"), "{setting}"),
            Err(error) => assert_eq!(Diagnosis::of(&error).advice, advice, "{setting}"),
        }
        // What is asked then has not been sent.
        let mark = lease.mark();
        let error = lease.batch_execute("SELECT 1").await.unwrap_err();
        let in_transaction = setting == "idle_transaction_timeout" || setting.starts_with("query");
        let diagnosis = lease.diagnose(&error, mark);
        assert_eq!(diagnosis.advice == Advice::RetryTransaction, in_transaction, "{setting}: {diagnosis:?}");
    }
}

#[tokio::test]
async fn a_pgbouncer_that_is_full_is_waited_for() {
    let server = EphemeralPostgres::start().unwrap();
    let bouncer = PgBouncer::in_front_of(&server).setting("max_client_conn", "1").start().unwrap();
    let only = lease(&bouncer).await;
    let outcome = both(&mut judge(), &bouncer, "connect_timeout=4").await;
    let reason = outcome.reason().to_owned();
    assert!(reason.contains("no more connections allowed") && !reason.contains("cannot open any"), "{reason}");
    drop(only);
}

#[tokio::test]
async fn a_server_that_goes_away_behind_it_is_waited_for() {
    let mut server = EphemeralPostgres::start().unwrap();
    let builder = shared(&server).setting("server_login_retry", "1").setting("query_wait_timeout", "2");
    let bouncer = builder.start().unwrap();
    let pool = pool(&bouncer).await;
    let first = pool.acquire().await.unwrap();
    let mut crash = async || {
        let asked = first.batch_execute("SELECT pg_sleep(3600)");
        let watch = PostgresPool::connect(server.url().parse().unwrap()).await.unwrap();
        let watch = watch.acquire_owned().await.unwrap();
        let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        let sleeps = async || watch.query_one(sleeping, &[]).await.unwrap().get::<_, i64>(0) == 1;
        let strike = async {
            eventually("it sleeps", sleeps).await;
            server.kill9().unwrap();
        };
        tokio::join!(asked, strike).0.unwrap_err()
    };
    let error = crash().await;
    assert_eq!(Diagnosis::of(&error).advice, Advice::OutcomeUnknown, "{error:?}");
    // It says so, and then closes.
    eventually("it is closed", async || first.ended().is_some()).await;
    assert_eq!(first.ended().unwrap().message, "server conn crashed?");
    drop(first);
    // It lets clients in, and has nobody to pass on to.
    let lease = pool.acquire().await.unwrap();
    let error = lease.batch_execute("SELECT 1").await.unwrap_err();
    let end = lease.ended().map(|end| end.message).unwrap_or_default();
    assert_eq!(Diagnosis::of(&error).advice, Advice::RetryLater, "{error:?}; {end}");
    drop(lease);
    server.restart().unwrap();
    let is_back = async || match pool.acquire().await {
        Ok(lease) => lease.batch_execute("SELECT 1").await.is_ok(),
        Err(_) => false,
    };
    eventually("it is back", is_back).await;
    pool.disconnect().await;
}

#[tokio::test]
async fn a_pgbouncer_that_is_shut_down_and_started_again_is_found() {
    let server = EphemeralPostgres::start().unwrap();
    let mut bouncer = PgBouncer::in_front_of(&server).start().unwrap();
    let pool = pool(&bouncer).await;
    let lease = pool.acquire().await.unwrap();
    lease.batch_execute("SELECT 1").await.unwrap();
    order(&bouncer, "SHUTDOWN").await;
    eventually("it is noticed", async || lease.ended().is_some()).await;
    let mark = lease.mark();
    let error = lease.batch_execute("SELECT 1").await.unwrap_err();
    assert!(lease.diagnose(&error, mark).safe_to_retry, "{error}");
    drop(lease);
    bouncer.restart().unwrap();
    pool.acquire().await.unwrap().batch_execute("SELECT 1").await.unwrap();
    pool.disconnect().await;
}

/// What outlives a transaction belongs to whoever comes next.
#[tokio::test]
async fn a_session_for_every_transaction_is_no_session() {
    let server = EphemeralPostgres::start().unwrap();
    let bouncer = shared(&server).start().unwrap();
    let (one, other) = (lease(&bouncer).await, lease(&bouncer).await);
    one.batch_execute("SET work_mem = '12MB'; LISTEN news").await.unwrap();
    let of_other = "SELECT current_setting('work_mem') || (SELECT string_agg(c, '') FROM pg_listening_channels() c)";
    let seen: String = other.query_one(of_other, &[]).await.unwrap().get(0);
    assert_eq!(seen, "12MBnews");
    // By SQL: those of the protocol are known to newer ones (`max_prepared_statements`).
    one.batch_execute("PREPARE answer AS SELECT 42").await.unwrap();
    other.batch_execute("DISCARD ALL").await.unwrap();
    let error = one.batch_execute("EXECUTE answer").await.unwrap_err();
    let diagnosis = Diagnosis::of(&error);
    assert_eq!((diagnosis.advice, diagnosis.prepare_again), (Advice::RetryNow, true), "{error:?}");
}
