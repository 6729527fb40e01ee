//! F060 to F064: servers and clients with a certificate that proves nothing, until they have another one.

use std::os::unix::fs::PermissionsExt;

use futures_util::future::join_all;
use pool_postgres::{ConnectStep, PostgresConfig, RootCertificates, SslMode};
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

/// A pool that asks this of the certificate, by this authority.
async fn pool(server: &EphemeralPostgres, sslmode: SslMode, authority: &Authority) -> Chaos {
    let authority: RootCertificates = authority.file.clone().into();
    Chaos::on(server, 2, |config| (config.sslmode, config.sslrootcert) = (sslmode, Some(authority))).await
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
async fn f060_a_certificate_that_has_expired_is_refused_wherever_it_is_looked_at() {
    let authority = Authority::new();
    let (certificate, key) = authority.dated(NAME, 2020);
    let server = strict().tls(&certificate, &key).start().unwrap();
    let blind = Chaos::on(&server, 2, |config| config.sslmode = SslMode::Require).await;
    assert!(is_encrypted(&blind).await);
    let modes = [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull];
    let mut pools = join_all(modes.map(|sslmode| pool(&server, sslmode, &authority))).await;
    for chaos in &mut pools {
        refused(chaos, "certificate expired").await;
    }
    renew(&server, &pools[0], &authority).await;
    for chaos in pools.into_iter().chain([blind]) {
        assert!(is_encrypted(&chaos).await);
        invariants::hold(chaos).await;
    }
}

#[tokio::test]
async fn f061_a_certificate_for_another_name_is_refused_by_verify_full_alone() {
    let authority = Authority::new();
    let server = start(&authority, "db.example");
    let lenient = pool(&server, SslMode::VerifyCa, &authority).await;
    assert!(is_encrypted(&lenient).await);
    let mut strict = pool(&server, SslMode::VerifyFull, &authority).await;
    refused(&mut strict, r#"is for "db.example", and not for "127.0.0.1""#).await;
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
    let of_the_system = |config: &mut PostgresConfig| {
        (config.sslmode, config.sslrootcert) = (SslMode::VerifyFull, Some(RootCertificates::System));
    };
    let mut chaos = Chaos::on(&server, 2, of_the_system).await;
    refused(&mut chaos, "the TLS handshake").await;
    invariants::close(chaos).await;
    let modes = [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull];
    let mut pools = join_all(modes.map(|sslmode| pool(&server, sslmode, &other))).await;
    for chaos in &mut pools {
        refused(chaos, "the TLS handshake").await;
    }
    renew(&server, &pools[0], &other).await;
    for chaos in pools {
        assert!(is_encrypted(&chaos).await);
        invariants::hold(chaos).await;
    }
}

#[tokio::test]
async fn f063_an_authority_that_changes_is_known_to_new_sessions_from_its_file() {
    let (authority, next) = (Authority::new(), Authority::new());
    let server = start(&authority, NAME);
    let mut chaos = pool(&server, SslMode::VerifyFull, &authority).await;
    assert!(is_encrypted(&chaos).await);
    let known = |file: &Authority| std::fs::read_to_string(&file.file).unwrap();
    // Both, for as long as there are servers of both.
    std::fs::write(&authority.file, known(&authority) + &known(&next)).unwrap();
    renew(&server, &chaos, &next).await;
    chaos.pool.retire_all();
    assert!(is_encrypted(&chaos).await);
    std::fs::write(&authority.file, known(&next)).unwrap();
    chaos.pool.retire_all();
    assert!(is_encrypted(&chaos).await);
    std::fs::write(&authority.file, known(&Authority::new())).unwrap();
    chaos.pool.retire_all();
    let error = chaos.refused().await;
    assert_hopeless(&error, ConnectStep::TlsHandshake);
    std::fs::write(&authority.file, known(&next)).unwrap();
    eventually("it is known again", async || chaos.acquire().await.is_ok()).await;
    invariants::hold(chaos).await;
}

/// The client has this certificate from now on.
fn show(file: &std::path::Path, (certificate, key): (String, String)) {
    let key_file = file.with_extension("key");
    std::fs::write(&key_file, key).unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(file, certificate).unwrap();
}

#[tokio::test]
async fn f064_a_client_without_a_certificate_that_the_server_takes_is_told_at_once() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.certificate(NAME);
    let hba = "hostnossl all all 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n";
    let builder = EphemeralPostgres::builder().hba(hba).tls(&certificate, &key);
    let server = builder.setting("ssl_ca_file", &authority.file.display().to_string()).start().unwrap();
    let mut without = pool(&server, SslMode::VerifyFull, &authority).await;
    let error = without.refused().await;
    assert_hopeless(&error, ConnectStep::Startup);
    assert!(error.to_string().contains("requires a valid client certificate"), "{error}");
    invariants::close(without).await;
    let file = authority.file.with_extension("client.pem");
    show(&file, other.certificate("client.example"));
    let mut chaos = Chaos::on(&server, 2, |config| {
        (config.sslmode, config.sslrootcert) = (SslMode::VerifyFull, Some(authority.file.clone().into()));
        (config.sslcert, config.sslkey) = (Some(file.clone()), Some(file.with_extension("key")));
    })
    .await;
    let error = chaos.refused().await;
    assert_hopeless(&error, ConnectStep::Startup);
    show(&file, authority.certificate("client.example"));
    eventually("it is taken", async || chaos.acquire().await.is_ok()).await;
    assert!(is_encrypted(&chaos).await);
    invariants::hold(chaos).await;
    let _ = (std::fs::remove_file(&file), std::fs::remove_file(file.with_extension("key")));
}
