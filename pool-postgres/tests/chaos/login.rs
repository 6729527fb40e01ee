//! F065, F066, F067, F069 to F072: a server, or somebody in between, that is not honest with a client that logs in.

use std::time::{Duration, Instant};

use pool_core::AcquireError;
use pool_postgres::{ChannelBinding, SslMode};
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::proxy::{Direction, Frame, Script, ScriptedServer, Toxic};

use crate::common::Chaos;
use crate::invariants;
use crate::users::SHORT;

/// What an attempt is told when the answer to the request for encryption is replaced; nothing else is wrong.
async fn with_answer(answer: &'static [u8], sslmode: SslMode) -> (Chaos, AcquireError) {
    let mut chaos = Chaos::with(1, |config| {
        config.sslmode = sslmode;
        (config.pool.connect_timeout, config.pool.acquire_timeout) = (3 * SHORT, 4 * SHORT);
    })
    .await;
    chaos.proxy.set(
        Direction::ToClient,
        Toxic::edit(move |frame| match frame.kind() {
            Frame::ENCRYPTION_ANSWER => answer.to_vec(),
            _ => frame.bytes().to_vec(),
        }),
    );
    let error = chaos.told().await;
    (chaos, error)
}

/// The server of these tests has no TLS: a pool that insists on it is never served, and a close is all that is left to prove.
async fn never_served(chaos: Chaos) {
    chaos.proxy.calm().await;
    assert_eq!(chaos.pool.stats().opened, 0);
    invariants::close(chaos).await;
}

#[tokio::test]
async fn f065_a_server_that_declines_encryption_gets_no_password() {
    let strange = "does not speak PostgreSQL's protocol";
    for (answer, reason) in [(&b"N"[..], "does not offer it"), (b"X", strange), (b"\0", strange)] {
        let (chaos, error) = with_answer(answer, SslMode::Require).await;
        assert!(matches!(error, AcquireError::OpenFailed { .. }), "at once: {error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(chaos.proxy.seen().frames(Direction::ToServer, Frame::STARTUP), 0, "nothing else is said");
        never_served(chaos).await;
    }
}

#[tokio::test]
async fn f066_what_is_said_before_the_encryption_begins_is_not_believed() {
    // A welcome, as if it came from inside.
    let (chaos, error) = with_answer(b"SR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I", SslMode::Require).await;
    assert!(error.to_string().contains("the TLS handshake"), "{error}");
    assert_eq!(chaos.pool.stats().opened, 0);
    never_served(chaos).await;
}

#[tokio::test]
async fn f067_a_handshake_that_stalls_ends_at_the_connect_timeout() {
    let mut chaos = Chaos::with(1, |config| {
        config.sslmode = SslMode::Require;
        (config.pool.connect_timeout, config.pool.acquire_timeout) = (SHORT, 4 * SHORT);
    })
    .await;
    // The first byte of a record, too, and no more.
    let server = ScriptedServer::start(Script::new().send(b"S\x16").silence()).await.unwrap();
    chaos.proxy.redirect(server.address());
    let error = chaos.told().await;
    assert!(matches!(error, AcquireError::Timeout { failure: Some(_), .. }), "{error}");
    assert!(chaos.pool.stats().errors.open_timeouts > 0);
    never_served(chaos).await;
}

/// A message of the exchange that checks the password, changed by somebody.
async fn with_authentication(nth: u64, change: fn(&str) -> String) -> (Chaos, AcquireError) {
    let mut chaos = Chaos::with(1, |config| config.pool.acquire_timeout = 4 * SHORT).await;
    let editor = move |frame: &Frame| {
        if (frame.kind(), frame.number()) != (b'R', nth) {
            return frame.bytes().to_vec();
        }
        let (code, text) = frame.body().split_at(4);
        let text = change(std::str::from_utf8(text).unwrap());
        pool_testkit::proxy::message(b'R', &[code, text.as_bytes()].concat())
    };
    chaos.proxy.set(Direction::ToClient, Toxic::edit(editor));
    let started = Instant::now();
    let error = chaos.told().await;
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    (chaos, error)
}

#[tokio::test]
async fn f069_a_server_that_cannot_bind_the_login_to_its_channel_gets_no_password() {
    // Somebody who has taken TLS out of the conversation, or plays the server without the server's key, cannot.
    let mut chaos = Chaos::with(1, |config| config.channel_binding = ChannelBinding::Require).await;
    let error = chaos.refused().await;
    assert!(error.to_string().contains("channel binding"), "{error}");
    assert_eq!(chaos.proxy.seen().frames(Direction::ToServer, b'p'), 0, "nothing is answered");
    never_served(chaos).await;
}

#[tokio::test]
async fn f070_a_server_that_asks_for_the_password_in_clear_gets_it_from_those_alone_who_allow_it() {
    let hba = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 password\n";
    let server = EphemeralPostgres::builder().hba(hba).start().unwrap();
    for refused in ["scram-sha-256", "!password", "none"] {
        let mut chaos = Chaos::on(&server, 1, |config| config.require_auth = Some(refused.parse().unwrap())).await;
        let error = chaos.refused().await;
        assert!(error.to_string().contains("the server asks for the password"), "{refused}: {error}");
        assert_eq!(chaos.proxy.seen().frames(Direction::ToServer, b'p'), 0, "{refused}");
        never_served(chaos).await;
    }
    let chaos = Chaos::on(&server, 1, |config| config.require_auth = Some("password".parse().unwrap())).await;
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f071_a_server_cannot_make_a_client_hash_for_ever() {
    let (chaos, error) = with_authentication(2, |text| text.replace("i=4096", "i=2147483647")).await;
    assert!(error.to_string().contains("iteration count"), "{error}");
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f072_a_server_that_does_not_know_the_password_is_not_believed() {
    let (chaos, error) = with_authentication(3, |_| "v=bm90IHRoZSBzaWduYXR1cmUgb2YgdGhlIHNlcnZlciE=".to_owned()).await;
    assert!(error.to_string().contains("SCRAM"), "{error}");
    invariants::hold(chaos).await;
}
