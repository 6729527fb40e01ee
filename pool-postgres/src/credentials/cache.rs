//! What a provider has said, for as long as it is good.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use pool_core::trace::report;

use super::call::{Call, Outcome, Waiter};
use super::{AnyProvider, Credentials, CredentialsFailure, CredentialsProvider, CredentialsRequest};
use crate::config::Host;

/// The longest time before their end in which credentials are asked for again.
const LEAD: Duration = Duration::from_mins(1);
/// A shorter time goes with a shorter life: this part of it.
const PART: u32 = 5;
/// A call ahead that has failed is made again after this part of the lead.
const AGAIN: u32 = 10;

/// A provider, and its answers: one for all servers, or one for each.
pub(crate) struct Cache {
    provider: Arc<dyn AnyProvider>,
    differ_by_host: bool,
    cells: Mutex<HashMap<Option<Host>, Arc<Cell>>>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("differ_by_host", &self.differ_by_host).finish_non_exhaustive()
    }
}

impl Cache {
    pub(crate) fn new(provider: impl CredentialsProvider) -> Self {
        let differ_by_host = CredentialsProvider::differ_by_host(&provider);
        Self { provider: Arc::new(provider), differ_by_host, cells: Mutex::default() }
    }

    /// Whether what it says of one server need not hold for another.
    pub(crate) fn differ_by_host(&self) -> bool {
        self.differ_by_host
    }

    /// What to log in with, kept or asked for; not what the server has refused.
    ///
    /// Cancel safety: a call of the provider goes on, and whoever comes next finds its answer.
    pub(crate) async fn get(&self, request: &CredentialsRequest, refused: Option<&Credentials>) -> Outcome {
        let place = self.differ_by_host.then(|| request.host.clone());
        let cell = Arc::clone(lock(&self.cells).entry(place).or_default());
        loop {
            let waiter = match cell.look(&self.provider, request, refused) {
                Ok(kept) => return Ok(kept),
                Err(waiter) => waiter,
            };
            // Owned across the await: nothing of the call. One that was given up is made again.
            if let Some(outcome) = waiter.outcome().await {
                return outcome;
            }
        }
    }
}

/// The credentials for one server, or for all.
#[derive(Default)]
struct Cell(Mutex<State>);

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    call: Option<Call>,
    /// How many calls have begun.
    begun: u64,
}

struct Kept {
    credentials: Arc<Credentials>,
    /// `None`: never.
    ends: Option<Instant>,
    /// From when on they are asked for again. `None`: never.
    renew_at: Option<Instant>,
}

impl Kept {
    /// What was asked for at that time.
    fn since(asked: Instant, credentials: &Arc<Credentials>) -> Self {
        // What is too far away for the clock is never.
        let ends = credentials.valid_for.and_then(|time| asked.checked_add(time));
        let renew_at = ends.and_then(|ends| ends.checked_sub(lead(credentials)));
        Self { credentials: Arc::clone(credentials), ends, renew_at }
    }

    /// Whether they are to be asked for again.
    fn is_due(&self, now: Instant) -> bool {
        self.renew_at.is_some_and(|at| at <= now)
    }
}

fn lead(credentials: &Credentials) -> Duration {
    credentials.valid_for.map_or(LEAD, |time| LEAD.min(time / PART))
}

impl Cell {
    /// What is kept, or somebody who waits for a call, which begins if there is none.
    fn look(
        self: &Arc<Self>,
        provider: &Arc<dyn AnyProvider>,
        request: &CredentialsRequest,
        refused: Option<&Credentials>,
    ) -> Result<Arc<Credentials>, Waiter> {
        let (mut state, now) = (lock(&self.0), Instant::now());
        state.forget(refused, now);
        if let Some(kept) = state.kept.as_ref().filter(|kept| !kept.is_due(now)) {
            return Ok(Arc::clone(&kept.credentials));
        }
        let under_way = state.call.take().filter(|call| !call.is_over());
        let call = under_way.unwrap_or_else(|| {
            state.begun += 1;
            let (cell, number) = (Arc::downgrade(self), state.begun);
            let keep = move |outcome: &Outcome| {
                if let Some(cell) = cell.upgrade() {
                    cell.keep(number, now, outcome);
                }
            };
            Call::begin(Arc::clone(provider), request.clone(), keep)
        });
        let found = state.kept.as_ref().map(|kept| Arc::clone(&kept.credentials)).ok_or_else(|| call.waiter());
        state.call = Some(call);
        found
    }

    /// What has come of a call that began then, unless another one has begun since.
    fn keep(&self, number: u64, asked: Instant, outcome: &Outcome) {
        let failure = lock(&self.0).keep(number, asked, outcome);
        if let Some(failure) = failure {
            report(|| tracing::warn!("credentials were asked for ahead of their end, and will be again: {failure}"));
        }
    }
}

impl State {
    /// Lets go of what has ended, and of what the server has refused.
    fn forget(&mut self, refused: Option<&Credentials>, now: Instant) {
        if self.kept.as_ref().is_some_and(|kept| Some(kept.credentials.as_ref()) == refused) {
            // A call that began before the server refused them may bring the same again.
            (self.kept, self.call) = (None, None);
        }
        if self.kept.as_ref().and_then(|kept| kept.ends).is_some_and(|ends| ends <= now) {
            self.kept = None;
        }
    }

    /// A failure that nobody else is told.
    fn keep<'a>(&mut self, number: u64, asked: Instant, outcome: &'a Outcome) -> Option<&'a CredentialsFailure> {
        if self.begun != number {
            return None;
        }
        match (outcome, &mut self.kept) {
            (Ok(credentials), kept) => *kept = Some(Kept::since(asked, credentials)),
            (Err(failure), Some(kept)) => {
                kept.renew_at = Some(Instant::now() + lead(&kept.credentials) / AGAIN);
                return Some(failure);
            }
            (Err(_), None) => {}
        }
        None
    }
}

/// Never held across an await.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
