//! Having a statement executed, and once more if what was known of it is out of date.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Statement};

use super::ask::{Ask, Params};
use super::describe::describe;
use super::prepare::prepare_as;
use super::{Statements, Way, is_plain};
use crate::connection::PostgresConnection;
use crate::diagnosis::{Diagnosis, Kind, is_refused_by_the_client};
use crate::query::{Query, QueryError, QueryStep};
use crate::tap::Mark;

/// How often a statement is prepared once more at most, since it is another one by then.
const TRIES: u32 = 3;

/// How a statement has failed.
pub(super) struct Failure {
    pub(super) step: QueryStep,
    pub(super) error: Error,
    pub(super) since: Mark,
    /// Whether it was executed by what had been known of it before.
    pub(super) was_known: bool,
}

impl Failure {
    fn into_error(self, connection: &PostgresConnection, query: &Query<'_>) -> QueryError {
        let hint = hint(&self.error);
        let error = QueryError::of(connection, self.step, query.sql(), self.since, self.error).hinting(hint);
        error.unless_committed(connection, query.sql(), self.since, false)
    }
}

/// A statement is gone that has just been prepared, or is there before that.
fn hint(error: &Error) -> Option<&'static str> {
    let is_proxied = [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT];
    error.code().is_some_and(|code| is_proxied.contains(code)).then_some(
        "if a proxy stands in between that hands out servers by the transaction, pool_statement_mode=unprepared works with it",
    )
}

/// What is out of date, by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stale {
    /// What is known of this statement.
    This,
    /// All that is prepared.
    Everything,
}

/// A statement that another one has changed what it is about, or that the server does not have any more; or whose parameters have other types by now.
fn stale(error: &Error) -> Option<Stale> {
    match Kind::of(error) {
        Kind::Server { code, .. } if code == SqlState::INVALID_SQL_STATEMENT_NAME.code() => Some(Stale::Everything),
        Kind::Server { code, message } if Diagnosis::of_sqlstate(code, message).prepare_again => Some(Stale::This),
        // Of types that do not exist any more, or do not fit any more.
        Kind::Server { code, .. } if code.starts_with("42") || code == "22P03" => Some(Stale::This),
        Kind::Client => Some(Stale::This),
        _ => None,
    }
}

/// Whether a statement is another one since it was prepared, however short a time ago.
fn has_changed(error: &Error) -> bool {
    matches!(Kind::of(error), Kind::Server { code, message } if Diagnosis::of_sqlstate(code, message).prepare_again)
}

/// Has a statement executed, and reads what it comes to. If what was known of it turns out to be out of date, and nothing has been executed, it is prepared and executed once more.
pub(crate) async fn run<A: Ask>(
    connection: &PostgresConnection,
    query: &Query<'_>,
    params: Params<'_>,
) -> Result<A::Answer, QueryError> {
    // Owned across the awaits: the statement, by the calls.
    match attempt::<A>(connection, query, params).await {
        Ok(answer) => Ok(answer),
        // Rare, and as large as the first.
        Err(failure) if is_healed(connection, query, &failure) => Box::pin(again::<A>(connection, query, params)).await,
        Err(failure) => Err(failure.into_error(connection, query)),
    }
}

/// Once more, and again if another one who asks on the connection has kept what is out of date, or it has become so since it was prepared.
async fn again<A: Ask>(
    connection: &PostgresConnection,
    query: &Query<'_>,
    params: Params<'_>,
) -> Result<A::Answer, QueryError> {
    let mut tries = 0;
    loop {
        tries += 1;
        // Owned across the await: the statement, by the call.
        match attempt::<A>(connection, query, params).await {
            Ok(answer) => return Ok(answer),
            Err(failure) if is_healed(connection, query, &failure) && tries < TRIES => {}
            Err(failure) => return Err(failure.into_error(connection, query)),
        }
    }
}

