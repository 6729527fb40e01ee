//! The seam that a backend implements.

use std::error::Error as StdError;
use std::future::Future;

use crate::attempt::Attempt;
use crate::metric::Description;
use crate::recorder::Recorder;
use crate::tag::Tag;

/// What a connection's session looks like, told from memory alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// Ready for the next user.
    Clean,
    /// Alive, but the last user left something behind, such as an open transaction. The pool calls
    /// [`Driver::reset`] in the background before anybody gets the connection again.
    Dirty,
    /// Of no further use. The pool closes it and opens another when one is needed.
    Broken,
}

/// Whether it makes sense to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorClass {
    /// May pass by itself: a refused connection, a server that is starting.
    Transient,
    /// The backend is in order, and has no room for another connection. As `Transient`: callers wait for the connections that there are. But the [breaker](crate::Config::breaker_failures) does not count
    /// it, for nothing is broken.
    Full,
    /// Stays until somebody changes something: a wrong password, an unknown database. When the pool has
    /// no connection at all, such an error is told to its waiters at once instead of letting them time out.
    Permanent,
}

/// Cuts off a connection that somebody uses: what the user does with it fails from then on. It neither blocks nor waits, and may come after the connection has been
/// closed, but not after it has been [detached](crate::Lease::detach).
pub type Aborter = Box<dyn FnOnce() + Send>;

