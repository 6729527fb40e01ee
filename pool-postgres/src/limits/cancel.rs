//! What nobody waits for any more is cancelled on the server, and nothing else is.
//!
//! A request to cancel names a session and not a request: it hits what the session is doing when it arrives. So it is made only while nothing is under way that anybody waits for, and nothing is sent on the session
//! from before it is made until the server has passed it on and has answered: whatever is asked meanwhile, by whomever, waits in the [tap](crate::tap).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pool_core::trace::{Traced, keeping_subscriber, report};
use tokio::time::{sleep, timeout};

use super::ledger::Account;
use super::spans;
use super::stats::Item;
use crate::connection::{Line, PostgresConnection};
use crate::error::{ConnectError, ConnectStep};
use crate::server::PATIENCE;
use crate::tap::{Grip, Hold};

/// How long an answer is waited for at most before the server is asked once more.
const LONGEST_PATIENCE: Duration = Duration::from_secs(1);

/// Has a request cancelled, in the background.
pub(crate) struct Cancellation {
    line: Line,
    account: Arc<Account>,
    /// What a session that cannot be used any more has for its end.
    close_timeout: Duration,
    /// Whether somebody has got the answer after all.
    has_ended: Arc<AtomicBool>,
    /// For those who trace it.
    span: Traced,
}

impl PostgresConnection {
    /// What has a request of its cancelled.
    pub(crate) fn cancellation(&self) -> Cancellation {
        let close_timeout = self.server().settings.config.pool.close_timeout;
        let (line, account) = (self.line(), self.tally().account());
        Cancellation { line, account, close_timeout, has_ended: Arc::default(), span: Traced::none() }
    }
}

impl Cancellation {
    /// As it is, for somebody who may say that it is to come to nothing.
    pub(super) fn until(self, has_ended: &Arc<AtomicBool>) -> Self {
        Self { has_ended: Arc::clone(has_ended), ..self }
    }

    /// As it is, for those who trace the request.
    pub(super) fn because_of(self, request: &Traced) -> Self {
        Self { span: spans::of_cancellation(request), ..self }
    }

    /// Begins it, if it is not to be left. What is held back is let go if the runtime has ended, as the session has then.
    pub(crate) fn begin(mut self, grip: Grip) {
        let (runtime, span) = (self.line.runtime().clone(), std::mem::take(&mut self.span));
        drop(runtime.spawn(keeping_subscriber(async move {
            let cancelling = async {
                // Owned across the await: the hold. Dropped, what was held back is sent.
                if let Some(hold) = self.wait_for_hold(grip).await {
                    self.run(hold).await;
                }
            };
            // Owned across the await: the same.
            span.around(cancelling).await;
        })));
    }

    /// Waits until nothing else is under way than what is to be cancelled; `None` if that has been answered, or cannot be told from others.
    async fn wait_for_hold(&self, mut grip: Grip) -> Option<Hold> {
        while !self.has_ended.load(Ordering::Acquire) {
            match grip {
                Grip::Held(hold) => return Some(hold),
                Grip::Never => return None,
                Grip::Later { target, .. } | Grip::Behind(target) => {
                    // Owned across the await: nothing.
                    sleep(PATIENCE).await;
                    grip = self.line.grip(target);
                }
            }
        }
        None
    }

    /// Asks until it has been answered: a server that was asked before it had begun with the request takes no note.
    async fn run(self, hold: Hold) {
        self.account.add_late(Item::Cancelled);
        let mut patience = PATIENCE;
        loop {
            // Owned across the awaits: the hold. Dropped, what was held back is sent, but the runtime has ended then, and the session with it.
            match self.line.cancel().await {
                Ok(()) => {}
                Err(error) if error.step == ConnectStep::Session => {
                    report(
                        || tracing::info!(%error, "a session is closed, since a request to cancel may still come to it"),
                    );
                    self.line.cut(self.close_timeout);
                    return;
                }
                Err(error) => {
                    self.tell_that_it_goes_on(&error);
                    return;
                }
            }
            if timeout(patience, self.line.session().requests().quiet()).await.is_ok() {
                drop(hold);
                return;
            }
            patience = (2 * patience).min(LONGEST_PATIENCE);
        }
    }

    /// A server that nobody reaches is asked for each of them.
    fn tell_that_it_goes_on(&self, error: &ConnectError) {
        let Some(left_out) = self.account.server().settings.ledger.not_cancelled.ask() else { return };
        let suppressed = (left_out > 0).then_some(left_out);
        report(|| tracing::info!(%error, suppressed, "a query goes on that nobody waits for"));
    }
}
