//! Copies a table to another database, or to another name, whatever its size, through a few hundred kilobytes.
//!
//! `cargo run --example export -- postgres://app@localhost/app account postgres://app@localhost/archive account_of_today`

#[cfg(not(feature = "loom"))]
mod shown {
    use std::error::Error;

    use futures_util::TryStreamExt;
    use pool_postgres::{PostgresPool, QueryError};

    /// A name as it is, whatever is in it.
    fn quoted(name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    /// Whoever is faster waits for the other. If anything fails, nothing is inserted.
    async fn export(from: &PostgresPool, table: &str, to: &PostgresPool, copy: &str) -> Result<u64, QueryError> {
        let mut data = from.copy_out(format!("COPY {} TO STDOUT (FORMAT binary)", quoted(table))).await?;
        let mut sink = to.copy_in(format!("COPY {} FROM STDIN (FORMAT binary)", quoted(copy))).await?;
        while let Some(piece) = data.try_next().await? {
            sink.send(piece).await?;
        }
        sink.finish().await
    }

    #[tokio::main]
    pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [from, table, to, copy] = &arguments[..] else {
            return Err(
                "four arguments are needed: from which database, which table, to which database, by what name".into()
            );
        };
        let from = PostgresPool::connect(from.parse()?).await?;
        let to = PostgresPool::connect(to.parse()?).await?;
        println!("{} rows", export(&from, table, &to, copy).await?);
        from.disconnect().await;
        to.disconnect().await;
        Ok(())
    }
}

#[cfg(not(feature = "loom"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    shown::main()
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