/// Forgets what is out of date. Whether the statement may be executed once more: nothing has been, and no transaction has failed. The server says that it is ready to execute only after it has found
/// the statement to be in order.
fn is_healed(connection: &PostgresConnection, query: &Query<'_>, failure: &Failure) -> bool {
    let Some(stale) = stale(&failure.error).filter(|_| failure.was_known || has_changed(&failure.error)) else {
        return false;
    };
    forgets(connection, query, stale, &failure.error, failure.since)
}

/// Whether a statement was refused before any of it was executed.
fn was_refused(connection: &PostgresConnection, error: &Error, since: Mark) -> bool {
    // Beside others, what has been executed may be theirs; but of some errors one knows when they come.
    let is_early = || match Kind::of(error) {
        Kind::Server { code, message } => {
            code == SqlState::INVALID_SQL_STATEMENT_NAME.code() || Diagnosis::of_sqlstate(code, message).prepare_again
        }
        _ => is_refused_by_the_client(error),
    };
    connection.session().has_bound_nothing_since(since) || (since.is_shared() && is_early())
}

fn forgets(connection: &PostgresConnection, query: &Query<'_>, stale: Stale, error: &Error, since: Mark) -> bool {
    let statements = connection.statements();
    let was_refused = was_refused(connection, error, since);
    match stale {
        // Else it is what the statement itself has come to, and not what is known of it.
        Stale::This if was_refused => statements.forget(query),
        Stale::This => {}
        Stale::Everything => statements.forget_all(),
    }
    // Behind a proxy it would be described, and that in a transaction.
    let is_safe = was_refused && if since.is_shared() { !statements.is_proxied() } else { since.was_at_rest() };
    if is_safe {
        statements.knowledge.counts.healed.add(1);
    }
    is_safe
}

async fn attempt<A: Ask>(
    connection: &PostgresConnection,
    query: &Query<'_>,
    params: Params<'_>,
) -> Result<A::Answer, Failure> {
    let statements = connection.statements();
    // Owned across the awaits: the statement. What is not done each time is in a box: the future is as large as the largest of them.
    match statements.way(query) {
        Way::Prepared(statement) => execute::<A>(connection, query, &statement, params, true).await,
        Way::Prepare => {
            let statement = Box::pin(prepare(connection, query)).await?;
            execute::<A>(connection, query, &statement, params, false).await
        }
        Way::Typed(types) if types.len() == params.len() => {
            Box::pin(execute_typed::<A>(connection, query, params, &types, true)).await
        }
        Way::Typed(_) | Way::Describe => Box::pin(described::<A>(connection, query, params)).await,
    }
}

/// Asks what types the parameters of a statement have, and tells the other connections.
async fn known_types(connection: &PostgresConnection, query: &Query<'_>) -> Result<Statement, Failure> {
    let knowledge = &connection.statements().knowledge;
    // Owned across the await: nothing.
    let statement = describe(connection, query).await?;
    knowledge.counts.described.add(1);
    knowledge.learn(query.sql(), statement.params(), is_plain(&statement));
    Ok(statement)
}

/// With its text, once its types are known.
async fn described<A: Ask>(
    connection: &PostgresConnection,
    query: &Query<'_>,
    params: Params<'_>,
) -> Result<A::Answer, Failure> {
    let statements = connection.statements();
    // Owned across the awaits: the statement.
    let statement = known_types(connection, query).await?;
    // With more or less parameters than it has, the client refuses it.
    if !statements.is_proxied() || statement.params().len() != params.len() {
        return execute::<A>(connection, query, &statement, params, false).await;
    }
    let types = statement.params().to_vec();
    execute_typed::<A>(connection, query, params, &types, false).await
}

async fn execute<A: Ask>(
    connection: &PostgresConnection,
    query: &Query<'_>,
    statement: &Statement,
    params: Params<'_>,
    was_known: bool,
) -> Result<A::Answer, Failure> {
    let since = connection.mark_for(query);
    connection.ask(query);
    // Owned across the await: nothing.
    let answer = A::ask(connection.client_waited_for(), statement, params).await;
    answer.map_err(|error| Failure { step: QueryStep::Execute, error, since, was_known })
}

