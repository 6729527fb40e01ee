//! F028, F029, F048: what is not PostgreSQL, or not much of it.

use std::time::{Duration, Instant};

use pool_core::AcquireError;
use pool_testkit::proxy::{Direction, End, Script, ScriptedServer, message};

use crate::asking::{answer, eventually};
use crate::common::Chaos;
use crate::invariants;

const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nBad Request";
const CONNECT: Duration = Duration::from_millis(400);

/// A pool whose connections go to a server that follows a script, until they are sent back.
async fn instead(script: Script) -> (Chaos, ScriptedServer) {
    let chaos = Chaos::with(2, |config| {
        config.pool.connect_timeout = CONNECT;
        config.pool.acquire_timeout = 2 * CONNECT;
    })
    .await;
    let server = ScriptedServer::start(script).await.unwrap();
    (chaos, server)
}

async fn refused_by(script: Script) {
    let (mut chaos, server) = instead(script).await;
    let upstream = chaos.proxy.upstream();
    chaos.proxy.redirect(server.address());
    let started = Instant::now();
    let error = chaos.refused().await;
    assert!(
        matches!(error, AcquireError::Timeout { failure: Some(_), .. } | AcquireError::OpenFailed { .. }),
        "{error}"
    );
    assert!(started.elapsed() < 5 * CONNECT);
    chaos.proxy.redirect(upstream);
    drop(chaos.working().await);
    invariants::hold(chaos).await;
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
async fn f029_a_server_that_knows_no_states() {
    refused_by(Script::new().startup().send(&message(b'E', b"SFATAL\0Mtoo many clients\0\0"))).await;
}

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
    let error = answer(&lease, 1).await.unwrap_err();
    chaos.note(&error);
    chaos.proxy.redirect(upstream);
    chaos.proxy.cut_all(End::Close).await;
    drop(lease);
    assert_eq!(chaos.proxy.seen().frames(Direction::ToClient, b'E'), 4);
    drop(chaos.working().await);
    invariants::hold(chaos).await;
}
