//! Servers that take a connection and then do not go on, and something that is no PostgreSQL server. One limit covers all of connecting.

use std::time::Duration;

use pool_core::{AcquireError, Attempt, Driver, OpenFailure};
use pool_postgres::diagnosis::{Diagnosis, Fate};
use pool_postgres::{PostgresConfig, PostgresDriver, PostgresError, PostgresPool, SslMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::common::{config, eventually};

/// Whether the last attempt to connect took as long as it may.
fn attempt_timed_out(error: &AcquireError, limit: Duration) -> bool {
    let AcquireError::Timeout { failure: Some(failure), .. } = error else { return false };
    matches!(**failure, OpenFailure::TimedOut { after, .. } if after == limit)
}

/// Something that listens, and answers each time that it is sent something with the next of these texts. At last it says nothing, and keeps the connection open.
async fn listener(answers: Vec<&'static [u8]>) -> (PostgresConfig, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = config(&format!("postgres://u:p@127.0.0.1:{port}/d"), 1);
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in &answers {
                if stream.read(&mut [0; 1024]).await.unwrap_or(0) > 0 {
                    let _ = stream.write_all(answer).await;
                }
            }
            held.push(stream);
        }
    });
    (settings, task)
}

/// Wherever the server falls silent: after the socket is open, in the TLS handshake, in the login.
#[tokio::test]
async fn f049_a_deaf_server_is_given_up_at_the_limit() {
    const LIMIT: Duration = Duration::from_millis(200);
    let sasl = &b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"[..];
    for (answers, sslmode) in [
        (vec![], SslMode::Disable),
        (vec![], SslMode::Prefer),
        (vec![&b"S"[..]], SslMode::Require),
        (vec![&b"N"[..]], SslMode::Prefer),
        (vec![sasl], SslMode::Disable),
    ] {
        let (mut settings, task) = listener(answers.clone()).await;
        settings.sslmode = sslmode;
        settings.pool.connect_timeout = LIMIT;
        settings.pool.acquire_timeout = 2 * LIMIT;
        let pool = PostgresPool::connect_lazy(settings).unwrap();
        let started = Instant::now();
        let error = pool.acquire().await.unwrap_err();
        assert!(attempt_timed_out(&error, LIMIT), "{answers:?}: {error}");
        assert!(started.elapsed() >= 2 * LIMIT && started.elapsed() < Duration::from_secs(20));
        pool.disconnect().await;
        task.abort();
    }
}

#[tokio::test]
async fn f048_what_is_no_postgresql_is_told_at_once() {
    let http: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    for (answers, sslmode) in [
        (vec![http], SslMode::Disable),
        (vec![http], SslMode::Prefer),
        (vec![http], SslMode::Require),
        (vec![b"N", http], SslMode::Prefer),
        (vec![b"220 smtp.example ESMTP\r\n"], SslMode::Disable),
    ] {
        let (mut settings, task) = listener(answers).await;
        settings.sslmode = sslmode;
        let connecting = timeout(Duration::from_secs(20), PostgresPool::connect(settings));
        let PostgresError::Acquire(error) = connecting.await.expect("at once").unwrap_err() else {
            panic!("not for want of a connection")
        };
        assert!(matches!(error, AcquireError::OpenFailed { .. }), "{sslmode:?}: {error}");
        assert!(error.to_string().contains("does not speak PostgreSQL's protocol"), "{error}");
        task.abort();
    }
}

const LET_IN: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

#[tokio::test]
async fn f028_last_words_are_kept_whatever_follows_them() {
    let fatal = b"E\0\0\0\x23SFATAL\0VFATAL\0C57P01\0Mgoodbye\0\0?\0\0\0\x05x";
    let (mut settings, task) = listener(vec![[LET_IN, fatal].concat().leak()]).await;
    settings.sslmode = SslMode::Disable;
    let driver = PostgresDriver::new(settings).unwrap();
    let session = driver.connect(&Attempt::default()).await.unwrap();
    eventually("it ends", async || session.ended().is_some()).await;
    let end = session.ended().unwrap();
    assert_eq!(end.to_string(), "the server ended it: goodbye (57P01)");
    assert_eq!((end.label(), driver.ends().count("57P01")), ("57P01", 1));
    task.abort();
}

#[tokio::test]
async fn f029_an_error_without_its_code_closes_the_connection() {
    let nameless: &[u8] = b"E\0\0\0\x0fSERROR\0M?\0\0Z\0\0\0\x05I";
    let (mut settings, task) = listener(vec![LET_IN, nameless]).await;
    settings.sslmode = SslMode::Disable;
    let pool = PostgresPool::connect(settings).await.unwrap();
    let lease = pool.acquire().await.unwrap();
    let error = lease.batch_execute("SELECT 1").await.unwrap_err();
    assert_eq!((error.code(), Diagnosis::of(&error).fate), (None, Fate::Close), "{error:?}");
    drop(lease);
    eventually("it is closed", async || pool.stats().broken == 1).await;
    task.abort();
}
