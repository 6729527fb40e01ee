//! What is asked together leaves together.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::future::join_all;
use pool_postgres::{PostgresConfig, PostgresDriver, PostgresPool, TlsConnector, TlsSession, TlsSocket};
use pool_testkit::postgres::EphemeralPostgres;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::authority::Authority;

/// A stream that counts how often something is written to it, and how much.
struct Counted<S> {
    stream: S,
    writes: Arc<[AtomicUsize; 2]>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.writes[0].fetch_add(1, Ordering::Relaxed);
            self.writes[1].fetch_add(*count, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A TLS library whose streams are counted.
struct Own {
    client: Arc<ClientConfig>,
    writes: Arc<[AtomicUsize; 2]>,
}

impl TlsConnector for Own {
    async fn connect(&self, server: &str, socket: TlsSocket) -> Result<TlsSession, Box<dyn Error + Send + Sync>> {
        let name = ServerName::try_from(server.to_owned())?;
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(&self.client)).connect(name, socket).await?;
        Ok(TlsSession::new(Counted { stream, writes: Arc::clone(&self.writes) }))
    }
}

fn pool(server: &EphemeralPostgres, authority: &Authority, writes: &Arc<[AtomicUsize; 2]>) -> PostgresPool {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&authority.file).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let client =
        client.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
    let own = Own { client: Arc::new(client), writes: Arc::clone(writes) };
    let text = format!("host=127.0.0.1 port={} user=postgres dbname=postgres sslmode=require", server.port());
    let mut config: PostgresConfig = text.parse().unwrap();
    (config.pool.max_size, config.pool.min_size, config.multiplexing.max_in_flight) = (1, 0, 128);
    config.multiplexing.apart_after = None;
    PostgresPool::builder_of(PostgresDriver::with_tls(config, own).unwrap()).build().unwrap().into()
}

#[tokio::test]
async fn a_hundred_queries_that_are_asked_together_leave_in_a_few_writes() {
    let (authority, writes) = (Authority::new(), Arc::<[AtomicUsize; 2]>::default());
    let (certificate, key) = authority.certificate("127.0.0.1");
    let server = EphemeralPostgres::builder().tls(&certificate, &key).start().unwrap();
    let pool = pool(&server, &authority, &writes);
    let database = pool.multiplexed();
    let ask = async |n: i32| {
        let row = database.query_one("SELECT $1::int + 1", &[&n]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), n + 1);
    };
    ask(0).await;
    ask(0).await;
    let now = || [0, 1].map(|which: usize| writes[which].load(Ordering::Relaxed));
    let before = now();
    ask(1).await;
    let alone = now();
    let bytes = alone[1] - before[1];
    for _ in 0..20 {
        let before = now();
        join_all((0..100).map(&ask)).await;
        let after = now();
        assert_eq!(after[1] - before[1], 100 * bytes, "as much as they are");
        assert!(after[0] - before[0] <= 6, "{} writes", after[0] - before[0]);
    }
    // Each on a task of its own, too.
    for _ in 0..20 {
        let before = now();
        let tasks = (0..100_i32).map(|n| {
            let database = database.clone();
            tokio::spawn(async move { database.query_one("SELECT $1::int + 1", &[&n]).await.unwrap().get::<_, i32>(0) })
        });
        for (n, task) in (1..).zip(tasks.collect::<Vec<_>>()) {
            assert_eq!(task.await.unwrap(), n);
        }
        assert!(now()[0] - before[0] <= 10, "{} writes", now()[0] - before[0]);
    }
    pool.disconnect().await;
}
