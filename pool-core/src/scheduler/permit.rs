//! The right to have a connection.

use std::sync::Arc;

use super::desk::Desk;
use crate::driver::Driver;
use crate::schedule::Pass;

/// May have a connection. The next one is called when this is dropped.
pub(super) struct Permit<D: Driver> {
    desk: Arc<Desk<D>>,
    pass: Option<Pass>,
    since: u64,
    /// Whether it has a connection, or had one.
    is_used: bool,
}

impl<D: Driver> Permit<D> {
    pub(super) fn new(desk: &Arc<Desk<D>>, pass: Pass) -> Self {
        Self { desk: Arc::clone(desk), pass: Some(pass), since: desk.engine.now(), is_used: false }
    }

    /// One for each connection.
    pub(super) fn split(mut self) -> Vec<Self> {
        let passes = self.pass.take().into_iter().flat_map(Pass::split);
        let one = |pass| Self { desk: Arc::clone(&self.desk), pass: Some(pass), since: self.since, is_used: false };
        passes.map(one).collect()
    }

    /// There is a connection for it.
    pub(super) fn used(mut self) -> Self {
        self.is_used = true;
        self
    }

    /// The right itself, for who gives it back by hand.
    pub(super) fn into_pass(mut self) -> Option<Pass> {
        self.pass.take()
    }
}

impl<D: Driver> Drop for Permit<D> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            let held = self.desk.engine.now().saturating_sub(self.since);
            let is_used = self.is_used;
            self.desk.change(|line| if is_used { line.give_back(pass, held) } else { line.forget(pass) });
        }
    }
}
