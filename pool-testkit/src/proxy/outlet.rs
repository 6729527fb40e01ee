//! Where bytes go out.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::control::Control;
use super::toxic::{Direction, End, Toxic};

/// Something on its way.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) due: Instant,
    pub(super) what: What,
}

/// What is on its way.
#[derive(Debug)]
pub(super) enum What {
    Bytes(Vec<u8>),
    /// The end of this direction.
    Fin,
    /// The end of the connection.
    End(End),
}

/// Writes one direction of a connection, as slowly as it is told to.
#[derive(Debug)]
pub(super) struct Outlet<'a> {
    control: &'a Control,
    direction: Direction,
    shut: bool,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(control: &'a Control, direction: Direction) -> Self {
        Self { control, direction, shut: false }
    }

    /// Until the last parcel has been delivered.
    pub(super) async fn run(mut self, mut to: WriteHalf<'_>, mut parcels: mpsc::Receiver<Parcel>) -> Result<(), End> {
        while let Some(Parcel { due, what }) = parcels.recv().await {
            sleep_until(due).await;
            self.control.told(|orders| !orders.has(self.direction, |toxic| matches!(toxic, Toxic::Hold))).await;
            match what {
                What::Bytes(bytes) => self.write(&mut to, &bytes).await?,
                What::Fin => {
                    self.shut = true;
                    to.shutdown().await.map_err(|_| End::Reset)?;
                }
                What::End(end) => {
                    self.control.struck();
                    return Err(end);
                }
            }
        }
        Ok(())
    }

    async fn write(&self, to: &mut WriteHalf<'_>, mut bytes: &[u8]) -> Result<(), End> {
        while !bytes.is_empty() && !self.shut {
            let (most, pause) = self.pace();
            let (piece, rest) = bytes.split_at(most.clamp(1, bytes.len()));
            // The receiver has gone.
            to.write_all(piece).await.map_err(|_| End::Reset)?;
            self.control.note(|seen| seen.bytes[self.direction.index()] += piece.len() as u64);
            if !pause.is_zero() {
                sleep(pause).await;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// How much is written at once, and the pause after that.
    fn pace(&self) -> (usize, Duration) {
        let (mut most, mut pause) = (usize::MAX, Duration::ZERO);
        for set in self.control.orders.borrow().toxics(self.direction) {
            match set.toxic {
                Toxic::Slice { bytes, pause: after } => (most, pause) = (most.min(bytes), pause.max(after)),
                Toxic::Bandwidth { bytes_per_second } => {
                    // Fifty pieces a second, or bytes one by one.
                    let piece = u32::try_from(bytes_per_second / 50).unwrap_or(u32::MAX).max(1);
                    most = most.min(piece as usize);
                    let second = Duration::from_secs(1) / u32::try_from(bytes_per_second).unwrap_or(u32::MAX).max(1);
                    pause = pause.max(second * piece);
                }
                _ => {}
            }
        }
        (most, pause)
    }
}
