//! Where bytes come in.

use tokio::io::AsyncReadExt;
use tokio::net::tcp::ReadHalf;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::control::{Control, Orders};
use super::frame::{Frame, Frames, Piece};
use super::in_force::{Batch, InForce, Passing};
use super::outlet::{Parcel, What};
use super::toxic::{Direction, End, Toxic};

/// How much is read at once.
const CHUNK: usize = 16 << 10;

/// Reads one direction of a connection, and decides what becomes of it.
pub(super) struct Intake<'a> {
    control: &'a Control,
    direction: Direction,
    connection: u64,
    orders: watch::Receiver<Orders>,
    toxics: Vec<InForce>,
    frames: Option<Frames>,
    queue: mpsc::Sender<Parcel>,
    /// How often something was injected.
    injected: u64,
    /// Whether something has been lost.
    lost: bool,
    /// Whether the receiver has been told that this is the end.
    ended: bool,
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        control: &'a Control,
        direction: Direction,
        connection: u64,
        frames: Option<Frames>,
        queue: mpsc::Sender<Parcel>,
    ) -> Self {
        let mut orders = control.orders.subscribe();
        orders.mark_changed();
        let injected = orders.borrow().injected(direction).0;
        let (toxics, lost, ended) = (Vec::new(), false, false);
        Self { control, direction, connection, orders, toxics, frames, queue, injected, lost, ended }
    }

    /// Until the stream ends and its end has been passed on.
    pub(super) async fn run(mut self, mut from: ReadHalf<'_>) -> Result<(), End> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = tokio::select! {
                biased;
                () = self.news() => None,
                read = from.read(&mut buffer) => Some(read),
            };
            self.obey().await?;
            match read {
                None => {}
                Some(Ok(0)) => return self.end(What::Fin).await,
                Some(Ok(length)) => self.take(&buffer[..length]).await?,
                Some(Err(_)) => return self.end(What::End(End::Reset)).await,
            }
        }
    }

    /// Returns once there are new orders. Cannot fail: the sender outlives the connections.
    async fn news(&mut self) {
        if self.orders.changed().await.is_ok() {
            self.orders.mark_changed();
        }
    }

    /// Takes new orders over.
    async fn obey(&mut self) -> Result<(), End> {
        if !self.orders.has_changed().unwrap_or(false) {
            return Ok(());
        }
        let orders = self.orders.borrow_and_update().clone();
        self.toxics.retain(|toxic| orders.toxics(self.direction).iter().any(|set| set.id == toxic.set.id));
        for set in orders.toxics(self.direction) {
            if !self.toxics.iter().any(|toxic| toxic.set.id == set.id) {
                self.toxics.push(InForce::new(set.clone(), self.connection));
            }
        }
        let (times, bytes) = orders.injected(self.direction);
        if *times > std::mem::replace(&mut self.injected, *times) {
            self.send(What::Bytes(bytes.to_vec())).await;
        }
        if self.has(|toxic| matches!(toxic, Toxic::HalfClose)) && !std::mem::replace(&mut self.ended, true) {
            self.control.struck();
            self.send(What::Fin).await;
        }
        // Its two sides could not understand each other any more.
        if self.lost && !self.drops() { Err(End::Reset) } else { Ok(()) }
    }

    fn has(&self, kind: impl Fn(&Toxic) -> bool) -> bool {
        self.toxics.iter().any(|toxic| kind(&toxic.set.toxic))
    }

    fn drops(&self) -> bool {
        self.has(|toxic| matches!(toxic, Toxic::Drop))
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), End> {
        let mut batch = self.digest(bytes);
        for toxic in &mut self.toxics {
            toxic.on_bytes(&mut batch, self.control);
        }
        if self.drops() {
            self.lose();
            return Ok(());
        }
        if !batch.bytes.is_empty() {
            self.send(What::Bytes(batch.bytes)).await;
        }
        let Some(end) = batch.end else { return Ok(()) };
        self.send(What::End(end)).await;
        // The outlet ends the connection once everything before has arrived.
        std::future::pending().await
    }

    fn lose(&mut self) {
        if !std::mem::replace(&mut self.lost, true) {
            self.control.struck();
        }
    }

    /// What becomes of the messages in these bytes.
    fn digest(&mut self, bytes: &[u8]) -> Batch {
        let mut batch = Batch::default();
        let Some(frames) = &mut self.frames else {
            batch.bytes = bytes.to_vec();
            return batch;
        };
        frames.push(bytes);
        while batch.end.is_none() {
            match self.frames.as_mut().and_then(Frames::next) {
                Some(Piece::Frame(frame)) => self.on_frame(frame, &mut batch),
                Some(Piece::Raw(raw)) => batch.bytes.extend(raw),
                None => break,
            }
        }
        batch
    }

    fn on_frame(&mut self, frame: Frame, batch: &mut Batch) {
        self.control.note(|seen| seen.passes(self.connection, self.direction, frame.kind()));
        let mut passing = Passing { bytes: frame.bytes().to_vec(), end: None };
        for toxic in &mut self.toxics {
            toxic.on_frame(&frame, &mut passing, self.control);
        }
        passing.join(batch);
    }

    /// The sender has ended the stream.
    async fn end(mut self, what: What) -> Result<(), End> {
        if self.direction == Direction::ToServer {
            self.control.note(|seen| seen.gone(self.connection));
        }
        while self.drops() {
            self.lose();
            self.news().await;
            self.obey().await?;
        }
        let rest = self.frames.as_mut().map(Frames::rest).unwrap_or_default();
        if !rest.is_empty() {
            self.send(What::Bytes(rest)).await;
        }
        self.send(what).await;
        Ok(())
    }

    async fn send(&mut self, what: What) {
        let delay = self.toxics.iter_mut().map(InForce::delay).sum();
        // Nobody takes it if the connection is ending.
        let _ = self.queue.send(Parcel { due: Instant::now() + delay, what }).await;
    }
}
