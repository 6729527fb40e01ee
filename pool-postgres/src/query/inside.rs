//! Statements that commit on their own.

use super::summary::first_word;
use super::{QueryError, QueryStep};
use crate::connection::PostgresConnection;
use crate::tap::Mark;

/// What a block of code has in it that commits, whatever its language.
const COMMITTING: [&str; 3] = ["commit", "call", "execute"];

/// Whether a statement, outside of a transaction, may commit what it has done so far, and fail afterwards: a procedure; or a block of code, if one sees it there. On the wire nothing tells.
pub(crate) fn commits_inside(sql: &str) -> bool {
    let word = first_word(sql);
    if !word.eq_ignore_ascii_case("do") {
        return word.eq_ignore_ascii_case("call");
    }
    let text = sql.to_ascii_lowercase();
    COMMITTING.iter().any(|committing| text.contains(committing))
}

impl QueryError {
    /// As it is, or unknown if the statement, which began after the mark, may have committed a part of what it was to do. One that is not simple is executed only after its parameters have been found to be in order.
    pub(crate) fn unless_committed(
        self,
        connection: &PostgresConnection,
        sql: &str,
        since: Mark,
        simple: bool,
    ) -> Self {
        let session = connection.session();
        let is_begun = !session.is_unwritten_since(since) && (simple || !session.has_bound_nothing_since(since));
        let is_it = matches!(self.step(), QueryStep::Execute | QueryStep::Fetch | QueryStep::Copy);
        let may_have = is_it && is_begun && !since.was_inside() && commits_inside(sql);
        if may_have { self.partly_done() } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commits_on_its_own_is_told_by_its_words() {
        for sql in [
            "CALL p()",
            " -- why\n /* so */ call p($1)",
            "DO $$ BEGIN INSERT INTO t VALUES (1); COMMIT; END $$",
            "do 'BEGIN Call p(); END'",
            ";CALL p()",
            "; -- why\n; do 'BEGIN COMMIT; END'",
            "DO LANGUAGE plpython3u $$ plpy.commit() $$",
        ] {
            assert!(commits_inside(sql), "{sql}");
        }
        for sql in ["", "DO $$ BEGIN RAISE 'no'; END $$", "SELECT 'CALL p()'", "calls()", "INSERT INTO t VALUES (1)"] {
            assert!(!commits_inside(sql), "{sql}");
        }
    }
}
