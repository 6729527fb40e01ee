//! Servers that shake hands at once, as PostgreSQL 17 and later can, and see how.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pool_postgres::PostgresPool;
use pool_testkit::postgres::EphemeralPostgres;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{HandshakeKind, ServerConfig, SupportedProtocolVersion};

use crate::judge::{self, Judge, Outcome};
use crate::paper::Paper;
use crate::sessions::authority;
use crate::world::NAME;

/// What it was that was agreed on, and how.
type Seen = Arc<Mutex<Vec<(Option<Vec<u8>>, HandshakeKind)>>>;

/// What speaks some protocols over one version of TLS, and has given out keys with which sessions can be resumed.
fn acceptor(paper: &Paper, protocols: &[&[u8]], version: &'static SupportedProtocolVersion) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(paper.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(paper.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Shakes hands at once and passes on what comes of it to a server that knows nothing of TLS. Its port, and what was seen.
async fn direct(acceptor: TlsAcceptor, server: &EphemeralPostgres) -> (u16, Seen) {
    let listener = TcpListener::bind((NAME, 0)).await.unwrap();
    let (port, upstream) = (listener.local_addr().unwrap().port(), server.port());
    let seen = Seen::default();
    let ours = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut inside) = acceptor.accept(stream).await else { continue };
            let about = inside.get_ref().1;
            ours.lock().unwrap().push((about.alpn_protocol().map(<[u8]>::to_vec), about.handshake_kind().unwrap()));
            tokio::spawn(async move {
                let mut outside = TcpStream::connect((NAME, upstream)).await.unwrap();
                let _ = copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
    (port, seen)
}

#[tokio::test]
async fn direct_negotiation_goes_straight_on_to_a_whole_handshake_for_postgresql() {
    let (folder, authority, root) = authority();
    let paper = authority.issue(NAME);
    let server = EphemeralPostgres::builder().tls(&paper.certificate, &paper.key).start().unwrap();
    let verified = format!("sslmode=verify-full sslnegotiation=direct sslrootcert={root}");
    for version in [&TLS12, &TLS13] {
        let (port, seen) = direct(acceptor(&paper, &[b"postgresql"], version), &server).await;
        let text = format!(
            "host={NAME} port={port} user=postgres dbname=postgres pool_max_conns=1 pool_min_conns=0 \
             pool_max_conn_lifetime=0 {verified}"
        );
        let pool = PostgresPool::connect(text.parse().unwrap()).await.unwrap();
        let lease = pool.acquire().await.unwrap();
        assert_eq!(lease.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
        let sleep = lease.batch_execute("SELECT pg_sleep(3600)");
        assert!(tokio::time::timeout(Duration::from_millis(50), sleep).await.is_err());
        drop(lease);
        pool.acquire().await.unwrap().discard();
        drop(pool.acquire().await.unwrap());
        let seen = seen.lock().unwrap().clone();
        assert!(seen.len() >= 3, "the session, the request to cancel, and another session: {seen:?}");
        for (protocol, kind) in seen {
            assert_eq!(protocol.as_deref(), Some(&b"postgresql"[..]));
            // A session that is resumed looks at no certificate, so one that has been revoked would do.
            assert_ne!(kind, HandshakeKind::Resumed, "{version:?}");
        }
        pool.disconnect().await;
    }
    // PostgreSQL itself, which can do it since version 17.
    let text =
        format!("host={NAME} port={} user=postgres dbname=postgres gssencmode=disable {verified}", server.port());
    let (theirs, ours) = (Judge::start(folder.path()).connect(&text), judge::connect(&text).await);
    assert!(ours.is_like(&theirs), "{ours} here: {}, {theirs} with libpq: {}", ours.reason(), theirs.reason());
    assert_eq!(matches!(ours, Outcome::Encrypted), server.version() >= 17, "{}", ours.reason());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shakes_hands_at_once_for_no_protocol_or_another_one_is_refused() {
    let (folder, authority, root) = authority();
    let paper = authority.issue(NAME);
    let server = EphemeralPostgres::start().unwrap();
    let mut judge = Judge::start(folder.path());
    for (protocols, is_let_in) in [(&[&b"postgresql"[..]][..], true), (&[], false), (&[&b"http/1.1"[..]], false)] {
        let (port, _) = direct(acceptor(&paper, protocols, &TLS13), &server).await;
        let text = format!(
            "host={NAME} port={port} user=postgres dbname=postgres gssencmode=disable sslmode=verify-full \
             sslnegotiation=direct sslrootcert={root}"
        );
        let theirs = tokio::task::block_in_place(|| judge.connect(&text));
        let ours = judge::connect(&text).await;
        let both = format!("{protocols:?}: {ours} here: {}, {theirs} with libpq: {}", ours.reason(), theirs.reason());
        let is_refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
        assert_eq!([is_refused(&ours), is_refused(&theirs)], [!is_let_in; 2], "{both}");
        if protocols.is_empty() {
            assert!(ours.reason().contains("application protocol postgresql (ALPN)"), "{}", ours.reason());
        }
    }
}
