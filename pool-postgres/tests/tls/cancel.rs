//! Requests to cancel: by the way of their session, and not for ever.

use std::time::Duration;

use pool_postgres::{PostgresConfig, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::proxy::{Admission, Direction, Frame, Proxy};

use crate::files::pass;
use crate::paper::{Authority, Folder, Paper};
use crate::world::NAME;

async fn pool(ports: &[u16], more: &str) -> PostgresPool {
    pool_testkit::secrets::listen();
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    let hosts = vec![NAME; ports.len()].join(",");
    let text = format!(
        "host={hosts} port={} user=postgres dbname=postgres pool_max_conns=1 pool_min_conns=0 {more}",
        ports.join(",")
    );
    PostgresPool::connect(text.parse::<PostgresConfig>().unwrap()).await.unwrap()
}

async fn proxy(server: &EphemeralPostgres) -> Proxy {
    Proxy::postgres((NAME, server.port())).await.unwrap()
}

/// A user goes away in the middle of a query, which the pool has cancelled.
async fn abandon(pool: &PostgresPool) {
    let lease = pool.acquire().await.unwrap();
    let process: i32 = lease.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let sleep = lease.batch_execute("SELECT pg_sleep(3600)");
    assert!(tokio::time::timeout(Duration::from_millis(50), sleep).await.is_err());
    drop(lease);
    let lease = pool.acquire().await.unwrap();
    let same: i32 = lease.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    assert_eq!(same, process, "the session goes on");
}

#[tokio::test]
async fn a_request_to_cancel_is_encrypted_if_its_session_is() {
    let (folder, authority) = (Folder::new(), Authority::new("the authority"));
    let Paper { certificate, key } = authority.issue(NAME);
    let server = EphemeralPostgres::builder().tls(&certificate, &key).start().unwrap();
    let root = folder.write("root.crt", &authority.certificate);
    for (sslmode, is_encrypted) in [("verify-full", true), ("prefer", true), ("allow", false), ("disable", false)] {
        let proxy = proxy(&server).await;
        let pool = pool(&[proxy.address().port()], &format!("sslmode={sslmode} sslrootcert={}", root.display())).await;
        abandon(&pool).await;
        let seen = |kind| proxy.seen().frames(Direction::ToServer, kind);
        // The session, and at least one request: a server that is slow to hear of it is asked again.
        let (asked, cancelled) = (seen(Frame::ENCRYPTION_REQUEST), seen(Frame::CANCEL_REQUEST));
        assert!(proxy.seen().accepted >= 2, "{sslmode}");
        // What is encrypted, nobody in between sees.
        let is_as_it_should = if is_encrypted { asked >= 2 && cancelled == 0 } else { asked == 0 && cancelled >= 1 };
        assert!(is_as_it_should, "{sslmode}: {asked} {cancelled}");
        pool.disconnect().await;
    }
}

#[tokio::test]
async fn a_request_to_cancel_goes_to_the_server_of_its_session() {
    let server = EphemeralPostgres::start().unwrap();
    let (first, second) = (proxy(&server).await, proxy(&server).await);
    first.admit(Admission::Refuse).await;
    let pool = pool(&[first.address().port(), second.address().port()], "sslmode=disable").await;
    // From now on the first of the list is there, too.
    first.admit(Admission::Forward).await;
    abandon(&pool).await;
    let cancelled = |proxy: &Proxy| proxy.seen().frames(Direction::ToServer, Frame::CANCEL_REQUEST);
    assert!(cancelled(&first) == 0 && cancelled(&second) >= 1, "{:?} {:?}", first.seen(), second.seen());
    pool.disconnect().await;
}

#[tokio::test]
async fn a_request_to_cancel_that_nobody_answers_ends_at_the_connect_timeout() {
    let server = EphemeralPostgres::start().unwrap();
    let proxy = proxy(&server).await;
    let more = "sslmode=disable connect_timeout=10 pool_reset_timeout=600 pool_connect_timeout=60 pool_close_timeout=10 \
                pool_max_conn_lifetime=0";
    let pool = pool(&[proxy.address().port()], more).await;
    let lease = pool.acquire().await.unwrap();
    let sleep = lease.batch_execute("SELECT pg_sleep(3600)");
    assert!(tokio::time::timeout(Duration::from_millis(50), sleep).await.is_err());
    // Those that are open go on; new ones hear nothing.
    proxy.admit(Admission::Silence).await;
    drop(lease);
    // The session's, that to cancel, and once that is given up the one that is to cancel when the session is closed: long before the reset's own time is over.
    for count in [2, 3] {
        let reached = tokio::time::timeout(Duration::from_mins(1), proxy.reached(count)).await;
        assert!(reached.is_ok(), "{count}: {:?}", proxy.seen());
        pass(Duration::from_secs(11)).await;
    }
    proxy.calm().await;
    drop(pool.acquire().await.unwrap());
    assert_eq!((pool.stats().broken, pool.stats().errors.resets), (1, 1));
    pool.disconnect().await;
}
