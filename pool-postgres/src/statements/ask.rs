//! What of an answer is wanted.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement};

use crate::limits::Answered;

pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];
pub(crate) type Typed<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// What of an answer is wanted.
pub(crate) trait Ask {
    type Answer: Send + Answered;

    fn ask(
        client: &Client,
        statement: &Statement,
        params: Params<'_>,
    ) -> impl Future<Output = Result<Self::Answer, Error>> + Send;

    /// Of a statement that is sent with its text.
    fn ask_typed(
        client: &Client,
        sql: &str,
        params: Typed<'_>,
    ) -> impl Future<Output = Result<Self::Answer, Error>> + Send;
}

/// All rows.
pub(crate) struct All;

impl Ask for All {
    type Answer = Vec<Row>;

    async fn ask(client: &Client, statement: &Statement, params: Params<'_>) -> Result<Vec<Row>, Error> {
        client.query(statement, params).await
    }

    async fn ask_typed(client: &Client, sql: &str, params: Typed<'_>) -> Result<Vec<Row>, Error> {
        client.query_typed(sql, params).await
    }
}

/// The one row.
pub(crate) struct One;

impl Ask for One {
    type Answer = Row;

    async fn ask(client: &Client, statement: &Statement, params: Params<'_>) -> Result<Row, Error> {
        client.query_one(statement, params).await
    }

    async fn ask_typed(client: &Client, sql: &str, params: Typed<'_>) -> Result<Row, Error> {
        client.query_typed_one(sql, params).await
    }
}

/// The row, if there is one.
pub(crate) struct Optional;

impl Ask for Optional {
    type Answer = Option<Row>;

    async fn ask(client: &Client, statement: &Statement, params: Params<'_>) -> Result<Option<Row>, Error> {
        client.query_opt(statement, params).await
    }

    async fn ask_typed(client: &Client, sql: &str, params: Typed<'_>) -> Result<Option<Row>, Error> {
        client.query_typed_opt(sql, params).await
    }
}

/// How many rows there were.
pub(crate) struct Count;

impl Ask for Count {
    type Answer = u64;

    async fn ask(client: &Client, statement: &Statement, params: Params<'_>) -> Result<u64, Error> {
        client.execute(statement, params).await
    }

    async fn ask_typed(client: &Client, sql: &str, params: Typed<'_>) -> Result<u64, Error> {
        client.execute_typed(sql, params).await
    }
}
