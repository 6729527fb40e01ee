//! A pool of Redis connections: a protocol with sessions, over the `redis` crate. Each lease has a connection of its own, for `WATCH`, `MULTI` and `BLPOP` are of a session.
//! `cargo run -p pool-core --example redis`; it starts a Redis of its own (`apt-get install redis-server`).

#[cfg(not(feature = "loom"))]
#[path = "common/redis_server.rs"]
pub(crate) mod server;

#[cfg(not(feature = "loom"))]
pub(crate) mod driver {
    use pool_core::{Aborter, Attempt, Driver, ErrorClass, SessionState};
    use redis::aio::{ConnectionLike, MultiplexedConnection};
    use redis::{Cmd, ErrorKind, Pipeline, RedisConnectionInfo, RedisError, RedisFuture as Answer, RedisResult, Value};
    use tokio_util::task::AbortOnDropHandle;

    /// Opens connections to one server, all with the same login.
    pub(crate) struct Redis {
        pub(crate) address: std::net::SocketAddr,
        pub(crate) login: RedisConnectionInfo,
    }

    /// One connection, for one user at a time. The commands of the crate work on it.
    pub(crate) struct Session {
        link: MultiplexedConnection,
        pub(crate) task: AbortOnDropHandle<()>, // reads and writes the socket, and ends with it
        left: Left,
    }

    /// What requests have left behind in the session.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Left {
        Nothing,
        State,   // `RESET` takes it away
        Answers, // may come for which nobody asks any more: the next user would take them for his
    }

    impl Left {
        fn by(command: &Cmd) -> Self {
            let Some(redis::Arg::Simple(name)) = command.args_iter().next() else { return Self::Answers };
            match name.to_ascii_uppercase().as_slice() {
                b"SELECT" | b"WATCH" | b"MULTI" | b"AUTH" | b"READONLY" | b"ASKING" | b"RESET" => Self::State,
                b"CLIENT" | b"HELLO" | b"MONITOR" | b"QUIT" => Self::Answers,
                name if name.ends_with(b"SUBSCRIBE") => Self::Answers,
                _ => Self::Nothing,
            }
        }

        fn behind<'a, T: 'a>(&'a mut self, commands: Self, request: Answer<'a, T>) -> Answer<'a, T> {
            let then = commands.max(*self);
            Box::pin(async move {
                // Dropped in the middle, the answer is still to come: `RESET` is answered after it.
                *self = then.max(Self::State);
                let answer = request.await;
                *self = then;
                answer
            })
        }
    }

    impl ConnectionLike for Session {
        fn req_packed_command<'a>(&'a mut self, one: &'a Cmd) -> Answer<'a, Value> {
            self.left.behind(Left::by(one), self.link.req_packed_command(one))
        }

        fn req_packed_commands<'a>(&'a mut self, all: &'a Pipeline, at: usize, n: usize) -> Answer<'a, Vec<Value>> {
            let most = all.cmd_iter().map(Left::by).max().unwrap_or(Left::Nothing);
            self.left.behind(most, self.link.req_packed_commands(all, at, n))
        }

        fn get_db(&self) -> i64 {
            self.link.get_db()
        }
    }

    impl Driver for Redis {
        type Connection = Session;
        type Error = RedisError;

        async fn connect(&self, attempt: &Attempt) -> RedisResult<Session> {
            attempt.opening(format!("connecting to {}", self.address));
            let stream = tokio::net::TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            attempt.authenticating(format!("logging in at {}", self.address));
            let (link, task) = MultiplexedConnection::new(&self.login, stream).await?;
            let mut session = Session { link, task: AbortOnDropHandle::new(tokio::spawn(task)), left: Left::Nothing };
            // A server that wants a password, or is loading, says so to the first command.
            self.ping(&mut session).await.map(|()| session)
        }

        fn inspect(&self, session: &mut Session) -> SessionState {
            match session.left {
                _ if session.task.is_finished() => SessionState::Broken,
                Left::Nothing => SessionState::Clean,
                Left::State => SessionState::Dirty,
                Left::Answers => SessionState::Broken,
            }
        }

        async fn reset(&self, session: &mut Session) -> RedisResult<()> {
            let mut reset = redis::pipe();
            reset.cmd("RESET").ignore();
            if let Some(password) = &self.login.password {
                reset.cmd("AUTH").arg(self.login.username.as_deref().unwrap_or("default")).arg(password).ignore();
            }
            reset.cmd("SELECT").arg(self.login.db).ignore().exec_async(session).await?;
            session.left = Left::Nothing;
            Ok(())
        }

        async fn ping(&self, session: &mut Session) -> RedisResult<()> {
            redis::cmd("PING").exec_async(session).await
        }

        async fn close(&self, mut session: Session) {
            // One that is not clean may have to wait for its answer. Otherwise the server closes after it, and that ends the task.
            if session.left != Left::Nothing || redis::cmd("QUIT").exec_async(&mut session).await.is_err() {
                session.task.abort();
            }
            let _ = session.task.await;
        }

        fn aborter(&self, session: &Session) -> Option<Aborter> {
            let task = session.task.abort_handle();
            Some(Box::new(move || task.abort()))
        }

        fn classify(&self, error: &RedisError) -> ErrorClass {
            let refused = error.kind() == ErrorKind::AuthenticationFailed;
            let permanent = refused || matches!(error.code(), Some("NOAUTH" | "NOPERM" | "WRONGPASS"));
            if permanent { ErrorClass::Permanent } else { ErrorClass::Transient }
        }
    }
}

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use redis::AsyncCommands;
    let server = server::Server::start(&[])?;
    let redis = driver::Redis { address: server.address, login: redis::RedisConnectionInfo::default() };
    let pool = pool_core::Pool::builder(redis).max_size(4).build()?;
    let _: () = pool.acquire().await?.set("greeting", "hello").await?;
    assert_eq!(pool.acquire().await?.get::<_, String>("greeting").await?, "hello");
    pool.close().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