/// A backend that the pool opens connections to.
///
/// The pool calls `connect`, `reset`, `ping` and `close` from tasks of its own, each under a budget of the
/// [`Config`](crate::Config), never from the task that acquires: a caller that gives up harms none of them. When a
/// budget runs out the future is dropped; the connection it borrowed is then closed. [`convert`](Driver::convert) alone is called for one caller and in its future. A panic in any of the
/// calls is caught, reported through `tracing`, and counts as a failure of that call. After one
/// in `inspect` the connection is closed; one in `classify` counts as [`ErrorClass::Transient`], one in `host`, `session_id` or `aborter` as `None`.
///
/// # Example
///
/// ```
/// use pool_core::{Attempt, Driver, ErrorClass, SessionState};
/// use tokio::net::TcpStream;
///
/// struct Tcp(std::net::SocketAddr);
///
/// impl Driver for Tcp {
///     type Connection = TcpStream;
///     type Error = std::io::Error;
///
///     async fn connect(&self, _: &Attempt) -> Result<TcpStream, std::io::Error> {
///         TcpStream::connect(self.0).await
///     }
///     fn inspect(&self, connection: &mut TcpStream) -> SessionState {
///         // Nothing to read is what a healthy idle connection looks like.
///         match connection.try_read(&mut [0; 1]) {
///             Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => SessionState::Clean,
///             _ => SessionState::Broken,
///         }
///     }
///     fn classify(&self, _: &std::io::Error) -> ErrorClass {
///         ErrorClass::Transient
///     }
/// }
/// ```
pub trait Driver: Send + Sync + 'static {
    /// One open connection. It needs to be `Send`; only a lease that is itself shared between threads needs `Sync`.
    type Connection: Send + 'static;

    /// What the driver's calls fail with.
    type Error: StdError + Send + Sync + 'static;

    /// Gives the driver what it notes its own measurements with, for the statistics of the pool, and [asks for other connections](Recorder::retire_all_over) with. Called once, when the pool is built, and before any other
    /// method. The default drops the recorder: nothing shows in [`Stats::execution`](crate::Stats::execution) then, unless
    /// [`Pool::record_execution`](crate::Pool::record_execution) is called.
    ///
    /// # Example
    ///
    /// A driver that keeps it, and gives each connection a clone. The connection notes the time of a query when it has ended.
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use std::time::Instant;
    ///
    /// use pool_core::{Attempt, Driver, ErrorClass, Recorder, SessionState};
    ///
    /// #[derive(Default)]
    /// struct Measuring(OnceLock<Recorder>);
    ///
    /// struct Connection(Option<Recorder>);
    ///
    /// impl Connection {
    ///     fn query(&self) {
    ///         let started = Instant::now();
    ///         // Here it asks, and gets an answer.
    ///         if let Some(recorder) = &self.0 {
    ///             recorder.record_execution(started.elapsed());
    ///         }
    ///     }
    /// }
    ///
    /// impl Driver for Measuring {
    ///     type Connection = Connection;
    ///     type Error = std::io::Error;
    ///
    ///     fn attach(&self, recorder: Recorder) {
    ///         let _ = self.0.set(recorder);
    ///     }
    ///     async fn connect(&self, _: &Attempt) -> Result<Connection, std::io::Error> {
    ///         Ok(Connection(self.0.get().cloned()))
    ///     }
    ///     fn inspect(&self, _: &mut Connection) -> SessionState {
    ///         SessionState::Clean
    ///     }
    ///     fn classify(&self, _: &std::io::Error) -> ErrorClass {
    ///         ErrorClass::Transient
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = pool_core::Pool::builder(Measuring::default()).build()?;
    /// pool.acquire().await?.query();
    /// assert_eq!(pool.stats().execution.count, 1);
    /// # pool.close().await;
    /// # Ok(())
    /// # }
    /// ```
    fn attach(&self, recorder: Recorder) {
        let _ = recorder;
    }

    /// Opens one connection. A driver that says by `attempt` how far it has come lets those know who wait too long, and what an attempt ran into that took too long.
    ///
    /// Runs under [`connect_timeout`](crate::Config::connect_timeout). Cancel safety: the pool drops the future when the
    /// budget runs out or the runtime ends, so a half-open connection must close itself when dropped.
    ///
    /// # Errors
    ///
    /// Whatever kept the connection from opening; [`classify`](Driver::classify) tells the pool what it means.
    fn connect(&self, attempt: &Attempt) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;

    /// Tells the state of the session, without I/O and without blocking.
    ///
    /// Called when a lease is dropped, inside `Drop`, when a connection is adopted, and again when an idle connection is looked after or about to be handed
    /// out. It sits on the hot path: keep it to a few loads.
    fn inspect(&self, connection: &mut Self::Connection) -> SessionState;

    /// Brings a [`Dirty`](SessionState::Dirty) session back to a clean one.
    ///
    /// Runs under [`reset_timeout`](crate::Config::reset_timeout). The connection is inspected again afterwards and closed
    /// unless it is clean. The default does nothing, so that a driver that never says `Dirty` need not write it.
    ///
    /// # Errors
    ///
    /// Any error closes the connection.
    fn reset(&self, connection: &mut Self::Connection) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = connection;
        std::future::ready(Ok(()))
    }

    /// A [hook](crate::Hooks) of the service has done something to the connection, after it was opened or when it came back, and has meant it: whatever that has left in the session is there to stay, and not what a user has left behind. Called without I/O
    /// and before the next `inspect`. The default does nothing.
    fn approve(&self, connection: &mut Self::Connection) {
        let _ = connection;
    }

    /// Whether what this tag stands for is still so after a [reset](Driver::reset), whenever it was noted. The default is `false`: a connection that has been reset has lost its tags, and is converted again for those who prefer one.
    fn reset_keeps(&self, tag: &Tag) -> bool {
        let _ = tag;
        false
    }

    /// Asks the backend for a sign of life.
    ///
    /// Runs under [`health_check_timeout`](crate::Config::health_check_timeout), or before a hand-over under [`check_timeout`](crate::Config::check_timeout). The
    /// connection is inspected afterwards. The default does nothing else.
    ///
    /// # Errors
    ///
    /// Any error closes the connection.
    fn ping(&self, connection: &mut Self::Connection) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = connection;
        std::future::ready(Ok(()))
    }

    /// Makes a clean session what somebody wishes who got it though it was not: gives it this role, tenant or `search_path`.
    ///
    /// Called for those who [prefer](crate::Preference::tag) a tag that the connection does not have, in their own future, and so not from a task of the pool. Runs under
    /// [`reset_timeout`](crate::Config::reset_timeout), or what is left of the caller's time. The connection has the tag afterwards. The default does nothing: then a tag is what a service makes of it.
    ///
    /// Cancel safety: when the caller gives up, the future is dropped, and the connection is closed.
    ///
    /// # Errors
    ///
    /// Any error closes the connection, and is told to the caller.
    fn convert(
        &self,
        connection: &mut Self::Connection,
        wanted: &Tag,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = (connection, wanted);
        std::future::ready(Ok(()))
    }

    /// Closes a connection and returns once the backend has let go of it.
    ///
    /// Runs under [`close_timeout`](crate::Config::close_timeout). The slot stays taken until this returns, which keeps the
    /// backend from seeing more than `max_size` connections, unless it takes longer than that budget. The default drops the connection.
    fn close(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send {
        drop(connection);
        std::future::ready(())
    }

    /// The host that a connection goes to, by the name that [`Pool::retire_host`](crate::Pool::retire_host) is given. `None`, the default, if there is none to be
    /// told apart.
    fn host<'a>(&'a self, connection: &'a Self::Connection) -> Option<&'a str> {
        let _ = connection;
        None
    }

    /// Where exactly a connection goes to, if there are several places behind one [`host`](Driver::host), such as the addresses of a name:
    /// [`Pool::retire_host`](crate::Pool::retire_host) takes either. `None`, the default, if the host says it all.
    fn address<'a>(&'a self, connection: &'a Self::Connection) -> Option<&'a str> {
        let _ = connection;
        None
    }

    /// The number by which the server knows the session of a connection, such as the process of PostgreSQL or the `CLIENT ID` of Redis: it is shown with the connection to whoever
    /// [looks at the pool](crate::Holder::session), who finds it on the server by that. Asked for once, when the connection has been opened or [adopted](crate::Pool::adopt): it is to stay the same
    /// for as long as the connection is open. It is called without I/O. `None`, the default, if there is no such number.
    ///
    /// # Example
    ///
    /// ```
    /// use pool_core::{Attempt, Driver, ErrorClass, SessionState};
    ///
    /// /// As the server has said at the login.
    /// struct Connection {
    ///     session: u64,
    /// }
    ///
    /// struct Numbered;
    ///
    /// impl Driver for Numbered {
    ///     type Connection = Connection;
    ///     type Error = std::io::Error;
    ///
    ///     async fn connect(&self, _: &Attempt) -> Result<Connection, std::io::Error> {
    ///         Ok(Connection { session: 4711 })
    ///     }
    ///     fn inspect(&self, _: &mut Connection) -> SessionState {
    ///         SessionState::Clean
    ///     }
    ///     fn session_id(&self, connection: &Connection) -> Option<u64> {
    ///         Some(connection.session)
    ///     }
    ///     fn classify(&self, _: &std::io::Error) -> ErrorClass {
    ///         ErrorClass::Transient
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = pool_core::Pool::builder(Numbered).build()?;
    /// let lease = pool.acquire().await?;
    /// assert_eq!(pool.holders()[0].session, Some(lease.session));
    /// # drop(lease);
    /// # pool.close().await;
    /// # Ok(())
    /// # }
    /// ```
    fn session_id(&self, connection: &Self::Connection) -> Option<u64> {
        let _ = connection;
        None
    }

    /// What cuts a connection off while somebody uses it, for [`Pool::close_within`](crate::Pool::close_within). Asked for once, when the connection has been opened. `None`,
    /// the default, if there is no such means: then its user keeps it for as long as he likes.
    fn aborter(&self, connection: &Self::Connection) -> Option<Aborter> {
        let _ = connection;
        None
    }

    /// How many callers may use a connection at a time who [share](crate::Pool::share) it, each through `&Connection`: at most 65,535. Asked for once, when the pool is built. The
    /// default is 0: then a connection is for one caller at a time, however it was asked for.
    ///
    /// Whoever shares a connection must not change its session for the others; that is the driver's to see to.
    fn shared_by(&self) -> usize {
        0
    }

    /// Whether a connection that is shared takes another user. Asked of one on which a place has been taken, and before that is anybody's: if it is refused, nobody joins any more,
    /// those who use the connection finish, and then it comes back as any other. For a connection on which something is under way that holds up whatever comes next.
    ///
    /// It sits on the hot path: keep it to a few loads. The default is `true`. A panic counts as `false`.
    fn takes_another(&self, connection: &Self::Connection) -> bool {
        let _ = connection;
        true
    }

    /// Tells of itself, for those who look at the pool: what the driver measures, how it is set up (nothing secret), and the servers that it connects to. The pool calls it whenever somebody
    /// looks, from any thread; it must not wait for anything that a caller of the pool may hold. By default it tells nothing.
    ///
    /// A panic is logged, and what was told until then counts.
    fn describe(&self, description: &mut Description) {
        let _ = description;
    }

    /// Tells whether an error of [`connect`](Driver::connect) may pass by itself.
    fn classify(&self, error: &Self::Error) -> ErrorClass;
}
