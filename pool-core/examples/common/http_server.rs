//! An HTTP server in this process.

use std::convert::Infallible;
use std::io::Result;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::{Request, Response, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// Greets at any path but `/large`, where it has a lot to say. It ends when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<Connections>,
    accepting: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Connections {
    tasks: TaskTracker,
    accepted: watch::Sender<usize>,
    hang_up: watch::Sender<()>,
}

/// More than any buffer on the way holds.
pub(crate) const LARGE: usize = 16 << 20;

impl Server {
    /// Starts one at this address; with port 0 at a free one.
    pub(crate) async fn start(address: impl tokio::net::ToSocketAddrs) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let (address, connections) = (listener.local_addr()?, Arc::new(Connections::default()));
        let accepting = AbortOnDropHandle::new(tokio::spawn(accept(listener, connections.clone())));
        Ok(Self { address, connections, accepting })
    }

    /// How many connections there have been.
    pub(crate) fn accepted(&self) -> usize {
        *self.connections.accepted.borrow()
    }

    /// Ends all connections, and returns when they are closed.
    pub(crate) async fn hang_up(&self) {
        self.connections.hang_up.send_replace(());
        self.all_gone().await;
    }

    /// Returns when no connection is open.
    pub(crate) async fn all_gone(&self) {
        self.connections.tasks.close();
        self.connections.tasks.wait().await;
        self.connections.tasks.reopen();
    }

    /// Ends, and returns when nobody is served any more.
    pub(crate) async fn stop(self) {
        self.accepting.abort();
        while !self.accepting.is_finished() {
            tokio::task::yield_now().await;
        }
        self.hang_up().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.connections.hang_up.send_replace(());
    }
}

async fn accept(listener: TcpListener, connections: Arc<Connections>) {
    while let Ok((stream, _)) = listener.accept().await {
        connections.accepted.send_modify(|accepted| *accepted += 1);
        connections.tasks.spawn(serve(stream, connections.hang_up.subscribe()));
    }
}

async fn serve(stream: TcpStream, mut hang_up: watch::Receiver<()>) {
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    tokio::select! {
        _ = connection => {}
        _ = hang_up.changed() => {}
    }
}

async fn answer(request: Request<Incoming>) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let body = match request.uri().path() {
        "/large" => Bytes::from(vec![b'.'; LARGE]),
        _ => Bytes::from_static(b"hello"),
    };
    Ok(Response::new(Full::new(body)))
}
