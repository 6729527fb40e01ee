//! What comes of a batch.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::Sleep;
use tokio_postgres::{Error, Row, RowStream};

use super::prepare::Known;
use super::send::{Sent, Stage};
use super::sources::Told;
use crate::diagnosis::{Advice, Diagnosis, Fate};
use crate::limits::{Course, Item, TimedOut, timer};
use crate::query::{QueryError, QueryStep, commits_inside, told};
use crate::results::Held;
use crate::retry::Outcome;
use crate::statements::forget_stale;
use crate::tap::Target;

/// What one statement of a [`Batch`](crate::Batch) has come to.
///
/// # Example
///
/// ```no_run
/// use futures_util::TryStreamExt;
///
/// # async fn read(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
/// let batch = pool.batch().add("SELECT name FROM account", &[]).add("DELETE FROM account", &[]);
/// let answers: Vec<pool_postgres::BatchAnswer> = batch.send().await?.try_collect().await?;
/// println!("{} names, {} rows deleted", answers[0].rows().len(), answers[1].rows_affected());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BatchAnswer {
    rows: Vec<Row>,
    affected: u64,
}

impl BatchAnswer {
    /// The rows that it has returned.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn show(answer: &pool_postgres::BatchAnswer) {
    /// for row in answer.rows() {
    ///     println!("{}", row.get::<_, String>("name"));
    /// }
    /// # }
    /// ```
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The same, for whoever keeps them.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn keep(answer: pool_postgres::BatchAnswer) {
    /// let rows: Vec<pool_postgres::tokio_postgres::Row> = answer.into_rows();
    /// # }
    /// ```
    pub fn into_rows(self) -> Vec<Row> {
        self.rows
    }

    /// How many rows it has inserted, updated, deleted or returned.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn show(answer: &pool_postgres::BatchAnswer) {
    /// println!("{} rows", answer.rows_affected());
    /// # }
    /// ```
    pub fn rows_affected(&self) -> u64 {
        self.affected
    }
}

/// The answers to the statements of a [`Batch`](crate::Batch): a [`Stream`] of exactly one for each, in their order. What is not asked for stays with the server, but for one statement's rows.
///
/// Each says whether its statement has been executed: an error has an [`outcome`](QueryError::outcome), the statement, and its [number](QueryError::batch_index). Of statements that are [as one](crate::Batch::as_one), all that is said before is taken back by
/// an error: nothing has been done then, if its outcome is [`NotDone`](Outcome::NotDone); those behind the one that has failed were [skipped](QueryError::is_skipped).
///
/// **Limits** count for each statement: its answer may be waited for as long as [`query_timeout`](crate::Limits::query_timeout) or [`Query::timeout`](crate::Query::timeout) say, from when somebody waits for it. If that is not enough, all that is left of the
/// batch is cancelled.
///
/// **Dropped** halfway, what is under way is cancelled, unless [`cancel_on_drop`](crate::Limits::cancel_on_drop) says otherwise, and may have been done. The connection is put in order before anybody else gets it; one that is kept can be used at once, and what is
/// asked next waits until the server has stopped.
///
/// # Example
///
/// ```no_run
/// use futures_util::StreamExt;
/// use pool_postgres::BatchAnswers;
///
/// # async fn read(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
/// let mut answers: BatchAnswers<'_> = pool.batch().add("SELECT 1", &[]).add("SELECT 2", &[]).send().await?;
/// while let Some(answer) = answers.next().await {
///     println!("{} rows", answer?.rows().len());
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "the server has begun to answer"]
pub struct BatchAnswers<'c> {
    /// Until the end.
    open: Option<Open<'c>>,
    keeps_rows: bool,
    /// How many there are.
    of: usize,
    /// Of what is to be sent once more, since what was known of a statement was out of date, and nothing has been done.
    once_more: Option<Course>,
}

/// What is dropped first is first here.
struct Open<'c> {
    sent: Sent<'c>,
    /// All of it together, which is called as its first statement.
    course: Course,
    first: Option<Arc<Known>>,
    held: Arc<Held<'c>>,
    told: Told<'c>,
    /// What has come of the next statement.
    rows: Vec<Row>,
    /// Until the next answer has to be there; or, once one has not been, all of them.
    timer: Option<Pin<Box<Sleep>>>,
    /// How long the one might have been waited for that was not there in time.
    late: Option<Duration>,
    /// Which one has failed, if all are one, and what that means.
    failed: Option<(usize, Diagnosis)>,
    /// Whether that is because what was known of it was out of date.
    is_outdated: bool,
    /// What is counted if it is not sent once more, as long as it may be.
    postponed: Option<Vec<Item>>,
}

/// A statement was not executed, since an earlier one of its batch has failed.
#[derive(Debug, thiserror::Error)]
#[error("it was not executed, since statement {} of its batch has failed", .failed + 1)]
pub(crate) struct Skipped {
    failed: usize,
}

