//! Transactions inside of others.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::statement::{refuse, say};
use super::{Home, PostgresTransaction, TransactionError};
use crate::query::{QueryError, QueryStep};
use crate::retry::Outcome;

/// So much of a name PostgreSQL tells from others.
const LONGEST: usize = 63;

/// A savepoint, and those around it.
#[derive(Debug)]
pub(super) struct Savepoint<'a> {
    name: String,
    around: Option<&'a Savepoint<'a>>,
}

impl<'a> Savepoint<'a> {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The innermost one, and those around it.
    fn all(innermost: Option<&'a Self>) -> impl Iterator<Item = &'a Self> {
        std::iter::successors(innermost, |savepoint| savepoint.around)
    }

    /// One with this name, if it can be had.
    fn named(name: &str, around: Option<&'a Self>) -> Option<Self> {
        let is_one = (1..=LONGEST).contains(&name.len()) && !name.contains('\0');
        (is_one && !Self::all(around).any(|other| other.name == name)).then(|| Self { name: name.to_owned(), around })
    }

    /// One with a name of ours.
    fn numbered(around: Option<&'a Self>) -> Self {
        let depth = Self::all(around).count();
        let mut number = depth;
        loop {
            match Self::named(&format!("savepoint {number}"), around) {
                Some(savepoint) => return savepoint,
                None => number += 1,
            }
        }
    }

    fn quoted(&self) -> String {
        format!("\"{}\"", self.name.replace('"', "\"\""))
    }

    fn set(&self) -> String {
        format!("SAVEPOINT {}", self.quoted())
    }

    pub(super) fn release(&self) -> String {
        format!("RELEASE SAVEPOINT {}", self.quoted())
    }

    /// Undoes what was done since, and forgets the savepoint.
    pub(super) fn undo(&self) -> String {
        let name = self.quoted();
        format!("ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")
    }
}

impl PostgresTransaction<'_> {
    /// Begins a transaction inside of this one, which cannot be used until that ends. Its [`commit`](Self::commit) keeps what it has done, for as long as this one is not rolled back; its
    /// [`rollback`](Self::rollback), and dropping it, undo that alone, also after an error.
    ///
    /// Cancel safety: what has begun is undone before anything else.
    ///
    /// # Errors
    ///
    /// [`QueryError`]: a transaction that has failed has no savepoints any more.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::{PostgresTransaction, Queries, QueryError};
    ///
    /// /// Inserts those that are not there.
    /// async fn insert(transaction: &mut PostgresTransaction<'_>, names: &[&str]) -> Result<(), QueryError> {
    ///     for name in names {
    ///         let one = transaction.savepoint().await?;
    ///         match one.execute("INSERT INTO account (name) VALUES ($1)", &[name]).await {
    ///             Ok(_) => one.commit().await?,
    ///             Err(error) => println!("{name} is left out: {error}"),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn savepoint(&mut self) -> Result<PostgresTransaction<'_>, QueryError> {
        let savepoint = Savepoint::numbered(self.savepoint_of());
        // Owned across the await: the inner transaction. Dropped, it is undone.
        self.inside(savepoint).await
    }

    /// As [`savepoint`](Self::savepoint), with a name for whoever reads the server's log. It may have any letters in it, capitals and quotes included.
    ///
    /// Cancel safety: the same.
    ///
    /// # Errors
    ///
    /// [`QueryError`]; with [`TransactionError::SavepointName`] if the name cannot be had. Nothing is sent then, and the transaction goes on.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::{PostgresTransaction, Queries, QueryError};
    ///
    /// # async fn import(transaction: &mut PostgresTransaction<'_>) -> Result<(), QueryError> {
    /// let importing = transaction.savepoint_named("import").await?;
    /// importing.batch_execute("INSERT INTO account SELECT * FROM imported").await?;
    /// importing.commit().await
    /// # }
    /// ```
    pub async fn savepoint_named(&mut self, name: &str) -> Result<PostgresTransaction<'_>, QueryError> {
        let Some(savepoint) = Savepoint::named(name, self.savepoint_of()) else {
            let (connection, cause) = (self.connection(), TransactionError::SavepointName);
            return Err(refuse(connection, QueryStep::Begin, "SAVEPOINT", Outcome::NotDone, cause));
        };
        // Owned across the await: the inner transaction. Dropped, it is undone.
        self.inside(savepoint).await
    }

    async fn inside<'s>(&'s self, savepoint: Savepoint<'s>) -> Result<PostgresTransaction<'s>, QueryError> {
        let (connection, set) = (self.connection(), savepoint.set());
        let home = Home::Inside(connection, savepoint);
        let (options, begun, open) = (self.options, self.begun, Arc::new(AtomicBool::new(false)));
        let inner = PostgresTransaction { home, options, begun, open, story: self.story.clone() };
        // Owned across the await: the inner transaction. Dropped, it is undone, which is a statement behind this one.
        match say(connection, QueryStep::Begin, &set, || inner.set_open(true)).await {
            Ok(()) => Ok(inner),
            Err(error) => {
                // If the server says so, there is none.
                inner.set_open(error.sqlstate().is_none());
                Err(inner.failed(error.settled(Outcome::NotDone)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        let savepoint = Savepoint::named("a \"B\"; --", None).unwrap();
        assert_eq!(savepoint.set(), r#"SAVEPOINT "a ""B""; --""#);
        assert_eq!(savepoint.release(), r#"RELEASE SAVEPOINT "a ""B""; --""#);
        assert_eq!(savepoint.undo(), r#"ROLLBACK TO SAVEPOINT "a ""B""; --"; RELEASE SAVEPOINT "a ""B""; --""#);
    }

    #[test]
    fn no_name_is_had_twice() {
        let outer = Savepoint::named("savepoint 1", None).unwrap();
        let inner = Savepoint::numbered(Some(&outer));
        let innermost = Savepoint::numbered(Some(&inner));
        let names = [&outer, &inner, &innermost].map(Savepoint::name);
        assert_eq!(names, ["savepoint 1", "savepoint 2", "savepoint 3"]);
        for name in names {
            assert!(Savepoint::named(name, Some(&innermost)).is_none(), "{name}");
        }
        assert!(Savepoint::named("other", Some(&innermost)).is_some());
        assert_eq!(Savepoint::numbered(None).name(), "savepoint 0");
    }

    #[test]
    fn a_name_that_the_server_would_not_keep_is_refused() {
        let is_one = |name: &str| Savepoint::named(name, None).is_some();
        assert!(is_one(&"x".repeat(63)) && is_one(&"\u{e4}".repeat(31)));
        assert!(!is_one("") && !is_one(&"x".repeat(64)) && !is_one(&"\u{e4}".repeat(32)) && !is_one("a\0b"));
    }
}
