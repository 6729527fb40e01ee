//! Errors without a SQLSTATE.

use std::error::Error as StdError;
use std::io;

use super::Advice;

/// What an error of `tokio_postgres` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// The server reports it.
    Server {
        /// The SQLSTATE.
        code: &'a str,
        /// The server's words.
        message: &'a str,
    },
    /// The stream failed.
    Stream(io::ErrorKind),
    /// The session has ended.
    Closed,
    /// What came is not what the protocol has there.
    Protocol,
    /// A password is missing, or the way to log in is not known.
    Login,
    /// The client refuses it, before it is sent or when it reads the answer; the session does not mind.
    Client,
}

/// How `tokio_postgres` begins the text of an error, which is all that it tells about its kind. A test has it make each of them.
const TEXTS: [(&str, Kind<'static>); 6] = [
    ("error parsing response from server", Kind::Protocol),
    ("unexpected message from server", Kind::Protocol),
    ("error performing TLS handshake", Kind::Login),
    ("authentication error", Kind::Login),
    ("invalid configuration", Kind::Login),
    ("timeout waiting for server", Kind::Stream(io::ErrorKind::TimedOut)),
];
const STREAM_FAILED: [&str; 2] = ["error communicating with the server", "error connecting to server"];

impl<'a> Kind<'a> {
    pub(crate) fn of(error: &'a tokio_postgres::Error) -> Self {
        if let Some(said) = error.as_db_error() {
            return Self::Server { code: said.code().code(), message: said.message() };
        }
        if error.is_closed() {
            return Self::Closed;
        }
        let text = error.to_string();
        if STREAM_FAILED.contains(&text.as_str()) {
            return of_stream(error.source());
        }
        TEXTS.iter().find(|(begin, _)| *begin == text).map_or(Self::Client, |(_, kind)| *kind)
    }
}

/// How `tokio_postgres` begins the text of an error by which it refuses what it is given before anything of it is sent. Tests of multiplexed queries have it make each of them.
const REFUSALS: [&str; 2] = ["error serializing parameter ", "expected "];

/// Whether the client has refused it before anything of it was sent.
pub(crate) fn is_refused_by_the_client(error: &tokio_postgres::Error) -> bool {
    Kind::of(error) == Kind::Client && REFUSALS.iter().any(|begin| error.to_string().starts_with(begin))
}

fn of_stream(cause: Option<&(dyn StdError + 'static)>) -> Kind<'static> {
    let kind = cause.and_then(|cause| cause.downcast_ref()).map_or(io::ErrorKind::Other, io::Error::kind);
    match kind {
        // The decoder of the messages reports as the stream does.
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Kind::Protocol,
        kind => Kind::Stream(kind),
    }
}

/// The kinds that come up before there is a session, so that nothing can have been sent.
const WHILE_OPENING: [(io::ErrorKind, Advice); 6] = [
    (io::ErrorKind::ConnectionRefused, Advice::RetryLater),
    (io::ErrorKind::NotFound, Advice::RetryLater),
    (io::ErrorKind::AddrInUse, Advice::RetryLater),
    (io::ErrorKind::AddrNotAvailable, Advice::RetryLater),
    (io::ErrorKind::PermissionDenied, Advice::FixConfiguration),
    (io::ErrorKind::Unsupported, Advice::FixConfiguration),
];

pub(super) fn io_advice(kind: io::ErrorKind) -> Advice {
    let row = WHILE_OPENING.iter().find(|(row, _)| *row == kind);
    row.map_or(Advice::OutcomeUnknown, |(_, advice)| *advice)
}
