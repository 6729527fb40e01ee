//! What keeps watch over one request.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pool_core::trace::{Traced, report};
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};

use super::course::{Course, end_of, judge};
use super::slow::QueryEnd;
use super::spans::{self, Answered};
use super::timed_out::TimedOut;
use crate::connection::PostgresConnection;
use crate::diagnosis::{Advice, Diagnosis, Fate};
use crate::query::{Query, QueryError, QueryStep};
use crate::retry::Outcome;
use crate::server::PATIENCE;
use crate::tap::{Grip, Mark, Place, Requests, Target};

/// How often a request is looked for that has come to its limit, if nothing is under way by which it could be found.
const TRIES: u32 = 3;

/// Runs a request within its limits. If the future is dropped, the server is asked to cancel it. It is made in its place: futures are large, and to hand one on is to copy it.
pub(crate) async fn limited<T: Answered, R: Future<Output = Result<T, QueryError>>>(
    connection: &PostgresConnection,
    query: &Query<'_>,
    request: impl FnOnce() -> R,
) -> Result<T, QueryError> {
    // Dropped after the request, so that all that comes of it is known then.
    let mut guard = Guard::begin(connection, query);
    let request = pin!(request());
    let answer = match query.terms.timeout(connection.limits()) {
        // Owned across the awaits: the request, and the guard. Dropped, the guard sees to it that it is cancelled.
        None => request.await,
        Some(limit) => guard.in_time(limit, request).await,
    };
    guard.end(&answer);
    answer
}

/// As [`limited`], for a request that is only begun then, and goes on. Whoever reads its answers says what becomes of it. One that is begun anew since nothing has come of it is the same one, with its `course`.
pub(crate) async fn limited_begin<T: Answered, R: Future<Output = Result<T, QueryError>>>(
    connection: &PostgresConnection,
    query: &Query<'_>,
    course: Option<Course>,
    request: impl FnOnce() -> R,
) -> Result<(T, Course), QueryError> {
    let mut guard = match course {
        Some(course) => Guard::watch(connection, query, course.into_beginning()),
        None => Guard::begin(connection, query),
    };
    let request = pin!(request());
    let begun = match query.terms.timeout(connection.limits()) {
        // Owned across the awaits: as above.
        None => request.await,
        Some(limit) => guard.in_time(limit, request).await,
    };
    match begun {
        Ok(begun) => Ok((begun, guard.go_on())),
        Err(error) => {
            let failed = Err::<T, _>(error);
            guard.end(&failed);
            failed.map(|begun| (begun, Course::default()))
        }
    }
}

/// Waits for an answer for as long as a request may take that says nothing else, and has nothing cancelled: what begins or ends a transaction has to be carried out, or what follows it fails.
///
/// Cancel safety: that of what is waited for.
pub(crate) async fn patient<T>(
    connection: &PostgresConnection,
    asking: impl Future<Output = T>,
) -> Result<T, TimedOut> {
    // Owned across the awaits: the request.
    match connection.limits().query_timeout {
        None => Ok(asking.await),
        Some(limit) => {
            let answer = within(connection, limit, pin!(asking)).await;
            answer.ok_or_else(|| TimedOut::unanswered(limit))
        }
    }
}

/// What comes of a future within some time.
async fn within<T>(
    connection: &PostgresConnection,
    time: Duration,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let mut timer = pin!(timer(connection.runtime(), time));
    // Owned across the await: the timer.
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => timer.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Keeps watch over one request, from before it is begun to after its answer. Dropped before that is told, it has the server cancel what is under way.
pub(crate) struct Guard<'a> {
    connection: &'a PostgresConnection,
    query: &'a Query<'a>,
    /// If anybody wants to know how long it takes.
    began_at: Option<Instant>,
    /// Whether somebody waits for the answer.
    is_awaited: bool,
    has_ended: bool,
    /// That of its requests that has been cancelled last.
    cancelled: Option<Place>,
    /// Told to the cancellations, if there have been any.
    has_answer: Option<Arc<AtomicBool>>,
    /// For those who trace it.
    span: Traced,
}

impl<'a> Guard<'a> {
    /// Begins to watch over a request that has one answer due at a time.
    pub(crate) fn begin(connection: &'a PostgresConnection, query: &'a Query<'a>) -> Self {
        let began_at = connection.limits().are_timed().then(Instant::now);
        Self::watch(connection, query, (began_at, spans::of_request(connection, query)))
    }

