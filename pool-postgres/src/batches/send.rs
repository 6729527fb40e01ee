//! Handing a batch to the client.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, RowStream};

use super::Entry;
use super::encode::{Encoded, encode};
use super::prepare::{Known, Prepared, as_before, prepare};
use crate::connection::PostgresConnection;
use crate::diagnosis::{Advice, Diagnosis, Fate};
use crate::limits::Answered;
use crate::query::{Query, QueryError, QueryStep};
use crate::results::Held;
use crate::retry::Outcome;
use crate::statements::Ready;
use crate::tap::Mark;

pub(super) type Asking<'c> = Pin<Box<dyn Future<Output = Result<RowStream, Error>> + Send + 'c>>;

/// How far a statement has come.
pub(super) enum Stage<'c> {
    /// It was not sent.
    Unsent(Box<QueryError>),
    /// The client did not take it; `None` once that has been told.
    Refused(Option<Error>),
    Asked(Asking<'c>),
    Answered(Pin<Box<RowStream>>),
}

/// A statement that has been sent, or should have been.
pub(super) struct Asked<'c> {
    pub(super) known: Arc<Known>,
    /// How long its answer may be waited for.
    pub(super) limit: Option<Duration>,
    pub(super) stage: Stage<'c>,
}

impl Asked<'_> {
    /// Whether the client has not even taken it.
    fn is_refused(&self) -> bool {
        matches!(self.stage, Stage::Refused(_))
    }
}

/// How a batch is sent.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub(super) is_one: bool,
    /// Whether somebody wants each answer as soon as it is there.
    pub(super) is_read: bool,
}

/// What has been sent.
pub(super) struct Sent<'c> {
    pub(super) asked: VecDeque<Asked<'c>>,
    pub(super) is_one: bool,
    /// Taken before any of it was.
    pub(super) mark: Mark,
    /// The numbers of the first and of the last request.
    pub(super) numbers: (u64, u64),
}

/// What of a statement is ready to be sent, or why it cannot be.
type Parcel = (Arc<Known>, Option<Duration>, Result<Vec<Encoded>, QueryError>);

impl Answered for Sent<'_> {}

