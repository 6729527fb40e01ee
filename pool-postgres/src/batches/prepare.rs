//! Having everything prepared that a batch has in it.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Entry;
use crate::connection::PostgresConnection;
use crate::query::{Query, QueryError, QueryStep};
use crate::statements::{Ready, key, ready};

/// So many statements are prepared at a time: enough for the way to the server not to count.
const AT_ONCE: usize = 64;

/// A statement of a batch, which may be there several times.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) query: Query<'static>,
    /// `None`: it cannot be prepared.
    pub(super) ready: Option<Ready>,
    /// Whether that is from an earlier time, so that it may be out of date.
    pub(super) is_kept: bool,
}

/// Which statement is where.
pub(super) struct Prepared {
    pub(super) known: Vec<Arc<Known>>,
    /// Of each entry, in their order.
    pub(super) at: Vec<usize>,
    /// What cannot be prepared, by where it comes first.
    pub(super) failed: HashMap<usize, QueryError>,
}

/// Prepares all that is not prepared yet.
pub(super) async fn prepare(connection: &PostgresConnection, entries: &[Entry<'_>]) -> Prepared {
    let (firsts, at) = distinct(entries);
    let (mut known, mut failed) = (Vec::with_capacity(firsts.len()), HashMap::new());
    // Behind a proxy each may be in a transaction of its own.
    let at_once = if connection.statements().is_proxied() { 1 } else { AT_ONCE };
    for firsts in firsts.chunks(at_once) {
        let asked = firsts.iter().map(|first| {
            let Entry { query, params } = &entries[*first];
            Waiting::Asked(Box::pin(ready(connection, query, params.len())))
        });
        // Owned across the await: the statements. What has been asked is prepared in vain if the future is dropped.
        for (first, (outcome, is_kept)) in firsts.iter().zip(all(asked.collect()).await) {
            let query = entries[*first].query.owned();
            let ready = outcome.map_err(|error| failed.insert(*first, error.in_batch(*first, entries.len()))).ok();
            known.push(Arc::new(Known { query, ready, is_kept }));
        }
    }
    Prepared { known, at, failed }
}

/// Where each statement comes first, and which of these each entry is.
fn distinct(entries: &[Entry<'_>]) -> (Vec<usize>, Vec<usize>) {
    let (mut firsts, mut found) = (Vec::new(), HashMap::new());
    let at = entries.iter().enumerate().map(|(index, Entry { query, .. })| {
        match found.entry((key(query), query.is_unprepared())) {
            Place::Occupied(found) => *found.get(),
            Place::Vacant(place) => {
                firsts.push(index);
                *place.insert(firsts.len() - 1)
            }
        }
    });
    let at = at.collect();
    (firsts, at)
}

type Outcome = Result<Ready, QueryError>;

enum Waiting<'a> {
    Asked(Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>),
    /// Whether that was without asking.
    Answered(Outcome, bool),
}

impl Waiting<'_> {
    /// Whether it has been answered. What is at the first look has not been asked.
    fn look(&mut self, is_first: bool, context: &mut Context<'_>) -> bool {
        if let Self::Asked(asked) = self
            && let Poll::Ready(outcome) = asked.as_mut().poll(context)
        {
            *self = Self::Answered(outcome, is_first);
        }
        matches!(self, Self::Answered(..))
    }
}

/// What comes of all of them, which are all asked before any is answered.
async fn all(mut waiting: Vec<Waiting<'_>>) -> Vec<(Outcome, bool)> {
    let mut is_first = true;
    // Owned across the await: all of them.
    poll_fn(|context| {
        let left = waiting.iter_mut().filter_map(|it| (!it.look(is_first, context)).then_some(())).count();
        is_first = false;
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let outcomes = waiting.into_iter().filter_map(|it| match it {
        Waiting::Answered(outcome, is_kept) => Some((outcome, is_kept)),
        Waiting::Asked(_) => None,
    });
    outcomes.collect()
}

/// What a statement fails with that cannot be prepared, as another one of the batch has found.
pub(super) fn as_before(query: &Query<'_>, error: &QueryError) -> QueryError {
    let number = error.batch_index().unwrap_or(0) + 1;
    let why = format!("it is statement {number} of the batch once more, which could not be prepared");
    QueryError::new(QueryStep::Prepare, query.sql(), error.outcome(), error.diagnosis(), why)
}