    fn watch(
        connection: &'a PostgresConnection,
        query: &'a Query<'a>,
        (began_at, span): (Option<Instant>, Traced),
    ) -> Self {
        connection.session().requests().begin(query);
        Self {
            connection,
            query,
            began_at,
            is_awaited: true,
            has_ended: false,
            cancelled: None,
            has_answer: None,
            span,
        }
    }

    /// It has been begun, and is watched over by somebody else from now on.
    fn go_on(mut self) -> Course {
        self.call_off();
        self.has_ended = true;
        self.leave();
        Course::new(self.began_at, std::mem::take(&mut self.span))
    }

    /// It has been answered.
    pub(crate) fn end<T: Answered>(mut self, answer: &Result<T, QueryError>) {
        if answer.is_ok() {
            self.call_off();
        }
        if answer.as_ref().is_err_and(|error| error.as_db_error().is_none() && !error.is_timeout()) {
            // It may not have been sent.
            self.connection.session().requests().give_back(self.query);
        }
        if answer.is_err() {
            self.connection.note_loose();
        }
        self.has_ended = true;
        self.leave();
        let (end, is_served) = answer.as_ref().map_or_else(end_of, |_| (QueryEnd::Answered, true));
        self.count(end, is_served);
        spans::tell(&self.span, answer, end);
    }

    /// It has what it has waited for: a cancellation that still waits for its turn would hit what comes next of it.
    fn call_off(&self) {
        if let Some(told) = &self.has_answer {
            told.store(true, Ordering::Release);
        }
    }

    /// Nobody waits for the answer any more.
    fn leave(&mut self) {
        if std::mem::take(&mut self.is_awaited) {
            self.connection.session().requests().finish();
        }
    }

    /// Waits for the answer for as long as it may take. If that is not enough, has the request cancelled, and waits a moment for what becomes of it.
    async fn in_time<T>(
        &mut self,
        limit: Duration,
        mut request: Pin<&mut impl Future<Output = Result<T, QueryError>>>,
    ) -> Result<T, QueryError> {
        let since = self.connection.mark();
        // Owned across the awaits: the request, by the caller. What is under way when the future is dropped is cancelled.
        if let Some(answer) = within(self.connection, limit, request.as_mut()).await {
            return answer;
        }
        self.leave();
        // Rare, and large.
        match Box::pin(self.cancelled(request)).await {
            Some(Err(error)) if error.is_cancelled() => Err(error.because(|answer| TimedOut::answered(limit, answer))),
            // It was there in time, or has failed for a reason of its own.
            Some(answer) => answer,
            None => Err(self.timed_out(limit, since)),
        }
    }

    /// What becomes of a request that is cancelled. `None` if nothing has been heard of it; then the session is closed, unless others use it, too.
    async fn cancelled<T>(&mut self, mut request: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let ends = Instant::now().checked_add(self.connection.limits().cancel_timeout);
        let (mut may_cut, mut lost, mut heard) = (false, 0, None);
        while lost < TRIES {
            // Again and again, since what is answered may go on with the next step, as from preparing to executing.
            let alone = self.cancel(heard);
            may_cut = alone.unwrap_or(false);
            // What is ahead of it, and cannot be told from it, can be once it has been answered.
            let may_be_found = alone.is_some() || self.connection.session().requests().may_tell_more();
            let patience;
            (lost, patience) = if may_be_found { (0, PATIENCE) } else { (lost + 1, Duration::ZERO) };
            let mut seen = alone.is_none().then(|| self.connection.line().heard()).flatten();
            let looking = poll_fn(|context| self.look(request.as_mut(), &mut seen, context));
            // Owned across the await: nothing but the request, by the caller.
            let answer = within(self.connection, patience, pin!(looking)).await;
            if answer.is_some() {
                return answer;
            }
            heard = heard.max(seen);
            if ends.is_some_and(|ends| ends <= Instant::now()) {
                break;
            }
        }
        // The answer may be there, and only what was to cancel it still be on its way.
        let answer = poll_fn(|context| Poll::Ready(request.as_mut().poll(context))).await;
        if let Poll::Ready(answer) = answer {
            return Some(answer);
        }
        if may_cut {
            self.cut();
        }
        None
    }

