//! A tap on the wire: what the session is doing, read off the headers of the messages that pass.
//!
//! tokio-postgres does not tell whether a session is inside a transaction or whether answers are still on their way. The protocol does: the
//! server ends its answer to every request with `ReadyForQuery`, which carries the transaction status. The tap copies nothing and
//! changes nothing. Format: PostgreSQL documentation, chapter "Frontend/Backend Protocol", "Message Formats".

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a session is doing, as far as messages have passed.
#[derive(Debug, Default)]
pub(crate) struct Session(AtomicU8);

impl Session {
    const BUSY: u8 = 0;
    const IDLE: u8 = b'I';

    /// Whether no answer is due and no transaction is open.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::IDLE
    }

    /// Whether no answer is due, but a transaction is open.
    pub(crate) fn is_in_transaction(&self) -> bool {
        !matches!(self.0.load(Ordering::Acquire), Self::IDLE | Self::BUSY)
    }

    fn set(&self, status: u8) {
        self.0.store(status, Ordering::Release);
    }
}

/// Finds the headers in a stream of messages: a type of one byte, and a length of four that counts itself.
#[derive(Debug, Default)]
struct Headers {
    header: Vec<u8>,
    /// Bytes of the body still to come.
    body_left: u64,
}

impl Headers {
    /// Calls `on_message` with the type and the first byte of the body of each message, if it has one, that begins in `bytes`.
    fn scan(&mut self, mut bytes: &[u8], mut on_message: impl FnMut(u8, u8)) {
        while !bytes.is_empty() {
            if self.body_left > 0 && self.header.is_empty() {
                let skip = usize::try_from(self.body_left).unwrap_or(usize::MAX).min(bytes.len());
                self.body_left -= skip as u64;
                bytes = &bytes[skip..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            if self.header.len() < 5 {
                continue;
            }
            let length = u32::from_be_bytes([self.header[1], self.header[2], self.header[3], self.header[4]]);
            let body = u64::from(length.saturating_sub(4));
            if body > 0 && self.header.len() == 5 {
                continue;
            }
            on_message(self.header[0], self.header.get(5).copied().unwrap_or(0));
            self.body_left = body.saturating_sub(1);
            self.header.clear();
        }
    }
}

/// A request that the server has not finished answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// Startup, or a simple query.
    Simple,
    /// Ended by `Sync`.
    Extended,
    /// Ended by `Sync`, and nothing but the closing of statements: whoever comes next need not wait for the answer.
    Housekeeping,
}

/// Follows both directions of one connection.
#[derive(Debug)]
struct Follower {
    session: Arc<Session>,
    /// The startup message has no type; it is the first thing sent.
    startup_left: Option<u64>,
    startup_header: Vec<u8>,
    sent: Headers,
    received: Headers,
    unanswered: VecDeque<Request>,
    /// Whether more than housekeeping has been sent since the last `Sync`.
    works: bool,
}

impl Follower {
    fn new(session: Arc<Session>) -> Self {
        Self {
            session,
            startup_left: None,
            startup_header: Vec::new(),
            sent: Headers::default(),
            received: Headers::default(),
            unanswered: VecDeque::from([Request::Simple]),
            works: false,
        }
    }

    fn on_sent(&mut self, bytes: &[u8]) {
        let bytes = self.skip_startup(bytes);
        let Self { sent, unanswered, works, session, .. } = self;
        sent.scan(bytes, |kind, _| match kind {
            b'Q' | b'F' => {
                unanswered.push_back(Request::Simple);
                session.set(Session::BUSY);
            }
            b'S' => unanswered.push_back(if std::mem::take(works) { Request::Extended } else { Request::Housekeeping }),
            // `Close` and `Flush`; a password belongs to the startup.
            b'C' | b'H' | b'p' => {}
            _ => {
                *works = true;
                session.set(Session::BUSY);
            }
        });
    }

    /// The rest of what was sent after the startup message.
    fn skip_startup<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while self.startup_left.is_none() {
            let Some((first, rest)) = bytes.split_first() else { return bytes };
            self.startup_header.push(*first);
            bytes = rest;
            if let [a, b, c, d] = self.startup_header[..] {
                self.startup_left = Some(u64::from(u32::from_be_bytes([a, b, c, d]).saturating_sub(4)));
            }
        }
        let left = self.startup_left.unwrap_or(0);
        let skip = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        self.startup_left = Some(left - skip as u64);
        &bytes[skip..]
    }

    fn on_received(&mut self, bytes: &[u8]) {
        let Self { received, unanswered, session, .. } = self;
        received.scan(bytes, |kind, first| match kind {
            b'Z' => {
                unanswered.pop_front();
                if unanswered.iter().all(|request| *request == Request::Housekeeping) {
                    session.set(first);
                }
            }
            // The server starts to take COPY data and ignores the `Sync` that was sent along with the statement; another one follows the data.
            b'G' if unanswered.front() == Some(&Request::Extended) => {
                unanswered.pop_front();
            }
            _ => {}
        });
    }
}

