//! F013, F014, F015: a role, a password or a database that keeps a pool out until somebody changes it. Whoever asks is told at once, and is served when it has been changed.

use futures_util::future::join_all;
use pool_core::{AcquireError, ErrorClass, OpenFailure};
use pool_postgres::diagnosis::{Advice, Diagnosis};
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::{ConnectError, ConnectStep, PostgresConfig};
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::secrets::literal;

use crate::asking::eventually;
use crate::common::{Chaos, server, strict};
use crate::invariants;
use crate::users::PASSWORD;

/// The driver's error in one of the pool's.
pub(crate) fn cause(error: &AcquireError) -> &ConnectError {
    let Some(OpenFailure::Driver { source, .. }) = error.failure() else { panic!("not the driver's: {error}") };
    source.downcast_ref().expect("the driver's error")
}

/// An error of a pool that can have no connection until somebody changes something.
pub(crate) fn assert_hopeless(error: &AcquireError, step: ConnectStep) {
    assert!(matches!(error, AcquireError::OpenFailed { .. }), "at once: {error}");
    let cause = cause(error);
    assert_eq!((cause.step, cause.class()), (step, ErrorClass::Permanent), "{error}");
    assert_eq!((cause.diagnosis().advice, cause.diagnosis().safe_to_retry), (Advice::FixConfiguration, true));
    assert_eq!(Diagnosis::of_acquire(error).advice, Advice::FixConfiguration);
    assert!(error.to_string().contains(&cause.to_string()), "the cause is part of it: {error}");
}

/// A pool that logs in as this role, which is its test's own.
pub(crate) async fn as_role(server: &EphemeralPostgres, role: &str, max_size: usize) -> Chaos {
    Chaos::on(server, max_size, |config: &mut PostgresConfig| config.user = Some(role.to_owned())).await
}

/// Many who ask are told at once, by an attempt for all of them.
async fn all_are_told(chaos: &mut Chaos, code: Option<&str>) -> AcquireError {
    let error = chaos.refused().await;
    assert_hopeless(&error, ConnectStep::Startup);
    assert_eq!(cause(&error).sqlstate().map(SqlState::code), code, "{error}");
    let before = chaos.proxy.seen().accepted;
    let told = join_all((0..50).map(|_| chaos.acquire())).await;
    assert!(told.iter().all(|told| matches!(told, Err(AcquireError::OpenFailed { .. }))));
    let attempts = chaos.proxy.seen().accepted - before;
    assert!(attempts <= 2, "{attempts} attempts for 50 who asked at once");
    error
}

/// Keeps a role out of the shared server until `cure` is done.
async fn kept_out(role: &str, created: &str, code: &str, cure: &str) {
    let mut chaos = as_role(server(), role, 2).await;
    chaos.watch.run(&format!("CREATE ROLE {role} {created}")).await;
    all_are_told(&mut chaos, Some(code)).await;
    chaos.watch.run(&format!("ALTER ROLE {role} {cure}")).await;
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.broken, stats.errors.open_transient), (2, 0, 0), "{stats:?}");
}

#[tokio::test]
async fn f013_a_role_that_may_not_log_in_is_told_at_once() {
    kept_out("f013", &format!("NOLOGIN PASSWORD {}", literal(PASSWORD)), "28000", "LOGIN").await;
}

const OUTCAST: &str = "host all postgres 127.0.0.1/32 trust\nhost all chaos 127.0.0.1/32 reject\n";
const WELCOME: &str = "host all postgres 127.0.0.1/32 trust\nhost all chaos 127.0.0.1/32 scram-sha-256\n";

#[tokio::test]
async fn f013_a_role_that_is_rejected_is_told_at_once() {
    let server = EphemeralPostgres::builder().hba(OUTCAST).start().unwrap();
    let mut chaos = Chaos::on(&server, 2, |_| {}).await;
    let error = all_are_told(&mut chaos, Some("28000")).await;
    assert!(error.to_string().contains("pg_hba.conf rejects connection"), "{error}");
    std::fs::write(server.data_dir().join("pg_hba.conf"), WELCOME).unwrap();
    chaos.watch.run("SELECT pg_reload_conf()").await;
    // It gets round to it.
    eventually("it is let in", async || chaos.acquire().await.is_ok()).await;
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f014_a_password_that_is_wrong_is_told_at_once() {
    let cure = format!("PASSWORD {}", literal(PASSWORD));
    kept_out("f014_wrong", "LOGIN PASSWORD 'another'", "28P01", &cure).await;
}

#[tokio::test]
async fn f014_a_password_whose_time_is_over_is_told_at_once() {
    let created = format!("LOGIN PASSWORD {} VALID UNTIL '2001-01-01'", literal(PASSWORD));
    kept_out("f014_old", &created, "28P01", "VALID UNTIL 'infinity'").await;
}

/// There is no cure for the pool: the server goes on to ask.
#[tokio::test]
async fn f014_a_password_that_is_missing_is_told_at_once() {
    let mut chaos = Chaos::with(2, |config| config.password = None).await;
    let error = all_are_told(&mut chaos, None).await;
    assert!(error.to_string().contains("password missing"), "{error}");
    let stats = invariants::close(chaos).await;
    assert_eq!((stats.opened, stats.errors.open_transient), (0, 0), "{stats:?}");
}

/// Whoever has no role is not told so, but that the password is wrong.
#[tokio::test]
async fn f015_a_role_that_does_not_exist_is_told_at_once() {
    let mut chaos = as_role(server(), "f015", 2).await;
    all_are_told(&mut chaos, Some("28P01")).await;
    chaos.watch.run(&format!("CREATE ROLE f015 LOGIN PASSWORD {}", literal(PASSWORD))).await;
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f015_a_database_that_does_not_exist_is_told_at_once() {
    let server = strict().start().unwrap();
    let mut chaos = Chaos::on(&server, 2, |config| config.database = Some("nowhere".to_owned())).await;
    let error = all_are_told(&mut chaos, Some("3D000")).await;
    assert!(error.to_string().contains(r#"database "nowhere" does not exist"#), "{error}");
    chaos.watch.run("CREATE DATABASE nowhere").await;
    invariants::hold(chaos).await;
}