impl<'c> BatchAnswers<'c> {
    pub(super) fn none() -> Self {
        Self { open: None, keeps_rows: true, of: 0, once_more: None }
    }

    pub(super) fn new(sent: Sent<'c>, course: Course, held: Arc<Held<'c>>, told: Told<'c>, keeps_rows: bool) -> Self {
        let (of, first) = (sent.asked.len(), sent.asked.front().map(|asked| Arc::clone(&asked.known)));
        let (rows, timer, late, failed, is_outdated) = (Vec::new(), None, None, None, false);
        let postponed = None;
        let open = Open { sent, course, first, held, told, rows, timer, late, failed, is_outdated, postponed };
        Self { open: Some(open), keeps_rows, of, once_more: None }
    }

    /// As it is, for one who sends all of it once more if all that were to be one have come to nothing since what was known of a statement was out of date. Then nothing of this is counted or told.
    pub(super) fn with_another_try(mut self) -> Self {
        if let Some(open) = &mut self.open {
            open.postponed = Some(Vec::new());
        }
        self
    }

    /// The course in which it is to be sent once more, if it is: once all have been answered.
    pub(super) fn course_once_more(&mut self) -> Option<Course> {
        self.once_more.take()
    }

    /// How many are still to come.
    fn left(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.sent.asked.len())
    }
}

impl Stream for BatchAnswers<'_> {
    type Item = Result<BatchAnswer, QueryError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let number = (this.of - this.left(), this.of);
        let Some(open) = &mut this.open else { return Poll::Ready(None) };
        let outcome = ready!(open.poll_answer(this.keeps_rows, cx));
        let answer = open.end_next(number, outcome);
        if open.sent.asked.is_empty() {
            this.once_more = open.end();
            // The connection goes back.
            this.open = None;
        }
        Poll::Ready(answer)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left(), Some(self.left()))
    }
}

/// What comes of a statement: its answer, or the client's error if it was sent.
type Come = Result<BatchAnswer, Option<Error>>;

