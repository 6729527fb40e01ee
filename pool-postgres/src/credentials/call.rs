//! One call of a provider, which belongs to none of those who wait for it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinHandle};
use tokio::time::timeout;

use super::{AnyProvider, Credentials, CredentialsFailure, CredentialsRequest};

pub(super) type Outcome = Result<Arc<Credentials>, CredentialsFailure>;

/// A call under way. Dropped, it is given up, and those who wait for it are told that there is nothing to wait for.
#[derive(Debug)]
pub(super) struct Call {
    outcome: watch::Receiver<Option<Outcome>>,
    task: AbortHandle,
}

impl Call {
    /// Begins one. `keep` is told its outcome before those who wait are. In a runtime only.
    pub(super) fn begin(
        provider: Arc<dyn AnyProvider>,
        request: CredentialsRequest,
        keep: impl FnOnce(&Outcome) + Send + 'static,
    ) -> Self {
        let (sender, outcome) = watch::channel(None);
        let task = tokio::spawn(async move {
            // Owned across the await: the call. Dropping it gives the call up.
            let outcome = ask(provider, request).await;
            keep(&outcome);
            sender.send_replace(Some(outcome));
        });
        Self { outcome, task: task.abort_handle() }
    }

    /// Whether an outcome has come, or none will: its runtime has ended.
    pub(super) fn is_over(&self) -> bool {
        self.outcome.borrow().is_some() || self.outcome.has_changed().is_err()
    }

    /// For somebody who waits for it.
    pub(super) fn waiter(&self) -> Waiter {
        Waiter(self.outcome.clone())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Somebody who waits for a call. Dropping it changes nothing for the call.
#[derive(Debug)]
pub(super) struct Waiter(watch::Receiver<Option<Outcome>>);

impl Waiter {
    /// What has come of it; `None` if it was given up, or its runtime has ended.
    pub(super) async fn outcome(mut self) -> Option<Outcome> {
        // Owned across the await: nothing of the call.
        let outcome = self.0.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }
}

/// The call, in a task of its own, which keeps a panic to itself, even that of a destructor.
struct Running(JoinHandle<Outcome>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn ask(provider: Arc<dyn AnyProvider>, request: CredentialsRequest) -> Outcome {
    let mut running = Running(tokio::spawn(async move {
        let after = provider.timeout();
        // Owned across the await: the provider's future.
        match timeout(after, provider.credentials(request)).await {
            Ok(answer) => answer.map(Arc::new).map_err(CredentialsFailure::of),
            Err(_) => Err(CredentialsFailure::TimedOut { after }),
        }
    }));
    // Owned across the await: the task. Dropping it aborts the task.
    (&mut running.0).await.unwrap_or_else(|error| Err(CredentialsFailure::Panicked { message: message(error) }))
}

fn message(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was given up".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it says nothing".to_owned())
}
