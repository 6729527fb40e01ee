//! F061, F062: servers with a certificate that proves nothing, until they have another one.

use std::path::PathBuf;

use futures_util::future::join_all;
use pool_postgres::{ConnectStep, SslMode};
use pool_testkit::postgres::EphemeralPostgres;

use crate::asking::eventually;
use crate::authority::Authority;
use crate::common::{Chaos, strict};
use crate::invariants;
use crate::refusals::assert_hopeless;

/// The name by which pools know the server.
const NAME: &str = "127.0.0.1";

fn start(authority: &Authority, name: &str) -> EphemeralPostgres {
    let (certificate, key) = authority.certificate(name);
    strict().tls(&certificate, &key).start().unwrap()
}

/// A pool that asks this of the certificate, by this authority or by those that the system has.
async fn pool(server: &EphemeralPostgres, sslmode: SslMode, authority: Option<&Authority>) -> Chaos {
    let authority: Option<PathBuf> = authority.map(|authority| authority.file.clone());
    Chaos::on(server, 2, |config| (config.sslmode, config.sslrootcert) = (sslmode, authority)).await
}

/// The server has another certificate from now on; it takes a moment.
async fn renew(server: &EphemeralPostgres, chaos: &Chaos, authority: &Authority) {
    let (certificate, key) = authority.certificate(NAME);
    // Written in place: the files go on to belong to the server's user, and to nobody else.
    std::fs::write(server.data_dir().join("server.crt"), certificate).unwrap();
    std::fs::write(server.data_dir().join("server.key"), key).unwrap();
    chaos.watch.run("SELECT pg_reload_conf()").await;
    eventually("it is believed", async || chaos.acquire().await.is_ok()).await;
}

/// Whether a session is encrypted, as the server sees it.
async fn is_encrypted(chaos: &Chaos) -> bool {
    let lease = chaos.working().await;
    let row = lease.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await;
    row.unwrap().get(0)
}

/// Nobody is let in, at once, and the server has heard no name and no password: it has not been talked to.
async fn refused(chaos: &mut Chaos, reason: &str) {
    let error = chaos.refused().await;
    assert_hopeless(&error, ConnectStep::TlsHandshake);
    assert!(error.to_string().contains(reason), "{error}");
    assert_eq!(chaos.pool.stats().opened, 0);
}

#[tokio::test]
async fn f061_a_certificate_for_another_name_is_refused_by_verify_full_alone() {
    let authority = Authority::new();
    let server = start(&authority, "db.example");
    let lenient = pool(&server, SslMode::VerifyCa, Some(&authority)).await;
    assert!(is_encrypted(&lenient).await);
    let mut strict = pool(&server, SslMode::VerifyFull, Some(&authority)).await;
    refused(&mut strict, "not valid for name").await;
    renew(&server, &strict, &authority).await;
    assert!(is_encrypted(&strict).await);
    for chaos in [lenient, strict] {
        invariants::hold(chaos).await;
    }
}

#[tokio::test]
async fn f062_an_authority_that_nobody_knows_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = start(&authority, NAME);
    for sslmode in [SslMode::VerifyCa, SslMode::VerifyFull] {
        let mut chaos = pool(&server, sslmode, None).await;
        refused(&mut chaos, "the TLS handshake").await;
        invariants::close(chaos).await;
    }
    let modes = [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull];
    let mut pools = join_all(modes.map(|sslmode| pool(&server, sslmode, Some(&other)))).await;
    for chaos in &mut pools {
        refused(chaos, "the TLS handshake").await;
    }
    renew(&server, &pools[0], &other).await;
    for chaos in pools {
        assert!(is_encrypted(&chaos).await);
        invariants::hold(chaos).await;
    }
}
