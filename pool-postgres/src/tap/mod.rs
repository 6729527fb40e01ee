//! A tap on the wire: what the session is doing, read off the headers of the messages that pass.
//!
//! tokio-postgres does not tell whether a session is inside a transaction or whether answers are still on their way. The protocol does: the
//! server ends its answer to every request with `ReadyForQuery`, which carries the transaction status. The tap copies nothing and changes nothing, but for
//! one byte of a COPY that takes data, and for requests that share one `Sync`. Format: PostgreSQL documentation, chapter "Frontend/Backend Protocol", "Message Formats".

mod changes;
mod command;
mod copying;
mod course;
mod follower;
mod guard;
mod headers;
mod joining;
mod pace;
mod parameters;
mod place;
mod prepared;
mod requests;
mod session;
mod stopwatch;
mod traffic;
mod turns;
mod words;

pub(crate) use changes::Changes;
pub(crate) use guard::Binding;
pub(crate) use place::{Asked, Place};
pub(crate) use requests::{Grip, Hold, Requests, Target};
pub use session::Mark;
pub(crate) use session::Session;
pub(crate) use turns::Ending;
pub(crate) use words::Words;

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use pool_core::Recorder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::RequireAuth;
use crate::socket::Stream;
use follower::Follower;
use guard::Guard;

/// A stream that is followed.
pub(crate) struct Tap {
    stream: Box<dyn Stream>,
    follower: Follower,
    /// Whether our side has been shut down, or stays open until the server has closed its own.
    shut: bool,
    /// Whether the server has said anything.
    greeted: bool,
    /// Until the server has let the client in.
    guard: Option<Guard>,
    /// Of requests that share a `Sync`: what is left to be sent of them, and to be told the client.
    outgoing: BytesMut,
    incoming: BytesMut,
}

/// What answers is no PostgreSQL server.
#[derive(Debug, thiserror::Error)]
#[error("the server does not speak PostgreSQL's protocol; it begins with {}", .0.escape_ascii())]
struct NotPostgres(Vec<u8>);

/// A server begins by asking for a password or letting in, by an error, a notice, or the version of the protocol that it has.
fn is_greeting(first: u8) -> bool {
    matches!(first, b'R' | b'E' | b'N' | b'v')
}

/// Says that what came instead of a greeting, of which a little is shown, is not PostgreSQL's.
pub(crate) fn not_postgres(said: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, NotPostgres(said[..said.len().min(16)].to_vec()))
}

impl Tap {
    /// Follows a stream on which nothing has been sent yet, and takes the time of what is executed there if there is a recorder.
    pub(crate) fn new(stream: Box<dyn Stream>, session: Arc<Session>, recorder: Option<Recorder>) -> Self {
        let (outgoing, incoming) = (BytesMut::new(), BytesMut::new());
        let follower = Follower::new(session, recorder);
        Self { stream, follower, shut: false, greeted: false, guard: None, outgoing, incoming }
    }

    /// As it is, for a server that has not let the client in yet, may ask who that is in any way or in some alone, and may offer to bind that to the channel.
    pub(crate) fn guarded(mut self, allowed: Option<RequireAuth>, binding: Binding) -> Self {
        self.guard = Some(Guard::new(allowed, binding));
        self
    }

    /// Follows a stream on which nothing is sent any more.
    pub(crate) fn last(stream: Box<dyn Stream>) -> Self {
        Self::new(stream, Arc::default(), None)
    }

    /// Follows a stream on which a request to cancel is sent. Its shutdown only waits for the server, as libpq does: PgBouncer takes the end of our side for that of the request.
    pub(crate) fn asking(stream: Box<dyn Stream>) -> Self {
        let mut tap = Self::last(stream);
        tap.shut = true;
        tap
    }
}

impl Tap {
    /// Writes requests that share a `Sync`. What has been taken is as good as sent for whoever follows, but for the session, which is stuck until the stream has taken it, too.
    #[cold]
    fn poll_write_joined(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_outgoing(cx))?;
        self.follower.about_to_send();
        let taken = self.follower.join(bytes, &mut self.outgoing);
        // What does not leave now leaves with what comes next, or with the flush.
        if let Poll::Ready(Err(error)) = self.poll_outgoing(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }

    /// Writes what is left of such requests.
    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let session = self.follower.session();
            session.requests().note_stuck(true);
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outgoing));
            // Also if it failed: encryption may have sent a part.
            session.note_write();
            match written? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.outgoing.advance(written),
            }
            session.requests().note_stuck(!self.outgoing.is_empty());
        }
        Poll::Ready(Ok(()))
    }

    /// Reads answers to such requests.
    #[cold]
    fn poll_read_joined(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        while self.incoming.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            let received = &buffer.filled()[before..];
            if received.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.follower.answer(received, &mut self.incoming);
            buffer.set_filled(before);
        }
        let most = buffer.remaining().min(self.incoming.len());
        buffer.put_slice(&self.incoming.split_to(most));
        Poll::Ready(Ok(()))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let stream = mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        self.follower.session().requests().note_end();
        self.follower.session().leave(stream);
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.follower.session().note_read();
        if this.follower.is_joined() || !this.incoming.is_empty() {
            return this.poll_read_joined(cx, buffer);
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let received = &buffer.filled()[before..];
        if let (false, Some(first)) = (this.greeted, received.first()) {
            // What else could come may announce gigabytes.
            if !is_greeting(*first) {
                return Poll::Ready(Err(not_postgres(received)));
            }
            this.greeted = true;
        }
        if let Some(guard) = &mut this.guard {
            guard.look(received)?;
            if guard.is_done() {
                this.guard = None;
            }
        }
        this.follower.on_received(received);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.follower.session().requests().holds_back(cx) {
            this.follower.session().set_busy();
            this.follower.session().requests().note_stuck(true);
            // What is under way may not have left encryption yet.
            let _ = Pin::new(&mut this.stream).poll_flush(cx);
            return Poll::Pending;
        }
        if this.follower.session().joining.is_expected() || !this.outgoing.is_empty() {
            return this.poll_write_joined(cx, bytes);
        }
        let bytes = this.follower.before_sending(bytes);
        this.follower.about_to_send();
        let Poll::Ready(written) = Pin::new(&mut this.stream).poll_write(cx, bytes) else {
            // Something waits to be sent, and what it is will be known when it is.
            this.follower.session().set_busy();
            this.follower.session().requests().note_stuck(true);
            return Poll::Pending;
        };
        // Also if it failed: encryption may have sent a part.
        this.follower.session().note_write();
        this.follower.session().requests().note_stuck(false);
        let written = written?;
        this.follower.on_sent(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_outgoing(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    /// Shuts our side down and waits until the server has closed its own: only then is the session gone from the server.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.shut {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.shut = true;
        }
        let mut scratch = [0; 512];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                // The end, or an error that also means that nobody is there any more.
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod joining_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod tests;
