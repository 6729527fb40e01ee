//! Queries inside of a transaction.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::PostgresTransaction;
use crate::query::{Queries, Query, QueryError};

/// Inside of the transaction.
impl Queries for PostgresTransaction<'_> {
    async fn query<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, QueryError> {
        self.count();
        // Owned across the await: nothing but the request.
        let answer = Queries::query(self.connection(), query, params).await;
        answer.map_err(|error| self.failed(error))
    }

    async fn query_one<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, QueryError> {
        self.count();
        // Owned across the await: nothing but the request.
        let answer = Queries::query_one(self.connection(), query, params).await;
        answer.map_err(|error| self.failed(error))
    }

    async fn query_opt<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, QueryError> {
        self.count();
        // Owned across the await: nothing but the request.
        let answer = Queries::query_opt(self.connection(), query, params).await;
        answer.map_err(|error| self.failed(error))
    }

    async fn execute<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, QueryError> {
        self.count();
        // Owned across the await: nothing but the request.
        let answer = Queries::execute(self.connection(), query, params).await;
        answer.map_err(|error| self.failed(error))
    }

    async fn batch_execute<'q>(&self, query: impl Into<Query<'q>> + Send) -> Result<(), QueryError> {
        self.count();
        // Owned across the await: nothing but the request.
        let answer = Queries::batch_execute(self.connection(), query).await;
        answer.map_err(|error| self.failed(error))
    }
}