/// A stream that is followed.
#[derive(Debug)]
pub(crate) struct Tap<S> {
    stream: S,
    follower: Follower,
    /// Whether our side has been shut down.
    shut: bool,
}

impl<S> Tap<S> {
    /// Follows a stream on which nothing has been sent yet.
    pub(crate) fn new(stream: S, session: Arc<Session>) -> Self {
        Self { stream, follower: Follower::new(session), shut: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        this.follower.on_received(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Poll::Ready(written) = Pin::new(&mut this.stream).poll_write(cx, bytes)? else {
            // Something waits to be sent, and what it is will be known when it is.
            this.follower.session.set(Session::BUSY);
            return Poll::Pending;
        };
        this.follower.on_sent(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    fn startup() -> Vec<u8> {
        [&9_u32.to_be_bytes()[..], b"Q\0\0\0S"].concat()
    }

    /// What the session looks like after each message; `true` is sent, `false` received.
    fn follow(steps: &[(bool, Vec<u8>)], chunk: usize) -> Vec<u8> {
        let mut follower = Follower::new(Arc::default());
        let mut statuses = Vec::new();
        for (sent, bytes) in steps {
            for part in bytes.chunks(chunk.max(1)) {
                if *sent { follower.on_sent(part) } else { follower.on_received(part) }
            }
            statuses.push(follower.session.0.load(Ordering::SeqCst));
        }
        statuses
    }

    fn conversation() -> Vec<(bool, Vec<u8>)> {
        vec![
            (true, startup()),
            (false, [message(b'R', &[0; 4]), message(b'S', b"a\0b\0"), message(b'Z', b"I")].concat()),
            (true, message(b'Q', b"BEGIN\0")),
            (false, [message(b'C', b"BEGIN\0"), message(b'Z', b"T")].concat()),
            (
                true,
                [message(b'P', b"\0SELECT\0\0\0"), message(b'B', &[0; 8]), message(b'E', &[0; 5]), message(b'S', b"")]
                    .concat(),
            ),
            (false, [message(b'1', b""), message(b'D', b"ZZZZZ"), message(b'Z', b"E")].concat()),
            (true, [message(b'Q', b"ROLLBACK\0"), message(b'Q', b"SELECT 1\0")].concat()),
            (false, message(b'Z', b"I")),
            (false, message(b'Z', b"I")),
        ]
    }

    const STATUSES: [u8; 9] = [0, b'I', 0, b'T', 0, b'E', 0, 0, b'I'];

    #[test]
    fn the_status_follows_the_conversation() {
        assert_eq!(follow(&conversation(), usize::MAX), STATUSES);
    }

    #[test]
    fn copy_in_leaves_the_session_at_rest() {
        let steps = [
            (true, startup()),
            (false, message(b'Z', b"I")),
            (true, [message(b'B', b"\0\0"), message(b'E', &[0; 5]), message(b'S', b"")].concat()),
            (false, [message(b'2', b""), message(b'G', &[0; 3])].concat()),
            (true, [message(b'd', b"S\0Q"), message(b'c', b""), message(b'S', b"")].concat()),
            (false, [message(b'C', b"COPY 1\0"), message(b'Z', b"I")].concat()),
        ];
        assert_eq!(follow(&steps, usize::MAX), [0, b'I', 0, 0, 0, b'I']);
    }

    #[test]
    fn closing_a_statement_keeps_nobody_waiting() {
        let closing = || [message(b'C', b"Ss0\0"), message(b'S', b"")].concat();
        let steps = [
            (true, startup()),
            (true, message(b'p', b"secret\0")),
            (false, message(b'Z', b"I")),
            (true, closing()),
            (true, message(b'Q', b"BEGIN\0")),
            (false, [message(b'3', b""), message(b'Z', b"I")].concat()),
            (false, message(b'Z', b"T")),
            (true, closing()),
            (false, message(b'Z', b"T")),
        ];
        assert_eq!(follow(&steps, usize::MAX), [0, 0, b'I', b'I', 0, 0, b'T', b'T', b'T']);
    }

    #[test]
    fn a_session_is_at_rest_in_a_transaction_or_busy() {
        let session = Session::default();
        assert!(!session.is_at_rest() && !session.is_in_transaction());
        session.set(b'I');
        assert!(session.is_at_rest() && !session.is_in_transaction());
        session.set(b'E');
        assert!(!session.is_at_rest() && session.is_in_transaction());
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_split_makes_no_difference(chunk in 1_usize..20) {
            prop_assert_eq!(follow(&conversation(), chunk), STATUSES);
        }

        #[test]
        fn no_bytes_make_it_panic(sent in prop::collection::vec(any::<u8>(), 0..200), received in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut follower = Follower::new(Arc::default());
            follower.on_sent(&sent);
            follower.on_received(&received);
        }
    }
}