async fn execute_typed<A: Ask>(
    connection: &PostgresConnection,
    query: &Query<'_>,
    params: Params<'_>,
    types: &[Type],
    was_known: bool,
) -> Result<A::Answer, Failure> {
    let with_types: Vec<_> = params.iter().copied().zip(types.iter().cloned()).collect();
    connection.statements().knowledge.counts.unprepared.add(1);
    let (since, sql) = (connection.mark_for(query), connection.tagged(query));
    connection.ask(query);
    // Owned across the await: nothing.
    let answer = A::ask_typed(connection.client(), &sql, &with_types).await;
    answer.map_err(|error| Failure { step: QueryStep::Execute, error, since, was_known })
}

/// Prepares a statement, and keeps it.
async fn prepare(connection: &PostgresConnection, query: &Query<'_>) -> Result<Statement, Failure> {
    let (since, sql) = (connection.mark_for(query), connection.tagged(query));
    connection.ask(query);
    // Owned across the await: nothing. Dropped, the server prepares it in vain, and forgets it when the connection comes back, if it can.
    let prepared = prepare_as(connection, &sql, query.types().unwrap_or_default()).await;
    let statement = prepared.map_err(|error| Failure { step: QueryStep::Prepare, error, since, was_known: false })?;
    connection.statements().keep(query, &statement);
    Ok(statement)
}

/// A statement that is ready to be executed.
pub(crate) enum Ready {
    Prepared(Statement),
    /// It is sent with its text, and these types.
    Typed(Vec<Type>),
}

/// A statement with so many parameters, ready to be executed by whoever reads its answer bit by bit.
pub(crate) async fn ready(
    connection: &PostgresConnection,
    query: &Query<'_>,
    parameters: usize,
) -> Result<Ready, QueryError> {
    let statements = connection.statements();
    // Owned across the awaits: nothing.
    let outcome = match statements.way(query) {
        Way::Prepared(statement) => Ok(Ready::Prepared(statement)),
        Way::Typed(types) if types.len() == parameters => Ok(Ready::Typed(types.to_vec())),
        Way::Prepare => prepare(connection, query).await.map(Ready::Prepared),
        Way::Typed(_) | Way::Describe => known_types(connection, query).await.map(|statement| {
            if statements.is_proxied() { Ready::Typed(statement.params().to_vec()) } else { Ready::Prepared(statement) }
        }),
    };
    outcome.map_err(|failure| failure.into_error(connection, query))
}

/// Whether a statement that was [ready] has failed since what was known of it is out of date, and may be executed once more. Then all that is, is forgotten.
pub(crate) fn is_outdated(connection: &PostgresConnection, query: &Query<'_>, error: &Error, since: Mark) -> bool {
    stale(error).is_some_and(|stale| forgets(connection, query, stale, error, since))
}

/// The statement, prepared on this connection, and kept if any are.
pub(super) async fn statement(connection: &PostgresConnection, query: &Query<'_>) -> Result<Statement, QueryError> {
    if let Way::Prepared(statement) = connection.statements().way(query) {
        return Ok(statement);
    }
    // Owned across the await: nothing.
    prepare(connection, query).await.map_err(|failure| failure.into_error(connection, query))
}

/// Has statements executed that are not prepared.
pub(crate) async fn run_batch(connection: &PostgresConnection, query: &Query<'_>) -> Result<(), QueryError> {
    let (mark, sql) = (connection.mark(), connection.tagged(query));
    connection.ask(query);
    // Owned across the await: nothing.
    let answer = connection.client().batch_execute(&sql).await;
    answer.map_err(|error| {
        let error = QueryError::of(connection, QueryStep::Execute, query.sql(), mark, error);
        error.unless_committed(connection, query.sql(), mark, true)
    })
}

impl Statements {
    /// Keeps what was prepared when the connection was opened.
    pub(super) fn keep_warm(&self, sql: &str, statement: Statement) {
        self.knowledge.counts.warmed.add(1);
        let gone = self.cache().keep(sql, statement);
        drop(gone);
    }
}
