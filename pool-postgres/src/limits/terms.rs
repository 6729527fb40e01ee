//! What is said of one query.

use std::borrow::Cow;
use std::time::Duration;

use super::Limits;
use super::tags::tagged;
use crate::connection::PostgresConnection;
use crate::query::Query;
use crate::tap::{Asked, Mark};

/// What is said of one query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms<'a> {
    timeout: Timeout,
    tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Where what was asked for it is among the requests of its connection.
    pub(crate) asked: Asked,
    /// Whether others use its connection meanwhile.
    pub(crate) is_shared: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Timeout {
    /// That of the configuration.
    #[default]
    Usual,
    None,
    After(Duration),
}

impl Terms<'_> {
    /// How long it may take, if that is bounded.
    pub(crate) fn timeout(&self, limits: &Limits) -> Option<Duration> {
        match self.timeout {
            Timeout::Usual => limits.query_timeout,
            Timeout::None => None,
            Timeout::After(time) => Some(time),
        }
    }

    /// The same, without borrowing anything.
    pub(crate) fn owned(&self) -> Terms<'static> {
        let owned = |text: &Cow<'_, str>| Cow::Owned(text.clone().into_owned());
        let tags = self.tags.iter().map(|(key, value)| (owned(key), owned(value))).collect();
        Terms { tags, asked: Asked::default(), ..*self }
    }

    /// What is said of it beside what is said of all.
    pub(crate) fn tags(&self) -> &[(Cow<'_, str>, Cow<'_, str>)] {
        &self.tags
    }
}

impl<'a> Query<'a> {
    /// As it is, and may take so long, from when it is begun on its connection to its answer, whatever [`Limits::query_timeout`] says. With no time at all it is asked and cancelled at once.
    ///
    /// To acquire the connection has a time of its own, [`acquire_timeout`](pool_core::Config::acquire_timeout).
    ///
    /// # Example
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use pool_postgres::{PostgresPool, Query, QueryError};
    ///
    /// # async fn count(pool: &PostgresPool) -> Result<Option<i64>, QueryError> {
    /// let query = Query::new("SELECT count(*) FROM alert").timeout(Duration::from_millis(200));
    /// match pool.query_one(query, &[]).await {
    ///     Err(error) if error.is_timeout() => Ok(None),
    ///     answer => Ok(Some(answer?.get(0))),
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Timeout::After(timeout);
        self
    }

    /// As it is, and may take as long as it likes, whatever [`Limits::query_timeout`] says. The server's own limits count all the same.
    ///
    /// # Example
    ///
    /// ```
    /// let query = pool_postgres::Query::new("VACUUM ANALYZE").no_timeout();
    /// assert_eq!(query.sql(), "VACUUM ANALYZE");
    /// ```
    #[must_use]
    pub fn no_timeout(mut self) -> Self {
        self.terms.timeout = Timeout::None;
        self
    }

    /// As it is, with a tag beside those of [`Limits::tags`], or in the place of the one with this key: the server's logs and `pg_stat_activity` show it, in a comment behind the statement. It is no place for a secret. Without a
    /// key it is none.
    ///
    /// The comment is a part of the statement for the server, so that one with other tags is another statement, which is prepared anew. That suits values of which there are few, such as the name of a route, and not those that differ each
    /// time, such as the number of a request.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::{PostgresPool, Query, QueryError};
    ///
    /// # async fn list(pool: &PostgresPool) -> Result<(), QueryError> {
    /// // SELECT name FROM alert /*route='%2Falerts'*/
    /// let rows = pool.query(Query::new("SELECT name FROM alert").tag("route", "/alerts"), &[]).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tag(mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Self {
        self.terms.tags.push((key.into(), value.into()));
        self
    }
}

impl PostgresConnection {
    /// What is sent for a query: its statement with its tags.
    pub(crate) fn tagged<'q>(&self, query: &'q Query<'_>) -> Cow<'q, str> {
        tagged(query.sql(), &self.limits().tags, &query.terms.tags)
    }

    /// The client is given a request for a query, without an await in between.
    pub(crate) fn ask(&self, query: &Query<'_>) {
        let requests = self.session().requests();
        // Something has happened on the wire, as when somebody has left a request in the queue, where this one could not be told from it. Several are sent together.
        if requests.is_asked_alone() && self.silent_at().is_none() {
            self.settle();
        }
        requests.ask(query);
    }

    /// As [`mark`](Self::mark), for what is asked for a query.
    pub(crate) fn mark_for(&self, query: &Query<'_>) -> Mark {
        self.mark().shared(query.terms.is_shared)
    }

    /// What bounds its requests.
    pub(crate) fn limits(&self) -> &Limits {
        &self.server().settings.config.limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let limits = Limits { query_timeout: Some(Duration::from_secs(9)), ..Limits::default() };
        let second = Duration::from_secs(1);
        let of = |query: Query<'_>| query.terms.timeout(&limits);
        assert_eq!(of("SELECT 1".into()), Some(Duration::from_secs(9)));
        assert_eq!(of(Query::new("SELECT 1").timeout(second)), Some(second));
        assert_eq!(of(Query::new("SELECT 1").timeout(second).no_timeout()), None);
        assert_eq!(of(Query::new("SELECT 1").no_timeout().timeout(second)), Some(second));
    }
}
