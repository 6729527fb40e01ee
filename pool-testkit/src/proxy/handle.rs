//! What a test holds.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{ToSocketAddrs, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::control::{Control, Orders};
use super::listener::Listener;
use super::seen::Seen;
use super::toxic::{Admission, Direction, End, Toxic};

/// A proxy on 127.0.0.1. Dropping it closes all connections and stops listening.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy for a server of any kind.
    ///
    /// # Errors
    ///
    /// If the server's name has no address, or there is no port to listen on.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn start(upstream: impl ToSocketAddrs) -> io::Result<Self> {
        Self::listen(upstream, false).await
    }

    /// Starts a proxy that follows the messages of PostgreSQL.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn postgres(upstream: impl ToSocketAddrs) -> io::Result<Self> {
        Self::listen(upstream, true).await
    }

    async fn listen(upstream: impl ToSocketAddrs, postgres: bool) -> io::Result<Self> {
        let upstream = lookup_host(upstream).await?.next();
        let upstream = upstream.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        let (orders, seen) = (watch::Sender::new(Orders::new(upstream)), watch::Sender::new(Seen::default()));
        let control = Arc::new(Control { postgres, orders, seen });
        let listener = Listener::bind(Arc::clone(&control))?;
        let address = listener.address();
        Ok(Self { address, control, task: tokio::spawn(listener.run()) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets something go wrong, in what is read from now on; on connections that are there, too.
    pub fn set(&self, direction: Direction, toxic: Toxic) {
        self.control.orders.send_modify(|orders| orders.set(direction, toxic, false));
    }

    /// As [`set`](Self::set), for both directions.
    pub fn set_both(&self, toxic: Toxic) {
        for direction in Direction::BOTH {
            self.set(direction, toxic.clone());
        }
    }

    /// As [`set`](Self::set), for the first connection that it happens to: a cut, a flip or an edit strikes once and never again.
    pub fn set_once(&self, direction: Direction, toxic: Toxic) {
        self.control.orders.send_modify(|orders| orders.set(direction, toxic, true));
    }

    /// Takes back all that goes wrong in one direction.
    pub fn clear(&self, direction: Direction) {
        self.control.orders.send_modify(|orders| orders.clear(direction));
    }

    /// Where new connections go.
    pub fn upstream(&self) -> SocketAddr {
        self.control.orders.borrow().upstream
    }

    /// New connections go to another server from now on, until they are sent back: [`calm`](Self::calm) does not do that.
    pub fn redirect(&self, upstream: SocketAddr) {
        self.control.orders.send_modify(|orders| orders.upstream = upstream);
    }

    /// Says what becomes of new connections, and returns once it does.
    pub async fn admit(&self, admission: Admission) {
        self.control.orders.send_modify(|orders| orders.admission = admission);
        self.until(|seen| seen.admission == admission).await;
    }

    /// Takes back everything: connections pass, old and new. Those that have lost something, or are silent, are reset.
    pub async fn calm(&self) {
        self.control.orders.send_modify(|orders| {
            for direction in Direction::BOTH {
                orders.clear(direction);
            }
            orders.admission = Admission::Forward;
            orders.calms += 1;
        });
        self.until(|seen| seen.admission == Admission::Forward).await;
    }

    /// Ends all connections that are open now, and returns once that is done. New ones pass.
    pub async fn cut_all(&self, end: End) {
        let last = self.seen().accepted;
        self.control.orders.send_modify(|orders| orders.cuts = (orders.cuts.0 + 1, end));
        self.until(|seen| seen.live.keys().all(|number| *number > last)).await;
    }

    /// Sends these bytes on all connections that are open now, between what comes from the other side.
    pub fn inject(&self, direction: Direction, bytes: &[u8]) {
        self.control.orders.send_modify(|orders| orders.inject(direction, bytes));
    }

    /// How many connections have both their sides, and have not been cut.
    pub fn connections(&self) -> usize {
        self.control.seen.borrow().open()
    }

    /// What has happened so far.
    pub fn seen(&self) -> Seen {
        self.control.seen.borrow().clone()
    }

    /// Returns once this holds of what has happened.
    pub async fn until(&self, holds: impl FnMut(&Seen) -> bool) {
        // Cannot fail: the sender is here.
        let _ = self.watch().wait_for(holds).await;
    }

    /// Returns once so many connections have been accepted, since the start.
    pub async fn reached(&self, accepted: u64) {
        self.until(|seen| seen.accepted >= accepted).await;
    }

    /// Tells of every change of what it has seen.
    pub fn watch(&self) -> watch::Receiver<Seen> {
        self.control.seen.subscribe()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
