//! What is asked of a session, whom one may ask, and how that fails.

mod ended;
mod error;
mod inside;
mod pool;
mod queries;
mod summary;

pub(crate) use ended::{Ended, told};
pub(crate) use error::Cause;
pub use error::{QueryError, QueryStep};
pub(crate) use inside::commits_inside;
pub use queries::Queries;
pub(crate) use summary::{Summary, call_of, first_word, has_word, selects_into, words};

use std::borrow::Cow;
use std::fmt;

use tokio_postgres::types::Type;

use crate::limits::Terms;

/// A statement, and how it is to be run. Text alone is one with nothing said about that: whatever takes a query takes a `&str`.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::{PostgresPool, Query, QueryError};
///
/// # async fn count(pool: &PostgresPool) -> Result<i64, QueryError> {
/// let row = pool.query_one(Query::new("SELECT count(*) FROM alert WHERE status = $1"), &[&"firing"]).await?;
/// # Ok(row.get(0))
/// # }
/// ```
#[derive(Clone)]
pub struct Query<'a> {
    sql: Cow<'a, str>,
    types: Option<Cow<'a, [Type]>>,
    unprepared: bool,
    pub(crate) terms: Terms<'a>,
}

impl<'a> Query<'a> {
    /// This statement, with `$1`, `$2` and so on in the place of its parameters.
    pub fn new(sql: impl Into<Cow<'a, str>>) -> Self {
        Self { sql: sql.into(), types: None, unprepared: false, terms: Terms::default() }
    }

    /// As it is, with these types of its parameters, in their order, instead of those that the server finds. Nobody needs to ask then what they are.
    ///
    /// # Example
    ///
    /// ```
    /// use pool_postgres::Query;
    /// use pool_postgres::tokio_postgres::types::Type;
    ///
    /// let query = Query::new("SELECT $1 + 1").with_types(&[Type::INT8]);
    /// ```
    #[must_use]
    pub fn with_types(self, types: impl Into<Cow<'a, [Type]>>) -> Self {
        Self { types: Some(types.into()), ..self }
    }

    /// As it is, sent with its text and not prepared: for what is executed once, so that it takes no place from others.
    ///
    /// # Example
    ///
    /// ```
    /// let query = pool_postgres::Query::new(format!("ANALYZE {}", "alert")).unprepared();
    /// ```
    #[must_use]
    pub fn unprepared(self) -> Self {
        Self { unprepared: true, ..self }
    }

    /// Its text.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// As it is, without borrowing anything.
    pub(crate) fn owned(&self) -> Query<'static> {
        Query {
            sql: Cow::Owned(self.sql.clone().into_owned()),
            types: self.types.clone().map(|types| Cow::Owned(types.into_owned())),
            unprepared: self.unprepared,
            terms: self.terms.owned(),
        }
    }

    pub(crate) fn types(&self) -> Option<&[Type]> {
        self.types.as_deref()
    }

    pub(crate) fn is_unprepared(&self) -> bool {
        self.unprepared
    }
}

/// Without what may be a secret: literals are left out.
impl fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("sql", &format_args!("{}", Summary(&self.sql))).finish_non_exhaustive()
    }
}

impl<'a> From<&'a str> for Query<'a> {
    fn from(sql: &'a str) -> Self {
        Self::new(sql)
    }
}

impl<'a> From<&'a String> for Query<'a> {
    fn from(sql: &'a String) -> Self {
        Self::new(sql.as_str())
    }
}

impl From<String> for Query<'_> {
    fn from(sql: String) -> Self {
        Self::new(sql)
    }
}
