//! F058: a Unix socket that is not there, or at which nobody listens any more.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use pool_core::AcquireError;
use pool_postgres::ConnectStep;
use pool_testkit::proxy::End;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::asking::{LIMIT, eventually, in_time};
use crate::common::Chaos;
use crate::invariants;
use crate::refusals::cause;
use crate::users::SHORT;

/// A folder for the server's socket, by which a pool gets to the proxy.
pub(crate) struct Socket {
    folder: PathBuf,
    /// Whoever listens.
    server: Option<JoinHandle<()>>,
}

impl Socket {
    /// There is none yet.
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("pool-socket-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Self { folder, server: None }
    }

    pub(crate) fn path(&self, chaos: &Chaos) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{}", chaos.proxy.address().port()))
    }

    /// Does what a server does when it starts.
    pub(crate) fn listen(&mut self, chaos: &Chaos) {
        let path = self.path(chaos);
        let _ = std::fs::remove_file(&path);
        let (listener, proxy) = (UnixListener::bind(path).unwrap(), chaos.proxy.address());
        self.server = Some(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, proxy));
            }
        }));
    }

    /// Nobody listens any more, and the file stays: as after a server that was killed.
    async fn abandon(&mut self) {
        let server = self.server.take().unwrap();
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn pass_on(mut client: UnixStream, proxy: std::net::SocketAddr) {
    let mut server = TcpStream::connect(proxy).await.unwrap();
    // However it ends, both are closed.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

/// A pool that knows its server by a socket in a folder where there is none yet.
pub(crate) async fn start() -> (Chaos, Socket) {
    let socket = Socket::new();
    let host = socket.folder.display().to_string();
    (Chaos::with(2, |config| config.hosts[0].name = host).await, socket)
}

/// Nobody gets in for this reason, which may pass.
pub(crate) async fn not_now(chaos: &mut Chaos, socket: &Socket, reason: &str) {
    chaos.hurry(LIMIT, 4 * SHORT);
    let error = chaos.told().await;
    assert!(matches!(error, AcquireError::Timeout { .. }), "it may come back: {error}");
    assert_eq!(
        (cause(&error).step, cause(&error).target.clone()),
        (ConnectStep::Open, socket.path(chaos).display().to_string())
    );
    assert!(error.to_string().contains(reason), "{error}");
    chaos.hurry(LIMIT, LIMIT);
}

/// Callers wait while there is nothing, and are served when a server has started.
async fn served_by(chaos: &Chaos, socket: &mut Socket) {
    let waiting = join_all((0..20).map(async |_| drop(chaos.working().await)));
    let start = async {
        eventually("all wait", async || chaos.pool.state().waiting == 20).await;
        socket.listen(chaos);
    };
    in_time("all are served", async { tokio::join!(waiting, start) }).await;
}

#[tokio::test]
async fn f058_a_unix_socket_that_is_not_there_is_tried_again() {
    let (mut chaos, mut socket) = start().await;
    not_now(&mut chaos, &socket, "No such file or directory").await;
    served_by(&chaos, &mut socket).await;
    let stats = invariants::hold(chaos).await;
    assert_eq!(stats.errors.open_permanent, 0, "{stats:?}");
}

#[tokio::test]
async fn f058_a_unix_socket_at_which_nobody_listens_is_tried_again() {
    let (mut chaos, mut socket) = start().await;
    socket.listen(&chaos);
    chaos.fill(2).await;
    socket.abandon().await;
    chaos.proxy.cut_all(End::Close).await;
    eventually("all is lost", async || chaos.pool.state().size == 0).await;
    assert!(socket.path(&chaos).exists(), "a file that nobody listens at");
    not_now(&mut chaos, &socket, "Connection refused").await;
    served_by(&chaos, &mut socket).await;
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.broken, stats.errors.open_permanent), (2, 0), "{stats:?}");
}