/// Prepares all that is not prepared yet, and gives all of it to the client, which is asked for nothing else meanwhile.
pub(super) async fn begin<'c>(held: &Arc<Held<'c>>, entries: &[Entry<'_>], how: How) -> Result<Sent<'c>, QueryError> {
    let connection: &PostgresConnection = held;
    // Owned across the await: nothing.
    let prepared = prepare(connection, entries).await;
    let parcels = pack(connection, entries, prepared);
    let parcels = if how.is_one { whole(parcels)? } else { parcels };
    // Owned across the await: what is to be sent.
    clear(connection, &entries[0].query).await;
    Ok(hand_over(held, parcels, how))
}

/// Turns all parameters into what is sent.
fn pack(connection: &PostgresConnection, entries: &[Entry<'_>], prepared: Prepared) -> Vec<Parcel> {
    let Prepared { known, at, mut failed } = prepared;
    let firsts: HashMap<usize, usize> = failed.keys().map(|first| (at[*first], *first)).collect();
    // Those that come first take their error along at the end, when the others have looked at it.
    let mut parcels: Vec<Parcel> = Vec::with_capacity(entries.len());
    for (index, (entry, at)) in entries.iter().zip(&at).enumerate() {
        let known = &known[*at];
        let encoded = match (&known.ready, firsts.get(at).and_then(|first| failed.get(first))) {
            (Some(ready), _) => {
                encode(types_of(ready), &entry.params).map_err(|why| unsendable(connection, known, &why))
            }
            (None, Some(error)) => Err(as_before(&entry.query, error).on(connection)),
            (None, None) => Err(unsendable(connection, known, "it could not be prepared")),
        };
        let limit = entry.query.terms.timeout(connection.limits());
        parcels.push((Arc::clone(known), limit, encoded.map_err(|error| error.in_batch(index, entries.len()))));
    }
    for (index, error) in failed.drain() {
        parcels[index].2 = Err(error);
    }
    parcels
}

fn types_of(ready: &Ready) -> &[Type] {
    match ready {
        Ready::Prepared(statement) => statement.params(),
        Ready::Typed(types) => types,
    }
}

/// What is known of a statement may be wrong by now: it is asked for anew the next time.
fn unsendable(connection: &PostgresConnection, known: &Known, why: &str) -> QueryError {
    connection.statements().forget(&known.query);
    let diagnosis = Diagnosis::new(Advice::Never, Fate::Keep);
    QueryError::new(QueryStep::Execute, known.query.sql(), Outcome::NotDone, diagnosis, why).on(connection)
}

/// All of it, or the first error.
fn whole(parcels: Vec<Parcel>) -> Result<Vec<Parcel>, QueryError> {
    let unpacked =
        parcels.into_iter().map(|(known, limit, encoded)| encoded.map(|encoded| (known, limit, Ok(encoded))));
    unpacked.collect()
}

/// Returns once the client has nothing in its queue, and the server nothing to do, such as to wait for data of a `COPY`: what is given to the client next has the next numbers, and nothing comes in between.
async fn clear(connection: &PostgresConnection, query: &Query<'_>) {
    let session = connection.session();
    if !(connection.settle() && session.requests().is_drained() && !session.is_busy()) {
        connection.ask(query);
        // Owned across the await: nothing. Whatever is wrong, the batch finds out.
        let _ = connection.client().batch_execute("").await;
    }
}

/// Without an await: whoever has a batch has all of it sent.
fn hand_over<'c>(held: &Arc<Held<'c>>, parcels: Vec<Parcel>, how: How) -> Sent<'c> {
    let session = held.session();
    let count = parcels.iter().filter(|(_, _, encoded)| encoded.is_ok()).count() as u64;
    let (mark, before) = (held.mark(), session.requests().sent());
    if how.is_one && count > 1 {
        // What takes too long has to be told from what comes before it.
        let is_limited = parcels.iter().any(|(_, limit, _)| limit.is_some());
        session.joining.expect(count, how.is_read || is_limited);
    }
    let asked = parcels.into_iter().map(|(known, limit, encoded)| {
        let stage = match encoded {
            Ok(encoded) => ask(held, &known, encoded),
            Err(error) => Stage::Unsent(Box::new(error)),
        };
        Asked { known, limit, stage }
    });
    let asked: VecDeque<Asked<'c>> = asked.collect();
    if session.joining.is_expected() && asked.iter().any(Asked::is_refused) {
        // The server would wait for what never comes. All that can be refused has been looked for before, so that the session has ended, or nobody knows what it is at.
        held.cut();
    }
    // Whoever reads the answers asks no more.
    session.requests().muddle();
    Sent { asked, is_one: how.is_one, mark, numbers: (before + 1, before + count) }
}

/// Gives one request to the client, which has it in its queue once it has been polled.
fn ask<'c>(held: &Arc<Held<'c>>, known: &Arc<Known>, params: Vec<Encoded>) -> Stage<'c> {
    let (held, known) = (Arc::clone(held), Arc::clone(known));
    let mut asking: Asking<'c> = Box::pin(async move {
        let client = held.client();
        // Owned across the awaits: the connection, or a part of its lease.
        match &known.ready {
            Some(Ready::Prepared(statement)) => client.query_raw(statement, params).await,
            Some(Ready::Typed(types)) => {
                let params = params.into_iter().zip(types.iter().cloned()).map(boxed);
                client.query_typed_raw(&held.tagged(&known.query), params).await
            }
            None => client.query_raw("", params).await,
        }
    });
    match asking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => Stage::Asked(asking),
        Poll::Ready(Ok(rows)) => Stage::Answered(Box::pin(rows)),
        Poll::Ready(Err(error)) => Stage::Refused(Some(error)),
    }
}

fn boxed((param, kind): (Encoded, Type)) -> (Box<dyn ToSql + Sync + Send>, Type) {
    (Box::new(param), kind)
}
