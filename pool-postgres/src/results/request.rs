//! What is known of a request whose answer is read bit by bit.

use std::ops::Deref;

use tokio_postgres::Error;
use tokio_postgres::error::Severity;

use crate::connection::PostgresConnection;
use crate::diagnosis::{Advice, Diagnosis, Fate, Kind};
use crate::limits::{Answered, Course};
use crate::pool::PostgresOwnedLease;
use crate::query::{Query, QueryError, QueryStep, told};
use crate::retry::Outcome;
use crate::tap::{Grip, Mark};

/// Whose connection it is.
#[derive(Debug)]
pub(crate) enum Held<'a> {
    Borrowed(&'a PostgresConnection),
    /// It goes back when this is dropped.
    Owned(PostgresOwnedLease),
}

impl Deref for Held<'_> {
    type Target = PostgresConnection;

    fn deref(&self) -> &PostgresConnection {
        match self {
            Self::Borrowed(connection) => connection,
            Self::Owned(lease) => lease,
        }
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Request {
    sql: Box<str>,
    mark: Mark,
    /// How many requests had been answered before this one, if it is sure that this one is not among them.
    number: Option<u64>,
    /// From when the answer has begun until it is over.
    course: Option<Course>,
}

impl Answered for Request {}

impl Request {
    /// About to be sent.
    pub(super) fn new(connection: &PostgresConnection, query: &Query<'_>) -> Self {
        connection.ask(query);
        Self {
            sql: query.sql().into(),
            mark: connection.mark(),
            number: Some(connection.session().requests().answered()),
            course: None,
        }
    }

    /// About to be sent, when nothing else is under way, as far as that can be had: only of such a request it is known later whether it is still the one that is answered.
    pub(super) async fn alone(connection: &PostgresConnection, query: &Query<'_>) -> Self {
        // The end of an answer may come later than what the client has waited for.
        if connection.session().is_busy() {
            connection.ask(query);
            // Owned across the await: nothing. Whatever is wrong, the request finds out.
            let _ = connection.client().batch_execute("").await;
        }
        Self::new(connection, query)
    }

    /// As it is, for something more that is about to be sent for it.
    pub(super) fn go_on(&mut self, connection: &PostgresConnection) {
        self.mark = connection.mark();
    }

    /// The answer has begun. If anything has been answered since it was about to be sent, that may have been this.
    pub(super) fn begun(self, connection: &PostgresConnection) -> Self {
        let requests = connection.session().requests();
        // The rest of it is waited for by somebody who asks no more.
        requests.muddle();
        let answered = requests.answered();
        Self { number: self.number.filter(|number| *number == answered), ..self }
    }

    /// As it is, with what is known of it until it is over.
    pub(super) fn in_course(self, course: Course) -> Self {
        Self { course: Some(course.at_leisure()), ..self }
    }

    /// It is over, with this error if it has failed. It counts then, once.
    pub(super) fn end(&mut self, connection: &PostgresConnection, error: Option<&QueryError>) {
        if let Some(course) = self.course.take() {
            course.end_as_one(connection, &self.sql, error);
        }
    }

    /// Nobody wants the rest of it, if it is not over. It counts then, as that.
    pub(super) fn leave(&mut self, connection: &PostgresConnection) {
        if let Some(course) = self.course.take() {
            course.leave_as_one(connection, &self.sql);
        }
    }

    /// Whether the server has said that a command was completed since it was sent.
    pub(super) fn is_completed(&self, connection: &PostgresConnection) -> bool {
        !connection.session().has_completed_nothing_since(self.mark)
    }

    /// The server need not go on with the answer: has it stop in the background, if it is not over.
    pub(super) fn stop(&self, connection: &PostgresConnection) {
        let (Some(number), Some(course)) = (self.number, &self.course) else { return };
        match connection.grip(number) {
            Grip::Never => {}
            grip => course.cancellation(connection).begin(grip),
        }
    }

    /// The client reports an error.
    pub(super) fn error(&self, connection: &PostgresConnection, step: QueryStep, error: Error) -> QueryError {
        let diagnosis = connection.diagnose(&error, self.mark);
        let outcome = connection.outcome(&error, diagnosis, self.mark);
        let failed = self.failed(connection, step, outcome, diagnosis, error);
        failed.unless_committed(connection, &self.sql, self.mark, false)
    }

    /// The client reports an error, and nothing can have been done.
    pub(super) fn undone(&self, connection: &PostgresConnection, step: QueryStep, error: Error) -> QueryError {
        let diagnosis = connection.diagnose(&error, self.mark);
        self.failed(connection, step, Outcome::NotDone, diagnosis, error)
    }

    /// The client reports an error after the command was completed. What was to be committed then has not been, if the server says why and goes on.
    pub(super) fn late_error(&self, connection: &PostgresConnection, step: QueryStep, error: Error) -> QueryError {
        let goes_on = error.as_db_error().is_some_and(|said| said.parsed_severity() == Some(Severity::Error));
        let diagnosis = connection.diagnose(&error, self.mark);
        let refused = goes_on && diagnosis.fate != Fate::Close && diagnosis.advice != Advice::OutcomeUnknown;
        let outcome = if refused { Outcome::NotDone } else { Outcome::Unknown };
        self.failed(connection, step, outcome, diagnosis, error)
    }

    fn failed(
        &self,
        connection: &PostgresConnection,
        step: QueryStep,
        outcome: Outcome,
        diagnosis: Diagnosis,
        error: Error,
    ) -> QueryError {
        QueryError::new(step, &self.sql, outcome, diagnosis, told(connection, error)).on(connection)
    }

    /// It cannot go on, for a reason of our own.
    pub(super) fn wrong(
        &self,
        connection: &PostgresConnection,
        step: QueryStep,
        outcome: Outcome,
        why: impl Into<String>,
    ) -> QueryError {
        let diagnosis = Diagnosis::new(Advice::Never, Fate::Keep);
        QueryError::new(step, &self.sql, outcome, diagnosis, why.into()).on(connection)
    }
}

/// Whether what came is a message that the client had no use for, and no error of anybody's.
pub(super) fn is_other_message(error: &Error) -> bool {
    Kind::of(error) == Kind::Protocol
}
