//! A driver that does nothing.

use std::convert::Infallible;

use pool_core::{Attempt, Driver, ErrorClass, SessionState};

/// Opens zeros, never fails, and allocates nothing: for tests of what the pool does by itself.
#[derive(Clone, Copy, Debug)]
pub struct Numbers;

impl Driver for Numbers {
    type Connection = u64;
    type Error = Infallible;

    async fn connect(&self, _: &Attempt) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn inspect(&self, _: &mut u64) -> SessionState {
        SessionState::Clean
    }

    fn classify(&self, error: &Infallible) -> ErrorClass {
        match *error {}
    }
}