    /// Closes a session that does not answer, unless others use it: whoever is held back by the cancellation does, too.
    fn cut(&self) {
        if !self.connection.session().requests().are_awaited() {
            report(|| tracing::info!(host = self.connection.host(), "a session is closed that does not answer"));
            self.connection.line().cut(self.close_timeout());
        }
    }

    /// Polls a request, unless what has been answered may be a step, and the next one would be held back, where it could not be cancelled. Then nothing has been seen of it.
    fn look<T>(
        &self,
        request: Pin<&mut impl Future<Output = T>>,
        seen: &mut Option<u64>,
        context: &mut Context<'_>,
    ) -> Poll<T> {
        if self.connection.session().requests().is_held_for_nothing() {
            *seen = None;
            return Poll::Pending;
        }
        request.poll(context)
    }

    fn close_timeout(&self) -> Duration {
        self.connection.server().settings.config.pool.close_timeout
    }

    /// Has it cancelled, in the background. `None` if that is not possible, since nothing of it is under way, or it cannot be told from what others have asked; or else whether the session is to be closed if
    /// nothing is heard of it. It is none of the first so many requests if `heard` says so.
    fn cancel(&mut self, heard: Option<u64>) -> Option<bool> {
        let place = Requests::place(self.query)?.after(heard.unwrap_or(0));
        let grip = self.connection.line().grip(Target::Place(place));
        let may_cut = match grip {
            Grip::Held(_) | Grip::Behind(_) => true,
            Grip::Later { others, .. } => !others,
            Grip::Never => return None,
        };
        // Once for each, and once more when it is known better where it is.
        if self.cancelled.replace(place) != Some(place) {
            let has_answer = self.has_answer.get_or_insert_default();
            self.connection.cancellation().until(has_answer).because_of(&self.span).begin(grip);
        }
        Some(may_cut)
    }

    /// As [`cancel`](Self::cancel), if it is not answered soon: others may be about to ask something, who would be held back meanwhile.
    fn cancel_later(&self) {
        if let Some(place) = Requests::place(self.query) {
            self.connection
                .cancellation()
                .because_of(&self.span)
                .begin(Grip::Later { target: Target::Place(place), others: true });
        }
    }

    fn timed_out(&self, limit: Duration, since: Mark) -> QueryError {
        // What is not sent yet would be sent later, unless the session is closed.
        let (outcome, advice) = if self.connection.is_closed() && self.connection.has_done_nothing_since(since) {
            (Outcome::NotDone, Advice::RetryLater)
        } else {
            (Outcome::Unknown, Advice::OutcomeUnknown)
        };
        let fate = if self.connection.is_closed() { Fate::Close } else { Fate::Keep };
        let diagnosis = Diagnosis::new(advice, fate);
        let cause = TimedOut::unanswered(limit);
        QueryError::new(QueryStep::Execute, self.query.sql(), outcome, diagnosis, cause).on(self.connection)
    }

    /// Counts it, and tells of it if it was slow. Whether the connection has served it.
    fn count(&self, end: QueryEnd, is_served: bool) {
        self.connection.tally().add(end.into());
        if let Some(began_at) = self.began_at {
            judge(self.connection, self.query.sql(), began_at.elapsed(), (end, is_served));
        }
    }
}

/// In the runtime of whoever waits, or if he has none in that of the session.
pub(crate) fn timer(runtime: &Handle, time: Duration) -> Sleep {
    let _inside = Handle::try_current().is_err().then(|| runtime.enter());
    sleep(time)
}

/// The future was dropped.
impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.connection.note_loose();
        let is_expired = !self.is_awaited;
        self.leave();
        if std::thread::panicking() {
            // Of a parameter, perhaps, and so before anything was asked.
            self.connection.session().requests().muddle();
        } else if self.query.terms.is_shared && self.connection.limits().cancel_on_drop {
            self.cancel_later();
        } else if is_expired || self.connection.limits().cancel_on_drop {
            self.cancel(None);
        } else {
            // It is to be done.
            self.connection.session().requests().muddle();
        }
        self.count(QueryEnd::Dropped, false);
        spans::tell_end(&self.span, QueryEnd::Dropped);
    }
}
