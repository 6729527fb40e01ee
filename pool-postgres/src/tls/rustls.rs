//! rustls, as a configuration says, with the files that it names: read again when they are others.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use tokio::task::spawn_blocking;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use pool_core::trace::report;

use super::fingerprint::{Fingerprint, fingerprint};
use super::names;
use super::plug::{AnyConnector, Handshake, TlsSession, TlsSocket};
use super::witness::Witness;
use crate::config::{Host, PostgresConfig, RootCertificates, SslMode, SslNegotiation};
use crate::error::PostgresError;

/// With the settings that worked last.
pub(crate) struct Rustls(Arc<Inner>);

struct Inner {
    config: PostgresConfig,
    /// What the configuration names: files, and folders with files.
    paths: Vec<PathBuf>,
    /// Or why there is none yet: nobody has been waiting for it, as there is a Unix socket, too.
    client: Mutex<Result<Arc<ClientConfig>, String>>,
    /// Held by who looks.
    seen: Mutex<Seen>,
    /// Whether there is a change that nobody has been told of.
    changed: AtomicBool,
}

/// What the files were like.
struct Seen {
    /// When they were read and all was well.
    good: Fingerprint,
    /// When it was said last that they are not.
    bad: Option<Fingerprint>,
}

impl Rustls {
    pub(super) fn new(config: &PostgresConfig) -> Result<Self, PostgresError> {
        let paths = paths(config);
        // First: what is written while they are read is seen to be another the next time.
        let print = fingerprint(&paths);
        let (client, seen) = match super::client(config) {
            Err(error) if config.hosts.iter().any(Host::is_socket) => {
                (Err(error.to_string()), Seen { good: Fingerprint::new(), bad: Some(print) })
            }
            client => (Ok(Arc::new(client?)), Seen { good: print, bad: None }),
        };
        let (client, seen, changed) = (Mutex::new(client), Mutex::new(seen), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner { config: config.clone(), paths, client, seen, changed })))
    }
}

fn paths(config: &PostgresConfig) -> Vec<PathBuf> {
    let root = match &config.sslrootcert {
        Some(RootCertificates::File(file)) => Some(file),
        _ => None,
    };
    let all =
        [root, config.sslcert.as_ref(), config.sslkey.as_ref(), config.sslcrl.as_ref(), config.sslcrldir.as_ref()];
    all.into_iter().flatten().cloned().collect()
}

impl Inner {
    fn client(&self) -> MutexGuard<'_, Result<Arc<ClientConfig>, String>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads them. A list of revoked certificates need not be there, but does not go away, nor all files of a folder, or what they have revoked would be let in, or nobody.
    fn read(&self, good: &Fingerprint, now: &Fingerprint) -> Result<ClientConfig, PostgresError> {
        let has = |print: &Fingerprint, path: &PathBuf| print.iter().any(|(one, kind)| one == path && kind.is_some());
        let fills = |print: &Fingerprint, path: &PathBuf| print.iter().any(|(one, _)| one.parent() == Some(path));
        let is_gone = |path: &&PathBuf| has(good, path) && !has(now, path) || fills(good, path) && !fills(now, path);
        match self.paths.iter().find(is_gone) {
            Some(path) => Err(PostgresError::Tls(format!("{} is gone, or empty", path.display()))),
            None => super::client(&self.config),
        }
    }

    /// Who goes straight on to the handshake has not said what for, so a server of something else might take what comes for its own (ALPACA).
    fn check_protocol(&self, agreed: Option<&[u8]>) -> io::Result<()> {
        if self.config.sslnegotiation == SslNegotiation::Postgres || agreed == Some(super::ALPN) {
            return Ok(());
        }
        let problem =
            "sslnegotiation is direct, and the server does not agree on the application protocol postgresql (ALPN)";
        Err(io::Error::new(io::ErrorKind::InvalidData, problem))
    }

    /// Uses the files as they are now, if they are others and can be used.
    fn look(&self) {
        let mut seen = match self.seen.try_lock() {
            Ok(seen) => seen,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody else is at it, and perhaps stuck there: files may be anywhere. What he finds counts for all.
            Err(TryLockError::WouldBlock) => return,
        };
        let now = fingerprint(&self.paths);
        if now == seen.good {
            return;
        }
        match self.read(&seen.good, &now) {
            Ok(client) => {
                *self.client() = Ok(Arc::new(client));
                *seen = Seen { good: now, bad: None };
                report(|| tracing::info!(files = ?self.paths, "files for TLS have changed, and are used from now on"));
                self.changed.store(true, Ordering::Release);
            }
            Err(error) => {
                // Perhaps half of it has been written. It is read again each time, but told once.
                if seen.bad.as_ref() != Some(&now) {
                    report(
                        || tracing::warn!(%error, "files for TLS have changed, and cannot be used; those from before stay in use"),
                    );
                    seen.bad = Some(now);
                }
            }
        }
    }
}

/// What the handshake tells the server of its name (SNI), and nothing else: an address is not told, nor is a name that is none for rustls, such as `127.1` and `fe80::1%eth0`.
fn told(host: &Host) -> ServerName<'static> {
    ServerName::try_from(host.peer()).unwrap_or_else(|_| ServerName::from(IpAddr::from(Ipv4Addr::UNSPECIFIED)))
}

impl Rustls {
    async fn shake_hands(&self, host: &Host, socket: TlsSocket) -> io::Result<TlsSession> {
        let client = self.0.client().clone();
        let (tls, witness) = Witness::of(&*client.map_err(io::Error::other)?);
        // Owned across the await: the socket. Dropping the future closes it.
        let stream = tls.connect(told(host), socket).await?;
        let (protocol, certificate) = (stream.get_ref().1.alpn_protocol(), stream.get_ref().1.peer_certificates());
        self.0.check_protocol(protocol)?;
        let certificate = certificate.and_then(<[_]>::first).cloned();
        if self.0.config.sslmode == SslMode::VerifyFull {
            let wrong = |problem| io::Error::new(io::ErrorKind::InvalidData, problem);
            names::check(&host.name, certificate.as_ref()).map_err(wrong)?;
        }
        let mut session = TlsSession::new(stream);
        if let Some(certificate) = certificate {
            session = session.server_certificate(&certificate);
        }
        Ok(if witness.was_sent() { session.sent_certificate() } else { session })
    }

    async fn look(&self) -> bool {
        if self.0.paths.is_empty() {
            return false;
        }
        let inner = Arc::clone(&self.0);
        // Owned across the await: nothing. Whoever looks goes on to the end; of a change that is found then, the next one is told who asks.
        let _ = spawn_blocking(move || inner.look()).await;
        self.0.changed.swap(false, Ordering::AcqRel)
    }
}

impl AnyConnector for Rustls {
    fn connect<'a>(&'a self, host: &'a Host, socket: TlsSocket) -> Handshake<'a> {
        // Owned across the await: the socket, by the call.
        Box::pin(async move { Ok(self.shake_hands(host, socket).await?) })
    }

    fn renew(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(self.look())
    }

    fn problem(&self) -> Option<String> {
        self.0.client().as_ref().err().cloned()
    }
}
