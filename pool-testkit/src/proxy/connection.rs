//! One connection: two streams, and what passes between them.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::control::Control;
use super::frame::{Frames, Phase};
use super::intake::Intake;
use super::outlet::Outlet;
use super::toxic::{Direction, End};

/// How many pieces of what was read wait to be written.
const QUEUE: usize = 64;

/// A connection that is passed on.
#[derive(Debug)]
pub(super) struct Connection {
    control: Arc<Control>,
    number: u64,
    cuts: u64,
    phase: Arc<Phase>,
}

impl Connection {
    /// One that those cuts are not meant for.
    pub(super) fn new(control: Arc<Control>, number: u64, cuts: u64) -> Self {
        Self { control, number, cuts, phase: Arc::default() }
    }

    /// Until both sides have ended it, or it is cut.
    pub(super) async fn serve(self, mut client: TcpStream) {
        let upstream = self.control.orders.borrow().upstream;
        let Ok(mut server) = TcpStream::connect(upstream).await else {
            return reset(&client);
        };
        let port = server.local_addr().map_or(0, |address| address.port());
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        self.control.note(|seen| seen.came(self.number, port));
        let end = self.forward(&mut client, &mut server).await;
        if end == End::Reset {
            [&client, &server].into_iter().for_each(reset);
        }
        // Before anybody is told that it has gone: he may calm everything down at once.
        let calms = self.control.orders.borrow().calms;
        self.control.note(|seen| seen.gone(self.number));
        match end {
            End::Close => drop((client.shutdown().await, server.shutdown().await)),
            End::Reset => {}
            End::Silence => {
                let server = be_silent(Arc::clone(&self.control), server, calms);
                tokio::join!(be_silent(Arc::clone(&self.control), client, calms), server);
            }
        }
    }

    async fn forward(&self, client: &mut TcpStream, server: &mut TcpStream) -> End {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async {
            tokio::try_join!(
                self.pass(Direction::ToServer, from_client, to_server),
                self.pass(Direction::ToClient, from_server, to_client),
            )
        };
        tokio::select! {
            biased;
            () = self.control.told(|orders| orders.cuts.0 > self.cuts) => self.control.orders.borrow().cuts.1,
            end = both => end.err().unwrap_or_default(),
        }
    }

    /// Passes on what goes one way. An error is an end for both.
    async fn pass(&self, direction: Direction, from: ReadHalf<'_>, to: WriteHalf<'_>) -> Result<(), End> {
        let (queue, parcels) = mpsc::channel(QUEUE);
        let frames = self.control.postgres.then(|| Frames::new(direction, Arc::clone(&self.phase)));
        let intake = Intake::new(&self.control, direction, self.number, frames, queue);
        let outlet = Outlet::new(&self.control, direction);
        tokio::try_join!(intake.run(from), outlet.run(to, parcels)).map(drop)
    }
}

/// The other side will get an error (RST) instead of an end.
pub(super) fn reset(stream: &TcpStream) {
    // Fails for a stream that has been reset already.
    let _ = stream.set_zero_linger();
}

/// Says nothing until everything has calmed down more often than this, and then resets the stream.
pub(super) async fn be_silent(control: Arc<Control>, stream: TcpStream, calms: u64) {
    control.told(|orders| orders.calms > calms).await;
    reset(&stream);
}
