//! A request that has failed since its session has ended.

use std::error::Error as StdError;
use std::fmt;

use tokio_postgres::Error;

use super::Cause;
use crate::connection::PostgresConnection;
use crate::end::SessionEnd;

/// The client says that the connection is closed, and the session why.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) end: SessionEnd,
    error: Error,
}

/// What the client says, with what the session has to add.
pub(crate) fn told(connection: &PostgresConnection, error: Error) -> Cause {
    match connection.ended().filter(|_| error.is_closed()) {
        Some(end) => Ended { end, error }.into(),
        None => error.into(),
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.end)
    }
}

impl StdError for Ended {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }
}
