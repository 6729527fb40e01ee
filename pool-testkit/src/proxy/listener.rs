//! What becomes of new connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::{self, Connection};
use super::control::{Control, Orders};
use super::toxic::Admission;

/// As many as a test may open at once.
const BACKLOG: u32 = 1024;

/// Owns the port, and the tasks of all connections.
#[derive(Debug)]
pub(super) struct Listener {
    control: Arc<Control>,
    orders: watch::Receiver<Orders>,
    address: SocketAddr,
    socket: Option<TcpListener>,
    connections: JoinSet<()>,
}

impl Listener {
    pub(super) fn bind(control: Arc<Control>) -> io::Result<Self> {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.listen(BACKLOG)?;
        let (address, orders) = (listener.local_addr()?, control.orders.subscribe());
        Ok(Self { control, orders, address, socket: Some(listener), connections: JoinSet::new() })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// For ever; dropped, it takes all connections along.
    pub(super) async fn run(mut self) {
        loop {
            let admission = self.orders.borrow_and_update().admission;
            match admission {
                Admission::Refuse => self.refuse().await,
                Admission::Ignore => self.obey(admission).await,
                _ => self.accept(admission).await,
            }
            while self.connections.try_join_next().is_some() {}
        }
    }

    /// The port stays ours while nobody listens on it.
    async fn refuse(&mut self) {
        self.socket = None;
        let socket = bind(self.address);
        self.obey(Admission::Refuse).await;
        self.socket = socket.and_then(|socket| socket.listen(BACKLOG)).ok();
    }

    /// Does nothing until the orders change.
    async fn obey(&mut self, admission: Admission) {
        self.announce(admission);
        while self.orders.changed().await.is_ok() && self.orders.borrow_and_update().admission == admission {}
    }

    fn announce(&self, admission: Admission) {
        self.control.note(|seen| seen.admission = admission);
    }

    /// Takes one connection, unless the orders change.
    async fn accept(&mut self, admission: Admission) {
        self.announce(admission);
        let Some(listener) = &self.socket else {
            // Somebody has taken the port: there is nothing to accept any more.
            return self.obey(admission).await;
        };
        tokio::select! {
            biased;
            _ = self.orders.changed() => {}
            Ok((client, _)) = listener.accept() => self.admit(client, admission),
        }
    }

    fn admit(&mut self, client: TcpStream, admission: Admission) {
        // Before anybody is told of it: he may have all cut, or calm everything down, at once.
        let (cuts, calms) = {
            let orders = self.control.orders.borrow();
            (orders.cuts.0, orders.calms)
        };
        let mut number = 0;
        self.control.note(|seen| {
            seen.accepted += 1;
            number = seen.accepted;
        });
        let control = Arc::clone(&self.control);
        match admission {
            Admission::Reset => connection::reset(&client),
            Admission::Silence => drop(self.connections.spawn(connection::be_silent(control, client, calms))),
            _ => drop(self.connections.spawn(Connection::new(control, number, cuts).serve(client))),
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections of before may be about to end.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
