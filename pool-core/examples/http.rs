//! A pool of HTTP/1.1 connections that are kept alive, over hyper: a resource without sessions. What can be wrong with one is that it has ended, or that its last answer has not been read to its end.
//!
//! `cargo run -p pool-core --example http`

#[cfg(not(feature = "loom"))]
#[path = "common/http_server.rs"]
pub(crate) mod server;

#[cfg(not(feature = "loom"))]
pub(crate) mod driver {
    use std::io::{Error, ErrorKind, Result};
    use std::net::SocketAddr;

    use http_body_util::{BodyExt, Empty};
    use hyper::body::{Bytes, Incoming};
    use hyper::client::conn::http1::{SendRequest, handshake};
    use hyper::{Method, Request, Response, header::HOST};
    use hyper_util::rt::TokioIo;
    use pool_core::{Aborter, Attempt, Driver, ErrorClass, SessionState};
    use tokio::net::TcpStream;
    use tokio_util::task::AbortOnDropHandle;

    /// Opens connections to one server.
    pub(crate) struct Http(pub(crate) SocketAddr);

    /// One connection.
    pub(crate) struct Connection {
        requests: SendRequest<Empty<Bytes>>,
        /// Reads and writes the socket, and ends with it.
        pub(crate) task: AbortOnDropHandle<()>,
        server: String,
    }

    impl Connection {
        /// Asks for something. The connection can be given back when the answer has begun; it is used again when that has been read to its end.
        pub(crate) async fn get(&mut self, path: &str) -> Result<Response<Incoming>> {
            self.ask(Method::GET, path).await
        }

        async fn ask(&mut self, method: Method, path: &str) -> Result<Response<Incoming>> {
            let request = Request::builder().method(method).uri(path).header(HOST, &self.server);
            let request = request.body(Empty::new()).map_err(Error::other)?;
            self.requests.ready().await.map_err(Error::other)?;
            self.requests.send_request(request).await.map_err(Error::other)
        }
    }

    impl Driver for Http {
        type Connection = Connection;
        type Error = Error;

        async fn connect(&self, attempt: &Attempt) -> Result<Connection> {
            attempt.opening(format!("connecting to {}", self.0));
            let stream = TcpStream::connect(self.0).await?;
            let (mut requests, connection) = handshake(TokioIo::new(stream)).await.map_err(Error::other)?;
            // What it ends with, whoever asks is told as well.
            let task = AbortOnDropHandle::new(tokio::spawn(async { drop(connection.await) }));
            requests.ready().await.map_err(Error::other)?;
            Ok(Connection { requests, task, server: self.0.to_string() })
        }

        fn inspect(&self, connection: &mut Connection) -> SessionState {
            match connection {
                ended if ended.task.is_finished() || ended.requests.is_closed() => SessionState::Broken,
                ready if ready.requests.is_ready() => SessionState::Clean,
                _ => SessionState::Dirty,
            }
        }

        /// Waits until whoever has the last answer has read it. One that nobody has any more ends the connection.
        async fn reset(&self, connection: &mut Connection) -> Result<()> {
            connection.requests.ready().await.map_err(Error::other)
        }

        async fn ping(&self, connection: &mut Connection) -> Result<()> {
            let answer = connection.ask(Method::OPTIONS, "*").await?;
            answer.into_body().collect().await.map_err(Error::other)?;
            // A moment later the connection is ready again.
            self.reset(connection).await
        }

        async fn close(&self, connection: Connection) {
            // Without anybody to ask it ends, and closes the socket. An answer that is still being read is waited for; dropped, this ends it.
            drop(connection.requests);
            let _ = connection.task.await;
        }

        fn aborter(&self, connection: &Connection) -> Option<Aborter> {
            let task = connection.task.abort_handle();
            Some(Box::new(move || task.abort()))
        }

        fn classify(&self, error: &Error) -> ErrorClass {
            let permanent = matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::AddrNotAvailable);
            if permanent { ErrorClass::Permanent } else { ErrorClass::Transient }
        }
    }
}

#[cfg(not(feature = "loom"))]
async fn greeting(pool: &pool_core::Pool<driver::Http>) -> Result<String, Box<dyn std::error::Error>> {
    let answer = pool.acquire().await?.get("/").await?;
    let body = http_body_util::BodyExt::collect(answer.into_body()).await?.to_bytes();
    Ok(String::from_utf8(body.into())?)
}

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = server::Server::start("127.0.0.1:0").await?;
    let pool = pool_core::Pool::builder(driver::Http(server.address)).min_size(0).max_size(4).build()?;
    for _ in 0..10 {
        assert_eq!(greeting(&pool).await?, "hello");
    }
    assert_eq!(server.accepted(), 1, "one connection did for all");
    server.hang_up().await;
    // A connection can end in the moment that it is handed out: what may be repeated is.
    let again = greeting(&pool).await;
    assert_eq!(if again.is_ok() { again } else { greeting(&pool).await }?, "hello");
    pool.close().await;
    server.stop().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
