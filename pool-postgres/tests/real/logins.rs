//! Sessions that cannot be opened, and whether trying again may help.

use std::time::Duration;

use pool_core::{AcquireError, Attempt, Driver, ErrorClass};
use pool_postgres::diagnosis::{Advice, Diagnosis};
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::{ConnectError, Password, PostgresConfig, PostgresDriver, PostgresError, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;

use crate::common::config;

/// A server that wants the passwords of everybody but its owner.
fn server(settings: &[(&str, &str)]) -> EphemeralPostgres {
    let hba = "host all postgres 127.0.0.1/32 trust\nhost all outcast 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 scram-sha-256\n";
    let builder = EphemeralPostgres::builder().hba(hba);
    settings.iter().fold(builder, |builder, (name, value)| builder.setting(name, value)).start().unwrap()
}

fn as_user(server: &EphemeralPostgres, user: &str, password: &str) -> PostgresConfig {
    let mut config = config(&server.url(), 1);
    config.user = Some(user.to_owned());
    config.password = Some(Password::from(password));
    config
}

async fn failure(config: PostgresConfig) -> ConnectError {
    PostgresDriver::new(config).unwrap().connect(&Attempt::default()).await.unwrap_err()
}

/// Checks what the error says, and that a pool tells it at once if it is permanent and tries again if it is not.
async fn assert_refused(config: PostgresConfig, code: &str, class: ErrorClass) {
    let error = failure(config.clone()).await;
    assert_eq!(error.sqlstate().map(SqlState::code), Some(code), "{error}");
    let (advice, patience) = match class {
        ErrorClass::Permanent => (Advice::FixConfiguration, 60_000),
        _ => (Advice::RetryLater, 300),
    };
    let diagnosis = error.diagnosis();
    assert_eq!((error.class(), diagnosis.advice, diagnosis.safe_to_retry), (class, advice, true), "{error}");
    let acquire = acquire_failure(config, patience).await;
    assert_eq!(Diagnosis::of_acquire(&acquire).advice, advice, "{acquire}");
    assert!(acquire.to_string().contains(&error.to_string()), "the cause is part of it: {acquire}");
}

async fn acquire_failure(mut config: PostgresConfig, milliseconds: u64) -> AcquireError {
    config.pool.acquire_timeout = Duration::from_millis(milliseconds);
    match PostgresPool::connect(config).await.unwrap_err() {
        PostgresError::Acquire(error) => error,
        error => panic!("not for want of a connection: {error}"),
    }
}

#[tokio::test]
async fn f012_to_f015_what_keeps_a_role_out_is_told_or_tried_again() {
    let server = server(&[]);
    let admin = PostgresPool::connect(config(&server.url(), 1)).await.unwrap();
    let lease = admin.acquire().await.unwrap();
    let roles = "CREATE ROLE ann LOGIN PASSWORD 'hunter2'; CREATE ROLE bann LOGIN PASSWORD 'hunter2' CONNECTION LIMIT 0; \
                 CREATE ROLE dann NOLOGIN PASSWORD 'hunter2'; \
                 CREATE ROLE eann LOGIN PASSWORD 'hunter2' VALID UNTIL '2001-01-01'";
    lease.batch_execute(roles).await.unwrap();
    let (permanent, transient) = (ErrorClass::Permanent, ErrorClass::Transient);
    assert_refused(as_user(&server, "bann", "hunter2"), "53300", transient).await;
    assert_refused(as_user(&server, "dann", "hunter2"), "28000", permanent).await;
    assert_refused(as_user(&server, "ann", "hunter3"), "28P01", permanent).await;
    assert_refused(as_user(&server, "eann", "hunter2"), "28P01", permanent).await;
    assert_refused(as_user(&server, "nobody", "hunter2"), "28P01", permanent).await;
    let mut nowhere = as_user(&server, "ann", "hunter2");
    nowhere.database = Some("nowhere".to_owned());
    assert_refused(nowhere, "3D000", permanent).await;
    let error = failure(as_user(&server, "outcast", "hunter2")).await;
    assert_eq!((error.sqlstate().unwrap().code(), error.class()), ("28000", permanent), "{error}");
    let mut without = as_user(&server, "ann", "");
    without.password = None;
    let error = failure(without).await;
    assert_eq!((error.sqlstate(), error.class()), (None, permanent), "no password at all: {error}");
    drop(lease);
    admin.disconnect().await;
}

#[tokio::test]
async fn f011_a_full_server_may_have_room_later() {
    let server = server(&[("max_connections", "4"), ("superuser_reserved_connections", "3")]);
    let admin = PostgresPool::connect(config(&server.url(), 2)).await.unwrap();
    let one = admin.acquire().await.unwrap();
    one.batch_execute("CREATE ROLE ann LOGIN PASSWORD 'hunter2'").await.unwrap();
    let two = admin.acquire().await.unwrap();
    assert_refused(as_user(&server, "ann", "hunter2"), "53300", ErrorClass::Transient).await;
    drop((one, two));
    admin.disconnect().await;
    let pool = PostgresPool::connect(as_user(&server, "ann", "hunter2")).await.unwrap();
    pool.disconnect().await;
}
