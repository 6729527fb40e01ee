//! F028, F029, F048, F049: what is not PostgreSQL, or not much of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pool_core::{AcquireError, OpenFailure};
use pool_postgres::SslMode;
use pool_postgres::diagnosis::{Diagnosis, Fate};
use pool_testkit::proxy::{Direction, End, Script, ScriptedServer, message};

use crate::asking::{LIMIT, answer, eventually};
use crate::common::Chaos;
use crate::ends::{ended, reason};
use crate::invariants;
use crate::refusals::cause;
use crate::users::SLACK;

const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nBad Request";
const CONNECT: Duration = Duration::from_millis(400);

/// A pool whose connections go to a server that follows a script, until they are sent back.
async fn instead(script: Script) -> (Chaos, ScriptedServer) {
    let (chaos, server) = instead_with(script, SslMode::Prefer).await;
    // Whoever is let in may take his time.
    chaos.hurry(LIMIT, LIMIT);
    (chaos, server)
}

async fn instead_with(script: Script, sslmode: SslMode) -> (Chaos, ScriptedServer) {
    let chaos = Chaos::with(2, |config| {
        config.sslmode = sslmode;
        config.pool.connect_timeout = CONNECT;
        config.pool.acquire_timeout = 2 * CONNECT;
    })
    .await;
    let server = ScriptedServer::start(script).await.unwrap();
    (chaos, server)
}

/// The real server is there, and nobody is in a hurry any more.
fn back_to(chaos: &Chaos, upstream: SocketAddr) {
    chaos.proxy.redirect(upstream);
    chaos.hurry(LIMIT, LIMIT);
}

async fn refused_by(script: Script) {
    refused_with(script, SslMode::Prefer, |_| {}).await;
}

/// Nobody is let in, and told so in time; then the real server is there.
async fn refused_with(script: Script, sslmode: SslMode, check: impl FnOnce(&AcquireError)) {
    let (mut chaos, server) = instead_with(script, sslmode).await;
    let upstream = chaos.proxy.upstream();
    chaos.proxy.redirect(server.address());
    let started = Instant::now();
    let error = chaos.told().await;
    assert!(
        matches!(error, AcquireError::Timeout { failure: Some(_), .. } | AcquireError::OpenFailed { .. }),
        "{error}"
    );
    assert!(started.elapsed() < 5 * CONNECT + SLACK);
    check(&error);
    back_to(&chaos, upstream);
    // The real server of these tests has no TLS.
    if sslmode == SslMode::Require {
        invariants::close(chaos).await;
    } else {
        drop(chaos.working().await);
        invariants::hold(chaos).await;
    }
}

#[tokio::test]
async fn f048_a_web_server_that_goes_after_its_answer() {
    refused_by(Script::new().send(HTTP)).await;
}

#[tokio::test]
async fn f048_a_web_server_that_waits_for_more() {
    refused_by(Script::new().send(HTTP).silence()).await;
}

#[tokio::test]
async fn f048_a_server_that_goes_at_once() {
    refused_by(Script::new()).await;
    refused_by(Script::new().reset()).await;
}

#[tokio::test]
async fn f048_what_is_no_postgresql_is_told_at_once() {
    let mail = b"220 smtp.example ESMTP\r\n";
    for (script, sslmode) in [
        (Script::new().startup().send(HTTP), SslMode::Disable),
        (Script::new().send(HTTP), SslMode::Prefer),
        (Script::new().send(HTTP), SslMode::Require),
        // Encryption is declined first.
        (Script::new().startup().send(HTTP), SslMode::Prefer),
        (Script::new().send(mail), SslMode::Disable),
    ] {
        refused_with(script.silence(), sslmode, |error| {
            assert!(matches!(error, AcquireError::OpenFailed { .. }), "at once, {sslmode:?}: {error}");
            assert!(cause(error).to_string().contains("does not speak PostgreSQL's protocol"), "{error}");
        })
        .await;
    }
}

/// Wherever the server falls silent: after the socket is open, in the TLS handshake, in the login. One limit covers all of connecting.
#[tokio::test]
async fn f049_a_server_that_falls_silent_is_given_up_at_the_limit() {
    let password = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    let silent = [
        (Script::new(), SslMode::Disable),
        (Script::new(), SslMode::Prefer),
        (Script::new().send(b"S"), SslMode::Require),
        (Script::new().startup(), SslMode::Prefer),
        (Script::new().startup().send(&password), SslMode::Disable),
    ];
    let given_up = |(script, sslmode): (Script, SslMode)| {
        refused_with(script.silence(), sslmode, move |error| {
            let failure = error.failure();
            assert!(matches!(failure, Some(OpenFailure::TimedOut { after: CONNECT, .. })), "{sslmode:?}: {error}");
        })
    };
    join_all(silent.map(given_up)).await;
}

#[tokio::test]
async fn f029_a_server_that_knows_no_states() {
    refused_by(Script::new().startup().send(&message(b'E', b"SFATAL\0Mtoo many clients\0\0"))).await;
}

#[tokio::test]
async fn f029_an_error_without_its_code_closes_the_connection() {
    let nameless = [message(b'E', b"SERROR\0M?\0\0"), message(b'Z', b"I")].concat();
    let (mut chaos, server) = instead(Script::new().login().message(b'Q').send(&nameless).silence()).await;
    let upstream = chaos.proxy.upstream();
    chaos.proxy.redirect(server.address());
    let lease = chaos.pool.acquire_owned().await.unwrap();
    let error = lease.batch_execute("SELECT 1").await.unwrap_err();
    assert_eq!((error.code(), Diagnosis::of(&error).fate), (None, Fate::Close), "{error:?}");
    chaos.note(&error);
    back_to(&chaos, upstream);
    drop(lease);
    eventually("it is closed", async || chaos.pool.stats().broken == 1).await;
    invariants::hold(chaos).await;
}

/// Whatever follows them, the server's last words are kept.
#[tokio::test]
async fn f028_a_server_that_ends_an_idle_session_with_much_to_say() {
    let fatal = message(b'E', b"SFATAL\0VFATAL\0C57P05\0Mterminating connection due to idle-session timeout\0\0");
    let farewell = [fatal.clone(), fatal, message(b'Z', b"I"), b"????".to_vec()].concat();
    let (mut chaos, server) = instead(Script::new().login().hold().send(&farewell).silence()).await;
    let upstream = chaos.proxy.upstream();
    chaos.proxy.redirect(server.address());
    chaos.fill(2).await;
    let lease = chaos.pool.acquire_owned().await.unwrap();
    server.go_on();
    server.go_on();
    eventually("the idle one is closed", async || chaos.pool.stats().closed == 1).await;
    assert_eq!(reason(&lease).await, "57P05");
    let end = lease.ended().unwrap();
    assert_eq!(
        (end.label(), end.to_string().as_str()),
        ("57P05", "the server ended it: terminating connection due to idle-session timeout (57P05)")
    );
    ended(&chaos, "57P05", 2).await;
    let error = answer(&lease, 1).await.unwrap_err();
    chaos.note(&error);
    back_to(&chaos, upstream);
    chaos.proxy.cut_all(End::Close).await;
    drop(lease);
    assert_eq!(chaos.proxy.seen().frames(Direction::ToClient, b'E'), 4);
    drop(chaos.working().await);
    invariants::hold(chaos).await;
}
