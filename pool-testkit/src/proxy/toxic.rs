//! What a proxy can be told to do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::frame::Frame;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums)] // there is no third
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

impl Direction {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    pub(super) fn index(self) -> usize {
        usize::from(self == Self::ToClient)
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// In an orderly way: both sides read the end of the stream (FIN).
    #[default]
    Close,
    /// Both sides get an error (RST).
    Reset,
    /// Nobody is told: from now on nothing passes, either way. [`Proxy::calm`](super::Proxy::calm) resets both sides.
    Silence,
}

/// Where a connection is cut, seen from a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // there is no third
pub enum Place {
    /// The message does not arrive.
    Before,
    /// The message is the last that arrives.
    After,
}

/// What becomes of new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// They are connected to the server.
    #[default]
    Forward,
    /// Nobody listens: the system refuses them.
    Refuse,
    /// They are accepted and reset at once.
    Reset,
    /// They are accepted, and nobody says anything.
    Silence,
    /// Nobody accepts them: they stay in the queue of the system, which says that they are connected.
    Ignore,
}

/// What is done with a frame, in exchange for the bytes that pass instead of it.
type Editor = Arc<dyn Fn(&Frame) -> Vec<u8> + Send + Sync>;

/// What goes wrong in one direction. Those of different kinds add up; a second one of the same kind takes the place of the first.
///
/// What counts bytes or messages counts those of each connection by itself, from when the toxic was set, or the connection began if that was later.
#[derive(Clone)]
#[non_exhaustive]
pub enum Toxic {
    /// Bytes arrive later.
    Delay {
        /// By so much at least.
        time: Duration,
        /// And up to so much more, at random.
        jitter: Duration,
        /// What the random numbers begin with; each connection has its own ones.
        seed: u64,
    },
    /// Bytes arrive in pieces.
    Slice {
        /// The size of a piece.
        bytes: usize,
        /// The pause after each.
        pause: Duration,
    },
    /// No more bytes than this pass in a second.
    Bandwidth {
        /// How many.
        bytes_per_second: u64,
    },
    /// Bytes wait until this is taken back, as in a partition that heals. Once a mebibyte waits nothing is read any more, and the sender has to wait, too.
    Hold,
    /// Bytes are lost, and so is the end of the stream. A connection that has lost any is reset when this is taken back.
    Drop,
    /// The receiver reads the end of the stream (FIN); what comes afterwards is lost. The other direction goes on.
    HalfClose,
    /// The connection ends after so many bytes.
    CutAfter {
        /// How many arrive.
        bytes: u64,
        /// How it ends.
        end: End,
    },
    /// The connection ends at a message; with [`Proxy::postgres`](super::Proxy::postgres) alone.
    CutAt {
        /// The type of the message, one of those in [`Frame`] for what has none.
        kind: u8,
        /// Which of that type, from 1.
        nth: u64,
        /// On which side of it.
        place: Place,
        /// How it ends.
        end: End,
    },
    /// One byte arrives as another.
    Flip {
        /// Which, from 0.
        offset: u64,
        /// The bits that are the other way round.
        mask: u8,
    },
    /// Messages are replaced; with [`Proxy::postgres`](super::Proxy::postgres) alone. Made by [`Toxic::edit`].
    Edit(Editor),
}

impl Toxic {
    /// Every message passes as what `editor` makes of it: [`Frame::bytes`], something else, or nothing.
    pub fn edit(editor: impl Fn(&Frame) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::Edit(Arc::new(editor))
    }

    /// The `nth` message of type `kind` says that it has this length, whatever it has.
    pub fn length(kind: u8, nth: u64, length: u32) -> Self {
        Self::edit(move |frame| {
            let mut bytes = frame.bytes().to_vec();
            if frame.kind() == kind && frame.number() == nth {
                let start = usize::from(frame.is_typed());
                bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
            }
            bytes
        })
    }
}

impl fmt::Debug for Toxic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay { time, jitter, .. } => write!(f, "Delay({time:?} to {:?})", *time + *jitter),
            Self::Slice { bytes, pause } => write!(f, "Slice({bytes} bytes, {pause:?})"),
            Self::Bandwidth { bytes_per_second } => write!(f, "Bandwidth({bytes_per_second} bytes per second)"),
            Self::Hold => f.write_str("Hold"),
            Self::Drop => f.write_str("Drop"),
            Self::HalfClose => f.write_str("HalfClose"),
            Self::CutAfter { bytes, end } => write!(f, "CutAfter({bytes} bytes, {end:?})"),
            other => other.debug_messages(f),
        }
    }
}

impl Toxic {
    fn debug_messages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutAt { kind, nth, place, end } => {
                write!(f, "CutAt({place:?} {:?} number {nth}, {end:?})", char::from(*kind))
            }
            Self::Flip { offset, mask } => write!(f, "Flip({mask:#04x} at {offset})"),
            _ => f.write_str("Edit"),
        }
    }
}
