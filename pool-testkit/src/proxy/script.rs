//! A server that says what it was told to, whatever it hears.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::frame::message;

/// One thing that a scripted server does.
#[derive(Clone, Debug)]
enum Step {
    Send(Arc<[u8]>),
    Startup,
    Message(u8),
    Hold,
    Reset,
    Silence,
}

/// What a server does with each connection, step by step. After the last step it closes the connection.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing happens until a server is started with it"]
pub struct Script(Vec<Step>);

impl Script {
    /// Closes at once.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// Sends these bytes.
    pub fn send(self, bytes: &[u8]) -> Self {
        self.with(Step::Send(bytes.into()))
    }

    /// Waits for the message that begins a session. Encryption is declined first.
    pub fn startup(self) -> Self {
        self.with(Step::Startup)
    }

    /// Waits for a message of this type, and passes over others.
    pub fn message(self, kind: u8) -> Self {
        self.with(Step::Message(kind))
    }

    /// Lets a client in without a password, and is ready for queries.
    pub fn login(self) -> Self {
        let welcome = [message(b'R', &[0; 4]), message(b'K', &[0; 8]), message(b'Z', b"I")].concat();
        self.startup().send(&welcome)
    }

    /// Waits until [`ScriptedServer::go_on`] is called, once for each connection.
    pub fn hold(self) -> Self {
        self.with(Step::Hold)
    }

    /// Ends with an error (RST).
    pub fn reset(self) -> Self {
        self.with(Step::Reset)
    }

    /// Says nothing more, until the client goes.
    pub fn silence(self) -> Self {
        self.with(Step::Silence)
    }
}

/// A server on 127.0.0.1 without anything behind it. Dropping it closes all connections.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct ScriptedServer {
    address: SocketAddr,
    /// How many connections have come.
    accepted: watch::Sender<u64>,
    holds: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl ScriptedServer {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If there is no port to listen on.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn start(script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, holds, accepted) = (listener.local_addr()?, Arc::new(Semaphore::new(0)), watch::Sender::new(0));
        let (counting, waiting) = (accepted.clone(), Arc::clone(&holds));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counting.send_modify(|accepted| *accepted += 1);
                connections.spawn(play(script.clone(), stream, Arc::clone(&waiting)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, accepted, holds, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections have come.
    pub fn accepted(&self) -> u64 {
        *self.accepted.borrow()
    }

    /// Returns once so many connections have come.
    pub async fn reached(&self, accepted: u64) {
        // Cannot fail: the sender is here.
        let _ = self.accepted.subscribe().wait_for(|come| *come >= accepted).await;
    }

    /// Ends one [`hold`](Script::hold), now or to come.
    pub fn go_on(&self) {
        self.holds.add_permits(1);
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn play(script: Script, mut stream: TcpStream, holds: Arc<Semaphore>) {
    for step in script.0 {
        if take(step, &mut stream, &holds).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
    // What the client still sends is read: closing with bytes unread would reset the connection.
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

async fn take(step: Step, stream: &mut TcpStream, holds: &Semaphore) -> io::Result<()> {
    match step {
        Step::Send(bytes) => stream.write_all(&bytes).await,
        Step::Startup => startup(stream).await,
        Step::Message(kind) => {
            while one_message(stream).await? != kind {}
            Ok(())
        }
        Step::Hold => {
            // Cannot fail: it is never closed.
            holds.acquire().await.map(tokio::sync::SemaphorePermit::forget).map_err(io::Error::other)
        }
        Step::Reset => {
            stream.set_zero_linger()?;
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Step::Silence => tokio::io::copy(stream, &mut tokio::io::sink()).await.map(drop),
    }
}

async fn startup(stream: &mut TcpStream) -> io::Result<()> {
    const SSL_REQUEST: u32 = 80_877_103;
    loop {
        let (length, code) = (stream.read_u32().await?, stream.read_u32().await?);
        pass_over(stream, length.saturating_sub(8)).await?;
        if code != SSL_REQUEST {
            return Ok(());
        }
        stream.write_all(b"N").await?;
    }
}

async fn one_message(stream: &mut TcpStream) -> io::Result<u8> {
    let (kind, length) = (stream.read_u8().await?, stream.read_u32().await?);
    pass_over(stream, length.saturating_sub(4)).await?;
    Ok(kind)
}

async fn pass_over(stream: &mut TcpStream, bytes: u32) -> io::Result<()> {
    tokio::io::copy(&mut stream.take(u64::from(bytes)), &mut tokio::io::sink()).await.map(drop)
}