impl Open<'_> {
    /// The answer to the next statement, within its limit.
    fn poll_answer(&mut self, keeps_rows: bool, cx: &mut Context<'_>) -> Poll<Come> {
        loop {
            if let Poll::Ready(answer) = self.poll_rows(keeps_rows, cx) {
                return Poll::Ready(answer);
            }
            ready!(self.poll_limit(cx));
        }
    }

    fn poll_rows(&mut self, keeps_rows: bool, cx: &mut Context<'_>) -> Poll<Come> {
        while let Some(next) = self.sent.asked.front_mut() {
            match &mut next.stage {
                Stage::Unsent(_) => return Poll::Ready(Err(None)),
                Stage::Refused(error) => return Poll::Ready(Err(error.take())),
                Stage::Asked(asking) => match ready!(asking.as_mut().poll(cx)) {
                    Ok(rows) => next.stage = Stage::Answered(Box::pin(rows)),
                    Err(error) => return Poll::Ready(Err(Some(error))),
                },
                Stage::Answered(rows) => {
                    let kept = keeps_rows.then_some(&mut self.rows);
                    let affected = ready!(poll_end(rows.as_mut(), kept, cx));
                    let rows = mem::take(&mut self.rows);
                    return Poll::Ready(affected.map(|affected| BatchAnswer { rows, affected }).map_err(Some));
                }
            }
        }
        Poll::Ready(Err(None))
    }

    /// Ready if the next answer was not there in time, and something has been done about that.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let next = self.sent.asked.front().and_then(|next| next.limit);
        let limit = if self.late.is_some() { Some(self.held.limits().cancel_timeout) } else { next };
        let Some(limit) = limit else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(timer(self.held.runtime(), limit)));
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        if self.late.is_none() {
            self.late = Some(limit);
            self.stop();
        } else {
            // What is still waited for fails at once.
            self.held.cut();
        }
        Poll::Ready(())
    }

    /// Has the server cancel whatever is under way.
    fn stop(&self) {
        let (first, last) = self.sent.numbers;
        let grip = self.held.line().grip(Target::Numbers(first, last));
        self.course.cancellation(&self.held).begin(grip);
    }

    /// Its first statement.
    fn sql(&self) -> &str {
        self.first.as_ref().map_or("", |known| known.query.sql())
    }

    /// The next statement has come to this.
    fn end_next(&mut self, number: (usize, usize), come: Come) -> Option<Result<BatchAnswer, QueryError>> {
        let asked = self.sent.asked.pop_front()?;
        if self.late.is_none() {
            self.timer = None;
        }
        let error = match (come, asked.stage) {
            (Ok(answer), _) => {
                self.count(Item::Answered);
                return Some(Ok(answer));
            }
            (Err(_), Stage::Unsent(error)) => *error,
            (Err(Some(error)), _) => self.judge(number, &asked.known, error),
            (Err(None), _) => return None,
        };
        self.count_error(&error);
        let may_be_done = !self.sent.is_one || error.outcome() == Outcome::Unknown;
        let error = error.of_batch_done(may_be_done && !self.sent.mark.was_inside());
        Some(Err((self.told)(error)))
    }

    fn count(&mut self, item: Item) {
        match &mut self.postponed {
            Some(items) => items.push(item),
            None => self.held.tally().add(item),
        }
    }

    /// One of them has failed, or comes behind one that has.
    fn count_error(&mut self, error: &QueryError) {
        self.count(match self.late {
            _ if error.is_skipped() => Item::Skipped,
            Some(_) => Item::TimedOut,
            None => Item::Failed,
        });
        if !self.is_sent_once_more() {
            self.course.fails(error);
        }
    }

    /// Whether this is as if it had not been: as far as it is known by now.
    fn is_sent_once_more(&self) -> bool {
        self.is_outdated && self.postponed.is_some()
    }

    /// Counts what was not counted before.
    fn settle(&mut self) {
        self.postponed.take().into_iter().flatten().for_each(|item| self.held.tally().add(item));
    }

    /// All of them have been answered. The course goes on if they are sent once more.
    fn end(&mut self) -> Option<Course> {
        if self.is_sent_once_more() {
            return Some(mem::take(&mut self.course));
        }
        self.settle();
        self.course.end(&self.held, self.sql());
        None
    }

    /// What the client's error means.
    fn judge(&mut self, (index, of): (usize, usize), known: &Known, error: Error) -> QueryError {
        self.rows.clear();
        let (held, sql, step) = (&self.held, known.query.sql(), QueryStep::Execute);
        if let Some((failed, diagnosis)) = self.failed {
            let error = QueryError::new(step, sql, Outcome::NotDone, diagnosis, Skipped { failed });
            return error.on(held).in_batch(index, of);
        }
        let is_stale = forget_stale(held, &known.query, &error) && known.is_kept;
        let diagnosis = held.diagnose(&error, self.sent.mark);
        let outcome = self.outcome(&error, diagnosis, sql);
        let failed = QueryError::new(step, sql, outcome, diagnosis, told(held, error)).on(held).settled(outcome);
        if self.sent.is_one && outcome == Outcome::NotDone {
            self.failed = Some((index, failed.diagnosis()));
            let was_refused = held.session().has_bound_only(index, self.sent.mark);
            self.is_outdated = is_stale && was_refused && self.sent.mark.was_at_rest();
        }
        self.late(failed).in_batch(index, of)
    }

    /// Whether a statement may have been done that has failed with this error. All that are one have not been if the server goes on after an error, or has not been told that they are complete.
    fn outcome(&self, error: &Error, diagnosis: Diagnosis, sql: &str) -> Outcome {
        let is_refused = error.as_db_error().is_some()
            && diagnosis.fate != Fate::Close
            && diagnosis.advice != Advice::OutcomeUnknown
            && (self.sent.mark.was_inside() || !commits_inside(sql));
        let is_incomplete = self.sent.is_one && self.held.session().joining.is_expected();
        if is_refused || is_incomplete || diagnosis.safe_to_retry { Outcome::NotDone } else { Outcome::Unknown }
    }

    /// The same, if it was given up.
    fn late(&self, error: QueryError) -> QueryError {
        match self.late {
            Some(limit) if error.is_cancelled() => error.because(|answer| TimedOut::answered(limit, answer)),
            Some(limit) if error.is_closed() => error.because(|_| TimedOut::unanswered(limit)),
            _ => error,
        }
    }
}

/// The end of an answer, and how many rows it is about.
fn poll_end(
    mut stream: Pin<&mut RowStream>,
    mut kept: Option<&mut Vec<Row>>,
    cx: &mut Context<'_>,
) -> Poll<Result<u64, Error>> {
    while let Some(row) = ready!(stream.as_mut().poll_next(cx)) {
        match (row, &mut kept) {
            (Ok(row), Some(rows)) => rows.push(row),
            (Ok(_), None) => {}
            (Err(error), _) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(stream.rows_affected().unwrap_or(0)))
}

impl Drop for BatchAnswers<'_> {
    fn drop(&mut self) {
        let Some(open) = &mut self.open else { return };
        open.held.note_loose();
        open.settle();
        // One for all of them: nobody has looked whether the others were begun.
        open.held.tally().add(Item::Dropped);
        open.course.is_dropped(&open.held, open.sql());
        if open.late.is_none() && open.held.limits().cancel_on_drop {
            open.stop();
        }
    }
}

impl fmt::Debug for BatchAnswers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchAnswers").field("left", &self.left()).field("of", &self.of).finish_non_exhaustive()
    }
}
